"""Mixed precision on a machine without a GPU: bfloat16 where the kernels of mmcv allow it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


class CPUAmpOptimWrapper(OptimWrapper):
    """Trains under ``torch.autocast`` in bfloat16 on the CPU.

    mmengine's ``AmpOptimWrapper`` refuses to work there. On a machine without an accelerator
    this class takes that name in the registries, so that ``--amp`` works.

    mmcv's CPU kernels do not support bfloat16, which also cannot tell neighbouring pixels apart
    beyond 256. So RoI extractors read float32, and the heads that give scores and boxes return
    it.

    Args:
        loss_scale: Accepted because ``--amp`` sets it, and not used: bfloat16 has the range of
            float32, so gradients need no scale.
        dtype: Only ``'bfloat16'``.
        **kwargs: Arguments of ``OptimWrapper``.

    Raises:
        ValueError: If ``dtype`` is another one.
    """

    def __init__(
        self, *, loss_scale: Any = None, dtype: str | None = 'bfloat16', **kwargs: Any
    ) -> None:
        if dtype not in (None, 'bfloat16', torch.bfloat16):
            raise ValueError(f'mixed precision on the CPU is bfloat16, got dtype={dtype!r}')
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        # Hooks on all modules, since the teacher and the taps are outside the model.
        handles = [
            register_module_forward_pre_hook(_feed_float32),
            register_module_forward_hook(_return_float32),
        ]
        try:
            with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _feed_float32(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return _float32(inputs) if hasattr(module, 'roi_layers') else None


def _return_float32(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    return _float32(output) if hasattr(module, 'predict_by_feat') else None


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
        return value.float()
    return type(value)(map(_float32, value)) if isinstance(value, (tuple, list)) else value
