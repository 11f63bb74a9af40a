"""Pages of the documentation, made as `make docs` makes them, held to axe-core: formulas, code, tables, graphs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from browser import visit

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("derivation", "start/csv", "gallery/digits")  # formulas; code and tables; graphs, as SVG
INDEX = "# Pages\n\n```{toctree}\n:caption: Use\n\n" + "\n".join(PAGES) + "\n```\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a few of the pages, by the same settings; links to the others lead nowhere."""
    for name in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(name, reason="pages are made where sgc[docs] is installed")
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs/conf.py", "docs/derivation.md", "docs/start/csv.md", "specs/digits.yaml", "specs/RESULTS.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("docs/_extensions", "docs/_static", "examples/pictures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "docs" / "gallery").mkdir()
    (folder / "docs" / "index.md").write_text(INDEX)
    words = [sys.executable, "-m", "sphinx", "-q", "-b", "html", folder / "docs", folder / "pages"]
    made = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    return folder / "pages"


@pytest.mark.parametrize(("page", "dark"), [(PAGES[0], False), (PAGES[1], True), (PAGES[2], False)])
def test_pages_of_the_documentation_are_accessible(chromium: Any, site: Path, page: str, dark: bool) -> None:
    with visit(chromium, site / f"{page}.html", dark=dark) as opened:
        opened.assert_accessible()
