"""Every kind of detector, from MMDetection's own config, made tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
from mmengine.config import Config, ConfigDict

CONFIGS = {
    'FasterRCNN': '_base_/models/faster-rcnn_r50_fpn.py',
    'MaskRCNN': '_base_/models/mask-rcnn_r50_fpn.py',
    'CascadeRCNN': '_base_/models/cascade-rcnn_r50_fpn.py',
    'RetinaNet': '_base_/models/retinanet_r50_fpn.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'GFL': 'gfl/gfl_r50_fpn_1x_coco.py',
}
"""Config of MMDetection for each registered kind."""

_HEAD_CHANNELS = 64  # two values for each of 32 groups that normalise a map of one pixel


def tiny_detector(
    kind: str, *, num_classes: int = 4, base_channels: int = 8, fpn_channels: int = 16
) -> ConfigDict:
    """Model config of MMDetection with a ResNet-18 of a few channels and narrow heads.

    Args:
        kind: One of ``CONFIGS``, or the path of another config among MMDetection's.
        num_classes: Object classes.
        base_channels: Width of the first stage of the backbone.
        fpn_channels: Width of the pyramid.
    """
    model = Config.fromfile(
        Path(mmdet.__file__).parent / '.mim/configs' / CONFIGS.get(kind, kind)
    ).model
    small = dict(
        in_channels=fpn_channels,
        out_channels=fpn_channels,
        feat_channels=_HEAD_CHANNELS,
        conv_out_channels=_HEAD_CHANNELS,
        fc_out_channels=_HEAD_CHANNELS,
        stacked_convs=1,
        num_convs=1,
        num_classes=num_classes,
        num=32,  # sampled RoIs
        nms_pre=200,
        max_per_img=100,
        sampling_ratio=2,
        allowed_border=-1,  # images may be smaller than an anchor
    )
    _shrink(model, small)
    model.backbone = dict(type='ResNet', depth=18, base_channels=base_channels)
    neck = model.neck[0] if isinstance(model.neck, list) else model.neck
    neck.in_channels = [base_channels * 2**level for level in range(4)]
    return model


def _shrink(section: Any, small: dict[str, int]) -> None:
    if isinstance(section, list):
        for item in section:
            _shrink(item, small)
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        if key in small and isinstance(value, int):
            section[key] = small[key]
        _shrink(value, small)
    if section.get('type') == 'RoIAlign':
        section['use_torchvision'] = True
