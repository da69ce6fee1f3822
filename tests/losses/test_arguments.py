"""Arguments of all losses: lists for tensors, types of targets, numbers inside tensors."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from wkd_det import functional, losses

MAPS = ('student', 'teacher', 'mask', 'weight')
LOGITS = ('student', 'teacher', 'target', 'weight')
PAIR = ('student', 'teacher')


def maps():
    return dict(
        student=torch.randn(2, 3, 4, 4),
        teacher=torch.randn(2, 3, 4, 4),
        mask=torch.ones(2, 4, 4, dtype=torch.bool),
        weight=torch.ones(2),
    )


def logits():
    return dict(
        student=torch.randn(4, 3),
        teacher=torch.randn(4, 3),
        target=torch.tensor([0, 1, 2, 0]),
        weight=torch.ones(4),
        cost=1 - torch.eye(3),
    )


def values():
    return dict(
        student=torch.randn(2, 2, 5, 3),
        teacher=torch.randn(2, 2, 5, 3),
        attention=torch.ones(2, 2, 5),
    )


def histograms():
    return dict(
        source=torch.full((2, 3), 1 / 3),
        target=torch.full((2, 3), 1 / 3),
        cost=1 - torch.eye(3),
        support=torch.ones(2, 3, dtype=torch.bool),
    )


def sides():
    return dict(student=torch.randn(3, 4, 5), teacher=torch.randn(3, 4, 5), weight=torch.ones(3))


def boxes():
    return {
        name: torch.rand(3, 4) for name in ('student', 'teacher', 'student_boxes', 'teacher_boxes')
    }


CASES = [
    (partial(functional.kd_loss, temperature=1.0), logits, (*PAIR, 'weight')),
    (functional.dkd_loss, logits, LOGITS),
    (functional.nkd_loss, logits, LOGITS),
    (functional.wsld_loss, logits, LOGITS),
    (functional.ofa_loss, logits, LOGITS),
    (functional.dist_loss, logits, PAIR),
    (functional.ttm_loss, logits, (*PAIR, 'weight')),
    (functional.wttm_loss, logits, (*PAIR, 'weight')),
    (functional.tfkd_self_loss, logits, (*PAIR, 'weight')),
    (functional.tfkd_loss, logits, ('student', 'target', 'weight')),
    (functional.label_smoothing_loss, logits, ('student', 'target', 'weight')),
    (functional.zipf_loss, logits, ('student', 'target')),
    (partial(functional.wkd_logit_loss, temperature=1.0), logits, (*LOGITS, 'cost')),
    (
        partial(functional.wkd_transport_plan, temperature=1.0),
        logits,
        (*PAIR, 'target', 'cost'),
    ),
    (functional.wkd_feature_loss, maps, MAPS),
    (
        partial(
            functional.feature_distribution_loss,
            distribution='spatial_mean',
            distance='frobenius',
        ),
        maps,
        MAPS,
    ),
    (functional.sigmoid_kd_loss, logits, (*PAIR, 'weight')),
    (functional.quality_focal_kd_loss, logits, (*PAIR, 'weight')),
    (functional.ld_loss, sides, (*PAIR, 'weight')),
    (functional.box_giou_loss, sides, (*PAIR, 'weight')),
    (functional.box_wasserstein_loss, sides, (*PAIR, 'weight')),
    (functional.line_transport, histograms, ('source', 'target')),
    (functional.nst_loss, maps, MAPS),
    (functional.ickd_loss, maps, MAPS),
    (functional.pkd_loss, maps, MAPS),
    (functional.fitnet_loss, maps, MAPS),
    (functional.at_loss, maps, MAPS),
    (functional.ft_loss, maps, MAPS),
    (functional.cat_loss, maps, MAPS),
    (functional.sp_loss, maps, (*PAIR, 'mask')),
    (partial(functional.mgd_loss, generator=torch.neg), maps, (*PAIR, 'mask')),
    (
        partial(
            functional.srrl_loss,
            teacher_head=lambda vectors: vectors,
            teacher_logits=torch.zeros(2, 3),
        ),
        maps,
        (*PAIR, 'mask'),
    ),
    (partial(functional.vid_loss, log_scale=torch.zeros(3)), maps, MAPS),
    (functional.attended_loss, values, (*PAIR, 'attention')),
    (functional.rkd_loss, logits, PAIR),
    (functional.pkt_loss, logits, PAIR),
    (functional.cc_loss, logits, PAIR),
    (functional.ipot_loss, logits, PAIR),
    (functional.lckt_loss, logits, PAIR),
    (functional.offset_loss, logits, PAIR),
    (functional.squared_offset_distance, logits, PAIR),
    (partial(functional.sinkhorn_cost, epsilon=1.0), histograms, tuple(histograms())),
    (partial(functional.sinkhorn_divergence, epsilon=1.0), histograms, tuple(histograms())),
    (partial(functional.sinkhorn_plan, epsilon=1.0), histograms, tuple(histograms())),
    (losses.KDLoss(), logits, PAIR),
    (losses.DKDLoss(), logits, (*PAIR, 'target')),
    (losses.WKDLogitLoss(cost=1 - torch.eye(3)), logits, (*PAIR, 'target')),
    (losses.NSTLoss(), maps, (*PAIR, 'mask')),
    (losses.BoxLoss(), boxes, tuple(boxes())),
]


def name_of(function):
    function = getattr(function, 'func', function)
    return getattr(function, '__name__', type(function).__name__)


@pytest.mark.parametrize(
    ('function', 'given', 'names', 'wrong'),
    [(*case, wrong) for case in CASES for wrong in case[2]],
    ids=[f'{name_of(case[0])}-{wrong}' for case in CASES for wrong in case[2]],
)
def test_a_list_or_an_array_for_a_tensor(function, given, names, wrong):
    arguments = {name: value for name, value in given().items() if name in {*names, 'cost'}}
    if 'cost' not in names:
        arguments.pop('cost', None)
    function(**arguments)
    for convert in (torch.Tensor.tolist, torch.Tensor.numpy):
        changed = dict(arguments, **{wrong: convert(arguments[wrong])})
        with pytest.raises(TypeError, match=f'^{wrong} must be a tensor, got '):
            function(**changed)


@pytest.mark.parametrize(
    'loss',
    [
        functional.imitation_loss,
        functional.hierarchical_context_loss,
        functional.ab_loss,
        partial(functional.ofd_loss, margin=[torch.zeros(3)]),
    ],
)
def test_one_map_for_a_pyramid(loss):
    both = maps()
    student, teacher = both['student'], both['teacher']
    loss([student], [teacher])
    with pytest.raises(TypeError, match='^student must be a list of tensors, one per level, got'):
        loss(student, [teacher])
    with pytest.raises(TypeError, match='^level 0: teacher must be a tensor, got '):
        loss([student], [teacher.tolist()])


@pytest.mark.parametrize('wrong', ['boxes', 'labels'])
def test_objects_of_icd_as_lists(wrong):
    loss = losses.ICDLoss(
        num_classes=4, student_channels=3, teacher_channels=3, width=16, num_heads=2
    )
    given = dict(
        student=[torch.randn(2, 3, 4, 4)],
        teacher=[torch.randn(2, 3, 4, 4)],
        boxes=[torch.tensor([[1.0, 1.0, 9.0, 9.0]])] * 2,
        labels=[torch.tensor([1])] * 2,
        image_sizes=[(16, 16)] * 2,
    )
    loss(**given)
    given[wrong] = [given[wrong][0], given[wrong][1].tolist()]
    message = re.escape(f'{wrong}[1] must be a tensor, got {given[wrong][1]}')
    with pytest.raises(TypeError, match=f'^{message}$'):
        loss(**given)


# Types of the target


TARGETED = pytest.mark.parametrize(
    'loss',
    [
        losses.DKDLoss(),
        losses.NKDLoss(),
        losses.WSLDLoss(),
        losses.OFALoss(),
        losses.WKDLogitLoss(cost=1 - torch.eye(3)),
        losses.WKDLogitLoss(cost=1 - torch.eye(3)).plan,
    ],
    ids=['DKD', 'NKD', 'WSLD', 'OFA', 'WKD-L', 'plan'],
)


@TARGETED
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_targets_of_any_integer_type(loss, dtype):
    given = logits()
    arguments = given['student'], given['teacher']
    expected = loss(*arguments, given['target'])
    assert torch.equal(loss(*arguments, given['target'].to(dtype)), expected)


@TARGETED
@pytest.mark.parametrize('dtype', [torch.float32, torch.bool])
def test_targets_that_are_no_integers(loss, dtype):
    given = logits()
    with pytest.raises(ValueError, match=f'^target must hold integers, got {dtype}$'):
        loss(given['student'], given['teacher'], given['target'].to(dtype))


# Numbers inside tensors


NUMBERS = {
    losses.KDLoss: dict(temperature=2.0, loss_weight=0.5),
    losses.DKDLoss: dict(alpha=0.5, beta=2, temperature=2.0),
    losses.NKDLoss: dict(gamma=0.5, temperature=2.0),
    losses.WSLDLoss: dict(alpha=0.5, temperature=4.0),
    losses.DISTLoss: dict(beta=0.5, gamma=2, temperature=4.0),
    losses.WTTMLoss: dict(exponent=0.5, loss_weight=4),
    losses.OFALoss: dict(eps=1.5, temperature=2.0),
    losses.TfKDSelfLoss: dict(alpha=0.5, multiplier=50, temperature=2.0),
    losses.CTKDLoss: dict(reversal=0.5, t_start=2, t_end=10.0),
    partial(losses.WKDLogitLoss, cost=1 - torch.eye(3)): dict(
        temperature=2.0, sharpness=1.5, transport_weight=3, epsilon=0.125, num_iters=4
    ),
    partial(losses.WKDFeatureLoss): dict(grid=2, mean_cov_ratio=0.5, eps=0.125, loss_weight=2),
    partial(losses.WKDFeatureLoss, distribution='pmf'): dict(grid=2, epsilon=0.125, num_iters=3),
    losses.SigmoidKDLoss: dict(temperature=2.0, loss_weight=0.5),
    losses.QualityFocalKDLoss: dict(beta=2.0, loss_weight=0.5),
    partial(losses.WKDSigmoidLoss, cost=1 - torch.eye(3)): dict(
        temperature=2.0, sharpness=1.5, background_distance=0.5, epsilon=0.125, num_iters=4
    ),
    losses.BoxGIoULoss: dict(loss_weight=0.5),
    losses.QueryBoxLoss: dict(l1_weight=2.0, giou_weight=0.5, loss_weight=0.5),
    losses.LDLoss: dict(temperature=5.0, loss_weight=0.5),
    losses.BoxWassersteinLoss: dict(order=2, temperature=2.0, loss_weight=0.5),
    losses.NSTLoss: dict(loss_weight=0.5),
    losses.CATKDLoss: dict(resolution=3, loss_weight=0.5),
    losses.ICKDLoss: dict(loss_weight=2),
    losses.BoxLoss: dict(diou_weight=0.5, loss_weight=2),
    losses.RKDLoss: dict(distance_weight=2, angle_weight=0.5, loss_weight=2),
    losses.PKTLoss: dict(loss_weight=0.5),
    losses.IPOTLoss: dict(beta=0.25, outer=3, inner=2, loss_weight=2),
}


def inputs_of(loss):
    given = {
        'features': maps,
        'logits': logits,
        'dense_logits': logits,
        'box_distributions': sides,
        'boxes': boxes,
        'query_boxes': lambda: dict(zip(('student', 'teacher'), torch.rand(2, 5, 4))),
    }[loss.takes]()
    return {
        name: given[name]
        for name in given
        if name not in ('weight', 'cost', 'mask') and (name != 'target' or loss.takes == 'logits')
    }


@pytest.mark.parametrize('kind', NUMBERS, ids=name_of)
@pytest.mark.parametrize(
    'wrap',
    [
        torch.tensor,
        np.array,
        lambda value: torch.tensor(
            value, dtype=torch.float64 if isinstance(value, float) else torch.int32
        ),
    ],
    ids=['tensor', 'array', 'other type'],
)
def test_numbers_of_modules_may_be_tensors_and_are_kept_as_numbers(kind, wrap):
    numbers = NUMBERS[kind]
    plain, wrapped = (
        kind(**numbers),
        kind(**{name: wrap(value) for name, value in numbers.items()}),
    )
    given = inputs_of(plain)
    value = wrapped(**given)
    assert value.dtype == torch.float32
    assert torch.equal(value, plain(**given))
    for name, number in numbers.items():
        kept = getattr(wrapped, name, number)
        assert kept == number
        assert type(kept) in (int, float)


def test_a_parameter_as_number_is_no_parameter_of_the_loss():
    loss = losses.KDLoss(temperature=nn.Parameter(torch.tensor(2.0)))
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert loss.temperature == 2.0


def test_numbers_of_icd_and_review():
    numbers = dict(width=16, num_heads=2, invented_ratio=2.0, max_instances=7, jitter=0.25)
    arguments = dict(num_classes=4, student_channels=3, teacher_channels=3)
    wrapped = {name: torch.tensor(value) for name, value in numbers.items()}
    states = []
    for given in (numbers, wrapped):
        torch.manual_seed(0)
        loss = losses.ICDLoss(**arguments, **given)
        states.append((loss(
            [torch.randn(1, 3, 4, 4)], [torch.randn(1, 3, 4, 4)],
            [torch.tensor([[1.0, 1.0, 9.0, 9.0]])], [torch.tensor([1])], [(16, 16)],
        ), loss.width))  # fmt: skip
    assert states[0] == states[1]
    assert losses.ReviewKDLoss(grids=[torch.tensor(2), np.int64(1)]).grids == (2, 1)


def test_a_temperature_that_is_learned_gets_a_gradient_from_the_function():
    given = logits()
    temperature = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    student, teacher = given['student'].double(), given['teacher'].double()
    for loss in (
        lambda t: functional.kd_loss(student, teacher, temperature=t),
        lambda t: functional.dkd_loss(student, teacher, given['target'], temperature=t),
        lambda t: functional.nkd_loss(student, teacher, given['target'], temperature=t),
        lambda t: functional.dist_loss(student, teacher, temperature=t),
        lambda t: functional.kd_loss(student, teacher, temperature=t, standardize=True),
        lambda t: functional.wkd_logit_loss(student, teacher, given['cost'], temperature=t),
    ):
        assert torch.autograd.gradcheck(loss, temperature)


@pytest.mark.parametrize('log_domain', [False, True])
def test_an_epsilon_that_is_learned_gets_a_gradient_from_the_function(log_domain):
    given = {name: value.double() for name, value in histograms().items() if name != 'support'}
    epsilon = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda e: functional.sinkhorn_cost(**given, epsilon=e, log_domain=log_domain), epsilon
    )
