"""Write a config for a method, a pair and a schedule; list what there is; renew the tables.

    python tools/new_config.py --list
    python tools/new_config.py --method kd --pair r50-to-mobilenetv2 --schedule 1x
    python tools/new_config.py --method kd --pair r50-to-mobilenetv2 --schedule 1x --out my/kd.py
    python tools/new_config.py --tables

Methods are the files of ``configs/_base_/distill`` whose header has a ``Method``; pairs with their
schedules are the files of ``configs/_base_/pairs``. What a header says is what this tool knows, so
a new file of either is all that it needs.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
COMMAND = 'python tools/new_config.py'
TABLES = {'detection': ('mini', 'scenes', 'detection'), 'classification': ('classification',)}
"""Folder of the README that holds a table: the folders whose configs are in it."""
START = f'<!-- made by: {COMMAND} --tables -->'
END = '<!-- end of what is made -->'
WIDTH = 100
_PLACE = r'configs/\S*METHOD\S*\.py'


class ConfigError(ValueError):
    """Raised where a config cannot be written; the message is one sentence."""


@dataclass(frozen=True)
class Header:
    """The comment that a config opens with."""

    title: str
    fields: dict[str, str]

    @classmethod
    def of(cls, path: Path) -> Header:
        """The header of a file; a field goes on over the indented lines that follow it."""
        lines = []
        for line in path.read_text().splitlines():
            if not line.startswith('#'):
                break
            lines.append(line)
        fields: dict[str, str] = {}
        name = ''
        for line in lines:
            field = re.fullmatch(r'# (\w+): +(.+)', line)
            if field:
                name, text = field.groups()
                fields[name] = text.removesuffix('\\').strip()
            elif name and line.startswith('#   '):
                fields[name] += ' ' + line[1:].strip()
            else:
                name = ''
        title = lines[0].removeprefix('#').strip() if lines else ''
        return cls(title.removesuffix('.'), fields)

    def required(self, path: Path, *names: str) -> list[str]:
        """Fields by their names.

        Raises:
            ConfigError: If the file lacks one.
        """
        missing = [name for name in names if name not in self.fields]
        if missing:
            raise ConfigError(f'{path} lacks {", ".join(missing)} in its header')
        return [self.fields[name] for name in names]


@dataclass(frozen=True)
class Method:
    """A base of ``distill``."""

    path: Path
    text: str
    kinds: tuple[str, ...]
    needs_costs: bool
    settings: tuple[str, ...]
    """Methods whose values in a pair's ``settings`` it takes: its own, or those of its header."""

    @classmethod
    def of(cls, path: Path) -> Method | None:
        """A method, or None where the file is a variant of one for a single pair.

        Raises:
            ConfigError: If the header does not say for which kinds of pairs it is.
        """
        header = Header.of(path)
        if 'Method' not in header.fields:
            return None
        kinds = tuple(header.required(path, 'For')[0].split(', '))
        needs_costs = header.fields.get('Needs') == 'class costs'
        settings = tuple(header.fields.get('Settings', path.stem).split(', '))
        return cls(path, header.fields['Method'], kinds, needs_costs, settings)

    @property
    def name(self) -> str:
        """As ``--method`` takes it."""
        return self.path.stem

    @property
    def title(self) -> str:
        """As readers write it."""
        return self.text.partition(':')[0]


@dataclass(frozen=True)
class Pair:
    """A base of student and teacher in one schedule."""

    path: Path
    title: str
    kind: str
    teacher: str
    student: str
    needs: str
    costs: str | None
    command: str
    """With METHOD in place of a method's name."""

    @classmethod
    def of(cls, path: Path) -> Pair:
        """The pair of a file.

        Raises:
            ConfigError: If the header lacks a field, or its command names no config.
        """
        header = Header.of(path)
        names = ('Kind', 'Teacher', 'Student', 'Needs', 'Command')
        kind, teacher, student, needs, command = header.required(path, *names)
        if not re.search(_PLACE, command):
            raise ConfigError(f'{path} must have {_PLACE} in its command, got {command!r}')
        costs = header.fields.get('Costs')
        return cls(path, header.title, kind, teacher, student, needs, costs, command)

    @property
    def name(self) -> str:
        """As ``--pair`` takes it."""
        return self.path.stem.rpartition('_')[0]

    @property
    def schedule(self) -> str:
        """As ``--schedule`` takes it."""
        return self.path.stem.rpartition('_')[2]

    @property
    def data(self) -> str:
        """Name of its data set, or what else its name begins with."""
        return self.name.partition('_')[0]

    @property
    def networks(self) -> str:
        """Teacher and student, for the header of a config."""
        return self.student if self.teacher == 'none' else f'{self.teacher} to {self.student}'

    @property
    def place(self) -> str:
        """Where its configs lie, from the root of the checkout, with METHOD in the name."""
        return re.search(_PLACE, self.command).group()

    def needs_of(self, method: Method) -> str:
        """Data and files that must be there before a method is trained."""
        if method.needs_costs and self.costs:
            return f'{self.needs}; class costs in {self.costs}, see README.md'
        return self.needs

    @cached_property
    def has_settings(self) -> bool:
        """Whether it, or a base of it, sets values of methods."""
        return any(_assigns(path, 'settings') for path in _with_bases(self.path))


class Catalogue:
    """All methods and pairs of a folder of configs."""

    def __init__(self, configs: Path = CONFIGS) -> None:
        self.configs = configs
        self.root = configs.parent
        found = (Method.of(path) for path in sorted((configs / '_base_/distill').rglob('*.py')))
        self.methods = [method for method in found if method]
        self.pairs = [Pair.of(path) for path in sorted((configs / '_base_/pairs').glob('*.py'))]

    def combinations(self) -> Iterator[tuple[Method, Pair]]:
        """All that can be written."""
        for pair in self.pairs:
            for method in self.methods_for(pair):
                yield method, pair

    def methods_for(self, pair: Pair) -> list[Method]:
        """Those whose header has the pair's kind."""
        return [method for method in self.methods if pair.kind in method.kinds]

    def find(self, method: str, pair: str, schedule: str | None) -> tuple[Method, Pair]:
        """A method and a pair by their names.

        Args:
            method: Its whole name.
            pair: Its whole name, or the end of it after a ``_`` where no other pair ends so.
            schedule: May be None where the pair has one alone.

        Raises:
            ConfigError: If a name is unknown, with the near ones, or the method is not for the
                pair.
        """
        names = {one.name for one in self.methods}
        if method not in names:
            raise ConfigError(f'--method must name a method, {_near(method, names)}')
        chosen = self._pair(pair, schedule)
        for one in self.methods_for(chosen):
            if one.name == method:
                return one, chosen
        valid = ', '.join(one.name for one in self.methods_for(chosen))
        raise ConfigError(
            f'--method {method} is not for a {chosen.kind} pair: {chosen.name} takes {valid}'
        )

    def _pair(self, name: str, schedule: str | None) -> Pair:
        names = dict.fromkeys(pair.name for pair in self.pairs)
        whole = [one for one in names if one.partition('_')[2] == name]
        if name in names:
            whole = [name]
        if not whole:
            ends = [end for one in names for end in (one, one.partition('_')[2]) if end]
            raise ConfigError(f'--pair must name a pair, {_near(name, ends)}')
        if len(whole) > 1:
            raise ConfigError(f'--pair {name} may be any of {", ".join(whole)}')
        schedules = {pair.schedule: pair for pair in self.pairs if pair.name == whole[0]}
        if schedule is None and len(schedules) == 1:
            return next(iter(schedules.values()))
        if schedule is None:
            raise ConfigError(f'--schedule is needed: {whole[0]} has {" and ".join(schedules)}')
        if schedule not in schedules:
            raise ConfigError(f'--schedule must be one of {whole[0]}, {_near(schedule, schedules)}')
        return schedules[schedule]

    def place(self, method: Method, pair: Pair) -> Path:
        """Where a config belongs, if nothing else is asked for."""
        return self.root / pair.place.replace('METHOD', method.name)

    def base_of(self, method: Method, pair: Pair) -> Path:
        """The file of a method for a pair: its own variant where there is one."""
        for whose in (
            pair.path.stem,
            pair.name,
            f'{pair.data}_{pair.schedule}',
            pair.data,
        ):
            path = method.path.with_name(f'{method.name}_{whose}.py')
            if path.is_file():
                return path
        return method.path

    def text(self, method: Method, pair: Pair, out: Path) -> str:
        """A config, whose bases are found from ``out``."""
        whole, root = out.resolve(), self.root.resolve()
        shown = whole.relative_to(root) if whole.is_relative_to(root) else whole
        shown = shlex.quote(shown.as_posix())
        command = pair.command.replace(pair.place, shown)
        if len(command) + len('# Command:  ') > WIDTH:
            command = command.replace(f' {shown}', f' \\\n#     {shown}', 1)
        first, second = (
            repr(Path(os.path.relpath(path.resolve(), whole.parent)).as_posix())
            for path in (pair.path, self.base_of(method, pair))
        )
        line = f'_base_ = [{first}, {second}]'
        if len(line) > WIDTH:
            line = f'_base_ = [\n    {first},\n    {second},\n]'
        lines = ['', *self._model(method, pair), '']
        if self._sets(method, pair, 'train_dataset'):
            lines[-1:] = ["train_dataloader = dict(dataset=_base_.pop('train_dataset'))", '']
        return '\n'.join(
            [
                *_filled(f'{method.title}, {pair.title}.', '# ', '# '),
                '#',
                *_field('Method', method.text),
                *_field('Pair', pair.networks),
                *_field('Needs', pair.needs_of(method)),
                f'# Command:  {command}',
                '# Expected: not yet run',
                line,
                *lines,
            ]
        )

    def _model(self, method: Method, pair: Pair) -> list[str]:
        distill = "_base_.pop('distill')"
        if pair.has_settings:
            *others, last = method.settings
            for one in others:
                distill += f" | _base_.settings.get('{one}', {{}})"
            distill += f" | _base_.pop('settings').get('{last}', {{}})"
        line = f'model = dict(distill={distill})'
        if not self._sets(method, pair, 'student') and len(line) <= WIDTH:
            return [line]
        lines = [f'    distill={distill},']
        if len(lines[0]) > WIDTH:
            lines = ['    distill=' + distill.replace(' | ', '\n    | ') + ',']
        if self._sets(method, pair, 'student'):
            lines.append("    **_base_.pop('student'),")
        return ['model = dict(', *lines, ')']

    def _sets(self, method: Method, pair: Pair, key: str) -> bool:
        return any(_assigns(path, key) for path in _with_bases(self.base_of(method, pair)))

    def write(self, method: Method, pair: Pair, out: Path | None, *, force: bool = False) -> Path:
        """Write a config and return where it is.

        Args:
            method: Method of distillation.
            pair: Pair of networks and schedule.
            out: A file or a folder that is there; None: where it belongs.
            force: Whether a file that is there may be overwritten.

        Raises:
            ConfigError: If the file is there, or is not named like a config.
        """
        place = self.place(method, pair)
        path = place if out is None else out / place.name if out.is_dir() else out
        if path.suffix != '.py':
            raise ConfigError(f'--out must end in .py or be a folder that is there, got {path}')
        if path.exists() and not force:
            raise ConfigError(f'{path} is there already: --force overwrites it')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text(method, pair, path))
        except OSError as error:
            raise ConfigError(f'cannot write {path}: {error.strerror}') from error
        return path

    def listing(self) -> str:
        """All methods and pairs, for people."""
        kinds = dict.fromkeys(pair.kind for pair in self.pairs)
        lines = []
        for kind in kinds:
            pairs: dict[str, list[Pair]] = {}
            for pair in self.pairs:
                if pair.kind == kind:
                    pairs.setdefault(pair.name, []).append(pair)
            methods = [method for method in self.methods if kind in method.kinds]
            width = max(len(name) for name in [*pairs, *(method.name for method in methods)])
            lines += [f'{kind}: --pair, --schedule']
            lines += [
                f'  {name:{width}}  {", ".join(pair.schedule for pair in group)}'
                for name, group in pairs.items()
            ]
            lines += [f'{kind}: --method']
            lines += [f'  {method.name:{width}}  {method.text}' for method in methods] + ['']
        return '\n'.join(lines).rstrip()

    def table(self, folder: str) -> str:
        """The configs of a README, as Markdown."""
        paths = [
            path for part in TABLES[folder] for path in sorted((self.configs / part).rglob('*.py'))
        ]
        rows = sorted(self._row(path, self.configs / folder) for path in paths)
        lines = [
            '| config | method | pair | schedule | teacher | expected |',
            '|---|---|---|---|---|---|',
        ]
        return '\n'.join([*lines, *(f'| {" | ".join(cells)} |' for _, cells in rows)])

    def _row(self, path: Path, folder: Path) -> tuple[Any, list[str]]:
        header = Header.of(path)
        link = f'[{path.stem}]({Path(os.path.relpath(path, folder)).as_posix()})'
        expected = header.fields['Expected']
        pairs = {pair.path.resolve(): pair for pair in self.pairs}
        for base in _with_bases(path):  # of a pair that changes another one, the former first
            pair = pairs.get(base.resolve())
            if pair is not None:
                method = header.fields['Method'].partition(':')[0]
                cells = [link, method, pair.name, pair.schedule, pair.teacher, expected]
                return (path.parent, pair.name, pair.schedule, path.name), cells
        return (path.parent, '', '', path.name), [link, 'plain', header.title, '', '', expected]

    def renew_tables(self) -> list[Path]:
        """Write the table of each README anew; return those that have changed."""
        changed = []
        for folder in TABLES:
            path = self.configs / folder / 'README.md'
            old = path.read_text()
            new = with_table(old, self.table(folder))
            if new != old:
                path.write_text(new)
                changed.append(path)
        return changed

    def instead_of(self, text: str) -> str | None:
        """A sentence on a config that 0.1 had and that is gone, or None.

        Args:
            text: A path, or a message that names one.
        """
        found = re.match(r'configs/[\w./-]+\.py', text[max(text.rfind('configs/'), 0) :])
        if found is None:
            return None
        old = found.group()
        if old in _MOVED:
            return f'{old} is {_MOVED[old]} now'
        if old.startswith('configs/_base_/'):
            return f'{old} is gone: configs/README.md tells how bases are named now'
        for pattern, pair_of in _OLD_NAMES:
            match = re.fullmatch(pattern, old)
            if match:
                names = match.groupdict()
                try:
                    method, pair = self.find(names['method'], pair_of(names), names.get('schedule'))
                except ConfigError:
                    return None
                new = self.place(method, pair)
                if new.is_file():
                    return f'{old} is {new.relative_to(self.root).as_posix()} now'
                return (
                    f'{old} is no longer among the configs; this writes it: {COMMAND} '
                    f'--method {method.name} --pair {pair.name} --schedule {pair.schedule}'
                )
        return None


_MOVED = {
    'configs/mini/wkd-f_fpn.py': 'configs/mini/wkd-f-fpn.py',
    'configs/classification/imagenet/wkd/born-again_gen0_resnet18.py': (
        'configs/classification/imagenet/baseline/born-again_gen0_resnet18.py'
    ),
    'configs/classification/imagenet/wkd/born-again_gen1_resnet18.py': (
        'configs/classification/imagenet/wkd-l_resnet18-to-resnet18_born-again.py'
    ),
}


def _coco_pair(names: dict[str, str]) -> str:
    student = names['student'].removesuffix('-caffe')
    if names['student_kind'] != names['kind']:
        student = f'{names["student_kind"]}_{student}'
    return f'{names["kind"]}_{names["teacher"]}-to-{student}'


# Names of the configs of 0.1, and the pair that each tells.
_OLD_NAMES = [
    (
        r'configs/detection/[a-z-]+/(?P<method>[a-z-]+)_(?P<kind>[a-z-]+)_(?P<teacher>\w+)'
        r'-to-(?P<student_kind>[a-z-]+)_(?P<student>[\w-]+)_fpn_(?:gn-head_)?'
        r'(?P<schedule>180k|1x)_coco\.py',
        _coco_pair,
    ),
    (
        r'configs/classification/(?P<data>cifar100|imagenet)/wkd/'
        r'(?P<method>[a-z-]+)_(?P<names>\w+-to-\w+)_(?P<schedule>reference|paper|224)\.py',
        lambda names: f'{names["data"]}_{names["names"]}',
    ),
    (r'configs/classification/(?P<data>digits)/wkd/(?P<method>[a-z-]+)\.py', lambda _: 'digits'),
]


def with_table(text: str, table: str) -> str:
    """A README with another table.

    Raises:
        ConfigError: If the two lines between which it stands are not there.
    """
    before, start, rest = text.partition(f'{START}\n')
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ConfigError(f'a README must hold the lines {START} and {END}, around its table')
    return f'{before}{start}\n{table}\n\n{end}{after}'


def _filled(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _field(name: str, text: str) -> list[str]:
    return _filled(text, f'# {name + ":":9} ', '#           ')


def _near(word: str, valid: Iterable[str]) -> str:
    from wkd_det.runtime.config import near_matches  # slow, and needed for mistakes alone

    return near_matches(word, list(dict.fromkeys(valid)))


def _assignments(path: Path) -> Iterator[tuple[str, ast.expr]]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value


def _assigns(path: Path, name: str) -> bool:
    return any(found == name for found, _ in _assignments(path))


def _bases(path: Path) -> list[Path]:
    """Files that a config names as its bases, without those of packages."""
    for name, value in _assignments(path):
        if name == '_base_':
            named = ast.literal_eval(value)
            named = [named] if isinstance(named, str) else named
            return [path.parent / one for one in named if '::' not in one]
    return []


def _with_bases(path: Path) -> Iterator[Path]:
    yield path
    for base in _bases(path):
        yield from _with_bases(base)


class _Parser(argparse.ArgumentParser):
    """Errors in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {message}\n')


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _Parser(description=__doc__.splitlines()[0])
    parser.add_argument('--list', action='store_true', help='show methods, pairs and schedules')
    parser.add_argument('--tables', action='store_true', help='renew the tables of the READMEs')
    parser.add_argument('--method', metavar='M', help='see --list')
    parser.add_argument(
        '--pair', metavar='P', help='see --list; the part behind the first _ is enough if unique'
    )
    parser.add_argument('--schedule', metavar='S', help='not needed where the pair has only one')
    parser.add_argument(
        '--out', type=Path, metavar='FILE', help='or a folder; by default where it belongs'
    )
    parser.add_argument('--force', action='store_true', help='overwrite a file that is there')
    found = parser.parse_args(arguments)
    if not (found.list or found.tables):
        missing = [f'--{name}' for name in ('method', 'pair') if getattr(found, name) is None]
        if missing:
            parser.error(f'{" and ".join(missing)} must be given; --list shows what there is')
    return found


def main() -> None:
    """Do what the command line asks for."""
    arguments = parse_arguments()
    try:
        catalogue = Catalogue()
        if arguments.list:
            print(catalogue.listing())
        elif arguments.tables:
            changed = catalogue.renew_tables()
            print('\n'.join(f'renewed {path}' for path in changed) or 'nothing to renew')
        else:
            method, pair = catalogue.find(arguments.method, arguments.pair, arguments.schedule)
            path = catalogue.write(method, pair, arguments.out, force=arguments.force)
            print(f'wrote {path}')
    except ConfigError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
