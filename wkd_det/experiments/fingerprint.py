"""Fingerprints of runs: hashes of all that a result depends on, and how two of them differ."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

import wkd_det
from wkd_det.registry import (
    CLASSIFIER_TAPS,
    DETECTION_DATASETS,
    DETECTORS,
    REGISTERED,
    RENAMED,
    TAPS,
    TEACHERS_OF_MAPS,
    find,
)
from wkd_det.runtime.config import read_config
from wkd_det.runtime.found import mmcv_operators, version_of

PACKAGE = Path(wkd_det.__file__).parent

_VERSIONED = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'numpy', 'sklearn', 'timm')
_OWN = 'wkd_det::'  # names of our configs
_CLASSIFIER = 'DistilledClassifier'
# Where a run lies and how it goes on, not what it computes.
_IGNORED = ('work_dir', 'resume', 'launcher', 'experiment_name', 'log_level')
# Tables that name every file: whoever imports them would depend on all of the package.
_TABLES = ('registry.py', 'losses/__init__.py')


def fingerprint(config: Config, **extra: Any) -> dict[str, Any]:
    """Return all that a result depends on, as plain data.

    Args:
        config: As it is trained, seed included.
        **extra: Further values that matter, by name, e.g. the number of processes.

    Returns:
        ``config``: its values; ``code``: hashes of the files of wkd_det that it uses and of
        other modules that it imports; ``files``: hashes of the files that it names, the teacher's
        checkpoint and the annotations among them (a config file counts with its bases), of those
        in the root of data without annotations (arrays, archives), and of names and sizes in the
        image folders; ``versions``: of the packages underneath; ``extra``.
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
    """Return the names of all that differs between two, e.g. ``'config model.neck.type'``."""
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
    """Return twelve characters that stand for a fingerprint."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def sources_of(config: Any) -> list[Path]:
    """Return the files that define what a config names, and all that these import, sorted.

    Names are those of ``wkd_det.registry``, wherever they stand in the config; names that stand
    as strings in the code (defaults) count too. The tables of names themselves are left out and
    packages that merely re-export are looked through, so a new loss does not change the sources
    of runs without it.
    """
    named = set(strings_of(config))
    known = _homes(of_classifiers=_CLASSIFIER in named)
    waiting = [known[text] for text in named if text in known]
    waiting += [_file(DETECTORS) for text in named if _is_detector(text, known)]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in found or path in _tables():
            continue
        found.add(path)
        imported, strings = _reads(path, path.stat().st_mtime_ns)
        waiting += imported
        waiting += [known[text] for text in strings if text in known]
    return sorted(found)


def strings_of(value: Any) -> Iterator[str]:
    """Yield all strings in nested dicts and sequences, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings_of(item)


# Sources


@cache
def _homes(*, of_classifiers: bool) -> dict[str, Path]:
    """Return the file of each name of this package that a config may use.

    Some names of taps mean one thing in detectors and another in classifiers.
    """
    homes = {name: home for names in REGISTERED.values() for name, home in names.items()}
    homes.update({old: homes[new] for old, new in RENAMED.items()})
    homes.update(CLASSIFIER_TAPS if of_classifiers else TAPS)
    homes.update(DETECTION_DATASETS)
    homes.update(TEACHERS_OF_MAPS)
    files = {name: _file(f'wkd_det.{home.partition(":")[0]}') for name, home in homes.items()}
    amp = find('AmpOptimWrapper', 'OPTIM_WRAPPERS').__module__  # replaced on CPUs
    return dict(files, AmpOptimWrapper=_file(amp)) if _is_ours(amp) else files


def _is_detector(name: str, known: Mapping[str, Path]) -> bool:
    return name.rpartition('.')[2].startswith('Distilled') and name not in known


def _tables() -> set[Path]:
    return {PACKAGE / name for name in _TABLES}


@cache
def _reads(path: Path, changed: int) -> tuple[tuple[Path, ...], frozenset[str]]:
    """Return the files of ours that a file imports, and its strings; ``changed`` keys the cache."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    imported: list[Path] = []
    strings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [_file(alias.name) for alias in node.names if _is_ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ''):
            imported += _files_of_names(node.module, [alias.name for alias in node.names])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return tuple(imported), frozenset(strings)


def _files_of_names(module: str, names: Iterable[str]) -> list[Path]:
    """Return where names are defined, looking through packages that only re-export them."""
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
        elif path in _tables():  # lends names lazily
            files.append(_homes(of_classifiers=False).get(original, path))
        else:
            files.append(path)
    return files


def _is_ours(module: str) -> bool:
    return module.split('.')[0] == 'wkd_det'


def _exists(module: str) -> bool:
    return _base(module).with_suffix('.py').is_file() or (_base(module) / '__init__.py').is_file()


def _file(module: str) -> Path:
    package = _base(module) / '__init__.py'
    return package if package.is_file() else _base(module).with_suffix('.py')


def _base(module: str) -> Path:
    return PACKAGE.joinpath(*module.split('.')[1:])


# Parts of a fingerprint


def _code(config: Config) -> list[Path]:
    paths = sources_of(config.to_dict())
    for module in (config.get('custom_imports') or {}).get('imports', []):
        found = None if _is_ours(module) else importlib.util.find_spec(module)
        if found is not None and found.origin:
            paths.append(Path(found.origin))
    return paths


def _files(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for text in set(strings_of(values)):
        path = PACKAGE / '.mim/configs' / text[len(_OWN) :] if text.startswith(_OWN) else Path(text)
        if len(text) < 1000 and path.is_file():
            yield text, _config_hash(path) if path.suffix == '.py' else _hash(path)
    for dataset in _datasets(values):
        root = Path(dataset['data_root'])
        names = ['dataset.json', dataset.get('ann_file') or '']
        if not any(dataset.get(key) for key in ('ann_file', 'data_prefix')) and root.is_dir():
            names += sorted(path.name for path in root.iterdir())  # arrays and archives
        for name in names:
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


@cache
def _versions() -> dict[str, str]:
    versions = dict(
        python=platform.python_version(),
        machine=platform.machine(),
        operators=mmcv_operators(),
    )
    found = {module: version_of(module) for module in _VERSIONED}
    return versions | {module: version for module, version in found.items() if version}


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


# Hashes


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
    values = read_config(path).to_dict()
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=repr).encode()).hexdigest()


def _folder_hash(folder: Path) -> str:
    """Return the hash of names and sizes: reading the images of a large set takes too long."""
    return _folder_hash_of(folder, folder.stat().st_mtime_ns)


@cache
def _folder_hash_of(folder: Path, changed: int) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            digest.update(f'{path.relative_to(folder)} {path.stat().st_size}\n'.encode())
    return digest.hexdigest()
