"""Attention over the pixels of a pyramid, in blocks of queries, so that memory stays bounded."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import equal_parts, without_autocast

_BLOCK_ELEMENTS = 2**22  # in the weights of a block: 16 MiB in float32
_BLOCK_ELEMENTS_OF_ACCELERATORS = 2**25  # 128 MiB: there, few launches count


def attend(
    query: Tensor, key: Tensor, value: Tensor, outside: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Values that queries find by their attention, and the attention summed over some queries.

    .. math::
        a_{nmls} = \operatorname{softmax}_s (q_{nml} \cdot k_{nms}), \qquad
        \text{found}_{nml} = \sum_s a_{nmls} v_{nms}, \qquad
        \text{attended}_{nms} = \sum_l w_{nl} a_{nmls}

    The attention itself, ``(N, M, L, S)``, is never built: it is made in blocks of queries, and
    once more backward. Memory in addition to arguments, results and their gradients is that of two
    blocks, whatever the numbers of images, heads and queries are.

    Convention:
        - Queries come scaled.
        - A pixel outside gets no attention; in an image without another pixel all get the same.

    Args:
        query: Shape ``(N, M, L, D)``: images, heads, queries.
        key: Shape ``(N, M, S, D)``: images, heads, pixels.
        value: Shape ``(N, M, S, E)``.
        outside: Pixels that do not count, bool, shape ``(N, S)``.
        counted: :math:`w`, shape ``(N, L)``.

    Returns:
        What the queries find, shape ``(N, M, L, E)``, differentiable once by query, key and value;
        and the sum of the attention, shape ``(N, M, S)``, without a gradient.
    """
    heads = query.shape[:2]
    outside = outside[:, None].expand(*heads, -1).flatten(0, 1)
    counted = counted[:, None].expand(*heads, -1).flatten(0, 1)
    query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
    found, attended = _Attend.apply(query, key, value, outside, counted)
    return found.unflatten(0, heads), attended.unflatten(0, heads)


class _Attend(torch.autograd.Function):
    """Attention of ``G`` groups, each a head in an image."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        outside: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor]:
        found = query.new_empty(*query.shape[:2], value.shape[2])
        attended = query.new_zeros(key.shape[:2])
        with without_autocast(query):
            for groups, rows in _blocks(query, key):
                weights = _weights(query[groups, rows], key[groups], outside[groups])
                found[groups, rows] = weights @ value[groups]
                attended[groups] += (counted[groups, None, rows] @ weights)[:, 0]
        ctx.save_for_backward(query, key, value, outside, found)
        ctx.mark_non_differentiable(attended)
        return found, attended

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, value, outside, found = ctx.saved_tensors
        grads = by_query, by_key, by_value = [
            torch.zeros_like(tensor) if wanted else None
            for tensor, wanted in zip((query, key, value), ctx.needs_input_grad)
        ]
        with without_autocast(grad):  # backward() may be called inside an autocast block
            mean = (grad * found).sum(dim=2, keepdim=True)  # of the slopes, by attention
            for groups, rows in _blocks(query, key):
                weights = _weights(query[groups, rows], key[groups], outside[groups])
                if by_value is not None:
                    by_value[groups].baddbmm_(weights.mT, grad[groups, rows])
                if by_query is None and by_key is None:
                    continue
                slopes = grad[groups, rows] @ value[groups].mT
                slopes.sub_(mean[groups, rows]).mul_(weights)
                slopes.masked_fill_(outside[groups, None], 0)
                if by_query is not None:
                    by_query[groups, rows] = slopes @ key[groups]
                if by_key is not None:
                    by_key[groups].baddbmm_(slopes.mT, query[groups, rows])
        return (*grads, None, None)


def _weights(query: Tensor, key: Tensor, outside: Tensor) -> Tensor:
    """Attention of a block, in the memory of its scores."""
    scores = query @ key.mT
    # The lowest number, not -inf: a row without any pixel stays finite.
    scores.masked_fill_(outside[:, None], torch.finfo(scores.dtype).min)
    scores.sub_(scores.amax(dim=2, keepdim=True)).exp_()
    return scores.div_(scores.sum(dim=2, keepdim=True))


def _blocks(query: Tensor, key: Tensor) -> list[tuple[slice, slice]]:
    """Cut groups into parts, and the queries of a group if it alone is too large."""
    groups, rows, _ = query.shape
    on_cpu = query.device.type == 'cpu'
    elements = _BLOCK_ELEMENTS if on_cpu else _BLOCK_ELEMENTS_OF_ACCELERATORS
    pixels = max(key.shape[1], 1)
    parts = equal_parts(rows, elements // pixels)
    at_once = elements // (pixels * max(rows, 1))
    return [(group, part) for group in equal_parts(groups, at_once) for part in parts]
