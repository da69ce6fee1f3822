"""The distilled classifier: the same guarantees as the distilled detector's."""

import copy
from unittest import mock

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage

from wkd_det.classification.classifier import Classifier
from wkd_det.classification.distilled import ClassifierStudentView, ClassifierTeacherView
from wkd_det.losses import WKDFeatureLoss
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    image_batch,
    module_term,
    save_classifier,
)

TERMS = dict(loss_wkd_l=class_logits_term(), loss_wkd_f=module_term())


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A wider network, weights on disk."""
    config = classifier_config('resnet8x4')
    return save_classifier(config, tmp_path_factory.mktemp('teacher') / 'teacher.pth')


def distilled_config(teacher, distill, **changes):
    config = classifier_config(teacher=teacher, distill=distill, image_size=32, **changes)
    return dict(config, type='DistilledClassifier')


def build(config, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def losses_of(model, **batch):
    images, labels = model.data_preprocessor(image_batch(**batch), True)
    return model.loss(images, labels)


@pytest.mark.parametrize('distill', [None, {}])
def test_without_terms_the_losses_are_those_of_the_plain_classifier(teacher, distill):
    plain = losses_of(build(classifier_config()))
    same = losses_of(build(distilled_config(teacher, distill)))
    assert plain.keys() == same.keys()
    assert torch.equal(plain['loss_ce'], same['loss_ce'])  # bit for bit


def test_terms_add_losses_and_change_none_of_the_student(teacher):
    plain = losses_of(build(classifier_config()))
    losses = losses_of(build(distilled_config(teacher, TERMS)))
    assert losses.keys() == {'loss_ce', 'loss_wkd_l', 'loss_wkd_f'}
    assert torch.equal(losses['loss_ce'], plain['loss_ce'])
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_building_and_the_teacher_leave_random_state_and_weights_of_the_student(teacher):
    plain = build(classifier_config())
    expected = torch.rand(1)
    model = build(distilled_config(teacher, TERMS))
    assert torch.equal(torch.rand(1), expected)
    own = model.state_dict()
    assert [key for key in own if not key.startswith('distiller.')] == list(plain.state_dict())
    # Statistics and counters of batch normalisation among them: shapes were probed, not run.
    assert all(torch.equal(value, own[key]) for key, value in plain.state_dict().items())


def test_every_parameter_gets_a_gradient(teacher):
    model = build(distilled_config(teacher, TERMS))
    total, log = model.parse_losses(losses_of(model))
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert {'share_wkd_l', 'share_wkd_f'} <= log.keys()


def test_teacher_is_frozen_and_no_part_of_the_model(teacher):
    model = build(distilled_config(teacher, TERMS))
    module = model.distiller.teacher.module
    before = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        total, _ = model.train().parse_losses(losses_of(model))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert not any(part.training for part in module.modules())
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not set(model.modules()) & set(module.modules())
    assert not any('teacher' in key for key in model.state_dict())
    assert not any(part._forward_hooks for part in [*model.modules(), *module.modules()])
    assert ExponentialMovingAverage(model).module.distiller.teacher is model.distiller.teacher


def test_plain_classifier_loads_a_distilled_checkpoint_and_predicts_the_same(teacher):
    model = build(distilled_config(teacher, TERMS)).eval()
    assert isinstance(model, Classifier)
    plain = MODELS.build(classifier_config()).eval()
    missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith('distiller.') for key in unexpected)
    for one, other in zip(model.test_step(image_batch()), plain.test_step(image_batch())):
        assert torch.equal(one['pred_score'], other['pred_score'])


@pytest.mark.parametrize('kind', ['Classifier', 'network'])
def test_teacher_from_a_public_archive(tmp_path, kind):
    config = classifier_config('resnet14')
    section = save_classifier(config, tmp_path / 'archive.pth', bare=True)
    if kind == 'network':
        section = dict(section, config=config['network'])
    model = build(distilled_config(section, TERMS))
    archive = torch.load(tmp_path / 'archive.pth')['model']
    teacher = model.distiller.teacher.module
    weight = (teacher if kind == 'network' else teacher.network).fc.weight
    assert torch.equal(weight, archive['fc.weight'])
    assert losses_of(model)['loss_wkd_f'] > 0
    torch.save(dict(model={k: v for k, v in archive.items() if k != 'fc.bias'}), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='missing keys: .*fc.bias'):
        build(distilled_config(dict(section, checkpoint=str(tmp_path / 'x.pth')), TERMS))


def test_teacher_sees_what_its_own_preprocessor_would_give(tmp_path):
    pixels = dict(type='ImagePreprocessor', mean=[120, 110, 100], std=[60, 55, 50])
    config = classifier_config('resnet14', data_preprocessor=pixels)
    section = save_classifier(config, tmp_path / 'teacher.pth')
    model = build(distilled_config(section, dict(loss_l=class_logits_term())))
    teacher = model.distiller.teacher.module
    images, labels = model.data_preprocessor(image_batch(), True)
    student = ClassifierStudentView(model, images, labels, [''])
    seen = ClassifierTeacherView(model.distiller.teacher, student, ['']).logits()
    expected = teacher(teacher.data_preprocessor(image_batch(), False)[0])
    assert torch.allclose(seen, expected, atol=1e-5)  # float32 rounding of the way back and forth
    with mock.patch.object(teacher.network, 'forward', side_effect=AssertionError):
        model.distiller.set_scale('loss_l', 0.0)
        assert model.loss(images, labels)['loss_l'] == 0  # and the teacher did not run


def test_teacher_runs_before_the_student(tmp_path):
    """Its intermediate results do not lie on top of the student's graph."""
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth')
    model = build(distilled_config(section, dict(loss_l=class_logits_term())))
    order = []
    for name, network in dict(student=model, teacher=model.distiller.teacher.module).items():
        network.network.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    losses_of(model)
    assert order == ['teacher', 'student']


def test_equal_networks_have_equal_features(tmp_path):
    student = classifier_config('resnet14')
    path = tmp_path / 'same.pth'
    torch.manual_seed(0)
    torch.save(MODELS.build(student).state_dict(), path)
    terms = {
        f'loss_{tap}': dict(tap=tap, loss=dict(type='WKDFeatureLoss'))
        for tap in ('relu', 'layer1', 'layer2', 'layer3', 'pool')
    }
    config = dict(student, type='DistilledClassifier', image_size=32, distill=terms)
    model = build(dict(config, teacher=dict(config=student, checkpoint=str(path)))).eval()
    losses = losses_of(model)
    assert all(losses[name].item() == pytest.approx(0, abs=1e-9) for name in terms)


def test_module_names_of_student_and_teacher_may_differ(tmp_path):
    section = save_classifier(classifier_config('wrn_16_2'), tmp_path / 'wrn.pth')
    term = module_term('layer2', teacher_tap='block2')
    assert losses_of(build(distilled_config(section, dict(loss_f=term))))['loss_f'] > 0


def test_maps_of_half_the_size(teacher):
    term = module_term('layer3', teacher_tap='layer2')
    with pytest.raises(ValueError, match=r"8 x 8 at 'layer3' after its connector.*16 x 16.*Trans"):
        build(distilled_config(teacher, dict(loss_f=term)))
    for connector in (
        dict(type='TransposedConvConnector'),
        dict(type='ConvConnector', resize=True),
    ):
        doubled = dict(term, connector=connector)
        assert losses_of(build(distilled_config(teacher, dict(loss_f=doubled))))['loss_f'] > 0


@pytest.mark.parametrize(
    ('distill', 'error', 'message'),
    [
        (dict(wkd=class_logits_term()), ValueError, "must start with 'loss_'"),
        (dict(loss_x=module_term('layer5')), KeyError, "loss_x.tap.*'layer5'; near matches.*layer"),
        (
            dict(loss_x=module_term(teacher_tap='layer5')),
            KeyError,
            "the teacher CifarResNet has no such module: got 'layer5'; near matches.*layer",
        ),
        (dict(loss_x=dict(module_term(), tap=3)), KeyError, "'logits' or a module's name, got 3"),
        (dict(loss_x=module_term(levels=[1])), KeyError, "unknown keys .'levels'.*same_size"),
        (dict(loss_x=module_term(connector=None)), ValueError, '64 channels.*teacher 256'),
        (dict(loss_x=dict(class_logits_term(), tap='fc')), ValueError, 'yields features'),
    ],
)
def test_wrong_sections_are_errors_that_say_what_is_valid(teacher, distill, error, message):
    with pytest.raises(error, match=message):
        build(distilled_config(teacher, distill))


def test_other_number_of_classes(tmp_path):
    section = save_classifier(classifier_config(num_classes=7), tmp_path / 'seven.pth')
    with pytest.raises(ValueError, match='student has 10 classes and the teacher 7'):
        build(distilled_config(section, TERMS))


def test_term_named_like_the_loss_of_the_classifier(teacher):
    model = build(distilled_config(teacher, dict(loss_ce=class_logits_term())))
    with pytest.raises(KeyError, match='loss of that name'):
        losses_of(model)


def test_output_changed_in_place_is_refused(tmp_path):
    network = dict(type='TorchvisionModel', name='resnet18', num_classes=10)
    config = classifier_config(network=network)
    section = save_classifier(config, tmp_path / 'resnet18.pth')
    term = dict(tap='layer1.0.bn2', loss=dict(type='WKDFeatureLoss'))
    config = dict(config, type='DistilledClassifier', image_size=32, teacher=section)
    with pytest.raises(ValueError, match="output of 'layer1.0.bn2' is changed in place"):
        build(dict(config, distill=dict(loss_x=term)))


def test_testing_needs_no_file_of_the_teacher():
    section = dict(config='nowhere/teacher.py', checkpoint='nowhere/teacher.pth')
    model = MODELS.build(distilled_config(section, TERMS)).eval()
    assert len(model.test_step(image_batch())) == 4
    with pytest.raises(FileNotFoundError, match=r'nowhere/teacher\.py'):
        model.init_weights()


def test_same_size_false_hands_maps_on_as_they_are(teacher):
    term = module_term('layer3', teacher_tap='layer2', same_size=False)
    model = build(distilled_config(teacher, dict(loss_f=term)))
    with mock.patch.object(WKDFeatureLoss, 'forward', return_value=torch.ones(())) as loss:
        losses_of(model)
    assert loss.call_args.kwargs['student'].shape == (4, 128, 8, 8)
    assert loss.call_args.kwargs['teacher'].shape == (4, 128, 16, 16)
