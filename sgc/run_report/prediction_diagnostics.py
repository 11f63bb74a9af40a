"""What held-out rows say of a run: collapsed latents, uneven labels, errors, calibration, intervals, leaks."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sgc.errors import printable
from sgc.evaluation.collapse import COLLAPSED, divergences
from sgc.evaluation.prediction_scores import Error
from sgc.run_report.diagnostic import Diagnostic, Measured
from sgc.run_report.training_history import last_terms
from sgc.runtime.steps import nodes_of
from sgc.schedules import Schedule, value_at
from sgc.spec.outline import Outline

MISCALIBRATED = 0.05  # expected calibration error
NARROW, WIDE = 0.8, 0.97  # of labels in the central 90 % of q
RARE = 5.0  # labels of the commonest category over those of the rarest
USED = 0.5  # of a latent's units, that are active
READ = 0.5  # of chance's error, below which a forest reads a label from the latents
USELESS = 0.05  # of a number's variance, below which q explains nothing
CLEAR = 2.0  # standard errors
JUDGED = 100  # labelled rows, below which a calibration error is mostly chance


def prediction_diagnostics(run: Measured) -> Iterator[Diagnostic]:
    """Judge what a run says of rows."""
    yield from _collapse(run)
    yield from _labels(run)
    yield from _predictions(run)
    yield from _codes(run)


def _collapse(run: Measured) -> Iterator[Diagnostic]:
    if run.evaluation is None or run.evaluation.diagnosis is None:
        yield from _collapse_in_training(run)
        return
    diagnosis, outline = run.evaluation.diagnosis, run.outline
    by_node = divergences(diagnosis.terms)
    latent = [name for name in by_node if outline.outer[name].supervision == "none"]
    for name in diagnosis.collapsed:
        found = f"within {COLLAPSED} nats of p: {by_node[name]:.3f}"
        if name in latent:
            yield Diagnostic(
                "warning",
                f"{name} has collapsed: q({name} | …) is {found}, so that it says nothing of a row.",
                _warm_up(outline, run.history.planned, name),
                "Alpha and the KL weight",
            )
        else:
            yield Diagnostic(
                "warning",
                f"q({name} | …) is {found}: without labels, it predicts {name} as p does for every row.",
                "Give its label more weight (objective.alpha), or label more rows.",
                "Alpha and the KL weight",
            )
    alive = [name for name in latent if name not in diagnosis.collapsed]
    for name in alive:
        active, units = diagnosis.active_units.get(name), diagnosis.units.get(name)
        if active is None or units is None:
            yield Diagnostic("good", f"{name} is used: it says {by_node[name]:.3g} nats of a row.")
        elif not active:
            yield Diagnostic(
                "warning",
                f"No unit of {name} is active: over rows, the means of its {units} units vary by less than 0.01 each, "
                f"though q is {by_node[name]:.3g} nats from p.",
                f"More epochs, where they were few; {_warm_up(outline, run.history.planned, name)}",
                "Alpha and the KL weight",
            )
        elif active < USED * units and units > 2:
            yield Diagnostic(
                "note",
                f"{name} uses {active} of its {units} units, and says {by_node[name]:.3g} nats of a row.",
                _sentence(_smaller(outline, name, active) + _warm_up(outline, run.history.planned, name)),
                "Alpha and the KL weight",
            )
        else:
            yield Diagnostic(
                "good", f"{name} is used: {active} of {units} units are active, {by_node[name]:.3g} nats of a row."
            )


def _collapse_in_training(run: Measured) -> Iterator[Diagnostic]:
    """Judge latent nodes by the terms of training, where no held-out rows say more."""
    outline = run.outline
    latent = [name for name, variable in outline.outer.items() if variable.supervision == "none"]
    if not latent or not outline.spec.maximised.generative:
        return
    by_node = divergences(last_terms(run.history))
    for name in latent:
        if name not in by_node:
            yield Diagnostic(
                "note",
                f"Whether {name} has collapsed cannot be said: there are no held-out rows, and the log of training has "
                "no terms of it.",
            )
        elif abs(by_node[name]) < COLLAPSED:
            yield Diagnostic(
                "warning",
                f"{name} has collapsed: in the last epoch of training q({name} | …) was within {COLLAPSED} nats of p: "
                f"{by_node[name]:.3f}, so that it says nothing of a row.",
                _warm_up(outline, run.history.planned, name),
                "Alpha and the KL weight",
            )
        else:
            yield Diagnostic(
                "good",
                f"{name} is used: in the last epoch of training it said {by_node[name]:.3g} nats of a row. No held-out "
                "rows say so too.",
            )


def _smaller(outline: Outline, name: str, active: int) -> str:
    """Say which shape would do for so many units, of a vector that is no step of a repeat."""
    if name in outline.stepped or len(outline.outer[name].shape) != 1:
        return ""
    return f"shape: [{max(2, math.ceil(1.5 * active))}] would hold as much, and train faster; "


def _warm_up(outline: Outline, epochs: int, name: str) -> str:
    """Say how to keep a latent node from collapsing, given the weight of KL terms that the spec has."""
    weight = outline.spec.objective.kl_weight
    if isinstance(weight, Schedule):
        more = f"its KL weight rises over {weight.epochs} epochs already: let it rise over more"
    elif value_at(weight, 0) < 1:
        more = f"its KL weight is {weight:g} already: let it start lower still"
    else:
        more = f"objective.kl_weight: {{from: 0, to: 1, epochs: {max(2, epochs // 4)}}} lets it be used before it costs"
    return f"{more}; or let p say less without {name}: a smaller network, fewer other parents."


def _labels(run: Measured) -> Iterator[Diagnostic]:
    weighed = run.outline.spec.train.category_weights is not None
    for counted in run.counts:
        labelled = [count for count in counted.counts if count]
        none = [name for name, count in zip(counted.names, counted.counts, strict=True) if not count]
        node = printable(counted.node)
        if none and len(labelled) >= 1:
            listed = ", ".join(printable(name) for name in none[:5]) + (", …" if len(none) > 5 else "")
            yield Diagnostic(
                "warning",
                f"No training row is labelled with {len(none)} of the {len(counted.names)} categories of {node}: "
                f"{listed}.",
                "Label a few rows of each: the model cannot know which of its categories they are.",
                "Labels by row",
            )
        elif labelled and max(labelled) > RARE * min(labelled):
            how = (
                "train.category_weights is set; what is still missed needs more labels."
                if weighed
                else f"train.category_weights: {{{node}: balanced}} counts all categories alike."
            )
            yield Diagnostic(
                "note",
                f"Labels of {node} are uneven: from {min(labelled)} to {max(labelled)} rows a category. Read the "
                "balanced error.",
                how,
                "Labels by row",
            )


def _predictions(run: Measured) -> Iterator[Diagnostic]:
    if run.evaluation is None:
        return
    for name, error in run.evaluation.from_q.items():
        weighted = run.evaluation.from_posterior.get(name)
        yield from _chance(run, name, error)
        yield from _calibrated(run, name, error, weighted)
        yield from _covered(name, error)
        if weighted is not None:
            yield from _which(name, error, weighted)


def commonest(error: Error) -> float | None:
    """Give the share of the commonest category among the labels; None where there are no two."""
    if error.confusion is None or error.clusters is not None or (error.confusion.labels > 0).sum() < 2:
        return None
    return float(error.confusion.labels.max() / error.confusion.labels.sum())


def _chance(run: Measured, name: str, error: Error) -> Iterator[Diagnostic]:
    explained = run.explained.get(name)
    if explained is not None and explained < USELESS:
        yield Diagnostic(
            "bad",
            f"{name} is predicted no better than by its mean: q explains {100 * explained:.0f} % of its variance.",
            "Look at the labels in the data; then raise objective.alpha, or label more rows.",
            "Alpha and the KL weight",
        )
    share = commonest(error)
    if share is None:
        return
    wrong = 1 - _right(error)
    if wrong >= 0.95 * (1 - share):
        yield Diagnostic(
            "bad",
            f"{name} is predicted no better than by guessing: {100 * wrong:.1f} % are wrong, and "
            f"{100 * (1 - share):.1f} % would be by always saying the commonest.",
            "Look at the labels in the data; then raise objective.alpha, or label more rows.",
            "Alpha and the KL weight",
        )


def _right(error: Error) -> float:
    assert error.confusion is not None
    pairs = error.confusion.pairs
    return float(pairs[pairs[:, 0] == pairs[:, 1], 2].sum() / pairs[:, 2].sum())


def _calibrated(run: Measured, name: str, error: Error, weighted: Error | None) -> Iterator[Diagnostic]:
    calibration = error.calibration
    if calibration is None or error.clusters is not None:
        return
    total = sum(bin_.rows for bin_ in calibration.bins)
    if total < JUDGED:
        rows = "1 labelled row is" if total == 1 else f"{total} labelled rows are"
        yield Diagnostic(
            "note",
            f"{rows} too few to say what q's probabilities of {name} are worth.",
            f"Label {JUDGED} held-out rows or more; until then take its errors as rough, too.",
        )
        return
    sure = sum(bin_.rows * bin_.confidence for bin_ in calibration.bins) / total
    right = sum(bin_.rows * bin_.accuracy for bin_ in calibration.bins) / total
    if calibration.error <= MISCALIBRATED:
        yield Diagnostic(
            "good",
            f"q's probabilities of {name} are worth what they say: the calibration error is "
            f"{100 * calibration.error:.1f} %.",
        )
        return
    better = (
        weighted is not None
        and weighted.calibration is not None
        and weighted.calibration.error < 0.7 * calibration.error
    )
    told = f"right in {100 * right:.0f} % of rows, and {100 * sure:.0f} % sure on average"
    if sure > right:
        remedy = f"{_dropout(run, name)} in the network of its q, a smaller objective.alpha, or more labels."
    else:
        remedy = "a larger objective.alpha, or more epochs."
    posterior = "the weighted posterior, which `sgc predict` gives, is better calibrated; or " if better else ""
    yield Diagnostic(
        "warning",
        f"q is {'too sure' if sure > right else 'not sure enough'} of {name}: it is {told} (calibration error "
        f"{100 * calibration.error:.1f} %).",
        _sentence(f"{posterior}{remedy}"),
        "Alpha and the KL weight",
    )


def _dropout(run: Measured, name: str) -> str:
    """Say dropout, or more of it where q's network has some."""
    density = run.outline.recognition.get(nodes_of(run.outline, name)[0])
    entries = () if density is None else density.entries
    return "more dropout" if any(getattr(entry, "dropout", 0) for entry in entries) else "dropout"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _covered(name: str, error: Error) -> Iterator[Diagnostic]:
    share = None if error.coverage is None else error.coverage.get("90%")
    if share is None:
        return
    told = f"{100 * share:.0f} % of labels of {name} lie in the central 90 % of q"
    if share < NARROW:
        yield Diagnostic(
            "warning",
            f"q's intervals are too narrow: {told}.",
            f"Dropout in the network of q({name} | …), a smaller objective.alpha, or more labels; until then, read its "
            "deviations as too small.",
            "Alpha and the KL weight",
        )
    elif share > WIDE:
        yield Diagnostic(
            "note",
            f"q's intervals are wide: {told}.",
            "A larger objective.alpha, or more epochs, lets it become surer.",
            "Alpha and the KL weight",
        )
    else:
        yield Diagnostic("good", f"q's intervals hold: {told}.")


def _which(name: str, error: Error, weighted: Error) -> Iterator[Diagnostic]:
    """Say which answer is better, where the difference is beyond both standard errors."""
    spread = math.hypot(error.standard_error, weighted.standard_error)
    difference = weighted.value - error.value
    if not error.metric.lower_is_better:
        difference = -difference
    if math.isnan(spread) or abs(difference) <= CLEAR * spread:
        return
    numbers = f"{error.metric.write(error.value)} by q, {error.metric.write(weighted.value)} by the weighted posterior"
    if difference > 0:
        yield Diagnostic(
            "note",
            f"q predicts {name} better than the weighted posterior ({error.metric.title}: {numbers}).",
            "Predict with sgc predict --from q. A generative model that is wrong about the data draws the posterior "
            "away from the labels; more objective.alpha does not mend that, a richer p does.",
            "Effective samples",
        )
    else:
        yield Diagnostic(
            "good", f"The weighted posterior predicts {name} better than q ({error.metric.title}: {numbers})."
        )


def _codes(run: Measured) -> Iterator[Diagnostic]:
    for codes in run.codes.values():
        if isinstance(codes, str):
            continue
        read = [readout for readout in codes.readouts if 0 < readout.error + 1e-9 < READ * readout.chance]
        if not read:
            continue
        told = ", ".join(
            f"{readout.factor} ({100 * readout.error:.0f} % wrong, without them {100 * readout.chance:.0f} %)"
            if readout.categorical
            else f"{readout.factor} (error {readout.error:.2f}, without them {readout.chance:.2f})"
            for readout in read
        )
        yield Diagnostic(
            "note",
            f"The latents say what labels say too: a forest reads from them {told}.",
            "Where they are to be style alone: more labels, a larger objective.alpha, fewer units. Where no label has "
            "a node of its own, it is what one wants.",
            "Alpha and the KL weight",
        )
