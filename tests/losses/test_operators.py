"""How many operators a loss dispatches, and how often it passes over the maps, both directions.

Counted on the meta device, where losses do what they do on accelerators: there, each operator that
is no view is a launch or more, and a pass is a map that comes from memory or goes to it.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wkd_det.losses.wkd_feature import WKDFeatureLoss
from wkd_det.losses.wkd_logit import WKDLogitLoss


class Operators(TorchDispatchMode):
    """Counts operators that are neither views nor allocations, and tensors as large as the maps."""

    def __init__(self, maps=None):
        super().__init__()
        self.bytes = 0 if maps is None else maps.untyped_storage().nbytes()
        self.size = 1 if maps is None else maps.numel()
        self.count = self.passes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view and 'empty' not in func.name():
            self.count += 1
            read = {name: value for name, value in kwargs.items() if name != 'out'}
            for tensor in tree_leaves((args, read, out)):
                # Parts of a map have its storage.
                if isinstance(tensor, torch.Tensor):
                    whole = self.bytes and tensor.untyped_storage().nbytes() >= self.bytes
                    self.passes += tensor.numel() / self.size if whole else 0
        return out


@pytest.fixture(autouse=True)
def an_accelerator_after_the_first_call(monkeypatch):
    monkeypatch.setattr('wkd_det.ops.checks.values_are_due', lambda value, *subject: False)
    monkeypatch.setattr(torch, 'autocast', lambda **options: contextlib.nullcontext())


def operators(loss, *shape, target=None):
    """Operators of a loss and its gradient, on tensors without values."""
    student, teacher = (torch.empty(shape, device='meta') for _ in range(2))
    student.requires_grad_()
    arguments = (student, teacher) if target is None else (student, teacher, target)
    with Operators(student) as counted:
        loss(*arguments).backward()
    assert student.grad.shape == shape
    return counted


@pytest.mark.parametrize(
    ('options', 'most'),
    [
        (dict(), 110),
        (dict(num_iters=20), 190),
        (dict(log_domain=False, temperature=4.0, transport_weight=2.0, loss_weight=0.5), 117),
    ],
    ids=['defaults', '20 rounds', 'temperature and weights'],
)
def test_operators_of_wkd_l(options, most):
    loss = WKDLogitLoss(cost=1 - torch.eye(81), **options).to('meta')
    target = torch.zeros(512, dtype=torch.int64, device='meta')
    assert most - 10 < operators(loss, 512, 81, target=target).count <= most


@pytest.mark.parametrize(
    ('shape', 'grid'),
    [((4, 16, 16, 16), 1), ((4, 16, 16, 16), 4), ((4, 16, 18, 18), 4), ((2, 256, 100, 136), 16)],
)
def test_passes_of_wkd_f(shape, grid):
    """Each map is read once; backward the student's is read, and its gradient made in place."""
    counted = operators(WKDFeatureLoss(grid=grid), *shape)
    assert counted.passes == pytest.approx(6)


def test_a_pass_is_what_is_read_or_written():
    maps = torch.ones(2, 3, 4, 4)
    with Operators(maps) as counted:
        doubled = maps * 2  # read, written
        doubled[:, :, :2].sum()  # half of it read
        doubled.add_(1)  # read, written
        torch.mul(maps, 2, out=doubled)  # read, written
        torch.empty_like(maps).view(-1)
    assert counted.passes == 6.5
    assert counted.count == 4
