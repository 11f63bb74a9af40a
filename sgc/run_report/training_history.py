"""The history of a run: its curves over the epochs, as the lines of its log say them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from sgc.evaluation.mean_terms import Means
from sgc.runs.run_folder import RunFolder

Points: TypeAlias = tuple[tuple[int, float | None], ...]  # an epoch and a value; None: it was not finite
Curves: TypeAlias = Mapping[str, Points]

POINTS = 300  # epochs of a curve; of more, as many are kept, evenly spaced, with the first, the best and the last


@dataclass(frozen=True)
class History:
    """The curves of a run. `planned`: the epochs that its spec asks for; `done`: those in its log.

    bounds: of training rows by kind, `unlabelled` and `labelled`, and of `validation` rows. terms: by node, role and
    kind of rows. errors, effective, active: by node, pattern of labels, node. norm, noise: of the gradient of all and
    by owner; the variance due to draws over the squared norm. rate: the learning rate. best: the epoch whose weights
    are the best checkpoint, 0 without any. warnings: by the epoch in which training gave them.
    """

    done: int
    planned: int
    best: int
    seconds: float
    bounds: Curves
    terms: Mapping[str, Mapping[str, Curves]]
    errors: Curves
    effective: Curves
    active: Curves
    norm: Curves
    noise: Curves
    rate: Points
    warnings: tuple[tuple[int, str], ...] = ()
    problems: tuple[str, ...] = field(default=())  # lines that could not be read

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data, a curve as a list of epochs and values."""
        curves = {
            name: {key: _listed(points) for key, points in getattr(self, name).items()}
            for name in ("bounds", "errors", "effective", "active", "norm", "noise")
        }
        terms = {
            node: {
                role: {kind: _listed(points) for kind, points in by_kind.items()} for role, by_kind in by_role.items()
            }
            for node, by_role in self.terms.items()
        }
        return {
            "epochs": self.done,
            "planned": self.planned,
            "best": self.best,
            "seconds": self.seconds,
            **curves,
            "terms": terms,
            "rate": _listed(self.rate),
            "warnings": [{"epoch": epoch, "text": text} for epoch, text in self.warnings],
        }


def last(points: Points) -> float | None:
    """Give the last value of a curve; None where it has none, or that was not finite."""
    return points[-1][1] if points else None


def at_epoch(points: Points, epoch: int) -> float | None:
    """Give the value of a curve at an epoch; None where it has none."""
    return next((value for place, value in points if place == epoch), None)


def last_terms(past: History) -> dict[str, Means]:
    """Give the terms of the last epoch by kind of rows, node and role; without nodes of which one is not finite."""
    terms: dict[str, Means] = {}
    for node, by_role in past.terms.items():
        for kind in {kind for by_kind in by_role.values() for kind in by_kind}:
            values = {role: last(by_kind[kind]) for role, by_kind in by_role.items() if kind in by_kind}
            if all(value is not None for value in values.values()):
                terms.setdefault(kind, {})[node] = {role: v for role, v in values.items() if v is not None}
    return terms


def history(folder: RunFolder, planned: int) -> History:
    """Read the log of a run. planned: the epochs that it is to train for. Raises: UsageError for a special file."""
    problems: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lines = folder.metrics()
        problems += [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    best = max((int(line["epoch"]) for line in lines if line.get("best")), default=0)
    shown = _shown(lines, best)
    every = [(int(line["epoch"]), line) for line in shown]
    validation = _points((epoch, line["validation_bound"]) for epoch, line in every if "validation_bound" in line)
    bounds = _curves((epoch, line["bound"]) for epoch, line in every)
    probed = [(int(line["epoch"]), line["gradient"]) for line in lines if "gradient" in line]
    return History(
        done=max((int(line["epoch"]) for line in lines), default=0),
        planned=planned,
        best=best,
        seconds=float(sum(line["seconds"] for line in lines)),
        bounds={**bounds, **({"validation": validation} if validation else {})},
        terms=_terms(every),
        errors=_curves((epoch, line.get("validation_error", {})) for epoch, line in every),
        effective=_curves((epoch, line["effective_samples"]) for epoch, line in every),
        active=_curves((epoch, line.get("active_units", {})) for epoch, line in every),
        norm=_curves((epoch, _by_owner(gradient, _norm)) for epoch, gradient in probed),
        noise=_curves((epoch, _by_owner(gradient, _noise)) for epoch, gradient in probed),
        rate=_points((epoch, line["lr"]) for epoch, line in every),
        warnings=tuple((int(line["epoch"]), text) for line in lines for text in line.get("warnings", ())),
        problems=tuple(problems),
    )


def _shown(lines: Sequence[Mapping[str, Any]], best: int) -> list[Mapping[str, Any]]:  # Any: lines of metrics.jsonl
    if len(lines) <= POINTS:
        return list(lines)
    places = {int(place) for place in np.linspace(0, len(lines) - 1, POINTS).round()}
    return [line for place, line in enumerate(lines) if place in places or line["epoch"] == best]


def _points(pairs: Iterable[tuple[int, Any]]) -> Points:  # Any: a number, or null
    return tuple((epoch, None if value is None else float(value)) for epoch, value in pairs)


def _curves(lines: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, Points]:  # Any: as above
    curves: dict[str, list[tuple[int, Any]]] = {}
    for epoch, values in lines:
        for name, value in values.items():
            curves.setdefault(name, []).append((epoch, value))
    return {name: _points(points) for name, points in curves.items()}


def _terms(lines: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, Points]]]:
    terms: dict[str, dict[str, dict[str, list[tuple[int, Any]]]]] = {}
    for epoch, line in lines:
        for kind, by_node in line["terms"].items():
            for node, roles in by_node.items():
                for role, value in roles.items():
                    terms.setdefault(node, {}).setdefault(role, {}).setdefault(kind, []).append((epoch, value))
    return {
        node: {role: {kind: _points(points) for kind, points in by_kind.items()} for role, by_kind in by_role.items()}
        for node, by_role in terms.items()
    }


ALL = "all parameters"


def _by_owner(gradient: Mapping[str, Any], measure: Any) -> dict[str, float | None]:  # Any: as above; a function
    return {ALL: measure(gradient), **{owner: measure(part) for owner, part in gradient["by_node"].items()}}


def _norm(gradient: Mapping[str, Any]) -> float | None:
    norm: float | None = gradient["norm"]
    return norm


def _noise(gradient: Mapping[str, Any]) -> float | None:
    """Give the variance over the squared norm: above 1, a step is more noise than signal."""
    norm, variance = gradient["norm"], gradient["variance"]
    if norm is None or variance is None or not norm:
        return None
    return float(variance / norm**2)


def _listed(points: Points) -> list[list[float | None]]:
    return [list(point) for point in points]
