"""What the theme leaves out for readers by keyboard or screen reader, added to each page when it is written.

Blocks of code that scroll take the focus, captions of the contents say their level, the two columns beside the text
have names, and a corner of a table without words is no heading. `tests/test_docs_accessible.py` asks axe-core.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

MENDED = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<th class="head"><p></p></th>': "<td></td>",
}


def mended(html: str) -> str:
    """Add what is missing to a page.

    >>> mended('<div class="highlight"><pre>a</pre></div>')
    '<div class="highlight"><pre tabindex="0">a</pre></div>'
    """
    for lacking, whole in MENDED.items():
        html = html.replace(lacking, whole)
    return html


def mend_pages(app: Sphinx, problem: Exception | None) -> None:
    """Mend the pages that were written; once mended they stay as they are."""
    if problem is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        if (better := mended(html)) != html:
            page.write_text(better, encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Mend the pages when all are written."""
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
