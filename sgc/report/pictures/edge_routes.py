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
CROWDED = 120  # edges, among which no way crosses few


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
        self.tested = 0  # pairs of an outline and a line of sight

    def hold(self, points: Points, margin: float) -> NDArray[np.bool_]:
        """Tell which outlines, widened by a margin, hold any of some points. points: (m, 2) -> (n,)."""
        held = np.zeros(len(self.middles), dtype=bool)
        reach = self.halves + margin
        near = ((self.middles - reach <= points.max(0)) & (self.middles + reach >= points.min(0))).all(1).nonzero()[0]
        middles, halves = self.middles[near].T[:, :, None], (self.halves[near].T + margin)[:, :, None]
        across, up = (points[:, 0] - middles[0]) / halves[0], (points[:, 1] - middles[1]) / halves[1]
        rounded: NDArray[np.bool_] = (across**2 + up**2).min(1, initial=np.inf) < 1
        boxed: NDArray[np.bool_] = np.maximum(abs(across), abs(up)).min(1, initial=np.inf) < 1
        held[near] = np.where(self.round[near], rounded, boxed)
        return held

    def hidden(self, eye: Points, points: Points, margin: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List which outlines, widened by a margin, block the view from one point to which others, by outline.

        As `block` says it, but only for the points behind an outline, by their angle: eye (2,), points (m, 2) ->
        outlines and points, as long as there are pairs.
        """
        toward = points - eye
        angles = np.arctan2(toward[:, 1], toward[:, 0])
        order = np.argsort(angles, kind="stable")
        circle = np.concatenate([angles[order] - 2 * math.pi, angles[order], angles[order] + 2 * math.pi])
        apart = self.middles - eye
        far, radius = np.hypot(*apart.T), np.hypot(*(self.halves + margin).T)
        half = np.where(far > radius, np.arcsin(np.minimum(1, radius / np.maximum(far, 1e-12))), math.pi) + 1e-9
        middle = np.arctan2(apart[:, 1], apart[:, 0])
        low, high = np.searchsorted(circle, middle - half), np.searchsorted(circle, middle + half, side="right")
        counts = np.minimum(high - low, len(points))
        outlines = np.repeat(np.arange(len(counts)), counts)
        inside = np.arange(len(outlines)) - np.repeat(np.cumsum(counts) - counts, counts)
        behind = order[(np.repeat(low, counts) + inside) % max(1, len(points))]
        self.tested += len(outlines)
        x, y = self.middles[outlines].T
        wide, high_ = (self.halves[outlines] + margin).T
        start = ((eye[0] - x) / wide, (eye[1] - y) / high_)
        ends = points[behind]
        along = ((ends[:, 0] - x) / wide - start[0], (ends[:, 1] - y) / high_ - start[1])
        rounded = self.round[outlines]
        touched = np.where(rounded, _meets_disc(start, along), _meets_square(start, along))
        return outlines[touched], behind[touched]

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
            touched[rounded] = _meets_disc((ax[rounded], ay[rounded]), (dx[rounded], dy[rounded]))
        if boxed.any():
            touched[boxed] = _meets_square((ax[boxed], ay[boxed]), (dx[boxed], dy[boxed]))
        return touched


def _meets_disc(start: tuple[Points, Points], along: tuple[Points, Points]) -> NDArray[np.bool_]:
    """Tell which segments, from a start along a vector, touch the disc of radius 1 around 0."""
    (px, py), (qx, qy) = start, along
    share = np.clip(-(px * qx + py * qy) / np.maximum(qx**2 + qy**2, 1e-12), 0, 1)
    met: NDArray[np.bool_] = (px + qx * share) ** 2 + (py + qy * share) ** 2 < 1
    return met


def _meets_square(start: tuple[Points, Points], along: tuple[Points, Points]) -> NDArray[np.bool_]:
    """Tell which segments, from a start along a vector, touch the square from -1 to 1."""
    enters, leaves = np.full(start[0].shape, -np.inf), np.full(start[0].shape, np.inf)
    for at, step in zip(start, along, strict=True):
        safe = np.where(abs(step) < 1e-12, 1e-12, step)
        first, second = (-1 - at) / safe, (1 - at) / safe
        enters = np.maximum(enters, np.minimum(first, second))
        leaves = np.minimum(leaves, np.maximum(first, second))
    met: NDArray[np.bool_] = (enters < leaves) & (leaves > 0) & (enters < 1)
    return met


def route_all(spots: Mapping[str, Spot], edges: Iterable[Edge], ways: Ways | None = None) -> dict[Edge, Points]:
    """Route the short edges first, so that long ones bend around them. ways: those past the same nodes, if known."""

    def length(edge: Edge) -> float:
        return math.dist((spots[edge[0]].x, spots[edge[0]].y), (spots[edge[1]].x, spots[edge[1]].y))

    order = {edge: i for i, edge in enumerate(edges)}
    ways = ways or Ways(spots)
    runs: dict[Edge, Points] = {}
    for edge in sorted(order, key=lambda e: (round(length(e), 6), order[e])):
        runs[edge] = _route(spots, edge, runs, ways, crowded=len(order) > CROWDED)
    return {edge: runs[edge] for edge in order}


def _route(
    spots: Mapping[str, Spot], edge: Edge, before: Mapping[Edge, Points], ways: Ways, *, crowded: bool
) -> Points:
    """Run an edge from outline to outline: the shortest clear arc that crosses few edges, or else a way around.

    crowded: content with a clear arc that crosses many.
    """
    start, end = spots[edge[0]], spots[edge[1]]
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
    if not choices or (not crowded and min(choice[0] for choice in choices) > 0.6):
        others = Obstacles(spot for spot in spots.values() if spot not in (start, end))
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

    itself = c is a and d is b
    a, b, c, d = a[:, None], b[:, None], c[None], d[None]
    parted: NDArray[np.bool_] = side(a, b, c) * side(a, b, d) < 0  # by the line through a and b
    return parted & (parted.T if itself else side(c, d, a) * side(c, d, b) < 0)


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


@dataclass(frozen=True)
class Sight:
    """What is seen from a point: the lengths to all points, how many nodes are in the way, and, by node, of which."""

    lengths: Points
    count: NDArray[np.intp]
    hidden: NDArray[np.intp]
    ends: NDArray[np.intp]

    def behind(self, node: int) -> NDArray[np.intp]:
        """Give the points that a node hides, each once."""
        return self.hidden[self.ends[node] : self.ends[node + 1]]


class Ways:
    """The ways past nodes: segments between the nodes and points around them that no other node blocks."""

    def __init__(self, spots: Mapping[str, Spot]) -> None:
        self.index = {name: i for i, name in enumerate(spots)}
        self.spots = list(spots.values())
        self.obstacles = Obstacles(self.spots)
        self._rows: dict[int, Sight] = {}

    @cached_property
    def _points(self) -> Points:
        ring = np.concatenate([spot.around(CLEAR + 0.05) for spot in self.spots])
        free = ~np.any([spot.contains(ring, CLEAR) for spot in self.spots], axis=0)
        middles = np.array([[spot.x, spot.y] for spot in self.spots])
        return np.concatenate([middles, ring[free]])

    def seen(self, point: int) -> Sight:
        """Say what is seen from a point: by its place among the middles of the nodes and the points around them."""
        if point not in self._rows:
            points = self._points
            outlines, hidden = self.obstacles.hidden(points[point], points, CLEAR)
            ends = np.searchsorted(outlines, np.arange(len(self.spots) + 1))
            lengths: Points = np.linalg.norm(points - points[point], axis=-1)
            self._rows[point] = Sight(lengths, np.bincount(hidden, minlength=len(points)), hidden, ends)
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
            sight = self.seen(point)
            in_the_way = sight.count.copy()
            for node in (first, last):
                in_the_way[sight.behind(node)] -= 1
            reached = np.where(in_the_way == 0, so_far + sight.lengths + 0.05, np.inf)  # a turn costs a little
            for neighbour in np.flatnonzero(reached < known - 1e-12):
                known[neighbour], came[int(neighbour)] = reached[neighbour], point
                new = float(reached[neighbour])
                heapq.heappush(queue, (new + float(left[neighbour]), new, int(neighbour)))
        way = [last]
        while way[-1] in came:
            way.append(came[way[-1]])
        found: Points = points[way[::-1]] if way[-1] == first else points[[first, last]]
        return found


def _rounded(way: Points, others: Obstacles) -> Points:
    """Round the corners of a way as far as it stays clear of the nodes."""
    for reach in (0.45, 0.3, 0.15):
        pieces: list[Any] = [way[:1]]
        for before, corner, after in zip(way, way[1:], way[2:], strict=False):
            enter, leave = corner + (before - corner) * reach, corner + (after - corner) * reach
            t = np.linspace(0, 1, 16)[:, None]
            pieces.append((1 - t) ** 2 * enter + 2 * t * (1 - t) * corner + t**2 * leave)
        run: Points = np.concatenate([*pieces, way[-1:]])
        if not others.hold(_dense(run), CLEAR / 2).any():
            return run
    return way
