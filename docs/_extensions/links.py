"""Links of pages to files at the root, which are right in a checkout, led to the pages that hold these files."""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

PAGES = {"CONTRIBUTING.md": "contributing.md", "specs/RESULTS.md": "results.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\]\(((?:\.\./)+)([\w./-]+?\.\w+)(#[^)\s]*)?\)")


def lead(app: Sphinx, page: str, text: list[str]) -> None:
    """Rewrite the links of a page that has been read."""
    root = "../" * (page.count("/") + 1)

    def inside(match: re.Match[str]) -> str:
        up, file, heading = match.groups(default="")
        goal = PAGES.get(file) if up == root else None
        return match[0] if goal is None else f"]({'../' * page.count('/')}{goal}{heading})"

    text[0] = LINK.sub(inside, text[0])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Rewrite the links of each page."""
    app.connect("source-read", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
