"""WKD-L for heads with a sigmoid for each class: transport between classes and background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from wkd_det.losses.base import Loss
from wkd_det.losses.wkd_logit import WKDLogitLoss, wkd_logit_loss
from wkd_det.ops.checks import check_logits, check_nonnegative, check_tensors, plain_number
from wkd_det.ops.logits import with_background


def background_distances(distance: Tensor, background: float) -> Tensor:
    """Class distances with a last row and column for background, ``(K, K)`` to ``(K + 1, K + 1)``.

    Args:
        distance: Distances between the classes.
        background: That of background from every class.
    """
    extended = F.pad(distance, (0, 1, 0, 1), value=background)
    extended[-1, -1] = 0
    return extended


def wkd_sigmoid_loss(
    student: Tensor,
    teacher: Tensor,
    cost: Tensor,
    *,
    temperature: float = 1.0,
    epsilon: float = 0.15,
    num_iters: int = 5,
    log_domain: bool = False,
    debiased: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Wasserstein distance between what two sigmoid heads find at the same places.

    .. math:: D_{WD}(q^S, q^T), \quad
        q_k = \frac{e^{z_k / T}}{1 + \sum_i e^{z_i / T}}, \quad
        q_{bg} = \frac{1}{1 + \sum_i e^{z_i / T}}

    Classes are bins, and so is background, which has the remaining mass; why these are the right
    histograms stands at :func:`~wkd_det.ops.logits.with_background`. The transport is that of
    :func:`~wkd_det.functional.wkd_logit_loss` in its joint form: mass that the student gives to a
    wrong class is moved to the right one at the distance of the two classes, mass that it gives
    to nothing is fetched from background at ``cost``'s last column. No object is wrong by itself,
    so there is no target class and nothing is left out.

    For one class it is a transport between two bins. In the limit of a small ``epsilon`` its cost
    is :math:`c \, |p^S - p^T|` with the distance :math:`c` of the class from background; with
    :math:`\kappa = e^{-2 c / \epsilon}` and :math:`b = p^S + p^T + \kappa (1 - p^S - p^T)` it is

    .. math:: c \, (p^S + p^T - 2 a), \quad
        a = \frac{b - \sqrt{b^2 - 4 (1 - \kappa) p^S p^T}}{2 (1 - \kappa)}.

    Convention:
        - Mean over places.
        - ``epsilon`` and the result carry the unit of ``cost``.
        - The teacher gets no gradient.

    Numerics:
        As of :func:`~wkd_det.functional.wkd_logit_loss`: no tensor of places times classes times
        classes; ``epsilon`` below 1/30 of the largest cost needs ``log_domain``. Background is
        far from all classes and has most of the mass, so the rounds converge slowly at a small
        ``epsilon``: the 0.05 and 10 rounds of WKD-L are further from what they converge to, in
        the gradient above all, than the 0.15 and 5 rounds that are the defaults here.

    Args:
        student: Logits, shape ``(R, K)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(R, K)``.
        cost: Costs between the classes and, last, background; shape ``(K + 1, K + 1)``.
        temperature: :math:`T` > 0.
        epsilon: Entropic regularisation, in units of ``cost``.
        num_iters: Sinkhorn rounds.
        log_domain: Iterate on logarithms.
        debiased: Take off what the distributions cost against themselves.
        weight: Weight of each place, shape ``(R,)``.
        avg_factor: Divisor of the sum over places; their number by default.

    Returns:
        Scalar. No places give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree or a number is outside its range.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[9.0, -9.0]]), torch.tensor([[-9.0, 9.0]])
        >>> cost = torch.tensor([[0.0, 0.3, 1.0], [0.3, 0.0, 1.0], [1.0, 1.0, 0.0]])
        >>> wkd_sigmoid_loss(student, teacher, cost).round(decimals=2)  # the classes are close
        tensor(0.3000)
        >>> wkd_sigmoid_loss(-teacher - 18, teacher, cost).round(decimals=2)  # it finds nothing
        tensor(1.)
    """
    check_tensors(cost=cost)
    check_logits(student, teacher)
    return wkd_logit_loss(
        with_background(student),
        with_background(teacher),
        cost,
        temperature=temperature,
        epsilon=epsilon,
        num_iters=num_iters,
        log_domain=log_domain,
        debiased=debiased,
        weight=weight,
        avg_factor=avg_factor,
    )


class WKDSigmoidLoss(Loss):
    """WKD-L for heads with a sigmoid for each class.

    The distances of the classes come from the ``cost`` source as for ``WKDLogitLoss``. Background
    has no row in a classifier of sigmoids: its logit is always 0, as if its weights were, and a
    row of zeros has the cosine 0 with any other. Hence its distance of 1 from every class.

    Args:
        cost: Where class distances come from: a config such as ``dict(type='ClassifierCost')``
            or ``dict(type='FileCost', path=...)``, or the distances, shape ``(K, K)``.
        temperature: Temperature of the transported distributions.
        sharpness: kappa of ``1 - exp(-kappa d)``; 0 takes the distances as they are.
        background_distance: Distance of background from every class, >= 0, before it is sharpened.
        epsilon: Entropic regularisation, in units of the sharpened cost.
        num_iters: Sinkhorn rounds.
        log_domain: Needed for ``epsilon`` below 1/30 of the largest cost.
        debiased: Take off what the distributions cost against themselves.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If an option is outside its range.
        TypeError: If ``cost`` is neither.

    See :func:`wkd_det.functional.wkd_sigmoid_loss` for formula and conventions.
    """

    takes: ClassVar[str] = 'dense_logits'

    def __init__(
        self,
        *,
        cost: Mapping[str, Any] | Tensor,
        temperature: float = 1.0,
        sharpness: float = 1.0,
        background_distance: float = 1.0,
        epsilon: float = 0.15,
        num_iters: int = 5,
        log_domain: bool = False,
        debiased: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_nonnegative(background_distance=background_distance)
        self.background_distance = plain_number(background_distance)
        if isinstance(cost, Tensor):
            cost = background_distances(cost, self.background_distance)
        self.transport = WKDLogitLoss(
            cost=cost,
            temperature=temperature,
            sharpness=sharpness,
            separated=False,
            epsilon=epsilon,
            num_iters=num_iters,
            log_domain=log_domain,
            debiased=debiased,
        )
        self.distance_source = self.transport.distance_source

    def reserve(self, num_classes: int) -> None:
        """Make the buffer of the costs of the classes and background.

        Raises:
            ValueError: If it is there for another number of classes.
        """
        self.transport.reserve(num_classes + 1)

    def set_distance(self, distance: Tensor) -> None:
        """Sharpen class distances ``(K, K)`` into the cost.

        Raises:
            ValueError: If they are no distances, or made for another number of classes.
        """
        self.transport.set_distance(background_distances(distance, self.background_distance))

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of logits ``(R, K)``, scalar.

        ``weight`` ``(R,)`` says how much each place counts, ``avg_factor`` what the sum is divided
        by; without it their number.

        Raises:
            RuntimeError: Without class costs.
            ValueError: As in the function.
        """
        check_logits(student, teacher)
        pair = with_background(student), with_background(teacher)
        return self.loss_weight * self.transport(*pair, weight=weight, avg_factor=avg_factor)
