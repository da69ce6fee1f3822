"""Weights that keep a term at a share of the task's gradient: closed form, state, cost, limits."""

import copy
import re
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage

from wkd_det.distillation import distiller as distiller_module
from wkd_det.distillation.gradient_share import GradientShare
from wkd_det.losses.base import Loss
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)
from wkd_det.testing.classifiers import ToyModel

EXACT = dict(rtol=1e-6, atol=0)  # a few roundings of float32
SHARE = 0.25


class Squares(Loss):
    """Sum of the squared differences: its gradient is twice the difference."""

    takes = 'features'

    def forward(self, student, teacher, mask=None):
        """Scalar."""
        return self.loss_weight * (student - teacher).square().sum()


class Unweighted(Loss):
    """Has no weight to govern."""

    takes = 'features'

    def __init__(self):
        super().__init__()

    def forward(self, student, teacher, mask=None):
        """Scalar."""
        return (student - teacher).square().sum()


def toy(kind=Squares, **options):
    weight = dict(dict(type='GradientShare', share=SHARE, every=1, momentum=0.0), **options)
    loss = dict(type=kind, loss_weight=weight)
    return ToyModel(dict(loss_x=dict(tap='toy_features', loss=loss))).train()


def batch(seed=0, count=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % 3


def gradients_of(model, inputs, target):
    """Of the toy's task and of its term with a weight of 1, at the logits, in closed form."""
    logits = model.layer(inputs).detach()
    task = (logits.softmax(1) - F.one_hot(target, 3)) / len(target)
    return task, 2 * (logits - model.distiller.teacher.module(inputs))


def step(model, seed=0):
    losses = model.loss(*batch(seed))
    total, log = model.parse_losses(losses)
    total.backward()
    return losses, log


def test_closed_form():
    model = toy()
    inputs, target = batch()
    task, term = gradients_of(model, inputs, target)
    weight = SHARE * task.norm() / term.norm()
    losses, log = step(model)
    torch.testing.assert_close(log['weight_x'], weight, **EXACT)
    torch.testing.assert_close(
        losses['loss_x'].detach(), weight * (term / 2).square().sum(), **EXACT
    )
    # The measurement left no trace in the gradient of the layer.
    expected = (task + weight * term).T @ inputs
    torch.testing.assert_close(model.layer.weight.grad, expected, rtol=1e-5, atol=1e-7)


def test_the_weighted_gradient_is_the_share_of_the_tasks():
    model = toy()
    task, term = gradients_of(model, *batch())
    _, log = step(model)
    torch.testing.assert_close(log['weight_x'] * term.norm(), SHARE * task.norm(), **EXACT)


def test_averages_move_and_have_no_bias_towards_zero():
    model, momentum = toy(momentum=0.75), 0.75
    seen = []
    for seed in range(4):
        task, term = gradients_of(model, *batch(seed))
        seen.append((task.norm(), term.norm()))
        _, log = step(model, seed)
        factors = [momentum**age for age in range(len(seen))][::-1]
        above, below = (sum(f * norms[i] for f, norms in zip(factors, seen)) for i in (0, 1))
        torch.testing.assert_close(log['weight_x'], SHARE * above / below, **EXACT)


def test_it_costs_something_at_measured_steps_only():
    """Two calls then: back from the task, and back from the term."""
    model, calls = toy(every=3), []
    with mock.patch('torch.autograd.grad', side_effect=torch.autograd.grad) as grad:
        for seed in range(7):
            step(model, seed)
            calls.append(grad.call_count)
            grad.reset_mock()
    assert calls == [2, 0, 0, 2, 0, 0, 2]
    assert not model.layer._forward_hooks


def test_between_measurements_the_weight_stays():
    model = toy(every=3)
    weights = [step(model, seed)[1]['weight_x'] for seed in range(6)]
    assert weights[0] == weights[1] == weights[2] != weights[3] == weights[4] == weights[5]


def test_warm_up():
    model, plain = toy(warm_up=4), toy()
    ratios = [
        float(step(model, seed)[1]['weight_x'] / step(plain, seed)[1]['weight_x'])
        for seed in range(6)
    ]
    assert ratios == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], rel=1e-6)


def test_a_schedule_scales_on_top():
    model, plain = toy(momentum=0.5), toy(momentum=0.5)
    model.distiller.set_scale('loss_x', 0.5)
    for seed in range(3):
        (losses, log), (expected, other) = step(model, seed), step(plain, seed)
        assert torch.equal(log['weight_x'], other['weight_x'])
        torch.testing.assert_close(losses['loss_x'], expected['loss_x'] / 2, **EXACT)


def test_a_term_that_is_off_is_not_measured_and_its_steps_do_not_count():
    model = toy(every=2)
    step(model)
    model.distiller.set_scale('loss_x', 0.0)
    share = model.distiller.terms['loss_x'].gradient_share
    before = copy.deepcopy(share.state_dict())
    with mock.patch('torch.autograd.grad', side_effect=AssertionError):
        losses, log = step(model, 1)
    assert losses['loss_x'] == 0
    assert 'weight_x' not in log
    assert all(torch.equal(value, before[key]) for key, value in share.state_dict().items())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_measurement_that_is_not_finite_does_not_count(value):
    model = toy(momentum=0.5)
    model.distiller.on_non_finite = 'skip'
    _, log = step(model)
    bias = model.distiller.teacher.module.bias
    good = bias.clone()
    bias[0] = value
    losses, after = step(model, 1)
    assert losses['loss_x'] == 0
    assert after['weight_x'] == log['weight_x']
    bias.copy_(good)
    _, last = step(model, 2)
    assert last['weight_x'].isfinite()
    assert last['weight_x'] != log['weight_x']


def test_a_step_without_a_gradient_does_not_count():
    model = toy(momentum=0.5)
    teacher = model.distiller.teacher.module
    teacher.load_state_dict(model.layer.state_dict())
    _, log = step(model)
    assert log['weight_x'] == 0  # nothing is known yet
    assert not model.distiller.terms['loss_x'].gradient_share.norms.any()
    teacher.weight.add_(1)
    _, log = step(model)
    task, term = gradients_of(model, *batch())
    torch.testing.assert_close(log['weight_x'], SHARE * task.norm() / term.norm(), **EXACT)


def test_no_measurement_without_a_graph():
    model = toy()
    with torch.no_grad(), mock.patch('torch.autograd.grad', side_effect=AssertionError):
        model.loss(*batch())
    assert model.distiller.terms['loss_x'].gradient_share.steps == 0


def test_state_is_in_the_checkpoint_beside_the_student_and_goes_on_exactly():
    options = dict(every=2, momentum=0.5, warm_up=5)
    whole, first = toy(**options), toy(**options)
    for seed in range(3):
        step(whole, seed), step(first, seed)
    state = copy.deepcopy(first.state_dict())
    own = {key for key in state if not key.startswith('distiller.')}
    assert own == {'layer.weight', 'layer.bias'}
    place = 'distiller.terms.loss_x.gradient_share.'
    assert {key for key in state if key.startswith(place)} == {f'{place}norms', f'{place}steps'}
    resumed = toy(**options)
    resumed.load_state_dict(state)
    for seed in range(3, 7):
        (losses, log), (expected, other) = step(resumed, seed), step(whole, seed)
        assert torch.equal(losses['loss_x'], expected['loss_x'])
        assert torch.equal(log['weight_x'], other['weight_x'])


def test_the_number_of_steps_is_read_once_after_loading():
    model = toy(every=3)
    model.load_state_dict(toy(every=3).state_dict())
    share = model.distiller.terms['loss_x'].gradient_share
    assert share._step is None
    step(model)
    share.steps.fill_(100)  # nobody looks
    assert share._number() == 1


def test_the_late_look_still_raises(monkeypatch):
    monkeypatch.setattr(distiller_module, 'is_waited_for', lambda device: True)
    model = toy(momentum=0.5)
    step(model)
    model.distiller.teacher.module.bias[0] = float('nan')
    losses = model.loss(*batch(1))  # measured; the look waits for the backward pass
    with pytest.raises(FloatingPointError, match='loss_x'):
        model.parse_losses(losses)[0].backward()
    assert model.distiller.terms['loss_x'].gradient_share.weight().isfinite()


def test_a_governed_term_may_be_larger_than_the_task(monkeypatch):
    """Its value says nothing about how hard it pulls."""
    said = []
    monkeypatch.setattr(distiller_module, 'print_log', lambda text, **_: said.append(text))
    for share, expected in ((1e3, 0), (None, 1)):
        model = toy(share=share or 1.0)
        if share is None:
            model.distiller.terms['loss_x'].gradient_share = None
            model.distiller.terms['loss_x'].loss.loss_weight = 1e3
        model.distiller._watch.window = 2
        for _ in range(4):
            step(model)
        assert len(said) == expected, said


@pytest.mark.parametrize(
    ('weight', 'error', 'message'),
    [
        (dict(share=0.0), ValueError, 'share must be positive, got 0.0'),
        (dict(share=0.1, every=0), ValueError, 'every must be an integer of at least 1, got 0'),
        (dict(share=0.1, momentum=1.0), ValueError, 'momentum must be below 1, got 1.0'),
        (dict(share=0.1, momentum=-1), ValueError, 'momentum must not be negative, got -1'),
        (
            dict(share=0.1, warm_up=0.5), ValueError,
            'warm_up must be an integer of at least 0, got 0.5',
        ),
        (
            dict(shared=0.1), KeyError,
            "distill.loss_x.loss.loss_weight has unknown keys ['shared']; valid keys are ['every', "
            "'momentum', 'share', 'warm_up']",
        ),
        (
            {}, TypeError,
            "distill.loss_x.loss.loss_weight of type 'GradientShare': missing a required argument: "
            "'share'",
        ),
        (
            dict(type='GradShare'), KeyError,
            "distill.loss_x.loss.loss_weight.type must be one of ['GradientShare'], got "
            "'GradShare'",
        ),
        (
            dict(type='KDLoss'), TypeError,
            "distill.loss_x.loss.loss_weight must be a number or a GradientShare, got 'KDLoss'",
        ),
    ],
)  # fmt: skip
def test_mistakes(weight, error, message):
    loss = dict(type=Squares, loss_weight=dict(dict(type='GradientShare'), **weight))
    with pytest.raises(error, match=re.escape(message)):
        ToyModel(dict(loss_x=dict(tap='toy_features', loss=loss)))


def test_a_loss_without_a_weight_has_none_to_govern():
    with pytest.raises(KeyError, match=r"loss_x.loss has unknown keys \['loss_weight'\]"):
        toy(Unweighted)


def test_parts_that_are_sharded_by_themselves_are_refused():
    model = toy()
    kind = type('FullyShardedDataParallel', (torch.nn.Sequential,), {})
    model.part = kind(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="cannot be measured while 'part' of the student is shar"):
        step(model)


# Classifiers


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    return save_classifier(classifier_config('resnet8x4'), path)


def governed(term, **options):
    weight = dict(dict(type='GradientShare', share=SHARE, every=1, momentum=0.0), **options)
    return dict(term, loss=dict(term['loss'], loss_weight=weight))


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def classifier(teacher, distill, **changes):
    config = classifier_config(teacher=teacher, distill=distill, image_size=32, **changes)
    return build(dict(config, type='DistilledClassifier'))


def losses_of(model):
    images, labels = model.data_preprocessor(image_batch(), True)
    return model.loss(images, labels)


def norm_at(losses, names, places):
    """Norm of the gradient of the sum of losses at tensors, by another way."""
    total = sum(losses[name].sum() for name in names)
    grads = torch.autograd.grad(total, places, retain_graph=True, allow_unused=True)
    return sum(one.square().sum() for one in grads if one is not None).sqrt()


PLACES = {
    'logits': (class_logits_term(), ('fc:input',)),
    'module': (module_term('layer2'), ('layer2',)),
    'before an activation': (module_term('layer3.0.relu2:input'), ('layer3.0.relu2:input',)),
    'place': (module_term('last'), ('layer3',)),
    'stages': (
        module_term('stages', modules='stages', loss=dict(type='FitNetLoss')),
        ('layer1', 'layer2', 'layer3'),
    ),
    'class activation': (
        dict(tap='class_activation', loss=dict(type='FitNetLoss')),
        ('pool:input',),
    ),
}


@pytest.mark.parametrize('name', PLACES)
def test_where_terms_of_classifiers_meet_the_trunk(teacher, name):
    term, places = PLACES[name]
    model = classifier(teacher, dict(loss_x=governed(term)))
    found = model.meeting_places(model.distiller.terms['loss_x'].tap)
    assert found == places
    kept = []

    def keep(module, args, output):
        kept.append(args[0] if places[0].endswith(':input') else output)

    for place in places:
        model.network.get_submodule(place.removesuffix(':input')).register_forward_hook(keep)
    losses = losses_of(model)
    ratio = norm_at(losses, ['loss_x'], kept) / norm_at(losses, ['loss_ce'], kept)
    torch.testing.assert_close(ratio, torch.tensor(SHARE), rtol=1e-4, atol=0)


def test_the_map_before_an_activation_that_works_in_place(teacher):
    """The edge of the graph before it: gradients of the task are those behind, where positive."""
    model = classifier(teacher, dict(loss_x=governed(module_term('layer3.0.relu2:input'))))
    model.network.layer3[0].relu2 = torch.nn.ReLU(inplace=True)
    other = classifier(teacher, dict(loss_x=governed(module_term('layer3.0.relu2:input'))))
    torch.testing.assert_close(
        losses_of(model)['loss_x'], losses_of(other)['loss_x'], rtol=1e-5, atol=0
    )


def test_terms_with_numbers_are_not_touched_by_one_without(teacher):
    terms = dict(loss_l=class_logits_term(), loss_f=module_term())
    plain = losses_of(classifier(teacher, terms))
    found = losses_of(classifier(teacher, dict(terms, loss_f=governed(module_term()))))
    assert torch.equal(found['loss_ce'], plain['loss_ce'])
    assert torch.equal(found['loss_l'], plain['loss_l'])
    assert not torch.equal(found['loss_f'], plain['loss_f'])


def test_the_whole_output_of_a_loss_with_several_weights_is_governed(teacher):
    """WKD-L: its target part and its transport by one weight, at the ratio that they have."""
    options = dict(transport_weight=7.0)
    term = class_logits_term(**options)
    plain = losses_of(classifier(teacher, dict(loss_x=term)))['loss_x']
    model = classifier(teacher, dict(loss_x=governed(term)))
    losses = losses_of(model)
    _, log = model.parse_losses(losses)
    torch.testing.assert_close(losses['loss_x'], log['weight_x'] * plain, rtol=1e-6, atol=0)


def test_bfloat16(teacher):
    weights = []
    for on in (False, True):
        model = classifier(teacher, dict(loss_l=governed(class_logits_term())))
        with torch.autocast('cpu', torch.bfloat16, enabled=on):
            losses = losses_of(model)
        total, log = model.parse_losses(losses)
        total.backward()
        weights.append(log['weight_l'])
        assert all(p.grad is not None for p in model.parameters())
    # Eight bits of a value: a batch normalisation over four images spreads their error.
    torch.testing.assert_close(*weights, rtol=0.1, atol=0)
    assert weights[0] != weights[1]


@pytest.mark.skipif(torch.__version__ < (2, 3), reason='no float16 in autocast on CPUs')
def test_float16_gradients_do_not_vanish(teacher):
    """The task is made small: unscaled, its gradient would be 0 in float16."""
    weights = []
    for dtype in (None, torch.float16):
        model = classifier(teacher, dict(loss_l=governed(class_logits_term())))
        task = model.network.fc.weight
        task.data *= 1e-4
        with torch.autocast('cpu', dtype, enabled=dtype is not None):
            _, log = model.parse_losses(losses_of(model))
        weights.append(log['weight_l'])
    torch.testing.assert_close(weights[1], weights[0], rtol=0.05, atol=0)


def test_an_average_of_weights_has_its_own_copy(teacher):
    model = classifier(teacher, dict(loss_l=governed(class_logits_term())))
    average = ExponentialMovingAverage(model)
    losses_of(model)
    share = average.module.distiller.terms['loss_l'].gradient_share
    assert share.steps == 0
    average.update_parameters(model)
    assert share.steps == 1
    assert torch.equal(share.norms, model.distiller.terms['loss_l'].gradient_share.norms)


# Detectors


def detector(section, distill):
    return build(distilled_config(section, distill))


def losses_of_detector(model):
    data = model.data_preprocessor(random_batch([(96, 128), (64, 96)]), True)
    torch.manual_seed(3)
    return model.loss(data['inputs'], data['data_samples'])


FIT = dict(connector=dict(type='ConvConnector'), loss=dict(type='FitNetLoss'))
DETECTOR_PLACES = {
    'roi logits': (wkd_l_term(), ('neck',)),
    'roi features': (wkd_f_term(), ('neck',)),
    'neck': (wkd_f_neck_term(), ('neck',)),
    'backbone': (dict(FIT, tap='backbone'), ('backbone',)),
    'module': (dict(FIT, tap='backbone.layer3'), ('backbone.layer3',)),
    'module of a head': (
        dict(tap='roi_head.bbox_head.fc_reg', loss=dict(type='FitNetLoss')),
        ('neck',),
    ),
}


@pytest.mark.parametrize('name', DETECTOR_PLACES)
def test_where_terms_of_detectors_meet_the_trunk(teacher_section, name):
    """At all levels, the share of the sum of the detector's own losses."""
    term, places = DETECTOR_PLACES[name]
    model = detector(teacher_section, dict(loss_x=governed(term)))
    assert model.meeting_places(model.distiller.terms['loss_x'].tap) == places
    kept = []
    model.get_submodule(places[0]).register_forward_hook(lambda *call: kept.append(call[2]))
    losses = losses_of_detector(model)
    maps = [kept[0]] if isinstance(kept[0], torch.Tensor) else list(kept[0])
    maps = [one for one in maps if one.requires_grad]
    total, _ = model.parse_losses(losses)
    task = total - losses['loss_x']
    ratio = norm_at(losses, ['loss_x'], maps) / norm_at(dict(task=task), ['task'], maps)
    # float32 sums of thousands of values, and a difference of two totals
    torch.testing.assert_close(ratio, torch.tensor(SHARE), rtol=1e-3, atol=0)


def test_the_backbone_stands_in_for_a_neck_that_is_not_there(teacher_section):
    model = detector(teacher_section, dict(loss_x=governed(wkd_l_term())))
    with mock.patch.object(type(model), 'with_neck', False):
        assert model.meeting_places(model.distiller.terms['loss_x'].tap) == ('backbone',)


def test_a_place_that_nothing_trains_is_an_error(teacher_section):
    model = detector(teacher_section, dict(loss_x=governed(dict(FIT, tap='backbone.layer3'))))
    model.backbone.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no gradient reaches \['backbone.layer3'\] of the stud"):
        losses_of_detector(model)


def test_defaults_and_no_parameters():
    share = GradientShare(0.2, every=5)
    assert (share.share, share.every, share.momentum, share.warm_up) == (0.2, 5, 0.9, 0)
    assert not list(share.parameters())
