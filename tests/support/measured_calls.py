"""Calls observed: value and gradient, largest tensor, number of operations."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def value_and_gradient(function, student, *args, **kwargs):
    """The value of a loss and its gradient for the student."""
    student = student.detach().clone().requires_grad_()
    value = function(student, *args, **kwargs)
    value.backward()
    return value.detach(), student.grad


class LargestTensor(TorchDispatchMode):
    """Records the largest number of elements that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


class Operations(TorchDispatchMode):
    """Number of operations, elements of the largest result, shapes of singular values."""

    def __init__(self):
        super().__init__()
        self.number = self.largest = 0
        self.svd_shapes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.number += 1
        if function.overloadpacket is torch.ops.aten._linalg_svd:
            self.svd_shapes.append(tuple(args[0].shape))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result
