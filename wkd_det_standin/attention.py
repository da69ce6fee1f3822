"""Multi-scale deformable attention (Zhu et al., ICLR 2021) by mmcv's own torch code.

``mmcv.ops`` calls its kernel on GPUs only, and that torch code on CPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """Return the weighted sums of bilinear samples.

    Args:
        value: Values ``(N, cells, heads, C)`` of all levels.
        shapes: Heights and widths of the levels ``(L, 2)``.
        starts: Unused; the first cell of each level ``(L,)``.
        locations: Places between 0 and 1, x before y, ``(N, Q, heads, L, P, 2)``.
        weights: Weights ``(N, Q, heads, L, P)``.
        im2col_step: Unused; how many images the kernel takes at once.

    Returns:
        Sums ``(N, Q, heads * C)``.
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Write the gradients for values, locations and weights."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
        output = ms_deform_attn_forward(
            inputs[0], shapes, starts, *inputs[1:], im2col_step=im2col_step
        )
        grads = torch.autograd.grad(output, inputs, grad_output)
    for result, grad in zip((grad_value, grad_locations, grad_weights), grads):
        result.copy_(grad)
