"""The watch over terms: which of them teach nothing, and which drown the task."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor


class TermWatch:
    """Warns once for each term that stays at zero or dwarfs the task loss.

    The values stay on their device and are read once per window, so that no step waits.

    Args:
        window: Steps that are averaged.
        max_ratio: Largest mean of a term that causes no warning, in units of the mean task loss
            (the total less all terms).
    """

    def __init__(self, *, window: int = 50, max_ratio: float = 10.0) -> None:
        self.window = window
        self.max_ratio = max_ratio
        self._names: list[str] = []
        self._steps: list[Tensor] = []
        self._warned: set[tuple[str, str]] = set()
        self._governed: Container[str] = ()

    def update(
        self, terms: Mapping[str, Tensor], total: Tensor, governed: Container[str] = ()
    ) -> None:
        """Add one step.

        Args:
            terms: Scalar losses by name, of the terms that are switched on. With other names than
                before a new window begins.
            total: Sum of all losses.
            governed: Terms whose weight follows from gradients, whatever the value is.
        """
        self._governed = governed
        if list(terms) != self._names:
            self._names, self._steps = list(terms), []
        self._steps.append(
            torch.stack([value.detach().float() for value in (total, *terms.values())])
        )
        if len(self._steps) == self.window:
            total_mean, *means = torch.stack(self._steps).mean(0).tolist()
            self._steps = []
            self._judge(dict(zip(self._names, means)), total_mean - sum(means))

    def _judge(self, means: Mapping[str, float], task: float) -> None:
        for name, mean in means.items():
            if mean == 0:
                self._warn(name, 'zero', f'has been 0 for {self.window} steps: it teaches nothing')
            elif mean > self.max_ratio * abs(task) and name not in self._governed:
                self._warn(
                    name,
                    'dwarfs',
                    f'is {mean:.3g} on the mean of {self.window} steps, the task loss {task:.3g}: '
                    'lower its loss_weight',
                )

    def _warn(self, name: str, kind: str, message: str) -> None:
        if (name, kind) not in self._warned:
            self._warned.add((name, kind))
            print_log(
                f'distillation term {name} {message}', logger='current', level=logging.WARNING
            )
