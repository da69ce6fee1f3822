import copy

import pytest
import torch
from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.model import ExponentialMovingAverage

from tiny_models import build
from wkd_det.detection.detectors import DistilledFasterRCNN
from wkd_det.testing import (
    distilled_config,
    random_batch,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(96, 128), (128, 100)]
ALL_TERMS = dict(
    loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term(), loss_wkd_f_neck=wkd_f_neck_term()
)


def losses_of(model, sizes=SIZES, seed=3, **batch):
    data = model.data_preprocessor(random_batch(sizes, **batch), True)
    torch.manual_seed(seed)
    return model.loss(data['inputs'], data['data_samples'])


def flat(losses):
    return {
        name: torch.stack(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


@pytest.fixture
def distilled(teacher_section):
    return build(distilled_config(teacher_section, ALL_TERMS))


@pytest.mark.parametrize('distill', [None, {}])
def test_without_terms_the_losses_are_those_of_the_plain_detector(teacher_section, distill):
    plain = flat(losses_of(build(tiny_faster_rcnn())))
    config = distilled_config(teacher_section, {})
    config.distill = distill
    same = flat(losses_of(build(config)))
    assert plain.keys() == same.keys()
    for name in plain:
        assert torch.equal(plain[name], same[name]), name  # bit for bit


def test_terms_add_losses_and_change_none_of_the_student(distilled):
    plain = flat(losses_of(build(tiny_faster_rcnn())))
    losses = flat(losses_of(distilled))
    assert losses.keys() - plain.keys() == ALL_TERMS.keys()
    for name in plain:
        assert torch.equal(plain[name], losses[name]), name
    for name in ALL_TERMS:
        assert losses[name].isfinite()
        assert losses[name] > 0


def test_student_starts_from_the_same_weights_as_the_plain_detector(distilled):
    plain = build(tiny_faster_rcnn()).state_dict()
    own = distilled.state_dict()
    assert [key for key in own if not key.startswith('distiller.')] == list(plain)
    assert all(torch.equal(plain[key], own[key]) for key in plain)


def test_every_parameter_of_student_and_connectors_gets_a_gradient(distilled):
    total, _ = distilled.parse_losses(losses_of(distilled))
    total.backward()
    assert not [name for name, p in distilled.named_parameters() if p.grad is None]
    connectors = [p for name, p in distilled.named_parameters() if 'connectors' in name]
    assert len(connectors) == 9  # three 3 x 3 connectors: weight, BN weight and bias
    assert all(p.grad.abs().sum() > 0 for p in connectors)


def test_teacher_is_no_part_of_the_model(distilled):
    teacher = distilled.distiller.teacher.module
    own = {id(p) for p in distilled.parameters()} | {id(b) for b in distilled.buffers()}
    assert not own & {id(p) for p in teacher.parameters()}
    assert not own & {id(b) for b in teacher.buffers()}
    assert not set(distilled.modules()) & set(teacher.modules())
    assert not any('teacher' in key for key in distilled.state_dict())


def test_teacher_is_frozen_in_eval_and_unchanged_by_training(distilled):
    teacher = distilled.distiller.teacher.module
    before = copy.deepcopy(teacher.state_dict())
    optimizer = torch.optim.SGD(distilled.parameters(), lr=0.01)
    for step in range(2):
        distilled.train()
        total, _ = distilled.parse_losses(losses_of(distilled, seed=step))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_moving_average_shares_the_teacher(distilled):
    average = ExponentialMovingAverage(distilled)
    assert average.module.distiller.teacher is distilled.distiller.teacher


def test_teacher_follows_the_batch(distilled):
    teacher = distilled.distiller.teacher.module.double()
    losses_of(distilled)
    assert all(p.dtype == torch.float32 for p in teacher.parameters())


def test_it_is_the_detector_of_mmdet(distilled):
    assert isinstance(distilled, (DistilledFasterRCNN, FasterRCNN))
    assert distilled.backbone is not None


def test_plain_student_loads_a_distilled_checkpoint_and_detects_the_same(distilled):
    weights = distilled.state_dict()
    plain = MODELS.build(tiny_faster_rcnn())
    missing, unexpected = plain.load_state_dict(weights, strict=False)
    assert missing == []
    assert all(key.startswith('distiller.') for key in unexpected)
    batch = random_batch([(96, 96)])
    found = distilled.eval().test_step(copy.deepcopy(batch))[0].pred_instances
    same = plain.eval().test_step(batch)[0].pred_instances
    assert torch.equal(found.bboxes, same.bboxes)
    assert torch.equal(found.scores, same.scores)


def test_distilled_student_loads_a_plain_checkpoint(distilled):
    plain = build(tiny_faster_rcnn(), seed=7)
    missing, unexpected = distilled.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert all(key.startswith('distiller.') for key in missing)
    own = distilled.state_dict()
    assert all(torch.equal(own[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        ('nowhere/teacher.py', FileNotFoundError, r'nowhere/teacher\.py'),
        ('mmdet::faster-rcnn.py', FileNotFoundError, "^teacher.config: mmdet has no config 'fas"),
        (
            'mmabsent::resnet/resnet18.py',
            ModuleNotFoundError,
            "^teacher.config: 'mmabsent::resnet/resnet18.py' is a config of openmmabsent, which",
        ),
    ],
)
def test_testing_needs_no_file_of_the_teacher(monkeypatch, config, error, message):
    monkeypatch.setitem(MODULE2PACKAGE, 'mmabsent', 'openmmabsent')
    monkeypatch.setattr('subprocess.check_call', lambda *_: pytest.fail('pip was called'))
    section = dict(config=config, checkpoint='nowhere/teacher.pth')
    model = MODELS.build(distilled_config(section, ALL_TERMS)).eval()
    assert len(model.test_step(random_batch([(64, 64)]))) == 1
    with pytest.raises(error, match=message):
        model.init_weights()
    data = model.data_preprocessor(random_batch([(64, 64)]), True)
    with pytest.raises(error, match=message):
        model.loss(data['inputs'], data['data_samples'])


def test_a_teacher_by_the_name_of_no_package_is_a_mistake():
    section = dict(config='openmmlab::x/y.py', checkpoint='nowhere/teacher.pth')
    with pytest.raises(ValueError, match=r"^teacher\.config: 'openmmlab::x/y.py' names no package"):
        MODELS.build(distilled_config(section, ALL_TERMS))


def test_first_loss_fetches_the_teacher_where_weights_are_not_initialised(teacher_section):
    model = MODELS.build(distilled_config(teacher_section, dict(loss_wkd_l=wkd_l_term())))
    assert model.distiller.teacher is None
    assert 'loss_wkd_l' in losses_of(model)
    assert model.distiller.teacher is not None


def test_background_in_or_out_and_foreground_only(teacher_section):
    def value(**options):
        term = dict(wkd_l_term(), **options)
        model = build(distilled_config(teacher_section, dict(loss_wkd_l=term)))
        classes = model.distiller.terms['loss_wkd_l'].loss.cost.shape[0]
        return classes, losses_of(model)['loss_wkd_l'].item()

    all_rois = value()
    foreground = value(rois='foreground')
    without_background = value(rois='foreground', background=False)
    assert (all_rois[0], foreground[0], without_background[0]) == (5, 5, 4)
    assert len({all_rois[1], foreground[1], without_background[1]}) == 3


@pytest.mark.parametrize('connector_at', ['map', 'roi'])
@pytest.mark.parametrize('roi_size', [None, 7, 12])
@pytest.mark.parametrize('rois', ['all', 'foreground'])
def test_roi_features_of_any_size_and_connector_place(
    teacher_section, connector_at, roi_size, rois
):
    term = wkd_f_term(roi_size=roi_size, connector_at=connector_at, rois=rois)
    model = build(distilled_config(teacher_section, dict(loss_wkd_f=term)))
    assert losses_of(model)['loss_wkd_f'] > 0


def test_roi_features_are_those_of_the_student_own_head(teacher_section, distilled):
    """A teacher equal to the student, no connector: WKD-F is 0 to rounding."""
    student = tiny_faster_rcnn()
    model = build(distilled_config(teacher_section, {}))
    path = teacher_section['checkpoint'].replace('teacher.pth', 'same.pth')
    torch.save(model.state_dict(), path)
    terms = dict(
        loss_own_size=dict(tap='roi_feats', loss=dict(type='WKDFeatureLoss')),
        loss_other_size=dict(tap='roi_feats', roi_size=12, loss=dict(type='WKDFeatureLoss')),
        loss_neck=dict(tap='neck', loss=dict(type='WKDFeatureLoss')),
        loss_backbone=dict(tap='backbone', levels=[3], loss=dict(type='WKDFeatureLoss')),
    )
    twin = build(distilled_config(dict(config=student, checkpoint=path), terms)).eval()
    losses = losses_of(twin)
    for name in terms:
        assert losses[name].item() == pytest.approx(0, abs=1e-9)  # equal maps, equal moments


@pytest.mark.parametrize(
    ('distill', 'error', 'message'),
    [
        (dict(wkd=wkd_l_term()), ValueError, "must start with 'loss_'"),
        (dict(loss_x=3), TypeError, 'distill.loss_x must be a dict'),
        (dict(loss_x=dict(wkd_l_term(), tap='rio')), KeyError, 'one of .*neck.*roi_logits'),
        (dict(loss_x=dict(tap='neck')), KeyError, 'distill.loss_x.loss is missing'),
        (dict(loss_x=dict(wkd_l_term(), taps=1)), KeyError, "unknown keys .'taps'.*background"),
        (
            dict(loss_x=wkd_l_term(temprature=2)),
            KeyError,
            "unknown keys .'temprature'.*temperature",
        ),
        (dict(loss_x=wkd_l_term(type='WKD')), KeyError, "one of .*'WKDLogitLoss'"),
        (dict(loss_x=wkd_l_term(epsilon=0)), ValueError, 'epsilon must be positive'),
        (dict(loss_x=dict(wkd_l_term(), tap='neck')), ValueError, 'yields features.*takes logits'),
        (dict(loss_x=dict(wkd_l_term(), rois='some')), ValueError, r"one of \('all', 'fore"),
        (dict(loss_x=dict(wkd_l_term(), background=False)), ValueError, "rois='foreground'"),
        (dict(loss_x=wkd_f_term(connector=None)), ValueError, '16 channels.*teacher 24'),
        (dict(loss_x=wkd_f_term(connector=dict(type='Conv3'))), KeyError, "'ConvConnector'"),
        (
            dict(loss_x=wkd_l_term(type='WKDFeatureLoss', cost=None)),
            KeyError,
            "unknown keys .*'cost'",
        ),
        (
            dict(loss_x=dict(tap='roi_logits', loss=dict(type='WKDLogitLoss'))),
            TypeError,
            "missing a required .*argument: 'cost'",
        ),
        (
            dict(loss_x=dict(wkd_l_term(), connector=dict(type='ConvConnector'))),
            ValueError,
            'compares no feature maps',
        ),
        (
            dict(loss_x=wkd_f_term(connector=dict(type='ConvConnector', kernel=3))),
            KeyError,
            "unknown keys .'kernel'.*kernel_size",
        ),
        (
            dict(loss_x=wkd_f_term(roi_size=0)),
            ValueError,
            'roi_size must be an integer of at least 1',
        ),
        (dict(loss_x=wkd_f_term(connector_at='fpn')), ValueError, r"one of \('map', 'roi'\)"),
        (dict(loss_x=wkd_f_neck_term(levels=[7])), ValueError, 'student has 5 levels'),
        (dict(loss_x=wkd_f_neck_term(levels=[])), ValueError, 'levels must be a non-empty list'),
    ],
)
def test_wrong_sections_are_errors_that_say_what_is_valid(teacher_section, distill, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(distilled_config(teacher_section, distill))


def test_term_named_like_a_loss_of_the_detector(teacher_section):
    model = build(distilled_config(teacher_section, dict(loss_cls=wkd_l_term())))
    with pytest.raises(KeyError, match='loss of that name'):
        losses_of(model)


def test_terms_without_teacher():
    config = tiny_faster_rcnn(distill=dict(loss_wkd_l=wkd_l_term()))
    config.type = 'DistilledFasterRCNN'
    with pytest.raises(
        KeyError, match=r'distill.loss_wkd_l needs a teacher: set teacher=dict\(config='
    ):
        MODELS.build(config)


def test_stage_that_a_plain_head_does_not_have(teacher_section):
    term = dict(wkd_l_term(), teacher_stage=1)
    with pytest.raises(ValueError, match=r'teacher_stage must lie in \[0, 1\)'):
        MODELS.build(distilled_config(teacher_section, dict(loss_x=term)))


def test_teacher_of_other_strides(teacher_section, tmp_path):
    config = tiny_faster_rcnn(fpn_channels=24)
    config.backbone.strides = (1, 2, 2, 1)
    strides = [4, 8, 16, 16, 32]
    config.rpn_head.anchor_generator.strides = strides
    config.roi_head.bbox_roi_extractor.featmap_strides = strides[:4]
    save_detector(config, tmp_path / 'other.pth')
    section = dict(config=config, checkpoint=str(tmp_path / 'other.pth'))
    term = wkd_f_neck_term(levels=[3])
    with pytest.raises(ValueError, match='stride 32 in the student and level 3 has 16 in the'):
        build(distilled_config(section, dict(loss_neck=term)))
    term['connector'] = dict(type='ConvConnector', resize=True)
    model = build(distilled_config(section, dict(loss_neck=term)))
    assert losses_of(model)['loss_neck'] > 0
