"""The tables of the documentation that say of each family what can be distilled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from family_sweep.configs import FAMILIES
from family_sweep.step import KINDS
from pages import markdown_table, with_block

BEGIN = '<!-- families: written by tools/families.py table -->'
END = '<!-- end of families -->'
_REASONS = {
    r"No module named '([\w.]+)'": r'needs the package `\1`',
    r"custom modules from {'imports': \['(\w+)": r'needs the package `\1`',
    r'pip install "?([\w-]+)': r'needs the package `\1`',
    r"mmcv's (\w+) needs a compiled mmcv": r'needs a compiled mmcv (`\1`)',
    r'^TypeError: (it holds a student and a teacher .*)': r'\1',
    r'the sum of the losses is not finite': 'its losses are not finite on random inputs',
}
"""Reasons against a plain step, in words; other reasons stand as they are."""


def with_tables(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """A page with the tables of these results in place of those that it has.

    Raises:
        ValueError: If the page has no place for them.
    """
    missing = [name for name in FAMILIES if name not in results]
    untried = f'\n\nNot tried yet: {"; ".join(missing)}.' if missing else ''
    renewed = with_block(page, BEGIN, END, f'{tables(results)}{untried}')
    if renewed is None:
        raise ValueError(f'the page needs a line {BEGIN!r} and below it a line {END!r}')
    return renewed


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: families that take a plain step, the sentences of refusals, and the others."""
    trained = {name: one for name, one in results.items() if one.get('plain') == 'ok'}
    others = {name: one for name, one in results.items() if one.get('plain') != 'ok'}
    notes: dict[str, int] = {}
    rows = []
    for name, one in trained.items():
        cells = [
            _cell(one[kind], one['place'] if kind == 'maps' else 'yes', notes) for kind in KINDS
        ]
        rows.append([name, one['detector'], *cells])
    header = ['family', 'detector', 'maps of the', 'RoI logits', 'RoI features']
    blocks = [markdown_table(header, rows)]
    if notes:
        blocks.append('\n'.join(f'{number}. {said}' for said, number in notes.items()))
    if others:
        rows = [[name, one.get('detector') or '', _why(one)] for name, one in others.items()]
        blocks.append(markdown_table(['no plain step here', 'detector', 'why'], rows))
    return '\n\n'.join(blocks)


def _cell(said: str | None, yes: str, notes: dict[str, int]) -> str:
    if said is None:
        return ''
    if said == 'ok':
        return yes
    number = notes.setdefault(said, len(notes) + 1)
    return f'no ({number})'


def _why(result: Mapping[str, Any]) -> str:
    said = result.get('plain') or result.get('failed', '')
    for pattern, words in _REASONS.items():
        match = re.search(pattern, said, re.IGNORECASE)
        if match:
            return match.expand(words)
    return said.replace('|', '\\|')
