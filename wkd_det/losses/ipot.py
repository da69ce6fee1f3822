"""EMD+IPOT: transport between the student's and the teacher's samples of a batch."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from wkd_det.losses.vectors import VectorLoss
from wkd_det.ops.arithmetic import promote, without_autocast
from wkd_det.ops.checks import check_booleans, check_vectors, plain_number
from wkd_det.ops.cosine import cosine_cost
from wkd_det.ops.proximal import check_proximal, ipot_plan


def ipot_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 0.5,
    outer: int = 50,
    inner: int = 1,
    through_plan: bool = False,
) -> Tensor:
    r"""Cost of the transport between the vectors of both networks for a batch.

    .. math::
        L = \langle P, C \rangle, \qquad C_{ij} = 1 - \cos(t_i, s_j)

    with the plan :math:`P` of :func:`~wkd_det.ops.proximal.ipot_plan`, every sample of mass
    ``1 / N``. The sets are compared, not the pairs: a vector may go to the teacher's vector of
    another image.

    Convention:
        - This is **our reading** of a method whose authors have published no code. The solver is
          that of public ports; the features, the step size and whether the gradient passes the
          plan are stated nowhere that we know of, so the defaults are ours.
        - Rows of the plan belong to the teacher, columns, whose masses are exact, to the student.
        - At an optimal plan the gradient with the plan held fixed is the gradient of the
          transport cost, so the plan gets none by default.
        - No samples give 0 with a graph. The teacher gets no gradient.
        - The samples of one process are transported: under several processes each takes its own
          batch.

    Numerics:
        The solver takes ``O(outer inner N^2)`` operations, one after the other; memory is
        ``O(N^2)``, times the number of rounds with ``through_plan``.

    Args:
        student: Shape ``(N, D)``; any floating type, computed in at least float32.
        teacher: Same shape.
        beta: Step size of the solver, > 0, in units of the cost.
        outer: Proximal steps, >= 1.
        inner: Rounds of scaling in each, >= 1.
        through_plan: Let the gradient pass the rounds of the solver too.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Lohit, Jones, Model Compression Using Optimal Transport, WACV 2022; Xie, Wang,
        Wang, Zha, A Fast Proximal Point Method for Computing Exact Wasserstein Distance, UAI 2019.

    Example:
        >>> import torch
        >>> student = torch.eye(2)
        >>> ipot_loss(student, student.flip(0)).round(decimals=4).abs()  # the same set
        tensor(0.)
    """
    check_vectors(student, teacher, same_width=True)
    check_proximal(beta, outer, inner)
    if len(student) == 0:
        return promote(student)[0].sum() * 0.0
    with without_autocast(student):
        student, teacher = promote(student, teacher.detach())
        cost = cosine_cost(teacher.mT, student.mT)
        moved = cost if through_plan else cost.detach()
        return (ipot_plan(moved, beta=beta, outer=outer, inner=inner) * cost).sum()


class IPOTLoss(VectorLoss):
    """Transport between the student's and the teacher's samples of a batch (EMD+IPOT).

    Maps are averaged over their pixels; where the widths differ, a connector brings the student's
    to the teacher's. The authors have published no code: this is our reading, and the defaults
    are ours.

    Args:
        beta: Step size of the solver, > 0, in units of the cost 1 - cosine.
        outer: Proximal steps, >= 1.
        inner: Rounds of scaling in each, >= 1.
        through_plan: Let the gradient pass the rounds of the solver too.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.ipot_loss` for formula, conventions and source.
    """

    mixes_widths = False

    def __init__(
        self,
        *,
        beta: float = 0.5,
        outer: int = 50,
        inner: int = 1,
        through_plan: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(through_plan=through_plan)
        check_proximal(beta, outer, inner)
        function = partial(
            ipot_loss,
            beta=plain_number(beta),
            outer=plain_number(outer),
            inner=plain_number(inner),
            through_plan=through_plan,
        )
        super().__init__(function, loss_weight)
