"""WKD-L: discrete Wasserstein distance between class distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from wkd_det.functional.logit_check import check_logits, check_target
from wkd_det.functional.number_check import check_nonnegative, check_positive
from wkd_det.functional.precision import promote, without_autocast
from wkd_det.functional.reduction import weighted_mean
from wkd_det.functional.transport import check_transport, sinkhorn_cost, sinkhorn_plan


def wkd_logit_loss(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    target: Tensor | None = None,
    *,
    temperature: float,
    transport_weight: float = 1.0,
    epsilon: float = 0.05,
    num_iters: int = 10,
    log_domain: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Wasserstein distillation loss on logits.

    With ``target`` the separated form: the target class is matched by itself and the transport
    runs between the other classes, renormalised,

    .. math::
        L = -p^T_t \log p^S_t + \lambda \, D_{WD}(\tilde p^S, \tilde p^T),

    where :math:`p` is the softmax at temperature 1 and :math:`\tilde p` the softmax of the
    non-target logits at ``temperature``. Without ``target`` the joint form:
    :math:`\lambda D_{WD}` between the softmaxes of all logits at ``temperature``.

    The target class is given no mass rather than taken out, so one ``(C, C)`` kernel serves all
    samples and no ``N x C x C`` tensor exists; value and gradient are those of the form that
    removes it.

    Convention:
        - Mean over samples. No factor ``temperature ** 2``.
        - Rows of the transport belong to the student, columns to the teacher.
        - The entropy is not part of :math:`D_{WD}`: the loss of equal logits is above 0.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        cost: Class costs, shape ``(C, C)``, zero diagonal; see :func:`interrelation_to_cost`.
        target: Class indices, shape ``(N,)``, in ``[0, C)``.
        temperature: Softmax temperature of the transported distributions, > 0.
        transport_weight: :math:`\lambda`, >= 0.
        epsilon: Entropic regularisation, in units of ``cost``.
        num_iters: Sinkhorn rounds.
        log_domain: See :func:`sinkhorn_cost`; for ``epsilon`` below 1/30 of the largest cost.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        ValueError: If shapes disagree, a number is outside its range, ``target`` holds an index
            outside ``[0, C)`` or there is only one class beside a ``target``.

    References: Lv, Yang, Li, Wasserstein Distance Rivals Kullback-Leibler Divergence for
        Knowledge Distillation, NeurIPS 2024, section 3.1.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
        >>> loss = wkd_logit_loss(
        ...     logits, logits, 1 - torch.eye(3), torch.tensor([0]), temperature=1.0
        ... )
        >>> loss.round(decimals=4)  # only -p log p of the target: equal histograms, epsilon small
        tensor(0.2712)
    """
    _check(student, teacher, target, temperature, transport_weight)
    with without_autocast(student):
        student, teacher, cost = promote(student, teacher.detach(), cost)
        per_sample = 0.0 if target is None else _target_loss(student, teacher, target[:, None])
        if transport_weight or target is None:
            source, goal, support = transported_histograms(student, teacher, target, temperature)
            transport = sinkhorn_cost(
                source,
                goal,
                cost,
                epsilon=epsilon,
                num_iters=num_iters,
                log_domain=log_domain,
                support=support,
            )
            per_sample = per_sample + transport_weight * transport
        else:
            check_transport(student, teacher, cost, epsilon, num_iters)
        return weighted_mean(per_sample, weight, avg_factor)


@torch.no_grad()
def wkd_transport_plan(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    target: Tensor | None = None,
    *,
    temperature: float,
    epsilon: float = 0.05,
    num_iters: int = 10,
    log_domain: bool = False,
) -> Tensor:
    """The plans behind the transport of :func:`wkd_logit_loss`, to look at: no gradient.

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        cost: Class costs, shape ``(C, C)``.
        target: Class indices, shape ``(N,)``, for the separated form.
        temperature: Of the transported distributions, > 0.
        epsilon: Entropic regularisation, in units of ``cost``.
        num_iters: Sinkhorn rounds.
        log_domain: See :func:`sinkhorn_cost`.

    Returns:
        Mass from the student's class ``i`` to the teacher's class ``j``, shape ``(N, C, C)``. In
        the separated form the row and the column of the target are 0.

    Raises:
        ValueError: As there.
    """
    _check(student, teacher, target, temperature, 1.0)
    with without_autocast(student):
        student, teacher, cost = promote(student, teacher, cost)
        source, goal, support = transported_histograms(student, teacher, target, temperature)
        return sinkhorn_plan(
            source,
            goal,
            cost,
            epsilon=epsilon,
            num_iters=num_iters,
            log_domain=log_domain,
            support=support,
        )


def transported_histograms(
    student: Tensor, teacher: Tensor, target: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What WKD-L transports: softmaxes at a temperature, without the target if one is given.

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, which get no mass.
        temperature: Of the softmax, > 0.

    Returns:
        The student's histograms and the teacher's, each ``(N, C)``, and their support, bool, or
        None for all classes.
    """
    index, support = None, None
    if target is not None:
        index = target[:, None]
        support = torch.ones_like(student, dtype=torch.bool).scatter_(1, index, False)
    source, goal = (_histogram(logits, temperature, index) for logits in (student, teacher))
    return source, goal, support


def _histogram(logits: Tensor, temperature: float, left_out: Tensor | None) -> Tensor:
    """Softmax at a temperature, without mass on the class ``left_out`` ``(N, 1)`` of a sample."""
    scaled = logits / temperature
    if left_out is not None:
        scaled = scaled.scatter(1, left_out, -torch.inf)
    return scaled.softmax(dim=1)


def _target_loss(student: Tensor, teacher: Tensor, index: Tensor) -> Tensor:
    teacher_probability = teacher.softmax(dim=1).gather(1, index)
    return -(teacher_probability * student.log_softmax(dim=1).gather(1, index)).squeeze(1)


def _check(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    temperature: float,
    transport_weight: float,
) -> None:
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    check_nonnegative(transport_weight=transport_weight)
    if target is not None:
        check_target(target, student, 'the separated form')
