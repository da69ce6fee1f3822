"""Instances as query vectors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.losses.instances import Instances
from wkd_det.losses.perceptron import perceptron

_POSITION_WIDTH = 128
_SIZES = 5  # below 64 pixels, then a class an octave, from 512 on the last


class InstanceEncoder(nn.Module):
    """A perceptron over class, blurred position and coarse size of an instance.

    The position is a sine code of the point, 128 values a coordinate; the size is the octave of
    width and of height, one-hot.

    Args:
        num_classes: Length of the one-hot class.
        width: Of the queries.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = perceptron(num_classes + 2 * _POSITION_WIDTH + 2 * _SIZES, width, width)

    def forward(self, instances: Instances) -> Tensor:
        """Queries, shape ``(N, L, width)``."""
        octave = (instances.extents.log2() - 5).clamp(0, _SIZES - 1).long()
        parts = [
            F.one_hot(instances.labels, self.num_classes),
            _sine_code(instances.points),
            F.one_hot(octave, _SIZES).flatten(2),
        ]
        weight = self.layers[0].weight
        return self.layers(torch.cat([part.to(weight) for part in parts], dim=2))


def _sine_code(points: Tensor) -> Tensor:
    """Code of coordinates in [0, 1], shape ``(N, L, 2)`` to ``(N, L, 256)``."""
    octave = torch.arange(0, _POSITION_WIDTH, 2, device=points.device) / _POSITION_WIDTH
    angle = points[..., None] * (2 * math.pi) / 10000**octave
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(2)
