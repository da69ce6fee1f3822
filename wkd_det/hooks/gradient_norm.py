"""How hard each distillation term pulls at the student, next to its task: a hook for the log."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from wkd_det.distillation.distiller import distiller_of
from wkd_det.ops.checks import check_integers


class GradientNormHook(Hook):
    """Logs the norm of each term's gradient over that of the task's losses, every few steps.

    Both are taken where the term meets the student's trunk, over all levels and samples of all
    processes: at the modules of the trunk that its tap reads, and for taps behind it at its end.
    That is the output of the neck for detectors (of the backbone without one), and the input of
    the last layer for classifiers. Weight and schedule of the term are in it: at 0.2 the term
    moves the trunk a fifth as hard as the task does. Entries are called ``gradient_<term>``.

    A step that is measured goes back through the heads once for the task and once for each term;
    others cost nothing. Training is not changed by it.

    Args:
        interval: Iterations from one measurement to the next. That of the logger hook, or a
            divisor of it: lines of the log repeat the latest value.

    Raises:
        ValueError: If ``interval`` is no positive integer.
    """

    def __init__(self, *, interval: int = 50) -> None:
        check_integers(interval=interval)
        self.interval = interval

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        distiller = distiller_of(runner)
        if distiller is not None and self.every_n_train_iters(runner, self.interval):
            distiller.log_gradients()
