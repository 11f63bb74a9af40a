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
from sgc.language.resolver import outline
from sgc.running.training import train
from sgc.runtime.generate import inputs_wanted
from sgc.runtime.model import Model
from sgc.showing.warning import warnings

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
        unread = f"the input '{name}' is read by no node: it does nothing" in said
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
