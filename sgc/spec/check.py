"""What must hold between the pieces of a spec: names, graphs, statuses, shapes, estimators, objective and data.

Every fault is found at once. A piece that is known to be wrong causes no second fault, there or in its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

from sgc.derivation.derive import derive
from sgc.derivation.factors import SAMPLES
from sgc.derivation.graph import Graphs
from sgc.derivation.plan import Plan
from sgc.errors import UsageError
from sgc.networks.stack import Stack
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import ELBO
from sgc.objectives.estimator import Estimator
from sgc.objectives.estimators import refuse_count
from sgc.objectives.gradient import GRADIENTS, TOTAL
from sgc.objectives.objective import Objective
from sgc.objectives.own_objectives import OwnBound
from sgc.spec.check_data import check_data
from sgc.spec.check_graphs import check_graphs, check_missing
from sgc.spec.check_names import Names, check_categories, check_names, check_statuses
from sgc.spec.check_shapes import check_shapes
from sgc.spec.check_totals import check_totals
from sgc.spec.check_weights import check_category_weights
from sgc.spec.findings import Findings
from sgc.spec.measured_nodes import check_suited
from sgc.spec.outline import Outline
from sgc.spec.recognition_auto import derive_recognition
from sgc.spec.resolver import Resolver, outline
from sgc.spec.spec import Spec
from sgc.spec.unrolled import Unrolled

ADAMS = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")


def check(spec: Spec, findings: Findings, unrolled: Unrolled = Unrolled()) -> Spec:  # noqa: B008 - it is frozen
    """Find what is wrong between the pieces of a spec; `spec` holds those that are right in themselves.

    unrolled: its repeats and parts. Returns the spec with the parents of q derived, where it says `recognition: auto`.
    """
    spec = spec.once(unrolled)
    names = check_names(findings, unrolled)
    check_categories(findings)
    check_statuses(findings, names)
    check_graphs(findings, names)
    check_missing(findings, names)
    check_totals(findings, names)
    spec = derive_recognition(spec, findings, names)
    check_shapes(spec, findings, names)
    check_counts(spec, findings)
    outside = names.outside()
    check_objective(spec, findings, outside)
    check_charging(spec, findings)
    check_gradient(spec, findings)
    check_optimizer(spec, findings)
    check_average(spec, findings)
    check_trackers(spec, findings)
    check_category_weights(spec, findings, outside)
    check_data(findings, outside, unrolled.optional)
    check_metrics(spec, findings, outside)
    return spec


def check_counts(spec: Spec, findings: Findings) -> None:
    """Find counts of repeats that q would relax or average: a step exists or does not."""
    resolver = Resolver(spec)
    for name in dict.fromkeys(count for counts in spec.unrolled.exists.values() for count, _ in counts):
        path, node = ("nodes", name), spec.nodes.get(name)
        if node is None or findings.hurt(*path):
            continue
        refusal = refuse_count(resolver.family(name), resolver.estimator(name, node))
        if refusal:
            place = (*path, "recognition", "estimator")
            findings.add(place if findings.document.has(place) else path, refusal)


def check_objective(spec: Spec, findings: Findings, names: Names) -> None:
    """Find words of the objective that its bound does not have, and weights of labels that do not exist."""
    objective, partial = spec.objective, names.labelled
    weights = findings.keys("objective", "alpha")
    for name in weights if not {"from", "over_rate"} & set(weights) else ():
        if name not in partial and names.decided(name):
            known = names.section.get(name) == "nodes"
            message = f"'{name}' is not partially supervised" if known else f"no node named '{name}'"
            if name in names.nodes("partial"):
                message = f"'{name}' has no label that q could give: it is left out where it is missing"
            findings.add(("objective", "alpha", name), message, findings.suggest(name, lambda: partial), at="key")
    if findings.hurt("objective", "bound"):
        return
    bound = _bound(spec, findings)
    if isinstance(objective.bound, OwnBound) and spec.trusted and not findings.faults:
        check_own_bound(spec, findings)
    usual = Objective()
    refused = dict(bound.refused)
    if not bound.has_alpha and "alpha" not in bound.idle:
        refused.setdefault("alpha", f"the {bound.name} bound has no alpha")
    forbidden = [(key, why) for key, why in refused.items() if getattr(objective, key) != getattr(usual, key)]
    for key in sorted(ELBO.own_words - bound.own_words, reverse=True):
        if getattr(objective, key) != getattr(usual, key):
            forbidden.append((key, f"it changes the {ELBO.name} bound, and the bound is {bound.name}"))
    for key, why in forbidden:
        findings.add(("objective", key), f"forbidden: {why}", at="key")
    if not bound.generative and names.statuses_complete and not partial:
        message = f"the {bound.name} bound needs a partially supervised node, and there is none"
        message += " with labels" if names.nodes("partial") else ""
        findings.add(("objective", "bound"), message)


def _plans(spec: Spec) -> Iterator[Plan]:
    """Derive a plan for rows without labels, for each label alone, and for all labels."""
    model = outline(spec)
    partial = model.graphs.partial
    for observed in [(), *((name,) for name in partial), partial]:
        yield derive(model.graphs, observed, model.words)


def check_own_bound(spec: Spec, findings: Findings) -> None:
    """Find a bound of the user's own that fails, or gives no expression of the factors of a plan."""
    try:
        for _ in _plans(spec):
            pass
    except UsageError as problem:
        findings.add(("objective", "bound", "python"), str(problem))


def _bound(spec: Spec, findings: Findings) -> Bound:
    """Return the bound; in place of own code that cannot be loaded, which is reported, the usual one."""
    if not spec.trusted and isinstance(spec.objective.bound, OwnBound):
        return ELBO
    try:
        return spec.maximised
    except UsageError as problem:
        findings.add(("objective", "bound", "python"), str(problem))
        return ELBO


def check_charging(spec: Spec, findings: Findings) -> None:
    """Find estimators that need the costs of each sample by itself, or one q for all samples, and cannot have them."""
    if findings.faults:
        return
    estimators = [node.estimator for node in outline(spec).graphs.nodes.values()]
    if not any(estimator.own_costs or estimator.one_q for estimator in estimators):
        return
    for plan in _plans(spec):
        for charge in plan.charges:
            refusal = plan.refuse_charging(charge)
            if refusal:
                message = f"'{plan.proposed[charge.node].estimator}' {refusal}"
                findings.add(("nodes", charge.node, "recognition", "estimator"), message, "allowed: score_function")


def check_gradient(spec: Spec, findings: Findings) -> None:
    """Find a gradient that the bound, the weights or the estimators of a spec do not allow."""
    gradient = GRADIENTS[spec.objective.gradient]
    if gradient == TOTAL or any(findings.hurt("objective", key) for key in ("bound", "gradient")):
        return
    path, hint = ("objective", "gradient"), f"allowed: {TOTAL.name}"
    refusal = gradient.refuse(_bound(spec, findings))
    if refusal:
        findings.add(path, f"'{gradient.name}' {refusal}", hint)
        return
    for name, node in spec.nodes.items() if gradient.wakes else ():
        chosen = node.recognition.estimator if node.recognition is not None else None
        place = ("nodes", name, "recognition", "estimator")
        if isinstance(chosen, Estimator) and chosen.tag == "biased" and not findings.hurt(*place):
            message = f"forbidden beside gradient: {gradient.name}, which needs draws: '{chosen}' gives none"
            findings.add(place, message, "allowed: enumerate, pathwise, score_function")
    if findings.faults or not (gradient.reparameterised or gradient.constant_weights):
        return
    model = outline(spec)
    partial = model.graphs.partial
    for observed in [*((name,) for name in partial), *(((), partial) if gradient.reparameterised else ())]:
        plan = derive(model.graphs, observed, model.words)
        refusals = _of_weights(plan, spec) if gradient.constant_weights else []
        refusals += _of_draws(plan, model.graphs, spec) if gradient.reparameterised else []
        refusals += _of_networks(plan, model) if gradient.weighs_paths and not refusals else []
        for why in refusals:
            findings.add(path, f"'{gradient.name}' {why}", hint)


def _of_weights(plan: Plan, spec: Spec) -> list[str]:
    """Say which weights vary; without weights none is in the way."""
    if spec.objective.weights != "normalized":
        return []
    name = spec.unrolled.name
    return [
        f"needs weights that are constant, but {weight.factor.called(name)} varies: it reads "
        f"{' and '.join(map(name, weight.carriers))}"
        for weight in plan.weights
        if weight.varies
    ]


def _of_draws(plan: Plan, graphs: Graphs, spec: Spec) -> list[str]:
    """Say which draws are not reparameterised, or lie in other particles than those they depend on."""
    called = spec.unrolled.name
    drawn = [proposal for proposal in plan.proposals if not proposal.estimator.enumerates]
    wrong = [proposal for proposal in drawn if not proposal.estimator.reparameterised]
    if wrong:
        return [f"needs reparameterised draws, and {called(wrong[0].node)} has the estimator {wrong[0].estimator}"]
    for proposal in drawn[1:]:
        apart = (proposal.dims ^ drawn[0].dims) - {SAMPLES}
        if apart:
            some, other = (proposal, drawn[0]) if apart & proposal.dims else (drawn[0], proposal)
            return [
                f"needs one weight for all draws of a sample, and {called(some.node)} is drawn for each value of "
                f"{', '.join(sorted(map(called, apart)))}, {called(other.node)} is not"
            ]
    masks = {proposal.node: set(plan.exists.get(proposal.node, ())) for proposal in drawn}
    for name, mask in masks.items():
        above = graphs.ancestors([name], "recognition")
        for parent in (parent for parent in masks if parent in above and masks[parent] != mask):
            counts = dict.fromkeys(count for count, _ in sorted(mask ^ masks[parent]))
            read = "that of another step" if called(name) == called(parent) else called(parent)
            return [
                f"needs one weight for draws that depend on each other in q: {called(name)} depends on {read}, and "
                f"{' and '.join(map(called, counts))} can leave out one of the two"
            ]
    return []


def _of_networks(plan: Plan, model: Outline) -> list[str]:
    """Say which network must give the same values twice, first to draw and then to score, and does not."""
    paths, parts, called = plan.paths, model.spec.unrolled.parts, model.spec.unrolled.name
    assert paths is not None
    steady = {name for part in parts if part.freeze for name in part.names.values() if name not in part.bound.values()}
    twice: dict[str, tuple[str, list[Stack | None]]] = {
        name: (f"the feature {called(name)}", [model.features[name].stack]) for name in sorted(paths.again)
    }
    for name in paths.drawn:
        if plan.proposed[name].above_samples:
            twice[name] = f"q of {called(name)}", [part.stack for part in model.recognition[name].conditionals]
    for name, (words, stacks) in twice.items():
        layers = (layer for stack in stacks if stack for layer in stack.rest)
        layer = next((layer.unsteady for layer in layers if layer.unsteady), "")
        if layer and model.outer_name.get(name, name) not in steady:
            return [f"computes {words}, below a draw, twice, and its {layer} gives another result the second time"]
    return []


def check_optimizer(spec: Spec, findings: Findings) -> None:
    """Find options that the optimiser does not have."""
    optimizer, path = spec.train.optimizer, ("train", "optimizer")
    if findings.hurt(*path, "name"):
        return
    forbidden = {
        "betas": optimizer.name not in ADAMS,
        "momentum": optimizer.name in ADAMS,
        "eps": optimizer.name == "SGD",
    }
    for key, wrong in forbidden.items():
        if wrong and getattr(optimizer, key) is not None:
            findings.add((*path, key), f"forbidden: {optimizer.name} has no {key}", at="key")


def check_average(spec: Spec, findings: Findings) -> None:
    """Find an average of weights that would begin when training has ended."""
    average, epochs = spec.train.averaged, spec.train.epochs
    if average is None or findings.hurt("train", "average") or findings.hurt("train", "epochs"):
        return
    if average.start >= epochs:
        findings.add(
            ("train", "average", "from"),
            f"found {average.start}, wanted fewer than the {epochs} epochs of train.epochs",
            "the average begins after so many epochs",
        )


def check_trackers(spec: Spec, findings: Findings) -> None:
    """Find trackers that are named twice, and pictures that nobody gets."""
    place: tuple[str, str] = ("train", "loggers")
    if findings.hurt(*place):
        return
    names = [tracker.name for tracker in spec.train.loggers or ()]
    for i, name in enumerate(names):
        if name in names[:i]:
            findings.add((*place, i), f"'{name}' is named twice: a run has one run there")
    if not names and spec.train.pictures is not None:
        findings.add(
            ("train", "pictures"), "forbidden: there is no tracker to show them", "add train.loggers", at="key"
        )


def check_metrics(spec: Spec, findings: Findings, names: Names) -> None:
    """Find metrics for what is no node, and metrics that do not suit their node."""
    nodes = dict.fromkeys(name for name, section in names.section.items() if section in ("nodes", ""))
    written = findings.keys("evaluate", "metrics")
    for name in written:
        if name not in nodes and names.surely(name):
            path = ("evaluate", "metrics", name)
            findings.add(path, f"no node named '{name}'", findings.suggest(name, lambda: nodes), at="key")
    check_suited(spec, findings, [name for name in written if names.section.get(name) == "nodes"])
