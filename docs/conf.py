"""How Sphinx makes the pages: MyST, Furo, formulas as MathML; nothing is fetched, by whoever makes or reads them."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]

from sgc.version import __version__  # noqa: E402 - found by the path above

project = "sgc"
author = "the authors of sgc"
copyright = "the authors of sgc"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml", "forge_pages", "gallery", "docstrings", "accessible_pages"]
exclude_patterns = ["_build", "_extensions"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 4  # links to headings are those of a forge

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "sgc"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

nitpicky = False
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints = "none"  # the text says shapes, which types do not
python_use_unqualified_type_names = True
