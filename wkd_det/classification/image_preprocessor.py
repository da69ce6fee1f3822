"""From a batch of the data loader to the input of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and normalises it there.

    Images travel as bytes, a quarter of what floats take.

    Args:
        mean: Of each channel, in units of the pixels, 0 to 255; in the order of the images, RGB.
        std: Of each channel.
        num_classes: Labels must be less; no check where it is not known.

    Raises:
        ValueError: If mean and std do not fit each other or a std is not positive.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
        num_classes: int | None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        if len(mean) != len(std) or not min(std) > 0:
            raise ValueError(
                f'mean and std need one value a channel, std positive, got mean={mean}, std={std}'
            )
        self.num_classes = num_classes
        self.scale = tuple(map(float, mean)), tuple(map(float, std))
        # Not saved: a checkpoint has the keys of the network.
        self.register_buffer('mean', torch.tensor(self.scale[0]).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(self.scale[1]).view(-1, 1, 1), persistent=False)

    def forward(self, data: Any, training: bool = False) -> list[Tensor]:
        """Images ``(N, C, H, W)``, normalised, and labels ``(N,)``.

        Raises:
            ValueError: If a label is none of the classes.
        """
        images, labels = data
        self._check(labels)  # before the move: on a GPU it would wait for the device
        images, labels = self.cast_data([images, labels])
        return [(images.float() - self.mean) / self.std, labels]

    def _check(self, labels: Tensor) -> None:
        if self.num_classes is None:
            return
        wrong = (labels < 0) | (labels >= self.num_classes)
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise ValueError(
                f'labels must lie in [0, {self.num_classes}), the classes of the network, got '
                f'{int(labels[index])} (image {index} of the batch)'
            )


def renormalize(images: Tensor, student: ImagePreprocessor, teacher: ImagePreprocessor) -> Tensor:
    """From the student's normalised batch to what the teacher's preprocessor would have made.

    Args:
        images: Shape ``(N, C, H, W)``; returned as they are if nothing differs.
        student: Made the batch.
        teacher: Of the teacher.
    """
    if student.scale == teacher.scale:
        return images
    return (images * student.std + student.mean - teacher.mean) / teacher.std
