"""DPK: features compared after the teacher's stand in for a share of the student's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.losses.icd import grid_code
from wkd_det.losses.linear import Linear
from wkd_det.losses.transformer import TransformerBlock
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.checks import (
    check_integers,
    check_maps,
    check_tensors,
    plain_number,
)

_LEAST_SAMPLES = 4  # of an unbiased estimate


def unbiased_cka(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Linear centred kernel alignment of a batch in two networks, without bias.

    .. math::
        \frac{h(K, L)}{\sqrt{h(K, K)\, h(L, L)}}, \qquad
        h(K, L) = \operatorname{tr} K L + \frac{1^T K 1 \; 1^T L 1}{(n - 1)(n - 2)}
        - \frac{2}{n - 2} 1^T K L 1

    with the Gram matrices :math:`K, L` of the ``n`` samples, whose diagonals are set to 0. The
    plain alignment (:func:`wkd_det.functional.cka`) of vectors that are longer than ``n`` is
    close to 1 whatever they hold, as maps are in a batch; the expectation of this one is 0 for
    vectors that have nothing in common.

    Convention:
        - Below 0, which noise can give, it is 0. Samples that are all alike have the alignment 0.
        - Neither side gets a gradient.

    Args:
        student: Shape ``(n, ...)``, ``n >= 4``; computed in at least float32.
        teacher: Shape ``(n, ...)``.

    Returns:
        Scalar in [0, 1].

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If the numbers of samples differ or are below 4.

    References: Nguyen, Raghu, Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR
        2021 (the estimate from a batch); Song et al., Feature Selection via Dependence
        Maximization, JMLR 2012 (without bias).
    """
    check_tensors(student=student, teacher=teacher)
    if len(student) != len(teacher) or len(student) < _LEAST_SAMPLES:
        raise ValueError(
            f'student and teacher must have the same number of samples, at least {_LEAST_SAMPLES}, '
            f'got {len(student)} and {len(teacher)}'
        )
    with without_autocast(student), torch.no_grad():
        own, other = (_gram(maps) for maps in promote(student, teacher))
        size = (_dependence(own, own) * _dependence(other, other)).clamp(min=0).sqrt()
        alignment = _dependence(own, other) / size
        return torch.where(size > 0, alignment, torch.zeros_like(size)).clamp(0, 1)


def _gram(maps: Tensor) -> Tensor:
    vectors = maps.flatten(1)
    vectors = vectors - vectors.mean(dim=0)
    # Alignment ignores the scale; squares of large values do not overflow.
    vectors = vectors / vectors.norm().clamp(min=torch.finfo(vectors.dtype).tiny)
    return matrix_product(vectors, vectors.mT).fill_diagonal_(0)


def _dependence(own: Tensor, other: Tensor) -> Tensor:
    count = len(own)
    sums = own.sum() * other.sum() / ((count - 1) * (count - 2))
    crossed = own.sum(dim=0) @ other.sum(dim=0)
    return (own * other).sum() + sums - 2 / (count - 2) * crossed


class DPKLoss(Loss):
    r"""Squared distance of features, with the teacher's in a share of the places (DPK).

    There is no public code, and this is a reading of the paper's outline, not a reproduction:
    sizes, depths, patches and weights are choices of this package.

    Per stage, the student's map in the teacher's width is cut into patches. In a share of them,
    drawn per image, the teacher's values take their place, as prior knowledge of what is wanted.
    A small Transformer, encoder and decoder, makes a map :math:`D` of the mixture, and

    .. math:: L = \sum_{stage} MSE(D, F_T), \qquad share = 1 - CKA(F_S, F_T)

    with :func:`wkd_det.functional.unbiased_cka` of the student's own map and the teacher's in
    the batch: the more alike they are, the less the teacher helps.

    Convention:
        - Mean over images, channels and pixels; sum over stages.
        - The share gets no gradient. In a batch of less than 4 images it is 1/2.
        - Patches are drawn at every call, from torch's random state.
        - Everything is computed in the precision of the weights, without autocast.

    Args:
        student_channels: Width of the student's map per stage; set by the tap.
        teacher_channels: Width of the teacher's; set by the tap.
        teacher_size: Height and width of the teacher's map per stage; set by the tap.
        width: Width of the tokens, a multiple of 4 and of ``num_heads``.
        num_heads: Number of attention heads.
        encoder_depth: Transformer blocks of the encoder.
        decoder_depth: Transformer blocks of the decoder.
        max_side: Most patches along a side: patches have the smallest side that divides the map
            and leaves no more.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If numbers of stages differ, a number is outside its range or a size is not
            known.

    References: Qiu et al., Better Teacher Better Student: Dynamic Prior Knowledge for Knowledge
        Distillation, ICLR 2023.
    """

    takes: ClassVar[str] = 'pyramid'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        teacher_size: Sequence[tuple[int, int] | None],
        width: int = 256,
        num_heads: int = 8,
        encoder_depth: int = 2,
        decoder_depth: int = 1,
        max_side: int = 8,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_integers(width=width, num_heads=num_heads, max_side=max_side)
        check_integers(encoder_depth=encoder_depth, decoder_depth=decoder_depth)
        width, num_heads, max_side = map(plain_number, (width, num_heads, max_side))
        depth = plain_number(encoder_depth) + plain_number(decoder_depth)
        if width % 4 or width % num_heads:
            raise ValueError(
                f'width must be a multiple of 4 and of num_heads, got {width} and {num_heads}'
            )
        counts = [len(student_channels), len(teacher_channels), len(teacher_size)]
        if len(set(counts)) > 1:
            raise ValueError(
                'student_channels, teacher_channels and teacher_size must name the same number of '
                f'stages, got {counts[0]}, {counts[1]} and {counts[2]}'
            )
        if None in teacher_size:
            raise ValueError('DPKLoss needs the sizes of the maps, and teacher_size is not known')
        self.stages = nn.ModuleList(
            _Stage(own, other, _patch(size, max_side), width, num_heads, depth)
            for own, other, size in zip(student_channels, teacher_channels, teacher_size)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Loss of maps, each ``(N, C_s, H, W)`` and ``(N, C_t, H, W)``, scalar."""
        if not len(student) == len(teacher) == len(self.stages):
            raise ValueError(
                f'student and teacher must have {len(self.stages)} stages, got {len(student)} and '
                f'{len(teacher)}'
            )
        for own, other in zip(student, teacher):
            check_maps(own, other, None, same_width=False)
        if len(student[0]) == 0:
            return sum(maps.sum() for maps in student) * 0.0
        with without_autocast(student[0]):
            values = [stage(*maps) for stage, *maps in zip(self.stages, student, teacher)]
            return self.loss_weight * torch.stack(values).sum()


class _Stage(nn.Module):
    """Networks of one stage."""

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        patch: tuple[int, int],
        width: int,
        num_heads: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Conv2d(student_channels, teacher_channels, 1)
        self.embed = nn.Conv2d(teacher_channels, width, patch, stride=patch)
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, num_heads, exact=True) for _ in range(depth)),
            nn.LayerNorm(width),
        )
        self.restore = Linear(width, teacher_channels * patch[0] * patch[1])

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of maps ``(N, C_s, H, W)`` and ``(N, C_t, H, W)``, scalar."""
        if any(length % side for length, side in zip(teacher.shape[-2:], self.patch)):
            raise ValueError(
                f'patches of {self.patch[0]} x {self.patch[1]} must divide the maps, got '
                f'{teacher.shape[-2]} x {teacher.shape[-1]}: teacher_size was another one'
            )
        teacher = teacher.detach().to(self.restore.weight)
        student = student.to(self.restore.weight)
        count = len(student)
        share = 0.5 if count < _LEAST_SAMPLES else 1 - unbiased_cka(student, teacher)
        size = [length // side for length, side in zip(teacher.shape[-2:], self.patch)]
        is_given = drawn_places(share, count, size, student.device)
        for axis, side in zip((2, 3), self.patch):
            is_given = is_given.repeat_interleave(side, dim=axis)
        mixture = torch.where(is_given, teacher, self.project(student))
        tokens = self.embed(mixture)
        inside = torch.zeros_like(tokens[:, 0], dtype=torch.bool)
        tokens = tokens + grid_code(inside, tokens.shape[1]).to(tokens)
        patches = self.restore(self.blocks(tokens.flatten(2).mT)).mT
        restored = F.fold(patches, tuple(teacher.shape[-2:]), self.patch, stride=self.patch)
        return F.mse_loss(restored, teacher)


def drawn_places(
    share: Tensor | float, count: int, size: Sequence[int], device: torch.device
) -> Tensor:
    """Draw a share of the places of a grid per image, from torch's random state.

    Args:
        share: In [0, 1]; the number of places is rounded.
        count: Number of images.
        size: Height and width of the grid.
        device: Where the result is made.

    Returns:
        Bool, shape ``(count, 1, height, width)``.
    """
    places = size[0] * size[1]
    ranks = torch.rand(count, places, device=device).argsort(dim=1).argsort(dim=1)
    return (ranks + 0.5 < share * places).view(count, 1, *size)


def _patch(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Height and width of the patches of a map."""
    sides = [[side for side in range(1, length + 1) if length % side == 0] for length in size]
    height, width = (
        next(side for side in each if length // side <= max_side)
        for length, each in zip(size, sides)
    )
    return height, width
