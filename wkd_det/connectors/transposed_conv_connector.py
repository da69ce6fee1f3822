"""Connector that doubles the size of a map."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.connectors.single_value_norm import normalise_single_values


@MODELS.register_module()
class TransposedConvConnector(nn.Module):
    """4 x 4 transposed convolution of stride 2, batch normalisation and ReLU.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map, which is twice as high and wide.

    References: the projector of WKD on CIFAR-100 where the student's map is half the size.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(
                student_channels, teacher_channels, 4, stride=2, padding=1, bias=False
            ),
            nn.BatchNorm2d(teacher_channels),
            nn.ReLU(),
        )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map ``(N, C_s, H, W)`` to ``(N, C_t, 2 H, 2 W)``; ``size`` is for those that resize."""
        with normalise_single_values(self, features):
            return self.layers(features)
