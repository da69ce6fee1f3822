"""Deformable convolutions of both versions (Dai et al. 2017, Zhu et al. 2019) by torchvision.

Maps are ``(N, C, H, W)``, offsets ``(N, 2 G K, H', W')`` in pixels with y before x, masks
``(N, G K, H', W')``, for ``G`` groups of offsets and ``K`` weights in a window.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  defines torch.ops.torchvision
from torch import Tensor


def deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the convolution at moved places. ``columns`` and ``ones`` stay as they are."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(_convolve(features, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_features: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients for maps and offsets."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _gradients(grad_output, features, weight, offset, None, None, geometry)
    grad_features.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add the gradient for the weights, times ``scale``; it does not depend on their values."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _gradients(grad_output, features, grad_weight, offset, None, None, geometry)
    grad_weight.add_(grads[1], alpha=scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the convolution at moved places, each weighed by the mask.

    The dynamic head of MMDetection brings offsets and masks of a larger level; see :func:`_read`.
    """
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    shift = bias if with_bias else None
    offset, mask = (_read(values, output.shape[-2:]) for values in (offset, mask))
    output.copy_(_convolve(features, weight, offset, mask, shift, geometry))


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_features: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the gradients for maps, weights, bias, offsets and masks."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    shift = bias if with_bias else None
    offset, mask = (_read(values, grad_output.shape[-2:]) for values in (offset, mask))
    grads = _gradients(grad_output, features, weight, offset, mask, shift, geometry)
    results = (grad_features, grad_weight, grad_offset, grad_mask, *([grad_bias] * with_bias))
    for result, grad in zip(results, grads):
        if result.shape != grad.shape:  # of a larger map, as in _read
            flat = result.new_zeros(result.shape).flatten(1)
            flat[:, : grad[0].numel()] = grad.flatten(1)
            grad = flat.reshape(result.shape)
        result.copy_(grad)


def _read(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Offsets or masks as mmcv's kernel reads them for an output of that size.

    It takes the numbers of an image in their order in memory and does not look at the shape, so
    of a larger map it reads the first ones.
    """
    if values.shape[-2:] == size:
        return values
    count = values.shape[1] * size[0] * size[1]
    return values.flatten(1)[:, :count].reshape(*values.shape[:2], *size)


def _convolve(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> Tensor:
    bias, filled = _filled(features, weight, mask, bias)
    return torch.ops.torchvision.deform_conv2d(
        features, weight, offset, filled, bias, *geometry, mask is not None
    )


def _gradients(
    grad_output: Tensor,
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> tuple[Tensor, ...]:
    """Gradients for maps, weights, offsets, masks and bias."""
    bias, filled = _filled(features, weight, mask, bias)
    return torch.ops.torchvision._deform_conv2d_backward(
        grad_output, features, weight, offset, filled, bias, *geometry, mask is not None
    )


def _filled(
    features: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Bias and mask as the kernel wants them where there is none."""
    return (
        weight.new_zeros(len(weight)) if bias is None else bias,
        features.new_zeros((len(features), 1)) if mask is None else mask,
    )
