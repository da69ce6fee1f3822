"""Settings of the documentation site: Sphinx, MyST and furo; nothing is read from the network."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / '_ext'), str(DOCS.parent)]

warnings.simplefilter('ignore')  # of the libraries that autodoc imports
logging.getLogger('mmengine').setLevel(logging.ERROR)

from wkd_det.version import __version__ as release  # noqa: E402, F401  Sphinx reads it

project = 'wkd_det'
copyright = 'the contributors of wkd_det, Apache-2.0'
language = 'en'

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'docstrings',
    'mathml',
    'module_pages',
    'repository_links',
    'short_names',
]
exclude_patterns = ['_build']
needs_sphinx = '8.0'
nitpicky = True

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4
myst_links_external_new_tab = True

autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False
autodoc_typehints_format = 'short'
autodoc_class_signature = 'mixed'
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [
    'Convention',
    'Conventions',
    'Numerics',
]

# Types of other packages: there is no inventory of them offline.
EXTERNAL = (
    r'(abc|argparse|collections|concurrent|contextlib|enum|functools|matplotlib|mmcv|mmdet|mmengine'
    r'|nn|np|numpy|os|pathlib|pickle|PIL|subprocess|threading|timm|torch|torchvision|types|typing)'
)
ANNOTATIONS = ['Figure', 'Module', 'Path', 'Runner', 'Tensor']
nitpick_ignore_regex = [
    ('py:.*', rf'{EXTERNAL}(\..*)?'),
    ('py:class', r'(dict|list|tuple)\[.*'),  # types that Sphinx cuts at a comma
    ('py:class', r'wkd_det\..*\._\w+'),  # private classes in annotations
    ('py:(meth|attr)', r'_\w+'),  # private members, which subclasses write
    ('py:class', r'wkd_det.costs.features.Accumulator'),  # a type variable
]
nitpick_ignore = [('py:class', name) for name in ANNOTATIONS]

html_theme = 'furo'
html_title = f'wkd_det {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = dict(navigation_with_keys=True)
