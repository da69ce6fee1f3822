"""Which files of wkd_det a config's results depend on."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mmdet.registry
from mmengine.registry import Registry

import wkd_det
from wkd_det.distillation import TAPS

PACKAGE = Path(wkd_det.__file__).parent


def sources_of(config: Any) -> list[Path]:
    """Files that what the config names is written in, and all that these import, sorted.

    Names are those of the registries and taps, wherever they stand in the config; names that
    stand as strings in the code (defaults) count too. Packages that merely re-export are looked
    through, so a new loss does not change the sources of runs without it.
    """
    registered = _registered()
    named = {text for text in strings_of(config) if text in registered}
    waiting = [registered[name] for name in named]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        imported, strings = _reads(path, path.stat().st_mtime_ns)
        waiting += imported
        waiting += [registered[text] for text in strings if text in registered]
    return sorted(found)


def strings_of(value: Any) -> Iterator[str]:
    """All strings in nested dicts and sequences, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_of(item)


def _registered() -> dict[str, Path]:
    """File of each registered class of ours, by the name that configs use."""
    registries = [v for v in vars(mmdet.registry).values() if isinstance(v, Registry)]
    files = {}
    for registry in [*registries, TAPS]:
        for name, entry in registry.module_dict.items():
            module = getattr(entry, '__module__', '') or ''
            if module.split('.')[0] == 'wkd_det':
                files[name] = _file(module)
    return files


@cache
def _reads(path: Path, changed: int) -> tuple[tuple[Path, ...], frozenset[str]]:
    """Files of ours that a file imports, and the strings in it; ``changed`` keys the cache."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    imported: list[Path] = []
    strings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split('.')[0] == 'wkd_det']
            imported += [_file(name) for name in names]
        elif isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'wkd_det':
            imported += _files_of_names(node.module, [alias.name for alias in node.names])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return tuple(imported), frozenset(strings)


def _files_of_names(module: str, names: Iterable[str]) -> list[Path]:
    """Where names come from, through packages that only re-export them."""
    path = _file(module)
    if path.name != '__init__.py':
        return [path]
    tree = ast.parse(path.read_text(encoding='utf-8'))
    origins = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    files = []
    for name in names:
        origin, original = origins.get(name, (None, name))
        if origin is not None and origin != module:
            files += _files_of_names(origin, [original])
        elif _exists(f'{module}.{original}'):
            files.append(_file(f'{module}.{original}'))
        else:
            files.append(path)
    return files


def _base(module: str) -> Path:
    return PACKAGE.joinpath(*module.split('.')[1:])


def _exists(module: str) -> bool:
    return _base(module).with_suffix('.py').is_file() or (_base(module) / '__init__.py').is_file()


def _file(module: str) -> Path:
    package = _base(module) / '__init__.py'
    return package if package.is_file() else _base(module).with_suffix('.py')
