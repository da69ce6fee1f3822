"""USKD: customised soft labels from the student's own logits and a classifier on a middle map."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.losses.icd_queries import Linear
from wkd_det.losses.zipf import zipf_distribution
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import (
    check_integers,
    check_logits,
    check_nonnegative,
    check_tensors,
    plain_number,
)
from wkd_det.ops.divergences import categorical_cross_entropy
from wkd_det.ops.logits import hard_target, target_distribution, without_target

_GUARD = 1e-6  # of what is left of 1; the reference's value
_SMOOTHING = 0.1  # of the label that the classifier of the middle map learns


def uskd_loss(
    student: Tensor,
    weak: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 0.1,
    mu: float = 0.005,
) -> Tensor:
    r"""Self-knowledge distillation with soft labels for the target and for the other classes.

    .. math::
        L = -\alpha \, v \log p_t - \beta \sum_{k \ne t} q_k \log \hat p_k
        - \mu \sum_k (0.9 \cdot 1_{k = t} + 0.1 / C) \log w_k

    with :math:`p` and :math:`w` the softmaxes of the student's and of the weak logits, and
    :math:`\hat p` the softmax of the student's without the target. The target's label is
    :math:`v = 1 + p_t^2 - \overline{p_t^2}`, with the mean over the batch; the others' is Zipf's
    law, :math:`q_k \propto 1 / r_k`, by the rank of

    .. math:: \frac{w_k}{1 - w_t + 10^{-6}} + \frac{\log p_k}{1 - \log p_t + 10^{-6}}.

    Convention:
        - The score takes the student's *logarithms*, as the authors' code does.
        - Mean over samples; :math:`v` couples those of a batch (of each process).
        - :math:`v` and :math:`q` get no gradient: the weak logits get one from the last part alone.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        weak: Logits of the classifier on a middle map, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Of soft labels, shape ``(N, C)``, the
            two most probable classes are targets, as in the code: each with its probability in
            place of the 1 in :math:`v` (none where it is 0), the denominators less both, both left
            out of the others; the last part takes the soft labels as they are.
        alpha: Weight of the target, >= 0.
        beta: Weight of the other classes, >= 0.
        mu: Weight of the weak logits, >= 0.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` does not fit the
            logits, or there are fewer than 2 classes, 3 with soft labels.

    References: Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A Unified
        Approach with Normalized Loss and Customized Soft Labels, ICCV 2023; the defaults are those
        of its ImageNet experiments (CIFAR-100: 0.1 each).
    """
    check_tensors(weak=weak)
    check_logits(student, weak)
    check_nonnegative(alpha=alpha, beta=beta, mu=mu)
    with without_autocast(student):
        student, weak = promote(student, weak)
        index, share = _targets(target, student)
        if not len(student):
            return student.sum() + weak.sum()
        logs, weak_logs = student.log_softmax(dim=1), weak.log_softmax(dim=1)
        with torch.no_grad():
            probability = weak_logs.exp()
            score = probability / (1 - _sum_at(probability, index) + _GUARD)
            score = score + logs / (1 - _sum_at(logs, index) + _GUARD)
            others = zipf_distribution(score, index)
            squared = logs.gather(1, index).exp().square()
            label = (share + squared - squared.mean(dim=0)).where(share > 0, 0)
            smooth = (1 - _SMOOTHING) * target_distribution(target, student, 'USKD')
            smooth = smooth + _SMOOTHING / student.shape[1]
        parts = (
            alpha * categorical_cross_entropy(label, logs.gather(1, index)),
            beta * categorical_cross_entropy(others, _without(student, index)),
            mu * categorical_cross_entropy(smooth, weak_logs),
        )
        return sum(part.mean() for part in parts)


def _targets(target: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target classes of each sample and their shares, both ``(N, 1)`` or ``(N, 2)``."""
    index = hard_target(target, student, 'USKD')[:, None]
    if target.dim() == 1:
        return index, torch.ones_like(index, dtype=student.dtype)
    if student.shape[1] < 3:
        raise ValueError(f'USKD with soft labels needs at least 3 classes, got {student.shape[1]}')
    share, index = target.to(student.dtype).topk(2, dim=1)
    return index, share


def _sum_at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index).sum(dim=1, keepdim=True)


def _without(logits: Tensor, index: Tensor) -> Tensor:
    return without_target(logits, index).log_softmax(dim=1)


class USKDLoss(Loss):
    """Self-knowledge distillation with soft labels for the target and for the other classes.

    The tap is a map before the last stage; a linear classifier on its mean over pixels is trained
    with the student. No teacher.

    Args:
        num_classes: Number of classes; given by the tap.
        student_channels: Width of the middle map; given by the tap.
        alpha: Weight of the target, >= 0.
        beta: Weight of the other classes, >= 0.
        mu: Weight of the classifier on the middle map, >= 0.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.uskd_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'features'
    needs: tuple[str, ...] = ('target', 'student_logits')
    needs_teacher: ClassVar[bool] = False
    scalable: ClassVar[tuple[str, ...]] = ('alpha', 'beta', 'mu')

    def __init__(
        self,
        *,
        num_classes: int,
        student_channels: int,
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_integers(num_classes=num_classes, student_channels=student_channels)
        check_nonnegative(alpha=alpha, beta=beta, mu=mu)
        self.fc = Linear(student_channels, num_classes)
        self.alpha = plain_number(alpha)
        self.beta = plain_number(beta)
        self.mu = plain_number(mu)

    def forward(self, student: Tensor, target: Tensor, student_logits: Tensor) -> Tensor:
        """Loss of a middle map and the logits, scalar.

        Args:
            student: Middle map, shape ``(N, D, H, W)``.
            target: Class indices, shape ``(N,)``, or soft labels, shape ``(N, C)``.
            student_logits: Shape ``(N, C)``.
        """
        with without_autocast(student):
            pooled = student.to(self.fc.weight.dtype).mean(dim=(2, 3))
            weak = self.fc(pooled)
        value = uskd_loss(
            student_logits, weak, target, alpha=self.alpha, beta=self.beta, mu=self.mu
        )
        return self.loss_weight * value
