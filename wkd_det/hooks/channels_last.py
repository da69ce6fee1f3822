"""Layout of memory: the channels of each pixel side by side, quicker for small convolutions."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook


class ChannelsLastHook(Hook):
    """Trains a model with the channels of each pixel side by side.

    Convolutions whose weights lie so give maps that lie so, whatever the images are. Values
    differ in rounding alone. Checkpoints have the same keys and shapes, and can be read by runs
    without the hook; a run is resumed exactly if it keeps it. A teacher is no part of the model:
    its own option ``inference=dict(channels_last=True)`` lays it out so.
    """

    def before_train(self, runner: Any) -> None:
        runner.model.to(memory_format=torch.channels_last)
