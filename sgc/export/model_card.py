"""The model card of a run, as the Hugging Face Hub reads it: front matter in YAML, then Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sgc.spec.measured_nodes import metric_of
from sgc.spec.outline import Outline
from sgc.spec.spec import Spec

TAGS = ["sgc", "semi-supervised-learning", "deep-generative-model", "variational-inference", "pytorch"]
STATUS = {"full": "seen in every row", "partial": "seen in some rows", "none": "never seen"}


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    spec: as it stands in the folder. versions, rows: of run.json. line: of metrics.jsonl, of the epoch whose weights
    are there; best: whether validation chose that epoch. license: as the Hub names it. graphs: their facts, by the
    names of their files.
    """

    outline: Outline
    spec: Spec
    versions: Mapping[str, str]
    rows: Mapping[str, int]
    line: Mapping[str, Any]  # Any: what JSON can say
    best: bool
    license: str | None
    graphs: Mapping[str, Mapping[str, Any]]


def card(facts: CardFacts) -> str:
    """Write the card."""
    matter = yaml.safe_dump(front_matter(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{matter}---\n\n{body(facts)}"


def front_matter(facts: CardFacts) -> dict[str, Any]:  # Any: as YAML can say
    """Give what the Hub reads of a card: tags, and validation errors as results."""
    matter: dict[str, Any] = {} if facts.license is None else {"license": facts.license}
    matter |= {"library_name": "sgc", "tags": list(TAGS)}
    metrics = [
        {"type": kind, "name": name, "value": value}
        for kind, name, value in results(facts)
        if value is not None  # which was not finite
    ]
    if metrics:
        data = source_of(facts.spec)
        result = {
            "task": {"type": "other", "name": "semi-supervised learning"},
            "dataset": {"name": data, "type": re.sub(r"[^A-Za-z0-9_./-]", "-", data), "split": "validation"},
            "metrics": metrics,
        }
        matter["model-index"] = [{"name": facts.spec.name, "results": [result]}]
    return matter


def results(facts: CardFacts) -> list[tuple[str, str, float | None]]:
    """List what validation measured: kind, name, value."""
    found: list[tuple[str, str, float | None]] = []
    for node, value in (facts.line.get("validation_error") or {}).items():
        kind = str(metric_of(facts.outline, node))
        found.append((kind, f"{kind} of {node}", value))
    if "validation_bound" in facts.line:
        found.append(("bound", "bound without labels, nats a row", facts.line["validation_bound"]))
    return found


def source_of(spec: Spec) -> str:
    """Name the data of a spec."""
    if spec.data is None:
        return "arrays"
    file = getattr(spec.data, "file", None)
    return file if isinstance(file, str) else str(getattr(spec.data, "name", None) or spec.plain()["data"]["source"])


def body(facts: CardFacts) -> str:
    """Write what a person reads."""
    spec = facts.spec
    parts = [f"# {spec.name}"]
    if spec.description:
        parts.append(html.escape(" ".join(spec.description.split()), quote=False))
    parts.append(
        "A semi-supervised deep generative model, written as a spec (`spec.yaml`), from which sgc derives the "
        "objective after [Siddharth et al. (2017)](https://arxiv.org/abs/1706.00400)."
    )
    parts.append(_table("node | family | shape | labels", [_node(facts.outline, name) for name in facts.outline.outer]))
    own = spec.own_code()
    trust = ", trust=True" if own else ""
    shown = f'import sgc\n\nmodel = sgc.open("FOLDER"{trust})  # where this folder is'
    if spec.maximised.generative and not facts.outline.inputs:
        shown += "\nmodel.generate(16)"
    parts += ["## To use it", f"With `pip install sgc=={facts.versions['sgc']}`:\n\n```python\n{shown}\n```"]
    parts.append(
        "`model.infer(model.encode(rows))` infers what is not seen of new rows, in the units of the data; "
        "`sgc predict FOLDER rows.csv -o answers.csv` does so for a file."
    )
    if own:
        names = ", ".join(f"`{name}`" for name in own)
        parts.append(f"It is computed with own code, {names}, which is not here: put it beside `spec.yaml`.")
    for name, graph in facts.graphs.items():
        reader = "torch.export.load" if name.endswith(".pt2") else "any runtime of ONNX"
        taken, given = (", ".join(f"`{each}`" for each in graph[key]) for key in ("inputs", "outputs"))
        place = "the extra file `sgc.json`" if name.endswith(".pt2") else "the metadata `sgc`"
        parts.append(
            f"`{name}` runs without sgc, by {reader}: it takes {taken}, and gives {given}. Their shapes, types, "
            f"columns and names of categories stand in {place}."
        )
    parts += ["## Training", _training(facts)]
    measures = [(name, "not finite" if value is None else f"{value:.4g}") for _, name, value in results(facts)]
    if measures:
        parts.append(f"Measured on validation rows{', by which the epoch was chosen' if facts.best else ''}:")
        parts.append(_table("measure | value", measures))
    return "\n\n".join(parts) + "\n"


def _training(facts: CardFacts) -> str:
    rows, versions = facts.rows, facts.versions
    source = _code(source_of(facts.spec))
    words = f"{rows['labelled']:,} rows with labels and {rows['unlabelled']:,} without, of {source}"
    epoch = f"; weights of epoch {facts.line['epoch']}" if "epoch" in facts.line else ""
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{words}{epoch}; {made}. Every setting stands in `spec.yaml`."


def _node(outline: Outline, name: str) -> tuple[str, ...]:
    variable = outline.outer[name]
    shape = " × ".join(map(str, variable.event)) or "a number"
    kept = "an empty cell is left out" if variable.dropped else STATUS[variable.supervision]
    return f"`{name}`", variable.family.name, shape, kept


def _code(text: str) -> str:
    """Write a text that may hold backticks, as names of files do, as code.

    >>> _code("rows.csv"), _code("a`b")
    ('`rows.csv`', '`` a`b ``')
    """
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(len(run) for run in re.findall("`+", text)))
    return f"{fence} {text} {fence}"


def _table(head: str, rows: Sequence[tuple[str, ...]]) -> str:
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|" + "---|" * columns, *(f"| {' | '.join(row)} |" for row in rows)])
