"""The config that trains a method on a pair: it inherits the student's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.inspection.pairs.methods import Method
from wkd_det.inspection.pairs.pair import Pair
from wkd_det.runtime.files import write_whole

_WIDTH = 100
_HERE = '{{ fileDirname }}'
"""mmengine puts the folder of the config there, so that it works from any directory."""


def config_text(pair: Pair, method: Method, out: Path, *, size: int, command: str) -> str:
    """Return the text of the config.

    Paths of the user's files are written relative to the config. Hooks and imports that the
    student's config has stay; its checkpoint hook becomes the one whose runs resume exactly.

    Args:
        pair: Student and teacher; the plain student's config is the base.
        method: As it fits the pair.
        out: Where the config will lie.
        size: Side of the images of a classifier in pixels.
        command: The command that wrote it, for the header.

    Raises:
        ValueError: If the student's config cannot be inherited.
    """
    _check_base(pair)
    config = pair.config
    lines = [
        f'# {method.title}',
        '#',
        f'# Written by: {command}',
        f'# Train it:   python -m wkd_det train {out.name}',
        f'_base_ = {_path(pair.name, out, base=True)!r}',
        '',
        _assigned('custom_imports', _imports(pair)),
    ]
    if config.get('work_dir'):
        lines.append(f"work_dir = 'work_dirs/{out.stem}'")
    lines += ['', _assigned('model', _model(pair, method, out, size))]
    checkpoint = (config.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('type', 'CheckpointHook') == 'CheckpointHook':
        hook = dict(checkpoint=dict(type='ExactCheckpointHook'))
        lines += ['', _assigned('default_hooks', hook)]
    if method.hooks:
        kept = [_Source('*_base_.custom_hooks')] if config.get('custom_hooks') else []
        lines += ['', _assigned('custom_hooks', [*kept, *method.hooks])]
    if method.dataset:
        lines += ['', _assigned('train_dataloader', dict(dataset=method.dataset))]
    return '\n'.join(lines) + '\n'


def write_config(
    pair: Pair, method: Method, out: Path, *, size: int, command: str, force: bool = False
) -> None:
    """Write the config of :func:`config_text`.

    Raises:
        ValueError: If the file is there, is no ``.py``, or the student's cannot be inherited.
    """
    if out.suffix != '.py':
        raise ValueError(f'--write takes a path that ends in .py, got {out}')
    if out.exists() and not force:
        raise ValueError(f'{out} is there already: --force overwrites it')
    write_whole(out, config_text(pair, method, out, size=size, command=command))


def _check_base(pair: Pair) -> None:
    if pair.is_distilled:
        raise ValueError(
            f'{pair.name} is distilled already: give the config of the plain student to write '
            'another'
        )
    path = pair.config.filename
    if path is not None and Path(path).suffix != '.py':
        return
    if path is not None and 'read_base' in Path(path).read_text(encoding='utf-8'):
        raise ValueError(
            f'{pair.name} is a config of the new style (read_base), which others of text cannot '
            'inherit: import it with read_base and set model.type, teacher and distill there'
        )


def _model(pair: Pair, method: Method, out: Path, size: int) -> dict[str, Any]:
    model: dict[str, Any] = dict(type=pair.type, **method.student)
    if not pair.is_detection:
        model['image_size'] = size
    if pair.teacher is not None:
        teacher = dict(pair.teacher)
        for key in ('config', 'checkpoint'):
            if isinstance(teacher.get(key), str):
                teacher[key] = _path(teacher[key], out)
        if not teacher.get('checkpoint'):
            teacher['checkpoint'] = _Source('None')
        model['teacher'] = teacher
    model['distill'] = {name: _ordered(term) for name, term in method.distill.items()}
    return model


def _ordered(term: Mapping[str, Any]) -> dict[str, Any]:
    """A term as readers expect it: where, with which options, how connected, how compared."""
    last = [name for name in ('connector', 'loss') if name in term]
    names = [*(name for name in term if name not in last), *last]
    return {name: term[name] for name in names}


def _imports(pair: Pair) -> dict[str, Any]:
    own = (pair.config.get('custom_imports') or {}).get('imports') or []
    own = [own] if isinstance(own, str) else list(own)
    names = dict.fromkeys([*own, 'wkd_det', *pair.imports])
    return dict(imports=list(names), allow_failed_imports=False)


def _path(path: str, out: Path, *, base: bool = False) -> str:
    """A path as the config at ``out`` finds it; names and addresses stay."""
    if '://' in path or '::' in path:
        return path
    relative = Path(os.path.relpath(Path(path).resolve(), out.resolve().parent)).as_posix()
    return relative if base else f'{_HERE}/{relative}'


class _Source(str):
    """Text that is Python already."""


def _assigned(name: str, value: Any) -> str:
    return f'{name} = ' + _source(value, 0, len(name) + 3)


def _source(value: Any, indent: int, used: int) -> str:
    """Python of a value: in one line where it fits, else one per line.

    Args:
        value: A value of a config.
        indent: Columns before the lines of the entries' owner.
        used: Columns that stand before it in its line.
    """
    line = _line(value)
    if used + len(line) < _WIDTH or not isinstance(value, (Mapping, list, tuple)) or not value:
        return line
    inner = ' ' * (indent + 4)
    if isinstance(value, Mapping):
        keys = _keys(value)
        entries = [
            f'{inner}{key}{_source(one, indent + 4, indent + 4 + len(key))},'
            for key, one in zip(keys, value.values())
        ]
        start, end = ('dict(', ')') if _is_plain(value) else ('{', '}')
    else:
        entries = [f'{inner}{_source(one, indent + 4, indent + 4)},' for one in value]
        start, end = ('[', ']') if isinstance(value, list) else ('(', ')')
    return '\n'.join([start, *entries, ' ' * indent + end])


def _line(value: Any) -> str:
    if isinstance(value, _Source):
        return str(value)
    if isinstance(value, Mapping):
        entries = [f'{key}{_line(one)}' for key, one in zip(_keys(value), value.values())]
        return f'dict({", ".join(entries)})' if _is_plain(value) else f'{{{", ".join(entries)}}}'
    if isinstance(value, tuple):
        return f'({", ".join(map(_line, value))}{"," if len(value) == 1 else ""})'
    if isinstance(value, list):
        return f'[{", ".join(map(_line, value))}]'
    return repr(value)


def _is_plain(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _keys(value: Mapping[Any, Any]) -> list[str]:
    return [f'{key}=' if _is_plain(value) else f'{key!r}: ' for key in value]


def loaded(text: str, folder: Path) -> Config:
    """Return the config of a text, read from a file in a folder."""
    path = folder / 'written.py'
    path.write_text(text, encoding='utf-8')
    return Config.fromfile(path)
