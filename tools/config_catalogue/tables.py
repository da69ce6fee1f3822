"""Tables of the configs, as the READMEs have them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config_catalogue.catalogue import COMMAND, Catalogue
from config_catalogue.entries import Pair
from config_catalogue.headers import ConfigError, Header, with_bases
from pages import markdown_table, with_block

TABLES = {'detection': ('mini', 'scenes', 'detection'), 'classification': ('classification',)}
"""Folder of the README that holds a table: the folders whose configs are in it."""
START = f'<!-- made by: {COMMAND} --tables -->'
END = '<!-- end of what is made -->'


def renew_tables(catalogue: Catalogue) -> list[Path]:
    """Write the table of each README anew; return those that have changed."""
    changed = []
    for folder in TABLES:
        path = catalogue.configs / folder / 'README.md'
        old = path.read_text()
        new = with_table(old, configs_table(catalogue, folder))
        if new != old:
            path.write_text(new)
            changed.append(path)
    return changed


def with_table(text: str, table: str) -> str:
    """A README with another table.

    Raises:
        ConfigError: If the two lines between which it stands are not there.
    """
    page = with_block(text, START, END, table)
    if page is None:
        raise ConfigError(f'a README must hold the lines {START} and {END}, around its table')
    return page


def configs_table(catalogue: Catalogue, folder: str) -> str:
    """The configs of a README, as Markdown."""
    folders = [catalogue.configs / part for part in TABLES[folder]]
    paths = [path for part in folders for path in sorted(part.rglob('*.py'))]
    pairs = {pair.path.resolve(): pair for pair in catalogue.pairs}
    rows = sorted(_row(path, catalogue.configs / folder, pairs) for path in paths)
    header = ['config', 'method', 'pair', 'schedule', 'teacher', 'expected']
    return markdown_table(header, [cells for _, cells in rows])


def _row(path: Path, folder: Path, pairs: Mapping[Path, Pair]) -> tuple[Any, list[str]]:
    header = Header.of(path)
    link = f'[{path.stem}]({Path(os.path.relpath(path, folder)).as_posix()})'
    expected = header.fields['Expected']
    for base in with_bases(path):  # of a pair that changes another one, the former first
        pair = pairs.get(base.resolve())
        if pair is not None:
            method = header.fields['Method'].partition(':')[0]
            cells = [link, method, pair.name, pair.schedule, pair.teacher, expected]
            return (path.parent, pair.name, pair.schedule, path.name), cells
    return (path.parent, '', '', path.name), [link, 'plain', header.title, '', '', expected]
