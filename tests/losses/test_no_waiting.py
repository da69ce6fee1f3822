"""Losses and connectors on the meta device, whose tensors have no values.

Who reads a value, for which the host would wait on a GPU, fails here on any machine; so does a
tensor that is made on the CPU, which would be copied.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from loss_cases import CASES, build, drawing
from wkd_det import losses, registry
from wkd_det.ops import checks

# Rows of pixels that count, of maps of 6 x 7.
MASK = (torch.arange(6) < 4)[None, :, None].expand(2, 6, 7)
MORE = {
    'CRDLoss that draws': lambda: drawing('CRDLoss'),
    'WCoRDLoss that draws': lambda: drawing('WCoRDLoss'),
    'CTKDLoss of DKD': lambda: build('DKDLoss').given(losses.CTKDLoss(loss=dict(type='DKDLoss'))),
    'NKDLoss of soft labels': lambda: build('NKDLoss').given(target=torch.full((6, 9), 1 / 9)),
    'WKDFeatureLoss with a mask': lambda: build('WKDFeatureLoss diag w2').given(mask=MASK),
    'WKDFeatureLoss pmf with a mask': lambda: build('WKDFeatureLoss pmf w2').given(mask=MASK),
    'FitNetLoss with a mask': lambda: build('FitNetLoss').given(mask=MASK),
}
CONNECTORS = {
    'ABFConnector': dict(student_channels=(8, 8), teacher_channels=(6, 6), mid_channels=4),
    'BottleneckConnector': dict(mid_channels=4),
    'OFABranch': dict(stage=2),
    'TransposedConvConnector': {},
}


class OnOneDevice(TorchDispatchMode):
    """No operation makes a tensor of another device than meta."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
        assert all(one.is_meta for one in made), f'{func} makes a tensor on the CPU'
        return out


@pytest.fixture(autouse=True)
def labels_were_looked_at(monkeypatch):
    """An accelerator after the first call; and autocast, which knows no meta device, is off."""

    class Everything:
        def __contains__(self, key):
            return True

        def add(self, key):
            pass

    monkeypatch.setattr(checks, '_LOOKED_AT', Everything())
    autocast = torch.autocast

    def without_meta(device_type, **options):
        if device_type == 'meta':
            return contextlib.nullcontext()
        return autocast(device_type, **options)

    monkeypatch.setattr(torch, 'autocast', without_meta)


def test_no_loss_and_no_connector_is_missing():
    assert {name.split()[0] for name in CASES} >= set(registry.LOSSES)
    assert set(CONNECTORS) <= set(registry.CONNECTORS)


@pytest.mark.parametrize('name', [*CASES, *MORE])
def test_no_loss_reads_a_value(name):
    case = MORE[name]() if name in MORE else build(name)
    case.value(case.student)  # what is found once, from a first batch
    case = case.to('meta')
    student = case.student.requires_grad_()
    with OnOneDevice():
        value = case.value(student)
        value.backward()
    assert value.shape == ()
    assert student.grad.shape == student.shape


@pytest.mark.parametrize('name', registry.CONNECTORS)
def test_no_connector_reads_a_value(name):
    options = dict(dict(student_channels=8, teacher_channels=8), **CONNECTORS.get(name, {}))
    connector = registry.build(dict(type=name, **options)).to('meta')
    maps = torch.empty(4, 8, 8, 8, device='meta', requires_grad=True)
    given = [maps, maps[:, :, ::2, ::2]] if connector.spans_levels else maps
    with OnOneDevice():
        results = connector(given)
        results = results if isinstance(results, list) else [results]
        sum(result.sum() for result in results).backward()
    assert maps.grad.shape == maps.shape
    assert connector.training


def test_a_value_that_is_read_fails():
    """So does this test see what it looks for."""
    with pytest.raises((RuntimeError, NotImplementedError), match='meta'):
        bool(torch.ones(1, device='meta').all())
    with pytest.raises(AssertionError, match='makes a tensor on the CPU'), OnOneDevice():
        torch.ones(2, device='meta') * torch.ones(2).sum()
