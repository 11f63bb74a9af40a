"""Charts of a page: Vega-Lite specifications, which are data, drawn by the Vega-Lite that stands in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sgc.report.pages.html_document import data_block, escaped, page_file

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched

ChartSpec = Mapping[str, Any]  # Any: JSON, as Vega-Lite defines it


def chart(name: str, spec: ChartSpec, *, caption: str, alternative: str) -> str:
    """Write a figure whose chart `charts.js` draws when the page is opened.

    name: its id in the page. spec: a Vega-Lite specification with its data inside (`{"data": {"values": rows}}`);
    columns are read as they are called, so let them have plain names and put the words into titles.
    caption: plain text below it. alternative: what it shows, in a sentence, for whoever does not see it.
    """
    block = data_block(f"{name}-spec", {"$schema": SCHEMA, **spec})
    return (
        f'<figure id="{escaped(name)}"><div class="chart" role="img" aria-label="{escaped(alternative)}" '
        f'data-spec="{escaped(name)}-spec"></div>{block}<figcaption>{escaped(caption)}</figcaption></figure>'
    )


@cache
def chart_scripts() -> Sequence[str]:
    """Give the scripts that a page with charts carries: Vega-Lite with its licences, and what draws each chart."""
    licences = page_file("vendor/LICENSES").replace("*/", "* /")
    return (f"/*\n{licences}\n*/\n{page_file('vendor/vega-lite.bundle.min.js')}", page_file("charts.js"))
