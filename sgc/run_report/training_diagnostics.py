"""What training says of a run: how far it came, overfitting, degenerate weights, noisy gradients."""

from __future__ import annotations

from collections.abc import Iterator

from sgc.evaluation.collapse import DEGENERATE
from sgc.evaluation.mean_terms import NO_LABELS
from sgc.objectives.estimator import Estimator
from sgc.objectives.estimators import ENUMERABLE_BY_DEFAULT, ESTIMATORS
from sgc.objectives.gradient import GRADIENTS
from sgc.run_report.diagnostic import Diagnostic, Measured
from sgc.run_report.shell_commands import command, flag, resuming
from sgc.run_report.training_history import at_epoch, last
from sgc.runtime.finiteness import rows_words
from sgc.runtime.inference import FEW
from sgc.schedules import Schedule
from sgc.spec.outline import Variable

GAP = 0.05  # of the validation bound, by which training is better
FALL = 0.01  # of the best validation bound, by which it falls afterwards
RISING = 0.002  # of the validation bound, by which it still rises in the last tenth of the epochs
NOISY = 10.0  # variance of the gradient over draws, over its squared norm
BIASED = "biased"  # the tag of an estimator


def training_diagnostics(run: Measured) -> Iterator[Diagnostic]:
    """Judge the training of a run."""
    yield from _progress(run)
    yield from _average(run)
    yield from _numbers(run)
    yield from _fit(run)
    yield from _weights(run)
    yield from _gradient(run)


def _progress(run: Measured) -> Iterator[Diagnostic]:
    history, facts = run.history, run.facts
    if not facts.finished:
        yield Diagnostic(
            "warning",
            f"The run is unfinished: {history.done} of {history.planned} epochs are done.",
            f"{resuming(facts)} goes on to the same result as a run that was never stopped.",
        )
    elif 0 < history.done < history.planned:
        yield Diagnostic("note", f"Training stopped after {history.done} of {history.planned} epochs, by train.stop.")
    validation = [(epoch, value) for epoch, value in history.bounds.get("validation", ()) if value is not None]
    if facts.finished and len(validation) >= 10 and history.best == history.done == history.planned:
        before = validation[-max(2, len(validation) // 10)]
        rise = validation[-1][1] - before[1]
        if rise > RISING * abs(validation[-1][1]):
            rate = run.outline.spec.train.optimizer.lr
            lr = ", with a learning rate whose schedule is as long" if isinstance(rate, Schedule) else ""
            yield Diagnostic(
                "note",
                f"The validation bound still rises: by {rise:.3g} nats since epoch {before[0]}.",
                f"Train for longer{lr}: {resuming(facts, 2 * history.done)}",
            )


def _average(run: Measured) -> Iterator[Diagnostic]:
    train, history = run.outline.spec.train, run.history
    if train.averaged is None or not run.facts.finished or not 0 < history.best <= train.averaged.start:
        return
    start = train.averaged.start
    last = f"{flag('checkpoint', 'last')} answers with the average of the last epoch. " if history.done > start else ""
    longer = " or a longer train.stop.patience" if history.done <= start and train.stop is not None else ""
    yield Diagnostic(
        "note",
        f"The weights of the best epoch, {history.best}, are no average: train.average begins after epoch {start}.",
        f"{last}A smaller train.average.from{longer} lets an average be among those to choose from.",
    )


def _numbers(run: Measured) -> Iterator[Diagnostic]:
    lost = [epoch for epoch, value in run.history.bounds.get("unlabelled", ()) if value is None]
    lost += [epoch for epoch, value in run.history.bounds.get("labelled", ()) if value is None]
    if lost:
        clip = "" if run.outline.spec.train.clip_norm else " or train.clip_norm: 10"
        yield Diagnostic(
            "bad",
            f"The training bound was not finite in {len(set(lost))} epochs, first in epoch {min(lost)}.",
            f"Take a smaller train.optimizer.lr{clip}, and look at the scale of the data: standardize what is large.",
        )
    if run.evaluation is not None and run.evaluation.broken:
        yield Diagnostic(
            "bad",
            f"{len(run.evaluation.broken)} of {run.evaluation.total} rows have no finite scores and are left out of "
            f"all numbers: {rows_words(run.evaluation.broken)}.",
            "Look at these rows in the data: values far from all others, or outside of what training saw.",
        )


def _fit(run: Measured) -> Iterator[Diagnostic]:
    history = run.history
    validation = [(epoch, value) for epoch, value in history.bounds.get("validation", ()) if value is not None]
    if len(validation) < 2 or not run.outline.spec.maximised.generative:
        return
    best_epoch, best = max(validation, key=lambda point: point[1])
    end_epoch, end = validation[-1]
    training = at_epoch(history.bounds.get("unlabelled", ()), end_epoch)
    if best - end > FALL * abs(best):
        stop = run.outline.spec.train.stop
        how = "" if stop else " train.stop: {patience: 10} ends a run there;"
        yield Diagnostic(
            "warning",
            f"It overfits: the validation bound fell by {best - end:.3g} nats after epoch {best_epoch}.",
            f"The checkpoint 'best' has the weights of epoch {best_epoch}.{how} dropout beside a network, "
            "train.optimizer.weight_decay, smaller networks or more rows move the turn.",
        )
    elif training is not None and training - end > GAP * abs(end):
        yield Diagnostic(
            "note",
            f"Training rows have a bound {training - end:.3g} nats above validation rows ({training:.4g} and "
            f"{end:.4g}): part of what was learned is particular to them.",
            "dropout beside a network, train.optimizer.weight_decay or more rows narrow the gap.",
        )
    elif training is not None:
        yield Diagnostic(
            "good",
            f"No overfitting: the bound of validation rows, {end:.4g} nats, keeps up with that of training rows "
            f"without labels, {training:.4g}.",
        )


def _weights(run: Measured) -> Iterator[Diagnostic]:
    samples = run.outline.spec.objective.samples
    for pattern, points in run.history.effective.items():
        value = last(points)
        if samples == 1 or value is None:
            continue
        rows = "rows without labels" if pattern == NO_LABELS else f"rows with {pattern} labelled"
        if value < DEGENERATE:
            yield Diagnostic(
                "warning",
                f"The weights of {rows} are degenerate: one of {samples} samples has all the weight ({value:.2f} "
                "effective), so that training with several is as with one.",
                "Let q of the label read nothing that is drawn (its weight is then constant), or raise alpha slowly: "
                "objective.alpha: {from: 1, to: …, epochs: …}.",
                "Effective samples",
            )
    evaluation = run.evaluation
    if evaluation is None or evaluation.bounds is None or evaluation.exact:
        return
    effective = evaluation.bounds.effective_samples
    if evaluation.samples < 2 * FEW:
        return  # too few were drawn to tell
    if effective < FEW:
        yield Diagnostic(
            "warning",
            f"The weighted posterior rests on {effective:.1f} effective samples of {evaluation.samples}: it is known "
            "roughly, and log p(x) is a loose bound.",
            f"{command('evaluate', run.facts, flag('samples', 10 * evaluation.samples))} draws more, as "
            f"{flag('samples')} does in sgc predict; or predict with {flag('from', 'q')}, where q is no worse in the "
            "table of errors.",
            "Effective samples",
        )
    else:
        yield Diagnostic(
            "good", f"The weighted posterior rests on {effective:.1f} effective samples of {evaluation.samples}."
        )


def _gradient(run: Measured) -> Iterator[Diagnostic]:
    outline, unrolled = run.outline, run.outline.spec.unrolled
    owners = {
        f"q({unrolled.id(name).name})": variable
        for name, variable in outline.variables.items()
        if variable.estimator is not None
    }
    noisy = [
        (value, owner)
        for owner, points in run.history.noise.items()
        if owner in owners and (value := last(points)) is not None and value > NOISY
    ]
    for value, owner in sorted(noisy, reverse=True):
        variable = owners[owner]
        estimator = variable.estimator
        assert estimator is not None
        bound = outline.words.bound
        if estimator.charged:
            others = [
                name for name, kind in ESTIMATORS.items() if kind is not type(estimator) and _unbiased(kind, variable)
            ]
            instead = f"another estimator ({', '.join(others)}), " if others else ""
        else:
            ways = [
                name
                for name, way in GRADIENTS.items()
                if way is not outline.words.gradient and way.same_expectation and not way.refuse(bound)
            ]
            instead = f"objective.gradient: {' or '.join(ways)}, " if ways and estimator.reparameterised else ""
        yield Diagnostic(
            "note",
            f"The gradient of {owner} is mostly noise of its {estimator} draws: their variance is {value:.3g} times "
            "its squared norm. Near an optimum that is so for any estimator.",
            f"If {owner} learns too slowly: {instead}more objective.samples, or larger batches.",
            "Estimators",
        )
    known = [last(points) for owner, points in run.history.noise.items() if owner in owners and len(points) > 1]
    if known and not noisy:  # one probe is of the first epoch, when gradients are large
        worst = max((value for value in known if value is not None), default=0.0)
        if 0 < worst <= 1:
            yield Diagnostic(
                "good",
                f"The gradients of q stand out from the noise of draws, whose variance is {worst:.2g} of their square.",
            )


def _unbiased(kind: type[Estimator], variable: Variable) -> bool:
    """Tell whether a node may have an estimator whose gradient is right, and that is no large sum."""
    if kind.refuse(variable.family, variable.event) or kind.tag == BIASED or kind.averages:
        return False
    size = variable.family.support_size(variable.event)
    return not kind.enumerates or (size is not None and size <= ENUMERABLE_BY_DEFAULT)
