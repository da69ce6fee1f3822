"""EMD+IPOT: by hand, against public ports of the solver, and the exact transport.

Properties shared by all losses of vectors are tested in test_vector_losses.py.
"""

from __future__ import annotations

import ot
import pytest
import torch
from torch.testing import assert_close

from golden import check, golden
from wkd_det import registry
from wkd_det.losses.ipot import ipot_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations


def test_a_set_in_another_order_costs_nothing():
    vectors = torch.eye(4, dtype=torch.float64)
    assert ipot_loss(vectors, 3 * vectors.roll(1, 0)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('case', ['0', '1', '2'])
@pytest.mark.parametrize('through_plan', [False, True])
def test_the_solver_of_public_ports(case, through_plan):
    student = golden('vectors')['student_same_width'].requires_grad_()
    fields = golden(f'ipot/{case}')
    options = {name: fields[name] for name in ('beta', 'inner', 'outer')}
    loss = ipot_loss(student, fields['teacher'], through_plan=through_plan, **options)
    if through_plan:
        check(f'ipot/{case}', loss, student=student)
    else:
        (gradient,) = torch.autograd.grad(loss, student)
        assert_close(gradient, fields['grad_student_plan_detached'], **EXACT)
        assert loss.item() == pytest.approx(fields['loss'], rel=1e-10)


def test_many_steps_give_the_exact_transport():
    student, teacher = golden('vectors')['student_same_width'], golden('ipot/0')['teacher']
    cost = 1 - torch.nn.functional.cosine_similarity(teacher[:, None], student, dim=2)
    exact = ot.emd2([1 / 6] * 6, [1 / 6] * 6, cost.numpy())
    value = ipot_loss(student, teacher, beta=0.1, outer=500)
    assert value.item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize('name', ['outer', 'inner'])
def test_numbers_of_steps(name):
    vectors = torch.eye(2)
    message = f'^{name} must be an integer of at least 1, got 0$'
    with pytest.raises(ValueError, match=message):
        ipot_loss(vectors, vectors, **{name: 0})
    with pytest.raises(ValueError, match=message):
        registry.build(dict(type='IPOTLoss', **{name: 0}))


def test_step_size():
    with pytest.raises(ValueError, match='^beta must be positive, got 0$'):
        registry.build(dict(type='IPOTLoss', beta=0))
