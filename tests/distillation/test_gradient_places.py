"""Where terms of classifiers and detectors meet the student's trunk, in any type of numbers."""

from unittest import mock

import pytest
import torch
from mmengine.model import ExponentialMovingAverage

from tiny_models import build
from wkd_det.distillation import gradients
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

SHARE = 0.25


# Classifiers


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    return save_classifier(classifier_config('resnet8x4'), path)


def governed(term, **options):
    weight = dict(dict(type='GradientShare', share=SHARE, every=1, momentum=0.0), **options)
    return dict(term, loss=dict(term['loss'], loss_weight=weight))


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
    if gradients.get_gradient_edge is None:
        with pytest.raises(ValueError, match="later layer changes 'layer3.0.relu2:input' of the"):
            losses_of(model)
        return
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


def test_activations_that_are_computed_again(teacher_section):
    """Behind the neck, none are; behind a stage of the backbone, PyTorch refuses."""
    terms = dict(loss_x=governed(wkd_f_neck_term()))
    config = distilled_config(teacher_section, terms)
    config.backbone.with_cp = True
    model = build(config)
    data = model.data_preprocessor(random_batch([(64, 96), (60, 64)]), True)
    assert model.loss(data['inputs'], data['data_samples'])['loss_x'] > 0
    term = module_term('backbone.layer2')
    config.distill = dict(loss_x=governed(term))
    model = build(config)
    with pytest.raises(ValueError, match=r'train without with_cp \(activation checkpointing\)'):
        model.loss(data['inputs'], data['data_samples'])
