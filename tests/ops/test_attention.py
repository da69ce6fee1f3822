"""Attention in blocks: torch's own as the oracle, sums by query, bounded memory, autocast."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from measured_calls import LargestTensor
from precision import AUTOCAST
from wkd_det.ops import attention
from wkd_det.ops.attention import attend

EXACT = dict(rtol=1e-11, atol=1e-12)  # some hundred float64 operations


def problem(images=2, heads=3, queries=5, pixels=7, width=4, *, dtype=torch.float64, scale=1.0):
    """Query, key, value, pixels outside and counted queries; some of each do not count."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    outside = torch.zeros(images, pixels, dtype=torch.bool)
    outside[0, pixels - 2 :] = True
    counted = (torch.arange(queries) < torch.tensor([[2], [queries]])[:images]).to(dtype)
    return (
        random(images, heads, queries, width),
        random(images, heads, pixels, width),
        random(images, heads, pixels, width + 1),
        outside,
        counted,
    )


def written_out(query, key, value, outside, counted):
    """The formula of the docstring with the attention of all queries at once."""
    lowest = torch.finfo(query.dtype).min
    weights = (query @ key.mT).masked_fill(outside[:, None, None], lowest).softmax(dim=3)
    return weights @ value, torch.einsum('nmls,nl->nms', weights.detach(), counted)


def values_and_gradients(function, arguments, wanted=(0, 1, 2)):
    arguments = [tensor.clone() for tensor in arguments]
    for index in wanted:
        arguments[index].requires_grad_()
    found, attended = function(*arguments)
    slopes = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
    given = [arguments[index] for index in wanted]
    gradients = torch.autograd.grad((found * slopes).sum(), given)
    return found.detach(), attended, *gradients


@pytest.fixture(params=[1, 7, 2 * 7, 15 * 7, 30 * 7, 2**22], ids='{} at once'.format)
def blocks(request, monkeypatch):
    monkeypatch.setattr(attention, '_BLOCK_ELEMENTS', request.param)


def test_one_pixel_is_all_that_is_found():
    query, key, value, outside, counted = problem(pixels=1)
    found, attended = attend(query, key, value, torch.zeros_like(outside), counted)
    assert_close(found, value.expand_as(found), **EXACT)
    assert_close(attended, counted.sum(dim=1)[:, None, None].expand_as(attended), **EXACT)


@pytest.mark.usefixtures('blocks')
def test_torchs_own_attention():
    query, key, value, outside, counted = problem()
    found, _ = attend(query, key, value, outside, counted)
    expected = F.scaled_dot_product_attention(
        query, key, value, attn_mask=~outside[:, None, None], scale=1.0
    )
    assert_close(found, expected, **EXACT)


@pytest.mark.parametrize('wanted', [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.usefixtures('blocks')
def test_formula_and_gradient_whatever_the_blocks(wanted):
    ours = values_and_gradients(attend, problem(), wanted)
    for one, other in zip(ours, values_and_gradients(written_out, problem(), wanted)):
        assert_close(one, other, **EXACT)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_scores_of_any_size(dtype):
    """Scores reach some thousand: most attention is 0, one pixel takes all."""
    *tensors, outside, counted = problem(dtype=dtype, scale=40.0)
    ours = values_and_gradients(attend, (*tensors, outside, counted))
    tensors = [tensor.double() for tensor in tensors]
    expected = values_and_gradients(written_out, (*tensors, outside, counted.double()))
    # Scores of 4000 are known to 4000 roundings, and weights to the same, relative.
    tolerance = 1e-3 if dtype == torch.float32 else 1e-11
    for one, other in zip(ours, expected):
        scale = max(other.abs().max().item(), 1.0)
        assert_close(one.double(), other, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.usefixtures('blocks')
def test_gradcheck():
    *tensors, outside, counted = problem(2, 2, 3, 7, 2)
    for tensor in tensors:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: attend(*args, outside, counted)[0], tensors)


def test_attention_sums_to_one_and_leaves_out_what_is_outside():
    query, key, value, outside, counted = problem()
    _, attended = attend(query, key, value, outside, torch.ones_like(counted))
    assert_close(attended.sum(dim=2), torch.full((2, 3), 5.0).double(), **EXACT)
    assert (attended[0][:, outside[0]] == 0).all()


def test_an_image_without_a_pixel_attends_evenly_and_has_no_gradient_for_scores():
    query, key, value, outside, counted = problem()
    outside[0] = True
    arguments = (query, key, value, outside, counted)
    found, attended, *gradients = values_and_gradients(attend, arguments)
    assert_close(found[0], value[0].mean(dim=1, keepdim=True).expand_as(found[0]), **EXACT)
    assert_close(attended[0], torch.full((3, 7), 2 / 7, dtype=torch.float64), **EXACT)
    assert all((gradient[0] == 0).all() for gradient in gradients[:2])
    for one, other in zip(gradients, values_and_gradients(written_out, arguments)[2:]):
        assert_close(one, other, **EXACT)


def test_the_sum_has_no_gradient():
    *tensors, outside, counted = problem()
    found, attended = attend(*(tensor.requires_grad_() for tensor in tensors), outside, counted)
    assert found.requires_grad
    assert not attended.requires_grad


def test_a_second_derivative_is_refused():
    query, *rest = problem()
    found, _ = attend(query.requires_grad_(), *rest)
    (gradient,) = torch.autograd.grad(found.square().sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


@pytest.mark.parametrize(('images', 'queries'), [(0, 5), (2, 0)])
def test_nothing_to_attend_with(images, queries):
    *tensors, outside, counted = problem()
    query, key, value = (tensor[:images] for tensor in tensors)
    query = query[:, :, :queries].requires_grad_()
    found, attended = attend(query, key, value, outside[:images], counted[:images, :queries])
    assert found.shape == (images, 3, queries, 5)
    assert attended.shape == (images, 3, 7)
    found.sum().backward()
    assert (attended == 0).all()


@pytest.mark.parametrize('queries', [10, 40, 160])
def test_memory_does_not_grow_with_the_queries(monkeypatch, queries):
    """The largest tensor is an argument, although the attention has 5 to 80 times its size."""
    monkeypatch.setattr(attention, '_BLOCK_ELEMENTS', 1000)
    *tensors, outside, counted = problem(2, 4, queries, 200, 2)
    with LargestTensor() as largest:
        found, _ = attend(*(tensor.requires_grad_() for tensor in tensors), outside, counted)
        found.sum().backward()
    assert largest.numel == max(tensors[2].numel(), found.numel())


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_autocast_reaches_neither_values_nor_gradients(dtype):
    arguments = problem(dtype=torch.float32)
    expected = values_and_gradients(attend, arguments)
    with torch.autocast('cpu', dtype=dtype):
        inside = values_and_gradients(attend, arguments)
    for one, other in zip(inside, expected):
        assert torch.equal(one, other)
