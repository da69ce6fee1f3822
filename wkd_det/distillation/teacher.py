"""The teacher beside the student: used by it, never part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Teacher:
    """Holds a frozen network outside the module tree of its holder.

    No ``nn.Module``, hence absent from ``state_dict``, ``parameters``, DDP, SyncBN conversion,
    ``init_weights`` and ``train()``; a deep copy of the student (EMA) shares it.

    Args:
        module: The network; set to eval mode, its parameters stop requiring gradients.
        class_names: Names of its classes in order, if the checkpoint tells.
    """

    def __init__(self, module: nn.Module, class_names: list[str] | None = None) -> None:
        self.module = module.eval().requires_grad_(False)
        self.class_names = class_names

    def __deepcopy__(self, memo: dict) -> Teacher:
        return self

    def apply(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Follow a move of the student to another device or type."""
        self.module._apply(function)

    def __repr__(self) -> str:
        return f'Teacher({type(self.module).__name__}, frozen)'

    def __reduce__(self) -> Any:
        raise TypeError('a Teacher is not pickled: save the student, whose checkpoint is complete')
