"""RoI heads that differ from Faster R-CNN's: what they are read as, and a step of each."""

import copy
import inspect

import pytest
import torch
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from torch import nn

from wkd_det.detection.detectors import distilled
from wkd_det.detection.student_view import DetectorStudentView
from wkd_det.testing import (
    distilled_from,
    random_batch,
    tiny_c4,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(96, 128), (64, 96)]
CONV = dict(type='ConvConnector', kernel_size=1)


def backbone_term(**options):
    return dict(tap='backbone', connector=CONV, loss=dict(type='WKDFeatureLoss', grid=2), **options)


def build(config, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, TridentConv):  # mmdet leaves it to a checkpoint
            nn.init.kaiming_normal_(module.weight)
    return model.train()


def pair_of(folder, student, terms, teacher=None, **options):
    """A distilled model whose teacher, by default, has the config of the student.

    Options are those of the section ``teacher``.
    """
    if MODELS.get(f'Distilled{student.type}') is None:
        distilled(MODELS.get(student.type))
    teacher = student if teacher is None else teacher
    path = folder / f'{teacher.type}.pth'
    torch.save(dict(state_dict=build(teacher, seed=1).state_dict(), meta={}), path)
    section = dict(config=teacher, checkpoint=str(path), **options)
    return build(distilled_from(copy.deepcopy(student), section, terms))


def batch_of(model, **options):
    """A batch with segments of the scene, for heads with a semantic branch."""
    batch = random_batch(SIZES, masks=True, **options)
    for sample in batch['data_samples']:
        sample.gt_sem_seg = PixelData(sem_seg=torch.randint(0, 4, (1, 12, 16)))
    return model.data_preprocessor(batch, True)


def losses_of(model, **options):
    torch.manual_seed(3)
    data = batch_of(model, **options)
    return model.loss(data['inputs'], data['data_samples'])


def step(student, model, terms):
    """Losses of a step: those of the plain detector to the bit, and terms that are not 0."""
    plain = build(student)
    plain.load_state_dict(model.state_dict(), strict=False)
    expected, losses = losses_of(plain), losses_of(model)
    assert losses.keys() - expected.keys() == terms.keys()
    for name, value in expected.items():
        for own, other in zip(listed(losses[name]), listed(value)):
            assert torch.equal(own, other), name
    for name in terms:
        assert losses[name].isfinite(), name
        assert losses[name] > 0, name
    total, _ = model.parse_losses(losses)
    total.backward()
    assert not [name for name, p in model.distiller.named_parameters() if p.grad is None]
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
    return losses


def listed(value):
    return value if isinstance(value, (list, tuple)) else [value]


def both_views(model):
    """Views of a step that has run, by the arguments of the distiller."""
    seen = {}
    handle = model.distiller.register_forward_pre_hook(
        lambda module, args: seen.update(student=args[0], teacher=args[1]['teacher'])
    )
    losses_of(model)
    handle.remove()
    return seen['student'], seen['teacher']


# Without a neck


def dc5():
    """A Faster R-CNN on the last map of a ResNet, without a neck and without a shared head."""
    model = tiny_faster_rcnn()
    del model['neck']
    model.backbone.update(out_indices=(3,), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    model.rpn_head.update(in_channels=64)
    model.rpn_head.anchor_generator.update(scales=[2, 4], strides=[16])
    model.roi_head.bbox_roi_extractor.update(out_channels=64, featmap_strides=[16])
    model.roi_head.bbox_head.update(in_channels=64)
    return model


def trident():
    """A TridentNet: three branches share weights, and training joins their maps in one batch."""
    model = dc5()
    model.type = 'TridentFasterRCNN'
    model.backbone = ConfigDict(
        type='TridentResNet', depth=50, base_channels=4, stem_channels=8, num_stages=3,
        strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,), trident_dilations=(1, 2, 3),
        num_branch=3, test_branch_idx=1,
    )  # fmt: skip
    model.roi_head.update(type='TridentRoIHead', num_branch=3, test_branch_idx=1)
    return model


ROIS = dict(
    loss_backbone=backbone_term(),
    loss_wkd_l=wkd_l_term(),
    loss_wkd_f=wkd_f_term(),
    loss_offsets=dict(tap='roi_offsets', rois='foreground', loss=dict(type='OffsetLoss')),
    loss_boxes=dict(tap='roi_boxes', loss=dict(type='BoxLoss')),
    loss_there=dict(tap='crossed_logits', head='teacher', connector=CONV, loss=dict(type='KDLoss')),
)


@pytest.mark.parametrize('make', [tiny_c4, dc5, trident], ids=lambda make: make.__name__)
def test_rois_are_read_from_the_backbone_where_there_is_no_neck(tmp_path, make):
    model = pair_of(tmp_path, make(), ROIS)
    step(make(), model, ROIS)
    (connector,) = model.distiller.terms['loss_wkd_f'].connectors
    width = make().roi_head.bbox_roi_extractor.out_channels
    assert (connector.conv.in_channels, connector.conv.out_channels) == (width, width)


def test_a_pyramid_teaches_the_rois_of_a_detector_without_one(tmp_path):
    terms = dict(loss_wkd_l=wkd_l_term(), loss_wkd_f=wkd_f_term(roi_size=4))
    step(tiny_c4(), pair_of(tmp_path, tiny_c4(), terms, tiny_faster_rcnn()), terms)
    step(tiny_faster_rcnn(), pair_of(tmp_path, tiny_faster_rcnn(), terms, tiny_c4()), terms)


def test_the_features_of_a_shared_head_are_not_those_of_roi_align(tmp_path):
    """The student's own pooled features are its backbone's: 256 channels, not the 512 behind."""
    terms = dict(loss_wkd_f=wkd_f_term(connector_at='roi', roi_size=None))
    model = pair_of(tmp_path, tiny_c4(), terms)
    given = []
    model.distiller.terms['loss_wkd_f'].connectors[0].register_forward_pre_hook(
        lambda module, args: given.append(args[0].shape[1:])
    )
    losses_of(model)
    assert given == [(256, 7, 7)]


def test_each_branch_of_a_trident_is_compared_with_the_teachers_map_of_its_image(tmp_path):
    terms = dict(loss_backbone=backbone_term(), loss_wkd_l=wkd_l_term())
    student, teacher = both_views(pair_of(tmp_path, trident(), terms))
    (own,), (other,) = student.maps('backbone'), teacher.maps('backbone')
    assert len(own) == len(other) == 6
    assert torch.equal(other[:2], other[2:4])
    assert torch.equal(other[:2], other[4:])
    assert not torch.equal(own[:2], own[2:4])
    mask = student.image_mask('backbone', other)
    assert torch.equal(mask[:2], mask[4:])
    assert len(mask) == 6
    assert student.stage(0).rois[:, 0].max() == 5


def test_a_detector_without_a_neck_says_what_works_instead(tmp_path):
    with pytest.raises(
        ValueError,
        match=r'distill.loss_neck: the DistilledFasterRCNN has no neck: use the tap '
        r"backbone, or a module by its name, e.g. 'backbone.layer\d'",
    ):
        pair_of(tmp_path, dc5(), dict(loss_neck=backbone_term() | dict(tap='neck')))


def test_a_detector_without_a_neck_at_any_module(tmp_path):
    terms = dict(loss_layer=backbone_term() | dict(tap='backbone.layer2'))
    step(dc5(), pair_of(tmp_path, dc5(), terms), terms)


# What no term asked for


def crowddet():
    return tiny_detector('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', num_classes=1)


def test_a_head_of_several_objects_for_each_roi(tmp_path):
    """Maps and features of RoIs need neither its labels nor its logits."""
    terms = dict(
        loss_backbone=backbone_term(),
        loss_neck=backbone_term(levels=[0]) | dict(tap='neck'),
        loss_wkd_f=wkd_f_term(),
        loss_near=wkd_f_term(rois='foreground'),
    )
    step(crowddet(), pair_of(tmp_path, crowddet(), terms), terms)


@pytest.mark.parametrize('name', ['roi_logits', 'roi_offsets'])
def test_logits_of_several_objects_for_each_roi(tmp_path, name):
    loss = dict(roi_logits=dict(type='KDLoss'), roi_offsets=dict(type='OffsetLoss'))[name]
    message = dict(
        roi_logits='the MultiInstanceBBoxHead of the student gives 2 objects for each RoI, in no '
        'order that another head would share: use the tap roi_feats, neck or backbone',
        roi_offsets='box offsets need a head that gives four per RoI or per class: the '
        'MultiInstanceBBoxHead of the student gives',
    )[name]
    with pytest.raises(ValueError, match=f'^distill.loss_x: {message}'):
        pair_of(tmp_path, crowddet(), dict(loss_x=dict(tap=name, loss=loss)))


def test_labels_and_logits_are_made_when_they_are_asked_for():
    """A term on maps alone leaves the record of RoIs unread."""
    model = build(tiny_faster_rcnn())
    data = batch_of(model)
    view = DetectorStudentView(model, data['inputs'], data['data_samples'])
    with view.recording():
        model.loss(data['inputs'], data['data_samples'])
    stage = view.stage(0)
    made = ('rois', 'labels', 'foreground', 'logits')
    assert not vars(stage).keys() & set(made)
    assert stage.labels.shape == stage.rois[:, 0].shape
    assert vars(stage).keys() & set(made) == {'rois', 'labels', 'foreground'}


def test_rois_are_those_that_the_box_head_was_given():
    """A Grid R-CNN moves its positives after the box head has read them."""
    model = build(tiny_faster_rcnn())
    data = batch_of(model)
    given = []
    original = model.roi_head.bbox_loss

    def moves(x, sampling_results):
        given.append(bbox2roi([one.priors for one in sampling_results]))
        result = original(x, sampling_results)
        for one in sampling_results:
            one.pos_priors = one.pos_priors + 7
        return result

    model.roi_head.bbox_loss = moves
    view = DetectorStudentView(model, data['inputs'], data['data_samples'])
    with view.recording():
        model.loss(data['inputs'], data['data_samples'])
    assert torch.equal(view.stage(0).rois, given[0])


# Heads that read more than maps and RoIs


def with_semantic(path):
    """An HTC or SCNet with its semantic branch and, of the latter, its global context."""
    model = tiny_detector(path, fpn_channels=64)
    roi_head = model.roi_head
    roi_head.semantic_head.update(num_ins=5, num_convs=1, conv_out_channels=64, num_classes=4)
    if 'feat_relay_head' in roi_head:
        roi_head.feat_relay_head.out_conv_channels = 64
    return model


SEMANTIC = ['htc/htc_r50_fpn_1x_coco.py', 'scnet/scnet_r50_fpn_1x_coco.py']


@pytest.mark.parametrize('path', SEMANTIC)
def test_heads_with_context_of_the_whole_image(tmp_path, path):
    """The teacher's logits on the student's RoIs are those that its own head would give there."""
    stages = dict(stage=[0, 1, 2])
    terms = dict(
        loss_wkd_l=dict(wkd_l_term(), **stages),
        loss_wkd_f=wkd_f_term(connector_at='roi', roi_size=None, **stages),
        loss_module=backbone_term() | dict(tap='roi_head.semantic_head.conv_embedding'),
    )
    student = with_semantic(path)
    model = pair_of(tmp_path, student, terms)
    step(student, model, terms)
    student_view, teacher_view = both_views(model)
    teacher = model.distiller.teacher.module
    with torch.no_grad():
        maps = teacher.extract_feat(teacher_view.inputs)
        context = dict(semantic_feat=teacher.roi_head.semantic_head(maps)[1])
        if 'scnet' in path:
            context['glbctx_feat'] = teacher.roi_head.glbctx_head(maps)[1]
        for stage in range(3):
            rois = student_view.stage(stage).rois
            expected = teacher.roi_head._bbox_forward(stage, maps, rois, **context)['cls_score']
            found = teacher_view.on_rois(rois, stage).logits
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            for name, features in context.items():  # each of them counts
                without = dict(context, **{name: torch.zeros_like(features)})
                other = teacher.roi_head._bbox_forward(stage, maps, rois, **without)
                assert not torch.allclose(other['cls_score'], expected, atol=1e-5)


def test_a_head_with_context_reads_no_maps_of_another_network(tmp_path):
    term = dict(
        tap='crossed_logits', head='teacher', stage=0, connector=CONV, loss=dict(type='KDLoss')
    )
    message = 'HybridTaskCascadeRoIHead needs more than feature maps and RoIs, so it cannot read'
    with pytest.raises(ValueError, match=message):
        pair_of(tmp_path, with_semantic(SEMANTIC[0]), dict(loss_x=term))


# Sparse heads


def sparse(path='sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', proposals=6):
    """A narrow Sparse R-CNN or QueryInst of three stages."""
    model = tiny_detector(path, fpn_channels=32)
    roi_head = model.roi_head
    model.rpn_head.update(num_proposals=proposals, proposal_feature_channel=32)
    roi_head.update(num_stages=3, stage_loss_weights=[1] * 3, proposal_feature_channel=32)
    roi_head.bbox_head = [
        ConfigDict(
            head, in_channels=32, feedforward_channels=64, num_ffn_fcs=2, num_cls_fcs=1,
            num_reg_fcs=1, num_heads=4,
            dynamic_conv_cfg=dict(
                head.dynamic_conv_cfg, in_channels=32, feat_channels=8, out_channels=32
            ),
        )
        for head in roi_head.bbox_head[:3]
    ]  # fmt: skip
    if 'mask_head' in roi_head:
        roi_head.mask_head = [
            ConfigDict(
                head, in_channels=32, conv_out_channels=32, num_convs=1,
                dynamic_conv_cfg=dict(
                    head.dynamic_conv_cfg, in_channels=32, feat_channels=8, out_channels=32
                ),
            )
            for head in roi_head.mask_head[:3]
        ]  # fmt: skip
    model.train_cfg.rcnn = model.train_cfg.rcnn[:3]
    return model


SPARSE_TERMS = dict(
    loss_wkd_l=dict(wkd_l_term(), stage=[0, 1, 2]),
    loss_near=dict(wkd_l_term(), stage=[2], rois='foreground', background=False),
    loss_wkd_f=wkd_f_term(stage=[0, 1, 2]),
)


@pytest.mark.parametrize(
    'path',
    ['sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', 'queryinst/queryinst_r50_fpn_1x_coco.py'],
)
def test_every_stage_of_a_sparse_head(tmp_path, path):
    student = sparse(path)
    step(student, pair_of(tmp_path, student, SPARSE_TERMS), SPARSE_TERMS)


def test_stages_of_a_sparse_head_are_those_of_mmdet(tmp_path):
    """Labels and RoIs are those that it trains on; the teacher follows the student's boxes."""
    model = pair_of(tmp_path, sparse(), SPARSE_TERMS)
    seen = []
    original = model.roi_head.bbox_loss

    def spy(**kwargs):
        boxes = [one.bboxes.detach().clone() for one in kwargs['results_list']]
        result = original(**kwargs)
        seen.append((boxes, result))
        return result

    spy.__signature__ = inspect.signature(original)
    model.roi_head.bbox_loss = spy
    student, teacher = both_views(model)
    network = model.distiller.teacher.module
    features = network.rpn_head.init_proposal_features.weight.expand(2, 6, 32)
    metas = [sample.metainfo for sample in student.samples]
    with torch.no_grad():
        maps = network.extract_feat(teacher.inputs)
        for stage, (boxes, result) in enumerate(seen):
            recorded = student.stage(stage)
            rois = bbox2roi(boxes)
            assert torch.equal(recorded.rois, rois)
            head = model.roi_head.bbox_head[stage]
            labels = head.get_targets(result['sampling_results'], model.train_cfg.rcnn[stage])[0]
            assert torch.equal(recorded.labels, labels)
            assert torch.equal(recorded.logits[:, :-1], result['cls_score'].flatten(0, 1))
            assert not recorded.logits[:, -1].any()
            expected = network.roi_head._bbox_forward(stage, maps, rois, features, metas)
            features = expected['object_feats']
            found = teacher.on_rois(recorded.rois, stage).logits
            expected = expected['cls_score'].flatten(0, 1)
            torch.testing.assert_close(found[:, :-1], expected, rtol=1e-4, atol=1e-5)
    assert len(seen) == 3


def test_a_sparse_head_is_taught_by_a_softmax(tmp_path):
    terms = dict(loss_kd=dict(tap='roi_logits', stage=[0, 2], loss=dict(type='KDLoss')))
    terms['loss_kd']['teacher_stage'] = 0
    step(sparse(), pair_of(tmp_path, sparse(), terms, tiny_faster_rcnn()), terms)


@pytest.mark.parametrize(
    ('student', 'options', 'message'),
    [
        (tiny_faster_rcnn, dict(teacher_stage=0), 'reads the features of its own 6 proposals'),
        (lambda: sparse(proposals=5), dict(stage=0), 'reads the features of its own 6 proposals'),
        (sparse, dict(stage=0, teacher_stage=1), r'compare equal stages, got \[0\] and \[1\]'),
    ],
)
def test_proposals_that_are_not_the_teachers(tmp_path, student, options, message):
    term = dict(tap='roi_logits', loss=dict(type='KDLoss'), **options)
    with pytest.raises(ValueError, match=message):
        pair_of(tmp_path, student(), dict(loss_x=term), sparse())


@pytest.mark.parametrize('name', ['roi_offsets', 'roi_boxes'])
def test_a_sparse_head_gives_boxes(tmp_path, name):
    loss = dict(type='OffsetLoss' if name == 'roi_offsets' else 'BoxLoss')
    with pytest.raises(ValueError, match='per class: the DIIHead of the student gives boxes'):
        pair_of(tmp_path, sparse(), dict(loss_x=dict(tap=name, stage=0, loss=loss)))


@pytest.mark.parametrize('make', [tiny_c4, sparse, lambda: with_semantic(SEMANTIC[1])])
def test_a_teacher_that_computes_in_bfloat16(tmp_path, make):
    """Close to one in float32; its maps, RoIs and whole heads go through kernels of float32."""
    stages = dict(stage=[0, 1, 2]) if 'num_stages' in make().roi_head else {}
    terms = dict(loss_wkd_l=dict(wkd_l_term(), **stages), loss_wkd_f=wkd_f_term(**stages))
    values = []
    for inference in (None, dict(dtype='bfloat16', channels_last=True)):
        losses = losses_of(pair_of(tmp_path, make(), terms, inference=inference))
        values.append([losses[name].item() for name in terms])
    # Eight bits of a number, and RoIs of a few pixels.
    assert values[1] == pytest.approx(values[0], rel=0.2)


def seesaw():
    model = tiny_faster_rcnn()
    model.roi_head.bbox_head.loss_cls = dict(type='SeesawLoss', num_classes=4)
    return model


@pytest.mark.parametrize('other', [seesaw, tiny_faster_rcnn], ids=['itself', 'a softmax'])
def test_a_seesaw_student(tmp_path, other):
    terms = dict(loss_wkd_l=wkd_l_term(), loss_kd=dict(tap='roi_logits', loss=dict(type='KDLoss')))
    step(seesaw(), pair_of(tmp_path, seesaw(), terms, other()), terms)
