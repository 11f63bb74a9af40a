"""The page of the explorer: its head, both graphs, and places for what the script draws."""

from __future__ import annotations

from sgc.explorer.page_answers import PageAnswers
from sgc.report.pages.graph_svg import graph_panels, graph_style
from sgc.report.pages.html_document import document, escaped, page_file

BODY = """
<header class="top">
<h1>{name} <span class="soft">epoch {epoch:g}</span></h1>
<div id="start" class="bar" role="group" aria-label="Where it begins"></div>
<div id="fault" class="warning" role="alert" hidden></div>
</header>
<main id="main">
<section id="seen" aria-labelledby="seen-title">
<h2 id="seen-title" class="quiet">Generated</h2>
<div id="shown"></div>
<p id="words" class="soft" aria-live="polite"></p>
<div id="traversal"></div>
<details id="graphs" open><summary>Graphs</summary>
<p class="soft">Click a node, or press Enter on it, to hold it, to turn it, to let it go.</p>
{graphs}
<ul class="keys" aria-label="States of nodes">
<li><span class="state free">free</span> follows</li><li><span class="state held">held</span> stays</li>
<li><span class="state turned">turned</span> at a value of yours</li>
<li><span class="state evidence">told</span> to q as evidence</li></ul>
</details>
</section>
<section id="controls" aria-labelledby="controls-title"><h2 id="controls-title" class="quiet">Nodes</h2></section>
</main>
"""


def page_of(answers: PageAnswers, key: str) -> str:
    """Write the page. key: of its requests."""
    model = answers.model
    body = BODY.format(name=escaped(model.spec.name), epoch=model.epoch, graphs=graph_panels(model.outline))
    return document(
        f"{model.spec.name} · sgc explore",
        body,
        styles=[graph_style(), page_file("explorer.css")],
        scripts=[page_file(f"{name}.js") for name in ("explorer_drawing", "explorer_controls", "explorer")],
        data={"model": answers.plain() | {"key": key}},
        connect="'self'",
    )
