"""The structural methods on one-stage and Cascade detectors, and between kinds that differ."""

import copy

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.testing import distilled_from, random_batch, save_detector, tiny_detector

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
