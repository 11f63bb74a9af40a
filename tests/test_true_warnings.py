"""Warnings are true: what they say has no effect has none in the compiled model, and what they do not name has."""

from __future__ import annotations

import contextlib
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import Raw, changed, small

import sgc
from sgc import cli
from sgc.report.warning_notes import warnings
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.model import Model
from sgc.spec.resolver import outline
from sgc.training.trainer import train

NETWORK = {"mlp": [5], "activation": "tanh"}
FEATURES = {name: {"parents": [of], "network": NETWORK} for name, of in (("hx", "x"), ("hs", "site"), ("hm", "mirror"))}
READ = ["x", "site", "mirror", "hx", "hs", "hm"]
# a row; another; one that has the site of the first, and one that has its x
ROWS = {
    "x": np.array([[0.3, -1, 2], [1.1, 0.4, -2], [1.7, 0.2, 0.9], [0.3, -1, 2]]),
    "mirror": np.array([[0.5, 0.1, 1], [-1, 2.0, 0.3], [0.2, -0.8, -1], [1.5, 1.0, -2]]),
    "site": np.array(["A", "B", "A", "B"]),
}


def spec(q: tuple[str, ...] = (), p: tuple[str, ...] = (), **changes: Any) -> Raw:
    """Write a model of x and z with two inputs, one a category and one that mirrors x; who reads what is given."""
    constant = {"parameters": {"loc": 0.5, "scale": 2}}
    made = small(
        nodes__y__supervision="partial",
        nodes__x__generative__parents=["y", "z", *p],
        nodes__z__recognition={"parents": list(q), "network": NETWORK} if q else constant,
        **changes,
    )
    made["inputs"] = {"site": {"values": ["A", "B"]}, "mirror": {"shape": [3]}}
    made["features"] = {name: each for name, each in FEATURES.items() if name in (*q, *p)}
    return made


def compiled(made: Raw) -> Model:
    torch.manual_seed(0)
    return sgc.compile(sgc.load(made)).eval()


@pytest.mark.parametrize("q", [names for size in range(3) for names in itertools.combinations(READ, size)])
def test_what_q_is_said_to_propose_is_what_it_proposes(q: tuple[str, ...]) -> None:
    made = spec(q)
    with torch.no_grad():
        loc = compiled(made).conditional("z", "recognition", ROWS).mean
    said = [each for each in warnings(outline(sgc.load(made))) if each.startswith("q(z)")]
    wanted = []
    if bool((loc == loc[0]).all()):
        wanted = ["q(z) reads no node: it proposes the same for every row"]
    elif torch.equal(loc[0], loc[2]):  # rows of one site, and alike in nothing else
        wanted = ["q(z) reads no node but 'site': it proposes the same for all rows that agree in it"]
    assert said == wanted


@pytest.mark.parametrize("q", [(), ("x",), ("site",), ("mirror",), ("hx", "site"), ("hs", "hm"), ("mirror", "hx")])
@pytest.mark.parametrize("p", [(), ("site",), ("mirror",), ("hs",), ("hm", "site")])
def test_what_is_said_to_do_nothing_changes_no_bound(p: tuple[str, ...], q: tuple[str, ...]) -> None:
    made = spec(q, p, nodes__y__recognition={"parents": ["site"], "network": NETWORK} if q == ("site",) else None)
    if q != ("site",):
        made["nodes"]["y"]["recognition"] = {"parents": ["z"], "network": NETWORK}
    model, said = compiled(made), warnings(outline(sgc.load(made)))

    def bound(**other: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            return model.objective({**ROWS, **other}, generator=torch.Generator().manual_seed(1)).bound

    for name in ("site", "mirror"):
        other = ROWS[name][[1, 0, 3, 2]] if name == "site" else ROWS[name] + 0.7
        unread = f"no node reads the input '{name}': it does nothing" in said
        assert unread == torch.equal(bound(), bound(**{name: other}))
    with torch.no_grad():
        apart = {**ROWS, "x": ROWS["x"] + 0.7}
        same = [
            torch.equal(
                *(model.conditional(node, "recognition", {**x, "z": torch.zeros(4, 2)}).mean for x in (ROWS, apart))
            )
            for node in "yz"
        ]
    assert ("q never reads 'x', though every row has it" in said) == all(same)


HELD: tuple[dict[str, Any], ...] = ({}, {"z": 0.1}, {"x": 0.2}, {"y": 1, "z": 0.0})


@pytest.mark.parametrize("prior", [(), ("site",), ("hm",)])
@pytest.mark.parametrize("p", [(), ("mirror",), ("hs",)])
@pytest.mark.parametrize("held", HELD, ids=lambda held: ",".join(held) or "none")
def test_samples_want_the_inputs_that_change_them_and_no_others(
    held: dict[str, Any], p: tuple[str, ...], prior: tuple[str, ...]
) -> None:
    made = spec(("x", "mirror", "hs"), p)
    if prior:
        made["nodes"]["z"]["generative"] = {"parents": list(prior), "network": NETWORK}
        made["features"] |= {name: FEATURES[name] for name in prior if name in FEATURES}
    model = compiled(made)

    def drawn(**inputs: Any) -> torch.Tensor:
        torch.manual_seed(3)
        found = model.generate(6, {**held, **inputs})
        return torch.cat([found[name].double().reshape(6, -1) for name in ("x", "y", "z")], 1)

    both = {"site": "A", "mirror": torch.zeros(3)}
    other = {"site": "B", "mirror": torch.ones(3)}
    read = [name for name in both if not torch.equal(drawn(**both), drawn(**{**both, name: other[name]}))]
    assert inputs_wanted(model.outline, held) == read
    assert torch.equal(drawn(**{name: both[name] for name in read}), drawn(**both))
    for name in read:
        with pytest.raises(KeyError, match=f"the input '{name}' must be given"):
            drawn(**{each: both[each] for each in both if each != name})


def command(*words: object) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            cli.app([str(word) for word in words])
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


def test_the_command_asks_for_no_input_that_only_q_reads(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {"x": draw.normal(size=(40, 3)), "y": np.arange(40) % 3, "site": np.array(["A", "B"] * 20)}
    arrays["mirror"] = arrays["x"]
    train(changed(spec(("mirror",)), train__epochs=1), arrays, output=tmp_path / "q")
    assert command("sample", tmp_path / "q", "-o", tmp_path / "a.npz", "--count", 3) == (0, "")
    with np.load(tmp_path / "a.npz") as found:
        assert sorted(found) == ["x", "y", "z"]
    train(changed(spec(("mirror",), ("site",)), train__epochs=1), arrays, output=tmp_path / "p")
    wanted = (2, "error: the input 'site' must be given: --given site=VALUE\n")
    assert command("sample", tmp_path / "p", "-o", tmp_path / "a.npz", "--count", 3) == wanted
    assert command("sample", tmp_path / "p", "-o", tmp_path / "a.npz", "--given", "site=B") == (0, "")
    assert command("sample", tmp_path / "p", "-o", tmp_path / "a.npz", "--given", "x=0") == (0, "")


# ---- what is said of the objective, of weights and of nodes that could be left out

CATEGORIES = {"distribution": "Categorical", "categories": 3}


def model_of(objective: Raw, **nodes: tuple[str, str, str, str]) -> Raw:
    """Write a model in short, a node: its kind (number or category), status, parents in p and in q."""
    made: Raw = {}
    for name, (kind, status, p, q) in nodes.items():
        node = dict(CATEGORIES) if kind == "category" else {"distribution": "Normal", "shape": [2]}
        for role, reads in (("generative", p.split()), ("recognition", q.split())):
            if reads:
                node[role] = {"parents": reads, "network": NETWORK}
        made[name] = {**node, "supervision": status}
    return {"version": 1, "nodes": made, "objective": objective}


X = ("number", "full", "y z", "")
GRAPHS = {
    "constant weights": {"x": X, "y": ("category", "partial", "", "x"), "z": ("number", "none", "", "x y")},
    "a weight that varies": {"x": X, "y": ("category", "partial", "", "x z"), "z": ("number", "none", "", "x")},
    "all enumerated": {"x": X, "y": ("category", "partial", "", "x"), "z": ("category", "none", "", "x y")},
    "no labels": {"x": ("number", "full", "z", ""), "z": ("number", "none", "", "x")},
}
WORDS: dict[str, Any] = {"alpha": 5, "gamma": 3, "kl": "sampled", "kl_weight": 0.3, "samples": 7}
WORDS |= {"weights": "none", "label_term": "log_mean"}
DRAWN = np.random.default_rng(0).normal(size=(8, 2))
LABELS = np.array([0, 1, 2, 2, -1, -1, -1, -1])


def outcome(made: Raw, rows: slice = slice(None)) -> tuple[torch.Tensor, Model]:
    """Give the loss with its gradients in a model of these rows."""
    model = compiled(made).double()
    batch = {name: each[rows] for name, each in (("x", DRAWN), ("y", LABELS)) if name in made["nodes"]}
    if made["nodes"].get("y2"):
        batch["y2"] = batch["y"]
    loss = model.objective(batch, generator=torch.Generator().manual_seed(1)).loss
    loss.backward()
    gradients = [torch.zeros(1) if each.grad is None else each.grad.reshape(-1) for each in model.parameters()]
    return torch.cat([loss.detach().reshape(1), *gradients]), model


@pytest.mark.parametrize("bound", ["elbo", "iwae", "supervised", "density"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_words_of_the_objective_that_are_said_to_do_nothing_do_nothing_and_no_others(graph: str, bound: str) -> None:
    """Loss and every gradient are the same with the word and without it, to the bit."""
    for word, value in WORDS.items():
        with_it = model_of({"bound": bound, "samples": 3, word: value}, **GRAPHS[graph])
        without = model_of({"bound": bound, "samples": 3}, **GRAPHS[graph])
        try:
            said = warnings(outline(sgc.load(with_it)))
        except sgc.SpecError:  # a word or graph that this bound has not
            continue
        one, other = outcome(with_it)[0], outcome(without)[0]
        # without labels γ and α have nothing to weigh; where everything is, more samples are the same ones
        idle = any(each.startswith(f"objective.{word} does nothing: ") for each in said)
        assert idle == torch.equal(one, other), (word, said)


def test_labels_that_the_rules_take_from_every_row_make_alpha_idle() -> None:
    made = model_of({"alpha": 5}, **GRAPHS["constant weights"])
    columns = {name: {"column": name} for name in ("x", "y")}
    made["data"] = {"source": "npz", "file": "rows.npz", "columns": columns, "labels": {"y": {"count": 0}}}
    assert warnings(outline(sgc.load(made))) == ["objective.alpha does nothing: data.labels keeps no label"]
    made["data"]["labels"]["y"]["count"] = 1
    assert warnings(outline(sgc.load(made))) == []


def gradient_of(model: Model, node: str) -> float:
    found = [each.grad for each in model.machine.recognition[node].parameters() if each.grad is not None]
    return float(sum(each.abs().sum() for each in found))


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("second", ["x", "x w", "x z w"])
@pytest.mark.parametrize("first", ["x", "x z", "x w", "x z w"])
def test_a_weight_that_is_said_to_do_nothing_has_no_gradient(first: str, second: str, samples: int) -> None:
    """With α 0 labels are in the bound by their weights alone; w is enumerated, z drawn. One is judged by itself."""
    made = model_of(
        {"alpha": 0, "samples": samples},
        x=("number", "full", "y y2 z w", ""),
        y=("category", "partial", "", first),
        y2=("category", "partial", "", second),
        z=("number", "none", "", "x"),
        w=("category", "none", "", "x"),
    )
    _, model = outcome(made, slice(0, 4))
    said = "\n".join(warnings(outline(sgc.load(made))))
    for node, reads in (("y", first), ("y2", second)):
        constant = reads == "x"
        idle = f"the weight q({node} | {', '.join(reads.split())}) varies with z, but with 1 sample" in said
        assert (constant or idle) == (gradient_of(model, node) < 1e-12), node


@pytest.mark.parametrize("z", ["number", "category"])
@pytest.mark.parametrize("alpha", [0, 2])
def test_rows_that_are_said_not_to_train_q_do_not(z: str, alpha: int) -> None:
    nodes = {"x": X, "y": ("category", "partial", "", "x"), "z": (z, "none", "", "x y")}
    made = model_of({"bound": "iwae", "alpha": alpha}, **nodes)
    start = "every proposed node is enumerated, so iwae does not contain q: "
    wanted = {
        "category": [
            f"rows without labels: {start}they do not train it",
            f"rows with y labelled: {start}they train it through alpha alone",
        ],
        "number": [],
    }[z]
    assert warnings(outline(sgc.load(made))) == wanted
    for rows, alone in ((slice(4, 8), False), (slice(0, 4), True)):
        _, model = outcome(made, rows)
        trained = any(gradient_of(model, node) > 1e-12 for node in ("y", "z"))
        assert trained == (z == "number" or (alone and alpha > 0))


@pytest.mark.parametrize("in_p", [True, False])
@pytest.mark.parametrize("in_q", [True, False])
@pytest.mark.parametrize("above", ["", "y", "y u"])
def test_nodes_that_are_said_to_change_nothing_change_no_probability(above: str, in_q: bool, in_p: bool) -> None:
    """Everything is enumerated, so that iwae is log p(x) itself."""
    nodes = {
        "x": ("number", "full", "y w" if in_p else "y", ""),
        "y": ("category", "none", "", "x w" if in_q else "x"),
        "w": ("category", "none", above, "x u" if "u" in above else "x"),
        "u": ("category", "none", "", "x"),
    }
    barren = ["w"] if not (in_p or in_q) else []
    barren += ["u"] if barren or "u" not in above else []
    said = [
        each for each in warnings(outline(sgc.load(model_of({"bound": "iwae"}, **nodes)))) if "nothing observed" in each
    ]
    words = (
        "nothing observed depends on '{}', and q needs it for no other node: p of the observed nodes is the same "
        "without it"
    )
    assert said == [words.format(name) for name in barren]
    kept = {name: each for name, each in nodes.items() if name not in barren}
    both = [compiled(model_of({"bound": "iwae"}, **each)).double() for each in (nodes, kept)]
    both[1].load_state_dict({k: v for k, v in both[0].state_dict().items() if k in both[1].state_dict()})
    one, other = (each.objective({"x": DRAWN}).bound for each in both)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("y", ["x", "z"])
def test_of_a_classifier_alone_only_what_it_reads_is_spoken_of(y: str) -> None:
    """q(z) reads nothing: under `supervised` that matters where y reads z."""
    nodes = {"x": X, "y": ("category", "partial", "", y), "z": ("number", "none", "", "")}
    made = model_of({"bound": "supervised"}, **nodes)
    made["nodes"]["z"]["recognition"] = {"parameters": {"loc": 0.0, "scale": 1.0}}
    blind = ["q(z) reads no node: it proposes the same for every row", "q never reads 'x', though every row has it"]
    assert warnings(outline(sgc.load(made))) == (blind if y == "z" else [])
