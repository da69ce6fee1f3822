"""CrossKD: features of the student's head through the teacher's later layers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from torch import nn
from torch.testing import assert_close

from dense_cases import SIZES, build, losses_of, pairs_of
from wkd_det.detection.branches import aligned
from wkd_det.detection.detectors import distilled
from wkd_det.testing import distilled_from, random_batch, save_detector, tiny_detector

FOCAL = dict(tap='crossed_dense_logits', loss=dict(type='QualityFocalKDLoss'))
LD = dict(tap='crossed_box_distributions', loss=dict(type='LDLoss', temperature=1.0))
SAME = [(96, 128)] * 2
"""Images without padding."""


def config_of(kind, **options):
    """Two convolutions in each branch, of 64 channels."""
    paths = dict(VFNet='vfnet/vfnet_r50_fpn_1x_coco.py', TOOD='tood/tood_r50_fpn_1x_coco.py')
    model = tiny_detector(paths.get(kind, kind), **options)
    model.bbox_head.stacked_convs = 2
    distilled(MODELS.get(kind))
    return model


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('teachers')


def section_of(folder, kind, **options):
    config = config_of(kind, **options)
    path = folder / f'{kind}{len(options)}.pth'
    if not path.exists():
        save_detector(config, path)
    return dict(config=config, checkpoint=str(path))


# Statistics


def test_moments_by_hand():
    own = torch.tensor([[[[0.0, 2.0]]]])  # mean 1, deviation sqrt 2
    other = torch.tensor([[[[5.0, 9.0, 100.0]]]])  # the third is padding: mean 7, deviation sqrt 8
    mask = torch.tensor([[[True, True, False]]])
    assert_close(aligned(own, other, None, mask), torch.tensor([[[[5.0, 9.0]]]]), rtol=1e-5, atol=0)


def test_moments_are_those_of_the_published_formula():
    generator = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    flat, target = (one.transpose(0, 1).flatten(1) for one in (own, other))
    expected = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-6)
    expected = expected * target.std(1, keepdim=True) + target.mean(1, keepdim=True)
    found = aligned(own, other, None, None)
    assert_close(found.transpose(0, 1).flatten(1), expected)


def test_moments_have_a_gradient_where_they_are_defined():
    generator = torch.Generator().manual_seed(0)
    own, other = torch.randn(2, 2, 3, 2, 2, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[[1, 1], [1, 0]], [[1, 0], [0, 0]]], dtype=torch.bool)
    own.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: aligned(one, other, mask, mask), own)
    for dead in (torch.zeros(2, 1, 2, 2), torch.ones(1, 1, 1, 1)):
        dead.requires_grad_()
        value = aligned(dead, torch.ones_like(dead), None, None)
        value.sum().backward()
        assert value.isfinite().all()
        assert dead.grad.isfinite().all()


# The crossing


def held(convs, maps):
    """Features behind the first convolution, before its activation, level by level."""
    return [convs[0].norm(convs[0].conv(level)) for level in maps]


def crossed(own, other):
    """As the paper has it, for a level."""
    flat, target = (one.transpose(0, 1).flatten(1) for one in (own, other))
    scaled = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-6)
    scaled = scaled * target.std(1, keepdim=True) + target.mean(1, keepdim=True)
    return F.relu(scaled.unflatten(1, own.transpose(0, 1).shape[1:]).transpose(0, 1))


def test_gfl_written_out(folder):
    section = section_of(folder, 'GFL', base_channels=10, fpn_channels=24)
    model = build(
        config_of('GFL'), section, dict(loss_c=dict(FOCAL, depth=1), loss_b=dict(LD, depth=1))
    )
    pairs, (student, teacher), losses = pairs_of(model, SAME)
    head, own = model.distiller.teacher.module.bbox_head, model.bbox_head
    maps, others = student.maps('neck'), teacher.maps('neck')
    scores, boxes = [], []
    for level in range(5):
        features = {
            branch: crossed(
                held(getattr(own, branch), maps)[level], held(getattr(head, branch), others)[level]
            )
            for branch in ('cls_convs', 'reg_convs')
        }
        scores.append(head.gfl_cls(head.cls_convs[1](features['cls_convs'])))
        boxes.append(head.scales[level](head.gfl_reg(head.reg_convs[1](features['reg_convs']))))
    flat = [torch.cat([one.flatten(2) for one in part], 2) for part in (scores, boxes)]
    rows = [one.transpose(1, 2).flatten(0, 1) for one in flat]
    assert_close(pairs['loss_c']['student'], rows[0], rtol=1e-3, atol=1e-4)
    assert_close(pairs['loss_b']['student'], rows[1].view(-1, 4, 17), rtol=1e-3, atol=1e-4)
    best = pairs['loss_c']['teacher'].sigmoid().amax(1)
    assert_close(pairs['loss_b']['weight'], best)
    assert_close(pairs['loss_b']['avg_factor'], best.sum())
    assert losses['loss_c'] > 0
    assert losses['loss_b'] > 0


@pytest.mark.parametrize('kind', ['RetinaNet', 'FCOS', 'ATSS', 'GFL', 'VFNet'])
def test_a_student_that_is_the_teacher_is_what_it_was(folder, kind):
    """Its features are the teacher's already, behind any number of convolutions, also of a batch
    with padding."""
    section = section_of(folder, kind)
    terms = {f'loss_{depth}': dict(FOCAL, depth=depth) for depth in range(3)}
    model = build(config_of(kind), section, terms)
    state = model.distiller.teacher.module.state_dict()
    model.load_state_dict(state, strict=False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    for sizes in (SAME, SIZES):
        pairs, *_ = pairs_of(model, sizes)
        for name in terms:
            pair = pairs[name]
            # Convolutions see features at the border of the image that have crossed nothing.
            assert_close(pair['student'], pair['teacher'], rtol=1e-3, atol=1e-3)


def test_gradients_reach_what_comes_before_and_no_later_layer(folder):
    section = section_of(folder, 'GFL', base_channels=10, fpn_channels=24)
    model = build(config_of('GFL'), section, dict(loss_c=dict(FOCAL, depth=1)))
    head = model.distiller.teacher.module.bbox_head
    lists = head.cls_convs, head.reg_convs
    losses_of(model)['loss_c'].backward()
    assert (head.cls_convs, head.reg_convs) == lists
    found = {
        name for name, one in model.named_parameters() if one.grad is not None and one.grad.any()
    }
    assert 'bbox_head.cls_convs.0.conv.weight' in found
    assert 'backbone.conv1.weight' in found
    assert not any('gfl_cls' in name or 'convs.1' in name for name in found if 'bbox_head' in name)
    assert all(one.grad is None for one in model.distiller.teacher.module.parameters())
    assert not list(model.distiller.parameters())


def test_training_steps_also_of_bfloat16_and_without_objects(folder):
    section = section_of(folder, 'GFL', base_channels=10, fpn_channels=24)
    terms = dict(
        loss_c=dict(FOCAL, depth=1),
        loss_b=dict(LD, depth=1),
        loss_whole=dict(LD, depth=2, places='top', top=5),
        loss_own=dict(LD, tap='box_distributions'),
    )
    model = build(config_of('GFL'), section, terms)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    for boxes in (3, 0):
        log = model.train_step(random_batch(list(SIZES), boxes=boxes), wrapper)
        assert all(log[name].isfinite() for name in terms)
    assert log['loss_own'] == 0
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model)
    assert all(losses[name].dtype == torch.float32 and losses[name] > 0 for name in terms)


def test_the_plain_losses_stay(folder):
    section = section_of(folder, 'GFL', base_channels=10, fpn_channels=24)
    model = build(config_of('GFL'), section, dict(loss_c=dict(FOCAL, depth=1)))
    plain = build(ConfigDict(config_of('GFL')), section, {})
    expected, found = losses_of(plain), losses_of(model)
    for name, values in expected.items():
        assert all(torch.equal(*pair) for pair in zip(values, found[name])), name


def test_a_folded_teacher_in_bfloat16(folder):
    section = dict(
        section_of(folder, 'GFL', base_channels=10, fpn_channels=24),
        inference=dict(dtype='bfloat16', channels_last=True, fuse=True),
    )
    model = build(config_of('GFL'), section, dict(loss_c=dict(FOCAL, depth=1)))
    losses = losses_of(model)
    losses['loss_c'].backward()
    assert losses['loss_c'] > 0
    assert model.bbox_head.cls_convs[0].conv.weight.grad.any()


# What is refused when the model is built


def refused(student, teacher, match, **changes):
    term = dict(dict(FOCAL, average='places', depth=1), **changes)
    made = distilled_from(student, dict(config=teacher), dict(loss_x=term))
    with pytest.raises(ValueError, match=match):
        MODELS.build(copy.deepcopy(made))


def test_heads_that_do_not_fit():
    gfl, narrow, other = (config_of('GFL') for _ in range(3))
    narrow.bbox_head.feat_channels = 32
    other.bbox_head.update(in_channels=24)
    other.neck.out_channels = 24
    refused(gfl, gfl, 'the GFLHead of the student has 2 convolutions, fewer than 3', depth=3)
    refused(gfl, narrow, "behind 1 convolutions have 64 channels and the teacher's 32")
    refused(gfl, other, "behind 0 convolutions have 16 channels and the teacher's 24", depth=0)
    tood = config_of('TOOD')
    refused(tood, tood, 'the TOODHead of the student has no cls_convs and reg_convs')
    refused(gfl, gfl, 'depth must be a number of convolutions, at least 0, got -1', depth=-1)
    refused(
        config_of('ATSS'), config_of('ATSS'), 'predicts no distributions',
        tap='crossed_box_distributions', loss=dict(type='LDLoss'),
    )  # fmt: skip
    refused(gfl, gfl, 'the tap compares no feature maps', connector=dict(type='ConvConnector'))
