"""The places of nodes in a picture with repeats: a repeat is laid out by itself, in a frame that is placed as a node.

Lengths are inches, y grows upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sgc.derivation.graph import ROLES, Role, layers_of
from sgc.report.pictures.canvas import LETTER
from sgc.report.pictures.edge_routes import Edge, Points, Spot, route_all
from sgc.report.pictures.node_places import Layout, Size, arrange, bounds, place, size_of, used_edges
from sgc.report.plates import Plated
from sgc.report.repeat_report import count_words
from sgc.spec.scopes import Plate

PAD = 0.45  # between a frame and its content; a loop fits in between
STRIP = 0.26  # below, for its name
LOOP = 0.2  # how far a loop reaches out


@dataclass(frozen=True)
class Frame:
    """The frame of a repeat, and the text in its corner."""

    plate: Plate
    spot: Spot
    text: str


@dataclass(frozen=True)
class Framed:
    """A layout with frames. steps: by role, the edges from the step before (or after, for a backward carry)."""

    layout: Layout
    frames: tuple[Frame, ...] = ()
    steps: Mapping[Role, Mapping[Edge, tuple[Points, int]]] = field(default_factory=dict)
    counts: Mapping[Edge, Points] = field(default_factory=dict)  # from a count to its frame


def frame(view: Plated) -> Framed:
    """Lay out a model, each repeat in a frame. Deterministic."""
    if not view.plates:
        return Framed(place(view.flat.graphs))
    return _Framing(view).framed()


class _Framing:
    def __init__(self, view: Plated) -> None:
        self.view, self.graphs = view, view.outline.graphs
        self.names = [*self.graphs.inputs, *self.graphs.features, *self.graphs.nodes]
        self.same: dict[Role, list[Edge]] = {role: used_edges(self.graphs, role) for role in ROLES}
        self.stepped: dict[Role, dict[Edge, int]] = {role: self._stepped(role) for role in ROLES}
        self.inside: dict[str, dict[str, Spot]] = {}  # of a frame, around its middle

    def _stepped(self, role: Role) -> dict[Edge, int]:
        """List what is read of another step in one graph, but for what only the other graph's features read."""
        nodes = self.graphs.nodes
        links = self.view.links(role)
        read = {source.name for source, child in links if child in nodes}
        more = True
        while more:
            above = {source.name for source, child in links if child in read} - read
            read |= above
            more = bool(above)
        densities = self.view.outline.generative if role == "generative" else self.view.outline.recognition
        used = read | set(densities)
        return {(source.name, child): source.shift for source, child in links if source.shift and child in used}

    def framed(self) -> Framed:
        spots = self._spots((), self.names)
        flat: dict[str, Spot] = {}
        frames: dict[str, Spot] = {}

        def put(placed: Mapping[str, Spot], x: float, y: float) -> None:
            for name, spot in placed.items():
                moved = replace(spot, x=spot.x + x, y=spot.y + y)
                if name in self.inside:
                    frames[name] = moved
                    put(self.inside[name], moved.x, moved.y)
                else:
                    flat[name] = moved

        put(spots, 0.0, 0.0)
        flat = {name: flat[name] for name in self.names}
        runs: dict[str, Mapping[Edge, Points]] = {}
        steps: dict[Role, dict[Edge, tuple[Points, int]]] = {}
        listed = [Frame(plate, frames[f"[{plate.name}]"], self._text(plate)) for plate in self.view.plates]
        for role in ROLES:
            same, stepped = self.same[role], self.stepped[role]
            loops = {edge for edge in stepped if edge[0] == edge[1]}
            beside = [edge for edge in stepped if edge not in loops and edge not in same]
            blocks = [*(_beside(flat[name]) for name, _ in loops), *(_corner(frame) for frame in listed)]
            routes = route_all(flat | {f"[{i}]": block for i, block in enumerate(blocks)}, [*same, *beside])
            runs[role] = {edge: routes[edge] for edge in same}
            steps[role] = {edge: (routes[edge], stepped[edge]) for edge in beside}
            for (start, end), shift in stepped.items():
                if start == end:
                    steps[role][start, end] = (_loop(flat[start]), shift)
                elif (start, end) in runs[role]:
                    steps[role][start, end] = (_bent(routes[start, end]), shift)
        counts = {}
        for plate in self.view.plates:
            if plate.count:
                inner = {name for name in flat if plate in self.view.names.plates(name)}
                others = {name: spot for name, spot in flat.items() if name not in inner}
                key = (plate.count, f"[{plate.name}]")
                obstacles = {**others, key[1]: replace(frames[f"[{plate.name}]"], name=key[1])}
                counts[key] = route_all(obstacles, [key])[key]
        drawn = [*(run for role in ROLES for run in runs[role].values()), *counts.values()]
        drawn += [run for role in ROLES for run, _ in steps[role].values()]
        layout = Layout(flat, runs, *bounds([*flat.values(), *(frame.spot for frame in listed)], drawn))
        return Framed(layout, tuple(listed), steps, counts)

    def _text(self, plate: Plate) -> str:
        own = plate.name.rpartition(".")[2]
        return f"{own}: {count_words(self.view, plate)}"

    def _spots(self, around: tuple[Plate, ...], names: Sequence[str]) -> dict[str, Spot]:
        """Place the content of some repeats, inner repeats as frames, around the middle (0, 0)."""
        depth, scope = len(around), f"{around[-1].name}." if around else ""
        stands = {}
        for name in names:
            plates = self.view.names.plates(name)
            stands[name] = name if len(plates) == depth else f"[{plates[depth].name}]"
        sizes: dict[str, Size] = {}
        for plate in dict.fromkeys(self.view.names.plates(name)[depth] for name in names if stands[name] != name):
            key = f"[{plate.name}]"
            inner = self._spots((*around, plate), [name for name in names if stands[name] == key])
            wide = 2 * max(abs(s.x) + s.width / 2 for s in inner.values())
            high = 2 * max(abs(s.y) + s.height / 2 for s in inner.values())
            wide = max(wide + 2 * PAD, len(self._text(plate)) * LETTER + 0.3)
            self.inside[key] = {name: replace(s, y=s.y + STRIP / 2) for name, s in inner.items()}
            sizes[key] = ("box", wide, high + 2 * PAD + STRIP, ())
        for name in names:
            if stands[name] == name:
                sizes[name] = size_of(name, self.graphs, name.removeprefix(scope))
        order = list(dict.fromkeys(stands[name] for name in names))
        sets = [_between(self.same[role], stands) for role in ROLES]
        counts = [(p.count, f"[{p.name}]") for p in self.view.plates if f"[{p.name}]" in sizes and p.count in sizes]
        spots = arrange(layers_of(order, [*sets[0], *counts, *sets[1]]), sizes, [[*sets[0], *counts], sets[1]])
        (left, bottom), (right, top) = bounds(spots.values())
        x, y = (left + right) / 2, (bottom + top) / 2
        return {name: replace(s, x=s.x - x, y=s.y - y) for name, s in spots.items()}


def _between(edges: Iterable[Edge], stands: Mapping[str, str]) -> list[Edge]:
    """Give the edges with each end replaced by the node or frame that is placed for it."""
    pairs = ((stands.get(a, ""), stands.get(b, "")) for a, b in edges)
    return [pair for pair in dict.fromkeys(pairs) if all(pair) and pair[0] != pair[1]]


def _beside(spot: Spot) -> Spot:
    """Give the place of a node's loop, which other edges go around."""
    return Spot("", "box", spot.x + spot.width / 2 + LOOP, spot.y, 1.2 * LOOP, 0.3, ())


def _corner(frame: Frame) -> Spot:
    """Give the place of a frame's words."""
    wide, spot = len(frame.text) * LETTER, frame.spot
    x, y = spot.x + spot.width / 2 - 0.1 - wide / 2, spot.y - spot.height / 2 + 0.13
    return Spot("", "box", x, y, wide, 0.1, ())


def _loop(spot: Spot) -> Points:
    """Run from a node's right side back to it."""
    x, y, half = spot.x + spot.width / 2, spot.y, min(spot.height * 0.28, 0.16)
    inset = spot.width / 2 * (1 - (1 - (half / (spot.height / 2)) ** 2) ** 0.5) if spot.form == "ellipse" else 0.0
    t = np.linspace(0, 1, 61)[:, None]
    a, d = np.array([x - inset, y + half]), np.array([x - inset, y - half])
    b, c = np.array([x + 1.6 * LOOP, y + 2.2 * half]), np.array([x + 1.6 * LOOP, y - 2.2 * half])
    run: Points = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return run


def _bent(beside: Points) -> Points:
    """Run beside an edge between the same two nodes, bent away from it."""
    along = beside[-1] - beside[0]
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9)
    t = np.linspace(0, 1, len(beside))[:, None]
    run: Points = beside + across * 0.32 * np.sin(np.pi * t)
    return run
