"""Layout of memory: the channels of each pixel side by side, quicker for small convolutions."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from wkd_det.distillation.channels_last import lay_out_channels_last


class ChannelsLastHook(Hook):
    """Trains a model with the channels of each pixel side by side.

    Values differ in rounding alone; see
    :func:`~wkd_det.distillation.channels_last.lay_out_channels_last`. Checkpoints have the same
    keys and shapes, and can be read by runs without the hook; a run is resumed exactly if it keeps
    it. A teacher is no part of the model: its own option ``inference=dict(channels_last=True)``
    lays it out so.
    """

    def before_train(self, runner: Any) -> None:
        lay_out_channels_last(runner.model)
