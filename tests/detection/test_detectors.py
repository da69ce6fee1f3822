"""Every registered kind trains with a teacher; kinds that differ meet where the taps allow it."""

import copy

import pytest
import torch
from mmdet.models.detectors import RPN, BaseDetector, SoftTeacher
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

import tiny_training
import wkd_det.detection.detectors as detectors
from tiny_models import build
from wkd_det.detection.detectors import DistilledMixin, distilled
from wkd_det.detection.export import plain_config
from wkd_det.testing import (
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)
from wkd_det.testing.detectors import CONFIGS

SIZES = [(96, 128), (64, 96)]
NECK = dict(loss_neck=wkd_f_neck_term(levels=[0]))
ROIS = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term())
STAGES = dict(
    loss_wkd_l=dict(wkd_l_term(), stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25]),
    loss_wkd_f=wkd_f_term(stage=[0, 2]),
)
TERMS = {
    'FasterRCNN': ROIS,
    'MaskRCNN': ROIS,
    'CascadeRCNN': STAGES,
    'RetinaNet': NECK,
    'FCOS': NECK,
    'ATSS': NECK,
    'GFL': NECK,
    'RTMDet': NECK,
    'DINO': dict(NECK, loss_query=dict(tap='query_logits', loss=dict(type='SigmoidKDLoss'))),
}


@pytest.fixture(scope='module')
def teacher_of(tmp_path_factory):
    """A ``teacher`` section of each kind, made when first asked for."""
    folder, sections = tmp_path_factory.mktemp('teachers'), {}

    def section(kind):
        if kind not in sections:
            config = tiny_detector(kind, base_channels=10, fpn_channels=24)
            path = folder / f'{kind}.pth'
            save_detector(config, path)
            sections[kind] = dict(config=config, checkpoint=str(path))
        return sections[kind]

    return section


def losses_of(model, seed=3, **batch):
    data = model.data_preprocessor(random_batch(SIZES, **batch), True)
    torch.manual_seed(seed)
    return model.loss(data['inputs'], data['data_samples'])


def test_every_registered_kind_is_tested():
    made = {
        name
        for name, value in vars(detectors).items()
        if isinstance(value, type)
        and issubclass(value, BaseDetector)
        and DistilledMixin in value.__mro__
    }
    assert made == {f'Distilled{kind}' for kind in TERMS}
    assert set(CONFIGS) == set(TERMS)
    for name in made:
        assert MODELS.get(name) is getattr(detectors, name)
        assert MODELS.get(name).__module__ == 'wkd_det.detection.detectors'


@pytest.mark.parametrize('kind', TERMS)
def test_two_steps(kind, teacher_of):
    model = build(distilled_from(tiny_detector(kind), teacher_of(kind), TERMS[kind]))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    teacher = copy.deepcopy(model.distiller.teacher.module.state_dict())
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    for seed in range(2):
        log = model.train_step(random_batch(SIZES, masks=kind == 'MaskRCNN', seed=seed), optimizer)
    for name in TERMS[kind]:
        assert log[name].isfinite(), name
        assert log[name] > 0, name
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith('backbone.') for name in moved)
    assert {name for name in before if 'connectors' in name} <= moved
    same = model.distiller.teacher.module.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in teacher.items())
    assert len(model.eval().test_step(random_batch(SIZES))) == 2


@pytest.mark.parametrize('kind', TERMS)
def test_the_student_is_the_plain_detector(kind, teacher_of):
    """Its losses are, bit for bit; its weights load into the plain one, which lacks nothing."""
    masks = kind == 'MaskRCNN'
    plain = build(tiny_detector(kind))
    model = build(distilled_from(tiny_detector(kind), teacher_of(kind), TERMS[kind]))
    expected, losses = losses_of(plain, masks=masks), losses_of(model, masks=masks)
    assert losses.keys() - expected.keys() == TERMS[kind].keys()
    for name, value in expected.items():
        for own, other in zip(losses[name], value) if isinstance(value, list) else []:
            assert torch.equal(own, other), name
        if not isinstance(value, list):
            assert torch.equal(losses[name], value), name
    missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith('distiller.') for key in unexpected)


def test_stage_weights_are_factors_of_the_stages(teacher_of):
    """The sum over stages equals the terms of the single stages, weighed by hand."""
    single = {f'loss_{i}': dict(wkd_l_term(epsilon=0.1), stage=i) for i in range(3)}
    # One class cost, that of the last stage, for all of them.
    for term in single.values():
        term['loss']['cost'] = 1 - torch.eye(5)
    together = copy.deepcopy(single['loss_0'])
    mean = dict(together, stage=[0, 1, 2])
    weighed = dict(mean, stage_weights=[1, 0.5, 0.25])
    terms = dict(single, loss_mean=mean, loss_weighed=weighed)
    model = build(distilled_from(tiny_detector('CascadeRCNN'), teacher_of('CascadeRCNN'), terms))
    values = {name: value.item() for name, value in losses_of(model).items() if name in terms}
    first, second, third = (values[f'loss_{i}'] for i in range(3))
    assert len({first, second, third}) == 3
    assert values['loss_mean'] == pytest.approx((first + second + third) / 3, rel=1e-6)
    assert values['loss_weighed'] == pytest.approx(first + second / 2 + third / 4, rel=1e-6)


def test_stages_share_one_connector_that_runs_once_a_level(teacher_of):
    terms = dict(loss_wkd_f=wkd_f_term(stage=[0, 1, 2]))
    model = build(distilled_from(tiny_detector('CascadeRCNN'), teacher_of('CascadeRCNN'), terms))
    (connector,) = model.distiller.terms['loss_wkd_f'].connectors
    calls = []
    connector.register_forward_hook(lambda *_: calls.append(1))
    losses_of(model)
    assert len(calls) == 4  # P2 to P5, which the RoIs of all stages are read from


@pytest.mark.parametrize('kind', TERMS)
def test_the_exported_config_is_the_plain_one(kind, teacher_of):
    config = distilled_from(tiny_detector(kind), teacher_of(kind), TERMS[kind])
    exported = plain_config(Config(dict(model=config))).model
    assert exported.to_dict() == tiny_detector(kind).to_dict()


@pytest.mark.parametrize('teacher_stage', [0, 2])
def test_cascade_teaches_faster(teacher_of, teacher_stage):
    terms = dict(
        loss_wkd_l=dict(wkd_l_term(), teacher_stage=teacher_stage),
        loss_wkd_f=wkd_f_term(teacher_stage=teacher_stage),
    )
    model = build(distilled_from(tiny_detector('FasterRCNN'), teacher_of('CascadeRCNN'), terms))
    heads = model.distiller.teacher.module.roi_head.bbox_head
    calls = []
    for index, head in enumerate(heads):
        head.register_forward_hook(lambda *_, index=index: calls.append(index))
    losses = losses_of(model)
    assert calls == [teacher_stage]
    assert all(losses[name] > 0 for name in terms)


def test_faster_teaches_every_stage_of_cascade(teacher_of):
    terms = dict(loss_wkd_l=dict(wkd_l_term(), stage=[0, 1, 2]))
    model = build(distilled_from(tiny_detector('CascadeRCNN'), teacher_of('FasterRCNN'), terms))
    assert losses_of(model)['loss_wkd_l'] > 0


def test_mask_teaches_faster(teacher_of):
    model = build(distilled_from(tiny_detector('FasterRCNN'), teacher_of('MaskRCNN'), ROIS))
    losses = losses_of(model)
    assert all(losses[name] > 0 for name in ROIS)


def test_faster_teaches_retinanet_on_the_levels_of_equal_strides(teacher_of):
    """P3 is level 0 of a RetinaNet and level 1 of a Faster R-CNN."""
    student, teacher = tiny_detector('RetinaNet'), teacher_of('FasterRCNN')
    wrong = dict(loss_neck=wkd_f_neck_term(levels=[0, 1]))
    with pytest.raises(
        ValueError, match=r'level 0 has stride 8 in the student and level 0 has 4 in the teacher'
    ):
        build(distilled_from(student, teacher, wrong))
    right = dict(loss_neck=wkd_f_neck_term(levels=[0, 1], teacher_levels=[1, 2]))
    assert losses_of(build(distilled_from(student, teacher, right)))['loss_neck'] > 0


def test_level_weights_are_factors_of_the_levels(teacher_of):
    terms = dict(
        loss_0=wkd_f_neck_term(levels=[0], connector=None),
        loss_1=wkd_f_neck_term(levels=[1], connector=None),
        loss_both=wkd_f_neck_term(levels=[0, 1], level_weights=[1, 0.1], connector=None),
    )
    student = tiny_detector('RetinaNet', fpn_channels=24)
    model = build(distilled_from(student, teacher_of('RetinaNet'), terms))
    losses = losses_of(model)
    expected = losses['loss_0'] + 0.1 * losses['loss_1']
    assert losses['loss_both'].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ('student', 'teacher', 'terms', 'message'),
    [
        ('RetinaNet', 'FasterRCNN', ROIS, 'the student DistilledRetinaNet has no RoI head: use'),
        ('FasterRCNN', 'GFL', ROIS, 'the teacher GFL has no RoI head: use the tap neck or'),
        ('CascadeRCNN', 'CascadeRCNN', ROIS, r'student has 3 stages: say which .*\[0, 1, 2\]'),
        (
            'FasterRCNN',
            'CascadeRCNN',
            ROIS,
            'teacher has 3 stages and that of the student none: say which',
        ),
        (
            'CascadeRCNN',
            'CascadeRCNN',
            dict(loss_x=dict(wkd_l_term(), stage=3)),
            r'stage must lie in \[0, 3\) for CascadeRoIHead, got \[3\]',
        ),
        (
            'CascadeRCNN',
            'CascadeRCNN',
            dict(loss_x=dict(wkd_l_term(), stage=[0, 1], teacher_stage=[2])),
            r'stage=\[0, 1\] and teacher_stage=\[2\] differ in length',
        ),
        (
            'CascadeRCNN',
            'CascadeRCNN',
            dict(loss_x=dict(wkd_l_term(), stage='all')),
            "stage must be an index or a list of indices, got 'all'",
        ),
        (
            'CascadeRCNN',
            'CascadeRCNN',
            dict(loss_x=dict(wkd_l_term(), stage=[0, 1], stage_weights=[1])),
            r'stage_weights must be 2 numbers >= 0, one for each stage, got \[1\]',
        ),
        (
            'RetinaNet',
            'RetinaNet',
            dict(loss_x=wkd_f_neck_term(levels=[0, 1], level_weights=[1, float('nan')])),
            'level_weights must be 2 numbers >= 0, one for each level',
        ),
        (
            'RetinaNet',
            'RetinaNet',
            dict(loss_x=wkd_f_neck_term(levels=None, level_weights=[1])),
            'level_weights needs levels, got',
        ),
        (
            'RetinaNet',
            'FasterRCNN',
            dict(loss_x=wkd_f_neck_term(levels=[0, 1], teacher_levels=[1])),
            r'levels=\[0, 1\] and teacher_levels=\[1\]',
        ),
        (
            'RetinaNet',
            'FasterRCNN',
            dict(loss_x=wkd_f_neck_term(levels=[0], teacher_levels=[9])),
            r'levels \[9\] of the neck: the teacher has 5 levels',
        ),
    ],
)
def test_what_does_not_fit_is_said_when_the_model_is_built(
    teacher_of, student, teacher, terms, message
):
    config = distilled_from(tiny_detector(student), teacher_of(teacher), terms)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_other_numbers_of_levels_need_a_choice(teacher_of):
    student = tiny_detector('RetinaNet')
    student.neck.num_outs = 4
    student.bbox_head.anchor_generator.strides = [8, 16, 32, 64]
    config = distilled_from(
        student, teacher_of('RetinaNet'), dict(loss_x=wkd_f_neck_term(levels=None))
    )
    with pytest.raises(ValueError, match='student has 4 neck levels and the teacher 5: name'):
        MODELS.build(config)


def test_roi_head_whose_rois_cannot_be_read(teacher_of):
    student = tiny_detector('FasterRCNN')
    model = build(distilled_from(student, teacher_of('FasterRCNN'), {}))
    model.roi_head.bbox_loss = lambda x, boxes: {}
    section = teacher_of('FasterRCNN')
    tap = build(distilled_from(student, section, ROIS)).distiller.terms['loss_wkd_l'].tap
    with pytest.raises(ValueError, match='RoIs of a StandardRoIHead cannot be read'):
        tap.bind(model, section['config'])


def test_any_other_detector_by_one_line(teacher_of):
    """A detector of a user, with a chain of necks and no mention of it in this package."""

    @MODELS.register_module()
    class Doubled(nn.Module):
        """Keeps width and levels; tells its width only."""

        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.layer = nn.Conv2d(in_channels, out_channels, 1)

        def forward(self, maps):
            return tuple(self.layer(features) for features in maps)

    @MODELS.register_module()
    class MyDetector(detectors.GFL):
        pass

    try:
        made = distilled(MyDetector)
        assert made.__mro__[1] is DistilledMixin
        assert made is MODELS.get('DistilledMyDetector')
        assert made.__module__ == __name__
        student = tiny_detector('GFL')
        student.type = 'MyDetector'
        student.neck = [student.neck, dict(type='Doubled', in_channels=16, out_channels=12)]
        student.bbox_head.in_channels = 12
        terms = dict(loss_neck=wkd_f_neck_term(levels=None))
        model = build(distilled_from(student, teacher_of('GFL'), terms))
        assert len(model.distiller.terms['loss_neck'].connectors) == 5
        assert losses_of(model)['loss_neck'] > 0
    finally:
        for name in ('Doubled', 'MyDetector', 'DistilledMyDetector'):
            MODELS.module_dict.pop(name, None)


# Deformable convolutions in the head; a cascade that keeps its RoI features to itself; chains of
# necks; no head that tells strides.
OTHERS = [
    ('vfnet/vfnet_r50_fpn_1x_coco.py', 16, 24),
    ('htc/htc-without-semantic_r50_fpn_1x_coco.py', 64, 64),
    ('libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py', 16, 24),
    ('dyhead/atss_r50_fpn_dyhead_1x_coco.py', 16, 32),
    ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', 256, 256),
]


@pytest.mark.parametrize(('path', 'width', 'teacher_width'), OTHERS, ids=lambda value: str(value))
def test_other_detectors_of_mmdet(tmp_path, path, width, teacher_width):
    student = tiny_detector(path, fpn_channels=width)
    teacher = tiny_detector(path, fpn_channels=teacher_width, base_channels=10)
    if MODELS.get(f'Distilled{student.type}') is None:
        distilled(MODELS.get(student.type))
    save_detector(teacher, tmp_path / 'teacher.pth')
    terms = dict(loss_neck=wkd_f_neck_term(levels=None))
    if 'roi_head' in student:
        stage = [0, 1, 2] if 'num_stages' in student.roi_head else None
        terms['loss_wkd_l'] = dict(wkd_l_term(), stage=stage)
        terms['loss_wkd_f'] = wkd_f_term(stage=stage, connector_at='roi', roi_size=None)
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    model = build(distilled_from(student, section, terms))
    total, log = model.parse_losses(losses_of(model, masks=True))
    total.backward()
    for name in terms:
        assert log[name].isfinite(), name
        assert log[name] > 0, name


def test_runner_trains_a_cascade_and_tells_the_names_of_the_classes(tmp_path):
    """MMDetection's runner, data in COCO's format, a teacher that counts the digits backwards."""
    tiny_training.prepare(tmp_path, images=4)
    teacher = tiny_detector('FasterRCNN', num_classes=10, fpn_channels=24)
    names = list(reversed(tiny_training.CLASSES))
    save_detector(teacher, tmp_path / 'backwards.pth', class_names=names)
    section = dict(config=teacher, checkpoint=str(tmp_path / 'backwards.pth'))
    config = tiny_training.config_of(tmp_path, tmp_path / 'work', 2, 2)
    config.model = distilled_from(
        tiny_detector('CascadeRCNN', num_classes=10),
        section,
        dict(loss_wkd_l=dict(wkd_l_term(), stage=[0, 1, 2])),
    )
    runner = tiny_training.train(config)
    assert runner.iter == 2
    assert runner.model.distiller.teacher.order.indices == list(range(9, -1, -1))
    assert runner.message_hub.get_scalar('train/loss_wkd_l').current() > 0
    assert 'val/coco/bbox_mAP' in runner.message_hub.log_scalars


class NeedsMore(RPN):
    def loss(self, batch_inputs, batch_data_samples, text):
        return {}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('TOOD', "takes a detector class, got 'TOOD'"),
        (nn.Linear, 'takes a detector class, got'),
        (detectors.DistilledGFL, 'DistilledGFL is distilled already'),
        (SoftTeacher, 'SoftTeacher holds a student and a teacher itself'),
        (NeedsMore, "NeedsMore.loss must take images and data samples: missing.*'text'"),
    ],
)
def test_what_cannot_be_distilled(given, message):
    with pytest.raises(TypeError, match=message):
        distilled(given)
