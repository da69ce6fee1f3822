"""Formulas as MathML, which browsers show by themselves: no script, no network, no LaTeX."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError


def _to_mathml(text: str, *, block: bool) -> str:
    # TeX takes one digit where docutils takes a number: \tfrac12 is a half.
    text = re.sub(r'(\\[td]?frac)(\d)(\w)', r'\1{\2}{\3}', text)
    text = re.sub(r'(\\[td]?frac)(\d)', r'\1{\2}', text)
    try:
        return tex2mathml(text, as_block=block)
    except MathError as error:
        raise SphinxError(f'formula {text!r}: {error}') from error


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(_to_mathml(node.astext(), block=False))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, 'div', CLASS='math'))
    self.body.append(_to_mathml(node.astext(), block=True) + '</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer('mathml', (_inline, None), (_block, None))
    app.config.html_math_renderer = 'mathml'
    return dict(parallel_read_safe=True, parallel_write_safe=True)
