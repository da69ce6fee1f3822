"""A teacher of maps and students of several kinds: steps, refusals, inference, other teachers."""

from __future__ import annotations

import copy
import functools
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage
from torch.testing import assert_close

from dense_cases import accumulated
from query_cases import tiny_queries
from wkd_det.detection.taps.maps import NeckTap
from wkd_det.distillation.teacher import TeacherSource
from wkd_det.testing import distilled_from, random_batch, tiny_detector, wkd_l_term

VIT = dict(
    type='TimmMaps',
    name='vit_small_patch14_reg4_dinov2.lvd142m',
    embed_dim=32,
    num_heads=2,
    depth=2,
    img_size=98,
    stride=16,
)
CONVNEXT = dict(type='TimmMaps', name='test_convnext')
CONV = dict(type='ConvConnector', norm_cfg=None)
FITNET = dict(type='FitNetLoss')
LEVEL_OF_16 = {
    'FasterRCNN': 2,
    'CascadeRCNN': 2,
    'RetinaNet': 1,
    'FCOS': 1,
    'ATSS': 1,
    'GFL': 1,
    'DeformableDETR': 1,
}


@pytest.fixture(scope='module')
def section(tmp_path_factory):
    """A section ``teacher`` for a model config, its weights on disk."""
    folder = tmp_path_factory.mktemp('maps')

    @functools.cache
    def weights(text):
        path = folder / f'{len(list(folder.iterdir()))}.pth'
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            network = MODELS.build(copy.deepcopy(configs[text])).backbone.network
        torch.save(network.state_dict(), path)
        return str(path)

    configs = {}

    def made(config, **changes):
        configs[str(config)] = config
        return dict(config=config, checkpoint=weights(str(config)), **changes)

    return made


def term(tap='neck', level=2, teacher_level=0, **changes):
    levels = dict(levels=[level], teacher_levels=[teacher_level])
    return dict(dict(tap=tap, connector=CONV, loss=FITNET, **levels), **changes)


def student(kind):
    return tiny_queries(kind) if kind == 'DeformableDETR' else tiny_detector(kind)


def build(kind, teacher, distill):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(distilled_from(student(kind), teacher, distill)))
    model.init_weights()
    return model.train()


def losses_of(model, sizes=((96, 128), (64, 97)), seed=3):
    data = model.data_preprocessor(random_batch(list(sizes)), True)
    torch.manual_seed(seed)
    return model.loss(data['inputs'], data['data_samples'])


# Steps


@pytest.mark.parametrize('kind', LEVEL_OF_16)
def test_a_step_of_each_kind_of_student(section, kind):
    distill = dict(
        loss_neck=term(level=LEVEL_OF_16[kind]),
        loss_backbone=term(
            'backbone',
            level=1 if kind == 'DeformableDETR' else 2,  # its backbone gives no map of stride 4
            loss=dict(type='MGDLoss', alpha=1e-3, ratio=0.5),
        ),
    )
    model = build(kind, section(VIT), distill)
    losses = losses_of(model)
    teacher = model.distiller.teacher.module
    before = copy.deepcopy(teacher.state_dict())
    model.parse_losses(losses)[0].backward()
    for name, one in model.distiller.terms.items():
        assert losses[name].isfinite()
        assert losses[name] > 0
        assert all(parameter.grad is not None for parameter in one.parameters())
    assert model.backbone.layer3[0].downsample[0].weight.grad.any()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    own, other = model.distiller.terms['loss_neck'].tap.strides
    assert own[LEVEL_OF_16[kind]] == other[0] == 16


def test_maps_lie_on_those_of_the_student(section):
    """Of the same size for a batch that 16 divides, and where both networks pad."""
    model = build('FasterRCNN', section(VIT), dict(loss_neck=term()))
    seen = []
    model.distiller.terms['loss_neck'].loss.register_forward_pre_hook(
        lambda module, args, given: seen.append(given), with_kwargs=True
    )
    for sizes in ([(96, 128)], [(70, 90), (33, 120)]):
        data = model.data_preprocessor(random_batch(sizes), True)
        losses_of(model, sizes)
        height, width = (length // 16 for length in data['inputs'].shape[-2:])
        assert seen[-1]['teacher'].shape[-2:] == (height, width)
    assert not seen[-1]['mask'].all()  # padding


@pytest.mark.parametrize(
    'changes',
    [
        dict(tap='pyramid', levels=[0, 1, 2, 3], teacher_levels=[0, 1, 2, 3]),
        dict(tap='neck', levels=[0, 1, 2, 3], teacher_levels=[0, 1, 2, 3]),
        dict(tap='imitation', levels=[1, 2], teacher_levels=[1, 2]),
        dict(tap='backbone', levels=[3], teacher_levels=[3]),
    ],
    ids=lambda changes: changes['tap'],
)
def test_taps_on_the_levels_of_a_pyramid_of_timms(section, changes):
    losses = {'pyramid': dict(type='ReviewKDLoss'), 'imitation': dict(type='FGFILoss')}
    distill = dict(loss_x=term(**changes, loss=losses.get(changes['tap'], FITNET)))
    model = build('FasterRCNN', section(CONVNEXT), distill)
    value = losses_of(model)['loss_x']
    assert value.isfinite()
    assert value > 0


def test_other_strides_need_a_connector_that_resizes(section):
    own = section(dict(VIT, stride=None))
    message = 'neck level 2 has stride 16 in the student and level 0 has 14 in the teacher'
    with pytest.raises(ValueError, match=message):
        build('FasterRCNN', own, dict(loss_x=term()))
    resizing = dict(type='ConvConnector', norm_cfg=None, resize=True)
    model = build('FasterRCNN', own, dict(loss_x=term(connector=resizing)))
    assert losses_of(model)['loss_x'] > 0


def test_without_terms_nothing_changes(section):
    torch.manual_seed(0)
    expected = MODELS.build(tiny_detector('FasterRCNN'))
    expected.init_weights()
    expected = losses_of(expected.train())
    found = losses_of(build('FasterRCNN', section(VIT), {}))
    for name, value in losses_of(build('FasterRCNN', section(VIT), dict(loss_x=term()))).items():
        for other in (found, expected):
            values = other.get(name, value)
            pairs = zip(value, values) if isinstance(value, list) else [(value, values)]
            assert all(torch.equal(*pair) for pair in pairs), name  # bit for bit
    assert found.keys() == expected.keys()


def test_a_moving_average_shares_it_and_no_checkpoint_holds_it(section):
    model = build('GFL', section(VIT), dict(loss_x=term(level=1)))
    average = ExponentialMovingAverage(model)
    assert average.module.distiller.teacher is model.distiller.teacher
    plain = MODELS.build(tiny_detector('GFL')).state_dict()
    rest = model.state_dict().keys() - plain.keys()
    assert rest == {f'distiller.terms.loss_x.connectors.0.conv.conv.{one}' for one in
                    ('weight', 'bias')}  # fmt: skip


def test_accumulated_steps_are_the_larger_batch(section):
    model = build('GFL', section(VIT), dict(loss_x=term(level=1)))
    assert_close(*accumulated(model, 'neck.lateral_convs.1.conv.weight'), rtol=1e-4, atol=1e-7)


# Other teachers, classes, inference


def test_beside_a_detector_as_teacher(section, teacher_section):
    teachers = dict(maps=section(VIT), box=teacher_section)
    distill = dict(
        loss_maps=dict(term(), teacher='maps'), loss_rois=dict(wkd_l_term(), teacher='box')
    )
    config = distilled_from(tiny_detector('FasterRCNN'), {}, distill)
    del config['teacher']
    torch.manual_seed(0)
    model = MODELS.build(dict(config, teachers=teachers))
    model.init_weights()
    losses = losses_of(model.train())
    alone = losses_of(build('FasterRCNN', section(VIT), dict(loss_maps=term())))
    assert losses['loss_rois'] > 0
    assert alone['loss_maps'].shape == losses['loss_maps'].shape
    swapped = dict(distill, loss_rois=dict(wkd_l_term(), teacher='maps'))
    with pytest.raises(ValueError, match='loss_rois: the teacher TimmMaps has no RoI head'):
        MODELS.build(dict(config, teachers=teachers, distill=swapped))


@pytest.mark.parametrize('classes', ['same', 'subset', 'any'])
def test_whatever_is_said_of_classes_it_has_none(section, classes, tmp_path):
    own = section(VIT)
    state = torch.load(own['checkpoint'])
    path = tmp_path / 'named.pth'
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=['a', 'b']))), path)
    teacher = dict(own, checkpoint=str(path), classes=classes)
    model = build('FasterRCNN', teacher, dict(loss_x=term()))
    assert model.distiller.teacher.order.is_identity
    assert losses_of(model)['loss_x'] > 0


# Halves are rounded by 1/2048 and 1/256, and a value passes some ten layers.
@pytest.mark.parametrize(
    ('inference', 'tolerance'),
    [
        (dict(dtype='float32'), 0),
        (dict(dtype='autocast'), 0),
        (dict(channels_last=True), 1e-4),
        (dict(fuse=True), 1e-4),
        (dict(dtype='half'), 1e-2),
        (dict(dtype='bfloat16', channels_last=True, fuse=True), 5e-2),
    ],
    ids=str,
)
@pytest.mark.parametrize('name', ['dinov2', 'dinov3', 'convnext', 'swin', 'resnet'])
def test_every_form_of_inference_gives_nearly_the_same_maps(section, name, inference, tolerance):
    if inference.get('dtype') == 'half' and torch.__version__ < (2, 3):
        pytest.skip('no convolutions of half precision on a CPU')
    small = dict(type='TimmMaps', embed_dim=32, depth=2, num_heads=2)
    swin = dict(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), levels=[2])
    config = {
        'dinov2': VIT,
        'dinov3': dict(small, name='vit_small_patch16_dinov3'),
        'convnext': dict(CONVNEXT, levels=[2]),
        'swin': dict(type='TimmMaps', name='swin_tiny_patch4_window7_224', **swin),
        'resnet': dict(type='TimmMaps', name='test_resnet', levels=[3]),
    }[name]
    maps = []
    for chosen in ({}, inference):
        model = build('GFL', section(config, inference=chosen), dict(loss_x=term(level=1)))
        data = model.data_preprocessor(random_batch([(96, 128)]), True)
        seen = []
        model.distiller.terms['loss_x'].loss.register_forward_pre_hook(
            lambda module, args, given, seen=seen: seen.append(given['teacher']), with_kwargs=True
        )
        model.loss(data['inputs'], data['data_samples'])
        assert seen[0].dtype == torch.float32
        maps.append(seen[0])
        network = model.distiller.teacher.module.backbone.network
        if name == 'dinov3':
            assert network.rope.periods.dtype == torch.float32
    difference = ((maps[0] - maps[1]).norm() / maps[0].norm()).item()
    assert difference <= tolerance
    assert tolerance in (0, 1e-4) or difference > 0


def test_batch_normalisations_are_folded(section):
    config = dict(type='TimmMaps', name='test_resnet', levels=[4])  # all stages run
    teacher = section(config, inference=dict(fuse=True))
    model = build('GFL', teacher, dict(loss_x=term(level=2)))
    network = model.distiller.teacher.module.backbone.network
    assert not [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]


def test_mixed_precision_ends_in_float32(section):
    model = build('GFL', section(VIT), dict(loss_x=term(level=1)))
    with torch.autocast('cpu', torch.bfloat16):
        loss = losses_of(model)['loss_x']
    assert loss.dtype == torch.float32
    # As in float32 to the rounding of bfloat16, 1/256, in some ten layers.
    assert_close(loss, losses_of(model)['loss_x'], rtol=5e-2, atol=0)


# What is refused when the model is built

LOSSES = {
    'roi_logits': 'KDLoss',
    'crossed_logits': 'KDLoss',
    'roi_feats': 'FitNetLoss',
    'roi_boxes': 'BoxLoss',
    'dense_logits': 'SigmoidKDLoss',
    'box_distributions': 'LDLoss',
    'crossed_dense_logits': 'QualityFocalKDLoss',
    'crossed_box_distributions': 'LDLoss',
    'query_logits': 'WKDSigmoidLoss',
    'query_boxes': 'QueryBoxLoss',
}
NO_ROI_HEAD = 'the teacher TimmMaps has no RoI head: use the tap neck or backbone'
NO_DENSE_HEAD = 'the teacher TimmMaps has no dense head, which would be its bbox_head'
NO_QUERIES = 'the teacher TimmMaps has no queries: its bbox_head must be a DETRHead'


@pytest.mark.parametrize(
    ('kind', 'tap', 'options', 'message'),
    [
        ('FasterRCNN', 'roi_logits', {}, NO_ROI_HEAD),
        ('FasterRCNN', 'roi_offsets', {}, NO_ROI_HEAD),
        ('FasterRCNN', 'roi_boxes', {}, NO_ROI_HEAD),
        ('FasterRCNN', 'roi_feats', {}, NO_ROI_HEAD),
        ('FasterRCNN', 'crossed_logits', dict(head='teacher'), NO_ROI_HEAD),
        ('FasterRCNN', 'crossed_offsets', dict(head='student'), NO_ROI_HEAD),
        ('GFL', 'dense_logits', {}, NO_DENSE_HEAD),
        ('GFL', 'box_distributions', {}, NO_DENSE_HEAD),
        ('GFL', 'crossed_dense_logits', dict(depth=1), NO_DENSE_HEAD),
        ('GFL', 'crossed_box_distributions', dict(depth=1), NO_DENSE_HEAD),
        ('DeformableDETR', 'query_logits', {}, NO_QUERIES),
        ('DeformableDETR', 'query_boxes', {}, NO_QUERIES),
        ('DeformableDETR', 'memory', dict(levels=[0]), NO_QUERIES),
        ('FasterRCNN', 'neck', {}, 'the student has 5 neck levels and the teacher 1: name those'),
        (
            'FasterRCNN',
            'neck',
            dict(levels=[0], teacher_levels=[1]),
            r'levels \[1\] of the neck: the teacher has 1 levels',
        ),
    ],
)
def test_taps_that_a_teacher_of_maps_cannot_serve(kind, tap, options, message):
    loss = dict(type=LOSSES.get(tap, 'OffsetLoss' if 'offsets' in tap else 'FitNetLoss'))
    teacher = dict(config=VIT, checkpoint='not/read/yet.pth')
    config = distilled_from(
        student(kind), teacher, dict(loss_x=dict(tap=tap, loss=loss, **options))
    )
    with pytest.raises(ValueError, match=f'distill.loss_x: {message}'):
        MODELS.build(config)


def test_terms_that_compare_classes_are_refused(monkeypatch):
    """Whatever the tap reads: one of the user's own may read maps."""
    monkeypatch.setattr(NeckTap, 'compares_classes', True)
    teacher = dict(config=VIT, checkpoint='not/read/yet.pth')
    config = distilled_from(tiny_detector('FasterRCNN'), teacher, dict(loss_x=term()))
    message = 'the network of teacher has no classes, and distill.loss_x compares features'
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_a_network_that_gives_no_maps_is_named():
    teacher = dict(config=dict(VIT, name='beit_base_patch16_224'), checkpoint='x.pth')
    config = distilled_from(tiny_detector('GFL'), teacher, dict(loss_x=term(level=1)))
    with pytest.raises(ValueError, match='beit_base_patch16_224 of timm cannot teach maps'):
        MODELS.build(config)


def without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    return VIT, 'TimmMaps cannot be built here: TimmMaps needs timm: pip install timm'


def of_an_unknown_type(monkeypatch):
    return dict(type='Elsewhere'), "Elsewhere cannot be built here: type .*, got 'Elsewhere'"


def with_an_unknown_part(monkeypatch):
    config = tiny_detector('GFL')
    config['backbone'] = dict(type='mmabsent.Backbone')
    return config, 'GFL cannot be built here: .*mmabsent.Backbone is not in the '


@pytest.mark.parametrize('lacking', [without_timm, of_an_unknown_type, with_an_unknown_part])
@pytest.mark.parametrize('unlabelled', [None, {}])
def test_testing_needs_no_package_and_no_type_of_the_teacher(monkeypatch, lacking, unlabelled):
    config, message = lacking(monkeypatch)
    teacher = dict(config=config, checkpoint='nowhere.pth')
    student = tiny_detector('FasterRCNN')
    config = distilled_from(student, teacher, dict(loss_x=term()))
    model = MODELS.build(dict(config, unlabelled=unlabelled))
    assert len(model.eval().test_step(random_batch([(64, 64)]))) == 1
    with pytest.raises(ImportError, match=message):
        model.init_weights()
    with pytest.raises(ImportError, match=message):
        losses_of(model.train())
    with pytest.raises(ImportError, match=message):
        model.set_terms(dict(loss_x=term()))  # who tries terms is told at once


def test_other_mistakes_in_the_teacher_are_said_at_once():
    teacher = dict(config=dict(model=dict(name='x')), checkpoint='nowhere.pth')
    with pytest.raises(KeyError, match='type is missing in'):
        MODELS.build(distilled_from(tiny_detector('GFL'), teacher, dict(loss_x=term(level=1))))


def test_an_untrained_teacher_teaches_nothing():
    with pytest.raises(ValueError, match='teacher.checkpoint is not set'):
        TeacherSource(VIT).load()
