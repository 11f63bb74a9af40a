"""What the page is told: a state of it shown, an element through its range, the posterior beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import RunError, UsageError
from sgc.explorer.control_values import Units
from sgc.explorer.controls import Element
from sgc.explorer.exploration import SAMPLES, Exploration, Outcome, Start, value_of
from sgc.explorer.page_requests import Asked, Brought, Traverse, Walk
from sgc.explorer.row_source import own_values
from sgc.explorer.shown_values import picture
from sgc.randomness import Generators, drawing_from
from sgc.runtime.counts import absent_rows
from sgc.runtime.inference import FEW
from sgc.runtime.steps import nodes_of
from sgc.samples.panels import picture_shape, shades
from sgc.samples.shown_rows import spread
from sgc.samples.traversal import infer_centers, mean, reaches
from sgc.trained.block_answers import spread_in_units

TRAVERSED = 9  # values that a traversal goes through
CATEGORIES = 12  # categories that a traversal shows at most
FEW_ELEMENTS = 4  # of a label whose answers a traversal shows


class PageAnswers:
    """Answers of an exploration in JSON's types."""

    def __init__(self, exploration: Exploration) -> None:
        self.exploration, self.model, self.controls = exploration, exploration.model, exploration.controls
        self.drawings, self.rows = exploration.drawings, exploration.rows

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Describe the model for the page: its controls, what it shows, and its rows."""
        graphs, outline = self.model.outline.graphs, self.model.outline
        reached = {
            name: [
                s for s in self.drawings if any(reaches(graphs, node, nodes_of(outline, s)) for node in control.nodes)
            ]
            for name, control in self.controls.items()
        }
        return {
            "name": self.model.spec.name,
            "epoch": self.model.epoch,
            "controls": [control.plain() | {"reaches": reached[name]} for name, control in self.controls.items()],
            "shown": [drawing.plain() for drawing in self.drawings.values()],
            "rows": self.rows.plain(),
        }

    def show(self, asked: Asked) -> dict[str, Any]:  # Any: what JSON can say
        """Answer a state of the page; `start` is left out of it where the page has it already. Raises: UsageError."""
        start = self.exploration.start(asked)
        new, kept = self.exploration.changes(asked, start)
        outcome = self.exploration.follow(asked, start, self.exploration.laid(new), kept)
        answer: dict[str, Any] = {
            "values": self._values(asked, start, outcome, set(new), kept),
            "shown": {name: self._drawn(name, value[0]) for name, value in outcome.shown.items()},
            "anew": [[node, role] for node, role in outcome.anew.items()],
            "notes": [f"{name}: what is generated is not finite" for name, v in outcome.shown.items() if _broken(v)],
            "known": start.key,
        }
        if asked.known != start.key:
            answer["start"] = self._start_words(start)
        return answer

    def _drawn(self, name: str, value: Tensor) -> dict[str, Any]:  # Any: as above
        return self.drawings[name].values(value.double().cpu().numpy())

    def _start_words(self, start: Start) -> dict[str, Any]:  # Any: as above
        described: dict[str, Any] = {"before": {name: self._drawn(name, v[0]) for name, v in start.before.items()}}
        row = start.row
        if row is not None:
            own = own_values(self.model, row)
            described["row"] = {"rows": row.rows, "place": row.place, "number": row.number, "count": row.count}
            described["own"] = {name: self._drawn(name, own[name][0]) for name in self.drawings if name in own}
            described["labels"] = {
                node: self.exploration.control_of[node].units.write(_array(value))
                for node, value in row.labels.items()
                if node in self.exploration.control_of
            }
        return described

    def _values(
        self, asked: Asked, start: Start, outcome: Outcome, new: set[str], kept: set[str]
    ) -> dict[str, Any]:  # Any: as above
        """Give the value of each node with a control, and how it comes about."""
        values: dict[str, Any] = {}
        for node, control in self.exploration.control_of.items():
            if node not in outcome.values or (not control.elements and control.part == "observed"):
                continue
            gone = absent_rows(self.model.outline, node, outcome.values)
            how: str = "p" if start.row is None else "row" if control.part in ("observed", "input") else asked.inferred
            if node in outcome.anew:
                how = f"{'p' if outcome.anew[node] == 'generative' else 'q'} anew"
            state = asked.nodes.get(node)
            how = state.state if state is not None else how
            how = "absent" if gone is not None and bool(gone.any()) else how
            if control.elements:
                values[node] = {"value": control.units.write(_array(outcome.values[node])), "how": how}
            elif how != "absent" and picture_shape(control.units.event) is not None:
                variable = self.model.outline.variables[node]
                drawn = picture(shades(_array(outcome.values[node])[None], variable, 1)[0, 0])
                values[node] = {"value": [], "how": how, "picture": drawn}
            else:
                values[node] = {"value": [], "how": how}
        return values

    # ---- one element through its range

    def traverse(self, asked: Traverse) -> dict[str, Any]:  # Any: what JSON can say
        """Turn one element of a node through its range, and give what is shown at each value. Raises: UsageError."""
        start, control = self.exploration.start(asked), self.exploration.control(asked.node)
        if asked.element >= len(control.elements):
            raise UsageError(f"'{asked.node}' has no element {asked.element} that can be turned")
        new, kept = self.exploration.changes(asked, start)
        value = self._now(asked, start, new, kept)
        places = traversed_values(control.elements[asked.element], control.units)
        traversed = []
        for place in places:
            at = list(value)
            at[asked.element] = place
            traversed.append(self.exploration.tensor(asked.node, at, asked.element))
        stacked = torch.stack(traversed)
        if asked.taken == "centers":
            outcomes = [self._traversed(asked, start, new, kept, stacked)]
        else:  # one by one, so that each has the same draws
            outcomes = [self._traversed(asked, start, new, kept, row[None]) for row in stacked]
        parts = [outcome.shown for outcome, _ in outcomes]
        shown = {name: [self._drawn(name, row) for part in parts for row in part[name]] for name in parts[0]}
        labels = {node: [row for _, part in outcomes for row in part[node]] for node in outcomes[0][1]}
        words = [control.units.names[int(p)] if control.units.nominal else f"{p:.3g}" for p in places]
        told = {"node": asked.node, "element": asked.element, "at": places, "words": words}
        return {**told, "shown": shown, "labels": labels}

    def _traversed(
        self, asked: Traverse, start: Start, new: Mapping[str, Tensor], kept: set[str], values: Tensor
    ) -> tuple[Outcome, dict[str, list[list[float | int]]]]:
        """Follow several values of the node that is traversed, [R, *event]; and give what q then says of labels.

        Of labels it says more only where an element of the row itself is traversed.
        """
        exploration, count = self.exploration, len(values)
        changes = {n: v.expand(count, *v.shape) for n, v in new.items() if n != asked.node}
        if exploration.control(asked.node).part != "observed" or start.row is None:
            changes[asked.node] = values
            kept = kept - {asked.node}
            return exploration.follow(asked, start, exploration.laid(changes, count), kept, count), {}
        known = {n: v for n, v in start.values.items() if n in start.row.observed or n in start.evidence}
        known = {n: v.expand(count, *v.shape[1:]) for n, v in known.items()}
        inferred = infer_centers(self.model, known | exploration.laid({asked.node: values}, count), value_of(asked))
        moved = Start(start.key, start.row, inferred, start.evidence)
        outcome = exploration.follow(asked, moved, exploration.laid(changes, count), kept, count)
        return outcome, self._label_answers(inferred, start)

    def _label_answers(self, values: Mapping[str, Tensor], start: Start) -> dict[str, list[list[float | int]]]:
        """Give what q says of each label, of a few elements: means, or the shares of categories; a row for each row."""
        answers: dict[str, list[list[float | int]]] = {}
        laid = self.model.laid_out(values)
        for control in self.controls.values():
            if control.part != "label" or not 0 < len(control.elements) <= FEW_ELEMENTS or len(control.nodes) > 1:
                continue
            (node,) = control.nodes
            if node in start.evidence or node not in self.model.outline.recognition:
                continue
            variable = self.model.outline.variables[node]
            middle = mean(variable, laid.conditional(self.model.density(node, "recognition"))).double().cpu().numpy()
            if variable.categories is None:
                answers[node] = control.units.write_rows(middle)
            elif len(control.elements) == 1:
                answers[node] = middle.reshape(len(middle), -1).round(5).tolist()
        return answers

    def _now(self, asked: Traverse, start: Start, new: Mapping[str, Tensor], kept: set[str]) -> list[float]:
        """Give the value that a node has in a state of the page."""
        state = asked.nodes.get(asked.node)
        if state is not None and state.value is not None:
            return list(state.value)
        values = self.exploration.follow(asked, start, self.exploration.laid(new), kept).values
        return list(self.exploration.control(asked.node).units.write(_array(values[asked.node])))

    # ---- the posterior beside the controls

    def posterior(self, asked: Asked) -> dict[str, Any]:  # Any: what JSON can say
        """Give the posterior of each node that the row has not observed: mean and deviation, or probabilities."""
        start = self.exploration.start(asked)
        if start.row is None:
            return {"nodes": {}, "words": ""}
        known = {**start.row.observed}
        known |= {n: v for n, v in start.values.items() if n in start.evidence or n in known}
        with drawing_from(Generators(asked.seed)):
            found = self.model.inference(known, SAMPLES, asked.inferred)
        if found.broken:
            raise RunError(f"no posterior: {next(iter(found.broken.values()))}")
        nodes: dict[str, Any] = {}
        for name, answer in found.nodes.items():
            control = self.controls.get(name)
            if control is None or not control.elements:
                continue
            units, count = control.units, len(control.nodes)
            means = _array(answer.mean).reshape(count, *units.event)
            if units.categories is not None:
                shares = means.reshape(count, -1, units.categories)
                for node, share in zip(control.nodes, np.nan_to_num(shares).round(4).tolist(), strict=True):
                    nodes[node] = {"shares": share}
                continue
            spread_of = spread_in_units(answer, None if units.encoder is None else self.exploration.encoders[name])
            sds = spread_of[0].reshape(count, -1)
            for node, middle, sd in zip(control.nodes, units.write_rows(means), sds, strict=True):
                nodes[node] = {"mean": middle, "sd": [float(f"{s:.4g}") if np.isfinite(s) else 0.0 for s in sd]}
        effective, words = float(found.effective[0]), ""
        if effective < 0.99 * SAMPLES:
            roughly = ": it is known roughly" if effective < FEW else ""
            words = f"the posterior rests on {effective:.1f} effective samples of {SAMPLES}{roughly}"
        return {"nodes": nodes, "words": words}

    # ---- rows

    def walk(self, asked: Walk) -> dict[str, Any]:  # Any: what JSON can say
        """Find another row. Raises: UsageError."""
        place = self.rows.walk(asked.row.rows, asked.row.place, asked.way, asked.value, asked.node)
        return {"rows": asked.row.rows, "place": place}

    def bring(self, asked: Brought) -> dict[str, Any]:  # Any: what JSON can say
        """Take rows that the user brings. Raises: UsageError, DataError."""
        name = self.rows.bring(asked.name, asked.content, inverted=asked.inverted)
        return {"rows": name, "place": 0, "count": self.rows.table(name).count}


def traversed_values(element: Element, units: Units) -> list[float]:
    """Choose the values that an element is turned through."""
    if units.nominal:
        return [float(place) for place in spread(CATEGORIES, len(units.names))]
    values = np.linspace(element.low, element.high, TRAVERSED)
    if element.step >= 1:
        values = np.unique(np.round(values))
    return [float(f"{value:.6g}") for value in values]


def _array(value: Tensor) -> np.ndarray:
    """Give the value of the only row as numbers: [1, *event] -> [*event]."""
    array: np.ndarray = value[0].double().cpu().numpy()
    return array


def _broken(value: Tensor) -> bool:
    return not bool(torch.isfinite(value).any())
