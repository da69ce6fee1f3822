"""WKD-L: discrete Wasserstein distance between class distributions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from wkd_det import registry
from wkd_det.costs.interface import adopt
from wkd_det.costs.similarity import distance_to_cost
from wkd_det.losses.base import Loss
from wkd_det.ops.arithmetic import promote, scaled, weighted_mean, without_autocast
from wkd_det.ops.checks import (
    check_booleans,
    check_integers,
    check_logits,
    check_nonnegative,
    check_positive,
    check_tensors,
    plain_number,
)
from wkd_det.ops.fused.switch import MOST_CLASSES, takes_fused
from wkd_det.ops.logits import (
    hard_target,
    non_target_mass,
    ready_logits,
    target_loss,
    tempered,
)
from wkd_det.ops.transport import (
    check_transport,
    cost_of_rounds,
    divergence_of_rounds,
    sinkhorn_plan,
)


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
    standardize: bool = False,
    debiased: bool = False,
    weigh_by_non_target: bool = False,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    r"""Wasserstein distillation loss on logits (WKD-L).

    With ``target`` the separated form: the target class is matched by itself and the transport
    runs between the other classes, renormalised,

    .. math::
        L = -p^T_t \log p^S_t + \lambda \, D_{WD}(\tilde p^S, \tilde p^T),

    where :math:`p` is the softmax at temperature 1 and :math:`\tilde p` the softmax of the
    non-target logits at ``temperature``. Without ``target`` the joint form:
    :math:`\lambda D_{WD}` between the softmaxes of all logits at ``temperature``.

    The target class is not removed but given no mass, so one ``(C, C)`` kernel serves all samples
    and no ``N x C x C`` tensor exists; value and gradient are those of the form that removes it.

    Convention:
        - Mean over samples. No factor ``temperature ** 2``.
        - Rows of the transport belong to the student, columns to the teacher.
        - The entropy is not part of :math:`D_{WD}`: the loss of equal logits is above 0, unless
          ``debiased``.
        - The teacher gets no gradient.

    Args:
        student: Logits, shape ``(N, C)``; any floating type, computed in at least float32.
        teacher: Logits, shape ``(N, C)``.
        cost: Class costs, shape ``(C, C)``, zero diagonal; see
            :func:`~wkd_det.costs.similarity.distance_to_cost`.
        target: Class indices, shape ``(N,)``, in ``[0, C)``. Soft labels, shape ``(N, C)``, stand
            for their most probable class: the paper separates one class per sample.
        temperature: Softmax temperature of the transported distributions, > 0.
        transport_weight: :math:`\lambda`, >= 0.
        epsilon: Entropic regularisation, > 0, in units of ``cost``.
        num_iters: Sinkhorn rounds, >= 1.
        log_domain: Iterate on logarithms, for ``epsilon`` below 1/30 of the largest cost; see
            :func:`~wkd_det.ops.transport.sinkhorn_cost`.
        standardize: Standardise the logits first, those of the target part too; see
            :func:`~wkd_det.ops.logits.standardize_logits`.
        debiased: Put :func:`~wkd_det.ops.transport.sinkhorn_divergence` in place of
            :math:`D_{WD}`: equal distributions cost 0, with a gradient of 0. The rounds run on
            four times as many histograms.
        weigh_by_non_target: Multiply the transport of each sample by the teacher's probability of
            all classes but the target, :math:`1 - p^T_t` at ``temperature``: the weight that the
            non-target part has inside KD. Needs a ``target``.
        weight: Weight of each sample, shape ``(N,)``.
        avg_factor: Divisor of the sum over samples; their number by default.

    Returns:
        Scalar. No samples give 0 with a graph.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree, a number is outside its range, ``target`` holds no integers
            or an index outside ``[0, C)``, there is only one class together with a ``target``, or
            ``weigh_by_non_target`` comes without one.

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
    check_tensors(cost=cost)
    _check_weighing(weigh_by_non_target, target is not None)
    target = _checked_target(student, teacher, target, temperature, transport_weight)
    check_transport(student, teacher, cost, epsilon, num_iters)
    numbers = dict(
        temperature=temperature,
        transport_weight=transport_weight,
        epsilon=epsilon,
        num_iters=num_iters,
    )
    variant = log_domain or debiased or weigh_by_non_target
    if not variant and _fused_holds(student, teacher, cost, numbers):
        from wkd_det.ops.fused.logit_transport import fused_wkd_logit

        with without_autocast(student):
            if standardize:
                student, teacher = ready_logits(student, teacher, standardize)
            per_sample = fused_wkd_logit(student, teacher.detach(), cost, target, **numbers)
            return weighted_mean(per_sample, weight, avg_factor)
    with without_autocast(student):
        student, teacher, cost = _ready(student, teacher, cost, standardize)
        per_sample = None if target is None else target_loss(student, teacher, target)
        if transport_weight or target is None:
            source, goal, start = _histograms(student, teacher, target, temperature)
            distance = divergence_of_rounds if debiased else cost_of_rounds
            transport = distance(
                source,
                goal,
                cost,
                start,
                epsilon=epsilon,
                num_iters=num_iters,
                log_domain=log_domain,
            )
            if weigh_by_non_target:
                transport = transport * non_target_mass(tempered(teacher, temperature), target)
            transport = scaled(transport, transport_weight)
            per_sample = transport if target is None else per_sample + transport
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
    standardize: bool = False,
) -> Tensor:
    """Transport plans of :func:`wkd_logit_loss`, for inspection: no gradient.

    They lead from the student to the teacher, also where the loss is ``debiased``.

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        cost: Class costs, shape ``(C, C)``.
        target: Class indices, shape ``(N,)``, for the separated form.
        temperature: Temperature of the transported distributions, > 0.
        epsilon: Entropic regularisation, in units of ``cost``.
        num_iters: Sinkhorn rounds.
        log_domain: Iterate on logarithms.
        standardize: Standardise the logits first.

    Returns:
        Mass from the student's class ``i`` to the teacher's class ``j``, shape ``(N, C, C)``. In
        the separated form the row and the column of the target are 0.

    Raises:
        TypeError, ValueError: As :func:`wkd_logit_loss`.
    """
    check_tensors(cost=cost)
    target = _checked_target(student, teacher, target, temperature, 1.0)
    with without_autocast(student):
        student, teacher, cost = _ready(student, teacher, cost, standardize)
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
    """Histograms that WKD-L transports: softmaxes at a temperature, without the target if given.

    Args:
        student: Logits, shape ``(N, C)``.
        teacher: Logits, shape ``(N, C)``.
        target: Class indices, shape ``(N,)``, which get no mass.
        temperature: Temperature of the softmax, > 0.

    Returns:
        The student's histograms and the teacher's, each ``(N, C)``; and their support, bool,
        ``(N, C)``, or None for all classes.
    """
    source, goal, start = _histograms(student, teacher, target, temperature)
    return source, goal, None if target is None else start > 0


def _histograms(
    student: Tensor, teacher: Tensor, target: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Both histograms, and one that is even over the classes that take part."""
    student, teacher = tempered(student, temperature), tempered(teacher, temperature)
    nowhere = torch.zeros_like(student)
    if target is not None:
        nowhere.scatter_(1, target[:, None], -torch.inf)
        student, teacher = student + nowhere, teacher + nowhere
    return student.softmax(dim=1), teacher.softmax(dim=1), nowhere.softmax(dim=1)


def _ready(
    student: Tensor, teacher: Tensor, cost: Tensor, standardize: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and costs in one type, the teacher detached."""
    student, teacher, cost = promote(student, teacher, cost)
    return *ready_logits(student, teacher, standardize), cost


def _fused_holds(
    student: Tensor, teacher: Tensor, cost: Tensor, numbers: dict[str, float | Tensor]
) -> bool:
    """Whether the fused kernel may compute the plain rounds of these arguments."""
    return (
        takes_fused(student, teacher, cost)
        and student.shape[1] <= MOST_CLASSES
        and cost.dim() == 2
        and not cost.requires_grad
        and not any(isinstance(number, Tensor) for number in numbers.values())
    )


def _check_weighing(weigh_by_non_target: bool, has_target: bool) -> None:
    if weigh_by_non_target and not has_target:
        raise ValueError('weigh_by_non_target needs a target: the joint form sets no class apart')


def _checked_target(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    temperature: float,
    transport_weight: float,
) -> Tensor | None:
    """Return the target as indices, after checking what both functions have in common."""
    check_logits(student, teacher)
    check_positive(temperature=temperature)
    check_nonnegative(transport_weight=transport_weight)
    if target is None:
        return None
    return hard_target(target, student, 'the separated form')


class WKDLogitLoss(Loss):
    """Discrete Wasserstein distance between class distributions (WKD-L).

    The class distances come from the ``cost`` source when training starts, are sharpened once
    and kept in the buffer ``cost``, which follows the module and is saved with it.

    Args:
        cost: Where class distances come from: a config such as ``dict(type='ClassifierCost')``
            or ``dict(type='FileCost', path=...)``, or the distances, shape ``(C, C)``.
        temperature: Temperature of the transported distributions.
        sharpness: kappa of ``1 - exp(-kappa d)``; 0 takes the distances as they are.
        transport_weight: lambda, the weight of the transport relative to the target term.
        separated: Match the target class by itself and transport between the others.
        epsilon: Entropic regularisation, in units of the sharpened cost.
        num_iters: Sinkhorn rounds.
        log_domain: Needed for ``epsilon`` below 1/30 of the largest cost.
        standardize: Standardise the logits first (LSKD).
        debiased: Take off what the distributions cost against themselves.
        weigh_by_non_target: Multiply each sample's transport by the teacher's probability of the
            non-target classes; only for the separated form.
        loss_weight: Factor of the whole loss.

    Raises:
        ValueError: If an option is outside its range, or ``weigh_by_non_target`` is set for the
            joint form.
        TypeError: If ``cost`` is neither.

    See :func:`wkd_det.functional.wkd_logit_loss` for formula, conventions and source.
    """

    takes: ClassVar[str] = 'logits'
    scalable: ClassVar[tuple[str, ...]] = ('transport_weight',)

    def __init__(
        self,
        *,
        cost: Mapping[str, Any] | Tensor,
        temperature: float = 1.0,
        sharpness: float = 1.0,
        transport_weight: float = 1.0,
        separated: bool = True,
        epsilon: float = 0.05,
        num_iters: int = 10,
        log_domain: bool = False,
        standardize: bool = False,
        debiased: bool = False,
        weigh_by_non_target: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        check_booleans(separated=separated, log_domain=log_domain, standardize=standardize)
        check_booleans(debiased=debiased, weigh_by_non_target=weigh_by_non_target)
        super().__init__(loss_weight)
        _check_weighing(weigh_by_non_target, separated)
        check_positive(temperature=temperature, epsilon=epsilon)
        check_nonnegative(sharpness=sharpness, transport_weight=transport_weight)
        check_integers(num_iters=num_iters)
        self.temperature = plain_number(temperature)
        self.sharpness = plain_number(sharpness)
        self.transport_weight = plain_number(transport_weight)
        self.separated = separated
        self.epsilon = plain_number(epsilon)
        self.num_iters = plain_number(num_iters)
        self.log_domain = log_domain
        self.standardize = standardize
        self.debiased = debiased
        self.weigh_by_non_target = weigh_by_non_target
        self.ready = False
        if isinstance(cost, Tensor):
            self.set_distance(cost)
        elif not isinstance(cost, Mapping):
            raise TypeError(f'cost must be a dict with a type or a tensor, got {cost!r}')
        else:
            self.distance_source = adopt(registry.build(cost))

    @property
    def needs(self) -> tuple[str, ...]:
        """The separated form treats the target class by itself."""
        return ('target',) if self.separated else ()

    @property
    def fading_part(self) -> str | None:
        """The reference's decay leaves the target part alone."""
        return 'transport_weight' if self.separated else None

    def reserve(self, num_classes: int) -> None:
        """Make the buffer, so that it is there before DDP looks and before weights load.

        Raises:
            ValueError: If it is there for another number of classes.
        """
        shape = (num_classes, num_classes)
        if not hasattr(self, 'cost'):
            self.register_buffer('cost', torch.zeros(shape))
        if self.cost.shape != shape:
            raise ValueError(
                f'the logits stand for {num_classes} classes, the class distances have the shape '
                f'{tuple(self.cost.shape)}'
            )

    def set_distance(self, distance: Tensor) -> None:
        """Sharpen class distances into the cost.

        Args:
            distance: Shape ``(C, C)``, symmetric, >= 0, zero diagonal.

        Raises:
            ValueError: If it is none of that, or made for another number of classes.
        """
        if not hasattr(self, 'cost'):
            self.reserve(len(distance))
        if distance.shape != self.cost.shape:
            raise ValueError(
                f'the class distances must have the shape {tuple(self.cost.shape)}, '
                f'got {tuple(distance.shape)}'
            )
        cost = distance_to_cost(distance.double(), sharpness=self.sharpness)
        largest = float(cost.max())
        if not self.log_domain and self.epsilon < largest / 30:
            warnings.warn(
                f'epsilon {self.epsilon} is below 1/30 of the largest cost {largest:.3g}: the '
                'Sinkhorn kernel vanishes and the loss with it; set log_domain=True',
                stacklevel=2,
            )
        self.cost.copy_(cost)
        self.ready = True

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """Loss of logits ``(N, C)``, scalar; ``target`` ``(N,)`` is needed when separated.

        ``weight`` ``(N,)`` and ``avg_factor`` as of the function.

        Raises:
            RuntimeError: Without class costs.
            ValueError: If the target is missing, or as in the function.
        """
        loss = wkd_logit_loss(
            student,
            teacher,
            self.cost,
            self._checked(target),
            temperature=self.temperature,
            transport_weight=self.transport_weight,
            epsilon=self.epsilon,
            num_iters=self.num_iters,
            log_domain=self.log_domain,
            standardize=self.standardize,
            debiased=self.debiased,
            weigh_by_non_target=self.weigh_by_non_target,
            weight=weight,
            avg_factor=avg_factor,
        )
        return scaled(loss, self.loss_weight)

    def plan(self, student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """Which class lends mass to which, with the settings of this loss.

        Args:
            student: Logits, shape ``(N, C)``.
            teacher: Logits, shape ``(N, C)``.
            target: Class indices, shape ``(N,)``; needed when separated.

        Returns:
            Shape ``(N, C, C)``; see :func:`wkd_det.functional.wkd_transport_plan`.

        Raises:
            RuntimeError, ValueError: As the loss.
        """
        return wkd_transport_plan(
            student,
            teacher,
            self.cost,
            self._checked(target),
            temperature=self.temperature,
            epsilon=self.epsilon,
            num_iters=self.num_iters,
            log_domain=self.log_domain,
            standardize=self.standardize,
        )

    def _checked(self, target: Tensor | None) -> Tensor | None:
        if not self.ready:
            raise RuntimeError('WKDLogitLoss has no class cost yet: call set_distance')
        if self.separated and target is None:
            raise ValueError('target is needed by the separated form; or set separated=False')
        return target if self.separated else None

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f'{prefix}cost')
        if self.ready and saved is not None:
            same = saved.shape == self.cost.shape and torch.allclose(
                saved.to(self.cost), self.cost, atol=1e-5
            )
            if not same:
                warnings.warn(
                    f'{prefix}cost of the checkpoint differs from the one of this config and '
                    'teacher, which is used',
                    stacklevel=2,
                )
            state_dict[f'{prefix}cost'] = self.cost.clone()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
