"""The gallery: a page for each spec under specs/, with its graphs, formulas, objective, command and results.

The pages are written into docs/gallery/ when Sphinx begins; docs/gallery/index.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

import sgc
from sgc.report.json_report import inspect_json
from sgc.report.pages.graph_svg import graph_legend, graph_panels, graph_style, node_names
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent.parent
GALLERY = ROOT / "docs" / "gallery"
RESULTS = ROOT / "specs" / "RESULTS.md"
CUT = "; its panel of held-out rows, which are MNIST's, is cut off"
PICTURES = {  # under examples/pictures/, each with what was run before `sgc sample`
    "digits": ("digits-samples.png", "after its training of 150 epochs"),
    "vae": ("vae-samples.png", "after its training of 60 epochs"),
    "deep-markov": ("deep-markov-samples.png", "after its training of 100 epochs"),
    "mnist-m2": ("mnist-m2-samples.png", "after its training of 50 epochs" + CUT),
    "mnist-conv": ("mnist-conv-samples.png", "with `train.epochs=4` in place of 60" + CUT),
    "mnist-reinforce": ("mnist-reinforce-samples.png", "with `train.epochs=2` in place of 10, in `bf16-mixed`" + CUT),
    "adgm": ("adgm-samples.png", "with `train.epochs=10` in place of 75" + CUT),
    "sdgm": ("sdgm-samples.png", "after three epochs on the data of `adgm`, in `bf16-mixed`" + CUT),
    "mnist-z-then-y": (
        "mnist-z-then-y-samples.png",
        "after one epoch with two samples in place of three with eight, in `bf16-mixed`: z still says most of the "
        "digit, and y little" + CUT,
    ),
    "multi-mnist-count": (
        "multi-mnist-count-samples.png",
        "with `train.epochs=3` in place of 12 on 20,000 canvases; its panels of held-out rows, which are of "
        "MNIST's digits, are cut off",
    ),
}
DRAWN = {  # by examples/gallery_pictures.py, each with what is shown
    "regression": "Heating load by q, with the central 90 % of each answer, and what the model draws beside the rows "
    "that it learned from. The 77 measured buildings make q too sure.",
    "two-label": "Animals that the model draws beside those that it learned from, and how it names new ones.",
    "two-modalities": "The pictures that tags alone call for, and the tags that a picture alone is given.",
    "hmm": "The activities that the model finds in a new recording, and a recording that it draws.",
}
WITHOUT = {  # why there is no picture
    "faces": "No face is shown here.",
    "svhn": "The files of SVHN were not at hand when this page was made.",
    "multi-mnist": "Its part is a run of `mnist-m2`, and it takes some twenty minutes: no run was kept for this page.",
    "scanvi": "Counts of genes are no picture: its latents and labels are what to look at.",
    "scvi": "Counts of genes are no picture: its latents are what to look at.",
}


def page_of(path: Path) -> str:
    """Write the page of one spec, as Markdown."""
    made = outline(sgc.load(path))
    facts = inspect_json(made)
    name = path.stem
    links = {node: f"#node-{_slug(node)}" for node in node_names(made)}
    graphs = f"<style>{graph_style()}</style>{graph_panels(made, links=links)}{graph_legend(made)}"
    pieces = [
        f"# {name}\n\n{facts['description']}.",
        f"```{{raw}} html\n{_one_paragraph(graphs)}\n```",
        "## Nodes\n\n" + _nodes(facts),
        "## The two graphs as products",
        *(f"$$\n{product['latex']}\n$$" for product in facts["products"].values()),
        "## What is derived",
        *_patterns(facts),
        "## Command\n\n"
        f"```console\n$ sgc init {name}\n$ sgc train {name}.yaml -o runs/{name}\n$ sgc evaluate runs/{name}\n```\n\n"
        "`sgc init` says what data it needs.",
        "## Results\n\n" + _results(name),
        *_picture(name),
        f"## The spec\n\n```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```",
    ]
    return "\n\n".join(pieces) + "\n"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _one_paragraph(html: str) -> str:
    return re.sub(r"\n\s*\n", "\n", html)


def _picture(name: str) -> Iterator[str]:
    yield "## What it draws"
    command = f"`sgc sample runs/{name} -o samples.png`"
    if name in PICTURES:
        file, training = PICTURES[name]
        yield f"![what the model draws](../../examples/pictures/{file})"
        yield f"{command}, {training}."
    elif name in DRAWN:
        yield f"![{DRAWN[name]}](../../examples/pictures/{name}.png)"
        yield (
            f"{DRAWN[name]} `python examples/gallery_pictures.py {name}` draws the data, trains the model, and makes "
            "this picture from what `sgc predict` and `sgc sample` write."
        )
    else:
        yield f"{WITHOUT[name]} After the commands above, {command} draws what the model makes."


def _nodes(facts: dict[str, Any]) -> str:  # Any: JSON
    lines = ["| node | distribution | observed | p reads | q reads, estimator |", "|---|---|---|---|---|"]
    words = {"full": "always", "partial": "in some rows", "none": "never"}
    for node in facts["nodes"]:
        q = node["recognition"]
        reads = "—" if q is None else f"{', '.join(q['parents']) or 'nothing'}, {(node['estimator'] or {}).get('name')}"
        shape = f" {node['shape']}" if node["shape"] else ""
        size = f", {node['categories']} categories" if node["categories"] else ""
        p = ", ".join(node["generative"]["parents"]) or "nothing"
        name = f'<span id="node-{_slug(node["name"])}">{node["name"]}</span>'
        lines.append(f"| {name} | {node['distribution']}{shape}{size} | {words[node['supervision']]} | {p} | {reads} |")
    for kind in ("features", "inputs"):
        for entry in facts[kind]:
            name = f'<span id="node-{_slug(entry["name"])}">{entry["name"]}</span>'
            what = f"{kind[:-1]}, {entry['network']}" if kind == "features" else "input, not modelled"
            lines.append(f"| {name} | {what} | — | {', '.join(entry.get('parents', [])) or '—'} | — |")
    return "\n".join(lines)


def _patterns(facts: dict[str, Any]) -> Iterator[str]:  # Any: JSON
    for pattern in facts["patterns"]:
        terms = "\n".join(f"| `{_cell(term['text'])}` | {_how(term)} |" for term in pattern["terms"])
        table = f"| term | how it is computed |\n|---|---|\n{terms}"
        yield f"### {pattern['rows'][:1].upper()}{pattern['rows'][1:]}"
        yield f"$$\n{pattern['bound']['latex']}\n$$"
        yield table
    if facts["patterns_left_out"]:
        yield f"… and {facts['patterns_left_out']} patterns more."


def _how(term: dict[str, Any]) -> str:  # Any: JSON
    return term["tag"] if term["why"] in ("", term["tag"]) else f"{term['tag']}, {term['why']}"


def _results(name: str) -> str:
    """Give the section of the results that names the spec in its heading."""
    parts = re.split(r"^## ", RESULTS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for part in parts:
        title, _, body = part.partition("\n")
        if f"specs/{name}.yaml" in title:
            return f"{title}\n\n{_deeper(body.strip())}\n\nAll results: [here](../results.md)."
    return "Nothing was measured; it shows how such a model is written."


def _deeper(text: str) -> str:
    return re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)


def write_pages(app: Sphinx) -> None:
    """Write the page of each spec, where it is new."""
    for path in sorted((ROOT / "specs").glob("*.yaml")):
        goal, text = GALLERY / f"{path.stem}.md", page_of(path)
        if not goal.exists() or goal.read_text(encoding="utf-8") != text:
            goal.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages before Sphinx looks for them."""
    app.connect("config-inited", lambda app, config: write_pages(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
