"""Small detectors with queries, whose heads are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from wkd_det.detection.detectors import distilled
from wkd_det.runtime.config import read_config
from wkd_det.testing import save_detector

KINDS = {
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'ConditionalDETR': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'DABDETR': 'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    'DeformableDETR': 'deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'DDQDETR': 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py',
}
"""Config of MMDetection for each kind."""
# The encodings of their boxes are that wide.
_OF_ONE_WIDTH = ('ConditionalDETR', 'DABDETR', 'DINO', 'DDQDETR')


def tiny_queries(
    kind: str,
    *,
    num_classes: int = 4,
    base_channels: int = 8,
    width: int = 32,
    layers: int = 2,
    queries: int = 12,
) -> Any:
    """A model config with a narrow ResNet-18 and a narrow transformer; its class is registered."""
    init_default_scope('mmdet')
    if kind in _OF_ONE_WIDTH:
        width = 256
    path = Path(mmdet.__file__).parent / '.mim/configs' / KINDS[kind]
    model = read_config(path).model
    sizes = dict(
        embed_dims=width,
        out_channels=width,
        num_feats=width // 2,
        feedforward_channels=2 * width,
        num_heads=8,
        num_layers=layers,
        num_classes=num_classes,
        num_queries=queries,
        num_dn_queries=10,
    )
    _set(model, sizes)
    model.bbox_head.embed_dims = width
    outputs = model.backbone.out_indices
    model.backbone = dict(type='ResNet', depth=18, base_channels=base_channels, out_indices=outputs)
    model.neck.in_channels = [base_channels * 2**index for index in outputs]
    if model.neck.get('norm_cfg'):
        model.neck.norm_cfg.num_groups = 4
    distilled(MODELS.get(model.type))
    return model


def query_teacher(folder: Path, kind: str, **options: Any) -> dict[str, Any]:
    """A wider detector with random weights on disk, as a ``teacher`` section."""
    options = dict(dict(base_channels=10, width=48, queries=20), **options)
    class_names = options.pop('class_names', None)
    config = tiny_queries(kind, **options)
    path = folder / f'{kind}{len(list(folder.iterdir()))}.pth'
    save_detector(config, path, class_names=class_names)
    return dict(config=config, checkpoint=str(path))


def _set(section: Any, sizes: dict[str, int]) -> None:
    if isinstance(section, list):
        for item in section:
            _set(item, sizes)
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        if key in sizes and isinstance(value, int) and not isinstance(value, bool):
            section[key] = sizes[key]
        _set(value, sizes)
