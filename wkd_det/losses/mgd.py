"""MGD: the teacher's map, generated from the student's with a part of it taken out."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import (
    check_choice,
    check_integers,
    check_maps,
    check_nonnegative,
    check_tensors,
    is_number,
    plain_number,
)
from wkd_det.ops.maps import without_padding

UNITS = ('channel', 'pixel')


def mgd_loss(
    student: Tensor,
    teacher: Tensor,
    generator: Callable[[Tensor], Tensor],
    *,
    alpha: float = 7e-5,
    ratio: float = 0.15,
    unit: str = 'channel',
    uniform: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Squared distance of the teacher's map and one generated from the masked student's.

    .. math:: \frac{\alpha}{N} \sum \bigl( G(m \odot f_S) - f_T \bigr)^2

    where :math:`m` is 0 with the probability ``ratio`` and 1 otherwise, drawn for each channel of
    each image (the code for classifiers) or for each pixel of it (the code for detectors).

    Convention:
        - Sum over channels and the pixels that count, mean over images: ``alpha`` belongs to a
          width and a size.
        - What stays is not scaled up.
        - The teacher gets no gradient, the generator does.

    Args:
        student: Shape ``(N, C, H, W)``; any floating type.
        teacher: Same shape.
        generator: Takes and returns maps ``(N, C, H, W)``.
        alpha: Factor, >= 0.
        ratio: Share that is taken out, in ``[0, 1]``.
        unit: ``'channel'`` or ``'pixel'``: what is taken out.
        uniform: Numbers in ``[0, 1)`` instead of those drawn from torch's random state, shape
            ``(N, C, 1, 1)`` for channels, ``(N, 1, H, W)`` for pixels. Channels stay where they are
            at least ``ratio``, pixels where they are at most ``1 - ratio``, as in the two codes.
        mask: Bool, shape ``(N, H, W)``: pixels that count. Padding enters the generator as 0.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range or ``unit`` is unknown.

    References: Yang et al., Masked Generative Distillation, ECCV 2022. The paper masks pixels
        throughout; channels are what its code for classifiers masks.

    Example:
        >>> student = torch.zeros(2, 3, 4, 4)
        >>> mgd_loss(student, student + 2, lambda maps: maps, alpha=0.5)  # 3 * 16 * 2^2 / 2
        tensor(96.)
    """
    check_maps(student, teacher, mask)
    _check_options(ratio, unit)
    check_nonnegative(alpha=alpha)
    samples, channels, height, width = student.shape
    shape = (samples, channels, 1, 1) if unit == 'channel' else (samples, 1, height, width)
    if uniform is None:
        uniform = torch.rand(shape, device=student.device)
    check_tensors(uniform=uniform)
    if uniform.shape != shape:
        raise ValueError(f'uniform must have the shape {shape}, got {tuple(uniform.shape)}')
    kept = uniform >= ratio if unit == 'channel' else uniform <= 1 - ratio
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        masked = without_padding(student, mask) * kept
        change = without_padding(generator(masked), mask) - without_padding(teacher, mask)
        return alpha * change.square().sum() / max(samples, 1)


def _check_options(ratio: float, unit: str) -> None:
    """Raise if the share is none or the unit is unknown.

    Raises:
        ValueError: With the value.
    """
    if not is_number(ratio) or not 0 <= ratio <= 1:
        raise ValueError(f'ratio must lie in [0, 1], got {ratio!r}')
    check_choice(UNITS, unit=unit)


class MGDLoss(Loss):
    """Squared distance of the teacher's map and one generated from the masked student's (MGD).

    The generator, two 3 x 3 convolutions with a ReLU between, belongs to the loss and is trained
    with the student. All maps that one term compares share it: where each level of a pyramid is to
    have a generator of its own, as in the published code for detectors, each level is a term.

    Args:
        teacher_channels: Width of the maps; set by the tap. Where the student's width differs,
            the published code has a 1 x 1 convolution with bias before:
            ``ConvConnector(norm_cfg=None)``.
        alpha: Factor of the sum over channels and pixels, >= 0. Published: 7e-5 on ImageNet with
            ``ratio`` 0.15; 2e-5 with 0.65 for one-stage and 5e-7 with 0.45 for two-stage detectors.
        ratio: Share that is taken out, in ``[0, 1]``.
        unit: ``'channel'`` for classifiers or ``'pixel'`` for detectors: what is taken out.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range or ``unit`` is unknown.

    See :func:`wkd_det.functional.mgd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'

    def __init__(
        self,
        *,
        teacher_channels: int,
        alpha: float = 7e-5,
        ratio: float = 0.15,
        unit: str = 'channel',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_nonnegative(alpha=alpha)
        check_integers(teacher_channels=teacher_channels)
        _check_options(ratio, unit)
        width = int(teacher_channels)
        self.alpha, self.ratio = plain_number(alpha), plain_number(ratio)
        self.unit = unit
        self.generator = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: which count."""
        like = self.generator[0].weight
        return self.loss_weight * mgd_loss(
            student,
            teacher,
            lambda maps: self.generator(maps.to(like)),
            alpha=self.alpha,
            ratio=self.ratio,
            unit=self.unit,
            mask=mask,
        )
