"""Queries of ICD: true and invented instances of a batch, drawn and encoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from wkd_det.losses.linear import Linear
from wkd_det.ops.checks import plain_number

# Where statistics of a data set are missing, the reference draws sizes from N(0.2, 0.2), cut at
# two standard deviations, and centres evenly; both in units of the image.
_SIZE_MEAN, _SIZE_STD = 0.2, 0.2
_SIZE_RANGE = (2e-3, _SIZE_MEAN + 2 * _SIZE_STD)
_CENTRE_RANGE = (0.03, 0.97)
_POSITION_WIDTH = 128  # values of the sine code per coordinate
_SIZES = 5  # below 64 pixels, then one class per octave, from 512 on the last


@dataclass(frozen=True)
class Instances:
    """True and invented instances, padded to the same number per image."""

    labels: Tensor
    """Classes, shape ``(N, L)``."""
    points: Tensor
    """A point near the centre of each box, shape ``(N, L, 2)``, in units of the image."""
    extents: Tensor
    """Width and height of each box in pixels, shape ``(N, L, 2)``."""
    sides: Tensor
    """Distances from the point to the left, upper, right and lower side, ``(N, L, 4)``, in units
    of the image."""
    valid: Tensor
    """1 for instances, 0 for padding, shape ``(N, L)``."""
    true: Tensor
    """1 for the objects of the image, shape ``(N, L)``."""


class InstanceSampler:
    """Add invented instances to the objects of each image, and blur their positions.

    Args:
        num_classes: Labels of invented instances are drawn evenly below this number.
        ratio: Invented instances per true one; an image without objects gets one.
        limit: Most instances per image, true ones included; those are never left out.
        jitter: Largest shift of a point from its box's centre, in units of the box.
    """

    def __init__(self, num_classes: int, *, ratio: float, limit: int, jitter: float) -> None:
        self.num_classes = num_classes
        self.ratio = plain_number(ratio)
        self.limit = plain_number(limit)
        self.jitter = plain_number(jitter)

    def __call__(
        self,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> Instances:
        """Draw the instances of a batch.

        Args:
            boxes: Corners of the objects in pixels, per image ``(G, 4)``.
            labels: Their classes, per image ``(G,)``.
            image_sizes: Height and width of each image in pixels.
        """
        parts = [self._in_image(*image) for image in zip(boxes, labels, image_sizes)]
        padded = [pad_sequence(list(part), batch_first=True) for part in zip(*parts)]
        return Instances(*padded)

    def _in_image(
        self, boxes: Tensor, labels: Tensor, image_size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        count = len(boxes)
        total = min(max(1, int(count * (1 + self.ratio))), max(self.limit, count))
        invented = total - count
        height, width = image_size
        scale = torch.stack([boxes.new_full((), side) for side in (width, height)])
        corners = torch.cat([boxes / scale.repeat(2), self._invent(invented, boxes)])
        extents = corners[:, 2:] - corners[:, :2]
        shift = (2 * torch.rand_like(extents) - 1) * self.jitter
        points = (corners[:, :2] + corners[:, 2:]) / 2 + shift * extents
        sides = torch.cat([points - corners[:, :2], corners[:, 2:] - points], dim=1)
        drawn = torch.randint(self.num_classes, (invented,), device=labels.device)
        true = boxes.new_ones(total)
        true[count:] = 0
        return (
            torch.cat([labels, drawn]),
            points,
            extents * scale,
            sides,
            torch.ones_like(true),
            true,
        )

    def _invent(self, count: int, like: Tensor) -> Tensor:
        centre = torch.rand(count, 2, dtype=like.dtype, device=like.device).clamp(*_CENTRE_RANGE)
        size = torch.randn(count, 2, dtype=like.dtype, device=like.device) * _SIZE_STD + _SIZE_MEAN
        half = size.clamp(*_SIZE_RANGE) / 2
        return torch.cat([centre - half, centre + half], dim=1).clamp(0, 1)


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(
        Linear(inputs, width),
        nn.ReLU(),
        Linear(width, width),
        nn.ReLU(),
        Linear(width, outputs),
    )


class InstanceEncoder(nn.Module):
    """A perceptron over class, blurred position and coarse size of an instance.

    Class: one-hot. Position: sine code of the point, 128 values per coordinate. Size: octaves of
    width and height, one-hot.

    Args:
        num_classes: Length of the one-hot class.
        width: Width of the queries.
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
            _point_code(instances.points),
            F.one_hot(octave, _SIZES).flatten(2),
        ]
        weight = self.layers[0].weight
        return self.layers(torch.cat([part.to(weight) for part in parts], dim=2))


def _point_code(points: Tensor) -> Tensor:
    """Sine code of points with coordinates in [0, 1], ``(N, L, 2)`` to ``(N, L, 256)``."""
    octave = torch.arange(0, _POSITION_WIDTH, 2, device=points.device) / _POSITION_WIDTH
    angle = points[..., None] * (2 * math.pi) / 10000**octave
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(2)
