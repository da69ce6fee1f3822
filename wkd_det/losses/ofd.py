"""OFD: maps before the ReLU, compared where the teacher's sign makes a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import are_names, check_tensors, level_masks
from wkd_det.ops.maps import without_padding

_LEAST_SHARE = 1e-3  # of negative values; below it the margin is a multiple of the deviation


def ofd_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    margin: Sequence[Tensor],
    *,
    mask: Sequence[Tensor | None] | None = None,
) -> Tensor:
    r"""Partial squared distance of maps before the ReLU: overhaul of feature distillation.

    At stage :math:`i` of :math:`n`, with the teacher's values raised to a negative margin per
    channel, :math:`t' = \max(t, m)`,

    .. math::
        2^{-(n - 1 - i)} \frac1N \sum (s - t')^2 \, [s > t' \text{ or } t' > 0]

    A student's value that is below the margin where the teacher's is negative is left alone:
    the ReLU makes both 0.

    Convention:
        - Sum over channels and the pixels that count, mean over images, sum over stages.
        - The teacher gets no gradient.

    Args:
        student: Maps from the first stage to the last, after connectors, each ``(N, C, H, W)``; any
            floating type, computed in at least float32.
        teacher: Maps of the same shapes, before the ReLU.
        margin: :math:`m` of each stage, shape ``(C,)``; see :func:`ofd_margin`.
        mask: Bool, each ``(N, H, W)``: pixels that count; None for all.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a level is no tensor, or one tensor stands for all levels.
        ValueError: If levels or shapes disagree.

    References: Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019; factors
        are those of its code.

    Example:
        >>> teacher = torch.tensor([1.0, -5.0, -5.0]).view(1, 1, 1, 3)
        >>> student = torch.tensor([0.0, 0.0, -7.0]).view(1, 1, 1, 3)
        >>> ofd_loss([student], [teacher], [torch.tensor([-2.0])])  # 1^2 + 2^2; -7 is below -2
        tensor(5.)
    """
    masks = level_masks(student, teacher, mask)
    if len(margin) != len(student):
        raise ValueError(
            f'margin must have one tensor for each of {len(student)} stages, got {len(margin)}'
        )
    total = 0.0
    for stage, (own, other, least, inside) in enumerate(zip(student, teacher, margin, masks)):
        check_tensors(**{f'margin[{stage}]': least})
        if least.shape != own.shape[1:2]:
            raise ValueError(
                f'margin[{stage}] must have one number for each of {own.shape[1]} channels, got '
                f'the shape {tuple(least.shape)}'
            )
        with without_autocast(own):
            own, other, least = promote(own, other.detach(), least.detach())
            own, other = without_padding(own, inside), without_padding(other, inside)
            other = torch.maximum(other, least[:, None, None])
            counts = (own > other) | (other > 0)
            if inside is not None:
                counts = counts & inside[:, None]
            square = (own - other).square() * counts
            factor = 2.0 ** (stage + 1 - len(student))
            total = total + factor * square.sum() / max(len(own), 1)
    return total


def ofd_margin(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Expected value of what is negative behind a batch normalisation, per channel.

    For a channel that is normal with mean :math:`b` (the bias) and deviation :math:`w` (the
    weight's absolute value),

    .. math::
        m = E[x \mid x < 0] = b - \frac{w}{\sqrt{2 \pi}} \frac{e^{-(b / w)^2 / 2}}{\Phi(-b / w)}

    and :math:`-3 w` where less than a thousandth is negative.

    Args:
        weight: Shape ``(C,)``.
        bias: Shape ``(C,)``.

    Returns:
        Shape ``(C,)``, <= 0.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If the shapes differ.

    >>> ofd_margin(torch.ones(1), torch.zeros(1)).round(decimals=4)  # half a normal: -sqrt(2 / pi)
    tensor([-0.7979])
    """
    check_tensors(weight=weight, bias=bias)
    if weight.dim() != 1 or weight.shape != bias.shape:
        raise ValueError(
            f'weight and bias must share a shape (C,), got {tuple(weight.shape)} and '
            f'{tuple(bias.shape)}'
        )
    (weight, bias), kept = (one.detach().double() for one in (weight, bias)), weight
    deviation = weight.abs()
    ratio = bias / deviation.clamp(min=torch.finfo(torch.float64).tiny)
    share = torch.special.ndtr(-ratio)
    density = (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    mean = bias - deviation * density / share.clamp(min=_LEAST_SHARE)
    return torch.where(share > _LEAST_SHARE, mean, -3 * deviation).to(kept.dtype)


class OFDLoss(Loss):
    """Partial squared distance of maps before the ReLU (OFD).

    It compares the inputs of the ReLUs, the place ``stages_before`` of classifiers, behind a
    ``ConvConnector()`` at each stage in the published code. The margins come from the teacher's
    batch normalisations, once, when training starts. (The published code runs the teacher in
    training mode; here it is in evaluation mode.)

    Args:
        teacher_channels: Width of the maps of each stage; set by the tap.
        teacher_norms: Batch normalisations of the teacher before these ReLUs, one per stage: names
            of modules, e.g. ``['layer1.4.bn2', ...]``, or the name of a place.
        loss_weight: Factor of the loss, >= 0; 1e-3 on CIFAR-100, 1e-4 on ImageNet.

    Raises:
        ValueError: If ``teacher_norms`` are no names or ``loss_weight`` is negative.

    See :func:`wkd_det.functional.ofd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'pyramid'

    def __init__(
        self,
        *,
        teacher_channels: Sequence[int],
        teacher_norms: str | Sequence[str] = 'norms_before',
        loss_weight: float = 1e-3,
    ) -> None:
        super().__init__(loss_weight)
        names = [teacher_norms] if isinstance(teacher_norms, str) else teacher_norms
        if not are_names(names):
            raise ValueError(
                f'teacher_norms must be the name of a place or names of modules, got '
                f'{teacher_norms!r}'
            )
        self.teacher_modules = tuple(names)
        self.num_stages = len(teacher_channels)
        for stage, width in enumerate(teacher_channels):
            # They follow from the teacher: checkpoints need none.
            self.register_buffer(f'margin_{stage}', torch.zeros(int(width)), persistent=False)

    @property
    def margins(self) -> list[Tensor]:
        """Margin of each stage, shape ``(C,)``."""
        return [self.get_buffer(f'margin_{stage}') for stage in range(self.num_stages)]

    def set_teacher_modules(self, modules: Sequence[nn.Module]) -> None:
        """Take the margins from the batch normalisations that ``teacher_norms`` name.

        Raises:
            ValueError: If there is not one per stage, or one is no batch normalisation with weight
                and bias, or of another width.
        """
        if len(modules) != self.num_stages:
            raise ValueError(
                f'teacher_norms must be {self.num_stages}, one for each stage, got '
                f'{list(self.teacher_modules)} of {len(modules)} modules'
            )
        for stage, (norm, margin) in enumerate(zip(modules, self.margins)):
            if not isinstance(norm, _BatchNorm) or norm.weight is None:
                raise ValueError(
                    f'teacher_norms[{stage}] must be a batch normalisation with weight and bias, '
                    f'got {type(norm).__name__}'
                )
            if norm.weight.shape != margin.shape:
                raise ValueError(
                    f'teacher_norms[{stage}] must have {len(margin)} channels as the map, got '
                    f'{len(norm.weight)}'
                )
            margin.copy_(ofd_margin(norm.weight, norm.bias))

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        mask: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Loss of maps, each ``(N, C, H, W)``, scalar; ``mask``: pixels, each ``(N, H, W)``."""
        return self.loss_weight * ofd_loss(student, teacher, self.margins, mask=mask)
