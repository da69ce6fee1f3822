"""The names of ``mmcv._ext`` that torchvision's kernels, or torch alone, can serve.

Signatures are those that ``mmcv.ops`` calls: tensors by position, numbers by name, and results
written into tensors that the caller brings. Every other name of the compiled module is a function
that raises ``NotImplementedError`` with that name when it is called, not when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from wkd_det_standin.attention import ms_deform_attn_backward, ms_deform_attn_forward
from wkd_det_standin.boxes import bbox_overlaps, nms, nms_match, softnms
from wkd_det_standin.convolutions import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from wkd_det_standin.focal import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from wkd_det_standin.regions import (
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
)

__all__ = [
    'bbox_overlaps',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """Return what ``collect_env`` shows as the compiler of mmcv."""
    return 'none (kernels of torchvision, by wkd_det)'


def get_compiling_cuda_version() -> str:
    """Return what ``collect_env`` shows as the CUDA of mmcv."""
    return 'not available'


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv's {name} needs a compiled mmcv: torchvision has no kernel for it"
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse
