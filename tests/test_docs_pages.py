"""README and the pages of the documentation are true: each command and each block runs, each link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_blocks import NOT_RUN, ROOT, Block, blocks, commands, in_order, matches, merged, page_run, shape

DOCS = ROOT / "docs"
GUIDES_OF_THEIR_OWN = "adding-a"  # tests/test_extending_pages.py runs these pages
INCLUDED = {"contributing.md", "results.md", "changelog.md"}  # pages that hold a file of the root
FEW = 20  # blocks that no test runs


def written_pages() -> list[Path]:
    """List the pages that are written by hand or committed: README and those under docs/."""
    pages = (page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
    return [ROOT / "README.md", *sorted(page for page in pages if not generated(page))]


def generated(page: Path) -> bool:
    """Tell whether a page is made anew with each build, from specs/."""
    return page.parent.name == "gallery" and page.name != "index.md"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
