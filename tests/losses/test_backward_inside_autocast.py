"""``backward()`` inside an autocast block: every loss has the gradients that it has outside."""

from __future__ import annotations

import pytest
import torch

from loss_cases import CASES, build
from precision import AUTOCAST
from wkd_det import registry


def test_no_loss_is_missing():
    assert {name.split()[0] for name in CASES} >= set(registry.LOSSES)


@pytest.mark.parametrize('dtype', AUTOCAST)
@pytest.mark.parametrize('around', ['backward', 'both'])
@pytest.mark.parametrize('name', CASES)
def test_gradients_are_those_outside(name, around, dtype):
    case = build(name)
    gradients = []
    for inside in (False, True):
        leaf = case.student.clone().requires_grad_()
        with torch.autocast('cpu', dtype=dtype, enabled=inside and around == 'both'):
            value = case.value(leaf)
        with torch.autocast('cpu', dtype=dtype, enabled=inside):
            value.backward()
        gradients.append(leaf.grad)
    assert gradients[0].any()
    assert torch.equal(*gradients)
