"""WCoRD, our reading of it: both parts by hand and against what they stand for, the critic.

The local part is also tested in test_vector_losses.py, what it shares with CRD in test_crd.py.
"""

from __future__ import annotations

import ot
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from wkd_det import registry
from wkd_det.losses.wcord import gckt_loss, lckt_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations
TINY = dict(student_channels=5, teacher_channels=7, width=4, num_samples=24, negatives=9)


def module(**changes):
    torch.manual_seed(0)
    loss = registry.build(dict(type='WCoRDLoss', **dict(TINY, **changes)))
    loss.set_samples(torch.arange(24) % 4)
    return loss


def batch(samples=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(samples, 5, 2, 2, generator=generator).to(dtype)
    teacher = torch.randn(samples, 7, 2, 2, generator=generator).to(dtype)
    return student, teacher, torch.randperm(24, generator=generator)[:samples]


def operands(samples=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    sizes = (samples, samples, 4, 10, 10)
    drawn = [torch.randn(n, 4, generator=generator).to(dtype) for n in sizes]
    lists = torch.randint(10, (samples, 5), generator=generator)
    return *(F.normalize(one, dim=1) for one in drawn), lists


def test_local_part_is_the_entropic_transport_between_the_sets():
    student, teacher, *_ = operands(6)
    mass = torch.full((6,), 1 / 6, dtype=torch.float64)
    cost = 1 - student @ teacher.mT
    plan = ot.sinkhorn(mass, mass, cost, 0.2, stopThr=1e-14)
    value = lckt_loss(student, teacher, epsilon=0.2, num_iters=500)
    assert_close(value, (plan * cost).sum(), rtol=1e-8, atol=0)


def test_global_part_by_hand():
    unit = torch.eye(2, dtype=torch.float64)
    critic = torch.tensor(
        [[1.0, 0.0], [0.5, 0.0]], dtype=torch.float64
    )  # g = t_0 s_0 + t_1 s_0 / 2
    value = gckt_loss(
        unit[:1], unit[1:], critic, unit, unit, torch.tensor([[0, 1]]), negative_weight=3.0
    )
    # Together 1/2; the student with both rows: 1, 1/2; the teacher with both rows: 1/2, 0.
    assert value.item() == pytest.approx(3 * (3 / 4 + 1 / 4) / 2 - 1 / 2)


def test_global_part_written_out():
    student, teacher, critic, student_bank, teacher_bank, lists = operands()
    own = torch.einsum('nd,de,ne->n', teacher, critic, student).mean()
    first = torch.einsum('nkd,de,ne->nk', teacher_bank[lists], critic, student).mean()
    second = torch.einsum('nd,de,nke->nk', teacher, critic, student_bank[lists]).mean()
    value = gckt_loss(*operands(), negative_weight=0.7)
    assert_close(value, 0.7 * (first + second) / 2 - own, **EXACT)


def test_gradcheck_of_the_global_part():
    *learned, one, other, lists = operands(2)
    assert torch.autograd.gradcheck(
        lambda *learned: gckt_loss(*learned, one, other, lists),
        [tensor.requires_grad_() for tensor in learned],
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_of_the_global_part(dtype):
    given = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in operands()]
    floats = [tensor.float() if tensor.is_floating_point() else tensor for tensor in given]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = gckt_loss(*given)
    assert value.dtype == torch.float32
    assert torch.equal(value, gckt_loss(*floats))


def test_no_samples():
    student, teacher, *rest = operands(0)
    value = gckt_loss(student.requires_grad_(), teacher, *rest)
    value.backward()
    assert value.item() == 0


# The module


def test_parts_and_weights_add_up():
    given = batch()
    values = {}
    for weights in ((1, 0), (0, 1), (0.5, 2)):
        loss = module(global_weight=weights[0], local_weight=weights[1], loss_weight=3.0)
        torch.manual_seed(2)
        values[weights] = loss(*given)
    assert_close(values[0.5, 2], 0.5 * values[1, 0] + 2 * values[0, 1])
    assert module().scalable == ('global_weight', 'local_weight')


def test_each_part_trains_its_own():
    student, teacher, index = batch()
    trained = {}
    for name in ('global_weight', 'local_weight'):
        other = dict(global_weight='local_weight', local_weight='global_weight')[name]
        loss = module(**{other: 0.0})
        loss(student, teacher.requires_grad_(), index).backward()
        trained[name] = {key.split('.')[0] for key, p in loss.named_parameters() if p.grad.any()}
    assert trained['global_weight'] == {'student_embedding', 'teacher_embedding', 'critic'}
    assert trained['local_weight'] == {'student_embedding'}
    assert teacher.grad is None


def test_the_critic_is_held_to_the_spectral_norm_1():
    loss = module()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        loss(*batch()).backward()
        optimizer.step()
    norm = torch.linalg.matrix_norm(loss.eval().critic.weight, 2)
    assert norm.item() == pytest.approx(1, abs=0.05)  # one power iteration a step follows it


def test_weights_banks_and_critic_are_saved():
    one, other = module(), module()
    one(*batch())
    other.load_state_dict(one.state_dict())
    for loss in (one, other):
        torch.manual_seed(3)
        loss.value = loss(*batch())
    assert torch.equal(one.value, other.value)


def test_module_in_half_precision():
    given = batch(dtype=torch.bfloat16)
    values = []
    for enabled in (False, True):
        loss = module()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            torch.manual_seed(0)
            values.append(loss(*given))
    assert torch.equal(*values)


def test_wrong_operands():
    student, teacher, critic, one, other, lists = operands()
    with pytest.raises(ValueError, match=r'^critic must have the shape \(4, 4\), got \(3, 4\)$'):
        gckt_loss(student, teacher, critic[:3], one, other, lists)
    with pytest.raises(ValueError, match=r'^negatives must hold int64 and have the shape \(3, L\)'):
        gckt_loss(student, teacher, critic, one, other, lists[:2])
    with pytest.raises(ValueError, match='^student_bank and teacher_bank must share a shape'):
        gckt_loss(student, teacher, critic, one[:9], other, lists)
    with pytest.raises(TypeError, match='^negatives must be a tensor, got'):
        gckt_loss(student, teacher, critic, one, other, lists.tolist())


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('epsilon', 'epsilon must be positive, got -1'),
        ('num_iters', 'num_iters must be an integer of at least 1, got -1'),
        ('global_weight', 'global_weight must not be negative, got -1'),
        ('local_weight', 'local_weight must not be negative, got -1'),
        ('negative_weight', 'negative_weight must not be negative, got -1'),
    ],
)
def test_options_outside_their_range(option, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        registry.build(dict(type='WCoRDLoss', **dict(TINY, **{option: -1})))
