"""Short references: ``sinkhorn_cost`` from any module, and names by the package that lends them.

A name that only one module defines needs no path. ``wkd_det.functional.kd_loss`` leads to the
place where the function stands. An unknown or ambiguous name still fails the build.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def home(name: str) -> str | None:
    """Full name of the object that ``package.Name`` lends, or None."""
    package, _, attribute = name.rpartition('.')
    try:
        found = getattr(import_module(package), attribute)
        return f'{found.__module__}.{found.__qualname__}'
    except (ImportError, AttributeError, ValueError):
        return None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.reference | None:
    """A link to the only object of that name, or to where a lent object stands."""
    if node.get('refdomain') != 'py':
        return None
    target = node['reftarget']
    objects: dict[str, Any] = env.domains.python_domain.objects
    found = [name for name in objects if name.endswith(f'.{target}')]
    if target.startswith('wkd_det.'):
        lent = home(target)
        last = target.rpartition('.')[2]
        found = (
            [lent]
            if lent in objects
            else [
                name
                for name in objects
                if name.endswith(f'.{last}') and target.startswith('wkd_det.functional.')
            ]
        )
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    return make_refnode(
        app.builder, node['refdoc'], entry.docname, entry.node_id, content, found[0]
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the look-up that follows Sphinx's own."""
    app.connect('missing-reference', resolve)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
