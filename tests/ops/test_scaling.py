"""Matrix scaling: blocks of samples, the derivative made on the way; the product on logarithms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from measured_calls import LargestTensor
from wkd_det.ops import scaling
from wkd_det.ops.scaling import log_matmul_exp, log_plan_cost, scaled_transport

GUARD = 1e-8


def problem(samples=11, classes=5, *, shared=True, seed=0):
    """Marginals, kernel, kernel times cost, and a start that leaves one class out a sample."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    left_out = torch.arange(samples)[:, None] % classes
    source, target = logits.scatter(2, left_out.expand(2, -1, -1), -torch.inf).softmax(2)
    shape = (classes, classes) if shared else (samples, classes, classes)
    cost = torch.rand(shape, generator=generator, dtype=torch.float64)
    kernel = torch.exp(-cost / 0.2)
    start = torch.ones(samples, classes, dtype=torch.float64).scatter(1, left_out, 0)
    start = start / (classes - 1)
    return source, target, kernel, kernel * cost, start


def unrolled(source, target, kernel, kernel_cost, start, num_iters):
    """The formula of the docstring, left to autograd."""
    kernel, kernel_cost = (
        matrix.expand(len(source), *matrix.shape[-2:]) for matrix in (kernel, kernel_cost)
    )
    row = start
    for _ in range(num_iters):
        column = target / (torch.einsum('ni,nij->nj', row, kernel) + GUARD)
        row = source / (torch.einsum('nij,nj->ni', kernel, column) + GUARD)
    return torch.einsum('ni,nij,nj->n', row, kernel_cost, column)


def value_and_gradients(function, arguments, num_iters, wanted):
    """With respect to the wanted ones of the first four, each sample weighted differently."""
    arguments = [tensor.clone() for tensor in arguments]
    for index in wanted:
        arguments[index].requires_grad_()
    value = function(*arguments, num_iters)
    weights = torch.linspace(-1, 2, len(value), dtype=torch.float64)
    gradients = torch.autograd.grad(value @ weights, [arguments[index] for index in wanted])
    return value.detach(), *gradients


SHARED = pytest.mark.parametrize('shared', [True, False], ids=['one kernel', 'own kernels'])


@pytest.fixture(params=[1, 3, 128], ids='blocks of {}'.format)
def blocks(request, monkeypatch):
    monkeypatch.setattr(scaling, '_SCALING_BLOCK_ELEMENTS', 0)
    monkeypatch.setattr(scaling, '_SCALING_BLOCK_SAMPLES', request.param)


@SHARED
@pytest.mark.parametrize('num_iters', [1, 2, 7])
@pytest.mark.parametrize('wanted', [(0,), (1,), (0, 1), (2,), (0, 3), (0, 1, 2, 3)])
@pytest.mark.usefixtures('blocks')
def test_formula_and_gradient_whatever_the_blocks(shared, num_iters, wanted):
    arguments = problem(shared=shared)
    ours = value_and_gradients(scaled_transport, arguments, num_iters, wanted)
    expected = value_and_gradients(unrolled, arguments, num_iters, wanted)
    for one, other in zip(ours, expected):
        assert_close(one, other, rtol=1e-9, atol=1e-12)  # sums in another order, guards apart


@SHARED
@pytest.mark.parametrize('wanted', [(0, 1), (0, 1, 2, 3)])
@pytest.mark.usefixtures('blocks')
def test_gradcheck(shared, wanted):
    *arguments, start = problem(5, 3, shared=shared)
    for index in wanted:
        arguments[index].requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: scaled_transport(*args, start, 3), arguments)


@pytest.mark.parametrize('samples', [0, 2, 127, 128, 129, 1024, 5000])
@pytest.mark.parametrize('shape', [(81,), (1, 81)])
def test_blocks_cover_all_and_differ_by_one_at_most(samples, shape):
    parts = scaling._sample_blocks(torch.zeros(samples, *shape), 10)
    covered = [list(range(samples)[part]) for part in parts]
    assert sum(covered, []) == list(range(samples))
    assert not parts or max(map(len, covered)) - min(map(len, covered)) <= 1
    assert samples < 5000 or len(parts) > 1


@SHARED
def test_no_samples(shared):
    shape = (4, 4) if shared else (0, 4, 4)
    arguments = [torch.zeros(0, 4), torch.zeros(0, 4), torch.ones(shape), torch.ones(shape)]
    arguments = [tensor.requires_grad_() for tensor in arguments]
    value = scaled_transport(*arguments, torch.ones(0, 4), 3)
    assert value.shape == (0,)
    value.sum().backward()
    assert all((tensor.grad == 0).all() for tensor in arguments)


@pytest.mark.parametrize('num_iters', [2, 50])
def test_the_graph_keeps_one_derivative_not_the_rounds(num_iters):
    *arguments, start = problem(40, 6)
    kept = []
    arguments[0].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        scaled_transport(*arguments, start, num_iters)
    assert kept == [40 * 6]


@pytest.mark.parametrize('wanted', [0, 2])
def test_a_second_derivative_is_refused(wanted):
    *arguments, start = problem()
    arguments[wanted].requires_grad_()
    value = scaled_transport(*arguments, start, 2).square().sum()
    (gradient,) = torch.autograd.grad(value, arguments[wanted], create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


# Matrix product on logarithms


# A sum of a few exponentials in float64.
EXACT = dict(rtol=1e-12, atol=1e-12)


def factors(samples, inner, outer, *, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    left = scale * torch.randn(samples, inner, generator=generator, dtype=torch.float64)
    right = scale * torch.randn(inner, outer, generator=generator, dtype=torch.float64)
    return left, right


def test_one_term_is_a_sum_of_logarithms():
    left, right = factors(3, 1, 4)
    assert_close(log_matmul_exp(left, right), left + right, **EXACT)


def test_logarithm_of_the_matrix_product():
    left, right = factors(5, 4, 6)
    assert_close(log_matmul_exp(left, right), (left.exp() @ right.exp()).log(), **EXACT)


def test_no_underflow_where_the_product_has_one():
    left, right = factors(5, 4, 6)
    shifted = log_matmul_exp(left - 5000, right - 3000)
    # 8000 is added and taken away again: rounding of 8000 in float64.
    assert_close(shifted + 8000, log_matmul_exp(left, right), rtol=0, atol=1e-11)


def test_minus_infinity_is_zero():
    left, right = factors(3, 4, 5)
    left[0], left[1, 2], right[:, 1], right[0, 3] = (-torch.inf,) * 4
    out = log_matmul_exp(left, right)
    assert_close(out, (left.exp() @ right.exp()).log(), **EXACT)
    assert (out[0] == -torch.inf).all()
    assert (out[:, 1] == -torch.inf).all()


def test_gradcheck_on_logarithms():
    left, right = factors(3, 4, 5)
    assert torch.autograd.gradcheck(log_matmul_exp, (left.requires_grad_(), right.requires_grad_()))


def test_gradcheck_on_logarithms_around_entries_that_are_zero():
    left, right = (tensor.requires_grad_() for tensor in factors(3, 4, 5))
    no_left = torch.zeros(3, 4, dtype=torch.bool)
    no_left[0], no_left[1, 2] = True, True
    no_right = torch.zeros(4, 5, dtype=torch.bool)
    no_right[:, 1], no_right[0, 3] = True, True

    def function(left, right):
        out = log_matmul_exp(
            left.masked_fill(no_left, -torch.inf), right.masked_fill(no_right, -torch.inf)
        )
        return out.exp()  # finite where nothing is summed

    assert torch.autograd.gradcheck(function, (left, right))


def test_an_infinite_gradient_of_nothing_is_zero_too():
    left, right = factors(2, 3, 4)
    left[0] = -torch.inf
    left.requires_grad_()
    log_matmul_exp(left, right).square().sum().backward()  # 2 * -inf for the first row
    assert (left.grad[0] == 0).all()
    assert torch.isfinite(left.grad).all()


def test_gradient_of_nothing_is_zero_and_not_nan():
    left, right = factors(2, 3, 4)
    left[0] = -torch.inf
    left, right = left.requires_grad_(), right.requires_grad_()
    log_matmul_exp(left, right)[0].sum().backward()
    assert torch.equal(left.grad, torch.zeros_like(left))
    assert torch.equal(right.grad, torch.zeros_like(right))


@pytest.mark.parametrize('needed', [(True, False), (False, True)])
def test_gradient_of_one_factor_alone(needed):
    both = [tensor.requires_grad_() for tensor in factors(3, 4, 5)]
    log_matmul_exp(*both).square().sum().backward()
    one = [tensor.detach().requires_grad_(need) for tensor, need in zip(both, needed)]
    log_matmul_exp(*one).square().sum().backward()
    for tensor, expected, need in zip(one, both, needed):
        if need:
            assert_close(tensor.grad, expected.grad, **EXACT)
        else:
            assert tensor.grad is None


def test_blocks_change_nothing(monkeypatch):
    results = []
    for block in (2**22, 1, 2 * 4 * 5):
        monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', block)
        left, right = (tensor.requires_grad_() for tensor in factors(7, 4, 5))
        out = log_matmul_exp(left, right)
        out.square().sum().backward()
        results.append((out.detach(), left.grad, right.grad))
    for result in results[1:]:
        for tensor, expected in zip(result, results[0]):
            assert_close(tensor, expected, **EXACT)


@pytest.mark.parametrize('block', [2**22, 1, 2 * 4 * 5])
def test_a_matrix_for_each_row(monkeypatch, block):
    monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', block)
    left, _ = factors(7, 4, 5)
    right = torch.stack([factors(1, 4, 5, seed=seed)[1] for seed in range(7)])
    right[3, 1] = -torch.inf
    both = left.requires_grad_(), right.requires_grad_()
    grads = torch.autograd.grad(log_matmul_exp(*both).square().sum(), both)
    rows = [log_matmul_exp(left[i : i + 1], right[i]) for i in range(7)]
    assert_close(log_matmul_exp(*both), torch.cat(rows), **EXACT)
    expected = torch.autograd.grad(torch.cat(rows).square().sum(), both)
    for grad, other in zip(grads, expected):
        assert_close(grad, other, **EXACT)


def test_scratch_is_bounded_forward_and_backward(monkeypatch):
    monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', 3 * 20 * 20)
    left, right = (tensor.requires_grad_() for tensor in factors(50, 20, 20))
    with LargestTensor() as largest:
        log_matmul_exp(left, right).sum().backward()
    assert 0 < largest.numel <= 3 * 20 * 20


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 5)),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.0, 1.0, 50.0]),
)
def test_any_shape_and_scale(shape, seed, scale):
    left, right = factors(*shape, seed=seed, scale=scale)
    out = log_matmul_exp(left.requires_grad_(), right)
    assert_close(out, (left[:, :, None] + right).logsumexp(dim=1), **EXACT)
    out.sum().backward()
    # Shares of one sum: they add up to 1 for each output.
    assert_close(left.grad.sum(dim=1), torch.full((shape[0],), float(shape[2])).double(), **EXACT)


def test_second_derivatives_are_refused():
    left, right = factors(2, 3, 4)
    out = log_matmul_exp(left.requires_grad_(), right)
    (grad,) = torch.autograd.grad(out.square().sum(), left, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


# Cost of a plan on logarithms


def plans(samples=7, rows=4, columns=5, *, shared=True, seed=0):
    """Logarithms of scalings and kernel, and costs of which every third is 0."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, columns) if shared else (samples, rows, columns)
    shapes = ((samples, rows), (samples, columns), shape)
    logarithms = [
        torch.randn(size, generator=generator, dtype=torch.float64) - 1 for size in shapes
    ]
    cost = torch.rand(shape, generator=generator, dtype=torch.float64)
    cost.view(-1)[::3] = 0
    return *logarithms, cost


def written_out(log_row, log_column, log_kernel, cost):
    plan = (log_row[:, :, None] + log_kernel + log_column[:, None, :]).exp()
    return (plan * cost).sum(dim=(1, 2))


@SHARED
@pytest.mark.parametrize('block', [2**22, 1, 2 * 4 * 5])
def test_cost_of_the_plan_written_out_whatever_the_blocks(monkeypatch, shared, block):
    monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', block)
    arguments = [tensor.requires_grad_() for tensor in plans(shared=shared)]
    results = []
    for function in (log_plan_cost, written_out):
        value = function(*arguments)
        weights = torch.linspace(-1, 2, len(value), dtype=torch.float64)
        results.append((value, *torch.autograd.grad(value @ weights, arguments)))
    for one, other in zip(*results):
        assert_close(one, other, **EXACT)


@SHARED
def test_gradcheck_of_the_cost_of_a_plan_where_costs_are_zero(shared):
    arguments = [tensor.requires_grad_() for tensor in plans(3, 2, 3, shared=shared)]
    assert torch.autograd.gradcheck(log_plan_cost, arguments)


def test_a_plan_without_mass_costs_nothing_and_has_no_gradient_for_its_scaling():
    log_row, log_column, log_kernel, cost = plans()
    log_row[0], log_row[1, 2], log_column[2, 3] = (-torch.inf,) * 3
    arguments = [tensor.requires_grad_() for tensor in (log_row, log_column, log_kernel, cost)]
    value = log_plan_cost(*arguments)
    assert_close(value, written_out(*arguments), **EXACT)
    assert value[0] == 0
    value.sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in arguments)
    assert (log_row.grad[0] == 0).all()
    assert log_row.grad[1, 2] == log_column.grad[2, 3] == 0


@pytest.mark.parametrize('wanted', range(4))
def test_gradient_of_one_argument_alone(wanted):
    arguments = [tensor.requires_grad_() for tensor in plans()]
    expected = torch.autograd.grad(log_plan_cost(*arguments).sum(), arguments)[wanted]
    arguments = [tensor.detach() for tensor in arguments]
    arguments[wanted].requires_grad_()
    log_plan_cost(*arguments).sum().backward()
    assert torch.equal(arguments[wanted].grad, expected)


@SHARED
def test_cost_of_no_plans(shared):
    arguments = [tensor.requires_grad_() for tensor in plans(0, shared=shared)]
    value = log_plan_cost(*arguments)
    assert value.shape == (0,)
    value.sum().backward()
    assert all((tensor.grad == 0).all() for tensor in arguments)


def test_scratch_of_plans_is_bounded_forward_and_backward(monkeypatch):
    monkeypatch.setattr(scaling, '_PRODUCT_BLOCK_ELEMENTS', 3 * 20 * 20)
    arguments = [tensor.requires_grad_() for tensor in plans(50, 20, 20)]
    with LargestTensor() as largest:
        log_plan_cost(*arguments).sum().backward()
    assert 0 < largest.numel <= 3 * 20 * 20


def test_second_derivatives_of_the_cost_of_a_plan_are_refused():
    *rest, cost = plans()
    value = log_plan_cost(*rest, cost.requires_grad_()).square().sum()
    (grad,) = torch.autograd.grad(value, cost, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()
