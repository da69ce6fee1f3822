"""Rows of the fused kernels: where a GPU takes them, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gpu_check import losses, numerics
from gpu_check.losses import LogitSize, MapSize
from wkd_det.ops.fused import switch

CPU = torch.device('cpu')


@pytest.mark.parametrize(('has', 'classes', 'expected'), [(1, 5, 1), (1, 129, 0), (0, 5, 0)])
def test_wkd_l(monkeypatch, has, classes, expected):
    monkeypatch.setattr(losses, 'takes_fused', lambda tensor: bool(has))
    names = [name for name, _ in losses._of_logits(LogitSize('few', 2, classes, 1.0), CPU)]
    assert names.count('WKD-L, fused') == expected


@pytest.mark.parametrize('has', [True, False])
def test_wkd_f(monkeypatch, has):
    monkeypatch.setattr(losses, 'takes_fused', lambda tensor: has)
    size = MapSize('few', [(2, 3, 4, 4)], 2)
    names = [name for name, _ in losses._of_maps(size, CPU, torch.float32)]
    assert names.count('WKD-F, fused') == has


def test_the_kernels_are_asked_for_while_the_loss_runs():
    assert losses._fused(lambda: switch._asked)
    assert not switch._asked


@pytest.mark.parametrize(
    ('is_gpu', 'name', 'expected'),
    [(True, 'WKDLogitLoss', 1), (True, 'KDLoss', 0), (False, 'WKDLogitLoss', 0)],
)
def test_numbers(is_gpu, name, expected):
    modes = list(numerics._modes(SimpleNamespace(is_gpu=is_gpu), name))
    assert modes.count('fused') == expected


def test_the_names_are_those_of_samples():
    assert set(numerics._FUSED) <= set(numerics.samples())
