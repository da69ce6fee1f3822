"""Small detectors with queries, whose heads are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from wkd_det.detection.detectors import distilled
from wkd_det.testing import save_detector, tiny_detector
from wkd_det.testing.detectors import set_sizes

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
    ties: bool = True,
) -> Any:
    """A model config with a narrow ResNet-18 and a narrow transformer; its class is registered.

    Without ``ties`` the assigner looks at no distances of coordinates: two queries on one side of
    two objects cost the same either way round, and the last bit decides.
    """
    init_default_scope('mmdet')
    model = tiny_detector(KINDS[kind], num_classes=num_classes, base_channels=base_channels)
    set_sizes(model, dict(num_layers=layers, num_queries=queries))
    if kind not in _OF_ONE_WIDTH:
        set_sizes(model, dict(embed_dims=width, out_channels=width, num_feats=width // 2))
        model.bbox_head.embed_dims = width
        model.neck.update(norm_cfg=None, bias=True)
    if not ties:
        costs = model.train_cfg.assigner.match_costs
        costs[:] = [cost for cost in costs if cost.type != 'BBoxL1Cost']
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


def without_chance(model: nn.Module) -> None:
    """Switch off, in training mode, what depends on chance or on the rest of the batch."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout, nn.MultiheadAttention)):
            module.eval()
