"""What every page keeps: one file, no network, no code of a stranger's, charts drawn in light and dark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import DESK, PHONE, visit

from sgc.report.pages.charts import chart, chart_scripts
from sgc.report.pages.html_document import data_block, document

HOSTILE = "</script><script>document.title='mine'</script><img src=x onerror=\"document.title='mine'\"><!--"


def test_text_of_a_stranger_stays_text() -> None:
    block = data_block("words", {"name": HOSTILE})
    assert block.count("<") == 2
    content = re.fullmatch(r'<script type="application/json" id="words">(.*)</script>', block)
    assert content is not None
    assert json.loads(content[1]) == {"name": HOSTILE}
    assert HOSTILE not in document(HOSTILE, "<main id='main'></main>")


def test_data_are_json_or_refused() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        data_block("words", {"value": float("nan")})


def charted() -> str:
    rows = [
        {"epoch": epoch, "bound": -100 / (epoch + 1), "part": part} for epoch in range(9) for part in (HOSTILE, "b")
    ]
    spec: dict[str, Any] = {
        "data": {"values": rows},
        "mark": {"type": "line", "tooltip": True},
        "width": "container",
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative"},
            "y": {"field": "bound", "type": "quantitative"},
            "color": {"field": "part", "type": "nominal"},
        },
    }
    figure = chart("curve", spec, caption="The bound.", alternative="The bound rises.")
    body = f"<header><h1>A page</h1></header><main id='main'>{figure}</main>"
    return document("A page", body, scripts=chart_scripts())


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_a_chart_is_drawn_offline(chromium: Any, tmp_path: Path, width: int, dark: bool) -> None:
    path = tmp_path / "page.html"
    path.write_text(charted(), encoding="utf-8")
    with visit(chromium, path, width=width, dark=dark) as visited:
        visited.page.wait_for_selector("[data-charts=drawn]", timeout=10_000)
        assert visited.page.locator(".chart svg path").count() > 2
        assert visited.page.title() == "A page"
        visited.assert_clean()
        visited.assert_accessible()


def test_code_that_gets_into_a_page_does_not_run(chromium: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(document("A page", f"<main id='main'>{HOSTILE}--></main>"), encoding="utf-8")
    with visit(chromium, path) as visited:
        assert visited.page.title() == "A page"
        assert visited.errors  # the browser says what it did not run
