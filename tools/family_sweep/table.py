"""The table of the documentation that says of each family what can be distilled."""

from __future__ import annotations

from typing import Any

BEGIN = '<!-- families: written by tools/families.py table -->'
END = '<!-- end of families -->'


def with_table(page: str, results: dict[str, Any]) -> str:
    """A page with the table of these results in place of the one that it has.

    Raises:
        ValueError: If the page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page needs a line {BEGIN!r} and below it a line {END!r}')
    return f'{before}{BEGIN}\n\n{table(results)}\n{END}{after}'


def table(results: dict[str, Any]) -> str:
    """Two tables in Markdown: families that train, and those that do not and why."""
    return ''
