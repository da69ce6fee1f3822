"""Whether values depend on trained weights, seen from their graph: no backward pass is run."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

_RECOMPUTED = 'CheckpointFunction'  # activation checkpointing: the graph inside it is made later


def reaches(values: Iterable[Tensor], without: Iterable[Tensor] = ()) -> bool:
    """Return whether a backward pass from any of the values would arrive at a trained weight.

    Layers whose activations are computed again in the backward pass count as trained.

    Args:
        values: Tensors of any shape.
        without: Weights that do not count.
    """
    left_out = {id(weight) for weight in without}
    values = list(values)
    if any(value.is_leaf and value.requires_grad and id(value) not in left_out for value in values):
        return True
    waiting, seen = [value.grad_fn for value in values], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        weight = getattr(node, 'variable', None)  # of the nodes that accumulate its gradient
        if _RECOMPUTED in node.name() or (weight is not None and id(weight) not in left_out):
            return True
        waiting += [following for following, _ in node.next_functions]
    return False
