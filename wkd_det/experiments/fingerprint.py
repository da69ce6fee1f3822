"""Which files of wkd_det a config's results depend on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mmdet.registry
from mmengine.config import Config
from mmengine.registry import Registry

import wkd_det
from wkd_det.distillation.tap import TAPS

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


_PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'scikit-learn', 'timm')


# Where a run lies and how it goes on, not what it computes.
_IGNORED = ('work_dir', 'resume', 'launcher', 'experiment_name', 'log_level')


def fingerprint(config: Config, **extra: Any) -> dict[str, Any]:
    """All that a result depends on, as plain data.

    Args:
        config: As it is trained, seed included.
        **extra: What else matters, by name, e.g. the number of processes.

    Returns:
        ``config``: its values; ``code``: hashes of the files of wkd_det that it uses (and of
        modules it imports besides); ``files``: hashes of the files that it names, the teacher's
        checkpoint and the annotations among them (a config file counts with its bases), and of
        names and sizes in the image folders; ``versions``: of the packages underneath; ``extra``.
    """
    values = json.loads(json.dumps(config.to_dict(), default=repr))
    values = {key: value for key, value in values.items() if key not in _IGNORED}
    return dict(
        config=values,
        code={_name(path): _hash(path) for path in _code(config)},
        files=dict(sorted(_files(values))),
        versions=_versions(),
        extra=json.loads(json.dumps(extra)),
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of what differs between two fingerprints, e.g. ``'config model.neck.type'``."""
    found = []
    for part in sorted(set(old) | set(new)):
        before, after = _flat(old.get(part, {})), _flat(new.get(part, {}))
        keys = sorted(set(before) | set(after))
        absent = object()
        found += [
            f'{part} {key}'.rstrip()
            for key in keys
            if before.get(key, absent) != after.get(key, absent)
        ]
    return found


def identity(content: Mapping[str, Any]) -> str:
    """Twelve characters that stand for a fingerprint."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _flat(value: Any, prefix: str = '') -> dict[str, Any]:
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {prefix: value}
    flat = {prefix: type(value).__name__} if prefix and not value else {}
    for key, item in items:
        flat.update(_flat(item, f'{prefix}.{key}' if prefix else str(key)))
    return flat


def _code(config: Config) -> list[Path]:
    paths = sources_of(config.to_dict())
    for module in (config.get('custom_imports') or {}).get('imports', []):
        found = None if module.split('.')[0] == 'wkd_det' else importlib.util.find_spec(module)
        if found is not None and found.origin:
            paths.append(Path(found.origin))
    return paths


def _files(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for text in set(strings_of(values)):
        path = Path(text)
        if '::' not in text and len(text) < 1000 and path.is_file():
            yield text, _config_hash(path) if path.suffix == '.py' else _hash(path)
    for dataset in _datasets(values):
        root = Path(dataset['data_root'])
        for name in ('dataset.json', dataset.get('ann_file') or ''):
            if name and (root / name).is_file():
                yield str(root / name), _hash(root / name)
        prefixes = dataset.get('data_prefix')
        for prefix in (prefixes or {}).values() if isinstance(prefixes, dict) else ():
            if (root / prefix).is_dir():
                yield str(root / prefix), _folder_hash(root / prefix)


def _datasets(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get('data_root'), str):
            yield value
        for item in value.values():
            yield from _datasets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _datasets(item)


def _name(path: Path) -> str:
    inside = PACKAGE in path.parents
    return path.relative_to(PACKAGE.parent).as_posix() if inside else str(path)


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_of(path, status.st_mtime_ns, status.st_size)


@cache
def _hash_of(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _config_hash(path: Path) -> str:
    values = Config.fromfile(path).to_dict()
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=repr).encode()).hexdigest()


def _folder_hash(folder: Path) -> str:
    """Of names and sizes: reading the images of a large set takes too long."""
    changed = folder.stat().st_mtime_ns
    return _folder_hash_of(folder, changed)


@cache
def _folder_hash_of(folder: Path, changed: int) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            digest.update(f'{path.relative_to(folder)} {path.stat().st_size}\n'.encode())
    return digest.hexdigest()


@cache
def _versions() -> dict[str, str]:
    versions = dict(python=platform.python_version(), machine=platform.machine())
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
