"""Texts of pictures: names of users as they stand, not as formulas."""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str) -> str:
    """Return a text as matplotlib must get it to draw it as it stands: ``$`` begins no formula."""
    return text.replace('$', r'\$')


def literals(texts: Iterable[str]) -> list[str]:
    """Return :func:`literal` of each text."""
    return [literal(text) for text in texts]
