"""Schedules: the factor of a term as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wkd_det.ops.checks import check_choice, check_nonnegative, is_integer


@dataclass(frozen=True)
class TermSchedule:
    r"""Factor of a distillation term as a function of the step, epoch or iteration.

    The product of four parts, each absent by default:

    .. math::
        s(e) = factor \cdot r(\min(1, e / warm\_up)) \cdot
        \tfrac12 (1 + \cos(\pi (e - e_0) / (e_1 - e_0))) \cdot [e \le stop]

    where the ramp is :math:`r(x) = x`, or :math:`\tfrac12 (1 - \cos(\pi x))` with
    ``ramp='cosine'``, and the other cosine holds between :math:`e_0` = ``decay_from`` and
    :math:`e_1` = ``decay_to``; before it the part is 1, after it 0.

    Convention:
        Steps count from 1, as the reference implementation counts epochs: the decay is 1 at the
        end of step ``decay_from`` and exactly 0 in step ``decay_to``; a warm-up of 5 gives 0.2 in
        the first step and 1 in the fifth, one of 1 changes nothing; with ``stop=5`` five steps
        have the term.

    Args:
        factor: Constant, >= 0.
        warm_up: Steps of growth from 0; 0 for none.
        ramp: ``'linear'`` or ``'cosine'`` growth.
        decay_from: Last step before the cosine decay; 0 decays from the start, None never.
        decay_to: Step in which the decay reaches 0; the last one of training by default.
        stop: Number of steps after which the factor is 0.

    Raises:
        ValueError: If a number is outside its range, or ``ramp`` is neither.

    References: the decay is that of the reference implementation of WKD; the paper has none. The
        cosine ramp is that of CTKD (Li et al., AAAI 2023).

    >>> decay = TermSchedule(decay_from=2)
    >>> [round(decay.at(epoch, last=6), 3) for epoch in range(1, 7)]
    [1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    factor: float = 1.0
    warm_up: int = 0
    ramp: str = 'linear'
    decay_from: int | None = None
    decay_to: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        check_nonnegative(factor=self.factor)
        for name in ('warm_up', 'decay_from', 'decay_to', 'stop'):
            value = getattr(self, name)
            if value is None and name != 'warm_up':
                continue
            if not is_integer(value, 0):
                raise ValueError(f'{name} must be a number of steps from 0 on, got {value!r}')
        check_choice(('linear', 'cosine'), ramp=self.ramp)
        if self.decay_to is not None:
            if self.decay_from is None:
                raise ValueError(f'decay_to={self.decay_to} needs decay_from, where it begins')
            _check_order(self.decay_from, self.decay_to)

    def check(self, last: int) -> None:
        """Refuse a decay that has no room before the ``last`` step of training.

        Raises:
            ValueError: With both numbers.
        """
        if self.decay_from is not None and self.decay_to is None:
            _check_order(self.decay_from, last)

    def at(self, step: int, last: int) -> float:
        """The factor in a step, counted from 1; ``last`` is the last one of training."""
        if self.stop is not None and step > self.stop:
            return 0.0
        value = self.factor
        if step < self.warm_up:
            done = step / self.warm_up
            value *= done if self.ramp == 'linear' else (1 - math.cos(math.pi * done)) / 2
        if self.decay_from is not None and step > self.decay_from:
            length = (last if self.decay_to is None else self.decay_to) - self.decay_from
            done = min(1.0, (step - self.decay_from) / length)
            value *= (1 + math.cos(math.pi * done)) / 2
        return value


def _check_order(decay_from: int, end: int) -> None:
    if decay_from >= end:
        raise ValueError(
            f'decay_from must lie before the end of the decay, step {end}, got {decay_from}'
        )
