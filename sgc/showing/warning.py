"""What a user should know before training: weights that do nothing, sums that are too large, what has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from sgc.derivation.cost import LARGEST, OPERATIONS, advise, count_text, too_large
from sgc.derivation.derive import derive
from sgc.derivation.plan import Plan
from sgc.kinds.estimators import possible
from sgc.language.outline import Outline, Variable
from sgc.showing.products import names_read, roles
from sgc.showing.selecting import SHOWN, searched

DRAWING = ("score_function", "gumbel_softmax")  # the estimators to choose where enumerating costs too much


def warnings(outline: Outline) -> list[str]:
    """List what a user should know before training: of every pattern, each message once, and of what nobody uses."""
    rows: dict[str, list[str]] = {}
    worst: Plan | None = None
    for observed in searched(outline.graphs):
        plan = derive(outline.graphs, observed, outline.words)
        if worst is None or plan.operations > worst.operations:
            worst = plan
        for warning in plan.warnings:
            rows.setdefault(warning.removeprefix(f"{plan.rows_text()}: "), []).append(plan.rows_text())
    found = []
    for message, where in rows.items():
        more = len(where) - 1
        others = f" and {more} other pattern{'s' if more > 1 else ''}" if more else ""
        found.append(f"{where[0]}{others}: {message}")
    assert worst is not None  # there is a pattern without labels
    cost = [f"{worst.rows_text()}: {_cost_warning(outline, worst)}"] if too_large(worst) else []
    return [*found, *cost, *_without_effect(outline)]


def _cost_warning(outline: Outline, plan: Plan) -> str:
    """Say that a plan enumerates too much, which estimator to choose at which nodes, and what it costs then."""
    joined = ", ".join(plan.widest) if len(plan.widest) <= SHOWN else f"{len(plan.widest)} nodes"
    text = (
        f"enumerating touches {count_text(plan.operations)} numbers a row, and its largest sum, over {joined}, "
        f"{count_text(plan.largest)}: more than {count_text(OPERATIONS)} and {count_text(LARGEST)} are too many"
    )
    able = {name: _drawn_by(outline.variables[name]) for name in plan.enumerated}
    advice = advise(outline.graphs, plan, [name for name, kinds in able.items() if kinds])
    if not advice.nodes:
        return f"{text}; no node can be drawn instead"
    kinds = [kind for kind in DRAWING if all(kind in able[name] for name in advice.nodes)] or list(DRAWING)
    samples = " and objective.samples at least 2" if "score_function" in kinds and plan.words.samples < 2 else ""
    after = f"{count_text(advice.plan.operations)} and {count_text(advice.plan.largest)}"
    return f"{text}; with estimator {' or '.join(kinds)} at {', '.join(advice.nodes)}{samples} they are {after}"


def _drawn_by(variable: Variable) -> list[str]:
    return [kind for kind in DRAWING if kind in possible(variable.family, variable.event)]


def _without_effect(outline: Outline) -> Iterator[str]:
    """Say what is written and has no effect, and what q does not look at."""
    spec, graphs = outline.spec, outline.graphs
    used = {role: names_read(outline, role) for role in roles()}
    for name in [*outline.features, *outline.inputs]:
        if not any(name in names for names in used.values()):
            what = "feature" if name in outline.features else "input"
            yield f"the {what} '{name}' is read by no node: it does nothing"
    named = {each.trunk for each in [*outline.generative.values(), *outline.recognition.values()]}
    named |= {feature.trunk for feature in outline.features.values()}
    for name in spec.networks:
        if name not in named:
            yield f"the network '{name}' is named by nobody: it does nothing"
    for name, density in outline.recognition.items():
        if not graphs.ancestors(density.reads, "recognition") - set(outline.features) - set(outline.inputs):
            yield f"q({name}) reads no node: it proposes the same for every row"
    for name, variable in outline.variables.items():
        if variable.supervision == "full" and outline.recognition and name not in used["recognition"]:
            yield f"q never reads '{name}', though every row has it"
        if variable.dropped and outline.recognition and name not in used["recognition"]:
            yield f"q never reads '{name}', not even in the rows that have it"
    if not graphs.partial:
        for key in ("alpha", "gamma", "supervision_rate"):
            if key in spec.objective.model_fields_set:
                labels = " with labels" if graphs.dropped else ""
                yield f"objective.{key} does nothing: no node is partially supervised{labels}"
