"""How the edges of a picture run: straight where nothing is in the way, else an arc, else around; never through a node.

Lengths are inches, y grows upwards.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    def around(self, margin: float, count: int = 12) -> Points:
        """Give points on the outline, widened by a margin, of a box on the ellipse around it. -> (count, 2)."""
        stretch = 1.0 if self.form == "ellipse" else math.sqrt(2)
        turn = np.arange(count) * (2 * math.pi / count)
        across = self.x + stretch * (self.width / 2 + margin) * np.cos(turn)
        up = self.y + stretch * (self.height / 2 + margin) * np.sin(turn)
        return np.stack([across, up], -1)


class Obstacles:
    """The outlines of nodes, to be asked at once."""

    def __init__(self, spots: Iterable[Spot]) -> None:
        spots = list(spots)
        self.middles = np.array([[spot.x, spot.y] for spot in spots]).reshape(-1, 2)
        self.halves = np.array([[spot.width, spot.height] for spot in spots]).reshape(-1, 2) / 2
        self.round = np.array([spot.form == "ellipse" for spot in spots], dtype=bool)

    def hold(self, points: Points, margin: float) -> NDArray[np.bool_]:
        """Tell which outlines, widened by a margin, hold any of some points. points: (m, 2) -> (n,)."""
        middles, halves = self.middles.T[:, :, None], (self.halves.T + margin)[:, :, None]
        across, up = (points[:, 0] - middles[0]) / halves[0], (points[:, 1] - middles[1]) / halves[1]
        rounded: NDArray[np.bool_] = (across**2 + up**2).min(1) < 1
        boxed: NDArray[np.bool_] = np.maximum(abs(across), abs(up)).min(1) < 1
        return np.where(self.round, rounded, boxed)

    def block(self, starts: Points, ends: Points, margin: float) -> NDArray[np.bool_]:
        """Tell which outlines, widened by a margin, touch which straight segments. starts, ends: (m, 2) -> (n, m)."""
        x, y = self.middles.T[:, :, None]
        wide, high = (self.halves.T + margin)[:, :, None]
        ax, ay = (starts[..., 0] - x) / wide, (starts[..., 1] - y) / high
        dx, dy = (ends[..., 0] - x) / wide - ax, (ends[..., 1] - y) / high - ay
        touched = np.zeros(np.broadcast_shapes(ax.shape, dx.shape), dtype=bool)
        ax, ay = np.broadcast_to(ax, touched.shape), np.broadcast_to(ay, touched.shape)
        rounded, boxed = self.round, ~self.round
        if rounded.any():
            px, py, qx, qy = ax[rounded], ay[rounded], dx[rounded], dy[rounded]
            share = np.clip(-(px * qx + py * qy) / np.maximum(qx**2 + qy**2, 1e-12), 0, 1)
            touched[rounded] = (px + qx * share) ** 2 + (py + qy * share) ** 2 < 1
        if boxed.any():
            enters, leaves = np.full(touched[boxed].shape, -np.inf), np.full(touched[boxed].shape, np.inf)
            for at, along in ((ax[boxed], dx[boxed]), (ay[boxed], dy[boxed])):
                safe = np.where(abs(along) < 1e-12, 1e-12, along)
                first, second = (-1 - at) / safe, (1 - at) / safe
                enters = np.maximum(enters, np.minimum(first, second))
                leaves = np.minimum(leaves, np.maximum(first, second))
            touched[boxed] = (enters < leaves) & (leaves > 0) & (enters < 1)
        return touched


def route_all(spots: Mapping[str, Spot], edges: Iterable[Edge], ways: Ways | None = None) -> dict[Edge, Points]:
    """Route the short edges first, so that long ones bend around them. ways: those past the same nodes, if known."""

    def length(edge: Edge) -> float:
        return math.dist((spots[edge[0]].x, spots[edge[0]].y), (spots[edge[1]].x, spots[edge[1]].y))

    order = {edge: i for i, edge in enumerate(edges)}
    ways = ways or Ways(spots)
    runs: dict[Edge, Points] = {}
    for edge in sorted(order, key=lambda e: (round(length(e), 6), order[e])):
        runs[edge] = _route(spots, edge, runs, ways)
    return {edge: runs[edge] for edge in order}


def _route(spots: Mapping[str, Spot], edge: Edge, before: Mapping[Edge, Points], ways: Ways) -> Points:
    """Run an edge from outline to outline: the shortest clear arc that crosses few edges, or else a way around."""
    start, end = spots[edge[0]], spots[edge[1]]
    others = [spot for spot in spots.values() if spot not in (start, end)]
    rivals = _Rivals([run for pair, run in before.items() if not {*pair} & set(edge)])
    shared = [run for pair, run in before.items() if {*pair} & set(edge)]
    straight = math.dist((start.x, start.y), (end.x, end.y))

    heads = np.array([run[-1] for run in before.values()]).reshape(-1, 2)

    def detour(run: Points) -> float:
        return 1.5 * (_length(run) / straight - 1)

    def cost(run: Points) -> float:
        crossings = rivals.crossed(run) + 2 * sum(_merges(run, other) for other in shared)
        touched = (np.linalg.norm(run[::4, None] - heads, axis=-1) < ARROW).any(0).sum()  # arrowheads of others
        return detour(run) + CROSSING * (crossings + float(touched))

    choices: list[tuple[float, Points]] = []
    for bulge in BULGES:
        if choices and detour(_arc(start, end, bulge)) >= min(choice[0] for choice in choices):
            break
        for signed in (bulge, -bulge) if bulge else (0.0,):
            arc = _arc(start, end, signed)
            run = _cut(arc, start, end)
            held = ways.obstacles.hold(run, CLEAR)
            held[[ways.index[edge[0]], ways.index[edge[1]]]] = False
            if not held.any():
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


class _Rivals:
    """Edges that another one may cross, as straight pieces."""

    def __init__(self, runs: Sequence[Points]) -> None:
        pieces = [run[:: max(1, len(run) // 24)] for run in runs]
        self.starts = np.concatenate([each[:-1] for each in pieces]) if pieces else np.zeros((0, 2))
        self.ends = np.concatenate([each[1:] for each in pieces]) if pieces else np.zeros((0, 2))
        self.owners = np.repeat(np.arange(len(pieces)), [len(each) - 1 for each in pieces])
        self.low, self.high = np.minimum(self.starts, self.ends), np.maximum(self.starts, self.ends)

    def crossed(self, run: Points) -> int:
        """Count the edges that a run crosses."""
        own = run[:: max(1, len(run) // 24)]
        near = ((self.low <= own.max(0)) & (self.high >= own.min(0))).all(1)
        if not near.any():
            return 0
        crosses = segments_cross(own[:-1], own[1:], self.starts[near], self.ends[near]).any(0)
        return len(set(self.owners[near][crosses].tolist()))


def _merges(run: Points, other: Points) -> bool:
    """Tell whether two edges that share a node run into one another."""
    inner = run[:: max(1, len(run) // 12)][1:-1]
    if not len(inner) or (inner.max(0) < other.min(0) - 0.04).any() or (inner.min(0) > other.max(0) + 0.04).any():
        return False
    far: Points = np.linalg.norm(inner[:, None] - other[None, ::3], axis=-1).min(-1)
    return bool((far < 0.04).mean() > 0.4)


class Ways:
    """The ways past nodes: segments between the nodes and points around them that no other node blocks."""

    def __init__(self, spots: Mapping[str, Spot]) -> None:
        self.index = {name: i for i, name in enumerate(spots)}
        self.spots = list(spots.values())
        self.obstacles = Obstacles(self.spots)
        self._rows: dict[int, tuple[Points, NDArray[np.bool_], Points]] = {}  # what is seen from a point

    @cached_property
    def _points(self) -> Points:
        ring = np.concatenate([spot.around(CLEAR + 0.05) for spot in self.spots])
        free = ~np.any([spot.contains(ring, CLEAR) for spot in self.spots], axis=0)
        middles = np.array([[spot.x, spot.y] for spot in self.spots])
        return np.concatenate([middles, ring[free]])

    def _row(self, point: int) -> tuple[Points, NDArray[np.bool_], Points]:
        """Give the lengths from a point to all, which nodes block them, (nodes, points), and how many."""
        if point not in self._rows:
            points = self._points
            blocked = self.obstacles.block(points[point : point + 1], points, CLEAR)
            lengths: Points = np.linalg.norm(points - points[point], axis=-1)
            self._rows[point] = lengths, blocked, blocked.sum(0)
        return self._rows[point]

    def around(self, start: str, end: str) -> Points:
        """Find the shortest way from one node to another past all the rest (A*), straight where there is none."""
        first, last = self.index[start], self.index[end]
        points = self._points
        left: Points = np.linalg.norm(points - points[last], axis=-1)  # at least so far
        came: dict[int, int] = {}
        known = np.full(len(points), np.inf)
        known[first] = 0.0
        queue: list[tuple[float, float, int]] = [(float(left[first]), 0.0, first)]
        while queue:
            _, so_far, point = heapq.heappop(queue)
            if point == last:
                break
            if so_far > known[point]:
                continue
            lengths, blocked, count = self._row(point)
            free = count - blocked[first] - blocked[last] == 0
            reached = np.where(free, so_far + lengths + 0.05, np.inf)  # a turn costs a little
            for neighbour in np.flatnonzero(reached < known - 1e-12):
                known[neighbour], came[int(neighbour)] = reached[neighbour], point
                new = float(reached[neighbour])
                heapq.heappush(queue, (new + float(left[neighbour]), new, int(neighbour)))
        way = [last]
        while way[-1] in came:
            way.append(came[way[-1]])
        found: Points = points[way[::-1]] if way[-1] == first else points[[first, last]]
        return found


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
