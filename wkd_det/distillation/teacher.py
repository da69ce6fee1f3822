"""The teacher beside the student: used by it, never part of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from wkd_det.distillation.class_order import ClassOrder


class Teacher:
    """Holds a frozen network outside the module tree of its holder.

    No ``nn.Module``, hence absent from ``state_dict``, ``parameters``, DDP, SyncBN conversion,
    ``init_weights`` and ``train()``; a deep copy of the student (EMA) shares it.

    Args:
        module: The network; set to eval mode, its parameters stop requiring gradients.
        class_names: Names of its classes in order, if the checkpoint tells.

    Attributes:
        class_order: The student's classes among its own, where they differ.
    """

    def __init__(self, module: nn.Module, class_names: list[str] | None = None) -> None:
        self.module = module.eval().requires_grad_(False)
        self.class_names = class_names
        self.class_order: ClassOrder | None = None

    def __deepcopy__(self, memo: dict) -> Teacher:
        return self

    def follow(self, inputs: Tensor) -> None:
        """Go to the device and the floating type of a batch.

        Asked for in each pass instead of hooked into the student's ``to``, which some wrappers
        (FSDP) never call. Costs one comparison where nothing has moved.
        """
        own = next(self.module.parameters(), None)
        if own is not None and (own.device, own.dtype) != (inputs.device, inputs.dtype):
            self.module.to(inputs.device, inputs.dtype)

    def __repr__(self) -> str:
        return f'Teacher({type(self.module).__name__}, frozen)'

    def __reduce__(self) -> Any:
        raise TypeError('a Teacher is not pickled: save the student, whose checkpoint is complete')
