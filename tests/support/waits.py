"""A counter of what a GPU is waited for, on a machine without one."""

from __future__ import annotations

import traceback
from collections import Counter

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operators whose result, or its size, is read back by the host.
_READING = {
    '_local_scalar_dense', 'nonzero', 'masked_select', 'unique_dim', '_unique', '_unique2',
    'unique_consecutive', 'equal', 'bincount', 'repeat_interleave', 'linalg_eigh',
    '_linalg_eigh', 'linalg_cholesky', 'nms',
}  # fmt: skip
_MASKED = {'index', 'index_put', 'index_put_', '_index_put_impl_'}  # where a mask is an index
_READ = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__}
_WRITTEN = {torch.tensor, torch.as_tensor, Tensor.new_tensor}  # a copy from plain memory


class Waits:
    """Waits inside the block, by the line of this package, or else of the others, that asks.

    Counted are operators that give values or sizes to the host, tensors turned into numbers, and
    numbers that are brought to the device by a copy which waits for it.
    """

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._modes = (_Functions(self), _Operators(self))

    def __enter__(self) -> Waits:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def note(self, what: str) -> None:
        """Count a wait."""
        frames = [f'{one.filename}:{one.name}' for one in traceback.extract_stack()]
        own = [one.split('/wkd_det/')[-1] for one in frames if '/wkd_det/' in one]
        other = [one for one in frames if '/torch/' not in one and 'support/waits' not in one]
        where = own[-1] if own else other[-1].split('site-packages/')[-1]
        self.count[f'{where} {what}'] += 1


class _Functions(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        on_device = function is Tensor.new_tensor or kwargs.get('device') is not None
        if function in _READ or (function in _WRITTEN and on_device):
            self._waits.note(function.__name__)
        return function(*args, **kwargs)


class _Operators(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        known = name == 'repeat_interleave' and kwargs.get('output_size') is not None
        masked = name in _MASKED and any(
            one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        if masked or (name in _READING and not known):
            self._waits.note(name)
        return function(*args, **kwargs)
