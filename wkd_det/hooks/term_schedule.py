"""Distillation terms whose weight changes over training: the hook that scales them per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from wkd_det.distillation.distiller import distiller_of
from wkd_det.distillation.schedule import TermSchedule
from wkd_det.ops.checks import are_names, check_booleans


class TermScheduleHook(Hook):
    """Scales distillation terms, or parts of them, from step to step.

    ``dict(type='TermScheduleHook', decay_from=150)`` is the decay of the WKD reference
    implementation: every term fades after epoch 150 and is 0 in the last one, except that the
    target part of a separated WKD-L keeps its weight. ``decay_from=0`` is its preset for
    ImageNet.

    A name under ``distill`` stands for the whole term: at 0 it is not computed, and when no term
    is left the teacher does not run. ``<name>.<argument>`` stands for the part that an argument
    of the loss weighs, e.g. ``loss_wkd_l.transport_weight``. Several hooks may scale different
    terms; the scale of each is logged as ``scale_<name>``.

    The scale depends on the step alone, so it is right after a resume. When iterations are
    counted and gradients accumulated, all batches of one update share a scale, that of its last
    iteration: as with the larger batch and every number of steps divided by
    ``accumulative_counts``.

    Args:
        terms: Names of the terms or parts that are scaled, at least one; None scales all terms as
            the reference does.
        by_epoch: Whether steps are epochs or iterations.
        factor: Constant factor, >= 0.
        warm_up: Number of steps of growth from 0.
        ramp: ``'linear'`` or ``'cosine'`` growth.
        decay_from: Last step before a cosine decay; 0 decays from the start, None never.
        decay_to: Step in which the decay reaches 0; the last one by default.
        stop: Number of steps after which the terms are off.

    Raises:
        TypeError: If ``terms`` is no list of names.
        ValueError: If ``terms`` is empty, an option is outside its range or ``ramp`` is neither;
            when training starts, if epochs are asked for in an iteration-based loop, or the decay
            would begin after the end.
        KeyError: When training starts, if a name is unknown; it lists the valid ones.

    See :class:`wkd_det.distillation.schedule.TermSchedule` for the formula.
    """

    def __init__(
        self,
        *,
        terms: Sequence[str] | None = None,
        by_epoch: bool = True,
        factor: float = 1.0,
        warm_up: int = 0,
        ramp: str = 'linear',
        decay_from: int | None = None,
        decay_to: int | None = None,
        stop: int | None = None,
    ) -> None:
        check_booleans(by_epoch=by_epoch)
        if terms is not None:
            _check_names(terms)
        self.terms = None if terms is None else list(terms)
        self.by_epoch = by_epoch
        self.schedule = TermSchedule(
            factor=factor,
            warm_up=warm_up,
            ramp=ramp,
            decay_from=decay_from,
            decay_to=decay_to,
            stop=stop,
        )
        self._addresses: list[str] = []

    def before_train(self, runner: Any) -> None:
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError('an IterBasedTrainLoop has no epochs: set by_epoch=False')
        self.schedule.check(self._last(runner))
        self._addresses = self._find(runner)
        for other in runner.hooks:
            if other is self or not isinstance(other, TermScheduleHook):
                continue
            shared = sorted(set(self._addresses) & set(other._find(runner)))
            if shared:
                raise ValueError(f'{shared} are scaled by two TermScheduleHooks: use one')

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        scale = self.schedule.at(self._step(runner), self._last(runner))
        for address in self._addresses:
            distiller_of(runner).set_scale(address, scale)
            short = address.removeprefix('loss_')
            runner.message_hub.update_scalar(f'train/scale_{short}', scale)

    def _find(self, runner: Any) -> list[str]:
        distiller = distiller_of(runner)
        if self.terms is None:
            return [] if distiller is None else distiller.distilled_parts()
        valid = [] if distiller is None else distiller.scalable()
        unknown = [name for name in self.terms if name not in valid]
        if unknown:
            raise KeyError(f'TermScheduleHook.terms: unknown {unknown}; valid are {valid}')
        return self.terms

    def _last(self, runner: Any) -> int:
        return runner.max_epochs if self.by_epoch else runner.max_iters

    def _step(self, runner: Any) -> int:
        if self.by_epoch:
            return runner.epoch + 1
        window = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        return min((runner.iter // window + 1) * window, runner.max_iters)


def _check_names(terms: Any) -> None:
    if not are_names(terms):
        raise TypeError(f'terms must be a list of names, got {terms!r}')
    if not terms:
        raise ValueError(f'terms must name at least one term, got {terms!r}: None scales all')
