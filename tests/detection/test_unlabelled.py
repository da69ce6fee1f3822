"""Images without labels in the batch of a detector."""

import copy
import gc
import weakref

import pytest
import torch
from mmdet.models.roi_heads import SparseRoIHead
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from commands import ROOT
from pooling_under_autocast import pools_under_autocast
from wkd_det.detection.detectors import distilled
from wkd_det.detection.mixed_views import MixedStudentView, MixedTeacherView
from wkd_det.detection.unlabelled import Unlabelled
from wkd_det.distillation.rows import Rows
from wkd_det.testing import (
    distilled_config,
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(96, 128), (128, 100), (128, 128), (90, 120)]
TERMS = dict(
    loss_wkd_l=wkd_l_term(separated=False),
    loss_wkd_f=wkd_f_term(),
    loss_wkd_f_neck=wkd_f_neck_term(),
)
DKD = dict(tap='roi_logits', loss=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0))
MIXES = [[0], [2], [0, 1], [1, 3], [0, 2, 3]]  # places of images with labels


def build(config, seed=0, *, train=True, **changes):
    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(copy.deepcopy(config), **changes))
    model.init_weights()
    return model.train() if train else still(model)


def still(model):
    """In training, with batch normalisation by running statistics: images do not meet."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def mixed(labelled, sizes=SIZES, **options):
    """A batch in which the images at these places have labels."""
    batch = random_batch(sizes, **options)
    for place, sample in enumerate(batch['data_samples']):
        if place not in labelled:
            nothing = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
            sample.gt_instances = InstanceData(**nothing)
            sample.set_metainfo(dict(labelled=False))
    return batch


def given(model, batch):
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    return data['inputs'], data['data_samples']


def loss_of(model, inputs, samples, seed=3):
    torch.manual_seed(seed)
    losses = model.loss(inputs, samples)
    return {
        name: torch.stack(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


def task_of(losses, terms=TERMS):
    return {name: value for name, value in losses.items() if name not in terms}


@pytest.fixture
def config(teacher_section):
    return distilled_config(teacher_section, TERMS)


@pytest.fixture
def model(config):
    return build(config, train=False, unlabelled=dict())


def test_without_such_images_the_section_changes_no_bit(config):
    batch = random_batch(SIZES)
    plain, own = build(config), build(config, unlabelled=dict(num_rois=7))
    expected = loss_of(plain, *given(plain, batch))
    found = loss_of(own, *given(own, batch))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for one, losses in ((plain, expected), (own, found)):
        one.parse_losses(
            {name: [*value] if value.dim() else value for name, value in losses.items()}
        )[0].backward()
    pairs = zip(plain.parameters(), own.parameters())
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), own.buffers()))


@pytest.mark.parametrize('labelled', MIXES, ids=str)
def test_the_task_sees_labelled_images_alone(model, labelled):
    inputs, samples = given(model, mixed(labelled))
    found = task_of(loss_of(model, inputs, samples))
    # The same padding: what lies behind an image is seen at its border.
    expected = task_of(loss_of(model, inputs[labelled], [samples[place] for place in labelled]))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('labelled', [*MIXES, []], ids=str)
def test_terms_on_maps_count_every_image_alike(model, labelled):
    found = loss_of(model, *given(model, mixed(labelled)))
    expected = loss_of(model, *given(model, random_batch(SIZES)))
    name = 'loss_wkd_f_neck'
    torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=0)


def test_batch_statistics_are_those_of_all_images(config):
    models = [build(config, unlabelled=dict()) for _ in range(2)]
    loss_of(models[0], *given(models[0], mixed([0, 2])))
    loss_of(models[1], *given(models[1], random_batch(SIZES)))
    names = [name for name, _ in models[0].named_buffers() if name.startswith('backbone')]
    own, other = (dict(one.named_buffers()) for one in models)
    assert len(names) > 10
    for name in names:
        torch.testing.assert_close(own[name], other[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('labelled', [[1, 3], []], ids=str)
def test_every_term_teaches_on_images_without_labels(config, labelled):
    for name in TERMS:
        config.distill = {name: TERMS[name]}
        model = build(config, train=False, unlabelled=dict())
        inputs, samples = given(model, mixed(labelled))
        losses = loss_of(model, inputs.requires_grad_(), samples)
        losses[name].backward()
        strength = inputs.grad.abs().flatten(1).sum(1)
        assert (strength > 0).all(), name


def test_a_batch_without_labels_has_terms_alone_and_a_gradient_for_everything(model):
    losses = loss_of(model, *given(model, mixed([])))
    assert losses.keys() == TERMS.keys()
    model.parse_losses(losses)[0].backward()
    missing = [name for name, one in model.named_parameters() if one.grad is None]
    assert missing == [name for name, one in model.named_parameters() if not one.requires_grad]
    strength = {
        name: one.grad.abs().sum() for name, one in model.named_parameters() if one.grad is not None
    }
    assert all(value == 0 for name, value in strength.items() if name.startswith('rpn_head'))
    assert all(value == 0 for name, value in strength.items() if 'fc_reg' in name)
    assert strength['roi_head.bbox_head.fc_cls.weight'] > 0
    assert strength['neck.lateral_convs.0.conv.weight'] > 0


def views_of(model, batch):
    """Views after the student has run."""
    inputs, samples = given(model, batch)
    model._fetch_teachers(inputs)
    student, teachers = model._views(inputs, samples)
    teacher = teachers['teacher']
    assert isinstance(student, MixedStudentView)
    assert isinstance(teacher, MixedTeacherView)
    torch.manual_seed(3)
    student.run(super(type(model).__mro__[2], model).loss, samples)
    return student, teacher


@pytest.mark.parametrize('num_rois', [5, None])
def test_rois_are_the_best_proposals_of_the_teacher(config, num_rois):
    model = build(config, train=False, unlabelled=dict(num_rois=num_rois))
    student, teacher = views_of(model, mixed([1]))
    rois = student.stage(0).rois
    network = model.distiller.teacher.module
    samples = [student.samples[place] for place in (0, 2, 3)]
    with torch.no_grad():
        maps = network.extract_feat(teacher.inputs[[0, 2, 3]])
        proposed = network.rpn_head.predict(maps, samples, rescale=False)
    most = num_rois or 32  # that of the student's sampler
    known = rois[:, 0] == 1
    assert known.sum() == 32
    for place, boxes in zip((0, 2, 3), proposed):
        own = rois[rois[:, 0] == place, 1:]
        assert len(own) == min(most, len(boxes)) > 0
        torch.testing.assert_close(own, boxes.bboxes[:most])
        assert (boxes.scores.diff() <= 0).all()
    assert (student.stage(0).labels[~known] == 4).all()
    assert teacher.logits().shape == student.logits().shape == (len(rois), 5)


def test_rows_of_the_labelled_images_are_those_that_the_student_has_sampled(model):
    student, teacher = views_of(model, mixed([1, 3]))
    part = student.labelled_part()
    own = teacher.on_part(part)
    count = len(part.stage(0).rois)
    whole = student.stage(0)
    assert torch.equal(part.stage(0).rois[:, 0] * 2 + 1, whole.rois[:count, 0])
    assert torch.equal(part.stage(0).logits, whole.logits[:count])
    for place in ('backbone', 'neck'):
        for few, many in zip(part.maps(place), student.maps(place)):
            assert torch.equal(few, many[[1, 3]])
        for few, many in zip(own.maps(place), teacher.maps(place)):
            assert torch.equal(few, many[[1, 3]])
    torch.testing.assert_close(own.logits(), teacher.logits()[:count])
    assert part.image_sizes == [SIZES[1], SIZES[3]]
    assert [len(boxes) for boxes in part.boxes] == [3, 3]


BLIND = dict(
    loss_dkd=DKD,
    loss_wkd_l=wkd_l_term(),
    loss_foreground=dict(
        tap='roi_feats',
        rois='foreground',
        roi_size=8,
        loss=dict(type='FitNetLoss'),
        connector=dict(type='ConvConnector'),
    ),
    loss_fgfi=dict(
        tap='imitation', connector=dict(type='ConvConnector'), loss=dict(type='FGFILoss')
    ),
    loss_icd=dict(tap='instances', loss=dict(type='ICDLoss', width=16, num_heads=2)),
    loss_box=dict(tap='roi_boxes', loss=dict(type='BoxLoss')),
)


@pytest.mark.parametrize('labelled', MIXES, ids=str)
def test_terms_that_need_labels_count_labelled_images_alone(teacher_section, labelled):
    terms = dict(BLIND, loss_wkd_f_neck=wkd_f_neck_term())
    model = build(distilled_config(teacher_section, terms), train=False, unlabelled=dict())
    # Of one size: the teacher's own padding is that of the largest image.
    inputs, samples = given(model, mixed(labelled, [(128, 128)] * 4))
    found = loss_of(model, inputs, samples)
    expected = loss_of(model, inputs[labelled], [samples[place] for place in labelled])
    values = {name: [one[name].item() for one in (found, expected)] for name in BLIND}
    for name, (own, other) in values.items():
        assert own == pytest.approx(other, rel=1e-4), values
        assert own > 0, name


def test_terms_that_need_labels_are_0_in_a_batch_without(teacher_section):
    terms = dict(BLIND, loss_wkd_f_neck=wkd_f_neck_term())
    model = build(distilled_config(teacher_section, terms), unlabelled=dict())
    losses = loss_of(model, *given(model, mixed([])))
    assert all(losses[name] == 0 for name in BLIND)
    assert losses['loss_wkd_f_neck'] > 0
    model.parse_losses(losses)[0].backward()
    own = [one for one in model.parameters() if one.requires_grad]
    assert all(one.grad is not None for one in own)


def test_which_terms_count_what_is_said(teacher_section, monkeypatch):
    said = []
    monkeypatch.setattr(
        'wkd_det.detection.unlabelled.print_log', lambda text, **options: said.append(text)
    )
    terms = dict(loss_dkd=DKD, loss_wkd_f=wkd_f_term())
    build(distilled_config(teacher_section, terms), unlabelled=dict())
    assert said == ['images without labels do not count in loss_dkd, which need labels']


@pytest.mark.parametrize('kind', ['RetinaNet', 'FCOS', 'ATSS', 'GFL', 'MaskRCNN', 'CascadeRCNN'])
@pytest.mark.parametrize('labelled', [[1, 2], []], ids=str)
def test_other_detectors(kind, labelled, tmp_path):
    detector = tiny_detector(kind)
    save_detector(detector, tmp_path / 'teacher.pth', class_names=['ant', 'bee', 'cat', 'dog'])
    terms = dict(
        loss_wkd_f_neck=wkd_f_neck_term(),
        loss_layer=dict(tap='backbone.layer3', loss=dict(type='FitNetLoss')),
    )
    if kind == 'CascadeRCNN':
        terms['loss_wkd_l'] = dict(wkd_l_term(separated=False), stage=[0, 1, 2])
        terms['loss_wkd_f'] = wkd_f_term(stage=[0, 1, 2])
    if kind in ('RetinaNet', 'ATSS'):
        terms['loss_head'] = dict(tap='neck.fpn_convs.0.conv', loss=dict(type='FitNetLoss'))
    section = dict(config=detector, checkpoint=str(tmp_path / 'teacher.pth'))
    model = build(distilled_from(detector, section, terms), train=False, unlabelled=dict())
    batch = mixed(labelled, masks=kind == 'MaskRCNN')
    inputs, samples = given(model, batch)
    found = loss_of(model, inputs, samples)
    assert all(value.isfinite().all() for value in found.values())
    assert task_of(found, terms) == {} or labelled
    if labelled:
        expected = loss_of(model, inputs[labelled], [samples[place] for place in labelled])
        for name, value in task_of(expected, terms).items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    model.parse_losses({name: value.sum() for name, value in found.items()})[0].backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def test_stages_of_a_cascade_are_refined(tmp_path):
    detector = tiny_detector('CascadeRCNN')
    save_detector(detector, tmp_path / 'teacher.pth', class_names=['ant', 'bee', 'cat', 'dog'])
    section = dict(config=detector, checkpoint=str(tmp_path / 'teacher.pth'))
    terms = dict(loss_wkd_l=dict(wkd_l_term(separated=False), stage=[0, 1, 2]))
    model = build(distilled_from(detector, section, terms), train=False, unlabelled=dict())
    student, _ = views_of(model, mixed([2]))
    for index in (0, 1):
        before, after = (student.stage(one) for one in (index, index + 1))
        others = before.rois[:, 0] != 2
        rois = before.rois[others]
        head = model.roi_head.bbox_head[index]
        classes = before.logits[others, :4].argmax(1)
        for place in (0, 1, 3):
            rows = rois[:, 0] == place
            expected = head.regress_by_class(
                rois[rows, 1:],
                classes[rows],
                before.offsets[others][rows],
                student.samples[place].metainfo,
            )
            found = after.rois[after.rois[:, 0] == place, 1:]
            torch.testing.assert_close(found, expected)
            assert not torch.equal(found, rois[rows, 1:])


def test_modules_of_the_box_head_have_the_rows_of_all_rois(teacher_section):
    terms = dict(loss_fc=dict(tap='roi_head.bbox_head.fc_cls:input', loss=dict(type='FitNetLoss')))
    model = build(distilled_config(teacher_section, terms), train=False, unlabelled=dict())
    student, teacher = views_of(model, mixed([0, 3]))
    name = 'roi_head.bbox_head.fc_cls:input'
    rois = student.stage(0).rois
    assert student.output(name).shape == teacher.output(name).shape == (len(rois), 32)
    assert set(rois[:, 0].tolist()) == {0, 1, 2, 3}
    part = student.labelled_part()
    assert torch.equal(part.output(name), student.output(name)[: len(part.stage(0).rois)])
    for labelled in ([0, 3], []):
        losses = loss_of(model, *given(model, mixed(labelled)))
        assert losses['loss_fc'] > 0


def test_a_module_of_a_dense_head_runs_on_all_images(tmp_path):
    detector = tiny_detector('RetinaNet')
    detector.neck.update(start_level=3, num_outs=1)  # modules that run once per level are refused
    detector.bbox_head.anchor_generator.strides = [32]
    save_detector(detector, tmp_path / 'teacher.pth', class_names=['ant', 'bee', 'cat', 'dog'])
    section = dict(config=detector, checkpoint=str(tmp_path / 'teacher.pth'))
    name = 'bbox_head.cls_convs.0'
    terms = dict(loss_head=dict(tap=name, loss=dict(type='FitNetLoss')))
    model = build(distilled_from(detector, section, terms), train=False, unlabelled=dict())
    inputs, samples = given(model, mixed([1, 2]))
    found = loss_of(model, inputs, samples)
    everything = loss_of(model, *given(model, random_batch(SIZES)))
    torch.testing.assert_close(found['loss_head'], everything['loss_head'], rtol=1e-5, atol=0)
    expected = loss_of(model, inputs[[1, 2]], [samples[place] for place in (1, 2)])
    for name, value in task_of(expected, terms).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def with_semantic_branch(folder):
    """An HTC, and the section of a teacher of this kind."""
    detector = tiny_detector('htc/htc_r50_fpn_1x_coco.py', fpn_channels=64)
    branch = dict(num_ins=5, num_convs=1, conv_out_channels=64, num_classes=4)
    detector.roi_head.semantic_head.update(branch)
    distilled(MODELS.get(detector.type))
    save_detector(detector, folder / 'htc.pth', class_names=['ant', 'bee', 'cat', 'dog'])
    return detector, dict(config=detector, checkpoint=str(folder / 'htc.pth'))


def test_a_box_head_that_reads_whole_images(tmp_path):
    terms = dict(loss_wkd_l=dict(wkd_l_term(separated=False), stage=[0, 1, 2]))
    model = build(
        distilled_from(*with_semantic_branch(tmp_path), terms), train=False, unlabelled=dict()
    )
    losses = loss_of(model, *given(model, mixed([])))
    losses['loss_wkd_l'].backward()
    assert losses['loss_wkd_l'] > 0
    branch = model.roi_head.semantic_head.conv_embedding.conv.weight
    assert branch.grad.abs().sum() > 0


def test_of_several_teachers_that_of_the_rois_proposes(teacher_section, tmp_path):
    other = tiny_faster_rcnn(base_channels=8, fpn_channels=16)
    names = ['ant', 'bee', 'cat', 'dog']
    save_detector(other, tmp_path / 'other.pth', class_names=names, seed=5)
    config = distilled_config(teacher_section, {})
    config.teachers = dict(
        maps=dict(config=other, checkpoint=str(tmp_path / 'other.pth')), rois=config.pop('teacher')
    )
    config.distill = dict(
        loss_maps=wkd_f_neck_term(teacher='maps'),
        loss_fgfi=dict(BLIND['loss_fgfi'], teacher='maps'),
        loss_rois=wkd_f_term(teacher='rois'),
    )
    model = build(config, train=False, unlabelled=dict())
    inputs, samples = given(model, mixed([0]))
    model._fetch_teachers(inputs)
    student, teachers = model._views(inputs, samples)
    assert student.proposer is teachers['rois']
    for labelled in ([0, 2], []):
        losses = loss_of(model, *given(model, mixed(labelled)))
        assert losses['loss_maps'] > 0
        assert losses['loss_rois'] > 0


def test_views_of_a_step_go_without_the_collector(model, monkeypatch):
    """Their maps are memory: none may wait in a cycle."""
    kept, original = [], model._views

    def views(*args):
        student, teachers = original(*args)
        kept.extend(map(weakref.ref, (student, *teachers.values())))
        return student, teachers

    monkeypatch.setattr(model, '_views', views)
    inputs, samples = given(model, mixed([0, 2]))
    gc.disable()
    try:
        assert len(model.loss(inputs, samples)) > len(TERMS)
        assert [view() for view in kept] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize('terms', [TERMS, dict(TERMS, loss_dkd=DKD)], ids=['all', 'one blind'])
def test_a_weight_by_gradients(teacher_section, terms):
    """A batch without labels has no gradient of the task to compare with: it does not count."""
    share = dict(type='GradientShare', share=0.2, every=1)
    terms = copy.deepcopy(terms)
    terms['loss_wkd_f']['loss']['loss_weight'] = share
    if 'loss_dkd' in terms:
        terms['loss_dkd']['loss']['loss_weight'] = share
    model = build(distilled_config(teacher_section, terms), train=False, unlabelled=dict())
    first = loss_of(model, *given(model, mixed([])))
    assert first['loss_wkd_f'] == 0
    second = loss_of(model, *given(model, mixed([0, 2])))
    assert second['loss_wkd_f'] > 0
    norms = model.distiller.terms['loss_wkd_f'].gradient_share.norms.clone()
    third = loss_of(model, *given(model, mixed([])))
    assert third['loss_wkd_f'] > 0
    assert torch.equal(model.distiller.terms['loss_wkd_f'].gradient_share.norms, norms)
    assert third.get('loss_dkd', 0) == 0
    model.parse_losses(third)[0].backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def test_features_through_the_head_of_the_other_network(teacher_section):
    terms = Config.fromfile(ROOT / 'configs/_base_/distill/fcfd.py').distill
    model = build(distilled_config(teacher_section, terms), train=False, unlabelled=dict())
    for labelled in ([1, 2], []):
        losses = loss_of(model, *given(model, mixed(labelled)))
        assert all(losses[name] > 0 for name in terms)


@pytest.mark.skipif(not pools_under_autocast(), reason='no RoIAlign of bfloat16 under autocast')
def test_half_precision(model):
    inputs, samples = given(model, mixed([0, 2]))
    with torch.autocast('cpu', torch.bfloat16):
        found = loss_of(model, inputs, samples)
    plain = loss_of(model, inputs, samples)
    for name in TERMS:
        torch.testing.assert_close(found[name].float(), plain[name], rtol=0.2, atol=1e-3)


# What cannot be


def test_such_an_image_without_the_section(config):
    model = build(config)
    with pytest.raises(
        ValueError, match='^an image of the batch has no labels: set unlabelled=dic'
    ):
        loss_of(model, *given(model, mixed([0])))
    plain = build(distilled_config(config.teacher, {}))
    with pytest.raises(ValueError, match='has no labels: set unlabelled'):
        loss_of(plain, *given(plain, mixed([0])))


@pytest.mark.parametrize(
    ('section', 'error', 'message'),
    [
        (True, TypeError, 'unlabelled must be a dict'),
        (dict(num_roi=3), KeyError, 'num_rois'),
        (
            dict(num_rois=0),
            ValueError,
            'unlabelled.num_rois must be an integer of at least 1, got 0',
        ),
    ],
    ids=str,
)
def test_wrong_sections(config, section, error, message):
    with pytest.raises(error, match=message):
        build(config, unlabelled=section)


@pytest.mark.parametrize(
    ('terms', 'message'),
    [
        ({}, r'^unlabelled is set, and no term counts images without labels; leave it out'),
        (dict(loss_dkd=DKD), r'no term counts images without labels: loss_dkd need labels; leave'),
        (
            dict(loss_fgfi=BLIND['loss_fgfi']),
            r'without labels: loss_fgfi need labels; leave it out',
        ),
    ],
    ids=['none', 'target', 'boxes'],
)
def test_terms_that_count_no_such_image(teacher_section, terms, message):
    with pytest.raises(ValueError, match=message):
        build(distilled_config(teacher_section, terms), unlabelled=dict())


def test_a_module_that_runs_in_the_loss_alone(tmp_path):
    detector = with_semantic_branch(tmp_path)
    name = 'roi_head.semantic_head.conv_embedding'
    terms = dict(loss_branch=dict(tap=name, loss=dict(type='FitNetLoss')))
    message = f"^distill.loss_branch reads '{name}', which runs on labelled images alone: with"
    with pytest.raises(ValueError, match=message):
        build(distilled_from(*detector, terms), unlabelled=dict())


def test_a_teacher_that_proposes_nothing(tmp_path):
    detector = tiny_faster_rcnn()
    teacher = copy.deepcopy(detector)
    teacher.type = 'FastRCNN'
    del teacher.rpn_head
    save_detector(teacher, tmp_path / 'teacher.pth', class_names=['ant', 'bee', 'cat', 'dog'])
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    config = distilled_config(section, dict(loss_wkd_f=wkd_f_term()))
    build(config)
    message = '^distill.loss_wkd_f reads RoIs, which the RPN of the teacher proposes in images wi.*'
    with pytest.raises(ValueError, match=message + 'and FastRCNN has none: use terms on maps'):
        build(config, unlabelled=dict())


def test_a_student_of_proposals_of_its_own(config):
    """As Sparse R-CNN has them."""
    model = build(config)
    model.roi_head.__class__ = SparseRoIHead
    teacher = model.distiller.teacher.module
    message = '^distill.loss_wkd_l reads RoIs, and those of the student DistilledFasterRCNN are its'
    with pytest.raises(ValueError, match=message):
        Unlabelled().check_networks(model, teacher, model.distiller.terms)


def test_maps_with_several_branches(model):
    """As TridentNet has them."""
    model.backbone.num_branch = 3
    with pytest.raises(
        ValueError, match='^the maps of a DistilledFasterRCNN hold each image once f'
    ):
        loss_of(model, *given(model, mixed([0])))


def test_a_detector_that_goes_its_own_way(model, monkeypatch):
    plain = super(type(model).__mro__[2], model).loss
    inputs, samples = given(model, mixed([0]))
    model._fetch_teachers(inputs)
    student, _ = model._views(inputs, samples)
    message = 'need a detector whose loss calls extract_feat, and that of DistilledFasterRCNN does'
    with pytest.raises(ValueError, match=message):
        student.run(lambda inputs, samples: dict(loss=inputs.sum()), samples)
    assert 'extract_feat' not in vars(model)  # nothing stays behind
    assert 'loss' not in vars(model.roi_head)
    assert plain(inputs[:1], samples[:1])


def test_rows():
    values = torch.arange(5)
    assert Rows([1, 2], 5).of(values).tolist() == [1, 2]
    assert Rows([1, 2], 5).of(values).data_ptr() == values[1:].data_ptr()  # no copy
    assert Rows([0, 3], 5).of((values, [values, 'x'], {'k': values[:2]}))[0].tolist() == [0, 3]
    assert Rows([], 5).of(values).tolist() == []
    assert len(Rows([0, 3], 5)) == 2
