"""Attention-based fusion of ReviewKD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.connectors.single_value_norm import normalise_single_values
from wkd_det.functional.number_check import check_integers


@MODELS.register_module()
class ABFConnector(nn.Module):
    r"""Fuses the levels of a pyramid from the top down, and maps each to the teacher's width.

    At each level the student's map passes a 1 x 1 convolution; below the top it is mixed with
    the fused map of the level above, enlarged to its size (nearest neighbour),

    .. math:: F_l = a_1 \odot conv_{1 \times 1}(S_l) + a_2 \odot up(F_{l+1}), \qquad
        (a_1, a_2) = sigmoid(conv_{1 \times 1}([conv_{1 \times 1}(S_l), up(F_{l+1})]))

    with one weight a pixel, and a 3 x 3 convolution of :math:`F_l` is compared with the teacher's
    level. Convolutions have batch normalisation and no activation; those of the attention
    neither.

    Args:
        student_channels: Widths of the student's levels, from the largest map to the smallest.
        teacher_channels: Widths of the teacher's levels.
        mid_channels: Width of the fused maps.

    Raises:
        ValueError: If the numbers of levels differ or ``mid_channels`` is not positive.

    References: Chen, Liu, Zhao, Jia, Distilling Knowledge via Knowledge Review, CVPR 2021,
        section 3.3; width 256, normalisation and initialisation are those of its detection code.
    """

    spans_levels: ClassVar[bool] = True

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        *,
        mid_channels: int = 256,
    ) -> None:
        super().__init__()
        if len(student_channels) != len(teacher_channels):
            raise ValueError(
                'student_channels and teacher_channels must name the same number of levels, got '
                f'{len(student_channels)} and {len(teacher_channels)}'
            )
        check_integers(mid_channels=mid_channels)
        plain = dict(norm_cfg=dict(type='BN'), act_cfg=None)
        self.inward = nn.ModuleList(
            ConvModule(channels, mid_channels, 1, **plain) for channels in student_channels
        )
        self.attention = nn.ModuleList(
            nn.Conv2d(2 * mid_channels, 2, 1) for _ in student_channels[:-1]
        )
        self.outward = nn.ModuleList(
            ConvModule(mid_channels, channels, 3, padding=1, **plain)
            for channels in teacher_channels
        )
        for layer in (*self.inward, *self.outward):
            nn.init.kaiming_uniform_(layer.conv.weight, a=1)

    def forward(
        self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Tensor]:
        """Map levels ``(N, C_s, H, W)`` to ``(N, C_t, H, W)``; ``sizes`` is not used."""
        fused: Tensor | None = None
        results = []
        for level in reversed(range(len(features))):
            with normalise_single_values(self, features[level]):
                own = self.inward[level](features[level])
                if fused is not None:
                    above = F.interpolate(fused, size=own.shape[-2:], mode='nearest')
                    weights = self.attention[level](torch.cat([own, above], dim=1)).sigmoid()
                    own = weights[:, :1] * own + weights[:, 1:] * above
                fused = own
                results.append(self.outward[level](fused))
        return results[::-1]
