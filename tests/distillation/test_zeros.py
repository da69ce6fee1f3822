"""A zero with zero gradients."""

import pytest
import torch

from wkd_det.distillation.zeros import zero_of


def test_value_and_gradients():
    sources = [
        torch.tensor([1.0, float('nan')], requires_grad=True),
        torch.full((2, 3), float('inf'), dtype=torch.float64, requires_grad=True),
        torch.ones(()),  # frozen
    ]
    zero = zero_of(*sources)
    assert zero == 0
    assert zero.shape == ()
    assert zero.dtype == torch.float32
    (5 * zero).backward()
    for source in sources[:2]:
        assert torch.equal(source.grad, torch.zeros_like(source))
        assert source.grad.dtype == source.dtype
    assert sources[2].grad is None


def test_other_gradients_stay_as_they_are():
    weight = torch.randn(3, 4, requires_grad=True)
    loss = weight.square().sum()
    (expected,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (loss + zero_of(weight)).backward()
    assert torch.equal(weight.grad, expected)
    assert weight.grad.is_contiguous()


def test_gradients_may_be_accumulated_and_changed_in_place():
    weight = torch.ones(2, 2, requires_grad=True)
    zero_of(weight).backward()
    weight.grad[0, 0] = 3.0  # no view of one number
    zero_of(weight).backward()
    assert weight.grad.tolist() == [[3.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize('count', [1, 20])
def test_operators_of_a_zero(count):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchDispatchMode):
        names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    sources = [torch.ones(3, requires_grad=True) for _ in range(count)]
    with Calls() as calls:
        zero_of(*sources)
    assert len(calls.names) == 1  # one launch, however many parameters there are
