"""The stochastic computation graphs of a model in words and as plain data: for each pattern shown, what reads what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sgc.derivation.computation import BOUND, Computation, Kind, Step, computation
from sgc.derivation.derive import derive
from sgc.derivation.graph import Role
from sgc.derivation.plan import EachNode
from sgc.derivation.styled_letters import style
from sgc.errors import option
from sgc.report.plated_plan import plan_rows
from sgc.report.plates import plated
from sgc.report.printed_lines import Line, printed, unstyled
from sgc.report.shown_patterns import shown
from sgc.spec.outline import Outline

TITLE = "stochastic computation graphs (Schulman et al. 2015)"
PARAMETERS: dict[Role, str] = {"generative": "θ", "recognition": "φ"}
VALUES: tuple[Kind, ...] = ("input", "clamped", "feature", "draw")


@dataclass(frozen=True)
class Expansion:
    """The computation graphs of the patterns that are shown, and how many patterns are not."""

    outline: Outline
    graphs: tuple[Computation, ...]
    left_out: int


def expansion(outline: Outline, pattern: frozenset[str] | None = None) -> Expansion:
    """Expand the plans of the patterns that `inspect` shows, or of one; every step of a repeat is there."""
    view = plated(outline)
    chosen, left_out = shown(view.outline) if pattern is None else ([pattern], 0)
    plans = [derive(outline.graphs, view.spread(observed), outline.words) for observed in chosen]
    graphs = [replace(computation(outline.graphs, plan), title=plan_rows(view, plan)) for plan in plans]
    return Expansion(outline, tuple(graphs), left_out)


def left_out_words(expanded: Expansion) -> str:
    """Say how many patterns are left out, and how to see one; empty where none is."""
    if not expanded.left_out:
        return ""
    count = "one" if expanded.left_out == 1 else str(expanded.left_out)
    return f"and {count} more observation patterns: {option('pattern')} shows one"


def expand_text(expanded: Expansion, *, width: int | None = None, color: bool = False) -> str:
    """Write the graphs as lists, each step after what it reads. width: fold lines there; None: never."""
    spec = expanded.outline.spec
    parts = [printed(unstyled([f"{spec.name}: {TITLE}"], "title"), width=None, indent="", color=color)]
    parts += [_graph_text(graph, width, color=color) for graph in expanded.graphs]
    if expanded.left_out:
        parts.append(printed(unstyled([left_out_words(expanded)], "title"), width=None, indent="", color=color))
    return "\n\n".join(parts)


def _graph_text(graph: Computation, width: int | None, *, color: bool) -> str:
    steps = [step for step in graph.steps if step.id != BOUND]
    rows = [(step.kind, step.scaled, reads_text(graph, step), _how(step)) for step in steps]
    wide = [max([5, *(len(row[i]) for row in rows)]) for i in range(3)]
    hanging = " " * (wide[0] + 8)
    lines: list[str] = []
    before = ""
    for step, (word, text, reads, how) in zip(steps, rows, strict=True):
        label = word if word != before else ""
        lines.append(f"  {label:<{wide[0]}}  {text:<{wide[1]}}  {reads:<{wide[2]}}  {how}".rstrip())
        charged = charged_text(graph, step)
        lines += [f"{hanging}charged with {charged}"] if charged else []
        before = word
    for i, line in enumerate(EachNode(graph.plan, styled=True).bound()):
        lines.append(f"  {'' if i else 'bound':<{wide[0]}}  {line}")
    page = [*unstyled([graph.rows], "title"), *map(Line, lines)]
    return printed(page, width=width, indent=hanging, color=color)


def _how(step: Step) -> str:
    if step.kind == "draw":
        return f"{step.how} (biased)" if step.biased else step.how
    tag = style(step.tag, step.tag) if step.tag else ""
    return f"{tag} ({step.why})" if step.why and step.kind == "score" else tag


def reads_text(graph: Computation, step: Step) -> str:
    """Say what a step reads: values by their names, scores as they are written."""
    names = [read if graph.step[read].kind in VALUES else graph.step[read].styled for read in step.reads]
    return f"reads {', '.join(names)}" if names else ""


def charged_text(graph: Computation, step: Step) -> str:
    """Say what a draw is charged with; empty where its gradient goes through its value, or it has none."""
    charged = [score for score, draw in graph.charges if draw == step.id]
    if step.baseline and not charged:
        return "nothing"
    return ", ".join("the whole bound" if score == BOUND else graph.step[score].scaled for score in charged)


# ---- as plain data


def expand_json(expanded: Expansion) -> dict[str, Any]:  # Any: plain data
    """Give the graphs as nodes and edges."""
    return {
        "name": expanded.outline.spec.name,
        "patterns": [_graph_json(graph) for graph in expanded.graphs],
        "patterns_left_out": expanded.left_out,
    }


def _graph_json(graph: Computation) -> dict[str, Any]:  # Any: plain data
    return {
        "observed": list(graph.plan.observed),
        "rows": graph.rows,
        "bound": EachNode(graph.plan).bound(),
        "nodes": [_step_json(graph, step) for step in graph.steps],
        "edges": [{"from": read, "to": reader} for read, reader in graph.edges],
        "charges": [{"from": score, "to": draw} for score, draw in graph.charges],
    }


def _step_json(graph: Computation, step: Step) -> dict[str, Any]:  # Any: plain data
    data: dict[str, Any] = {
        "id": step.id,
        "kind": step.kind,
        "text": step.text,
        "scale": {"": "1", "-": "-1"}.get(step.scale, step.scale),
        "parameters": [PARAMETERS[role] for role in step.owners],
    }
    if step.tag:
        data["tag"] = step.tag
    if step.why:
        data["why"] = step.why
    if step.proposal is not None:
        data |= {"estimator": step.proposal.estimator.name, "support": step.proposal.support}
    if step.baseline:
        data["baseline"] = step.baseline
    return data
