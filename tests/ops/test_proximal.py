"""IPOT: closed form, public ports, the exact plan as the limit, and masses."""

from __future__ import annotations

import ot
import pytest
import torch
from torch.testing import assert_close

from golden import golden
from wkd_det.ops.proximal import ipot_plan


def costs(rows, columns, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64).to(dtype)


def test_constant_costs_leave_the_product_of_the_masses():
    plan = ipot_plan(torch.full((2, 3), 0.7))
    assert_close(plan, torch.full((2, 3), 1 / 6))


@pytest.mark.parametrize('case', ['0', '1', '2'])
def test_plans_of_public_ports(case):
    fields = golden(f'ipot/{case}')
    options = {name: fields[name] for name in ('beta', 'inner', 'outer')}
    assert_close(ipot_plan(fields['cost'], **options), fields['plan'], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(('beta', 'outer'), [(0.02, 1000), (0.1, 3000)])
def test_the_limit_does_not_depend_on_the_step_size(beta, outer):
    cost = costs(5, 5)
    exact = ot.emd([0.2] * 5, [0.2] * 5, cost.numpy())
    assert_close(
        ipot_plan(cost, beta=beta, outer=outer), torch.from_numpy(exact), rtol=0, atol=1e-6
    )


def test_masses():
    plan = ipot_plan(costs(4, 7), outer=200)
    assert_close(plan.sum(dim=0), torch.full((7,), 1 / 7).double(), rtol=1e-6, atol=0)
    assert_close(plan.sum(dim=1), torch.full((4,), 1 / 4).double(), rtol=1e-2, atol=0)


@pytest.mark.parametrize('beta', [1e-3, 1e-4])
def test_a_small_step_size_underflows_nowhere(beta):
    plan = ipot_plan(1.9 + 0.1 * costs(6, 6, torch.float32), beta=beta)
    assert plan.isfinite().all()
    assert_close(plan.sum(dim=0), torch.full((6,), 1 / 6), rtol=1e-3, atol=0)  # logs up to 1e6


def test_gradcheck():
    cost = costs(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda cost: ipot_plan(cost, outer=3, inner=2), cost)


def test_half_precision():
    cost = costs(3, 4).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        plan = ipot_plan(cost)
    assert torch.equal(plan, ipot_plan(cost.float()))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r'^cost must have the shape \(I, J\) and entries, got '):
        ipot_plan(torch.ones(2))
    with pytest.raises(ValueError, match=r'^cost must have .* got \(0, 2\)$'):
        ipot_plan(torch.ones(0, 2))
    with pytest.raises(TypeError, match='^cost must be a tensor, got'):
        ipot_plan([[1.0]])
    with pytest.raises(ValueError, match='^beta must be positive, got -1$'):
        ipot_plan(torch.ones(2, 2), beta=-1)
    with pytest.raises(ValueError, match='^inner must be an integer of at least 1, got 0.5$'):
        ipot_plan(torch.ones(2, 2), inner=0.5)
