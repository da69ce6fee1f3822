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


class RepositoryLinks(SphinxTransform):
    """Replace links that leave ``docs`` and lead to a file; others stay, and fail later."""

    default_priority = 5

    def apply(self) -> None:
        """Walk over what MyST makes of paths: references to documents and downloads."""
        docs = Path(self.app.srcdir).resolve()
        for node in list(self.document.findall(nodes.Element)):
            if isinstance(node, (pending_xref, download_reference)):
                path = self._path(node, docs)
                if path is not None and path.exists() and not path.is_relative_to(docs):
                    text = nodes.inline('', '', *node.children, classes=['repository-file'])
                    node.replace_self(text)

    def _path(self, node: nodes.Element, docs: Path) -> Path | None:
        target = unquote(node['reftarget']).split('#')[0]
        if isinstance(node, download_reference):
            return (Path(self.document['source']).parent / target).resolve()
        if node.get('refdomain') == 'doc':  # the name of a document, without its suffix
            return (docs / f'{target}.md').resolve()
        if node.get('reftype') == 'myst':  # not found from here: of a page that is included
            return docs.parent / target
        return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(RepositoryLinks)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
