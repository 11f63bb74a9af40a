"""What a picture of a graph may cost: counted, not timed; small graphs have all that they want."""

from __future__ import annotations

import numpy as np

import sgc
from sgc.report.pictures.edge_routes import CLEAR, Obstacles, Spot
from sgc.report.pictures.node_places import ROLES, Effort, arrange, size_of, used_edges
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline


def arranged(resolved: Outline, effort: Effort) -> dict[str, Spot]:
    graphs = resolved.graphs
    sizes = {name: size_of(name, graphs) for name in [*graphs.inputs, *graphs.features, *graphs.nodes]}
    return arrange(graphs.layers(), sizes, [used_edges(graphs, role) for role in ROLES], effort)


def test_judging_layouts_is_bounded_and_small_graphs_do_not_meet_the_bound() -> None:
    resolved = outline(sgc.load("specs/multi-mnist-count.yaml"))
    wanted, free = Effort(), Effort(np.inf)
    assert arranged(resolved, wanted) == arranged(resolved, free)
    assert 0 < wanted.spent == free.spent < wanted.room / 4
    short = Effort(wanted.spent / 3)
    assert arranged(resolved, short).keys() == resolved.graphs.nodes.keys() | resolved.graphs.features.keys()
    assert short.spent <= short.room


def test_the_view_by_angle_is_that_of_all_pairs() -> None:
    """Of 60 nodes at random places, from 40 points to 300: the same are hidden, and few pairs are looked at."""
    draw = np.random.default_rng(0)
    places, sizes = draw.uniform(0, 30, (60, 2)), draw.uniform(0.5, 2.5, (60, 2))
    spots = [
        Spot(str(i), "ellipse" if i % 3 else "box", *places[i].tolist(), *sizes[i].tolist(), ()) for i in range(60)
    ]
    points = np.concatenate([places[:20], draw.uniform(-1, 31, (280, 2))])
    obstacles = Obstacles(spots)
    for eye in points[:40]:
        outlines, hidden = obstacles.hidden(eye, points, CLEAR)
        seen = np.zeros((60, 300), bool)
        seen[outlines, hidden] = True
        np.testing.assert_array_equal(seen, obstacles.block(eye[None], points, CLEAR))
        assert len(outlines) == seen.sum()  # each pair once
    assert obstacles.tested < 40 * 60 * 300 / 4
