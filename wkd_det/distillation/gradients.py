"""Gradients of losses where a term meets the student's trunk, without a step of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from wkd_det.distillation.recording import tensors_in, watching

try:
    from torch.autograd.graph import get_gradient_edge
except ImportError:  # before torch 2.2: the tensor itself, as long as nobody changes it
    get_gradient_edge = None

_HALF_FACTOR = 1024.0  # a power of 2: gradients of 1e-7, as maps have, survive in float16


class Trunk:
    """Places in the graph of one pass of the student, and the task's loss of this pass.

    A place is a module: what it returns, or with ``:input`` what it is given, in each of its runs.
    What has no gradient is left out.

    Args:
        groups: Places where each term meets the trunk, by the name of the term.

    Attributes:
        task: Sum of the losses of the plain student, scalar; to be set when the pass is over.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        self.groups = groups
        self.task: Tensor | None = None
        # What autograd differentiates by, a GradientEdge or a tensor, and the tensor's version.
        self._edges: dict[str, list[tuple[Any, int]]] = {}
        self._in_half = False

    def note(self, place: str, values: Any) -> None:
        """Keep where the tensors of a place stand in the graph, now: they may change in place."""
        for value in tensors_in(values):
            if value.requires_grad:
                edge = value if get_gradient_edge is None else get_gradient_edge(value)
                self._edges.setdefault(place, []).append((edge, value._version))
                self._in_half |= value.dtype == torch.float16
                self._nothing = torch.zeros((), device=value.device)

    def norms(self, terms: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Norms of the gradients of each term and of the task where they meet, by name.

        Over the batches of all processes, which must all call it; no value is waited for.

        Args:
            terms: Scalar losses by name; a term of ``groups`` that had nothing to compare in this
                batch may be missing.

        Raises:
            ValueError: If nothing at a group has a gradient.
        """
        own = [self.squares(terms.get(name), [group])[0] for name, group in self.groups.items()]
        sums = torch.stack(own + self.squares(self.task, list(self.groups.values())))
        all_reduce(sums, 'sum')
        return dict(zip(self.groups, zip(*sums.sqrt().chunk(2))))

    def squares(self, loss: Tensor | None, groups: Sequence[Sequence[str]]) -> list[Tensor]:
        """Sum of the squared gradient of a loss at each group of places; float32 scalars.

        The graph stays, and neither parameters nor the hooks on them (DDP's) see anything.

        Args:
            loss: Scalar; None for nothing, whose gradient is 0.
            groups: Places of each group; of several maps all values count alike.

        Raises:
            ValueError: If nothing at a group has a gradient, activations behind it are computed
                again in the backward pass, or with torch 2.1 a later layer has changed what was
                noted.
        """
        places = list(dict.fromkeys(place for group in groups for place in group))
        edges = [edge for place in places for edge, _ in self._edges.get(place, ())]
        self._check_versions(places)
        for group in groups:
            if not any(place in self._edges for place in group):
                raise ValueError(
                    f'no gradient reaches {list(group)} of the student: it did not run in this '
                    'pass, or nothing before it is trained'
                )
        found: Iterable[Tensor | None] = [None] * len(edges)
        factor = _HALF_FACTOR if self._in_half else 1.0
        if isinstance(loss, Tensor) and loss.requires_grad:
            found = _gradients(loss, edges, factor)
        gradients = iter(found)
        sums = {}
        for place in places:
            each = [next(gradients) for _ in self._edges.get(place, ())]
            parts = [(one.float() / factor).square().sum() for one in each if one is not None]
            sums[place] = sum(parts, self._nothing)
        return [sum(sums[place] for place in group) for group in groups]

    def _check_versions(self, places: Iterable[str]) -> None:
        """Refuse tensors that were changed in place, where torch has no edges to remember them."""
        for place in places if get_gradient_edge is None else ():
            if any(value._version != version for value, version in self._edges.get(place, ())):
                raise ValueError(
                    f'a later layer changes {place!r} of the student in place, so that torch '
                    'before 2.2 cannot tell the gradient there: tap another place, use a newer '
                    'torch, or leave out GradientShare and GradientNormHook'
                )


def _gradients(loss: Tensor, edges: Sequence[Any], factor: float) -> tuple[Tensor | None, ...]:
    """Gradients of a loss times a factor, whose graph stays; None where it does not reach."""
    try:
        return torch.autograd.grad(
            loss, edges, torch.full_like(loss, factor), retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        if 'checkpoint' not in str(error).lower():
            raise
        raise ValueError(
            'gradients of terms cannot be measured through layers that compute their activations '
            'again: train without with_cp (activation checkpointing), or leave out GradientShare '
            'and GradientNormHook'
        ) from error


@contextmanager
def trunk_of(network: nn.Module, groups: Mapping[str, Sequence[str]]) -> Iterator[Trunk]:
    """A block in which the student runs and its places are noted.

    Args:
        network: Its hooks are removed when the block ends, however it ends.
        groups: Names of its modules by the names of terms; ``''`` is the network, ``:input`` at
            the end what a module is given. Where there are none, nothing is done.

    Raises:
        ValueError: If parts of the student are sharded by themselves.
    """
    trunk = Trunk(groups)
    if groups:
        _refuse_shards(network)
    places = dict.fromkeys(place for group in groups.values() for place in group)
    with watching(network, places, trunk.note):
        yield trunk


def _refuse_shards(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if name and type(module).__name__ == 'FullyShardedDataParallel':
            raise ValueError(
                f'gradients of terms cannot be measured while {name!r} of the student is sharded '
                'by itself: FSDP lets the backward pass through it once. Wrap the whole model, use '
                'DDP, or leave out GradientShare and GradientNormHook'
            )
