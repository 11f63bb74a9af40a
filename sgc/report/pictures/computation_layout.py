"""The layout of a stochastic computation graph: the texts and sizes of its steps, their places, and what they mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sgc.derivation.computation import Computation, Kind, Step
from sgc.derivation.styled_letters import plain
from sgc.errors import UsageError, option
from sgc.report.printed_lines import fold

if TYPE_CHECKING:
    from sgc.report.pictures.node_places import Layout

ALL = "all"  # the one set of edges
LARGEST = 150  # nodes of a graph that is drawn; a larger one takes minutes
FOLDED = 26  # letters in a line of a score
TEXT = 9.5  # points, of the text in a node
WIDE, HIGH = 0.58 * TEXT / 72, 1.3 * TEXT / 72  # upper bounds on its letters
KINDS: dict[Kind, str] = {
    "clamped": "clamped value",
    "input": "input",
    "feature": "feature (deterministic)",
    "weight": "what every term is weighed by",
    "bound": "the bound",
}


def lay_out_graph(graph: Computation) -> Layout:
    """Place the steps of a graph and route its edges, those of the charges too, which run the other way.

    Raises: UsageError where it is too large for a picture.
    """
    from sgc.report.pictures.node_places import lay_out

    if len(graph.steps) > LARGEST:
        size = f"a graph of {len(graph.steps)} nodes, and at most {LARGEST} are drawn"
        raise UsageError(f"{graph.rows}: {size}: leave -o out for text, or take {option('json')}")
    sizes = {step.id: _size(step) for step in graph.steps}
    return lay_out(graph.layers(), sizes, {ALL: [*graph.edges, *graph.charges]})


def lines_of(step: Step) -> tuple[str, ...]:
    """Write the text of a node: its name and how it is drawn; or a score, folded, and how it is computed."""
    from sgc.report.pictures.node_places import fold_name

    if step.proposal is not None:
        return (*fold_name(step.id), step.how.split(", baseline")[0], *(["biased"] if step.biased else []))
    if step.kind in ("clamped", "input", "feature"):
        return fold_name(step.id)
    text = step.scaled.replace(" || ", "\n|| ") if len(step.scaled) > FOLDED else step.scaled
    tag = f"{step.tag}, {step.why}" if step.why == "where present" else step.tag
    return (*(part for line in text.split("\n") for part in map(plain, fold(line, FOLDED))), *([tag] if tag else []))


def _size(step: Step) -> Any:  # Any: the sizes of `lay_out`, whose module needs numpy
    lines = lines_of(step)
    width, height = max(map(len, lines)) * WIDE, len(lines) * HIGH
    if step.kind not in ("draw", "clamped"):
        return "box", max(0.45, width + 0.2), max(0.4, height + 0.14), lines
    high = max(0.55, height * 1.45 + 0.15)
    inner = math.sqrt(1 - (height / high) ** 2)  # how wide an ellipse is at the height of its text
    return "ellipse", max(high, (width + 0.08) / inner), high, lines


def legend_words(step: Step) -> str:
    if step.proposal is not None:
        words = {"enumerated": "all values of q, enumerated", "biased": "draw or mean of q, biased"}
        return words.get(step.proposal.estimator.tag, "draw from q")
    if step.kind in ("score", "label"):
        if len(step.owners) == 2:
            return "KL divergence of q from p"
        return "score of q (parameters φ)" if "recognition" in step.owners else "score of p (parameters θ)"
    return KINDS[step.kind]
