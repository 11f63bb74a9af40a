"""The places of the nodes of a picture: one layout for every set of edges between them, so for both graphs.

Lengths are inches, y grows upwards. Roots of the generative graph are on top; within a layer, nodes are ordered by
the barycentres of their neighbours.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sgc.derivation.graph import ROLES, Graphs, Role
from sgc.report.pictures.edge_routes import CLEAR, Edge, Form, Obstacles, Points, Spot, Ways, route_all, segments_cross

FONT = 11.0  # points, of a node's name
LINE = 1.25 * FONT / 72
LETTER = 0.62 * FONT / 72  # an upper bound on the mean width of a letter
LONGEST = 16  # letters in a line of a name
SMALLEST = 0.6  # a node's height, and its width
BETWEEN = 0.5  # at least so much between two nodes of a layer
LAYERS = 0.65  # and between two layers
JUDGED = 2e7  # pairs that layouts are judged by: all that forty nodes want, and seconds

Size = tuple[Form, float, float, tuple[str, ...]]  # form, width, height, and the lines of its name
Sizes = Mapping[str, Size]


@dataclass(frozen=True)
class Layout:
    """The places of all nodes, and the runs of each set of edges, cut at the nodes' outlines: (points, 2) each."""

    spots: Mapping[str, Spot]
    edges: Mapping[str, Mapping[Edge, Points]]  # by role, or another key of a set of edges
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def width(self) -> float:
        return self.high[0] - self.low[0]

    @property
    def height(self) -> float:
        return self.high[1] - self.low[1]


def place(graphs: Graphs) -> Layout:
    """Lay out the nodes, features and inputs of a model and route the edges of both graphs. Deterministic."""
    edges: dict[str, list[Edge]] = {role: used_edges(graphs, role) for role in ROLES}
    sizes = {name: size_of(name, graphs) for name in [*graphs.inputs, *graphs.features, *graphs.nodes]}
    return lay_out(graphs.layers(), sizes, edges)


def lay_out(layers: list[list[str]], sizes: Sizes, edges: Mapping[str, Sequence[Edge]]) -> Layout:
    """Place nodes whose layers are known, and route the edges of each set as if it were alone. Deterministic."""
    spots = arrange(layers, sizes, list(edges.values()))
    ways = Ways(spots)
    runs = {key: route_all(spots, edges[key], ways) for key in edges}
    return Layout(
        spots, runs, *bounds(spots.values(), (run for role_runs in runs.values() for run in role_runs.values()))
    )


def bounds(spots: Collection[Spot], runs: Iterable[Points] = ()) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the lower left and the upper right corner around nodes and edges."""
    middles = np.array([[spot.x, spot.y] for spot in spots])
    halves = np.array([[spot.width, spot.height] for spot in spots]) / 2
    points = np.concatenate([middles - halves, middles + halves, *runs])
    low, high = points.min(0), points.max(0)
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


def used_edges(graphs: Graphs, role: Role) -> list[Edge]:
    """List the edges of a graph, parents first, leaving out features that no variable of that graph reads."""
    read = graphs.features_of(graphs.nodes, role)
    children = [*(name for name in graphs.features if name in read), *graphs.nodes]
    return [(parent, child) for child in children for parent in graphs.parents(child, role)]


def fold_name(name: str) -> tuple[str, ...]:
    """Fold a long name behind its signs, or where it must be.

    >>> fold_name("chest_pain_at_admission")
    ('chest_pain_at_', 'admission')
    """
    lines = [""]
    for part in re.findall(r"[^_.-]+[_.-]*|[_.-]+", name):
        for i in range(0, len(part), LONGEST):
            piece = part[i : i + LONGEST]
            if len(lines[-1]) + len(piece) > LONGEST:
                lines.append("")
            lines[-1] += piece
    return tuple(lines)


def size_of(name: str, graphs: Graphs, shown: str = "") -> Size:
    """Give the form, width and height of a node, and the lines of its name. shown: what it is called in the picture."""
    lines = fold_name(shown or name)
    width, height = max(map(len, lines)) * LETTER, len(lines) * LINE
    if name not in graphs.nodes:
        return "box", max(SMALLEST * 0.75, width + 0.2), max(SMALLEST * 0.7, height + 0.16), lines
    high = max(SMALLEST, height * 1.5 + 0.2)
    inner = math.sqrt(1 - (height / high) ** 2)  # how wide an ellipse is at the height of its text
    return "ellipse", max(SMALLEST, (width + 0.08) / inner), high, lines


def _break(layers: list[list[str]]) -> list[list[str]]:
    """Make several layers of a crowded one."""
    most = max(5, math.ceil(1.6 * math.sqrt(sum(map(len, layers)))))
    broken: list[list[str]] = []
    for layer in layers:
        per_row = math.ceil(len(layer) / math.ceil(len(layer) / most))
        broken += [layer[i : i + per_row] for i in range(0, len(layer), per_row)]
    return broken


class Effort:
    """How much is spent on judging layouts, in pairs of edges and of an edge and a node; no more than `room`."""

    def __init__(self, room: float = JUDGED) -> None:
        self.room, self.spent = room, 0.0

    def allows(self, pairs: float) -> bool:
        """Take a judgement of so many pairs from what is left; False where too little is left."""
        if self.spent + pairs > self.room:
            return False
        self.spent += pairs
        return True


def arrange(
    layers: list[list[str]], sizes: Sizes, graphs: Sequence[Sequence[Edge]], effort: Effort | None = None
) -> dict[str, Spot]:
    """Order each layer to cross few edges, and choose the places, as well as the effort allows."""
    effort = effort or Effort()
    pairs = sum(len(edges) * (len(edges) + len(sizes)) for edges in graphs)
    layers = _break(layers)
    near: dict[str, list[str]] = {name: [] for layer in layers for name in layer}
    for parent, child in itertools.chain(*graphs):
        near[parent].append(child)
        near[child].append(parent)

    def judge(spots: Mapping[str, Spot]) -> float:
        return sum(_cost(spots, edges) for edges in graphs)

    best = _coordinates(layers, sizes, near)
    least = judge(best)
    order = layers
    for sweep in range(8):
        if not effort.allows(pairs):
            return best
        places = _coordinates(order, sizes, near)
        middle = {name: float(np.mean([places[n].x for n in near[name]] or [places[name].x])) for name in near}
        chosen = range(sweep % 2, len(order), 2)
        order = [sorted(layer, key=middle.__getitem__) if i in chosen else layer for i, layer in enumerate(order)]
        candidate = _coordinates(order, sizes, near)
        cost = judge(candidate)
        if cost < least - 1e-9:
            least, best, layers = cost, candidate, order
    order, improved = [list(layer) for layer in layers], True
    for _ in range(4):
        if not improved:
            break
        improved = False
        for i, layer in enumerate(order):
            for j, k in _swaps(len(layer)):
                if not effort.allows(pairs):
                    return best
                tried = [*order[:i], list(layer), *order[i + 1 :]]
                tried[i][j], tried[i][k] = layer[k], layer[j]
                places = _coordinates(tried, sizes, near)
                cost = judge(places)
                if cost < least - 1e-9:
                    least, best, order, layer, improved = cost, places, tried, tried[i], True
    return best


def _swaps(count: int) -> Iterator[tuple[int, int]]:
    """Give the exchanges worth trying in a layer: all of a short one, neighbours of a long one."""
    yield from itertools.combinations(range(count), 2) if count <= 6 else itertools.pairwise(range(count))


def _coordinates(layers: Sequence[Sequence[str]], sizes: Sizes, near: Mapping[str, list[str]]) -> dict[str, Spot]:
    """Place ordered layers: each node below the middle of its neighbours as far as its layer's order and gaps allow."""
    x: dict[str, float] = {}
    gaps = [
        [0.0, *(BETWEEN + (sizes[a][1] + sizes[b][1]) / 2 for a, b in itertools.pairwise(layer))] for layer in layers
    ]
    for layer, gap in zip(layers, gaps, strict=True):
        offsets = list(itertools.accumulate(gap))
        x.update({name: offset - offsets[-1] / 2 for name, offset in zip(layer, offsets, strict=True)})
    for _ in range(6):
        for layer, gap in zip(layers, gaps, strict=True):
            above = {name: [x[n] for n in near[name] if n not in layer] for name in layer}
            wanted = [(sum(above[n]) + x[n]) / (len(above[n]) + 1) for n in layer]
            x.update(zip(layer, _spread(wanted, gap), strict=True))
    spots: dict[str, Spot] = {}
    y = 0.0
    for i, layer in enumerate(layers):
        tall = max(sizes[name][2] for name in layer)
        y -= tall / 2 + (LAYERS if i else 0)
        for name in layer:
            form, width, height, lines = sizes[name]
            spots[name] = Spot(name, form, x[name], y, width, height, lines)
        y -= tall / 2
    return spots


def _spread(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Find the nearest places (least squares) that keep the order and the gaps: pool adjacent violators."""
    offsets = list(itertools.accumulate(gaps))
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        pools.append((want - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, m), (a, n) = pools.pop(), pools.pop()
            pools.append(((a * n + b * m) / (n + m), n + m))
    flat = [value for value, count in pools for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _cost(spots: Mapping[str, Spot], edges: Sequence[Edge]) -> float:
    """Judge a layout by its straight edges: those that cross, those that meet a node, and their lengths."""
    if not edges:
        return 0.0
    index = {name: i for i, name in enumerate(spots)}
    middles = np.array([[spot.x, spot.y] for spot in spots.values()])
    ends = np.array([[index[parent], index[child]] for parent, child in edges])
    a, b = middles[ends[:, 0]], middles[ends[:, 1]]
    touched = int(Obstacles(spots.values()).block(a, b, CLEAR).sum()) - 2 * len(edges)  # not its own two
    apart = (ends[:, None, :, None] != ends[None, :, None, :]).all((-1, -2))
    crossed = int((segments_cross(a, b) & apart).sum()) // 2
    return 2.0 * touched + crossed + 0.02 * float(np.linalg.norm(a - b, axis=1).sum())
