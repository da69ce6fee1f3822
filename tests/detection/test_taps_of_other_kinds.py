"""The structural methods on one-stage and Cascade detectors, and between kinds that differ."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from wkd_det.testing import (
    distilled_config,
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    tiny_faster_rcnn,
)

SIZES = [(96, 128), (64, 96)]
CONV = dict(type='ConvConnector', kernel_size=3)
ABF = dict(type='ABFConnector', mid_channels=8)
OFFSETS = dict(type='OffsetLoss')
DIVERGENCE = dict(type='KDLoss')
ICD = dict(type='ICDLoss', width=16, num_heads=2, loss_weight=8.0)
PYRAMID = dict(
    loss_reviewkd=dict(tap='pyramid', connector=ABF, loss=dict(type='ReviewKDLoss')),
    loss_icd=dict(tap='instances', loss=ICD),
)
ANCHORS = dict(loss_fgfi=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss')))


@pytest.fixture(scope='module')
def teacher_of(tmp_path_factory):
    """A ``teacher`` section of a kind."""
    folder = tmp_path_factory.mktemp('teachers')

    def section(kind):
        config = tiny_detector(kind, base_channels=10, fpn_channels=24)
        save_detector(config, folder / f'{kind}.pth')
        return dict(config=config, checkpoint=str(folder / f'{kind}.pth'))

    return section


def build(kind, teacher, terms):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(distilled_from(tiny_detector(kind), teacher, terms)))
    model.init_weights()
    return model.train()


def step(model, terms):
    data = model.data_preprocessor(random_batch(SIZES), True)
    torch.manual_seed(3)
    losses = model.loss(data['inputs'], data['data_samples'])
    for name in terms:
        assert losses[name].isfinite(), name
        assert losses[name] > 0, name
    total, _ = model.parse_losses(losses)
    total.backward()
    assert not [name for name, p in model.distiller.named_parameters() if p.grad is None]
    return losses


@pytest.mark.parametrize('kind', ['RetinaNet', 'FCOS'])
def test_one_stage_detectors(kind, teacher_of):
    terms = PYRAMID if kind == 'FCOS' else dict(PYRAMID, **ANCHORS)
    step(build(kind, teacher_of(kind), terms), terms)


def test_points_are_no_anchors(teacher_of):
    with pytest.raises(ValueError, match='imitation needs anchors: the DistilledFCOS'):
        build('FCOS', teacher_of('FCOS'), ANCHORS)


def test_a_faster_rcnn_teaches_a_retinanet_on_the_levels_they_share(teacher_of):
    levels = dict(levels=[0, 1, 2], teacher_levels=[1, 2, 3])
    terms = {name: dict(term, **levels) for name, term in dict(PYRAMID, **ANCHORS).items()}
    step(build('RetinaNet', teacher_of('FasterRCNN'), terms), terms)


def test_stages_of_a_cascade(teacher_of):
    stages = dict(stage=[0, 2], stage_weights=[1.0, 0.5])
    terms = dict(
        loss_box=dict(tap='roi_boxes', loss=dict(type='BoxLoss'), **stages),
        loss_there=dict(
            tap='crossed_logits', head='teacher', connector=CONV, loss=DIVERGENCE, **stages
        ),
        loss_offsets_there=dict(
            tap='crossed_offsets', head='teacher', connector='loss_there', loss=OFFSETS, **stages
        ),
        loss_back=dict(
            tap='crossed_offsets', head='student', connector=CONV, loss=OFFSETS, **stages
        ),
    )
    model = build('CascadeRCNN', teacher_of('CascadeRCNN'), terms)
    step(model, terms)
    # Both stages read the same projected pyramid.
    assert model.distiller.terms['loss_there'].connectors[0].conv.norm.num_batches_tracked == 1
    assert model.distiller.terms['loss_back'].connectors[0].conv.norm.num_batches_tracked == 1


def test_offsets_of_different_stages_have_different_units(teacher_of):
    term = dict(tap='roi_offsets', loss=OFFSETS, stage=0, teacher_stage=1)
    with pytest.raises(ValueError, match='box offsets need the same coding in both heads'):
        build('CascadeRCNN', teacher_of('CascadeRCNN'), dict(loss_offsets=term))


# Parts that are unlike those of other detectors


def detectors_rcnn():
    """A Faster R-CNN whose backbone hands the image on to a recursive pyramid."""
    backbone = dict(type='DetectoRS_ResNet', depth=50, base_channels=4, stem_channels=8)
    model = tiny_faster_rcnn()
    model.backbone = ConfigDict(backbone, output_img=True)
    model.neck = ConfigDict(
        type='RFP',
        rfp_steps=2,
        in_channels=[16, 32, 64, 128],
        out_channels=16,
        num_outs=5,
        rfp_backbone=dict(backbone, rfp_inplanes=16),
        aspp_out_channels=4,
    )
    return model


@pytest.mark.parametrize('divisor', [32, 64])
@pytest.mark.parametrize('is_student', [False, True])
def test_maps_of_a_backbone_that_hands_on_the_image(tmp_path, is_student, divisor):
    recursive, plain = detectors_rcnn(), tiny_faster_rcnn()
    student, teacher = (recursive, plain) if is_student else (plain, recursive)
    teacher.data_preprocessor.pad_size_divisor = divisor
    save_detector(teacher, tmp_path / 'teacher.pth')
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    terms = {
        f'loss_{place}': dict(tap=place, connector=CONV, loss=dict(type='WKDFeatureLoss'))
        for place in ('backbone', 'neck')
    }
    model = MODELS.build(copy.deepcopy(distilled_from(student, section, terms)))
    model.init_weights()
    step(model.train(), terms)
    widths = [(c.conv.in_channels, c.conv.out_channels) for c in
              model.distiller.terms['loss_backbone'].connectors]  # fmt: skip
    expected = list(zip([8, 16, 32, 64], [16, 32, 64, 128]))
    assert widths == ([pair[::-1] for pair in expected] if is_student else expected)


def sabl():
    """A Faster R-CNN whose box head finds sides among buckets."""
    model = tiny_detector('sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py')
    model.roi_head.bbox_head.update(
        cls_in_channels=16, reg_in_channels=16, reg_offset_out_channels=16, reg_cls_out_channels=16
    )
    return model


@pytest.mark.parametrize(
    ('tap', 'loss'), [('roi_boxes', dict(type='BoxLoss')), ('roi_offsets', OFFSETS)]
)
@pytest.mark.parametrize('owner', ['student', 'teacher'])
def test_a_head_without_offsets(tmp_path, owner, tap, loss):
    networks = dict(student=tiny_faster_rcnn(), teacher=tiny_faster_rcnn())
    networks[owner] = sabl()
    save_detector(networks['teacher'], tmp_path / 'teacher.pth')
    section = dict(config=networks['teacher'], checkpoint=str(tmp_path / 'teacher.pth'))
    message = (
        'box offsets need a head that gives four per RoI or per class: the SABLHead of the '
        f'{owner} gives a tuple'
    )
    config = distilled_from(networks['student'], section, dict(loss_x=dict(tap=tap, loss=loss)))
    with pytest.raises(ValueError, match=f'^distill.loss_x: {message}$'):
        MODELS.build(config)


def test_a_head_without_offsets_teaches_by_logits_in_any_order(tmp_path):
    save_detector(sabl(), tmp_path / 'teacher.pth', class_names=list('dcba'))
    section = dict(config=sabl(), checkpoint=str(tmp_path / 'teacher.pth'))
    terms = dict(loss_kd=dict(tap='roi_logits', loss=DIVERGENCE))
    model = MODELS.build(distilled_config(section, terms))
    model.init_weights()
    model.distiller.teacher.order = type(model.distiller.teacher.order)([3, 2, 1, 0], 4)
    step(model.train(), terms)


def test_a_double_head_gives_offsets(tmp_path):
    kind = 'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'
    save_detector(tiny_detector(kind), tmp_path / 'teacher.pth')
    section = dict(config=tiny_detector(kind), checkpoint=str(tmp_path / 'teacher.pth'))
    terms = dict(loss_x=dict(tap='roi_offsets', loss=OFFSETS))
    step(build(kind, section, terms), terms)
