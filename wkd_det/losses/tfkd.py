"""Tf-KD: a virtual teacher made of the label, the network's earlier self, and label smoothing."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.losses.kd import kd_loss
from wkd_det.ops.arithmetic import promote, weighted_mean, without_autocast
from wkd_det.ops.checks import (
    check_booleans,
    check_logits,
    check_nonnegative,
    check_positive,
    check_tensors,
)
from wkd_det.ops.divergences import categorical_cross_entropy, categorical_kl
from wkd_det.ops.logits import hard_target, one_hot, target_distribution


def tfkd_loss(
    student: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.1,
    multiplier: float = 1.0,
    temperature: float = 20.0,
    correct_prob: float = 0.99,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Divergence from a virtual teacher, made of the label alone, to the student (Tf-KD).

    .. math::
        L = \alpha m \frac1C KL(q \Vert p^S), \quad q = softmax(u / T), \quad
        u_k = \begin{cases} c & k = t \\ (1 - c) / (C - 1) & k \ne t \end{cases}

    with :math:`p^S = softmax(z)` at temperature 1. The virtual teacher is nearly uniform, since
    probabilities, and not logits, are divided by :math:`T`.

    Convention:
        - Mean over samples *and* classes, as in the code; the multiplier :math:`m` makes up for it.
          No factor :math:`T^2`.
        - The rest of the objective, :math:`1 - \alpha` times the cross entropy of the label, is
          that of the classifier, ``ce_weight``.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Soft labels, shape ``(N, C)``, stand
            for their most probable class; the authors have none.
        alpha: :math:`\alpha` >= 0.
        multiplier: :math:`m` >= 0.
        temperature: :math:`T` > 0.
        correct_prob: :math:`c` in ``(0, 1]``.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` does not fit the
            logits, or there is only one class.

    References: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization,
        CVPR 2020; the defaults but the multiplier are those of ResNet-18 on CIFAR-100 (multiplier
        100). The paper prints the divergence without :math:`1 / C`.
    """
    _check_student(student)
    index = hard_target(target, student, 'Tf-KD')
    _check_virtual(alpha, multiplier, temperature, correct_prob)
    with without_autocast(student):
        (student,) = promote(student)
        virtual = _peaked(one_hot(index, student), correct_prob)
        divergence = categorical_kl(
            (virtual / temperature).log_softmax(dim=1), student.log_softmax(dim=1)
        )
        per_sample = alpha * multiplier / student.shape[1] * divergence
        return weighted_mean(per_sample, weight, avg_factor)


def tfkd_self_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 0.95,
    multiplier: float = 1.0,
    temperature: float = 6.0,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Divergence from the same network, trained before, to the student (Tf-KD by itself).

    .. math:: L = \alpha m \frac{T^2}C KL(p^T \Vert p^S), \quad p = softmax(z / T)

    Convention:
        - Mean over samples *and* classes, as in the code: :func:`~wkd_det.functional.kd_loss`
          divided by the number of classes; the multiplier :math:`m` makes up for it.
        - The rest of the objective, :math:`1 - \alpha` times the cross entropy of the label, is
          that of the classifier, ``ce_weight``.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits of the earlier self, shape ``(N, C)``.
        alpha: :math:`\alpha` >= 0.
        multiplier: :math:`m` >= 0.
        temperature: :math:`T` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Yuan et al., Revisiting Knowledge Distillation via Label Smoothing Regularization,
        CVPR 2020; the defaults but the multiplier are those of ResNet-18 on CIFAR-100 (multiplier
        50).
    """
    check_nonnegative(alpha=alpha, multiplier=multiplier)
    divergence = kd_loss(
        student,
        teacher,
        temperature=temperature,
        standardize=standardize,
        weight=weight,
        avg_factor=avg_factor,
    )
    return alpha * multiplier / student.shape[1] * divergence


def label_smoothing_loss(
    student: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.1,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Cross entropy with a smoothed label, whose smoothing leaves the target class out.

    .. math:: L = -\sum_k q_k \log p^S_k, \quad
        q_k = \begin{cases} 1 - \alpha & k = t \\ \alpha / (C - 1) & k \ne t \end{cases}

    This is the form of Tf-KD's code; PyTorch's gives the target
    :math:`1 - \alpha + \alpha / C`. It stands in place of the classifier's own cross entropy.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        target: Class indices, shape ``(N,)``, in ``[0, C)``; or soft labels, shape ``(N, C)``, of
            which each class is smoothed with its weight.
        alpha: :math:`\alpha` in ``[0, 1]``.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` does not fit the
            logits, or there is only one class.

    References: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR
        2016; Yuan et al., CVPR 2020, for this form.
    """
    _check_student(student)
    _check_share(alpha=alpha)
    with without_autocast(student):
        (student,) = promote(student)
        goal = _peaked(target_distribution(target, student, 'label smoothing'), 1 - alpha)
        per_sample = categorical_cross_entropy(goal, student.log_softmax(dim=1))
        return weighted_mean(per_sample, weight, avg_factor)


def _peaked(labels: Tensor, peak: float) -> Tensor:
    """Distributions with ``peak`` at the label and the rest spread evenly over the others.

    ``labels``: one-hot or soft, shape ``(N, C)``.
    """
    rest = (1 - peak) / (labels.shape[1] - 1)
    return rest * labels.sum(dim=1, keepdim=True) + (peak - rest) * labels


def _check_student(student: Tensor) -> None:
    check_tensors(student=student)
    check_logits(student, student)


def _check_virtual(
    alpha: float, multiplier: float, temperature: float, correct_prob: float
) -> None:
    check_nonnegative(alpha=alpha, multiplier=multiplier)
    check_positive(temperature=temperature, correct_prob=correct_prob)
    _check_share(correct_prob=correct_prob)


def _check_share(**values: float) -> None:
    check_nonnegative(**values)
    for name, value in values.items():
        if value > 1:
            raise ValueError(f'{name} must not be above 1, got {value}')


class TfKDLoss(LogitLoss):
    """Divergence from a virtual teacher, made of the label alone, to the student (Tf-KD).

    Args:
        alpha: Weight, >= 0; the classifier's ``ce_weight`` is one minus it.
        multiplier: Factor that makes up for the mean over classes, >= 0.
        temperature: Temperature of the virtual teacher, > 0.
        correct_prob: Probability of the label before the temperature, in ``(0, 1]``.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.tfkd_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)
    needs_teacher: ClassVar[bool] = False

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        multiplier: float = 1.0,
        temperature: float = 20.0,
        correct_prob: float = 0.99,
        loss_weight: float = 1.0,
    ) -> None:
        _check_virtual(alpha, multiplier, temperature, correct_prob)
        super().__init__(
            tfkd_loss,
            loss_weight,
            alpha=alpha,
            multiplier=multiplier,
            temperature=temperature,
            correct_prob=correct_prob,
        )

    def forward(self, student: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(N, C)`` with classes ``(N,)`` or soft labels ``(N, C)``, scalar."""
        return self.call(student, target)


class TfKDSelfLoss(LogitLoss):
    """Divergence from the same network, trained before, to the student (Tf-KD by itself).

    Args:
        alpha: Weight, >= 0; the classifier's ``ce_weight`` is one minus it.
        multiplier: Factor that makes up for the mean over classes, >= 0.
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.tfkd_self_loss` for formula, conventions and source.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.95,
        multiplier: float = 1.0,
        temperature: float = 6.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        check_nonnegative(alpha=alpha, multiplier=multiplier)
        super().__init__(
            tfkd_self_loss,
            loss_weight,
            alpha=alpha,
            multiplier=multiplier,
            temperature=temperature,
            standardize=standardize,
        )


class LabelSmoothingLoss(LogitLoss):
    """Cross entropy with a smoothed label, whose smoothing leaves the target class out.

    Args:
        alpha: Probability of all other classes together, in ``[0, 1]``.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    See :func:`wkd_det.functional.label_smoothing_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)
    needs_teacher: ClassVar[bool] = False

    def __init__(self, *, alpha: float = 0.1, loss_weight: float = 1.0) -> None:
        _check_share(alpha=alpha)
        super().__init__(label_smoothing_loss, loss_weight, alpha=alpha)

    def forward(self, student: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(N, C)`` with classes ``(N,)`` or soft labels ``(N, C)``, scalar."""
        return self.call(student, target)
