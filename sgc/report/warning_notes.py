"""What a user should know before training: weights that do nothing, sums that are too large, what has no effect."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Collection, Iterator

from sgc.derivation.cost import LARGEST, OPERATIONS, advise, count_text, too_large
from sgc.derivation.derive import derive
from sgc.derivation.graph import ROLES
from sgc.derivation.plan import Plan
from sgc.objectives.estimator import Estimator
from sgc.objectives.estimators import INSTEAD_OF_ENUMERATING
from sgc.report.plated_plan import plan_rows, writer_of
from sgc.report.plates import Plated, plated
from sgc.report.shown_patterns import SHOWN, searched, together
from sgc.report.step_ranges import at_steps
from sgc.spec.outline import Outline, Variable


def warnings(outline: Outline) -> list[str]:
    """List what a user should know before training: of every pattern, each message once, and what has no effect.

    A node of a repeat is labelled at all its steps or at none in the patterns that are gone through.
    """
    view = plated(outline)
    rows: dict[str, list[str]] = {}
    worst: Plan | None = None
    patterns = searched(view.outline, _size(outline))
    # in patterns that are left out, as those of single steps of a repeat, anything may be drawn or vary
    drawn = varying = len(patterns) < 1 << len(together(view.outline)) or any(
        name in outline.outer_name for name in outline.graphs.partial
    )
    for observed in patterns:
        plan = derive(outline.graphs, view.spread(observed), outline.words)
        drawn |= any(not proposal.estimator.enumerates for proposal in plan.proposals)
        varying |= any(weight.varies for weight in plan.weights)
        if worst is None or plan.operations > worst.operations:
            worst = plan
        writer = writer_of(view, plan)
        for message in dict.fromkeys(map(writer.message, plan.messages)):
            rows.setdefault(message, []).append(writer.rows())
    messages = []
    for message, rows_of in rows.items():
        more = len(rows_of) - 1
        others = f" and {more} other pattern{'s' if more > 1 else ''}" if more else ""
        messages.append(f"{rows_of[0]}{others}: {message}")
    assert worst is not None  # there is a pattern without labels
    cost = [f"{plan_rows(view, worst)}: {_cost_warning(view, worst)}"] if too_large(worst) else []
    return [*messages, *cost, *_without_effect(view), *_idle_words(view, drawn=drawn, varying=varying)]


def _size(outline: Outline) -> int:
    """Count what is gone through to derive a plan: nodes and features, and what they read."""
    graphs = outline.graphs
    reads = sum(len(node.generative) + len(node.recognition or ()) for node in graphs.nodes.values())
    return len(graphs.nodes) + reads + sum(1 + len(parents) for parents in graphs.features.values())


def _cost_warning(view: Plated, plan: Plan) -> str:
    """Say that a plan enumerates too much, which estimator to choose at which nodes, and what it costs then."""
    counts = Counter(map(view.names.of, plan.widest))
    names = [f"{count} steps of {name}" if count > 1 else name for name, count in counts.items()]
    joined = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} nodes"
    text = (
        f"enumerating touches {count_text(plan.operations)} numbers a row, and its largest sum, over {joined}, "
        f"{count_text(plan.largest)}: more than {count_text(OPERATIONS)} and {count_text(LARGEST)} are too many"
    )
    variables = view.outline.variables
    able = {name: _drawn_by(variables[name]) for name in dict.fromkeys(map(view.names.of, plan.enumerated))}
    steps = {name: stepped.nodes for name, stepped in view.flat.stepped.items()}
    advice = advise(view.flat.graphs, plan, [name for name, fit in able.items() if fit], steps)
    if not advice.nodes:
        return f"{text}; no node can be drawn instead"
    fit = [kind for kind in INSTEAD_OF_ENUMERATING if all(kind in able[name] for name in advice.nodes)]
    kinds = fit or list(INSTEAD_OF_ENUMERATING)
    least = max(kind.wanted_samples for kind in kinds)
    samples = f" and objective.samples at least {least}" if plan.words.samples < least else ""
    after = f"{count_text(advice.plan.operations)} and {count_text(advice.plan.largest)}"
    estimators = " or ".join(kind.name for kind in kinds)
    return f"{text}; with estimator {estimators} at {', '.join(advice.nodes)}{samples} they are {after}"


def _drawn_by(variable: Variable) -> list[type[Estimator]]:
    return [kind for kind in INSTEAD_OF_ENUMERATING if not kind.refuse(variable.family, variable.event)]


def _without_effect(view: Plated) -> Iterator[str]:
    """Say what has no effect, what q never reads, and which weights do not exist yet."""
    outline, names = view.flat, view.names
    spec = outline.spec
    used = {role: outline.names_read(role) for role in ROLES}
    trained = _trained_q(outline)
    read_by_q = outline.names_read("recognition", without=outline.recognition.keys() - trained)
    read = {names.of(name) for names_read in used.values() for name in names_read}
    for name in [*view.outline.features, *outline.inputs]:
        if name not in read:
            kind = "feature" if name in view.outline.features else "input"
            yield f"no node reads the {kind} '{name}': it does nothing"
    densities = [*view.outline.generative.values(), *view.outline.recognition.values()]
    named = {part.trunk for density in densities for part in density.conditionals}
    named |= {feature.trunk for feature in view.outline.features.values()}
    for name in spec.networks:
        if name not in named:
            yield f"no node or feature uses the network '{name}': it does nothing"
    yield from _blind(view, trained)
    yield from _barren(view)
    variables = outline.variables.items() if outline.recognition else ()
    full = [name for name, v in variables if v.supervision == "full" and name not in read_by_q]
    for name, at in at_steps(view, full):
        yield f"q never reads '{name}'{at}, though every row has it"
    dropped = [name for name, v in variables if v.dropped and name not in read_by_q]
    for name, at in at_steps(view, dropped):
        yield f"q never reads '{name}'{at}, not even in the rows that have it"
    for part in spec.unrolled.parts:
        if part.weights is not None and not part.weights.exists():
            yield f"{part.where}.weights: no run at '{part.weights}' yet, and training needs one"


def _idle_words(view: Plated, *, drawn: bool, varying: bool) -> Iterator[str]:
    """Say which words of the objective have no effect. drawn: whether a node is; varying: whether a weight is."""
    graphs, objective = view.flat.graphs, view.flat.spec.objective
    reasons: dict[str, str] = {}
    labels = ("alpha", "gamma", "supervision_rate")
    if not graphs.partial:
        where_labelled = " with labels" if graphs.dropped else ""
        reasons |= dict.fromkeys(labels, f"no node is partially supervised{where_labelled}")
    elif not together(view.outline):
        reasons |= dict.fromkeys(labels, "data.labels keeps no label")
    reasons = dict(view.flat.spec.maximised.idle) | reasons
    if not varying:
        reasons |= dict.fromkeys(("weights", "label_term"), "the weights of labels are constant")
    if not drawn:
        reasons = {"samples": "no node is drawn", "kl": "no node is drawn"} | reasons
    for key, reason in reasons.items():
        value = getattr(objective, key)
        usual = None if key in labels else type(objective).model_fields[key].default
        if key in objective.model_fields_set and value != usual:
            yield f"objective.{key} does nothing: {reason}"


def _trained_q(outline: Outline) -> set[str]:
    """Name the nodes whose q is trained: all in most bounds; with q alone, those that q of a label depends on."""
    if outline.spec.maximised.generative:
        return set(outline.recognition)
    labelled = [name for name in outline.recognition if name in outline.graphs.partial]
    return set(outline.recognition) & outline.graphs.ancestors(labelled, "recognition")


def _barren(view: Plated) -> Iterator[str]:
    """Say which nodes could be left out: nothing observed depends on them, and q reads them for no other node."""
    outline = view.flat
    if not outline.spec.maximised.generative:
        return
    nodes, graphs = outline.graphs.nodes, outline.graphs
    needed: frozenset[str] = frozenset(name for name, node in nodes.items() if node.supervision != "none")
    before: frozenset[str] = frozenset()
    while needed != before:
        before = needed
        for role in ROLES:
            needed = needed | graphs.ancestors(needed, role)
    for name, at in at_steps(view, [name for name in nodes if name not in needed]):
        unneeded = "q needs it for no other node: p of the observed nodes is the same without it"
        yield f"nothing observed depends on '{name}'{at}, and {unneeded}"


def _blind(view: Plated, asked: Collection[str]) -> Iterator[str]:
    """Say which q are the same in all rows, or in all that agree in the categories of inputs.

    An input of numbers may be different in every row, as one that mirrors what is observed.
    """
    outline = view.flat
    above, sets = outline.graphs.ancestor_bits("recognition"), outline.graphs.sets
    read = {
        name: functools.reduce(operator.or_, (above[source] for source in density.reads), 0)
        for name, density in outline.recognition.items()
        if name in asked
    }
    for name, at in at_steps(view, [node for node in read if not read[node]]):
        yield f"q({name}){at} reads no node: it proposes the same for every row"
    kinds = sets.bits(name for name, entry in outline.inputs.items() if entry.categories is not None)
    by_inputs: dict[int, list[str]] = {}
    for node, sources in read.items():
        if sources and not sources & ~kinds:
            by_inputs.setdefault(sources, []).append(node)
    for inputs, nodes in by_inputs.items():
        listed = " and ".join(f"'{name}'" for name in sets.named(inputs))
        for name, at in at_steps(view, nodes):
            yield f"q({name}){at} reads no node but {listed}: it proposes the same for all rows that agree in it"
