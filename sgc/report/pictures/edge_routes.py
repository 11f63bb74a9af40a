"""How the edges of a picture run: straight where nothing is in the way, else an arc, else around; never through a node.

Lengths are inches, y grows upwards.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
Form = Literal["ellipse", "box"]
Edge = tuple[str, str]

CLEAR = 0.09  # how far an edge stays away from other nodes
BULGES = (0.0, 0.08, 0.14, 0.2, 0.28, 0.37, 0.48, 0.6)  # of an arc, as a share of its length
CROSSING = 0.25  # what crossing another edge costs, where twice the length costs 1.5
ARROW = 0.13  # length of an arrowhead


@dataclass(frozen=True)
class Spot:
    """The place of a node: the middle, and the size of its outline."""

    name: str
    form: Form
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]  # its name, folded to fit

    def contains(self, points: Points, margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell which points lie in the outline, widened by a margin. points: (..., 2) -> (...)."""
        across = (points[..., 0] - self.x) / (self.width / 2 + margin)
        up = (points[..., 1] - self.y) / (self.height / 2 + margin)
        if self.form == "ellipse":
            return np.asarray(across**2 + up**2 < 1)
        return np.asarray(np.maximum(abs(across), abs(up)) < 1)

    def blocks(self, starts: Points, ends: Points, margin: float) -> NDArray[np.bool_]:
        """Tell which straight segments touch the outline, widened by a margin. starts, ends: (..., 2) -> (...)."""
        scale = np.array([self.width / 2 + margin, self.height / 2 + margin])
        a, b = (starts - [self.x, self.y]) / scale, (ends - [self.x, self.y]) / scale
        along = b - a
        if self.form == "ellipse":
            length = np.maximum((along**2).sum(-1), 1e-12)
            nearest = a + along * np.clip(-(a * along).sum(-1) / length, 0, 1)[..., None]
            return np.asarray((nearest**2).sum(-1) < 1)
        safe = np.where(abs(along) < 1e-12, 1e-12, along)
        first, second = (-1 - a) / safe, (1 - a) / safe
        enters = np.minimum(first, second).max(-1)
        leaves = np.maximum(first, second).min(-1)
        return np.asarray((enters < leaves) & (leaves > 0) & (enters < 1))

    def around(self, margin: float, count: int = 12) -> Points:
        """Give points on the outline, widened by a margin, of a box on the ellipse around it. -> (count, 2)."""
        stretch = 1.0 if self.form == "ellipse" else math.sqrt(2)
        turn = np.arange(count) * (2 * math.pi / count)
        across = self.x + stretch * (self.width / 2 + margin) * np.cos(turn)
        up = self.y + stretch * (self.height / 2 + margin) * np.sin(turn)
        return np.stack([across, up], -1)


def route_all(spots: Mapping[str, Spot], edges: Iterable[Edge]) -> dict[Edge, Points]:
    """Route the short edges first, so that long ones bend around them."""

    def length(edge: Edge) -> float:
        return math.dist((spots[edge[0]].x, spots[edge[0]].y), (spots[edge[1]].x, spots[edge[1]].y))

    order = {edge: i for i, edge in enumerate(edges)}
    ways = _Ways(spots)
    runs: dict[Edge, Points] = {}
    for edge in sorted(order, key=lambda e: (round(length(e), 6), order[e])):
        runs[edge] = _route(spots, edge, runs, ways)
    return {edge: runs[edge] for edge in order}


def _route(spots: Mapping[str, Spot], edge: Edge, before: Mapping[Edge, Points], ways: _Ways) -> Points:
    """Run an edge from outline to outline: the shortest clear arc that crosses few edges, or else a way around."""
    start, end = spots[edge[0]], spots[edge[1]]
    others = [spot for spot in spots.values() if spot not in (start, end)]
    rivals = [run for pair, run in before.items() if not {*pair} & set(edge)]
    shared = [run for pair, run in before.items() if {*pair} & set(edge)]
    straight = math.dist((start.x, start.y), (end.x, end.y))

    heads = np.array([run[-1] for run in before.values()]).reshape(-1, 2)

    def detour(run: Points) -> float:
        return 1.5 * (_length(run) / straight - 1)

    def cost(run: Points) -> float:
        crossings = sum(_crosses(run, rival) for rival in rivals) + 2 * sum(_merges(run, rival) for rival in shared)
        touched = (np.linalg.norm(run[::4, None] - heads, axis=-1) < ARROW).any(0).sum()  # arrowheads of others
        return detour(run) + CROSSING * (crossings + float(touched))

    choices: list[tuple[float, Points]] = []
    for bulge in BULGES:
        if choices and detour(_arc(start, end, bulge)) >= min(choice[0] for choice in choices):
            break
        for signed in (bulge, -bulge) if bulge else (0.0,):
            arc = _arc(start, end, signed)
            run = _cut(arc, start, end)
            if not any(other.contains(run, CLEAR).any() for other in others):
                choices.append((cost(arc), run))
    if not choices or min(choice[0] for choice in choices) > 0.6:
        way = _rounded(ways.around(start.name, end.name), others)
        choices.append((cost(way) + 0.15, _cut(way, start, end)))  # arcs read better
    return min(choices, key=lambda choice: choice[0])[1]


def arrow(run: Points) -> tuple[Points, Points]:
    """Divide a run into its line, (points, 2), and the four corners of a head that ends at its tip, (4, 2)."""
    tip = run[-1]
    far = np.flatnonzero(np.linalg.norm(run - tip, axis=1) > ARROW * 0.95)
    foot = run[far[-1]] if len(far) else run[0]
    along = (tip - foot) / max(float(np.linalg.norm(tip - foot)), 1e-9)
    across = np.array([-along[1], along[0]]) * ARROW * 0.36
    notch = foot + 0.25 * ARROW * along
    line = np.concatenate([run[: far[-1] + 1 : 4] if len(far) else run[:1], [notch]])
    return line, np.array([tip, foot + across, notch, foot - across])


def segments_cross(a: Points, b: Points, c: Points | None = None, d: Points | None = None) -> NDArray[np.bool_]:
    """Tell which segments a–b cross which of c–d (the same ones, where those are left out): (n, m)."""
    c, d = (a, b) if c is None or d is None else (c, d)

    def side(p: Points, q: Points, r: Points) -> Points:
        turned: Points = (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
        return turned - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    a, b, c, d = a[:, None], b[:, None], c[None], d[None]
    crossed: NDArray[np.bool_] = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return crossed


def _length(run: Points) -> float:
    return float(np.linalg.norm(np.diff(run, axis=0), axis=1).sum())


def _arc(start: Spot, end: Spot, bulge: float) -> Points:
    a, b = np.array([start.x, start.y]), np.array([end.x, end.y])
    along = b - a
    control = (a + b) / 2 + 2 * bulge * np.array([-along[1], along[0]])
    t = np.linspace(0, 1, 81)[:, None]
    arc: Points = (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b
    return arc


def _cut(run: Points, start: Spot, end: Spot) -> Points:
    """Cut a run where it leaves its first node for good and where it first meets its last one."""
    run = _dense(run)
    inside = np.flatnonzero(start.contains(run))
    run = run[inside[-1] + 1 if len(inside) else 0 :]
    inside = np.flatnonzero(end.contains(run, 0.01))
    run = run[: inside[0]] if len(inside) else run
    return run if len(run) > 1 else np.array([[start.x, start.y], [end.x, end.y]])


def _dense(run: Points, step: float = 0.02) -> Points:
    """Set points evenly along a run."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(run, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], max(2, math.ceil(lengths[-1] / step)))
    return np.stack([np.interp(at, lengths, run[:, 0]), np.interp(at, lengths, run[:, 1])], -1)


def _crosses(run: Points, other: Points) -> bool:
    first, second = run[:: max(1, len(run) // 24)], other[:: max(1, len(other) // 24)]
    return bool(segments_cross(first[:-1], first[1:], second[:-1], second[1:]).any())


def _merges(run: Points, other: Points) -> bool:
    """Tell whether two edges that share a node run into one another."""
    inner = run[:: max(1, len(run) // 12)][1:-1]
    if not len(inner):
        return False
    far: Points = np.linalg.norm(inner[:, None] - other[None, ::3], axis=-1).min(-1)
    return bool((far < 0.04).mean() > 0.4)


class _Ways:
    """The ways past nodes: segments between the nodes and points around them that no other node blocks."""

    def __init__(self, spots: Mapping[str, Spot]) -> None:
        self.index = {name: i for i, name in enumerate(spots)}
        self.spots = list(spots.values())
        self._blocked: NDArray[np.bool_] | None = None  # (nodes, points, points), made when it is first needed

    def _prepare(self) -> NDArray[np.bool_]:
        if self._blocked is None:
            ring = np.concatenate([spot.around(CLEAR + 0.05) for spot in self.spots])
            free = ~np.any([spot.contains(ring, CLEAR) for spot in self.spots], axis=0)
            middles = np.array([[spot.x, spot.y] for spot in self.spots])
            points = np.concatenate([middles, ring[free]])
            self._blocked = np.stack([spot.blocks(points[:, None], points[None], CLEAR) for spot in self.spots])
            self._lengths: Points = np.linalg.norm(points[:, None] - points[None], axis=-1)
            self._count = self._blocked.sum(0, dtype=np.int16)
            self._points: Points = points
        return self._blocked

    def around(self, start: str, end: str) -> Points:
        """Find the shortest way from one node to another past all the rest (Dijkstra), straight where there is none."""
        blocked = self._prepare()
        first, last = self.index[start], self.index[end]
        count = self._count - blocked[first] - blocked[last]
        lengths = np.where(count == 0, self._lengths + 0.05, np.inf)  # a turn costs a little
        came: dict[int, int] = {}
        known = np.full(len(lengths), np.inf)
        known[first] = 0.0
        queue: list[tuple[float, int]] = [(0.0, first)]
        while queue:
            so_far, point = heapq.heappop(queue)
            if point == last:
                break
            if so_far > known[point]:
                continue
            reached = so_far + lengths[point]
            for neighbour in np.flatnonzero(reached < known - 1e-12):
                known[neighbour], came[int(neighbour)] = reached[neighbour], point
                heapq.heappush(queue, (float(reached[neighbour]), int(neighbour)))
        way = [last]
        while way[-1] in came:
            way.append(came[way[-1]])
        points: Points = self._points[way[::-1]] if way[-1] == first else self._points[[first, last]]
        return points


def _rounded(way: Points, others: Sequence[Spot]) -> Points:
    """Round the corners of a way as far as it stays clear of the nodes."""
    for reach in (0.45, 0.3, 0.15):
        pieces: list[Any] = [way[:1]]
        for before, corner, after in zip(way, way[1:], way[2:], strict=False):
            enter, leave = corner + (before - corner) * reach, corner + (after - corner) * reach
            t = np.linspace(0, 1, 16)[:, None]
            pieces.append((1 - t) ** 2 * enter + 2 * t * (1 - t) * corner + t**2 * leave)
        run: Points = np.concatenate([*pieces, way[-1:]])
        if not any(spot.contains(_dense(run), CLEAR / 2).any() for spot in others):
            return run
    return way
