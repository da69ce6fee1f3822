"""Results of validations in a file: all that a metric returns, also lists and dicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook


class MetricFileHook(Hook):
    """Appends the results of each validation and test to a file, one line of JSON each.

    mmengine's own logs keep numbers alone. A metric that returns lists or dicts, the bins of a
    calibration curve for example, needs this hook to leave them behind. A line holds ``iter`` and
    ``epoch`` of the training (None in a test) and ``metrics``. A resumed run may repeat a
    validation: of the lines of one step the last one counts.

    Args:
        file: Name of the file in the runner's work folder.
    """

    priority = 'LOW'

    def __init__(self, file: str = 'validations.jsonl') -> None:
        self.file = file

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        in_training = runner._train_loop is not None and not isinstance(runner._train_loop, dict)
        steps = (runner.iter, runner.epoch) if in_training else (None, None)
        self._write(runner, metrics, *steps)

    def after_test_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        self._write(runner, metrics, None, None)

    @master_only
    def _write(
        self, runner: Any, metrics: dict[str, Any] | None, iteration: int | None, epoch: int | None
    ) -> None:
        line = json.dumps(
            dict(iter=iteration, epoch=epoch, metrics=metrics or {}),
            default=lambda value: value.tolist(),  # numbers of numpy and torch
        )
        with Path(runner.work_dir, self.file).open('a', encoding='utf-8') as file:
            file.write(f'{line}\n')
