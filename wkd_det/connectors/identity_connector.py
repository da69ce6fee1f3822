"""Connector for maps that fit as they are."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class IdentityConnector(nn.Module):
    """Passes student features on unchanged.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.

    Raises:
        ValueError: If the widths differ.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        if student_channels != teacher_channels:
            raise ValueError(
                'IdentityConnector needs equal widths, got student_channels='
                f'{student_channels} and teacher_channels={teacher_channels}'
            )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``features``; ``size`` is for connectors that resize."""
        return features
