"""Pages that read well on a forge, made to read as well here: links to files at the root, and files in fences.

A link to a file that another page holds leads to that page; a fence with a file name gets it as its caption.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

PAGES = {"CONTRIBUTING.md": "contributing.md", "specs/RESULTS.md": "results.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\]\(((?:\.\./)+)([\w./-]+?\.\w+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^```(\w+) ([\w./-]+\.(?:csv|json|py|txt|yaml|yml))$", flags=re.MULTILINE)


def rewrite(app: Sphinx, page: str, text: list[str]) -> None:
    """Rewrite a page that has been read."""
    root = "../" * (page.count("/") + 1)

    def inside(match: re.Match[str]) -> str:
        up, file, heading = match.groups(default="")
        goal = PAGES.get(file) if up == root else None
        return match[0] if goal is None else f"]({'../' * page.count('/')}{goal}{heading})"

    text[0] = FENCE.sub(r"```{code-block} \1\n:caption: \2\n", LINK.sub(inside, text[0]))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Rewrite each page when it is read."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
