"""A word in the log when a distillation term does nothing or drowns the task."""

from __future__ import annotations

import logging
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log

from wkd_det.distillation.distiller import Distiller


@HOOKS.register_module()
class TermWatchHook(Hook):
    """Warns once for each term that stays at zero or dwarfs the task loss.

    Every ``window`` steps it looks at the means over the last ``window`` steps of what the
    runner has logged anyway, so it costs no synchronisation. Plain models are left alone.

    Args:
        window: Steps that are averaged.
        max_ratio: Largest mean of a term, in units of the mean task loss (the total less all
            terms), that is not worth a warning.

    Raises:
        ValueError: If an option is outside its range.
    """

    def __init__(self, *, window: int = 50, max_ratio: float = 10.0) -> None:
        if window < 1:
            raise ValueError(f'window must be at least 1, got {window}')
        if max_ratio <= 0:
            raise ValueError(f'max_ratio must be positive, got {max_ratio}')
        self.window = window
        self.max_ratio = max_ratio
        self._warned: set[tuple[str, str]] = set()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        model = getattr(runner.model, 'module', runner.model)
        distiller = getattr(model, 'distiller', None)
        if not isinstance(distiller, Distiller) or not self.every_n_train_iters(
            runner, self.window
        ):
            return
        means = {
            name: runner.message_hub.get_scalar(f'train/{name}').mean(self.window)
            for name in ['loss', *distiller.terms]
        }
        task = means.pop('loss') - sum(means.values())
        for name, value in means.items():
            if distiller.terms[name].scale == 0:
                continue  # switched off by a schedule
            if value == 0:
                self._warn(name, 'zero', f'has been 0 for {self.window} steps: it teaches nothing')
            elif value > self.max_ratio * abs(task):
                self._warn(
                    name,
                    'dwarfs',
                    f'is {value:.3g} on the mean of {self.window} steps, the task loss {task:.3g}: '
                    'lower its loss_weight',
                )

    def _warn(self, name: str, kind: str, message: str) -> None:
        if (name, kind) not in self._warned:
            self._warned.add((name, kind))
            print_log(
                f'distillation term {name} {message}', logger='current', level=logging.WARNING
            )
