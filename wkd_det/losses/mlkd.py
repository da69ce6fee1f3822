"""MLKD: logits of two views, by sample, by class and by batch, at several temperatures."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.losses.kd import kd_loss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_positive, check_tensors
from wkd_det.ops.divergences import squared_gram_distance

_BOTH_VIEWS = (3.0, 5.0)  # temperatures, after the configured one
_WEAK_VIEW = (2.0, 6.0)  # the strong view's are those of the weak one once more, as in the code


def mlkd_loss(
    student: Tensor,
    teacher: Tensor,
    student_strong: Tensor,
    teacher_strong: Tensor,
    *,
    temperature: float = 4.0,
    standardize: bool = False,
) -> Tensor:
    r"""Multi-level logit distillation of a weak and a strong view of the same images.

    .. math::
        L = m_1 \sum_Q KL_\tau(a) + \sum_{T, 3, 5} KL_\tau(b) + \sum_{2, 6} KL_\tau(a)
        + m_2 \sum_Q B_\tau(a) + m_1 \sum_Q G_\tau(a)

    with the temperatures :math:`Q = \{T, 3, 5, 2, 6\}`, the weak view :math:`a` and the strong one
    :math:`b`, :math:`KL_\tau` as :func:`~wkd_det.functional.kd_loss`, :math:`B` as
    :func:`mlkd_class_loss` and :math:`G` as :func:`mlkd_batch_loss`.

    Convention:
        - As the authors' code has it, and not their paper: :math:`m_1`, the share of samples in
          which the teacher is at most as confident as in the median one, and :math:`m_2`, that of
          classes whose probabilities sum to at most the median, only scale means that are made
          already; at temperatures 2 and 6 the strong view's part is that of the weak one.
        - The cross entropies of both views are the classifier's. The authors' weights: 0.1 for
          these, 0.9 for this.
        - The relations couple the samples of the batch (of each process), so there is no weight
          per sample.
        - The teacher gets no gradient.

    Args:
        student: Logits of the weak view, shape ``(N, C)``; any floating type, computed in at least
            float32.
        teacher: The teacher's, shape ``(N, C)``.
        student_strong: Logits of the strong view, shape ``(N, C)``.
        teacher_strong: The teacher's, shape ``(N, C)``.
        temperature: :math:`T` > 0.
        standardize: Standardise the logits of the KL parts first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023.
    """
    check_logits(student, teacher)
    _check_strong(student, student_strong=student_strong, teacher_strong=teacher_strong)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, student_strong, teacher, teacher_strong = promote(
            student, student_strong, teacher.detach(), teacher_strong.detach()
        )
        if not len(student):
            return student.sum() + student_strong.sum()
        options = dict(standardize=standardize)
        shared, weak_only = (temperature, *_BOTH_VIEWS), _WEAK_VIEW
        weak = [kd_loss(student, teacher, temperature=t, **options) for t in shared + weak_only]
        strong = [kd_loss(student_strong, teacher_strong, temperature=t, **options) for t in shared]
        of_classes, of_batch = (
            sum(part(student, teacher, temperature=t) for t in shared + weak_only)
            for part in (mlkd_class_loss, mlkd_batch_loss)
        )
        samples, classes = _shares(teacher)
        masked = samples * (sum(weak) + of_batch) + classes * of_classes
        return masked + sum(strong) + sum(weak[len(shared) :])


def mlkd_class_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    r"""Squared distance of the relations between classes over a batch.

    .. math:: \lVert A_S^T A_S - A_T^T A_T \rVert_F^2 / C, \quad A = softmax(z / T)

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``; no gradient.
        temperature: :math:`T` > 0.

    Returns:
        Scalar; it couples the samples of the batch (of each process).

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``temperature`` is not positive.

    References: Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023.
    """
    own, other = _probabilities(student, teacher, temperature)
    return squared_gram_distance(own.mT, other.mT) / max(student.shape[1], 1)


def mlkd_batch_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    r"""Squared distance of the relations between the samples of a batch.

    .. math:: \lVert A_S A_S^T - A_T A_T^T \rVert_F^2 / N, \quad A = softmax(z / T)

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``; no gradient.
        temperature: :math:`T` > 0.

    Returns:
        Scalar; it couples the samples of the batch (of each process).

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or ``temperature`` is not positive.

    References: Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023.
    """
    own, other = _probabilities(student, teacher, temperature)
    return squared_gram_distance(own, other) / max(len(student), 1)


def _probabilities(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        return (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)


def _shares(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of samples and of classes up to the median."""
    probabilities = teacher.softmax(dim=1)
    confidence, mass = probabilities.amax(dim=1), probabilities.sum(dim=0)
    # Up to the lower median there are as many as up to the mean of both.
    return tuple((one <= one.median()).to(one.dtype).mean() for one in (confidence, mass))


def _check_strong(logits: Tensor, **strong: Tensor) -> None:
    check_tensors(**strong)
    for name, value in strong.items():
        if value.shape != logits.shape:
            raise ValueError(
                f'{name} must have the shape of the weak view {tuple(logits.shape)}, '
                f'got {tuple(value.shape)}'
            )


class MLKDLoss(LogitLoss):
    """Multi-level logit distillation of a weak and a strong view of the same images.

    The classifier must see two views; its ``ce_weight`` weighs the cross entropies of both.

    Args:
        temperature: First of the five temperatures, > 0; the others are 3, 5, 2 and 6.
        standardize: Standardise the logits of the KL parts first (LSKD).
        loss_weight: Factor of the loss, >= 0; 0.9 in the authors' experiments.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.mlkd_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('student_strong', 'teacher_strong')

    def __init__(
        self, *, temperature: float = 4.0, standardize: bool = False, loss_weight: float = 1.0
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        super().__init__(mlkd_loss, loss_weight, temperature=temperature, standardize=standardize)

    def forward(
        self, student: Tensor, teacher: Tensor, student_strong: Tensor, teacher_strong: Tensor
    ) -> Tensor:
        """Loss of the logits ``(N, C)`` of both views, scalar."""
        return self.call(student, teacher, student_strong, teacher_strong)
