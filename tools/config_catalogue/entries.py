"""The two parts of a config: a method of distillation, and a pair of networks in a schedule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from config_catalogue.headers import ConfigError, Header, assigns, with_bases

_PLACE = r'configs/\S*METHOD\S*\.py'


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

    def base_for(self, pair: Pair) -> Path:
        """Its file for a pair: a variant of its own where there is one."""
        for whose in (pair.path.stem, pair.name, f'{pair.data}_{pair.schedule}', pair.data):
            path = self.path.with_name(f'{self.name}_{whose}.py')
            if path.is_file():
                return path
        return self.path


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
        return any(assigns(path, 'settings') for path in with_bases(self.path))
