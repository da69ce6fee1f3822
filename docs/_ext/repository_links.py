"""Links to files of the repository outside ``docs``: checked, and shown without a link.

Pages are read in the repository too, where such links work. On the site they become the text in
code type; a file that is not there fails the build.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


class RepositoryLinks(SphinxTransform):
    """Replace links that leave ``docs``."""

    default_priority = 5

    def apply(self) -> None:
        """Walk over what MyST makes of paths: references to documents and downloads."""
        docs = Path(self.app.srcdir).resolve()
        links = [node for node in self.document.findall(pending_xref) if _is_path(node)]
        links += list(self.document.findall(download_reference))
        folder = Path(self.document['source']).parent
        for node in links:
            path = (folder / unquote(node['reftarget']).split('#')[0]).resolve()
            if path.is_relative_to(docs):
                continue
            # MyST takes the suffix from names of documents.
            if not path.exists() and not path.with_name(path.name + '.md').exists():
                LOGGER.warning('no file %s', path, location=node)
            node.replace_self(nodes.inline('', '', *node.children, classes=['repository-file']))


def _is_path(node: pending_xref) -> bool:
    return node.get('refdomain') == 'doc'


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(RepositoryLinks)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
