"""Markdown that tools write: tables, and the part of a page that is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""Return a table; a bar within a cell must be escaped as ``\|``.

    >>> print(markdown_table(['loss', 'ms'], [['KD', 1]]))
    | loss | ms |
    |---|---|
    | KD | 1 |
    """
    first, *others = ['| ' + ' | '.join(map(str, row)) + ' |' for row in [header, *rows]]
    return '\n'.join([first, '|' + '---|' * len(header), *others])


def with_block(page: str, begin: str, end: str, block: str) -> str | None:
    r"""Return a page with another text between two of its lines; None if it lacks them.

    Args:
        page: Text of the page.
        begin: Line above the part that is replaced.
        end: Line below it.
        block: New text of that part.

    >>> with_block('a\n<begin>\nold\n<end>\nb\n', '<begin>', '<end>', 'new')
    'a\n<begin>\n\nnew\n\n<end>\nb\n'
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        return None
    return f'{before}{begin}\n\n{block}\n\n{end}{after}'
