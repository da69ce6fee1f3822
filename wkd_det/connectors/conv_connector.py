"""Connector of one convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.connectors.single_value_norm import normalise_single_values

_BATCH_NORM = dict(type='BN')


@MODELS.register_module()
class ConvConnector(nn.Module):
    """Convolution, normalisation, activation; optionally resized to the teacher's map.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        kernel_size: Odd, so that the map keeps its size.
        norm_cfg: Normalisation after the convolution, or None.
        act_cfg: Activation at the end, e.g. ``dict(type='ReLU')``, or None.
        resize: Interpolate (bilinear) to the teacher's size where strides differ.

    Raises:
        ValueError: If ``kernel_size`` is even or below 1.

    References: 3 x 3 with batch normalisation: FCFD (Liu et al., ICLR 2023), as WKD uses it for
        detection; 1 x 1 with BN and ReLU: WKD on CIFAR-100.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        kernel_size: int = 1,
        norm_cfg: Mapping[str, Any] | None = _BATCH_NORM,
        act_cfg: Mapping[str, Any] | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd and positive, got {kernel_size}')
        self.conv = ConvModule(
            student_channels,
            teacher_channels,
            kernel_size,
            padding=kernel_size // 2,
            norm_cfg=None if norm_cfg is None else dict(norm_cfg),
            act_cfg=None if act_cfg is None else dict(act_cfg),
        )
        self.resizes = resize

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map ``(N, C_s, H, W)`` to ``(N, C_t, H, W)``, or to ``size`` if it resizes."""
        if self.resizes and size is not None and features.shape[-2:] != tuple(size):
            features = F.interpolate(features, size=size, mode='bilinear', align_corners=False)
        with normalise_single_values(self, features):
            return self.conv(features)
