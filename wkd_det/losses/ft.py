"""FT: factors of both networks' maps, made by a paraphraser and a translator."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.batch_norm import normalise_single_values
from wkd_det.ops.checks import (
    check_booleans,
    check_integers,
    check_maps,
    check_positive,
    plain_number,
)
from wkd_det.ops.maps import energy, mean_per_image, on_common_grid, without_padding


def ft_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Absolute distance of factors: factor transfer.

    .. math::
        \frac1{H W} \lVert a_T - a_S \rVert_1, \qquad
        a = \frac{v}{\lVert v \rVert}, \quad v_x = \frac1C \sum_c f_{cx}^2

    Convention:
        - Mean over the pixels that count, mean over images.
        - The paper compares the factors themselves at length 1; this is RepDistiller's form, which
          compares the energy of their pixels.
        - The widths may differ. The larger of two maps is averaged over the cells of the smaller
          one's grid first.
        - The teacher gets no gradient.

    Args:
        student: Factor of the student's map, shape ``(N, C, H, W)``; any floating type, computed
            in at least float32.
        teacher: Factor of the teacher's, ``(N, C', H', W')``; of the same size where there is a
            mask.
        mask: Bool, shape ``(N, H, W)``: pixels that count.
        weight: Weight of each image, shape ``(N,)``.
        avg_factor: Divisor of the sum over images; their number by default.

    Returns:
        Scalar. No images give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Kim, Park, Kwak, Paraphrasing Complex Network: Network Compression via Factor
        Transfer, NeurIPS 2018.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
        >>> ft_loss(student, teacher)  # (1, 0) and (0, 1)
        tensor(1.)
    """
    check_maps(student, teacher, mask, same_size=mask is not None, same_width=False)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        student, teacher, mask = on_common_grid(student, teacher, mask)
        change = energy(student, mask) - energy(teacher, mask)
        return weighted_mean(mean_per_image(change.abs(), mask), weight, avg_factor)


class FTLoss(Loss):
    r"""Absolute distance of factors of the maps (FT).

    A paraphraser makes a factor of the teacher's map and rebuilds the map from it; a translator
    makes the student's factor. Training has two runs. In the first, ``pretraining=True``, the loss
    is the mean squared error of the rebuilt map and trains the paraphraser alone (with
    ``ce_weight=0``, for 30 epochs in the reference). The second loads the checkpoint of the first
    by ``load_from``: the paraphraser is frozen, and the translator's factor is compared with its
    factor.

    Each factor is made by three 3 x 3 convolutions with LeakyReLUs of slope 0.1, the translator's
    with batch normalisation; three more rebuild the map.

    Args:
        student_channels: Width of the student's map; set by the tap.
        teacher_channels: Width of the teacher's map; set by the tap.
        rate: Width of the factors in units of the teacher's, > 0.
        pretraining: Train the paraphraser instead of the student.
        loss_weight: Factor of the loss, >= 0; 200 in RepDistiller.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.ft_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        rate: float = 0.5,
        pretraining: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(pretraining=pretraining)
        super().__init__(loss_weight)
        check_positive(rate=rate)
        check_integers(student_channels=student_channels, teacher_channels=teacher_channels)
        own, other = int(student_channels), int(teacher_channels)
        width = max(int(other * plain_number(rate)), 1)
        self.pretraining = pretraining
        self.paraphraser = _factor(other, width, norm=False)
        self.rebuilder = _rebuilder(width, other)
        self.translator = _factor(own, width, norm=True)
        # Weight decay would change what has no gradient.
        self.paraphraser.requires_grad_(pretraining)
        self.rebuilder.requires_grad_(pretraining)
        self.translator.requires_grad_(not pretraining)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of feature maps ``(N, C, H, W)``, scalar; ``mask`` ``(N, H, W)``: which count."""
        check_maps(student, teacher, mask, same_size=mask is not None, same_width=False)
        like = self.paraphraser[0].weight
        with without_autocast(student):
            teacher = without_padding(teacher.detach().to(like), mask)
            factor = self.paraphraser(teacher)
            if self.pretraining:
                change = self.rebuilder(factor) - teacher
                return self.loss_weight * weighted_mean(mean_per_image(change.square(), mask))
            with normalise_single_values(self.translator, student):
                own = self.translator(without_padding(student.to(like), mask))
        return self.loss_weight * ft_loss(own, factor, mask=mask)


def _layers(widths: list[int], norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:]):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.1))
    return layers


def _factor(channels: int, width: int, *, norm: bool) -> nn.Sequential:
    return nn.Sequential(*_layers([channels, channels, width, width], norm))


def _rebuilder(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*_layers([width, width, channels, channels], norm=False))
