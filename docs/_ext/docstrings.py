"""How autodoc and napoleon read the docstrings of this package."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring


def _attribute(self: GoogleDocstring) -> list[str]:
    return list(self._consume_to_end())


def skip_foreign(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out members that another package defines: some decorators hide that they do."""
    home = getattr(obj, '__module__', None)
    return True if isinstance(home, str) and not home.startswith('wkd_det') else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what differs from napoleon's and autodoc's ways."""
    # Napoleon takes text before the first colon for a type; ours are sentences.
    GoogleDocstring._parse_attribute_docstring = _attribute
    app.connect('autodoc-skip-member', skip_foreign)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
