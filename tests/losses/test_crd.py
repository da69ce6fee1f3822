"""CRD: by hand, against its reference over two steps, blocks, banks in checkpoints, errors."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from benchmarks.memory import peak_extra_bytes
from golden import check, golden, state
from wkd_det import registry
from wkd_det.losses.crd import contrast_constant, crd_loss

EXACT = dict(rtol=1e-10, atol=1e-12)  # some hundred float64 operations
TINY = dict(student_channels=5, teacher_channels=7, width=4, num_samples=24, negatives=9)
LABELS = torch.arange(24) % 4


def module(seed=0, **changes):
    torch.manual_seed(seed)
    loss = registry.build(dict(type='CRDLoss', **dict(TINY, **changes)))
    loss.set_samples(LABELS)
    return loss


def of_the_reference(loss_weight=1.0):
    loss = module(loss_weight=loss_weight).double()
    fields = golden('crd/0')
    loss.student_embedding.load_state_dict(state('crd/0', 'embed_s.linear'))
    loss.teacher_embedding.load_state_dict(state('crd/0', 'embed_t.linear'))
    loss.banks.student.copy_(fields['memory_v1_before'])
    loss.banks.teacher.copy_(fields['memory_v2_before'])
    return loss


def step(loss, case):
    """Value, and the student's vectors, of a step of the reference."""
    fields = golden(case)
    student = fields['student'].requires_grad_()
    maps = student[:, :, None, None], fields['teacher'][:, :, None, None]
    return loss(*maps, fields['index'], negatives=fields['contrast_index'][:, 1:]), student


def batch(samples=3, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(samples, 5, 2, 2, generator=generator).to(dtype)
    teacher = torch.randn(samples, 7, 2, 2, generator=generator).to(dtype)
    return student, teacher, torch.randperm(24, generator=generator)[:samples]


def operands(samples=3, negatives=4, dtype=torch.float64):
    """Arguments of the function."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(n, 4, generator=generator).to(dtype) for n in (samples, samples, 10, 10)]
    lists = torch.randint(10, (samples, 1 + negatives), generator=generator)
    return *(F.normalize(one, dim=1) for one in drawn), lists


CONSTANTS = dict(student_constant=30.0, teacher_constant=20.0)


def written_out(student, teacher, student_bank, teacher_bank, lists, temperature):
    balance = (lists.shape[1] - 1) / len(student_bank)
    total = 0.0
    for vectors, bank, constant in ((student, teacher_bank, 30.0), (teacher, student_bank, 20.0)):
        scores = torch.einsum('nd,nkd->nk', vectors, bank[lists]) / temperature
        ratio = scores.exp() / constant
        below = ratio + balance + 1e-7
        total -= (ratio[:, 0] / below[:, 0]).log().sum() + (balance / below[:, 1:]).log().sum()
    return total / len(student)


def test_by_hand():
    unit = torch.eye(2, dtype=torch.float64)
    value = crd_loss(
        unit[:1], unit[1:], unit, unit, torch.tensor([[0, 1, 1]]), temperature=0.5, **CONSTANTS
    )
    # Student against the teacher's bank: e^2 and twice 1, over 30; teacher: 1 and twice e^2, by 20.
    e = torch.tensor(2.0).exp().double()
    sides = [(e / 30, 1 / 30), (1 / 20, e / 20)]
    expected = sum(
        (1 + 1 / torch.as_tensor(own)).log() + 2 * (1 + torch.as_tensor(other)).log()
        for own, other in sides
    )
    assert_close(value, expected, rtol=1e-6, atol=0)  # the guard of 1e-7


def test_two_steps_of_the_reference():
    loss = of_the_reference()
    for case in ('crd/0', 'crd/1'):
        value, student = step(loss, case)
        check(
            case,
            value,
            student=student,
            embed_s_weight=loss.student_embedding.weight,
            embed_t_weight=loss.teacher_embedding.weight,
        )
        fields = golden(case)
        assert_close(loss.banks.student, fields['memory_v1_after'], **EXACT)
        assert_close(loss.banks.teacher, fields['memory_v2_after'], **EXACT)
        assert loss.constants.tolist() == pytest.approx([fields['Z_v1'], fields['Z_v2']])


@pytest.mark.parametrize('elements', [1, 50, 10**6], ids='blocks of {}'.format)
def test_formula_and_gradient_whatever_the_blocks(monkeypatch, elements):
    monkeypatch.setattr('wkd_det.losses.crd._BLOCK_ELEMENTS', elements)
    given = operands()
    both = [one.requires_grad_() for one in given[:2]]
    value = crd_loss(*given, temperature=0.2, **CONSTANTS)
    expected = written_out(*given, 0.2)
    assert_close(value, expected, **EXACT)
    gradients = (torch.autograd.grad(one, both) for one in (value, expected))
    for found, wanted in zip(*gradients):
        assert_close(found, wanted, **EXACT)


def test_banks_may_change_before_the_backward_pass():
    given = operands()
    student = given[0].requires_grad_()
    value = crd_loss(*given, **CONSTANTS)
    (expected,) = torch.autograd.grad(value, student, retain_graph=True)
    given[2].zero_()
    given[3].zero_()
    assert torch.equal(torch.autograd.grad(value, student)[0], expected)


def test_gradcheck():
    student, teacher, *rest = operands(2)
    assert torch.autograd.gradcheck(
        lambda *both: crd_loss(*both, *rest, temperature=0.3, **CONSTANTS),
        (student.requires_grad_(), teacher.requires_grad_()),
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    student, teacher, *rest = operands(dtype=torch.float32)
    both = student.to(dtype), teacher.to(dtype)
    expected = crd_loss(*(one.float() for one in both), *rest, **CONSTANTS)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = crd_loss(*both, *rest, **CONSTANTS)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


def test_no_samples():
    student, teacher, *rest = operands(0)
    value = crd_loss(student.requires_grad_(), teacher, *rest, **CONSTANTS)
    value.backward()
    assert value.item() == 0
    assert student.grad.shape == (0, 4)


def test_constant_of_a_batch():
    student, _, _, bank, lists = operands()
    scores = torch.einsum('nd,nkd->nk', student, bank[lists]) / 0.5
    found = contrast_constant(student, bank, lists, temperature=0.5)
    assert_close(found, 10 * scores.exp().mean(), **EXACT)


def test_memory_is_not_that_of_the_rows_of_all_negatives():
    samples, rows, width, negatives = 32, 2000, 64, 1000
    both = torch.randn(2, samples, width).requires_grad_()
    banks = torch.randn(2, rows, width)
    lists = torch.randint(rows, (samples, 1 + negatives))
    peak = peak_extra_bytes(lambda: crd_loss(*both, *banks, lists, **CONSTANTS).backward())
    assert peak < 4 * samples * (1 + negatives) * width / 4


# The module


def test_weight_and_drawn_negatives():
    given = batch()
    torch.manual_seed(5)
    one = module(loss_weight=1.0)
    values = []
    for loss in (one, module()):
        torch.manual_seed(5)
        values.append(loss(*given))
    assert_close(values[1], 0.8 * values[0])
    torch.manual_seed(6)
    assert module()(*given) != values[1]


def test_student_and_embeddings_are_trained():
    loss = module()
    student, teacher, index = batch()
    student.requires_grad_()
    teacher.requires_grad_()
    loss(student, teacher, index).backward()
    assert student.grad.any()
    assert teacher.grad is None
    assert all(parameter.grad.any() for parameter in loss.parameters())


def test_banks_move_in_training_only():
    loss = module()
    before = copy.deepcopy(loss.banks.state_dict())
    student, teacher, index = batch()
    loss.eval()(student, teacher, index)
    assert all(torch.equal(value, before[key]) for key, value in loss.banks.state_dict().items())
    loss.train()(student, teacher, index)
    for key, value in loss.banks.state_dict().items():
        moved = (value != before[key]).any(dim=1).nonzero().flatten()
        assert moved.tolist() == sorted(index.tolist())
        assert_close(value[index].norm(dim=1), torch.ones(len(index)))


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped():
    whole = module()
    whole(*batch(seed=1))
    resumed = module(seed=3)
    resumed.load_state_dict(whole.state_dict())
    assert {'banks.student', 'banks.teacher', 'constants'} <= set(whole.state_dict())
    assert not any(key.startswith('table') for key in whole.state_dict())
    for seed in (2, 3):
        values = []
        for loss in (whole, resumed):
            torch.manual_seed(seed)
            values.append(loss(*batch(seed=seed)))
        assert torch.equal(*values)
    assert torch.equal(whole.banks.student, resumed.banks.student)


def test_weights_from_before_the_first_batch_have_no_constants_yet():
    fresh, loss = module(seed=3), module()
    loss(*batch())
    loss.load_state_dict(fresh.state_dict())
    assert not loss.constants.any()
    loss(*batch())
    assert (loss.constants > 0).all()


def test_a_batch_that_is_not_finite_leaves_no_trace():
    """A loss that is scaled for float16 overflows now and then, and the step is skipped."""
    loss = module()
    student, teacher, index = batch()
    loss(torch.full_like(student, torch.inf), teacher, index)
    assert loss.banks.student.isfinite().all()
    assert loss(student, teacher, index).isfinite()
    assert (loss.constants > 0).all()


def test_module_in_half_precision():
    given = batch(dtype=torch.bfloat16)
    values = []
    for enabled in (False, True):
        loss = module()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            torch.manual_seed(0)
            values.append(loss(*given))
    assert values[0].dtype == torch.float32
    assert torch.equal(*values)
    assert module().banks.student.dtype == torch.float32


def test_what_a_config_must_know():
    loss = module()
    assert loss.takes == 'features'
    assert loss.mixes_widths
    assert loss.needs == ('index',)


# Errors


def test_banks_and_lists_that_do_not_fit():
    student, teacher, one, other, lists = operands()
    shapes = r'^student_bank and teacher_bank must share a shape \(M, D\) with D = 4, got '
    with pytest.raises(ValueError, match=shapes + r'\(10, 4\) and \(9, 4\)$'):
        crd_loss(student, teacher, one, other[:9], lists, **CONSTANTS)
    with pytest.raises(ValueError, match=shapes + r'\(10, 3\) and \(10, 3\)$'):
        crd_loss(student, teacher, one[:, :3], other[:, :3], lists, **CONSTANTS)
    message = (
        r'^contrast_index must hold int64 and have the shape \(3, L\) with L >= 2, got torch.int{} '
        r'and \({}\)$'
    )
    for wrong, said in ((lists[:2], (64, '2, 5')), (lists[:, :1], (64, '3, 1')),
                        (lists.int(), (32, '3, 5'))):  # fmt: skip
        with pytest.raises(ValueError, match=message.format(*said)):
            crd_loss(student, teacher, one, other, wrong, **CONSTANTS)
    with pytest.raises(ValueError, match='^temperature must be positive, got 0$'):
        crd_loss(student, teacher, one, other, lists, temperature=0, **CONSTANTS)
    with pytest.raises(TypeError, match='^student_bank must be a tensor, got'):
        crd_loss(student, teacher, one.tolist(), other, lists, **CONSTANTS)


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('temperature', 0, 'temperature must be positive, got 0'),
        ('momentum', 1.5, r'momentum must lie in \[0, 1\], got 1.5'),
        ('negatives', 0, 'negatives must be an integer of at least 1, got 0'),
        ('num_samples', 2.5, 'num_samples must be an integer of at least 1, got 2.5'),
    ],
)
def test_options_outside_their_range(option, value, message):
    with pytest.raises(ValueError, match=f'^{message}$'):
        registry.build(dict(type='CRDLoss', **dict(TINY, **{option: value})))


def test_an_index_outside_the_data_set():
    student, teacher, _ = batch()
    index = torch.tensor([0, 1, 24])
    message = r'^index must lie in \[0, num_samples\) = \[0, 24\), got values from 0 to 24$'
    for negatives in (None, torch.zeros(3, 9, dtype=torch.int64)):
        with pytest.raises(ValueError, match=message):
            module()(student, teacher, index, negatives=negatives)


def test_negatives_before_the_classes_are_known():
    loss = registry.build(dict(type='CRDLoss', **TINY))
    with pytest.raises(RuntimeError, match='^the classes of the samples are not known yet: call'):
        loss(*batch())
