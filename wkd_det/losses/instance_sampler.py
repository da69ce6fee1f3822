"""Invents instances beside the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wkd_det.losses.instances import Instances

# Where statistics of a data set are missing, the reference draws sizes from N(0.2, 0.2), cut at
# two standard deviations, and centres evenly.
_SIZE_MEAN, _SIZE_STD = 0.2, 0.2
_SIZE_RANGE = (2e-3, _SIZE_MEAN + 2 * _SIZE_STD)
_CENTRE_RANGE = (0.03, 0.97)


class InstanceSampler:
    """Adds invented instances to the objects of each image, and blurs where they are.

    Args:
        num_classes: Labels of invented instances are drawn evenly below this.
        ratio: Invented instances for each true one; an image without objects gets one.
        limit: Most instances of an image in all; true ones are never left out.
        jitter: Largest shift of a point from its box's centre, in units of the box.
    """

    def __init__(self, num_classes: int, *, ratio: float, limit: int, jitter: float) -> None:
        self.num_classes = num_classes
        self.ratio = ratio
        self.limit = limit
        self.jitter = jitter

    def __call__(
        self,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> Instances:
        """Instances of a batch.

        Args:
            boxes: Corners of the objects of each image in pixels, each ``(G, 4)``.
            labels: Their classes, each ``(G,)``.
            image_sizes: Height and width of each image.
        """
        parts = [self._of_image(*image) for image in zip(boxes, labels, image_sizes)]
        padded = [pad_sequence(list(part), batch_first=True) for part in zip(*parts)]
        return Instances(*padded)

    def _of_image(
        self, boxes: Tensor, labels: Tensor, image_size: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        count = len(boxes)
        total = min(max(1, int(count * (1 + self.ratio))), max(self.limit, count))
        invented = total - count
        height, width = image_size
        scale = boxes.new_tensor([width, height])
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
