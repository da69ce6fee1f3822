"""Files that appear whole or not at all, JSON, and torch files read without running code."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wkd_det.runtime.plain_pickles import read_plain

TORCH_READS_SAFELY = torch.__version__ >= (2, 6)
"""Whether ``torch.load(weights_only=True)`` runs nothing, and can be given names to allow."""


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file that is never seen half written.

    The bytes go to ``.<name>.partial`` next to it, which then takes the name. The previous file
    stays readable until that moment, and stays for good if the write fails.

    Args:
        path: The file; its folder is made if it is missing.
        content: All of it; text is written as UTF-8.

    Raises:
        OSError: If the disk is full or the place cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[str | os.PathLike, bytes | str]) -> None:
    """Write several files, all of them complete before the first takes its name.

    Args:
        contents: Content by path, as for :func:`write_whole`, in the order of the renames.

    Raises:
        OSError: If the disk is full or a place cannot be written.
    """
    partials = {}
    try:
        for path, content in contents.items():
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            partials[path] = path.with_name(f'.{path.name}.partial')
            with partials[path].open('wb') as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())  # the name must not reach the disk before the bytes
    except OSError:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise
    for path, partial in partials.items():
        os.replace(partial, path)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` as JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + '\n')


def read_json(path: str | os.PathLike) -> Any:
    """Return the content of a JSON file."""
    return json.loads(Path(path).read_text(encoding='utf-8'))


def read_saved(path: str | os.PathLike, allowed: Mapping[str, Any] | None = None) -> Any:
    """Read a file of ``torch.save``, or of safetensors, onto the CPU, and run nothing in it.

    Args:
        path: The file.
        allowed: Types and functions, by the names that pickles give them, that it may hold in
            addition to what ``torch.load(weights_only=True)`` takes by itself.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, no such file, or holds objects that loading would have to
            run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint not found: {path} (from {os.getcwd()})')
    if path.stat().st_size == 0:
        raise ValueError(f'{path} is empty')
    with path.open('rb') as file:
        start = file.read(64)
    if path.suffix == '.safetensors' or _is_safetensors(start, path.stat().st_size):
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f'{path} is a damaged file of safetensors: {reason(error)}') from None
    try:
        return _load(path, allowed or {})
    except pickle.UnpicklingError as error:
        start = start.lstrip().lower()
        if start.startswith((b'<!doctype', b'<html', b'<?xml', b'{')):
            raise ValueError(
                f'{path} is a text page, not a checkpoint: the download went wrong, remove the '
                'file and fetch it again'
            ) from None
        raise ValueError(
            f'{path} was refused: it is damaged or holds more than weights, and reading it might '
            f'run code. {_refusal(error)}. Where it was trained, '
            'torch.save(model.state_dict(), PATH) writes the weights alone'
        ) from None
    except Exception as error:  # damaged bytes end in IndexError, struct.error and many more
        raise ValueError(f'{path} is damaged or no checkpoint: {reason(error)}') from None


def _load(path: Path, allowed: Mapping[str, Any]) -> Any:
    """Read with torch's list of names made whole: others may have cleared or left it since."""
    if not TORCH_READS_SAFELY:
        return read_plain(path, allowed)
    torch.serialization.add_safe_globals([(known, name) for name, known in allowed.items()])
    return torch.load(path, map_location='cpu', weights_only=True)


def _is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file begins as those do: with the length of a header in JSON."""
    return start[8:9] == b'{' and int.from_bytes(start[:8], 'little') <= size - 8


def _refusal(error: Exception) -> str:
    text = reason(error)
    named = re.search(r'GLOBAL ([\w.]+)', text)
    return f'It asks for {named[1]}' if named else text.rstrip('.')


def read_tensor(path: str | os.PathLike) -> Tensor:
    """Read a file of ``torch.save`` that holds one tensor.

    Raises:
        FileNotFoundError, ValueError: As :func:`read_saved`, or if it holds something else.
    """
    content = read_saved(path)
    if not isinstance(content, Tensor):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a tensor')
    return content


def reason(error: Exception) -> str:
    """The line of an error's message that says what went wrong, at most 300 characters.

    torch explains over many lines how to switch its safety off; the line that names the refused
    object is the one that helps.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if 'GLOBAL' in line or line.startswith('Unsupported')]
    return (named or lines or [type(error).__name__])[0][:300]
