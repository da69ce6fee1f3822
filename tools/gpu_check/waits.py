"""Places where the host waits for the device, and operators that one call dispatches.

On a GPU torch itself reports each wait (``torch.cuda.set_sync_debug_mode``). On a CPU nothing
waits; what would is known by what is called: reading a value, results whose size depends on values,
and numbers that are brought to the device. That is a stand-in: other copies do not show.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[2]
READERS = frozenset(
    {
        'aten::_linalg_eigh',
        'aten::_local_scalar_dense',
        'aten::_unique2',
        'aten::bincount',
        'aten::equal',
        'aten::is_nonzero',
        'aten::linalg_cholesky',
        'aten::masked_select',
        'aten::nonzero',
        'aten::repeat_interleave',
        'aten::unique_consecutive',
        'aten::unique_dim',
        'torchvision::nms',
    }
)
"""Operators after which the host knows values of the device: it has waited for them."""
_INDEXING = frozenset(
    {'aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_'}
)
_METHODS = frozenset({torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu})
_MAKERS = frozenset({torch.tensor, torch.as_tensor, torch.Tensor.new_tensor})
_FROM = ' from '


class OperatorWatch(TorchDispatchMode):
    """Counts the operators that are dispatched and are no views, forward and backward.

    A stand-in for the number of kernels on machines without a GPU: most operators are one
    kernel, some are several.

    Attributes:
        total: Number so far.
        readers: Number by place (:func:`place`) of those that read values: :data:`READERS`,
            indexing with a mask, and methods such as ``tolist``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.readers: Counter[str] = Counter()
        self._methods = _MethodWatch(self._note)

    def __enter__(self) -> OperatorWatch:
        self._methods.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._methods.__exit__(*exception)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name, kwargs or {}
        self.total += not _is_view(func)
        if name in _INDEXING:
            reads = _has_mask(args)
        else:  # a size that is given need not be waited for
            reads = name in READERS and kwargs.get('output_size') is None
        if reads:
            self._note()
        return func(*args, **kwargs)

    def _note(self) -> None:
        stack = _stack()
        # The counters of an optimizer are on the CPU, whatever the device of the weights.
        if not any(_is_of(filename, 'torch/optim') for filename, _ in stack):
            self.readers[place(stack)] += 1


class _MethodWatch(TorchFunctionMode):
    """Counts calls that read or bring values without an operator where the tensor is on the CPU."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        brings = func in _MAKERS and (
            func is torch.Tensor.new_tensor or kwargs.get('device') is not None
        )
        if brings or func in _METHODS:
            self._note()
        return func(*args, **kwargs)


def reported_waits(run: Callable[[], Any]) -> Counter[str]:
    """Return the places where a call on a GPU waits, as torch reports them, with their numbers."""
    seen: Counter[str] = Counter()

    def note(message: Warning | str, *where: Any, **options: Any) -> None:
        if 'called a synchronizing' in str(message):
            seen[place(_stack())] += 1

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode('warn')
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return seen


def beyond(places: Mapping[str, int], plain: Mapping[str, int]) -> Counter[str]:
    """Return the waits of a call that another one does not have.

    Waits in a library are compared by its line, whoever called it: a distilled model has the same
    ones on the way through its own code.

    >>> beyond({'a:1': 3, 'b:2': 1, 'c:3 from w:4': 2}, {'a:1': 1, 'c:3': 1})
    Counter({'a:1': 2, 'b:2': 1, 'c:3 from w:4': 1})
    """
    known = _by_line(plain)
    more: Counter[str] = Counter()
    for line, count in (_by_line(places) - known).items():
        callers = [name.partition(_FROM)[2] for name in places if name.startswith(line + _FROM)]
        more[f'{line}{_FROM}{", ".join(callers)}' if callers else line] = count
    return more


def place(stack: Sequence[tuple[str, int]]) -> str:
    """Return the innermost line outside torch, and where that is not wkd_det's, who called it.

    Args:
        stack: File and line of each frame of Python, the innermost first.

    Returns:
        ``'wkd_det/losses/kd.py:20'``, ``'mmdet/...:7 from wkd_det/...:20'``, or ``'mmdet/...:7'``.
    """
    frames = [frame for frame in stack if not _is_ours(frame[0])]
    inner = next((frame for frame in frames if not _is_of(frame[0], 'torch')), None)
    own = next((frame for frame in frames if _is_of(frame[0], 'wkd_det')), None)
    if inner is None:
        return 'torch'
    if own is None or inner is own:
        return _spot(inner)
    return f'{_spot(inner)}{_FROM}{_spot(own)}'


def _by_line(places: Mapping[str, int]) -> Counter[str]:
    lines: Counter[str] = Counter()
    for name, count in places.items():
        lines[name.partition(_FROM)[0]] += count
    return lines


def _is_view(func: Any) -> bool:
    """Whether results share the memory of an argument and nothing is written."""
    returns = func._schema.returns
    return bool(returns) and all(
        value.alias_info is not None and not value.alias_info.is_write for value in returns
    )


def _has_mask(args: Sequence[Any]) -> bool:
    """Whether entries are picked by a mask, which needs their number."""
    return any(
        isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
        for index in args[1]
    )


def _is_ours(filename: str) -> bool:
    """Whether a frame belongs to the measuring, or to the report of a warning."""
    name = _from_package(filename)
    return name.startswith('tools/gpu_check/') or name.endswith('/warnings.py')


def _is_of(filename: str, package: str) -> bool:
    return _from_package(filename).startswith(f'{package}/')


def _spot(frame: tuple[str, int]) -> str:
    return f'{_from_package(frame[0])}:{frame[1]}'


def _stack() -> list[tuple[str, int]]:
    """Return file and line of each frame, the innermost first; source lines are not read."""
    frames = traceback.walk_stack(sys._getframe(1))
    return [(frame.f_code.co_filename, line) for frame, line in frames]


@cache
def _from_package(filename: str) -> str:
    """Path of a file from its package, or the checkout, on."""
    name = Path(filename).as_posix().removeprefix(f'{ROOT.as_posix()}/')
    return name.rpartition('/site-packages/')[2]
