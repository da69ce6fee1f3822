"""The look for terms that are not finite, which a GPU is not waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.autograd import Variable


class FiniteFlags:
    """Which losses of a step are finite, in every process; on the way to the host.

    On a GPU the copy is queued behind what computes the losses, and nobody waits before
    :meth:`names` is called.

    Args:
        losses: Scalars by name, at least one.
    """

    def __init__(self, losses: Mapping[str, Tensor]) -> None:
        self._names = list(losses)
        # All of them at once: each look would wait for the device.
        flags = torch.stack([loss.detach() for loss in losses.values()]).isfinite().int()
        all_reduce(flags, 'min')
        self._copied: Any = None
        if flags.is_cuda:
            host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
            flags = host.copy_(flags, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        self._flags = flags

    def names(self) -> list[str]:
        """Names of the losses that are NaN or infinite here or in another process."""
        if self._flags.is_meta:  # has no values
            return []
        if self._copied is not None:
            self._copied.synchronize()
        return [name for name, finite in zip(self._names, self._flags.tolist()) if not finite]


class LateLook:
    """A look that is taken when the backward pass of a step has been queued.

    That is before the optimizer is called, so an error there leaves the weights as they were. The
    device has work meanwhile, and the flags are long there. In a step without a backward pass the
    look is taken by the next one, or never.
    """

    def __init__(self) -> None:
        self._pending: Callable[[], None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LateLook:
        return LateLook()  # the look belongs to a step of the original

    def __reduce__(self) -> Any:
        return LateLook, ()

    def plan(self, losses: Mapping[str, Tensor], look: Callable[[], None]) -> None:
        """Call ``look`` at the end of the backward pass through the losses.

        Args:
            losses: Those of the step by name. At once if none has a gradient.
            look: Raises what is wrong.
        """
        self._pending = look
        anchor = next((loss for loss in losses.values() if loss.requires_grad), None)
        if anchor is None:
            self.take()
            return

        def queue(grad: Tensor) -> None:
            Variable._execution_engine.queue_callback(self.take)

        anchor.register_hook(queue)

    def take(self) -> None:
        """Take the look that is planned, if there is one.

        Raises:
            FloatingPointError: Whatever the look raises.
        """
        look, self._pending = self._pending, None
        if look is not None:
            look()


def is_waited_for(device: torch.device) -> bool:
    """Whether reading a value of a device takes as long as all that is queued there."""
    return device.type == 'cuda'
