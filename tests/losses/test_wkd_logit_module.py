"""WKD-L as a module: the function times the weight, and the life of its cost."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.costs.files import write_cost_file
from wkd_det.costs.similarity import distance_to_cost
from wkd_det.losses.wkd_logit import WKDLogitLoss, wkd_logit_loss

# The buffer is float32, as is everything after it.
FLOAT32 = dict(rtol=1e-6, atol=1e-7)
OPTIONS = dict(temperature=0.5, transport_weight=3.0, epsilon=0.04, num_iters=5)


def distances(classes=5, *, seed=0):
    """Symmetric, zero diagonal, up to 1."""
    points = torch.rand(classes, 2, generator=torch.Generator().manual_seed(seed))
    difference = (points[:, None] - points[None]).abs().sum(-1)
    return difference / difference.max()


def batch(samples=4, classes=5):
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, samples, classes, generator=generator)
    return student, teacher, torch.randint(classes, (samples,), generator=generator)


@pytest.fixture
def reserved(tmp_path):
    """A loss with room for its cost and without one, as a model has it before training."""

    def make(**options):
        write_cost_file(tmp_path / 'cost.safetensors', distances(), list('abcde'))
        source = dict(type='FileCost', path=str(tmp_path / 'cost.safetensors'), by_position=True)
        loss = WKDLogitLoss(cost=source, **options)
        loss.reserve(5)
        return loss

    return make


# Equals the function times the weight


@pytest.mark.parametrize('separated', [True, False])
@pytest.mark.parametrize('log_domain', [True, False])
@pytest.mark.parametrize('sharpness', [0.0, 2.0])
def test_is_the_function_times_the_weight(separated, log_domain, sharpness):
    student, teacher, target = batch()
    loss = WKDLogitLoss(
        cost=distances(),
        sharpness=sharpness,
        separated=separated,
        log_domain=log_domain,
        loss_weight=0.5,
        **OPTIONS,
    )
    expected = wkd_logit_loss(
        student,
        teacher,
        distance_to_cost(distances(), sharpness=sharpness),
        target if separated else None,
        log_domain=log_domain,
        **OPTIONS,
    )
    value = loss(student, teacher, target)
    assert_close(value, 0.5 * expected, **FLOAT32)


def test_the_registry_builds_it_from_a_config(tmp_path):
    write_cost_file(tmp_path / 'cost.safetensors', distances(), list('abcde'))
    config = dict(
        type='WKDLogitLoss',
        cost=dict(type='FileCost', path=str(tmp_path / 'cost.safetensors'), by_position=True),
    )
    loss = MODELS.build(config)
    assert isinstance(loss, WKDLogitLoss)
    assert loss.takes == 'logits'
    assert config['cost']['type'] == 'FileCost'  # the config is left as it was


def test_sharpened_once():
    loss = WKDLogitLoss(cost=distances(), sharpness=2.0)
    assert_close(loss.cost, 1 - (-2 * distances()).exp(), **FLOAT32)
    assert (loss.cost.diagonal() == 0).all()
    assert torch.equal(loss.cost, loss.cost.t())
    loss.set_distance(distances())
    assert_close(loss.cost, 1 - (-2 * distances()).exp(), **FLOAT32)


def test_gradient_reaches_the_student_only():
    student, teacher, target = batch()
    loss = WKDLogitLoss(cost=distances())
    loss(student.requires_grad_(), teacher.requires_grad_(), target).backward()
    assert student.grad.abs().max() > 1e-4
    assert teacher.grad is None
    assert not list(loss.parameters())
    assert not loss.cost.requires_grad


def test_the_joint_form_does_not_look_at_the_target():
    student, teacher, target = batch()
    loss = WKDLogitLoss(cost=distances(), separated=False)
    assert torch.equal(loss(student, teacher, target), loss(student, teacher))


def test_no_samples_give_zero_with_a_graph():
    student = torch.zeros(0, 5, requires_grad=True)
    value = WKDLogitLoss(cost=distances())(student, torch.zeros(0, 5), torch.zeros(0).long())
    assert value.item() == 0
    assert value.requires_grad


# The buffer


def test_the_cost_moves_and_is_saved_with_the_module():
    loss = WKDLogitLoss(cost=distances())
    assert set(loss.state_dict()) == {'cost'}
    assert loss.to(torch.float64).cost.dtype == torch.float64
    assert copy.deepcopy(loss).to('meta').cost.device.type == 'meta'


def test_a_half_precision_module_still_computes_in_float32():
    student, teacher, target = batch()
    loss = WKDLogitLoss(cost=distances()).half()
    value = loss(student.half(), teacher.half(), target)
    assert value.dtype == torch.float32
    expected = wkd_logit_loss(
        student.half().float(), teacher.half().float(), loss.cost.float(), target, temperature=1.0
    )
    assert torch.equal(value, expected)


def test_a_copy_has_its_own_cost():
    loss = WKDLogitLoss(cost=distances())
    twin = copy.deepcopy(loss)
    assert twin.ready
    twin.cost.zero_()
    assert loss.cost.max() > 0


# Readiness


def test_ready_only_with_class_distances(reserved):
    student, teacher, target = batch()
    loss = reserved()
    assert not loss.ready
    assert torch.equal(loss.cost, torch.zeros(5, 5))
    with pytest.raises(RuntimeError, match='no class cost yet: call set_distance'):
        loss(student, teacher, target)
    loss.set_distance(loss.distance_source(None))  # a file by position asks for no classes
    assert loss.ready
    # The file holds float32.
    assert_close(loss.cost, 1 - (-distances()).exp(), **FLOAT32)
    loss(student, teacher, target)


def test_set_distance_needs_no_reserve():
    student, teacher, target = batch()
    loss = WKDLogitLoss(cost=dict(type='ClassifierCost'))
    loss.set_distance(distances())
    assert loss.ready
    expected = WKDLogitLoss(cost=distances())(student, teacher, target)
    assert torch.equal(loss(student, teacher, target), expected)


def test_reserve_keeps_what_is_there():
    loss = WKDLogitLoss(cost=distances())
    before = loss.cost.clone()
    loss.reserve(5)
    assert torch.equal(loss.cost, before)


def test_given_distances_need_no_source():
    loss = WKDLogitLoss(cost=distances())
    assert loss.distance_source is None
    assert loss.ready


def test_a_checkpoint_alone_does_not_make_it_ready(reserved):
    loss, saved = reserved(), WKDLogitLoss(cost=distances(seed=3)).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss.load_state_dict(saved)
    assert torch.equal(loss.cost, saved['cost'])  # but it is kept, for whoever saves it again
    assert not loss.ready
    loss.set_distance(loss.distance_source(None))
    assert_close(loss.cost, 1 - (-distances()).exp(), **FLOAT32)


# Checkpoints


def test_the_same_cost_loads_in_silence():
    loss = WKDLogitLoss(cost=distances())
    saved = WKDLogitLoss(cost=distances()).state_dict()
    saved['cost'] += 5e-6  # another machine's rounding
    before = loss.cost.clone()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss.load_state_dict(saved)
    assert torch.equal(loss.cost, before)


@pytest.mark.parametrize('change', ['values', 'classes', 'dtype and values'])
def test_another_cost_gives_a_warning_and_the_config_wins(change):
    loss = WKDLogitLoss(cost=distances())
    before = loss.cost.clone()
    other = WKDLogitLoss(cost=distances(7 if change == 'classes' else 5, seed=3)).state_dict()
    if change == 'dtype and values':
        other['cost'] = other['cost'].double()
    kept = other['cost'].clone()
    with pytest.warns(UserWarning, match='cost of the checkpoint differs from the one of this'):
        loss.load_state_dict(other)
    assert torch.equal(loss.cost, before)
    assert loss.cost.dtype == torch.float32
    assert torch.equal(other['cost'], kept)  # the checkpoint is left as it was


def test_the_warning_names_the_key():
    model = torch.nn.ModuleDict(dict(inner=WKDLogitLoss(cost=distances())))
    state = torch.nn.ModuleDict(dict(inner=WKDLogitLoss(cost=distances(seed=3)))).state_dict()
    with pytest.warns(UserWarning, match='^inner.cost of the checkpoint'):
        model.load_state_dict(state)


def test_a_checkpoint_without_cost_is_reported_as_any_missing_key():
    assert WKDLogitLoss(cost=distances()).load_state_dict({}, strict=False).missing_keys == ['cost']


# Warnings and errors


@pytest.mark.parametrize(
    ('epsilon', 'log_domain', 'warned'),
    [(0.03, False, True), (0.035, False, False), (1e-3, True, False)],
)
def test_warns_where_the_kernel_vanishes(epsilon, log_domain, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        WKDLogitLoss(cost=distances(), sharpness=0, epsilon=epsilon, log_domain=log_domain)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == int(warned)
    if warned:
        assert 'below 1/30 of the largest cost 1: ' in messages[0]
        assert 'set log_domain=True' in messages[0]


def test_the_limit_of_the_warning_is_where_the_loss_is_lost():
    """Confident networks that disagree: just above the limit they pay, far below nothing."""
    student, teacher = 100 * torch.eye(5)[[0]], 100 * torch.eye(5)[[1]]
    values = []
    for epsilon in (1 / 29, 1 / 60):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            loss = WKDLogitLoss(
                cost=1 - torch.eye(5), sharpness=0, epsilon=epsilon, separated=False
            )
        values.append(loss(student, teacher).item())
    assert values[0] == pytest.approx(0.9, abs=0.05)  # the guard of 1e-8 takes a tenth
    assert values[1] < 1e-3


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (dict(temperature=0), 'temperature must be positive, got 0'),
        (dict(epsilon=-0.1), 'epsilon must be positive, got -0.1'),
        (dict(epsilon=float('nan')), 'epsilon must be positive, got nan'),
        (dict(sharpness=-1), 'sharpness must not be negative, got -1'),
        (dict(transport_weight=-1), 'transport_weight must not be negative, got -1'),
        (dict(loss_weight=-1), 'loss_weight must not be negative, got -1'),
        (dict(num_iters=0), 'num_iters must be an integer of at least 1, got 0'),
    ],
)
def test_numbers_outside_their_range(option, message):
    with pytest.raises(ValueError, match=message):
        WKDLogitLoss(cost=distances(), **option)


@pytest.mark.parametrize(
    ('distance', 'message'),
    [
        (torch.ones(5, 4), r'must have the shape \(5, 5\), got \(5, 4\)'),
        (torch.ones(4, 4) - torch.eye(4), r'must have the shape \(5, 5\), got \(4, 4\)'),
        (torch.ones(5, 5), r'distance must be 0 on the diagonal .*, got 1.0 at \(0, 0\)'),
        (torch.rand(5, 5).fill_diagonal_(0), 'must be symmetric'),
        (torch.full((5, 5), -0.5).fill_diagonal_(0), 'distance must not be negative, got -0.5'),
        (torch.full((5, 5), torch.inf).fill_diagonal_(0), 'must be finite'),
    ],
)
def test_wrong_distances(reserved, distance, message):
    loss = reserved()
    with pytest.raises(ValueError, match=message):
        loss.set_distance(distance)
    assert not loss.ready


def test_distances_for_other_classes_than_the_logits_fail_when_built():
    with pytest.raises(ValueError, match=r'stand for 4 classes, .* have the shape \(5, 5\)'):
        WKDLogitLoss(cost=distances()).reserve(4)


def test_distances_that_are_none():
    with pytest.raises(TypeError, match=r'cost must be a dict with a type or a tensor, got \[0\]'):
        WKDLogitLoss(cost=[0])


def test_the_separated_form_needs_a_target():
    student, teacher, _ = batch()
    with pytest.raises(ValueError, match='target is needed .* or set separated=False'):
        WKDLogitLoss(cost=distances())(student, teacher)


def test_a_cost_for_other_classes_than_the_logits():
    student, teacher, target = batch()
    with pytest.raises(ValueError, match=r'cost must have the shape .* = \(5, 5\), got \(4, 4\)'):
        WKDLogitLoss(cost=distances(4))(student, teacher, target)
