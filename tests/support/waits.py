"""A counter of what a GPU is waited for, on a machine without one."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import wkd_det

_PACKAGE = os.path.dirname(wkd_det.__file__) + os.sep
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
    """Waits inside the block, by the function outside torch that asks.

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
        asking = [
            one for one in frames if '/torch/' not in one and one[: len(__file__)] != __file__
        ]
        where = asking[-1].removeprefix(_PACKAGE).split('site-packages/')[-1]
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
        if function is F.one_hot and len(args) > 1:  # looks at its values on a CPU alone
            with _paused(self._waits):
                return function(*args, **kwargs)
        return function(*args, **kwargs)


@contextmanager
def _paused(waits: Waits) -> Iterator[None]:
    before = waits.count.copy()
    yield
    waits.count = before


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
