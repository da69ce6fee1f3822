"""OFA: the logits of a student or of its branches, with more weight on the target class."""

from __future__ import annotations

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import weighted_mean, without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_positive
from wkd_det.ops.divergences import categorical_cross_entropy
from wkd_det.ops.logits import hard_target, one_hot, ready_logits


def ofa_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    eps: float = 1.0,
    temperature: float = 1.0,
    standardize: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Cross entropy with the teacher, whose probability of the target class is raised.

    .. math:: L = -\sum_k ((p^T_k + 1_{k = t})^\epsilon - 1_{k = t}) \log p^S_k,
        \quad p = softmax(z / T)

    :math:`\epsilon = 1` is the cross entropy with the teacher's distribution.

    Convention:
        - Cross entropy and no divergence, so equal logits do not give 0.
        - Mean over samples; no factor :math:`T^2`. The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``, of the student or of a branch of it; any floating type,
            computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Soft labels, shape ``(N, C)``, stand
            for their most probable class, as in the code.
        eps: :math:`\epsilon` > 0.
        temperature: :math:`T` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` does not fit the
            logits, or there is only one class.

    References: Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in
        Knowledge Distillation, NeurIPS 2023.
    """
    check_logits(student, teacher)
    index = hard_target(target, student, 'OFA')
    check_positive(eps=eps, temperature=temperature)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        is_target = one_hot(index, student)
        goal = ((teacher / temperature).softmax(dim=1) + is_target) ** eps - is_target
        per_sample = categorical_cross_entropy(goal, (student / temperature).log_softmax(dim=1))
        return weighted_mean(per_sample, weight, avg_factor)


class OFALoss(LogitLoss):
    """Cross entropy with the teacher, whose probability of the target class is raised (OFA).

    Args:
        eps: Exponent, > 0; 1 is the plain cross entropy with the teacher.
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.ofa_loss` for formula, conventions and source.
    """

    needs: tuple[str, ...] = ('target',)

    def __init__(
        self,
        *,
        eps: float = 1.0,
        temperature: float = 1.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(eps=eps, temperature=temperature)
        super().__init__(
            ofa_loss, loss_weight, eps=eps, temperature=temperature, standardize=standardize
        )
