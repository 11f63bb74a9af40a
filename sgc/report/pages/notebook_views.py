"""Views of a spec, a plan, a model and a run in a notebook: HTML without scripts, light and dark as the page around.

What a stranger's spec says reaches a view as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sgc.derivation.plan import EachNode, Plan
from sgc.report.best_epoch import best_line
from sgc.report.pages.graph_svg import graph_legend, graph_panels, graph_style, node_names
from sgc.report.pages.html_document import escaped, page_file
from sgc.report.plates import plated
from sgc.report.short_words import objective_rows
from sgc.report.text_report import NODE_TITLES, node_rows
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline as outline_of
from sgc.spec.spec import Spec

LONGEST = 4000  # letters of LaTeX that MathJax draws at once; longer plans, of unrolled steps, are shown as text
NEEDS_MATHJAX = "drawn by MathJax; as MathML, which needs nothing: pip install 'sgc[notebook]'"


class ShownModel(Protocol):
    """What a view shows of a model, whose class lies above."""

    outline: Outline
    training: bool

    @property
    def like(self) -> Any: ...  # Any: a tensor of its device and type


class ShownRun(Protocol):
    """What a view shows of a run, whose class lies above."""

    folder: Path
    epochs: int
    lines: list[dict[str, Any]]  # Any: what JSON can say


def spec_html(spec: Spec) -> str:
    """Show a spec: its nodes with p and q, both graphs where matplotlib is there to lay them out, its objective."""
    resolved = outline_of(spec)
    head = f"<h4>{escaped(spec.name)}</h4>" + (f"<p>{escaped(spec.description)}</p>" if spec.description else "")
    objective = "; ".join(f"{name} {words}" for name, words in objective_rows(plated(resolved).outline))
    return _view(head, _nodes(resolved), _graphs(resolved), f'<p class="soft">{escaped(objective)}</p>')


def plan_html(plan: Plan) -> str:
    """Show a plan: the rows that it is for, the bound as a formula, and the whole derivation folded under it."""
    lines, text = EachNode(plan).equation_lines(), escaped(plan.text())
    title = f"<h4>{escaped(plan.rows_text())}</h4>"
    if sum(map(len, lines)) > LONGEST:
        return _view(title, f"<pre>{text}</pre>")
    whole = f"<details><summary>derivation</summary><pre>{text}</pre></details>"
    return _view(title, formula_html(lines), whole)


def formula_html(lines: Sequence[str]) -> str:
    """Show aligned lines of LaTeX: as MathML, which browsers draw, where latex2mathml is there; else by MathJax."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        whole = " \\\\\n".join(lines)
        formula = f"$$\n\\begin{{aligned}}\n{escaped(whole)}\n\\end{{aligned}}\n$$"
        return f'<div title="{escaped(NEEDS_MATHJAX)}">{formula}</div>'
    rows = [[convert(cell.strip()) if cell.strip() else "" for cell in line.split("&")] for line in lines]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="formula"><table><tbody>{body}</tbody></table></div>'


def model_html(model: ShownModel) -> str:
    """Show a model: its nodes, the parameters of each network, where it is and in which mode."""
    outline, spec = model.outline, model.outline.spec
    mode = "training" if model.training else "evaluation"
    kind = str(model.like.dtype).removeprefix("torch.")
    where = f"{outline.parameter_count():,} parameters, {kind} on {model.like.device}"
    counts = [(name, f"{count:,}") for name, count in plated(outline).outline.parameter_table()]
    counts += [(f"and those of {path}", "not known") for path in outline.own_networks]
    return _view(
        f"<h4>{escaped(spec.name)}</h4><p>{escaped(where)}, in {mode} mode</p>",
        _nodes(outline),
        table_html(("network", "parameters"), counts, right=(1,)),
    )


def run_html(run: ShownRun) -> str:
    """Show a run: its folder, its epochs, and what the best and the last of them measured."""
    best, last = best_line(run.lines), run.lines[-1] if run.lines else None
    state = f"{run.epochs} epoch{'' if run.epochs == 1 else 's'}"
    state += "" if best is None else f", best epoch {best['epoch']}"
    head = f"<h4>{escaped(str(run.folder))}</h4><p>{escaped(state)}</p>"
    if last is None:
        return _view(head)
    shown = [("last epoch", last)] if best is None or best is last else [("best epoch", best), ("last epoch", last)]
    measured = [dict(_measures(line)) for _, line in shown]
    rows = [(key, *(each.get(key, "") for each in measured)) for key in dict.fromkeys(k for m in measured for k in m)]
    titles = ("", *(f"{name} {line['epoch']}" for name, line in shown))
    warned = [str(text) for line in run.lines for text in line.get("warnings") or ()]
    notes = "".join(f"<p>warning: {escaped(text)}</p>" for text in dict.fromkeys(warned))
    return _view(head, table_html(titles, rows, right=range(1, len(titles))), notes)


def _measures(line: Mapping[str, Any]) -> Iterable[tuple[str, str]]:  # Any: what JSON can say
    """Give the numbers of an epoch that a reader looks for first, with their names."""
    yield from ((f"bound, {kind}", _number(value, " nats")) for kind, value in line["bound"].items())
    if "validation_bound" in line:
        yield "validation bound", _number(line["validation_bound"], " nats")
    errors = line.get("validation_error") or {}
    yield from ((f"validation error of {name}", _number(value)) for name, value in errors.items())
    if line.get("collapsed"):
        yield "collapsed", ", ".join(map(str, line["collapsed"]))


def _number(value: Any, unit: str = "") -> str:  # Any: a number or null
    return "not finite" if value is None else f"{value:.4g}{unit}"


def _nodes(outline: Outline) -> str:
    return table_html(NODE_TITLES, node_rows(plated(outline).outline), right=(len(NODE_TITLES) - 1,))


def _graphs(outline: Outline) -> str:
    """Draw both graphs; nothing without matplotlib, which lays them out."""
    try:
        mark = hashlib.sha256(repr(outline.spec.plain()).encode()).hexdigest()[:8]
        panels = graph_panels(outline, links=dict.fromkeys(node_names(outline), f"#{mark}"))
    except ImportError:
        return "<p class=\"soft\">With matplotlib, both graphs stand here: pip install 'sgc[plots]'</p>"
    return f'<style>{graph_style()}</style><div id="{mark}">{panels}{graph_legend(outline)}</div>'


def table_html(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Write a table of texts; right: the columns that hold numbers."""
    numbers = set(right)

    def cells(row: Sequence[str], tag: str) -> str:
        marks = (' class="number"' if i in numbers else "" for i in range(len(row)))
        return "".join(f"<{tag}{mark}>{escaped(cell)}</{tag}>" for cell, mark in zip(row, marks, strict=True))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(titles, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _view(*pieces: str) -> str:
    return f'<div class="sgc-view"><style>{page_file("notebook.css")}</style>{"".join(pieces)}</div>'
