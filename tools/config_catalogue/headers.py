"""Facts that a config states without being run: its header, its bases, the names it sets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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


def _assignments(path: Path) -> Iterator[tuple[str, ast.expr]]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value


def assigns(path: Path, name: str) -> bool:
    """Whether a file gives a name a value, its bases aside."""
    return any(found == name for found, _ in _assignments(path))


def _bases(path: Path) -> list[Path]:
    """Files that a config names as its bases, without those of packages."""
    for name, value in _assignments(path):
        if name == '_base_':
            named = ast.literal_eval(value)
            named = [named] if isinstance(named, str) else named
            return [path.parent / one for one in named if '::' not in one]
    return []


def with_bases(path: Path) -> Iterator[Path]:
    """A config, then its bases, each before its own."""
    yield path
    for base in _bases(path):
        yield from with_bases(base)
