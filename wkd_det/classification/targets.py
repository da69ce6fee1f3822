"""Targets of a batch: labels, hard or soft or missing, sample indices and second views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

UNLABELLED = -1
"""Label of an image whose class nobody knows."""


class Sample(NamedTuple):
    """An image of a data set with more than a label; one without is a pair of image and label."""

    image: Tensor
    """Bytes, shape ``(C, H, W)``."""
    label: int | Tensor
    """Class, or a probability per class, shape ``(C,)``."""
    index: int | None = None
    """Place of the image in its data set."""
    strong: Tensor | None = None
    """The image after the strong transforms too."""
    stored: Mapping[str, Tensor] | None = None
    """Outputs of a teacher for this image and its augmentation, by module; ``''`` the logits."""


@dataclass(frozen=True)
class Targets:
    """Labels of a batch and what else belongs to its images.

    A batch that has nothing but labels carries them as a plain tensor; :meth:`of` reads both.
    """

    labels: Tensor
    """Classes ``(N,)``, -1 where there is none, or probabilities ``(N, C)``."""
    indices: Tensor | None = None
    """Places of the images in the data set, integers ``(N,)``; None if it does not give them."""
    labelled: Tensor | None = None
    """Whether an image has a label, bool ``(N,)``; None where all must have one."""
    strong: Tensor | None = None
    """Second view of the images, normalised, ``(N, C, H, W)``; None if there is one view."""
    stored: Mapping[str, Tensor] | None = None
    """Stored outputs of a teacher by module, float32, ``(N, ...)``; ``''`` stands for its logits
    in its own classes. None without such."""
    whole: Tensor | None = None
    """The images before they were resized, normalised, ``(N, C, H, W)``: those that ``stored``
    belongs to. None where nothing is stored, or the images of the batch have that size."""

    @classmethod
    def of(cls, targets: Tensor | Targets) -> Targets:
        """Return targets as they are, and plain labels as targets without anything else.

        >>> import torch
        >>> Targets.of(torch.tensor([3, 1])).labels
        tensor([3, 1])
        """
        return targets if isinstance(targets, Targets) else cls(targets)

    @property
    def are_soft(self) -> bool:
        """Whether each image has a probability per class."""
        return self.labels.dim() == 2


def check_soft_labels(labels: Tensor, num_classes: int | None) -> None:
    """Raise unless each row is a distribution over the classes.

    Args:
        labels: Floats, shape ``(N, C)``.
        num_classes: The ``C`` that is expected; None for any.

    Raises:
        ValueError: With shapes, or the first row that is no distribution.
    """
    if num_classes is not None and labels.shape[1] != num_classes:
        raise ValueError(
            f'soft labels must have the shape (N, {num_classes}), one probability per class of the '
            f'network, got {tuple(labels.shape)}'
        )
    values = labels.float()
    sums = values.sum(dim=1)
    # Half precision rounds each of up to thousands of classes by 1e-3 of its value.
    fits = (values >= 0).all(dim=1) & ((sums - 1).abs() < 1e-2)
    if not fits.all():
        index = int((~fits).nonzero()[0])
        raise ValueError(
            'soft labels must be probabilities that sum to 1 for each image, got values from '
            f'{values[index].min():.4g} with the sum {sums[index]:.4g} (image {index} of the batch)'
        )


def check_hard_labels(labels: Tensor, num_classes: int, *, allow_unlabelled: bool) -> None:
    """Raise if a label lies outside the classes.

    Args:
        labels: Integers, shape ``(N,)``.
        num_classes: Number of classes of the network.
        allow_unlabelled: Let -1 through, for images without a label.

    Raises:
        ValueError: With the first such label.
    """
    wrong = (labels < 0) | (labels >= num_classes)
    if allow_unlabelled:
        wrong &= labels != UNLABELLED
    if wrong.any():
        index = int(wrong.nonzero()[0])
        label = int(labels[index])
        hint = '' if label != UNLABELLED else _HINT
        raise ValueError(
            f'labels must lie in [0, {num_classes}), the classes of the network, got {label} '
            f'(image {index} of the batch){hint}'
        )


_HINT = (
    '; where images may lack a label, set allow_unlabelled=True in the data_preprocessor, '
    'which leaves them out of the cross entropy'
)
