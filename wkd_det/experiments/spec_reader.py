"""Reading of specs: every key of a study's file is checked, and unknown ones are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wkd_det.experiments import values
from wkd_det.experiments.spec import (
    Check,
    Column,
    Hypothesis,
    Method,
    Preparation,
    Search,
    Spec,
    Stage,
)
from wkd_det.ops.checks import is_number
from wkd_det.runtime.config import check_keys, read_config

WEIGHT = 'weight'
"""In place of keys in a stage: those of each method's ``weight``."""

_KEYS = [
    'title', 'commit', 'records', 'work_dir', 'metric', 'metrics', 'digits', 'seeds', 'length',
    'overrides', 'prepare', 'references', 'methods', 'search', 'hypotheses', 'lengths', 'processes',
]  # fmt: skip


def read_spec(path: str | Path) -> Spec:
    """Read a spec: a file that mmengine's Config reads, Python, YAML or JSON.

    Raises:
        FileNotFoundError: If it, or a config or a spec in it, is not there.
        KeyError, TypeError, ValueError: If a key is missing, unknown or has a wrong value.
    """
    path = Path(path)
    content = _read(path)
    content = {key: value for key, value in content.items() if not key.startswith('_')}
    check_keys(str(path), content, _KEYS)
    values.needed(str(path), content, 'metric', 'seeds', 'methods')
    seeds = values.seeds('seeds', content['seeds'])
    listed = [_column(entry) for entry in values.entries('metrics', content.get('metrics', ()))]
    column = _main_column(content['metric'], listed, content.get('digits'))
    columns = tuple(one for one in listed if one.key != column.key)
    search = _search(path, content.get('search'), seeds)
    methods = _methods(content, search, seeds)
    names = [method.name for method in methods]
    references = values.words('references', content.get('references', ()))
    for name in references:
        _known('references', name, names)
    known = {one.key: one for one in (column, *columns)}
    return Spec(
        path=path,
        title=content.get('title', path.stem),
        commits=values.words('commit', content.get('commit') or ()),
        records=Path(content.get('records', path.parent / 'results' / path.stem)),
        work_dir=Path(content.get('work_dir', f'work_dirs/studies/{path.stem}')),
        column=column,
        columns=columns,
        seeds=seeds,
        length=values.positive('length', content.get('length')),
        overrides=values.mapping('overrides', content.get('overrides', {})),
        prepare=tuple(_preparation(entry) for entry in content.get('prepare', ())),
        references=references,
        methods=methods,
        search=search,
        hypotheses=tuple(
            _hypothesis(path, entry, known, names)
            for entry in values.entries('hypotheses', content.get('hypotheses', ()))
        ),
        lengths=tuple(
            _next_to(path, 'lengths', name)
            for name in values.words('lengths', content.get('lengths', ()))
        ),
        processes=values.positive('processes', content.get('processes', 1)) or 1,
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'there is no spec {path} (from {Path.cwd()})')
    try:
        return read_config(path).to_dict()
    except (NameError, OSError, SyntaxError) as error:
        raise ValueError(f'{path} is no spec: {error}') from None


def _next_to(path: Path, where: str, name: str) -> Path:
    """Return the path of a spec that lies next to another one."""
    other = path.parent / name
    if not other.is_file():
        raise FileNotFoundError(f'{where}: there is no {other}')
    return other


# Search


def _search(path: Path, section: Any, final: Sequence[int]) -> Search | None:
    if section is None:
        return None
    section = values.mapping('search', section)
    if 'of' in section:
        check_keys('search', section, ['of'])
        other = _next_to(path, 'search.of', section['of'])
        if 'stages' not in _read(other).get('search', {}):
            raise ValueError(
                f'search.of must be a study with a search of its own, got {section["of"]!r}'
            )
        return Search((), None, {}, 0, None, read_spec(other))
    check_keys('search', section, ['seeds', 'length', 'overrides', 'stages', 'widen', 'check'])
    values.needed('search', section, 'seeds', 'stages')
    seeds = values.seeds('search.seeds', section['seeds'])
    if set(seeds) & set(final):
        raise ValueError(
            f'search.seeds must not be among the final seeds {list(final)}, got {list(seeds)}'
        )
    check = section.get('check')
    if check is not None:
        check_keys('search.check', values.mapping('search.check', check), ['length', 'factors'])
        check = Check(
            values.positive('search.check.length', check.get('length')),
            values.at_least(2, 'search.check.factors', check.get('factors', 2)),
        )
    return Search(
        seeds=seeds,
        length=values.positive('search.length', section.get('length')),
        overrides=values.mapping('search.overrides', section.get('overrides', {})),
        widen=values.at_least(0, 'search.widen', section.get('widen', 4)),
        check=check,
        of=None,
    )


def _stages(name: str, entries: Any) -> list[tuple[Any, tuple[float, ...]]]:
    """Return keys (or the word ``'weight'``) and factors of each stage."""
    stages = []
    for index, entry in enumerate(values.entries(name, entries)):
        where = f'{name}[{index}]'
        check_keys(where, values.mapping(where, entry), ['keys', 'factors'])
        values.needed(where, entry, 'keys', 'factors')
        keys = entry['keys'] if entry['keys'] == WEIGHT else values.words(where, entry['keys'])
        stages.append((keys, values.factors(f'{where}.factors', entry['factors'])))
    return stages


# Methods


def _methods(
    content: Mapping[str, Any], search: Search | None, seeds: Sequence[int]
) -> tuple[Method, ...]:
    sections = values.mapping('methods', content['methods'])
    if not sections:
        raise ValueError('methods must not be empty')
    default = []
    if search is not None and search.of is None:
        default = _stages('search.stages', content['search']['stages'])
    return tuple(_method(name, sections, search, default, seeds) for name in sections)


def _method(
    name: str,
    sections: Mapping[str, Any],
    search: Search | None,
    default: list[Any],
    final: Sequence[int],
) -> Method:
    where, section = f'methods.{name}', sections[name]
    if not isinstance(section, Mapping) or 'config' not in section:
        raise TypeError(f'{where} must be a dict with config, got {section!r}')
    check_keys(
        where,
        section,
        ['config', 'title', 'overrides', 'weight', 'stages', 'like', 'seeds', 'length'],
    )
    for key in ('like', 'stages'):
        if key in section and search is None:
            raise ValueError(f'{where}.{key} needs a search section')
    seeds = values.seeds(f'{where}.seeds', section.get('seeds', final))
    if not set(seeds) <= set(final):
        raise ValueError(f'{where}.seeds must be among seeds {list(final)}, got {list(seeds)}')
    weight = values.words(f'{where}.weight', section.get('weight', ()))
    like = section.get('like', name)
    stages: list[Any] = []
    if search is not None and search.of is not None:
        others = [method.name for method in search.of.methods]
        _known(f'{where}.like' if 'like' in section else 'methods of a search.of', like, others)
        if 'stages' in section:
            raise ValueError(f'{where}.stages are those of search.of')
        stages = _borrowed(search.of, like)
    elif search is not None:
        if 'like' in section:
            _known(f'{where}.like', like, [one for one in sections if 'like' not in sections[one]])
            if 'stages' in section:
                raise ValueError(f'{where} must not have both like and stages')
        stages = _own_stages(like, sections[like], default)
    return Method(
        name=name,
        config=values.existing_config(f'{where}.config', section['config']),
        title=section.get('title', name),
        overrides=values.mapping(f'{where}.overrides', section.get('overrides', {})),
        stages=tuple(Stage(_keys(where, keys, weight), factors) for keys, factors in stages),
        like=like,
        seeds=seeds,
        length=values.positive(f'{where}.length', section.get('length')),
    )


def _own_stages(name: str, section: Mapping[str, Any], default: list[Any]) -> list[Any]:
    """Return the stages of a method, as many and as long as the default ones."""
    if 'stages' not in section:
        return default
    where = f'methods.{name}.stages'
    stages = _stages(where, section['stages'])
    counts, expected = ([len(factors) for _, factors in one] for one in (stages, default))
    if counts != expected:
        raise ValueError(
            f'{where} must have as many stages and start factors as search.stages ({expected}): '
            f'every method gets the same budget; got {counts}'
        )
    return stages


def _borrowed(other: Spec, name: str) -> list[Any]:
    """Return the stages of a method of another study; all of its keys must be those of a weight.

    A method names its own ``weight``; keys that are not a weight of the other one stay.
    """
    section = _read(other.path)['methods'][name]
    weight = values.words('weight', section.get('weight', ()))
    return [
        (WEIGHT if stage.keys == weight else stage.keys, stage.factors)
        for stage in other.method(name).stages
    ]


def _keys(where: str, keys: Any, weight: tuple[str, ...]) -> tuple[str, ...]:
    if keys != WEIGHT:
        return keys
    if not weight:
        raise KeyError(f'{where} lacks weight, the keys that the search scales')
    return weight


# Other sections


def _column(entry: Any) -> Column:
    if isinstance(entry, str):
        return Column(entry, entry, True, _digits(None))
    check_keys(
        'metrics',
        values.mapping('an entry of metrics', entry),
        ['key', 'title', 'higher', 'digits'],
    )
    values.needed('an entry of metrics', entry, 'key')
    return Column(
        entry['key'],
        entry.get('title', entry['key']),
        bool(entry.get('higher', True)),
        _digits(entry.get('digits')),
    )


def _main_column(key: str, columns: Sequence[Column], digits: Any) -> Column:
    """Return the column of the metric that counts; an entry of metrics may give its title."""
    column = next((one for one in columns if one.key == key), _column(key))
    if not column.higher:
        raise ValueError(f'metric must be one whose higher values are better, got {key!r}')
    return column if digits is None else replace(column, digits=_digits(digits))


def _digits(value: Any) -> int:
    return 4 if value is None else values.at_least(0, 'digits', value)


def _hypothesis(
    path: Path, entry: Any, known: Mapping[str, Column], names: Sequence[str]
) -> Hypothesis:
    entry = values.mapping('an entry of hypotheses', entry)
    values.needed('an entry of hypotheses', entry, 'name', 'method', 'over')
    where = f'hypothesis {entry["name"]}'
    check_keys(where, entry, ['name', 'title', 'method', 'over', 'metric', 'margin', 'study'])
    study = None
    if 'study' in entry:
        study = _next_to(path, where, entry['study'])
        names = list(_read(study)['methods'])
    over = values.words(f'{where}: over', entry['over'])
    for name in (entry['method'], *over):
        _known(where, name, names)
    metric = entry.get('metric', next(iter(known)))
    if metric not in known:
        raise ValueError(
            f'{where}: metric must be metric or one of metrics {list(known)}, got {metric!r}'
        )
    margin = entry.get('margin', 0.0)
    if not is_number(margin) or margin < 0:
        raise ValueError(f'{where}: margin must be a number of at least 0, got {margin!r}')
    return Hypothesis(
        name=entry['name'],
        title=entry.get('title', ''),
        method=entry['method'],
        over=over,
        column=known[metric],
        margin=float(margin),
        study=study,
    )


def _preparation(entry: Any) -> Preparation:
    if not isinstance(entry, Mapping) or 'name' not in entry:
        raise TypeError(f'an entry of prepare must be a dict with a name, got {entry!r}')
    where = f'prepare {entry["name"]}'
    check_keys(
        where,
        entry,
        ['name', 'command', 'makes', 'needs', 'config', 'work_dir', 'keep', 'overrides'],
    )
    if ('command' in entry) == ('config' in entry):
        raise ValueError(f'{where} must have either command or config, got {sorted(entry)}')
    if 'command' in entry and not isinstance(entry['command'], (list, tuple)):
        raise TypeError(f'{where}: command must be a list of words, got {entry["command"]!r}')
    if 'needs' in entry and 'makes' not in entry:
        raise ValueError(f'{where}: needs says when makes is outdated, and makes is missing')
    if 'config' in entry:
        values.existing_config(f'{where}: config', entry['config'])
        values.needed(where, entry, 'work_dir')
    elif 'keep' in entry:
        raise ValueError(f'{where}: keep is for a config that is trained')
    return Preparation(
        name=entry['name'],
        command=tuple(map(str, entry.get('command', ()))),
        makes=entry.get('makes'),
        needs=tuple(entry.get('needs', ())),
        config=entry.get('config'),
        work_dir=entry.get('work_dir'),
        keep=entry.get('keep'),
        overrides=values.mapping(f'{where}: overrides', entry.get('overrides', {})),
    )


def _known(where: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise ValueError(f'{where} must be among the methods {list(names)}, got {name!r}')
