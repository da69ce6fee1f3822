"""The look for terms that are not finite, which a GPU is not waited for, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.logging import MessageHub
from torch import Tensor
from torch.autograd import Variable

from wkd_det.distillation.view import Pair


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


def raise_not_finite(
    flags: FiniteFlags,
    losses: Mapping[str, Tensor],
    pairs: Mapping[str, Sequence[Pair]],
    when: str,
) -> None:
    """Raise what is wrong with the first loss that is not finite, if there is one.

    Args:
        flags: Those of the losses.
        losses: Scalars by name.
        pairs: Those that each of them has compared.
        when: The result of :func:`at_iteration` in the step of the losses.

    Raises:
        FloatingPointError: With the text of :func:`what_is_wrong`.
    """
    for name in flags.names():
        raise FloatingPointError(what_is_wrong(name, losses[name], pairs[name], when))


def what_is_wrong(name: str, loss: Tensor, pairs: Sequence[Pair], when: str) -> str:
    """A message about a term that is not finite, here or in another process.

    Args:
        name: Key of the term.
        loss: Its value here.
        pairs: Those that it has compared.
        when: The result of :func:`at_iteration` in the step of the loss.
    """
    if loss.isfinite():
        return f'distillation term {name} is not finite in another process{when}'
    return f'distillation term {name} is {loss.item()}{when}: {ranges(pairs)}'


def at_iteration() -> str:
    """The iteration, counted from 1 as the log does; empty where no runner is at work."""
    iteration = MessageHub.get_current_instance().get_info('iter')
    return '' if iteration is None else f' at iteration {iteration + 1}'


def compared(pairs: Sequence[Pair]) -> list[dict[str, list[Tensor]]]:
    """The values of student and teacher in each pair as lists, without the graph behind them.

    Args:
        pairs: Each with a tensor or a sequence of tensors for ``student`` and ``teacher``, of
            which one may be missing; a result of this function gives the same again.
    """
    return [
        {
            side: [part.detach() for part in parts_of(pair[side])]
            for side in ('student', 'teacher')
            if side in pair
        }
        for pair in pairs
    ]


def parts_of(values: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """One side of a pair as a list: of its tensor, or of those of a pyramid."""
    return [values] if isinstance(values, Tensor) else list(values)


def ranges(pairs: Sequence[Pair]) -> str:
    """Shape and range of every tensor in :func:`compared`, and how much of it is finite."""
    return '; '.join(
        f'{side} {_range(part)}'
        for sides in compared(pairs)
        for side, parts in sides.items()
        for part in parts
    )


def _range(values: Tensor) -> str:
    """Shape, range of the finite values and how many are finite."""
    shape = tuple(values.shape)
    if values.numel() == 0:
        return f'{shape} is empty'
    finite = values[values.isfinite()].double()
    share = f'{finite.numel() / values.numel():.4%} finite'
    if finite.numel() == 0:
        return f'{shape} has no finite value'
    return f'{shape} in [{finite.min().item():.4g}, {finite.max().item():.4g}], {share}'
