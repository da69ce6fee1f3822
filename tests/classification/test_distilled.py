"""The distilled classifier: the same guarantees as the distilled detector's."""

import copy
import re
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage

from tiny_models import build
from wkd_det.classification.classifier import Classifier
from wkd_det.classification.teacher_images import TeacherImages
from wkd_det.classification.views import ClassifierStudentView, ClassifierTeacherView
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


def losses_of(model, **batch):
    images, labels = model.data_preprocessor(image_batch(**batch), True)
    return model.loss(images, labels)


def test_channels_last_is_of_the_student_and_changes_rounding_alone(teacher):
    plain, other = (
        build(distilled_config(teacher, TERMS, channels_last=last)) for last in (False, True)
    )
    images, labels = plain.data_preprocessor(image_batch(), True)
    expected, found = (model(images, labels, mode='loss') for model in (plain, other))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        # float32 sums in another order, through a batch normalisation
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=0)


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
    adapt = TeacherImages(model.data_preprocessor, teacher.data_preprocessor)
    seen = ClassifierTeacherView(model.distiller.teacher, adapt, student, ['']).logits()
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
        (
            dict(loss_x=dict(module_term(), tap=3)),
            KeyError,
            'a place or the name of a module, got 3',
        ),
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


# Images and networks of other kinds


def pair(tmp_path, student, teacher, distill, size=32, **changes):
    """Distilled classifier of two network sections, each with one mean and deviation per channel.

    Args:
        student: Network, and the number of channels of its images.
        teacher: The same.
    """

    def section(network, channels):
        pixels = dict(type='ImagePreprocessor', mean=[9.0] * channels, std=[99.0] * channels)
        return dict(type='Classifier', network=network, data_preprocessor=pixels)

    path = tmp_path / 'teacher.pth'
    teacher_section = save_classifier(section(*teacher), path)
    config = dict(section(*student), type='DistilledClassifier', image_size=size)
    return build(dict(config, teacher=teacher_section, distill=distill, **changes))


def timm_network(name='resnet18', **options):
    return dict(type='TimmModel', name=name, num_classes=10, **options)


def channels_batch(channels, size=32):
    images, labels = image_batch(size=size)
    return [images.repeat(1, 2, 1, 1)[:, :channels], labels]


KD = dict(tap='logits', loss=dict(type='KDLoss'))
TIMM_TERMS = dict(
    loss_wkd_l=class_logits_term(),
    loss_f=dict(tap='layer4', loss=dict(type='FitNetLoss')),
)


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_grey_and_multispectral_networks(tmp_path, channels):
    network = timm_network(in_chans=channels)
    model = pair(tmp_path, (network, channels), (network, channels), TIMM_TERMS)
    losses = model.loss(*model.data_preprocessor(channels_batch(channels), True))
    assert all(losses[name].isfinite() and losses[name] > 0 for name in TIMM_TERMS)


def test_a_grey_student_of_a_teacher_of_colours(tmp_path):
    student, teacher = (timm_network(in_chans=1), 1), (timm_network(), 3)
    model = pair(tmp_path, student, teacher, TIMM_TERMS)
    batch = channels_batch(1)
    seen = []
    module = model.distiller.teacher.module
    with module.network.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        losses = model.loss(*model.data_preprocessor(batch, True))
    colours = [batch[0].expand(-1, 3, -1, -1), batch[1]]
    expected, _ = module.data_preprocessor(colours)
    assert torch.allclose(seen[0], expected)
    assert all(losses[name].isfinite() and losses[name] > 0 for name in TIMM_TERMS)


@pytest.mark.parametrize(('own', 'other'), [(3, 1), (5, 3), (2, 4)])
def test_other_numbers_of_channels(tmp_path, own, other):
    networks = [(timm_network(in_chans=channels), channels) for channels in (own, other)]
    message = (
        f'the student takes images of {own} channels and the teacher of {other}: they must be '
        'equal, or 1 and 3, where the teacher gets each grey image three times'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        pair(tmp_path, *networks, TIMM_TERMS)


@pytest.mark.parametrize('bare', [False, True])
def test_images_that_the_data_set_normalised(tmp_path, bare):
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth', bare=bare)
    if bare:
        section = dict(section, config=section['config']['network'])
    pixels = dict(type='ImagePreprocessor', std=[1, 1, 1])
    model = build(distilled_config(section, TERMS, data_preprocessor=pixels))
    images, labels = image_batch()
    batch = model.data_preprocessor([(images - 120.0) / 60, labels], True)
    if bare:  # it takes what the student takes
        assert model.loss(*batch)['loss_wkd_l'] > 0
        return
    with pytest.raises(ValueError, match='the values are negative before the preprocessor of the'):
        model.loss(*batch)


@pytest.mark.parametrize('aux_logits', [True, False])
def test_student_and_teacher_with_auxiliary_logits(tmp_path, aux_logits):
    network = dict(type='TorchvisionModel', name='googlenet', num_classes=10, init_weights=False)
    terms = dict(
        loss_wkd_l=class_logits_term(),
        loss_f=dict(tap='inception5b', loss=dict(type='FitNetLoss')),
    )
    student = dict(network, aux_logits=aux_logits, dropout=0.0)
    model = pair(tmp_path, (student, 3), (network, 3), terms, size=64)
    batch = model.data_preprocessor(image_batch(size=64), True)
    pairs = []
    term = model.distiller.terms['loss_wkd_l']
    read = term.read
    with mock.patch.object(term, 'read', side_effect=lambda *v: pairs.extend(read(*v)) or pairs):
        losses = model.loss(*batch)
    own = {'loss_ce', 'loss_auxiliary'} if aux_logits else {'loss_ce'}
    assert losses.keys() == own | terms.keys()
    assert all(value.isfinite() for value in losses.values())
    assert pairs[0]['student'].shape == pairs[0]['teacher'].shape == (4, 10)
    assert torch.equal(F.cross_entropy(pairs[0]['student'], batch[1]), losses['loss_ce'])
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('size', ['32', 0, -3, 32.0, (32, 32), None, True])
def test_the_side_of_the_images_is_an_integer(teacher, size):
    message = f'image_size must be an integer of at least 1, got {size!r}'
    config = dict(distilled_config(teacher, TERMS), image_size=size)
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        build(config)


@pytest.mark.parametrize(
    ('network', 'reason'),
    [
        (
            timm_network('vit_tiny_patch16_224', depth=1),
            "Input height (32) doesn't match model (224).",
        ),
        (
            dict(type='TorchvisionModel', name='vit_b_32', num_classes=10),
            'Wrong image height! Expected 224 but got 32!',
        ),
    ],
)
def test_a_transformer_for_images_of_another_size(tmp_path, network, reason):
    """Said when the model is built if a tap probes it, else in the first step."""
    student = (timm_network(), 3)
    kind = 'VisionTransformer'
    for terms, owner in ((TIMM_TERMS, 'network'), (dict(loss_kd=KD), 'teacher')):
        message = (
            f'the {owner} {kind} does not take images of 32 x 32 pixels ({reason}): where it has '
            'an option for their size, e.g. img_size or image_size, set it in its network'
        )
        if owner == 'network':
            message = f'distill.loss_f: {message}'
            module = 'blocks.0' if network['type'] == 'TimmModel' else 'encoder.ln'
            terms = dict(terms, loss_f=dict(terms['loss_f'], teacher_tap=module))
        with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
            losses_of(pair(tmp_path, student, (network, 3), terms))
    if network['type'] == 'TimmModel':
        fitting = (dict(network, img_size=32), 3)
        model = pair(tmp_path, student, fitting, dict(loss_l=class_logits_term()))
        assert model.loss(*model.data_preprocessor(image_batch(), True))['loss_l'] > 0
