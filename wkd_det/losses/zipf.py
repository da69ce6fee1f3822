"""Zipf's label smoothing: the other classes get 1, 1/2, 1/3, ... by rank, and no teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import (
    check_booleans,
    check_integer_type,
    check_integers,
    check_logits,
    check_nonnegative,
    check_range,
    check_tensors,
    plain_number,
)
from wkd_det.ops.divergences import categorical_kl
from wkd_det.ops.logits import hard_target, without_target


def zipf_loss(
    student: Tensor,
    target: Tensor,
    votes: Tensor | None = None,
    *,
    power: float = 1.0,
    mask: bool = False,
) -> Tensor:
    r"""Divergence from a distribution by Zipf's law over the other classes to the student's.

    .. math:: L = KL(q \Vert \hat p), \quad q_k \propto r_k^{-a}, \quad k \ne t

    with :math:`\hat p` the softmax of the logits without the target, and :math:`r` the rank of a
    class by the votes of the pixels of its image, or by the student's own logits.

    Convention:
        - Classes of equal votes share the best rank, so all without a vote are equal. The target
          takes its rank from the others: it is left out afterwards.
        - Mean over samples, or with ``mask`` over those that the student gets right; 0 if there are
          none. The distribution gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Soft labels, shape ``(N, C)``, stand
            for their most probable class; the authors have none.
        votes: Class that each of P pixels votes for, integers, shape ``(N, P)``; None: the rank is
            that of the student's logits.
        power: :math:`a` >= 0.
        mask: Leave out samples whose highest logit is not the target's.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` or ``votes`` do
            not fit the logits, or there is only one class.

    References: Liang et al., Efficient One Pass Self-distillation with Zipf's Label Smoothing, ECCV
        2022; their weight is 0.1 on CIFAR-100 and ImageNet, 1 on Tiny ImageNet and iNaturalist.
    """
    check_tensors(student=student)
    check_logits(student, student)
    index = hard_target(target, student, "Zipf's label smoothing")
    check_nonnegative(power=power)
    if votes is not None:
        _check_votes(votes, student)
    with without_autocast(student):
        (student,) = promote(student)
        scores = student.detach() if votes is None else _counts(votes, student)
        goal = zipf_distribution(scores, index, power)
        per_sample = categorical_kl(goal.log(), without_target(student, index).log_softmax(dim=1))
        if not mask:
            return per_sample.sum() / max(len(student), 1)
        right = student.argmax(dim=1) == index
        return (per_sample * right).sum() / right.sum().clamp(min=1)


def zipf_distribution(scores: Tensor, index: Tensor, power: float = 1.0) -> Tensor:
    """Distribution over the other classes that falls with a power of their rank.

    Args:
        scores: The higher, the better the rank; equal ones share the best; shape ``(N, C)``.
        index: Classes that are left out after ranking, shape ``(N,)`` or ``(N, M)``.
        power: Exponent of the rank.

    Returns:
        Shape ``(N, C - 1)`` or ``(N, C - M)``; no gradient.

    >>> zipf_distribution(torch.tensor([[9.0, 7.0, 7.0, 1.0]]), torch.tensor([0]))  # 1/2 1/2 1/4
    tensor([[0.4000, 0.4000, 0.2000]])
    """
    scores = scores.detach()
    ascending = scores.sort(dim=1).values
    higher = scores.shape[1] - torch.searchsorted(ascending, scores.contiguous(), right=True)
    law = without_target((1.0 + higher).to(scores.dtype) ** -power, index)
    return law / law.sum(dim=1, keepdim=True)


def _counts(votes: Tensor, logits: Tensor) -> Tensor:
    """Number of votes for each class, ``(N, C)``."""
    votes = votes.long()
    ones = torch.ones_like(votes, dtype=logits.dtype)
    return torch.zeros_like(logits).scatter_add(1, votes, ones)


def _check_votes(votes: Tensor, logits: Tensor) -> None:
    check_tensors(votes=votes)
    samples, classes = logits.shape
    if votes.dim() != 2 or len(votes) != samples:
        raise ValueError(f'votes must have the shape ({samples}, P), got {tuple(votes.shape)}')
    check_integer_type('votes', votes)
    check_range('votes', votes, classes)


class ZipfLoss(Loss):
    """Zipf's label smoothing, ranked by the votes of the pixels of the student's last map.

    Each pixel votes for the class that the student's own last layer gives it. No teacher.

    Args:
        upsample: Factor by which the map is enlarged first, bilinear: 2 in the authors' CIFAR
            networks.
        own_logits: Rank by the student's logits instead of votes.
        power: Exponent of the rank, >= 0.
        mask: Leave out samples that the student gets wrong.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.zipf_loss` for formula, conventions and source. The auxiliary
    heads of the authors' other implementation are not here.
    """

    takes: ClassVar[str] = 'features'
    needs: tuple[str, ...] = ('target', 'student_logits', 'student_head')
    needs_teacher: ClassVar[bool] = False

    def __init__(
        self,
        *,
        upsample: int = 1,
        own_logits: bool = False,
        power: float = 1.0,
        mask: bool = False,
        loss_weight: float = 0.1,
    ) -> None:
        check_booleans(own_logits=own_logits, mask=mask)
        super().__init__(loss_weight)
        check_integers(upsample=upsample)
        check_nonnegative(power=power)
        self.upsample = plain_number(upsample)
        self.own_logits = own_logits
        self.power = plain_number(power)
        self.mask = mask

    def forward(
        self,
        student: Tensor,
        target: Tensor,
        student_logits: Tensor,
        student_head: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Loss of logits ``(N, C)`` and the map that they were made of, scalar.

        Args:
            student: Last map, shape ``(N, D, H, W)``.
            target: Class indices, shape ``(N,)``, or soft labels, shape ``(N, C)``.
            student_logits: Shape ``(N, C)``.
            student_head: The network's last layer: vectors ``(..., D)`` to logits ``(..., C)``.
        """
        votes = None if self.own_logits else self.votes(student, student_head)
        value = zipf_loss(student_logits, target, votes, power=self.power, mask=self.mask)
        return self.loss_weight * value

    @torch.no_grad()
    def votes(self, features: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
        """Class of each pixel of a map ``(N, D, H, W)``, shape ``(N, P)``."""
        with without_autocast(features):
            (features,) = promote(features)
            if self.upsample > 1:
                features = F.interpolate(features, scale_factor=self.upsample, mode='bilinear')
            return head(features.flatten(2).transpose(1, 2)).argmax(dim=2)
