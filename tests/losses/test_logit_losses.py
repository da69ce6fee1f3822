"""Losses of logits: what all share, from gradients to soft labels and standardised logits."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from wkd_det import functional, losses, registry
from wkd_det.ops.logits import standardize_logits

EXACT = dict(rtol=1e-10, atol=1e-12)  # some dozen float64 operations
COST = 1 - torch.eye(5, dtype=torch.float64)


def wkd(student, teacher, target, **options):
    """WKD-L with the order of arguments of the others."""
    options = dict(temperature=1.0) | options
    return functional.wkd_logit_loss(student, teacher, COST, target, **options)


def strong(student, teacher, target, **options):
    """MLKD whose strong view is the weak one with the samples in reverse order."""
    return functional.mlkd_loss(student, teacher, student.flip(0), teacher.flip(0), **options)


# Function and module by method; those with a target take it third.
TARGETED = {
    'DKD': (functional.dkd_loss, losses.DKDLoss),
    'NKD': (functional.nkd_loss, losses.NKDLoss),
    'WSLD': (functional.wsld_loss, losses.WSLDLoss),
    'OFA': (partial(functional.ofa_loss, eps=1.5), partial(losses.OFALoss, eps=1.5)),
}
BLIND = {
    'KD': (partial(functional.kd_loss, temperature=2.0), partial(losses.KDLoss, temperature=2.0)),
    'DIST': (functional.dist_loss, losses.DISTLoss),
    'TTM': (functional.ttm_loss, losses.TTMLoss),
    'WTTM': (functional.wttm_loss, losses.WTTMLoss),
    'Tf-KD self': (functional.tfkd_self_loss, losses.TfKDSelfLoss),
}
TEACHERLESS = {
    'Tf-KD': (functional.tfkd_loss, losses.TfKDLoss),
    'label smoothing': (functional.label_smoothing_loss, losses.LabelSmoothingLoss),
    'Zipf': (functional.zipf_loss, None),
}
UNWEIGHTED = ('DIST', 'MLKD', 'Zipf')


def functions():
    """Every loss as a function of student, teacher and target."""
    found = {name: function for name, (function, _) in TARGETED.items()}
    found |= {
        name: lambda s, t, y, f=function, **options: f(s, t, **options)
        for name, (function, _) in BLIND.items()
    }
    found |= {
        name: lambda s, t, y, f=function, **options: f(s, y, **options)
        for name, (function, _) in TEACHERLESS.items()
    }
    return found | {'WKD-L': wkd, 'MLKD': strong}


FUNCTIONS = functions()
EACH = pytest.mark.parametrize('name', FUNCTIONS)
MATCHING = pytest.mark.parametrize('name', [n for n in FUNCTIONS if n not in TEACHERLESS])


def batch(samples=6, classes=5, *, seed=0, scale=1.0, dtype=torch.float64):
    """Student, teacher and classes."""
    generator = torch.Generator().manual_seed(seed)
    both = scale * torch.randn(2, samples, classes, generator=generator, dtype=torch.float64)
    target = torch.randint(0, classes, (samples,), generator=generator)
    return (*both.to(dtype).unbind(0), target)


def soft(target, classes=5, share=0.6):
    """Labels mixed from the target and the class after it."""
    one_hot = torch.eye(classes, dtype=torch.float64)
    return share * one_hot[target] + (1 - share) * one_hot[(target + 1) % classes]


def value_and_gradient(function, student):
    student = student.detach().clone().requires_grad_()
    value = function(student)
    value.backward()
    return value.detach(), student.grad


def test_no_loss_of_logits_is_missing():
    known = {name for name in registry.LOSSES if issubclass(getattr(losses, name), losses.Loss)}
    known = {name for name in known if getattr(losses, name).takes == 'logits'}
    modules = [module for _, module in {**TARGETED, **BLIND, **TEACHERLESS}.values() if module]
    named = {getattr(module, 'func', module).__name__ for module in modules}
    apart = {'WKDLogitLoss', 'MLKDLoss', 'CTKDLoss', 'DiffKDLogitLoss'}  # in tests of their own
    assert known == named | apart


# Convention


@pytest.mark.parametrize('name', [name for name in FUNCTIONS if name not in UNWEIGHTED])
def test_mean_over_samples_weight_and_avg_factor(name):
    function = FUNCTIONS[name]
    student, teacher, target = batch(3)
    weight = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    rows = [slice(i, i + 1) for i in range(3)]
    each = torch.stack([function(student[r], teacher[r], target[r]) for r in rows])
    assert_close(function(student, teacher, target), each.mean(), **EXACT)
    value = function(student, teacher, target, weight=weight, avg_factor=2.0)
    assert_close(value, (weight * each).sum() / 2, **EXACT)


@MATCHING
def test_the_teacher_gets_no_gradient(name):
    student, teacher, target = batch()
    student.requires_grad_(), teacher.requires_grad_()
    FUNCTIONS[name](student, teacher, target).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-6


@EACH
def test_a_common_offset_and_an_order_of_the_classes_do_not_matter(name):
    function = FUNCTIONS[name]
    student, teacher, target = batch()
    expected = function(student, teacher, target)
    assert_close(function(student + 7, teacher - 3, target), expected, **EXACT)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = torch.argsort(order)[target]
    assert_close(function(student[:, order], teacher[:, order], moved), expected, **EXACT)


# The weights of WSLD follow from the student's logits, but get no gradient: its authors' numbers.


@pytest.mark.parametrize('name', [name for name in FUNCTIONS if name != 'WSLD'])
def test_gradcheck(name):
    student, teacher, target = batch(4)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: FUNCTIONS[name](s, teacher, target), (student,))


# Extremes and types


@EACH
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('scale', [30.0, 1e3])
def test_confident_networks_that_disagree_stay_finite(name, dtype, scale):
    student, teacher, target = batch(8, dtype=dtype, scale=scale)
    value, grad = value_and_gradient(lambda s: FUNCTIONS[name](s, teacher, target), student)
    assert value.isfinite()
    assert grad.isfinite().all()


@EACH
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('samples', [3, 0])
def test_half_precision_and_autocast_compute_in_float32(name, dtype, samples):
    function = FUNCTIONS[name]
    student, teacher, target = batch(samples, dtype=dtype)
    expected = function(student.float(), teacher.float(), target)
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = function(student, teacher, target)
    if name != 'WKD-L':  # its costs are in float64
        assert value.dtype == torch.float32
        assert torch.equal(value.detach(), expected)
    assert value.requires_grad
    assert samples or value.item() == 0
    value.backward()
    assert student.grad.isfinite().all()


@EACH
def test_equal_logits_of_all_classes(name):
    """A network that says nothing: deviations, masses and ranks are all ties."""
    student, teacher, target = batch()
    for one, other in ((0 * student, teacher), (student, 0 * teacher)):
        value, grad = value_and_gradient(lambda s, t=other: FUNCTIONS[name](s, t, target), one)
        assert value.isfinite()
        assert grad.isfinite().all()


# Soft labels


ARG_MAX = [*TARGETED, 'Tf-KD', 'Zipf', 'WKD-L']


@pytest.mark.parametrize('name', ARG_MAX)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_soft_labels_stand_for_their_most_probable_class(name, dtype):
    student, teacher, target = batch()
    labels = soft(target).to(dtype)
    expected = FUNCTIONS[name](student, teacher, target)
    assert_close(FUNCTIONS[name](student, teacher, labels), expected, **EXACT)


@pytest.mark.parametrize('name', [*ARG_MAX, 'label smoothing'])
def test_soft_labels_that_do_not_fit(name):
    student, teacher, target = batch()
    labels = soft(target)
    message = r'soft labels in target must have the shape of the logits \(6, 5\), got \(6, 4\)'
    with pytest.raises(ValueError, match=f'^{message}$'):
        FUNCTIONS[name](student, teacher, labels[:, 1:])
    labels[0, 0] = -0.5
    with pytest.raises(ValueError, match='^soft labels in target must not be negative$'):
        FUNCTIONS[name](student, teacher, labels)
    with pytest.raises(ValueError, match=r'^target must have the shape \(6,\), got \(6, 5\)$'):
        FUNCTIONS[name](student, teacher, labels.long())


@pytest.mark.parametrize('name', [*ARG_MAX, 'label smoothing'])
def test_an_image_without_a_label_is_refused(name):
    student, teacher, target = batch()
    target[0] = -1
    with pytest.raises(ValueError, match=r'^target must lie in \[0, 5\), got values from -1 to '):
        FUNCTIONS[name](student, teacher, target)


# Standardised logits


@pytest.mark.parametrize('name', [*TARGETED, *BLIND, 'WKD-L'])
def test_the_option_standardises_both_logits(name):
    student, teacher, target = batch()
    expected = FUNCTIONS[name](standardize_logits(student), standardize_logits(teacher), target)
    value = FUNCTIONS[name](student, teacher, target, standardize=True)
    assert_close(value, expected, **EXACT)
    assert abs(value - FUNCTIONS[name](student, teacher, target)) > 1e-6
    scaled = FUNCTIONS[name](3 * student + 1, 7 * teacher, target, standardize=True)
    assert_close(scaled, value, rtol=1e-6, atol=0)  # the guard is no scale


@pytest.mark.parametrize('name', [n for n in (*TARGETED, *BLIND, 'WKD-L') if n != 'WSLD'])
def test_gradcheck_through_mean_and_deviation(name):
    student, teacher, target = batch(4)
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: FUNCTIONS[name](s, teacher, target, standardize=True), (student,)
    )


@pytest.mark.parametrize('name', [*TARGETED, *BLIND, 'WKD-L'])
@pytest.mark.parametrize('scale', [0.0, 30.0, 1e3])
def test_standardised_logits_stay_finite(name, scale):
    student, teacher, target = batch(dtype=torch.bfloat16, scale=scale)
    value, grad = value_and_gradient(
        lambda s: FUNCTIONS[name](s, teacher, target, standardize=True), student
    )
    assert value.isfinite()
    assert grad.isfinite().all()


# Modules


@pytest.mark.parametrize('name', [*TARGETED, *BLIND])
@pytest.mark.parametrize('standardize', [False, True])
def test_a_module_is_the_function_times_the_weight(name, standardize):
    function, module = {**TARGETED, **BLIND}[name]
    loss = module(loss_weight=0.5, standardize=standardize)
    student, teacher, target = batch()
    expected = 0.5 * FUNCTIONS[name](student, teacher, target, standardize=standardize)
    assert torch.equal(loss(student, teacher, target), expected)
    assert torch.equal(loss(student=student, teacher=teacher, target=target), expected)
    assert loss.needs == (('target',) if name in TARGETED else ())
    assert loss.needs_teacher
    assert not loss.state_dict()


@pytest.mark.parametrize('name', ['Tf-KD', 'label smoothing'])
def test_a_module_without_a_teacher(name):
    function, module = TEACHERLESS[name]
    student, _, target = batch()
    loss = module(loss_weight=0.5)
    assert torch.equal(loss(student=student, target=target), 0.5 * function(student, target))
    assert loss.needs == ('target',)
    assert not loss.needs_teacher


@pytest.mark.parametrize(
    ('loss', 'part'),
    [(losses.NKDLoss, 'gamma'), (losses.DISTLoss, 'beta'), (losses.DISTLoss, 'gamma')],
)
def test_parts_can_be_scheduled(loss, part):
    student, teacher, target = batch()
    scheduled = loss()
    assert part in scheduled.scalable
    setattr(scheduled, part, 0.25)
    expected = loss(**{part: 0.25})(student, teacher, target)
    assert torch.equal(scheduled(student, teacher, target), expected)


# Errors


NUMBERS = {
    losses.KDLoss: ('temperature', 0, 'must be positive, got 0'),
    losses.NKDLoss: ('gamma', -1, 'must not be negative, got -1'),
    losses.WSLDLoss: ('alpha', -1, 'must not be negative, got -1'),
    losses.DISTLoss: ('beta', -1, 'must not be negative, got -1'),
    losses.TTMLoss: ('exponent', 0, 'must be positive, got 0'),
    losses.WTTMLoss: ('exponent', -2, 'must be positive, got -2'),
    losses.OFALoss: ('eps', 0, 'must be positive, got 0'),
    losses.TfKDLoss: ('correct_prob', 1.5, 'must not be above 1, got 1.5'),
    losses.TfKDSelfLoss: ('multiplier', -1, 'must not be negative, got -1'),
    losses.LabelSmoothingLoss: ('alpha', 2, 'must not be above 1, got 2'),
}


@pytest.mark.parametrize('loss', NUMBERS)
def test_numbers_outside_their_range(loss):
    name, value, message = NUMBERS[loss]
    with pytest.raises(ValueError, match=f'^{name} {message}$'):
        loss(**{name: value})
    built = loss()
    student, teacher, target = batch()
    setattr(built, name, value)
    given = dict(student=student, target=target)
    if loss.needs_teacher:
        given['teacher'] = teacher
    with pytest.raises(ValueError, match=f'^{name} {message}$'):
        built(**given)


@EACH
def test_logits_that_do_not_fit(name):
    student, teacher, target = batch()
    if name not in TEACHERLESS:
        with pytest.raises(ValueError, match=r'must share a shape \(N, C\), got \(6, 5\) and'):
            FUNCTIONS[name](student, teacher[:, 1:], target)
    with pytest.raises(ValueError, match=r'must share a shape \(N, C\), got \(30,\) and'):
        FUNCTIONS[name](student.flatten(), student.flatten(), target)


@pytest.mark.parametrize('name', [*TARGETED, *TEACHERLESS])
def test_one_class_has_no_others(name):
    form = dict(zip(TEACHERLESS, ('Tf-KD', 'label smoothing', "Zipf's label smoothing")))
    one = torch.zeros(2, 1)
    with pytest.raises(
        ValueError, match=f'^{form.get(name, name)} needs at least 2 classes, got 1$'
    ):
        FUNCTIONS[name](one, one, torch.tensor([0, 0]))


def test_one_class_cannot_be_standardised():
    one = torch.zeros(2, 1)
    with pytest.raises(ValueError, match='^standardised logits need at least 2 classes, got 1$'):
        functional.kd_loss(one, one, temperature=1.0, standardize=True)
