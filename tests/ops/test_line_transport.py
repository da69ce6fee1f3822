"""Transport on a line: worked by hand, POT, gradients, units, equal histograms, precision."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch.testing import assert_close

from wkd_det.functional import line_transport


def histograms(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return logits.softmax(dim=-1)


@pytest.mark.parametrize('order', [1, 2])
def test_two_bins(order):
    """What is missing in a bin travels one unit: |p - q| for either order."""
    source, target = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.2, 0.8]])
    assert_close(line_transport(source, target, order=order), torch.tensor([0.5]))


@pytest.mark.parametrize(('order', 'split', 'joined'), [(1, 2.0, 1.0), (2, 5.0, 1.0)])
def test_four_bins(order, split, joined):
    """From 0 a half to 1 and a half to 3: (1 + 3) / 2 and (1 + 9) / 2. Halves that move by one bin
    each: 1, where moving only one of them by two bins would cost as much for order 1 alone."""
    target = torch.tensor([0.0, 0.5, 0.0, 0.5])
    assert line_transport(torch.tensor([1.0, 0, 0, 0]), target, order=order) == split
    assert line_transport(torch.tensor([0.5, 0, 0.5, 0]), target, order=order) == joined


@pytest.mark.parametrize('order', [1, 2])
def test_the_exact_solver_of_pot(order):
    source, target = histograms(40, 17)
    bins = np.arange(17.0)
    cost = np.abs(bins[:, None] - bins) ** order
    expected = [ot.emd2(one.numpy(), other.numpy(), cost) for one, other in zip(source, target)]
    found = line_transport(source, target, order=order)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_sums_over_pairs_of_the_docstring():
    source, target = histograms(5, 9)
    first, second = source.cumsum(-1), target.cumsum(-1)
    later = torch.ones(9, 9).triu(1)
    pairs = sum(
        (later * (one[:, :, None] - other[:, None, :]).clamp(min=0)).sum((1, 2))
        for one, other in ((first, second), (second, first))
    )
    expected = (first - second).abs().sum(-1) + 2 * pairs
    assert_close(line_transport(source, target, order=2), expected)
    assert_close(line_transport(source, target), (first - second).abs().sum(-1))


@pytest.mark.parametrize('order', [1, 2])
def test_gradcheck(order):
    source, target = histograms(4, 3, 6)
    source.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, t: line_transport(s, t, order=order), (source, target)
    )


@pytest.mark.parametrize('order', [1, 2])
def test_equal_histograms_cost_nothing_and_have_no_gradient(order):
    """In float32, where far bins add nothing to the sums any more, too."""
    for source in (histograms(8, 17)[0].float(), torch.tensor([[0.0, 0.25, 0.75, 0.0, 0.0]])):
        student = source.clone().requires_grad_()
        value = line_transport(student, source, order=order)
        value.sum().backward()
        assert not value.any()
        assert not student.grad.any()


def test_bins_are_units():
    """The same histograms on every second of twice as many bins are twice as far apart."""
    source, target = histograms(6, 5)
    wide = [torch.stack([one, 0 * one], dim=-1).flatten(-2) for one in (source, target)]
    assert_close(line_transport(*wide), 2 * line_transport(source, target))
    assert_close(line_transport(*wide, order=2), 4 * line_transport(source, target, order=2))


def test_the_distance_of_the_means_is_a_lower_bound():
    source, target = histograms(50, 17)
    bins = torch.arange(17.0, dtype=torch.float64)
    apart = (source @ bins - target @ bins).abs()
    assert (line_transport(source, target) >= apart - 1e-12).all()
    assert (line_transport(source, target, order=2) >= apart**2 - 1e-12).all()


def test_types_and_empty_batches():
    source, target = (one.bfloat16() for one in histograms(3, 5))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert line_transport(source, target).dtype == torch.float32
    nothing = torch.zeros(0, 4, 5, requires_grad=True)
    value = line_transport(nothing, nothing.detach(), order=2)
    assert value.shape == (0, 4)
    value.sum().backward()
    assert nothing.grad.shape == (0, 4, 5)


def test_memory_is_that_of_the_histograms():
    """No tensor of bins times bins is kept for the way back."""
    source, target = histograms(7, 64)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        line_transport(source.requires_grad_(), target, order=2).sum().backward()
    assert 0 < max(kept) <= 7 * 64


@pytest.mark.parametrize('order', [1, 2])
def test_deterministic_mode_calls_nothing_that_it_refuses(order, monkeypatch):
    """Such as ``cumsum`` on a GPU."""
    source, target = histograms(4, 3, 6)
    source.requires_grad_()
    expected = line_transport(source, target, order=order)
    (slope,) = torch.autograd.grad(expected.sum(), source)

    def refused(*args, **kwargs):
        raise RuntimeError('cumsum has no deterministic form')

    monkeypatch.setattr(torch.Tensor, 'cumsum', refused)
    monkeypatch.setattr(torch, 'are_deterministic_algorithms_enabled', lambda: True)
    found = line_transport(source, target, order=order)
    assert_close(found, expected)
    assert_close(torch.autograd.grad(found.sum(), source)[0], slope)


def test_errors():
    with pytest.raises(ValueError, match=r'share a shape \(..., B\), got \(2, 3\) and \(2, 4\)'):
        line_transport(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(TypeError, match='^target must be a tensor, got '):
        line_transport(torch.zeros(2, 3), [[0.0]])
    for order in (3, 0, True, 1.5):
        with pytest.raises(ValueError, match=f'order must be 1 or 2, got {order}'):
            line_transport(torch.zeros(2), torch.zeros(2), order=order)
