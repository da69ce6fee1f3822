"""Layout of memory: the channels of each pixel side by side, quicker for small convolutions."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch.nn.parallel import DistributedDataParallel

from wkd_det.distillation.channels_last import lay_out_channels_last


class ChannelsLastHook(Hook):
    """Trains a model with the channels of each pixel side by side.

    Values differ in rounding alone; see
    :func:`~wkd_det.distillation.channels_last.lay_out_channels_last`. Checkpoints have the same
    keys and shapes, and can be read by runs without the hook. A teacher is no part of the model:
    its own option ``inference=dict(channels_last=True)`` lays it out so.

    Convention:
        - A run is resumed as it was begun, with the hook or without: the moments of an optimiser
          lie as its weights do, and a fused one misreads others.
        - DistributedDataParallel is the one way of several processes.

    Raises:
        ValueError: When training starts, if the model is in a wrapper that takes the weights apart.
    """

    def before_train(self, runner: Any) -> None:
        parts = runner.model.modules()
        wrappers = [part for part in parts if isinstance(part, DistributedDataParallel)]
        if is_model_wrapper(runner.model) and not wrappers:
            raise ValueError(
                'ChannelsLastHook: the wrapper of the model must be DistributedDataParallel, got '
                f'{type(runner.model).__name__}'
            )
        lay_out_channels_last(runner.model)
        for wrapper in wrappers:
            _make_buckets_anew(wrapper)


def _make_buckets_anew(wrapper: DistributedDataParallel) -> None:
    """Let the gradients that a wrapper gathers lie as the weights do now.

    Its buckets have the layout of the weights when it was made, and gradients are copied by their
    order in memory. They are made where a wrapper is read from a pickle.
    """
    wrapper.__setstate__(wrapper.__getstate__())
