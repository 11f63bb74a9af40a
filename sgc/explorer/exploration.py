"""A trained model as the page uses it: a state of the page -> the values of all nodes, and what is generated.

What q infers of a row stays but for what follows the nodes that are turned: `sgc.samples.traversal` has the rule, and
`sgc sample` draws the same. Without a row, every node is at the center of p given its parents.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from sgc.data.encoder import Encoder
from sgc.derivation.graph import Role
from sgc.errors import UsageError, printable
from sgc.explorer.controls import Control, Element
from sgc.explorer.page_requests import Asked
from sgc.explorer.row_source import Row, RowSource
from sgc.explorer.shown_values import Drawing
from sgc.randomness import Generators, drawing_from
from sgc.runtime.counts import filled
from sgc.runtime.generation import intervened_nodes
from sgc.runtime.model import Model
from sgc.runtime.steps import nodes_of
from sgc.runtime.streams import seed_for
from sgc.samples.traversal import (
    ValueOf,
    center,
    drawn,
    followers,
    generate_centers,
    infer_centers,
    mean,
    posterior_means,
    turn,
    with_generated,
)
from sgc.spec.outline import Variable

KEPT = 64  # starts that are remembered
SAMPLES = 64  # of the weighted posterior
TRAVERSED = 9  # values that a traversal goes through
FEW_ELEMENTS = 4  # of a label whose answers a traversal shows
CATEGORIES = 12  # categories that a traversal shows at most


@dataclass(frozen=True)
class Start:
    """What a state begins with: all values as inferred or generated, [1, *event] by node, and what they come from.

    before: what is shown of them, by outer name. row: None: it begins with p.
    """

    key: str
    row: Row | None
    values: dict[str, Tensor]
    evidence: frozenset[str]
    before: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """All values after nodes were turned, [R, *event] by node; what is shown by outer name; and what followed."""

    values: dict[str, Tensor]
    shown: dict[str, Tensor]
    anew: dict[str, Role]


class Exploration:
    """One model, its controls, its rows, and what has been inferred of some of them."""

    def __init__(
        self, model: Model, encoders: Mapping[str, Encoder], rows: RowSource, controls: Mapping[str, Control]
    ) -> None:
        self.model, self.rows, self.controls = model, rows, controls
        self.control_of = {node: control for control in controls.values() for node in control.nodes}
        self.drawings = {name: Drawing(model, name, encoders.get(name)) for name in shown_names(model)}
        self.encoders = encoders
        self._starts: OrderedDict[str, Start] = OrderedDict()

    # ---- where a state begins

    def start(self, asked: Asked) -> Start:
        """Infer a row, or generate from p; done once for a row and what is known of it. Raises: UsageError."""
        known = {n: state for n, state in asked.nodes.items() if self._known(n, state.state) and asked.row.rows}
        key = Asked(
            row=asked.row, nodes=known, inferred=asked.inferred, taken=asked.taken, seed=asked.seed
        ).model_dump_json(exclude_defaults=True)
        if key in self._starts:
            self._starts.move_to_end(key)
            return self._starts[key]
        start = self._inferred(key, asked) if asked.row.rows else self._generated(key, asked)
        edited = {n for n, state in known.items() if state.state == "turned"}
        if edited:  # what is shown first is what the row itself says
            plain = asked.model_copy(update={"nodes": {n: s for n, s in known.items() if n not in edited}})
            start.before.update(self.start(plain).before)
        else:
            for name in self.drawings:
                if self.generable(name, start):
                    start.before[name] = with_generated(self.model, start.values, name, _shown_as(asked))[name]
        self._starts[key] = start
        if len(self._starts) > KEPT:
            self._starts.popitem(last=False)
        return start

    def _known(self, node: str, state: str) -> bool:
        """Tell whether a state of a node changes what q reads: evidence, or an edit of what is observed."""
        part = self.control(node).part
        return state in ("evidence", "hidden") or (part == "observed" and state == "turned")

    def control(self, node: str) -> Control:
        if node not in self.control_of:
            raise UsageError(f"no node or input named '{printable(node)}' can be turned")
        return self.control_of[node]

    def _inferred(self, key: str, asked: Asked) -> Start:
        row = self.rows.row(asked.row.rows, asked.row.place)
        observed, evidence = dict(row.observed), set()
        given: dict[str, Tensor] = {}
        for node, state in asked.nodes.items():
            if not self._known(node, state.state):
                continue
            if state.state == "evidence":
                if self.control(node).part != "label":
                    raise UsageError(f"'{node}' is no node with labels, and cannot be told to q")
                evidence.add(node)
            if state.state == "hidden":
                if not self.control(node).hideable:
                    raise UsageError(f"'{node}' cannot be hidden from q: it is not of those with 'missing: drop'")
                observed[node] = torch.full_like(observed[node], torch.nan)
            elif state.value is not None:
                given[node] = self.tensor(node, state.value, state.place)
            elif node in row.labels:
                given[node] = row.labels[node][0]
            elif state.state == "evidence":
                raise UsageError(f"this row has no label of '{node}': turn it to a value first")
        observed |= self.laid(given)
        if asked.inferred == "posterior":
            variables = self.model.outline.variables
            with drawing_from(Generators(asked.seed)):
                means = posterior_means(self.model, observed, SAMPLES)
            centers = {n: variables[n].family.support.nearest(m) for n, m in means.items() if n not in observed}
            values = filled(self.model.outline, {**infer_centers(self.model, observed), **observed, **centers})
        else:
            values = infer_centers(self.model, observed, value_of(asked))
        return Start(key, row, values, frozenset(evidence))

    def _generated(self, key: str, asked: Asked) -> Start:
        values = generate_centers(self.model, self._inputs(), value_of(asked))
        return Start(key, None, values, frozenset())

    def _inputs(self) -> dict[str, Tensor]:
        """Give each input the middle of its range, or its first category."""
        middles: dict[str, Tensor] = {}
        for name, control in self.controls.items():
            if control.part == "input":
                nominal = control.units.nominal
                values = [0.0 if nominal else _middle(element) for element in control.elements]
                legal = self.model.outline.inputs[name].support.legal(self.model.outline.inputs[name].shape)
                middles[name] = self.tensor(name, values) if values else torch.tensor(legal)
        return self.laid(middles)

    def tensor(self, node: str, value: list[float], place: int | None = None) -> Tensor:
        """Read what a control holds, see `Control.balanced`: [*event]. Raises: UsageError."""
        control = self.control(node)
        return torch.from_numpy(control.units.read(control.balanced(value, place))).to(self.model.like)

    def laid(self, given: Mapping[str, Tensor], rows: int = 1) -> dict[str, Tensor]:
        """Lay values out for rows, and check that nodes can have them. Raises: UsageError."""
        try:
            return intervened_nodes(self.model.outline, given, rows, self.model.like)
        except (ValueError, KeyError) as problem:
            raise UsageError(str(problem.args[0])) from None

    # ---- what follows

    def changes(self, asked: Asked, start: Start) -> tuple[dict[str, Tensor], set[str]]:
        """Give the nodes at other values than those of the start, [*event], and those that are kept as there."""
        new: dict[str, Tensor] = {}
        kept = set(start.evidence)
        for node, state in asked.nodes.items():
            if self.control(node).part == "observed" or node in start.evidence:
                continue
            if state.state in ("evidence", "hidden"):
                raise UsageError(f"'{node}' is told to q, which reads a row: choose one, or turn the node")
            if state.value is None:
                kept.add(node)
            else:
                new[node] = self.tensor(node, state.value, state.place)
        return new, kept

    def generable(self, name: str, start: Start) -> bool:
        """Tell whether p says what a node is: not where it is evidence."""
        return not start.evidence.intersection(nodes_of(self.model.outline, name))

    def follow(self, asked: Asked, start: Start, new: Mapping[str, Tensor], kept: set[str], rows: int = 1) -> Outcome:
        """Give the nodes new values, [R, *event], and what follows of them."""
        outline, taken, shown_as = self.model.outline, value_of(asked), _shown_as(asked)
        values = {n: v.expand(rows, *v.shape[1:]) for n, v in start.values.items()}
        anew: dict[str, Role] = {}
        if start.row is None:
            held = {**{n: values[n] for n in outline.inputs if n in values}, **new}
            held |= {n: values[n] for n in kept if n in values and n not in held}
            values = generate_centers(self.model, held, taken)
        shown: dict[str, Tensor] = {}
        merged = {**values, **new}
        for name in self.drawings:
            steps = nodes_of(outline, name)
            if not self.generable(name, start) or any(node in new for node in steps):
                continue
            if start.row is None:
                shown[name] = with_generated(self.model, values, name, shown_as)[name]
                continue
            now = turn(self.model, values, new, name, kept=kept, value_of=taken, shown_as=shown_as)
            shown[name] = now[name]
            for node, role in followers(outline.graphs, new, steps, kept):
                anew.setdefault(node, role)
                merged[node] = now[node]
        return Outcome(merged, shown, anew)


def shown_names(model: Model) -> list[str]:
    """Name what is generated for the page: observed nodes, and labels on which none of these depends in p."""
    outer, graphs = model.outline.outer, model.outline.graphs
    observed = [n for n, v in outer.items() if v.supervision == "full" or v.dropped]
    nodes = [node for name in observed for node in nodes_of(model.outline, name)]
    above = graphs.ancestors(nodes, "generative")
    leaves = [
        name
        for name, variable in outer.items()
        if variable.supervision == "partial"
        and name not in observed
        and not above.intersection(nodes_of(model.outline, name))
    ]
    return [*observed, *leaves]


def _middle(element: Element) -> float:
    middle = (element.low + element.high) / 2
    return round(middle) if element.step >= 1 else middle


def value_of(asked: Asked) -> ValueOf:
    return center if asked.taken == "centers" else _drawing(asked.seed)


def _shown_as(asked: Asked) -> ValueOf:
    return _drawing(asked.seed) if asked.taken == "all" else mean


def _drawing(seed: int) -> ValueOf:
    """Draw each node from a generator of its own, so that what one is turned to changes no draw of another."""

    def draw(variable: Variable, conditional: Distribution) -> Tensor:
        with drawing_from(Generators(seed_for(seed, zlib.crc32(variable.name.encode())))):
            return drawn(variable, conditional)

    return draw
