"""Spec of a comparison: the file that lists methods, seeds and what must be there first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkd_det.runtime.config import check_keys, read_config


@dataclass(frozen=True)
class Method:
    """One method of a comparison: a line of its table."""

    name: str
    config: str
    title: str
    overrides: Mapping[str, Any]
    weights: tuple[str, ...]
    """Config keys that the search scales together; none if there is nothing to tune."""
    factors: tuple[float, ...]


@dataclass(frozen=True)
class Search:
    """Search over weights, with the same budget for every method that has one."""

    seeds: tuple[int, ...]
    length: int | None


@dataclass(frozen=True)
class Preparation:
    """A step that comes first: a command, or a training such as the teacher's."""

    name: str
    command: tuple[str, ...]
    makes: str | None
    needs: tuple[str, ...]
    """Files that ``makes`` must not be older than."""
    config: str | None
    work_dir: str | None
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Spec:
    """A comparison."""

    path: Path
    title: str
    work_dir: Path
    metric: str
    seeds: tuple[int, ...]
    length: int | None
    overrides: Mapping[str, Any]
    prepare: tuple[Preparation, ...]
    references: tuple[str, ...]
    methods: tuple[Method, ...]
    search: Search | None
    processes: int

    def method(self, name: str) -> Method:
        """Return a method by its name."""
        return next(method for method in self.methods if method.name == name)


def read_spec(path: str | Path) -> Spec:
    """Read a spec: a file that mmengine's Config reads, Python, YAML or JSON.

    Raises:
        FileNotFoundError: If it, or a config in it, is not there.
        KeyError, TypeError, ValueError: If a key is missing, unknown or has a wrong value.
    """
    content = read_config(path).to_dict()
    content = {key: value for key, value in content.items() if not key.startswith('_')}
    check_keys(
        str(path),
        content,
        [
            'title', 'work_dir', 'metric', 'seeds', 'length', 'overrides', 'prepare', 'references',
            'methods', 'search', 'processes',
        ],
    )  # fmt: skip
    for key in ('metric', 'seeds', 'methods'):
        if key not in content:
            raise KeyError(f'{path} lacks {key}')
    section = content.get('search')
    if section is not None:
        check_keys('search', section, ['seeds', 'factors', 'length'])
    search = _search(section)
    factors = _factors('search.factors', section['factors']) if search else ()
    methods = tuple(
        _method(name, method, factors) for name, method in _mapping('methods', content).items()
    )
    if not methods:
        raise ValueError('methods must not be empty')
    seeds = _seeds('seeds', content['seeds'])
    if search and set(search.seeds) & set(seeds):
        raise ValueError(
            f'search.seeds must not be among the final seeds {list(seeds)}, '
            f'got {list(search.seeds)}'
        )
    names = [method.name for method in methods]
    references = tuple(content.get('references', ()))
    for name in references:
        if name not in names:
            raise ValueError(f'references must be among the methods {names}, got {name!r}')
    return Spec(
        path=Path(path),
        title=content.get('title', Path(path).stem),
        work_dir=Path(content.get('work_dir', f'work_dirs/studies/{Path(path).stem}')),
        metric=content['metric'],
        seeds=seeds,
        length=_positive('length', content.get('length')),
        overrides=content.get('overrides', {}),
        prepare=tuple(_preparation(entry) for entry in content.get('prepare', ())),
        references=references,
        methods=methods,
        search=search,
        processes=_positive('processes', content.get('processes', 1)) or 1,
    )


def _search(section: Mapping[str, Any] | None) -> Search | None:
    if section is None:
        return None
    for key in ('seeds', 'factors'):
        if key not in section:
            raise KeyError(f'search lacks {key}')
    return Search(
        _seeds('search.seeds', section['seeds']),
        _positive('search.length', section.get('length')),
    )


def _method(name: str, section: Any, factors: tuple[float, ...]) -> Method:
    where = f'methods.{name}'
    if not isinstance(section, Mapping) or 'config' not in section:
        raise TypeError(f'{where} must be a dict with config, got {section!r}')
    check_keys(where, section, ['config', 'title', 'overrides', 'weight', 'factors'])
    _exists(f'{where}.config', section['config'])
    weight = section.get('weight', ())
    weights = (weight,) if isinstance(weight, str) else tuple(weight)
    if 'factors' in section:
        if not factors or not weights:
            raise ValueError(f'{where}.factors needs a search section and {where}.weight')
        own = _factors(f'{where}.factors', section['factors'])
        if len(own) != len(factors):
            raise ValueError(
                f'{where}.factors must hold as many values as search.factors ({len(factors)}): '
                f'every method gets the same budget; got {len(own)}'
            )
        factors = own
    return Method(
        name=name,
        config=section['config'],
        title=section.get('title', name),
        overrides=section.get('overrides', {}),
        weights=weights,
        factors=factors if weights else (),
    )


def _preparation(entry: Any) -> Preparation:
    if not isinstance(entry, Mapping) or 'name' not in entry:
        raise TypeError(f'an entry of prepare must be a dict with a name, got {entry!r}')
    where = f'prepare {entry["name"]}'
    check_keys(
        where, entry, ['name', 'command', 'makes', 'needs', 'config', 'work_dir', 'overrides']
    )
    if ('command' in entry) == ('config' in entry):
        raise ValueError(f'{where} must have either command or config, got {sorted(entry)}')
    if 'command' in entry and not isinstance(entry['command'], (list, tuple)):
        raise TypeError(f'{where}: command must be a list of words, got {entry["command"]!r}')
    if 'needs' in entry and 'makes' not in entry:
        raise ValueError(f'{where}: needs says when makes is outdated, and makes is missing')
    if 'config' in entry:
        _exists(f'{where}: config', entry['config'])
        if 'work_dir' not in entry:
            raise KeyError(f'{where} lacks work_dir')
    return Preparation(
        name=entry['name'],
        command=tuple(map(str, entry.get('command', ()))),
        makes=entry.get('makes'),
        needs=tuple(entry.get('needs', ())),
        config=entry.get('config'),
        work_dir=entry.get('work_dir'),
        overrides=entry.get('overrides', {}),
    )


def _mapping(name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(content[name], Mapping):
        raise TypeError(f'{name} must be a dict, got {content[name]!r}')
    return content[name]


def _exists(name: str, path: str) -> None:
    if '::' not in path and not Path(path).is_file():
        raise FileNotFoundError(f'{name} not found: {path} (from {Path.cwd()})')


def _seeds(name: str, values: Any) -> tuple[int, ...]:
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    if not is_list or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError(f'{name} must be a list of whole numbers of at least 0, got {values!r}')
    if len(set(values)) != len(values):
        raise ValueError(f'{name} must be different numbers, got {values!r}')
    return tuple(values)


def _factors(name: str, values: Any) -> tuple[float, ...]:
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    if not is_list or not all(0 < value < math.inf for value in values):
        raise ValueError(f'{name} must be a list of positive numbers, got {values!r}')
    if len(set(values)) != len(values):
        raise ValueError(f'{name} must be different numbers, got {values!r}')
    return tuple(map(float, values))


def _positive(name: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f'{name} must be a whole number of at least 1, got {value!r}')
    return value
