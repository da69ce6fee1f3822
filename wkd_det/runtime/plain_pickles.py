"""Files of ``torch.save``, read by an unpickler that knows a fixed list of names and no others.

Torch's own reader with ``weights_only=True`` can be made to run code before 2.6 (CVE-2025-32434)
and has no list that could be extended; there this one reads. It takes the two formats that
``torch.save`` writes, and of each what checkpoints use: dense tensors, parameters, containers,
numbers and text.
"""

from __future__ import annotations

import _codecs
import os
import pickle
import struct
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

_MAGIC = 0x1950A86A20F9469CFC6C  # begins the format that torch wrote before 1.6
_FORMAT = 1001

_DTYPES = {
    'Double': torch.float64,
    'Float': torch.float32,
    'Half': torch.float16,
    'BFloat16': torch.bfloat16,
    'Long': torch.int64,
    'Int': torch.int32,
    'Short': torch.int16,
    'Char': torch.int8,
    'Byte': torch.uint8,
    'Bool': torch.bool,
    'ComplexFloat': torch.complex64,
    'ComplexDouble': torch.complex128,
}


class _Storage:
    """Memory that tensors share: bytes, and the type of the numbers in them."""

    def __init__(self, dtype: torch.dtype, count: Any, limit: int) -> None:
        if type(count) is not int or not 0 <= count * dtype.itemsize <= limit:
            raise pickle.UnpicklingError(f'{count} numbers of {dtype} are more than the file holds')
        self.dtype, self.count = dtype, count
        self.bytes = torch.empty(count * dtype.itemsize, dtype=torch.uint8)

    def fill(self, file: BinaryIO) -> None:
        """Take the bytes from a file.

        Raises:
            EOFError: If it ends before.
        """
        if file.readinto(memoryview(self.bytes.numpy())) != len(self.bytes):
            raise EOFError('the file ends within a tensor')


def _tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """Stand in for torch's function, which lets a tensor grow beyond its storage."""
    if type(storage) is not _Storage:
        raise pickle.UnpicklingError('a tensor without a storage')
    numbers = (offset, *size, *stride)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride))
    if any(type(number) is not int or number < 0 for number in numbers) or (
        0 not in size and last >= storage.count
    ):
        raise pickle.UnpicklingError(f'a tensor beyond its storage of {storage.count} numbers')
    tensor = torch.empty(0, dtype=storage.dtype)
    tensor.set_(storage.bytes.untyped_storage(), offset, size, stride)
    return tensor.requires_grad_(bool(requires_grad))


def _parameter(data: Tensor, requires_grad: bool = True, hooks: Any = None) -> nn.Parameter:
    return nn.Parameter(data, bool(requires_grad))


def _bytes(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, by which old pickles spell bytes."""
    if type(text) is not str or encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes in the encoding {encoding!r}')
    return _codecs.encode(text, 'latin1')


_KNOWN: dict[str, Any] = {
    **{f'torch.{name}Storage': dtype for name, dtype in _DTYPES.items()},
    **{str(dtype): dtype for dtype in _DTYPES.values()},
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_parameter': _parameter,
    'torch.Size': torch.Size,
    'torch.device': torch.device,
    'collections.OrderedDict': OrderedDict,
    'builtins.set': set,
    'builtins.complex': complex,
    '_codecs.encode': _bytes,
}


class _Dispatch(dict[int, Callable]):
    def __missing__(self, opcode: int) -> Callable:
        raise pickle.UnpicklingError(f'unknown instruction {opcode}')


class _Unpickler(pickle._Unpickler):
    """Python's own, of which the instructions that ``torch.save`` uses are left.

    What a pickle may look up, call, make and fill is in ``known`` alone, by name, whatever else
    is imported.
    """

    dispatch = _Dispatch()

    def __init__(self, file: BinaryIO, known: Mapping[str, Any], storage: Callable) -> None:
        super().__init__(file, encoding='utf-8')
        self._known = known
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for.

        Raises:
            pickle.UnpicklingError: For a name that is not in the list.
        """
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        path = f'{module}.{name}'
        if path not in self._known:
            named = path[len('builtins.') :] if module == 'builtins' else path
            raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {named}')
        return self._known[path]

    def persistent_load(self, saved: Any) -> _Storage:
        """Return a storage, the only thing that lies outside the pickle.

        Raises:
            pickle.UnpicklingError: If something else is asked for.
        """
        if type(saved) is not tuple or len(saved) < 5 or saved[0] != 'storage':
            raise pickle.UnpicklingError('the pickle refers to more than storages')
        kind, key, _, count, *view = saved[1:]
        if type(kind) is not torch.dtype or type(key) is not str or any(view):
            raise pickle.UnpicklingError(f'an unknown kind of storage, {kind}')
        return self._storage(kind, key, count)

    def _must_know(self, thing: Any) -> None:
        if not any(thing is known for known in self._known.values()):
            raise pickle.UnpicklingError(f'the pickle calls or fills {thing!r}')

    def load_reduce(self) -> None:
        self._must_know(self.stack[-2])
        super().load_reduce()

    def load_newobj(self) -> None:
        self._must_know(self.stack[-2])
        super().load_newobj()

    def load_build(self) -> None:
        state, filled = self.stack.pop(), self.stack[-1]
        self._must_know(type(filled))
        if hasattr(type(filled), '__setstate__'):
            filled.__setstate__(state)
        elif type(state) is dict:
            vars(filled).update(state)
        else:
            raise pickle.UnpicklingError(f'a state of {type(state).__name__} for {filled!r}')

    def _must_be(self, filled: Any, *kinds: type) -> None:
        if type(filled) not in kinds:
            raise pickle.UnpicklingError(f'the pickle fills a {type(filled).__name__}')

    def load_append(self) -> None:
        self._must_be(self.stack[-2], list)
        super().load_append()

    def load_appends(self) -> None:
        self._must_be(self.metastack[-1][-1], list)
        super().load_appends()

    def load_setitem(self) -> None:
        self._must_be(self.stack[-3], dict, OrderedDict)
        super().load_setitem()

    def load_setitems(self) -> None:
        self._must_be(self.metastack[-1][-1], dict, OrderedDict)
        super().load_setitems()


_INSTRUCTIONS = """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT
    SETITEM SETITEMS EMPTY_SET GLOBAL REDUCE BUILD NEWOBJ BINPERSID BINGET LONG_BINGET BINPUT
    LONG_BINPUT
"""
for _name in _INSTRUCTIONS.split():
    _code = getattr(pickle, _name)[0]
    # The base class calls functions, not methods: ours must be entered in place of its own.
    _Unpickler.dispatch[_code] = getattr(_Unpickler, pickle._Unpickler.dispatch[_code].__name__)


def read_plain(path: str | os.PathLike, allowed: Mapping[str, Any]) -> Any:
    """Return the content of a file of ``torch.save``, on the CPU.

    Args:
        path: The file.
        allowed: Types and functions, by the names that pickles give them, that it may hold in
            addition to tensors, containers, numbers and text.

    Raises:
        pickle.UnpicklingError: If it is none, or asks for more than is allowed.
        Exception: One of many kinds, if it is damaged.
    """
    known = {**_KNOWN, **allowed}
    limit = os.path.getsize(path)
    with open(path, 'rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'
        file.seek(0)
        return _zipped(file, known, limit) if zipped else _in_sequence(file, known, limit)


def _zipped(file: BinaryIO, known: Mapping[str, Any], limit: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        folder = archive.namelist()[0].partition('/')[0]
        entries = {item.filename.partition('/')[2]: item for item in archive.infolist()}
        if 'constants.pkl' in entries:
            raise pickle.UnpicklingError('It is a program of TorchScript')
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise pickle.UnpicklingError('It is a compressed archive')
        if 'byteorder' in entries:
            _check_order(archive.read(entries['byteorder']) == b'little')
        storages: dict[str, _Storage] = {}

        def storage(dtype: torch.dtype, key: str, count: int) -> _Storage:
            if key not in storages:
                storages[key] = _Storage(dtype, count, limit)
                with archive.open(f'{folder}/data/{key}') as data:
                    storages[key].fill(data)
            return storages[key]

        with archive.open(entries['data.pkl']) as pickled:
            return _Unpickler(pickled, known, storage).load()


def _in_sequence(file: BinaryIO, known: Mapping[str, Any], limit: int) -> Any:
    storages: dict[str, _Storage] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count, limit))

    def load() -> Any:
        return _Unpickler(file, known, storage).load()

    if load() != _MAGIC or load() != _FORMAT:
        raise pickle.UnpicklingError('It is no file of torch.save')
    _check_order(load()['little_endian'])
    content = load()
    for key in load():
        (count,) = struct.unpack('<q', file.read(8))
        if count != storages[key].count:
            raise pickle.UnpicklingError(f'the storage {key} has {count} numbers')
        storages[key].fill(file)
    return content


def _check_order(little: bool) -> None:
    if little != (sys.byteorder == 'little'):
        raise pickle.UnpicklingError('It was written on a machine of the other byte order')
