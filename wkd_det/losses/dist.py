"""DIST: correlations of class probabilities, within each sample and over the batch."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wkd_det.losses.base import LogitLoss
from wkd_det.ops.arithmetic import without_autocast
from wkd_det.ops.checks import check_booleans, check_logits, check_nonnegative, check_positive
from wkd_det.ops.logits import ready_logits

_GUARD = 1e-8  # of the product of lengths; the reference's value


def dist_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    standardize: bool = False,
) -> Tensor:
    r"""One minus the Pearson correlation of class probabilities, along classes and along samples.

    .. math::
        L = T^2 (\beta (1 - \tfrac1N \sum_n \rho(p^S_{n \cdot}, p^T_{n \cdot}))
        + \gamma (1 - \tfrac1C \sum_k \rho(p^S_{\cdot k}, p^T_{\cdot k})))

    with :math:`p = softmax(z / T)` and
    :math:`\rho(a, b) = \langle \bar a, \bar b \rangle / (|\bar a| |\bar b| + 10^{-8})` of centred
    vectors.

    Convention:
        - The second part couples the samples of the batch: there is no weight per sample, each
          process of a distributed run compares its own samples, and one sample alone gives it the
          constant :math:`\gamma T^2`.
        - The factor :math:`T^2` is that of the code, although correlations have no scale.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``. In a detector, background is a class.
        beta: Weight of the correlation within samples, >= 0.
        gamma: Weight of the correlation over the batch, >= 0.
        temperature: :math:`T` > 0.
        standardize: Standardise the logits first; see
            :func:`~wkd_det.ops.logits.standardize_logits`.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    References: Huang, You, Wang, Qian, Xu, Knowledge Distillation from A Stronger Teacher, NeurIPS
        2022; the authors' weight is 2 (CIFAR-100: temperature 4).
    """
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    check_nonnegative(beta=beta, gamma=gamma)
    with without_autocast(student):
        student, teacher = ready_logits(student, teacher, standardize)
        if not len(student):
            return student.sum()
        own, other = (logits.div(temperature).softmax(dim=1) for logits in (student, teacher))
        within = 1 - _correlation(own, other, dim=1).mean()
        across = 1 - _correlation(own, other, dim=0).mean()
        return temperature**2 * (beta * within + gamma * across)


def _correlation(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along an axis; 0 of what is constant."""
    one, other = (values - values.mean(dim=dim, keepdim=True) for values in (one, other))
    lengths = one.norm(dim=dim) * other.norm(dim=dim)
    return (one * other).sum(dim=dim) / (lengths + _GUARD)


class DISTLoss(LogitLoss):
    """One minus the Pearson correlation of class probabilities, along classes and along samples.

    Args:
        beta: Weight of the correlation within samples, >= 0.
        gamma: Weight of the correlation over the batch, >= 0.
        temperature: Temperature of both softmaxes, > 0.
        standardize: Standardise the logits first (LSKD).
        loss_weight: Factor of the loss, >= 0; 2 in the authors' experiments.

    Raises:
        ValueError: If an option is outside its range.

    See :func:`wkd_det.functional.dist_loss` for formula, conventions and source.
    """

    scalable: ClassVar[tuple[str, ...]] = ('beta', 'gamma')

    def __init__(
        self,
        *,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        standardize: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(standardize=standardize)
        check_positive(temperature=temperature)
        check_nonnegative(beta=beta, gamma=gamma)
        super().__init__(
            dist_loss,
            loss_weight,
            beta=beta,
            gamma=gamma,
            temperature=temperature,
            standardize=standardize,
        )
