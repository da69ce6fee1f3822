"""Small detectors, their distillation sections and batches, for tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from wkd_det.runtime.config import read_config


def tiny_faster_rcnn(
    *, num_classes: int = 4, base_channels: int = 8, fpn_channels: int = 16, **changes: Any
) -> ConfigDict:
    """Return the model config of a Faster R-CNN with a narrow ResNet-18, FPN P2 to P6.

    Args:
        num_classes: Number of object classes.
        base_channels: Width of the first stage of the backbone.
        fpn_channels: Width of the pyramid.
        **changes: Keys of the model to add or replace.
    """
    strides = [4, 8, 16, 32, 64]
    box_coder = dict(type='DeltaXYWHBBoxCoder')
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3)
    sampler = dict(type='RandomSampler', num=32, pos_fraction=0.25)
    nms = dict(type='nms', iou_threshold=0.7)
    proposals = dict(nms_pre=200, max_per_img=100, nms=nms, min_bbox_size=0)
    return ConfigDict(
        type='FasterRCNN',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[120.0, 115.0, 100.0],
            std=[58.0, 57.0, 59.0],
            bgr_to_rgb=True,
            pad_size_divisor=32,
        ),
        backbone=dict(type='ResNet', depth=18, base_channels=base_channels),
        neck=dict(
            type='FPN',
            in_channels=[base_channels * 2**level for level in range(4)],
            out_channels=fpn_channels,
            num_outs=5,
        ),
        rpn_head=dict(
            type='RPNHead',
            in_channels=fpn_channels,
            feat_channels=fpn_channels,
            anchor_generator=dict(
                type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=strides
            ),
            bbox_coder=box_coder,
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(
                    type='RoIAlign', output_size=7, sampling_ratio=2, use_torchvision=True
                ),
                out_channels=fpn_channels,
                featmap_strides=strides[:4],
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=fpn_channels,
                fc_out_channels=32,
                roi_feat_size=7,
                num_classes=num_classes,
                bbox_coder=box_coder,
            ),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=assigner,
                sampler=dict(sampler, add_gt_as_proposals=False),
                allowed_border=-1,
                pos_weight=-1,
            ),
            rpn_proposal=proposals,
            rcnn=dict(assigner=assigner, sampler=sampler, pos_weight=-1),
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
        ),
        **changes,
    )


def tiny_c4(*, num_classes: int = 4) -> ConfigDict:
    """Return the model config of a Faster R-CNN without a neck, on three stages of a ResNet-18.

    Its RoIs go through the fourth stage, whose widths cannot be chosen.

    Args:
        num_classes: Number of object classes.
    """
    model = tiny_faster_rcnn(num_classes=num_classes, base_channels=64)
    del model['neck']
    model.backbone.update(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    model.rpn_head.update(in_channels=256, feat_channels=16)
    model.rpn_head.anchor_generator.update(scales=[2, 4], strides=[16])
    roi_head = model.roi_head
    roi_head.shared_head = ConfigDict(type='ResLayer', depth=18, stage=3, stride=2, dilation=1)
    roi_head.bbox_roi_extractor.update(out_channels=256, featmap_strides=[16])
    roi_head.bbox_head.update(in_channels=512, roi_feat_size=4)
    return model


def save_detector(
    config: ConfigDict, path: Path, *, class_names: list[str] | None = None, seed: int = 1
) -> nn.Module:
    """Build a detector with random weights and save its checkpoint as a runner would.

    Returns:
        The detector, in eval mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = MODELS.build(copy.deepcopy(config))  # some detectors edit theirs
        detector.init_weights()
    meta = {} if class_names is None else dict(dataset_meta=dict(classes=class_names))
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), path)
    return detector.eval()


def random_batch(
    sizes: list[tuple[int, int]],
    *,
    num_classes: int = 4,
    boxes: int = 3,
    masks: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Return images and boxes as a data loader gives them, before the data preprocessor.

    Args:
        sizes: Height and width of each image.
        num_classes: Labels are drawn below this.
        boxes: Number of boxes per image; 0 is allowed.
        masks: Add masks that fill the boxes.
        seed: Random seed of images, boxes and labels.
    """
    generator = torch.Generator().manual_seed(seed)
    images, samples = [], []
    for height, width in sizes:
        images.append(
            torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        )
        sample = _sample(height, width, num_classes, boxes, generator)
        if masks:
            sample.gt_instances.masks = _masks(sample.gt_instances.bboxes, height, width)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def _sample(
    height: int, width: int, num_classes: int, boxes: int, generator: torch.Generator
) -> DetDataSample:
    size = torch.tensor([width, height], dtype=torch.float32)
    corner = torch.rand(boxes, 2, generator=generator) * size * 0.5
    extent = (0.2 + 0.3 * torch.rand(boxes, 2, generator=generator)) * size
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            scale_factor=(1.0, 1.0),
            img_id=0,
        )
    )
    sample.gt_instances = _instances(
        torch.cat([corner, corner + extent], 1), num_classes, generator
    )
    sample.ignored_instances = _instances(torch.zeros(0, 4), num_classes, generator)
    return sample


def _instances(boxes: Tensor, num_classes: int, generator: torch.Generator) -> InstanceData:
    labels = torch.randint(0, num_classes, (len(boxes),), generator=generator)
    return InstanceData(bboxes=boxes, labels=labels)


def _masks(boxes: Tensor, height: int, width: int) -> BitmapMasks:
    filled = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(filled, boxes.long().tolist()):
        mask[top : bottom + 1, left : right + 1] = 1
    return BitmapMasks(filled, height, width)


CONFIGS = {
    'FasterRCNN': '_base_/models/faster-rcnn_r50_fpn.py',
    'MaskRCNN': '_base_/models/mask-rcnn_r50_fpn.py',
    'CascadeRCNN': '_base_/models/cascade-rcnn_r50_fpn.py',
    'RetinaNet': '_base_/models/retinanet_r50_fpn.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'GFL': 'gfl/gfl_r50_fpn_1x_coco.py',
    'RTMDet': 'rtmdet/rtmdet_s_8xb32-300e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
}
"""Config of MMDetection for each registered kind."""

_HEAD_CHANNELS = 64  # two values for each of 32 groups that normalise a map of one pixel


def tiny_detector(
    kind: str, *, num_classes: int = 4, base_channels: int = 8, fpn_channels: int = 16
) -> ConfigDict:
    """Return a model config of MMDetection with a narrow ResNet-18 and narrow heads.

    Args:
        kind: One of ``CONFIGS``, or the path of another config among MMDetection's.
        num_classes: Number of object classes.
        base_channels: Width of the first stage of the backbone.
        fpn_channels: Width of the pyramid; a transformer behind it keeps its own.
    """
    configs = Path(mmdet.__file__).parent / '.mim/configs'
    model = read_config(configs / CONFIGS.get(kind, kind)).model
    small = dict(
        in_channels=fpn_channels,
        out_channels=fpn_channels,
        feat_channels=_HEAD_CHANNELS,
        conv_out_channels=_HEAD_CHANNELS,
        fc_out_channels=_HEAD_CHANNELS,
        stacked_convs=1,
        num_convs=1,
        num_classes=num_classes,
        num_layers=2,
        num_queries=30,
        num_dn_queries=10,
        feedforward_channels=_HEAD_CHANNELS,
        num=32,  # sampled RoIs
        nms_pre=200,
        max_per_img=100,
        sampling_ratio=2,
        allowed_border=-1,  # images may be smaller than an anchor
    )
    if 'num_queries' in model:  # encodings of positions are as wide as the transformer
        del small['in_channels'], small['out_channels']
    set_sizes(model, small)
    neck = model.neck[0] if isinstance(model.neck, list) else model.neck
    stages = range(4)[-len(neck.in_channels) :]
    neck.in_channels = [base_channels * 2**stage for stage in stages]
    model.backbone = dict(
        type='ResNet', depth=18, base_channels=base_channels, out_indices=tuple(stages)
    )
    return model


def set_sizes(section: Any, sizes: dict[str, int]) -> None:
    """Set numbers of a model config by their keys, at any depth, where they are set already."""
    if isinstance(section, list):
        for item in section:
            set_sizes(item, sizes)
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        if key in sizes and isinstance(value, int):
            section[key] = sizes[key]
        set_sizes(value, sizes)
    if section.get('type') == 'RoIAlign':
        section['use_torchvision'] = True


def wkd_l_term(**changes: Any) -> dict[str, Any]:
    """Return a term with WKD-L on the RoI logits; changes go into the loss."""
    loss = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), sharpness=2.0)
    return dict(tap='roi_logits', loss=dict(loss, **changes))


def wkd_f_term(**changes: Any) -> dict[str, Any]:
    """Return a term with WKD-F on 8 x 8 RoI features; changes go into the term."""
    term = dict(
        tap='roi_feats',
        roi_size=8,
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=5e-3),
    )
    return dict(term, **changes)


def wkd_f_neck_term(**changes: Any) -> dict[str, Any]:
    """Return a term with WKD-F on the first two levels of the neck; changes go into the term."""
    term = dict(
        tap='neck',
        levels=[0, 1],
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=4, loss_weight=5e-3),
    )
    return dict(term, **changes)


def distilled_config(
    teacher: Mapping[str, Any], distill: Mapping[str, Any], **changes: Any
) -> ConfigDict:
    """Return the tiny Faster R-CNN with a teacher and terms."""
    return distilled_from(tiny_faster_rcnn(**changes), teacher, distill)


def distilled_from(
    student: ConfigDict, teacher: Mapping[str, Any], distill: Mapping[str, Any]
) -> ConfigDict:
    """Return the config of any student with a teacher and terms."""
    sections = dict(teacher=dict(teacher), distill=dict(distill))
    return ConfigDict(student, type=f'Distilled{student.type}', **sections)
