"""A backbone of detectors as a classification network: its last map, pooled, and a linear layer.

What it learns, a detector begins with: the checkpoint of a
:class:`~wkd_det.classification.classifier.Classifier` holds the backbone's weights under
``network.backbone.``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.classification.networks.layers import global_pool, linear_classifier

_PROBE_SIZE = 64  # pixels; no map is empty


class PooledBackbone(nn.Module):
    """Backbone of MMDetection, mean over the last of its maps, linear layer.

    Batch normalisation learns: several backbones, ``ResNet`` among them, hold it still by default
    (``norm_eval=True``), as is usual for detectors whose backbone has been trained before. Here it
    takes the statistics of the batch unless the config of the backbone says ``norm_eval``.

    The modules ``backbone``, ``pool`` (features ``(N, D)``) and ``fc`` (logits) can be tapped, and
    those of the backbone.

    Args:
        backbone: Config of a backbone whose output is a sequence of maps, e.g.
            ``dict(type='mmdet.ResNet', depth=18)``.
        num_classes: Number of classes; kept as ``network.num_classes``.

    Raises:
        TypeError: If the backbone's output is no sequence of maps.
        ValueError: If ``num_classes < 1``.

    Example:
        A detector begins with the weights of a checkpoint by
        ``backbone.init_cfg=dict(type='Pretrained', checkpoint=PATH, prefix='network.backbone.')``.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int) -> None:
        super().__init__()
        self.backbone = registry.build(backbone)
        if 'norm_eval' not in backbone and hasattr(self.backbone, 'norm_eval'):
            self.backbone.norm_eval = False
        self.pool = global_pool()
        self.fc = linear_classifier(self._width(), num_classes)
        self.num_classes = num_classes
        if hasattr(self.backbone, 'init_weights') and not self.fc.weight.is_meta:
            self.backbone.init_weights()  # mmengine's reads the values

    def _width(self) -> int:
        probe = copy.deepcopy(self.backbone).to('meta')  # takes neither time nor random numbers
        probe.eval()
        with torch.no_grad():
            maps = probe(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE, device='meta'))
        if not isinstance(maps, (list, tuple)) or not maps or not isinstance(maps[-1], Tensor):
            raise TypeError(
                'the backbone must return a sequence of maps, '
                f'{type(self.backbone).__name__} returns a {type(maps).__name__}'
            )
        return maps[-1].shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` of images ``(N, 3, H, W)``."""
        return self.fc(self.pool(self.backbone(images)[-1]))
