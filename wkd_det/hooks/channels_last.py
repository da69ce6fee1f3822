"""Layout of memory: the channels of each pixel side by side, quicker for small convolutions."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from wkd_det.distillation.distiller import distiller_of


class ChannelsLastHook(Hook):
    """Trains a model, and lets its teacher run, with the channels of each pixel side by side.

    Convolutions whose weights lie so give maps that lie so, whatever the images are. Values
    differ in rounding alone. Checkpoints have the same keys and shapes, and can be read by runs
    without the hook; a run is resumed exactly if it keeps it.
    """

    def before_train(self, runner: Any) -> None:
        runner.model.to(memory_format=torch.channels_last)
        distiller = distiller_of(runner)
        if distiller is not None and distiller.teacher is not None:  # it is no part of the model
            distiller.teacher.module.to(memory_format=torch.channels_last)
