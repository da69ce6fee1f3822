"""Matrix scaling: blocks of samples, the derivative made on the way, what is kept for it."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from wkd_det.ops import scaling
from wkd_det.ops.scaling import scaled_transport

GUARD = 1e-8


def problem(samples=11, classes=5, *, shared=True, seed=0):
    """Marginals, kernel, kernel times cost, and a support that leaves one class out a sample."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    left_out = torch.arange(samples)[:, None] % classes
    source, target = logits.scatter(2, left_out.expand(2, -1, -1), -torch.inf).softmax(2)
    shape = (classes, classes) if shared else (samples, classes, classes)
    cost = torch.rand(shape, generator=generator, dtype=torch.float64)
    kernel = torch.exp(-cost / 0.2)
    support = torch.ones(samples, classes, dtype=torch.bool).scatter(1, left_out, False)
    return source, target, kernel, kernel * cost, support


def unrolled(source, target, kernel, kernel_cost, support, num_iters):
    """The formula of the docstring, left to autograd."""
    kernel, kernel_cost = (
        matrix.expand(len(source), *matrix.shape[-2:]) for matrix in (kernel, kernel_cost)
    )
    row = support.double() / support.sum(dim=1, keepdim=True)
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
    *arguments, support = problem(5, 3, shared=shared)
    for index in wanted:
        arguments[index].requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: scaled_transport(*args, support, 3), arguments)


@pytest.mark.parametrize('samples', [0, 2, 127, 128, 129, 1024, 5000])
@pytest.mark.parametrize('axis', [0, 1])
def test_blocks_cover_all_and_differ_by_one_at_most(samples, axis):
    shape = (samples, 1, 81) if axis == 0 else (1, samples, 81)
    parts = [block[axis] for block in scaling._blocks(torch.zeros(shape), 10)]
    covered = [list(range(samples)[part]) for part in parts]
    assert sum(covered, []) == list(range(samples))
    assert not parts or max(map(len, covered)) - min(map(len, covered)) <= 1
    assert samples < 5000 or len(parts) > 1


@SHARED
def test_no_samples(shared):
    shape = (4, 4) if shared else (0, 4, 4)
    arguments = [torch.zeros(0, 4), torch.zeros(0, 4), torch.ones(shape), torch.ones(shape)]
    arguments = [tensor.requires_grad_() for tensor in arguments]
    value = scaled_transport(*arguments, torch.ones(0, 4, dtype=torch.bool), 3)
    assert value.shape == (0,)
    value.sum().backward()
    assert all((tensor.grad == 0).all() for tensor in arguments)


@pytest.mark.parametrize('num_iters', [2, 50])
def test_the_graph_keeps_one_derivative_not_the_rounds(num_iters):
    *arguments, support = problem(40, 6)
    kept = []
    arguments[0].requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        scaled_transport(*arguments, support, num_iters)
    assert kept == [40 * 6]


@pytest.mark.parametrize('wanted', [0, 2])
def test_a_second_derivative_is_refused(wanted):
    *arguments, support = problem()
    arguments[wanted].requires_grad_()
    value = scaled_transport(*arguments, support, 2).square().sum()
    (gradient,) = torch.autograd.grad(value, arguments[wanted], create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()
