"""Connector of three convolutions."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.connectors.single_value_norm import normalise_single_values
from wkd_det.functional.number_check import check_integers


@MODELS.register_module()
class BottleneckConnector(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution; batch normalisation and ReLU at the end only.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        mid_channels: Width in between.

    References: the projector of WKD on ImageNet.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, *, mid_channels: int = 256
    ) -> None:
        super().__init__()
        check_integers(mid_channels=mid_channels)
        plain = dict(norm_cfg=None, act_cfg=None, bias=False)
        self.layers = nn.Sequential(
            ConvModule(student_channels, mid_channels, 1, **plain),
            ConvModule(mid_channels, mid_channels, 3, padding=1, **plain),
            ConvModule(mid_channels, teacher_channels, 1, norm_cfg=dict(type='BN')),
        )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map ``(N, C_s, H, W)`` to ``(N, C_t, H, W)``; ``size`` is for those that resize."""
        with normalise_single_values(self, features):
            return self.layers(features)
