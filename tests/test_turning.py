"""Turning nodes of a row: which nodes follow, and what is made of them."""

from __future__ import annotations

import pytest
import torch
from small_runs import faces

import sgc
from sgc.derivation.graph import GraphNode, Graphs
from sgc.samples.traversal import followers, generated_mean, infer_centers, reaches, turn

# ---- which nodes follow


def graphs(features: dict[str, tuple[str, ...]] | None = None, **nodes: tuple[str, str, str]) -> Graphs:
    """Write graphs: for each node its status, its parents in p and those in q ('-': none is proposed)."""
    status = {"f": "full", "p": "partial", "n": "none"}
    made_of = {
        name: GraphNode(name, status[kind], tuple(p.split()), None if q == "-" else tuple(q.split()))  # type: ignore[arg-type]
        for name, (kind, p, q) in nodes.items()
    }
    return Graphs(made_of, features or {}, ("c",))


FACES = graphs(
    {"h": ("x",)}, x=("f", "i l r s", "-"), i=("p", "", "h"), l=("p", "", "h"), s=("n", "", "i l"), r=("n", "", "h")
)
M2 = graphs(x=("f", "y z", "-"), y=("p", "", "x"), z=("n", "", "x y"))
CHAIN = graphs(x=("f", "y", "-"), y=("p", "", "x"), a=("n", "", "y"), b=("n", "", "a"), w=("n", "", "b x"))
CASES = [
    (FACES, ["l"], [("s", "recognition")]),
    (FACES, ["i"], [("s", "recognition")]),
    (FACES, ["r"], []),
    (M2, ["y"], []),  # z reads the picture too
    (graphs(x=("f", "y z", "-"), y=("p", "", "x"), z=("n", "y", "x y")), ["y"], [("z", "generative")]),
    (graphs(x=("f", "y z", "-"), y=("p", "", "x"), z=("n", "y", "y")), ["y"], [("z", "recognition")]),
    (graphs(x=("f", "z", "-"), y=("p", "x z", "x z"), z=("n", "", "x")), ["z"], []),  # y is not on the way to x
    (CHAIN, ["y"], [("a", "recognition"), ("b", "recognition")]),
    (CHAIN, ["y", "a"], [("b", "recognition")]),
    (graphs({"g": ("y", "c")}, x=("f", "y z", "-"), y=("p", "", "x"), z=("n", "", "g")), ["c"], [("z", "recognition")]),
    (graphs({"g": ("y", "x")}, x=("f", "y z", "-"), y=("p", "", "x"), z=("n", "", "g")), ["y"], []),
    (  # what is generated anew is read by a q that sees nothing else
        graphs(x=("f", "u v", "-"), y=("p", "", "x"), u=("n", "y", "x"), v=("n", "", "u")),
        ["y"],
        [("u", "generative"), ("v", "recognition")],
    ),
    (  # an observed node below the one that is turned
        graphs(x=("f", "c2 y", "-"), c2=("f", "y", "-"), y=("p", "", "x")),
        ["y"],
        [("c2", "generative")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made_of", "changes", "wanted"), CASES)
def test_which_nodes_follow(made_of: Graphs, changes: list[str], wanted: list[tuple[str, str]]) -> None:
    assert followers(made_of, changes, ["x"]) == wanted


def test_what_turning_can_change() -> None:
    assert reaches(FACES, "l", ["x"])
    assert not reaches(FACES, "x", ["x"])
    apart = graphs(x=("f", "s", "-"), l=("p", "", "x"), s=("n", "", "l"), w=("p", "x", "x"))
    assert reaches(apart, "l", ["x"])  # by way of s
    assert not reaches(apart, "w", ["x"])


# ---- what is made


def test_a_turned_row_is_what_its_conditionals_say() -> None:
    torch.manual_seed(0)
    model = sgc.compile(faces()).double().requires_grad_(False)
    x = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    values = infer_centers(model, {"x": x})
    i = torch.eye(12, dtype=x.dtype)[model.conditional("i", "recognition", {"x": x}).mean.argmax(-1)]
    l = model.conditional("l", "recognition", {"x": x}).mean  # noqa: E741 - the light's name in the paper
    r = model.conditional("r", "recognition", {"x": x}).mean
    s = model.conditional("s", "recognition", {"i": i, "l": l}).mean
    for name, wanted in {"i": i, "l": l, "r": r, "s": s}.items():
        torch.testing.assert_close(values[name], wanted)
    light = torch.randn(6, 3, dtype=x.dtype)
    found = turn(model, values, {"l": light}, "x")
    shade = model.conditional("s", "recognition", {"i": i, "l": light}).mean
    pixels = model.conditional("x", "generative", {"i": i, "l": light, "r": r, "s": shade}).mean
    torch.testing.assert_close(found["s"], shade)
    torch.testing.assert_close(found["x"], pixels)
    assert torch.equal(found["i"], i)
    assert torch.equal(found["r"], r)
    same = turn(model, values, {"l": values["l"]}, "x")  # turned to what it was
    torch.testing.assert_close(same["x"], generated_mean(model, values, "x"))


def test_nothing_changes_where_q_of_the_shading_reads_with_weights_of_zero() -> None:
    torch.manual_seed(0)
    raw = faces(nodes__x__generative__parents=["i", "r", "s"])  # the light only by way of the shading
    model = sgc.compile(raw).double().requires_grad_(False)
    values = infer_centers(model, {"x": torch.rand(5, 1, 4, 4, dtype=torch.float64)})
    light = torch.randn(5, 3, dtype=torch.float64)
    lit = turn(model, values, {"l": light}, "x")
    assert not torch.allclose(lit["x"], generated_mean(model, values, "x"), atol=1e-6)
    for parameter in model.recognition["s_"].parameters():
        parameter.zero_()
    values = infer_centers(model, {"x": values["x"]})
    assert torch.equal(turn(model, values, {"l": light}, "x")["x"], generated_mean(model, values, "x"))


def test_what_is_made_of_a_replaced_value_is_made_anew() -> None:
    torch.manual_seed(0)
    network = {"mlp": [8]}
    raw = faces(
        features__light={"parents": ["l"], "network": network},
        features__glow={"parents": ["light"], "network": network},
        nodes__x__generative__parents=["i", "glow", "r", "s"],
    )
    model = sgc.compile(raw).double().requires_grad_(False)
    values = infer_centers(model, {"x": torch.rand(5, 1, 4, 4, dtype=torch.float64)})
    laid = model.laid_out(values)
    density = model.density("x", "generative")
    before = laid.conditional(density).mean
    torch.testing.assert_close(before, model.conditional("x", "generative", values).mean)
    light = torch.randn(5, 3, dtype=torch.float64)
    laid.put("l", light)
    wanted = model.conditional("x", "generative", {**values, "l": light}).mean
    torch.testing.assert_close(laid.conditional(density).mean, wanted)
    assert not torch.allclose(before, wanted)


def test_kept_nodes_do_not_follow_and_change_nothing() -> None:
    assert followers(FACES, ["l"], ["x"], ["s"]) == []
    assert followers(CHAIN, ["y"], ["x"], ["a"]) == []
    assert followers(CHAIN, ["y"], ["x"], ["b"]) == [("a", "recognition")]
