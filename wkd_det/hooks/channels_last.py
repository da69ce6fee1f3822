"""Layout of memory: the channels of each pixel side by side, quicker for small convolutions."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from wkd_det.distillation.inference import is_operator_of_mmcv


class ChannelsLastHook(Hook):
    """Trains a model with the channels of each pixel side by side.

    Convolutions whose weights lie so give maps that lie so, whatever the images are. Values
    differ in rounding alone. Checkpoints have the same keys and shapes, and can be read by runs
    without the hook; a run is resumed exactly if it keeps it. A teacher is no part of the model:
    its own option ``inference=dict(channels_last=True)`` lays it out so.

    Operators of mmcv, RoIAlign and deformable convolutions among them, keep weights and maps in
    the usual layout: compiled kernels would read others as if they lay so, without an error.
    """

    def before_train(self, runner: Any) -> None:
        runner.model.to(memory_format=torch.channels_last)
        for module in runner.model.modules():
            if is_operator_of_mmcv(module):
                module.to(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(_in_usual_layout)


def _in_usual_layout(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.contiguous() if isinstance(one, Tensor) else one for one in inputs)
