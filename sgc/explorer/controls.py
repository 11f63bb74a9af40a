"""The controls of the page: one for each latent node, label, input and small observed node, with ranges and orders.

The range of a label, an input or an observed node is that of its values in the data; of a latent node, that of draws
from p and of what q infers of some rows. The elements of a latent are ordered by how much they vary over these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sgc.data.encoder import Encoder
from sgc.data.sources.source_section import DataSection
from sgc.data.transforms.angle_transforms import Angle, Direction
from sgc.explorer.control_values import Owner, Units, units_of
from sgc.runtime.model import Model
from sgc.runtime.steps import nodes_of, steps_of
from sgc.samples.panels import picture_shape
from sgc.spec.outline import Variable

Part = Literal["latent", "label", "input", "observed"]

LARGEST = 512  # elements of a node that has sliders
EDITED = 64  # elements of an observed node that can be changed
USUAL = 3.0  # the range of a number of which nothing is known, in both directions


@dataclass(frozen=True)
class Element:
    """One number of a control: its name, its range, its step (0: any number), and whether the range is a circle."""

    name: str
    low: float
    high: float
    step: float = 0.0
    unit: str = ""
    circle: bool = False

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        return {
            "name": self.name,
            "low": self.low,
            "high": self.high,
            "step": self.step or step_for(self.low, self.high),
            "whole": self.step >= 1,
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Control:
    """A node or an input that the page can turn, all its steps by one name.

    nodes: by step, in row-major order. elements: none where it is too large to be turned. order: its elements, those
    first that vary most. variation: of each element over rows, as a standard deviation; empty where it is not known.
    total: what the elements of a value sum to. unit_length: every known value is a unit vector, and so are others.
    hideable: q can do without it.
    """

    name: str
    part: Part
    nodes: tuple[str, ...]
    steps: tuple[int, ...]
    units: Units
    elements: tuple[Element, ...] = ()
    order: tuple[int, ...] = ()
    variation: tuple[float, ...] = ()
    total: float | None = None
    unit_length: bool = False
    hideable: bool = False

    def balanced(self, value: list[float], place: int | None) -> list[float]:
        """Have the other elements make room for the one at a place: shares keep their sum, directions their length."""
        if place is None or not 0 <= place < len(value) or (self.total is None and not self.unit_length):
            return value
        others = np.delete(np.asarray(value, dtype=np.float64), place)
        if self.unit_length:
            size, left = float(np.linalg.norm(others)), max(1 - value[place] ** 2, 0) ** 0.5
            even = left / len(others) ** 0.5
        else:
            size, left = float(others.sum()), max((self.total or 0) - value[place], 0)
            even = left / len(others)
        rest = others * (left / size) if size > 0 else np.full(len(others), even)
        return [float(number) for number in np.insert(rest, place, value[place])]

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Describe it for the page."""
        return {
            "name": self.name,
            "part": self.part,
            "nodes": self.nodes,
            "steps": self.steps,
            "categories": self.units.names if self.units.nominal else None,
            "elements": [element.plain() for element in self.elements],
            "order": self.order,
            "balanced": self.total is not None or self.unit_length,
            "hideable": self.hideable,
            "variation": [float(f"{share:.3g}") for share in self.variation],
        }


@dataclass(frozen=True)
class KnownValues:
    """Values that are known of nodes and inputs, by outer name: [N, *steps, *event], NaN where one is missing.

    inferred: the means of q of latent nodes, for the same rows.
    """

    values: Mapping[str, np.ndarray]
    inferred: Mapping[str, np.ndarray]


def controls_of(model: Model, encoders: Mapping[str, Encoder], known: KnownValues) -> dict[str, Control]:
    """Make the controls of a model, by outer name, latent nodes first."""
    controls: dict[str, Control] = {}
    outline = model.outline
    for name, outer in outline.outer.items():
        nodes, steps = nodes_of(outline, name), steps_of(outline, name)
        part = _part(outer)
        edited = part != "observed" or _editable(outer, steps, columns_of(name, model.spec.data))
        if edited or outer.dropped:
            owner = outline.variables[nodes[0]]
            controls[name] = _control(model, name, part, nodes, owner, encoders.get(name), known if edited else None)
    for name, entry in outline.inputs.items():
        controls[name] = _control(model, name, "input", (name,), entry, encoders.get(name), known)
    parts: tuple[Part, ...] = ("latent", "label", "input", "observed")
    return dict(sorted(controls.items(), key=lambda item: parts.index(item[1].part)))


def _part(variable: Variable) -> Part:
    """Say what a node is to the page."""
    if variable.supervision == "none":
        return "latent"
    return "label" if variable.supervision == "partial" and not variable.dropped else "observed"


def _editable(variable: Variable, steps: tuple[int, ...], columns: tuple[str, ...]) -> bool:
    """Tell whether an observed node has few elements and is no picture: an element is then a measurement."""
    event = variable.event[len(steps) :]
    if int(np.prod(event)) > EDITED or (steps and picture_shape(variable.event) is not None):
        return False
    return picture_shape(event) is None or len(columns) > 1


def _control(
    model: Model,
    name: str,
    part: Part,
    nodes: tuple[str, ...],
    owner: Owner,
    encoder: Encoder | None,
    known: KnownValues | None,
) -> Control:
    """Make one control. known: None for a node that can only be hidden from q, and not be turned."""
    steps = steps_of(model.outline, name)
    units = units_of(name, owner, encoder.of_step() if encoder is not None and steps else encoder)
    hidden = part == "observed" and isinstance(owner, Variable) and owner.dropped
    if known is None or units.size > LARGEST:
        return Control(name, part, nodes, steps, units, hideable=hidden)
    inferred = _elements_of(units, known.inferred.get(name))
    seen = np.concatenate([_elements_of(units, known.values.get(name)), inferred])
    variation = inferred.std(0) if len(inferred) > 1 and not units.nominal else np.zeros(0)
    order = np.argsort(-variation, kind="stable") if len(variation) else np.arange(units.size)
    names = element_names(name, units, model.spec.data)
    elements = tuple(_element(names[i], units, owner, seen[:, i], i) for i in range(units.size))
    total = owner.support.total if units.encoder is None and owner.support.composition else None
    lengths = np.linalg.norm(seen, axis=1)
    unit_length = part == "label" and units.size in (2, 3) and len(seen) > 1 and bool((abs(lengths - 1) < 0.01).all())
    variations = tuple(variation.tolist())
    ordered = tuple(order.tolist())
    return Control(name, part, nodes, steps, units, elements, ordered, variations, total, unit_length, hidden)


def _elements_of(units: Units, values: np.ndarray | None) -> np.ndarray:
    """Give what is known of each element, [n, elements], of all steps together."""
    if values is None:
        return np.zeros((0, units.size))
    by_step = values.reshape(-1, *units.event)
    by_step = by_step[np.isfinite(by_step).reshape(len(by_step), -1).all(1)]
    return units.decoded(by_step).reshape(len(by_step), units.size)


def element_names(name: str, units: Units, data: DataSection | None) -> list[str]:
    """Name the elements of a node: by its columns where each has one, or by place."""
    if units.size == 1:
        return [name]
    transform = None if units.encoder is None or not units.encoder.transforms else units.encoder.transforms[-1]
    if isinstance(transform, Direction) and units.size == 2:
        return ["azimuth", "elevation"]
    columns = columns_of(name, data)
    if len(columns) == units.size:
        return list(columns)
    return [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(*units.cells)]


def columns_of(name: str, data: DataSection | None) -> tuple[str, ...]:
    """Name the columns of the data that a node's elements come from; nothing where it has one for all of them."""
    column = None if data is None else data.columns.get(name)
    columns = getattr(column, "column", None)
    return tuple(str(word) for word in columns) if isinstance(columns, list | tuple) else ()


def _element(name: str, units: Units, owner: Owner, known: np.ndarray, place: int) -> Element:
    """Find the range of one element. known: values of it, [N]."""
    if units.nominal:
        return Element(name, 0, max(len(units.names) - 1, 1), 1)
    transform = None if units.encoder is None or not units.encoder.transforms else units.encoder.transforms[-1]
    if isinstance(transform, Angle | Direction):
        unit = transform.angle if isinstance(transform, Angle) else transform.direction
        half = 180.0 if unit == "degrees" else 3.14159
        sign = "°" if unit == "degrees" else " rad"
        if isinstance(transform, Direction) and place == 1:
            return Element(name, -half / 2, half / 2, unit=sign)
        positive = units.encoder is not None and bool(units.encoder.fitted[-1]["positive"])
        return Element(name, 0 if positive else -half, 2 * half if positive else half, unit=sign, circle=True)
    support = owner.support
    if support.periodic and units.encoder is None:
        return Element(name, -3.14159, 3.14159, unit=" rad", circle=True)
    low, high = rounded_range(known)
    if isinstance(owner, Variable) and owner.supervision == "none" and low < 0 < high and not support.bounded:
        low, high = -max(-low, high), max(-low, high)
    ends = support.ends if units.encoder is None or not units.encoder.transforms else (-np.inf, np.inf)
    whole = support.integers and (units.encoder is None or not units.encoder.transforms)
    low, high = max(low, ends[0]), min(high, ends[1])
    if whole:
        return Element(name, float(np.floor(low)), float(max(np.ceil(high), np.floor(low) + 1)), 1)
    margin = (high - low) / 1000  # an end that no value has
    low += margin if support.open_low and low <= ends[0] else 0
    high -= margin if support.open_high and high >= ends[1] else 0
    return Element(name, low, high)


def rounded_range(known: np.ndarray) -> tuple[float, float]:
    """Give a range that holds nearly all of some numbers, its ends rounded outwards to half a leading digit.

    >>> rounded_range(np.linspace(-2.7, 2.9, 99)), rounded_range(np.array([20.0, 41.0])), rounded_range(np.zeros(0))
    ((-3.0, 3.0), (20.0, 41.0), (-3.0, 3.0))
    """
    known = known[np.isfinite(known)]
    if not known.size:
        return -USUAL, USUAL
    low, high = np.quantile(known, (0.001, 0.999))
    if high - low < 1e-9 * max(abs(high), 1):
        low, high = low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2
    unit = 10.0 ** np.floor(np.log10(high - low)) / (10 if 10 ** (np.log10(high - low) % 1) < 4 else 2)
    return float(f"{np.floor(low / unit) * unit:.9g}"), float(f"{np.ceil(high / unit) * unit:.9g}")


def step_for(low: float, high: float) -> float:
    """Give the step of a slider: some 300 of them, a power of ten or a half or fifth of one.

    >>> step_for(-3, 3), step_for(0, 360)
    (0.02, 1.0)
    """
    rough = (high - low) / 300
    power = 10.0 ** np.floor(np.log10(rough))
    return float(f"{power * next(step for step in (1, 2, 5, 10) if power * step >= rough * 0.8):.3g}")
