"""Levels that the student's network rounds up and the teacher's down, at every tap on maps."""

import copy
from unittest import mock

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from wkd_det.testing import distilled_config, random_batch, save_detector, tiny_faster_rcnn

CONV = dict(type='ConvConnector')
FEATURES = dict(type='WKDFeatureLoss')
TERMS = dict(
    loss_neck=dict(tap='neck', connector=CONV, loss=FEATURES),
    loss_backbone=dict(tap='backbone', connector=CONV, loss=FEATURES),
    loss_pyramid=dict(
        tap='pyramid',
        connector=dict(type='ABFConnector', mid_channels=8),
        loss=dict(type='ReviewKDLoss'),
    ),
    loss_imitation=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss')),
    loss_instances=dict(tap='instances', loss=dict(type='ICDLoss', width=16, num_heads=2)),
    loss_there=dict(
        tap='crossed_logits', head='teacher', connector='loss_neck', loss=dict(type='KDLoss')
    ),
    loss_back=dict(tap='crossed_logits', head='student', connector=CONV, loss=dict(type='KDLoss')),
    loss_feats=dict(tap='roi_feats', connector=CONV, loss=FEATURES),
    # The convolutions behind the top level of both networks.
    loss_module=dict(
        tap='neck.fpn_convs.3', teacher_tap='neck.fpn_convs.3', connector=CONV, loss=FEATURES
    ),
)


def hrnet(divisor):
    """A detector whose neck pools its levels, so that they are rounded down."""

    def stage(branches, block):
        return dict(
            num_modules=1,
            num_branches=branches,
            block=block,
            num_blocks=(1,) * branches,
            num_channels=tuple(4 * 2**i for i in range(branches)),
        )

    model = tiny_faster_rcnn()
    blocks = ('BOTTLENECK', 'BASIC', 'BASIC', 'BASIC')
    extra = {f'stage{i + 1}': stage(i + 1, block) for i, block in enumerate(blocks)}
    model.backbone = ConfigDict(type='HRNet', extra=extra)
    model.neck = ConfigDict(type='HRFPN', in_channels=[4, 8, 16, 32], out_channels=16)
    model.data_preprocessor.pad_size_divisor = divisor
    return model


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Distilled models by the divisor to which the teacher pads; 32 is the student's."""
    made = {}
    for divisor in (32, 64, 128):
        teacher, path = hrnet(divisor), tmp_path_factory.mktemp('teacher') / 'teacher.pth'
        save_detector(teacher, path)
        section = dict(config=teacher, checkpoint=str(path))
        made[divisor] = MODELS.build(copy.deepcopy(distilled_config(section, TERMS)))
        made[divisor].init_weights()
    return made


@pytest.mark.parametrize('divisor', [32, 64, 128])
@pytest.mark.parametrize(
    'sizes', [[(128, 128)], [(96, 96)], [(160, 224), (150, 90)], [(33, 200)], [(90, 64)]]
)
def test_every_tap_on_every_size(models, divisor, sizes):
    model = models[divisor].train()
    data = model.data_preprocessor(random_batch(sizes), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    for name in TERMS:
        assert losses[name].isfinite(), name
    total, _ = model.parse_losses(losses)
    model.zero_grad()
    total.backward()
    assert all(p.grad is not None for p in model.distiller.parameters())


def pairs_of(model, sizes):
    """What each term is given, by its name; the batch, and the maps of both networks."""
    found = {}
    data = model.data_preprocessor(random_batch(sizes), True)
    with mock.patch.object(
        type(model.distiller),
        'forward',
        lambda distiller, student, teachers, trunk: (
            found.update(student=student, teacher=teachers['teacher']) or {}
        ),
    ):
        model.loss(data['inputs'], data['data_samples'])
    pairs = {
        name: term.read(found['student'], found['teacher'])
        for name, term in model.distiller.terms.items()
    }
    return pairs, found['student'], found['teacher']


def test_maps_are_cut_to_what_both_networks_have(models):
    model = models[32].eval()
    pairs, student, teacher = pairs_of(model, [(96, 160), (80, 96)])
    own, other = student.maps('neck'), teacher.maps('neck')
    assert [tuple(one[4].shape[-2:]) for one in (own, other)] == [(2, 3), (1, 2)]
    assert all(a.shape[-2:] == b.shape[-2:] for a, b in zip(own[:4], other[:4]))
    for level, pair in enumerate(pairs['loss_neck']):
        size = other[level].shape[-2:]
        connector = model.distiller.terms['loss_neck'].connectors[level]
        assert torch.equal(pair['student'], connector(own[level])[..., : size[0], : size[1]])
        assert torch.equal(pair['teacher'], other[level])
        assert pair['mask'].shape[-2:] == size
    for name in ('loss_pyramid', 'loss_imitation', 'loss_instances'):
        (pair,) = pairs[name]
        for part in ('student', 'teacher', 'mask'):
            assert [one.shape[-2:] for one in pair[part]] == [one.shape[-2:] for one in other], name
    (pair,) = pairs['loss_instances']
    assert torch.equal(pair['student'][4], own[4][..., :1, :2])


def test_a_module_of_the_top_level(tmp_path):
    """Here a stage that rounds up meets a pooling that rounds down."""
    teacher, path = hrnet(32), tmp_path / 'teacher.pth'
    save_detector(teacher, path)
    term = dict(
        tap='backbone.layer4', teacher_tap='neck.fpn_convs.4', widths=[64, 16],
        connector=dict(CONV), loss=FEATURES,
    )  # fmt: skip
    student = tiny_faster_rcnn()
    student.backbone.strides = (1, 2, 2, 4)  # layer4 has stride 64
    student.neck.num_outs = 5
    student = ConfigDict(
        student,
        type='DistilledFasterRCNN',
        teacher=dict(config=teacher, checkpoint=str(path)),
        distill=dict(loss_x=term),
    )
    model = MODELS.build(student)
    model.init_weights()
    for sizes in ([(128, 128)], [(96, 96)]):
        pairs, *_ = pairs_of(model, sizes)
        (pair,) = pairs['loss_x']
        assert pair['student'].shape == pair['teacher'].shape
        assert tuple(pair['student'].shape[-2:]) == ((2, 2) if sizes == [(128, 128)] else (1, 1))
