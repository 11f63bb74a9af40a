"""Totals by row: a Binomial's or Multinomial's total_count that an input gives, or that is the row's own sum.

Checked against scipy row by row, and against a model that is written by hand in torch.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from test_families import parameterisations
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

import sgc
from sgc.cli import app
from sgc.data.new_rows import read_rows
from sgc.distributions.families import FAMILIES
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError, SpecError, UsageError
from sgc.report.json_schema import json_schema
from sgc.runtime.data_variables import data_variables, open_data
from sgc.runtime.model import Model
from sgc.spec.resolver import outline
from sgc.trained.sampler import sample_run

Raw = dict[str, Any]
NET: Raw = {"network": {"mlp": [3], "activation": "tanh"}}
COUNTED = {name: FAMILIES[name].counted() for name in ("Binomial", "Multinomial")}
SUCCESSES: Raw = {
    "distribution": {"Binomial": {"total_count": "trials"}},
    "supervision": "full",
    "generative": {"parents": ["z"], **NET},
}
WORDS: Raw = {
    "distribution": {"Multinomial": {"total_count": "depth"}},
    "shape": [3],
    "supervision": "full",
    "generative": {"parents": ["z"], **NET},
}
SPEC: Raw = {
    "version": 1,
    "inputs": {"trials": {}, "depth": {}},
    "nodes": {
        "k": SUCCESSES,
        "w": WORDS,
        "z": {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["k", "w"], **NET}},
    },
}
BATCH: Raw = {
    "trials": torch.tensor([4.0, 0.0, 9.0]),
    "depth": torch.tensor([5.0, 0.0, 2.0]),
    "k": torch.tensor([1.0, 0.0, 9.0]),
    "w": torch.tensor([[1.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]),
}


def edited(edit: Callable[[Raw], object]) -> Raw:
    spec = copy.deepcopy(SPEC)
    edit(spec)
    return spec


def of_own_sum(spec: Raw) -> None:
    """Let the words' total be their own sum."""
    spec["nodes"]["w"]["distribution"] = {"Multinomial": {"total_count": "sum"}}
    del spec["inputs"]["depth"]


def model_of(spec: Raw, dtype: torch.dtype = torch.float64) -> Model:
    torch.manual_seed(0)
    return sgc.compile(sgc.load(spec)).to(dtype)


# ---- densities and draws

TOTALS = [0.0, 1.0, 7.0, 300.0, 1e5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_row_is_scored_by_its_own_total(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    n, close = np.array(TOTALS), {"atol": 1e-3, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 1e-9}
    logits = rng.normal(size=(len(n), 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    k, w = rng.binomial(n.astype(int), 1 / (1 + np.exp(-logits[:, 0]))), rng.multinomial(n.astype(int), p)
    for name, event, values, right in (
        ("Binomial", (), k, stats.binom.logpmf(k, n, 1 / (1 + np.exp(-logits[:, 0])))),
        ("Multinomial", (4,), w, stats.multinomial.logpmf(w, n, p)),
    ):
        family = COUNTED[name]
        raw = torch.tensor(logits[:, 0] if name == "Binomial" else logits, dtype=dtype, requires_grad=True)
        member = family.distribution({"total_count": torch.tensor(n, dtype=dtype), "logits": raw}, event, finite=True)
        value = torch.tensor(values, dtype=dtype)
        scored = family.log_prob(member, value)
        torch.testing.assert_close(
            scored.detach().double(), torch.tensor(right), rtol=close.get("rtol", 1e-9), atol=close["atol"]
        )
        scored.sum().backward()
        mean = family.mean(member).detach()
        assert raw.grad is not None
        torch.testing.assert_close(raw.grad, value - mean, rtol=1e-3, atol=1e-3 * max(1.0, float(close["atol"] * 1e3)))


def test_a_divergence_is_as_many_times_that_of_a_trial() -> None:
    family, totals = COUNTED["Binomial"], torch.tensor(TOTALS, dtype=torch.float64)
    q, p = (
        family.distribution({"total_count": totals, "logits": torch.full((5,), each).double()}, ())
        for each in (0.5, -1)
    )
    one, other = (torch.distributions.Bernoulli(logits=torch.tensor(each).double()) for each in (0.5, -1.0))
    torch.testing.assert_close(family.kl(q, p), totals * torch.distributions.kl_divergence(one, other))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_draws_share_out_their_rows_total(size: int, dtype: torch.dtype) -> None:
    """4,000 draws of 4 totals: means within 6 standard errors and variances within 25%, a false alarm in about 1e7."""
    torch.manual_seed(0)
    family, totals = COUNTED["Multinomial"], torch.tensor([0, 1, 20, 1e6], dtype=dtype)
    probs = torch.arange(size, dtype=dtype) if size > 1 else torch.ones(1, dtype=dtype)
    probs = probs / probs.sum()
    member = family.distribution({"total_count": totals, "probs": probs.expand(4, size)}, (size,), finite=True)
    drawn = family.draw(member, (4000, 4)).value
    assert drawn.dtype == dtype
    assert bool((drawn >= 0).all())
    assert bool((drawn == drawn.round()).all())
    assert bool((drawn.sum(-1) == totals).all())
    assert size == 1 or not bool(drawn[..., 0].any())  # no category without a probability
    mean, variance = totals[:, None] * probs, totals[:, None] * probs * (1 - probs)
    error = (drawn.double().mean(0) - mean).abs()
    assert bool((error <= 6 * (variance / 4000).sqrt() + 1e-12).all())
    torch.testing.assert_close(drawn.double().var(0), variance.double(), rtol=0.25, atol=0.25)
    torch.testing.assert_close(family.mean(member), mean)
    torch.testing.assert_close(family.variance(member), variance)


def test_binomial_draws_end_at_their_rows_total() -> None:
    """4,000 draws of 3 totals, 6 standard errors: a false alarm in about 1e8."""
    model = model_of(SPEC)
    torch.manual_seed(1)
    given = {"trials": torch.tensor([0.0, 1.0, 30.0]).repeat(4000), "depth": torch.tensor(2.0), "z": torch.tensor(0.5)}
    drawn = model.generate(12000, given)
    p = torch.sigmoid(
        model.conditional("k", "generative", {"z": torch.tensor([0.5]), "trials": torch.tensor([1.0])}).logits
    )
    found = drawn["k"].reshape(4000, 3)
    assert bool((found <= torch.tensor([0.0, 1.0, 30.0])).all())
    assert bool((drawn["w"].sum(-1) == 2).all())
    totals = torch.tensor([0.0, 1.0, 30.0], dtype=torch.float64)
    assert bool(((found.mean(0) - totals * p).abs() <= 6 * (totals * p * (1 - p) / 4000).sqrt()).all())


def test_what_rows_give_is_no_other_way_to_say_a_parameter() -> None:
    for family in COUNTED.values():
        assert parameterisations(family) == (("logits", "total_count"), ("probs", "total_count"))
        assert not family.finite
        assert not family.options


# ---- a model


def by_hand(model: Model, batch: Raw, z: Tensor) -> Tensor:
    """Score k and w given z, with nothing but torch's functions and scipy's coefficients."""
    found = torch.zeros(3, dtype=torch.float64)
    for name, total in (("k", batch["trials"]), ("w", batch["w"].sum(-1))):
        trunk, heads = (dict(model.named_parameters()) for _ in range(2))
        first = {key: each for key, each in trunk.items() if key.startswith(f"generative.{name}_.trunk")}
        last = {key: each for key, each in heads.items() if key.startswith(f"generative.{name}_.heads")}
        (w1, b1), (w2, b2) = (sorted(each.values(), key=lambda t: -t.dim()) for each in (first, last))
        logits = functional.linear(torch.tanh(functional.linear(z[:, None], w1, b1)), w2, b2)
        value, total = batch[name].double(), total.double()
        if name == "k":
            logits, value = torch.cat([logits, torch.zeros_like(logits)], -1), torch.stack([value, total - value], -1)
        ways = (total + 1).lgamma() - (value + 1).lgamma().sum(-1)
        found = found + ways + (value * logits.log_softmax(-1)).sum(-1)
    return found


@pytest.mark.parametrize("edit", [lambda spec: None, of_own_sum], ids=["inputs", "own sum"])
def test_value_and_gradient_are_those_of_a_model_by_hand(edit: Callable[[Raw], None]) -> None:
    model = model_of(edited(edit))
    batch = {name: each for name, each in BATCH.items() if name in (*model.outline.inputs, "k", "w")}
    z = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    values = {**batch, "z": z}
    scored = model.log_prob("k", "generative", values) + model.log_prob("w", "generative", values)
    right = by_hand(model, BATCH, z)
    torch.testing.assert_close(scored, right)
    weights = [each for name, each in model.named_parameters() if name.startswith("generative")]
    for mine, theirs in zip(
        torch.autograd.grad(scored.sum(), weights), torch.autograd.grad(right.sum(), weights), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    torch.manual_seed(3)
    found = model.objective(batch)
    assert bool(torch.isfinite(found.bound).all())
    total = sum(each for roles in found.terms.values() for each in roles.values())
    torch.testing.assert_close(found.bound, total)


def test_importance_samples_sum_to_an_enumerated_model() -> None:
    """A binary latent, enumerated: the bound under q = the posterior is log Σ_y p(y) Bin(k | n, p_y)."""
    spec = edited(lambda spec: spec["nodes"].pop("w"))
    spec["nodes"]["z"] = {
        "distribution": "Bernoulli", "supervision": "none",
        "recognition": {"parents": ["k", "trials"], **NET, "estimator": "enumerate"},
    }  # fmt: skip
    del spec["inputs"]["depth"]
    spec["objective"] = {"bound": "iwae"}
    model = model_of(spec)
    batch = {name: BATCH[name] for name in ("trials", "k")}
    found = model.objective(batch).bound
    right = []
    for z in (0.0, 1.0):
        logits = model.conditional("k", "generative", {"z": torch.full((3,), z), "trials": BATCH["trials"]}).logits
        p = logits.detach().sigmoid().numpy()
        right.append(np.log(0.5) + stats.binom.logpmf(BATCH["k"].numpy(), BATCH["trials"].numpy(), p))
    torch.testing.assert_close(found.detach(), torch.tensor(np.logaddexp(*right)))


def test_a_latent_has_its_rows_total_in_both_graphs() -> None:
    """KL(q‖p) of a Binomial latent, in closed form, and draws that no row's total ends below."""
    spec: Raw = {
        "version": 1,
        "inputs": {"trials": {}},
        "nodes": {
            "x": {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["c"], **NET}},
            "c": {
                "distribution": {"Binomial": {"total_count": "trials"}},
                "supervision": "partial",
                "generative": {"parameters": {"probs": 0.3}},
                "recognition": {"parents": ["x"], **NET},
            },
        },
    }
    model = model_of(spec)
    batch = {"x": torch.tensor([0.1, -2.0, 1.0]), "trials": torch.tensor([0.0, 4.0, 50.0])}
    torch.manual_seed(0)
    post = model.infer(batch, samples=200)["c"]
    assert bool((post.samples <= batch["trials"]).all())
    q = torch.sigmoid(model.conditional("c", "recognition", batch).logits)
    kl = batch["trials"] * (q * (q / 0.3).log() + (1 - q) * ((1 - q) / 0.7).log())
    torch.testing.assert_close(-model.objective(batch).terms["c"]["kl"], kl.double())
    assert bool(torch.isfinite(model.objective({**batch, "c": torch.tensor([0.0, 4.0, 2.0])}).bound).all())
    with pytest.raises(ValueError, match=r"^'c': found 5 in row 1, wanted at most 4, its row's 'trials' \(Binomial\)$"):
        model.objective({**batch, "c": torch.tensor([0.0, 5.0, 2.0])})


# ---- doors

WRONG = {
    "k": ([1, 0, 10], "found 10{row}, wanted at most 9, its row's 'trials'"),
    "w": ([[1, 4, 0], [0, 0, 0], [0, 1, 2]], "found a sum of 3{row}, wanted 2, its row's 'depth'"),
}
COLUMNS: Raw = {
    "k": {"column": "k"},
    "w": {"column": ["w1", "w2", "w3"]},
    "trials": {"column": "n"},
    "depth": {"column": "d"},
}


@pytest.mark.parametrize("node", WRONG)
def test_every_door_of_a_model_holds_values_to_their_total(node: str) -> None:
    model, (values, text) = model_of(SPEC), WRONG[node]
    batch = {**BATCH, node: torch.tensor(values)}
    full = {**batch, "z": torch.zeros(3)}
    doors: list[Callable[[], object]] = [
        lambda: model.objective(batch),
        lambda: model.infer(batch),
        lambda: model.log_prob(node, "generative", full),
        lambda: model.generate(3, {name: batch[name] for name in ("trials", "depth", node)}),
    ]
    family = model.outline.variables[node].family.name
    message = f"'{node}': {text.format(row=' in row 2')} ({family})"
    for door in doors:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            door()


@pytest.mark.parametrize(("total", "text"), [
    (-1.0, "found -1 in row 2, wanted an integer from 0 up"),
    (2.5, "found 2.5 in row 2, wanted an integer from 0 up"),
])  # fmt: skip
def test_a_total_is_a_whole_number(total: float, text: str) -> None:
    batch = {**BATCH, "trials": torch.tensor([4.0, 0.0, total])}
    with pytest.raises(ValueError, match=rf"^'trials': {text}$"):
        model_of(SPEC).objective(batch)


def frame_of(batch: Raw) -> pd.DataFrame:
    w = np.asarray(batch["w"])
    columns = {"k": batch["k"], "n": batch["trials"], "d": batch["depth"]} | {f"w{i + 1}": w[:, i] for i in range(3)}
    return pd.DataFrame({name: np.asarray(each) for name, each in columns.items()})


@pytest.mark.parametrize("node", WRONG)
@pytest.mark.parametrize("door", ["csv", "parquet", "npz", "frame", "arrays", "rows to predict"])
def test_every_door_of_data_holds_values_to_their_total(door: str, node: str, tmp_path: Path) -> None:
    values, text = WRONG[node]
    batch = {**BATCH, node: torch.tensor(values)}
    frame = frame_of(batch)
    spec = edited(lambda spec: None)
    source: Raw = {"source": "npz" if door == "npz" else "table", "file": f"d.{door}"}
    if door == "npz":
        source["file"] = "d.npz"
        np.savez(tmp_path / "d.npz", **{name: frame[name].to_numpy() for name in frame})
    elif door == "parquet":
        frame.to_parquet(tmp_path / "d.parquet")
    else:
        source["file"] = "d.csv"
        frame.to_csv(tmp_path / "d.csv", index=False)
    spec["data"] = {**source, "columns": COLUMNS}
    made = outline(sgc.load(spec))
    given: Any = frame if door == "frame" else None
    if door == "arrays":
        given = {name: np.asarray(each) for name, each in batch.items()}
    encoders = open_data(made, tmp_path, arrays=frame_of(BATCH)).encoders

    def read() -> object:
        if door == "rows to predict":
            return read_rows(made.spec.data, data_variables(made), encoders, tmp_path / "d.csv")
        return open_data(made, tmp_path, arrays=given)

    with pytest.raises(DataError) as problem:
        read()
    assert text.format(row="") in str(problem.value)
    assert "row 2" in str(problem.value)
    assert f"node '{node}'" in str(problem.value)


# ---- what a spec may say

NO_INPUT = "nodes.k.distribution.Binomial.total_count: no input named 'trails'"
FAULTS: dict[str, tuple[Callable[[Raw], object], str]] = {
    "a name that nothing has": (
        lambda spec: spec["nodes"]["k"].update(distribution={"Binomial": {"total_count": "trails"}}),
        f"{NO_INPUT} (did you mean 'trials'?)",
    ),
    "a node": (
        lambda spec: spec["nodes"]["k"].update(distribution={"Binomial": {"total_count": "z"}}),
        "nodes.k.distribution.Binomial.total_count: 'total_count' of 'k' is a number that each row gives, and 'z' is a "
        "node (name an input, whose column holds the totals)",
    ),
    "a feature": (
        lambda spec: (
            spec.update(features={"h": {"parents": ["trials"], "network": {"mlp": [1]}}}),
            spec["nodes"]["k"].update(distribution={"name": "Binomial", "options": {"total_count": "h"}}),
        ),
        "nodes.k.distribution.options.total_count: 'total_count' of 'k' is a number that each row gives, and 'h' is a "
        "feature (name an input, whose column holds the totals)",
    ),
    "a category": (
        lambda spec: spec["inputs"].update(trials={"categories": 3}),
        "nodes.k.distribution.Binomial.total_count: 'total_count' of 'k' is a number that each row gives, and the "
        "input 'trials' is a category (leave out its categories: inputs: {trials: {}})",
    ),
    "an input of another shape": (
        lambda spec: spec["inputs"].update(depth={"shape": [3]}),
        "nodes.w.distribution.Multinomial.total_count: 'total_count' of 'w' takes 'depth' of shape [3], wanted []",
    ),
    "the own sum of numbers": (
        lambda spec: spec["nodes"]["k"].update(distribution={"Binomial": {"total_count": "sum"}}),
        "nodes.k.distribution.Binomial.total_count: 'sum' is the sum of a vector, and each element of a Binomial has a "
        "total of its own (give an input that holds the totals: total_count: NAME)",
    ),
    "the own sum of what is not always there": (
        lambda spec: spec["nodes"]["w"].update(
            distribution={"Multinomial": {"total_count": "sum"}}, supervision="partial",
            recognition={"parents": ["k"], **NET},
        ),
        "nodes.w.distribution.Multinomial.total_count: 'sum' is the row's own sum, and unlabelled rows of 'w' "
        "(supervision: partial) have no sum to take it from (give an input that holds the totals: total_count: NAME)",
    ),
    "a sum that is an input too": (
        lambda spec: (
            spec["inputs"].update(sum={}),
            spec["nodes"]["w"].update(distribution={"Multinomial": {"total_count": "sum"}}),
        ),
        "nodes.w.distribution.Multinomial.total_count: 'sum' is the row's own sum here, and one of the inputs: give "
        "the input another name",
    ),
    "a number that is none": (
        lambda spec: spec["nodes"]["w"].update(distribution={"Multinomial": {"total_count": 0}}),
        "nodes.w.distribution.Multinomial.total_count: expected an integer at least 1, the name of an input, or 'sum', "
        "the row's own, got integer 0",
    ),
    "a name where a family takes none": (
        lambda spec: spec["nodes"]["k"].update(distribution={"DiscretizedLogistic": {"levels": "trials"}}),
        "nodes.k.distribution.DiscretizedLogistic.levels: expected an integer at least 2 and at most 65536, got string "
        "'trials'",
    ),
    "an estimator that lists values": (
        lambda spec: spec["nodes"]["k"].update(
            supervision="partial", recognition={"parents": ["w"], **NET, "estimator": "enumerate"}
        ),
        "nodes.k.recognition.estimator: 'Binomial' cannot have the estimator 'enumerate': the support of "
        "Binomial is not finite (allowed: score_function, mean)",
    ),
    "a total among the parameters": (
        lambda spec: spec["nodes"]["k"]["generative"].update(parameters={"total_count": 3}),
        "nodes.k.generative.parameters.total_count: unknown parameter 'total_count' of Binomial "
        "(allowed: logits, probs)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_total_that_is_none_is_told(name: str) -> None:
    edit, message = FAULTS[name]
    with pytest.raises(SpecError) as problem:
        sgc.load(edited(edit))
    (fault,) = problem.value.faults
    assert f"{'.'.join(map(str, fault.path))}: {fault.message}" + (f" ({fault.hint})" if fault.hint else "") == message


def test_a_total_may_be_one_for_each_element() -> None:
    spec = edited(lambda spec: spec["nodes"].pop("w"))
    spec["inputs"] = {"trials": {"shape": [2]}}
    spec["nodes"]["k"]["shape"] = [2]
    spec["nodes"]["z"]["recognition"]["parents"] = ["k"]
    model = model_of(spec)
    batch = {"trials": torch.tensor([[4.0, 1.0]]), "k": torch.tensor([[4.0, 0.0]])}
    assert bool(torch.isfinite(model.objective(batch).bound).all())
    with pytest.raises(
        ValueError, match=r"^'k': found 2 in row 0 at \[1\], wanted at most 1, its row's 'trials' \(Binom"
    ):
        model.objective({**batch, "k": torch.tensor([[4.0, 2.0]])})


def test_an_input_is_held_to_all_that_takes_it() -> None:
    """What is a rate as well is a whole number above 0."""
    assert SUPPORTS["nonnegative_integer"].met(SUPPORTS["positive"]).range == "an integer from 1 up"
    assert SUPPORTS["unit_interval"].met(SUPPORTS["nonnegative_integer"]).range == "an integer from 0 to 1"
    spec = edited(lambda spec: spec["nodes"]["w"].update(distribution="Exponential", shape=[]))
    spec["nodes"]["w"]["generative"] = {"parameters": {"rate": "trials"}}
    made = outline(sgc.load(spec))
    assert made.inputs["trials"].support.range == "an integer from 1 up"


def test_parts_and_repeats_find_their_total() -> None:
    part = {
        "version": 1,
        "inputs": {"n": {}},
        "nodes": {
            "c": {
                **SUCCESSES,
                "distribution": {"Binomial": {"total_count": "n"}},
                "generative": {"parents": ["u"], **NET},
            },
            "u": {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["c"], **NET}},
        },
    }
    spec: Raw = {
        "version": 1,
        "inputs": {"trials": {}},
        "nodes": {"k": {key: each for key, each in SUCCESSES.items() if key != "generative"}},
        "use": {"m": {"spec": part, "bind": {"c": "k", "n": "trials"}}},
        "repeat": {"t": {"count": 2, "nodes": {
            "s": {**SUCCESSES, "generative": {"parents": ["r"], **NET}},
            "r": {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["s"], **NET}},
        }}},
    }  # fmt: skip
    made = outline(sgc.load(spec))
    assert {name: each.total for name, each in made.variables.items() if each.total} == {
        "k": "trials", "t.s@1": "trials", "t.s@2": "trials",
    }  # fmt: skip
    model = model_of(spec)
    batch = {"trials": torch.tensor([3.0]), "k": torch.tensor([2.0]), "t.s": torch.tensor([[3.0, 0.0]])}
    assert bool(torch.isfinite(model.objective(batch).bound).all())
    with pytest.raises(ValueError, match=r"^'t.s@2': found 4 in row 0, wanted at most 3"):
        model.objective({**batch, "t.s": torch.tensor([[3.0, 4.0]])})
    again = sgc.load(sgc.load(spec).plain())
    assert {name: each.total for name, each in outline(again).variables.items()} == {
        name: each.total for name, each in made.variables.items()
    }
    spec["use"]["m"]["bind"]["n"] = "k"
    with pytest.raises(SpecError, match="'k' has the distribution Binomial"):
        sgc.load(spec)
    spec["repeat"]["t"]["nodes"]["s"]["distribution"] = {"Binomial": {"total_count": "r"}}
    spec.pop("use")
    spec["nodes"] = {}
    with pytest.raises(SpecError) as problem:
        sgc.load(spec)
    assert [fault.message for fault in problem.value.faults] == [
        "'total_count' of 't.s' is a number that each row gives, and 't.r' is a node"
    ]


def test_what_differs_from_row_to_row_counts_no_steps() -> None:
    spec = edited(lambda spec: spec.update(repeat={"t": {"count": "k", "nodes": {"s": {"distribution": "Normal"}}}}))
    spec["repeat"]["t"]["nodes"]["s"] |= {"supervision": "none", "recognition": {"parents": ["w"], **NET}}
    with pytest.raises(SpecError, match="'k' cannot count: its total_count differs from row to row"):
        sgc.load(spec)


def test_derived_parents_read_the_total() -> None:
    spec = edited(lambda spec: spec.update(recognition={"parents": "auto", "network": {"mlp": [3]}}))
    del spec["nodes"]["z"]["recognition"]
    assert set(sgc.load(spec).nodes["z"].recognition.parents) == {"k", "w", "trials", "depth"}  # type: ignore[union-attr]


def test_the_own_sum_cannot_be_drawn() -> None:
    model = model_of(edited(of_own_sum))
    message = (
        "'w' cannot be drawn: its total_count is the sum of its own value (give 'w', or let an input be its total_"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}count\\)$"):
        model.generate(2, {"trials": 3})
    drawn = model.generate(2, {"trials": 3, "w": torch.tensor([1.0, 0.0, 2.0])})
    assert drawn["k"].shape == (2,)
    p = model.conditional("w", "generative", {"z": torch.zeros(1), "w": torch.tensor([[1.0, 0.0, 2.0]])})
    torch.testing.assert_close(p.mean.sum(-1), torch.tensor([3.0], dtype=torch.float64))
    with pytest.raises(KeyError, match="the value of 'w' is missing: its total_count is its own sum"):
        model.conditional("w", "generative", {"z": torch.zeros(1)})


def test_a_sample_of_an_own_sum_says_what_to_give(tmp_path: Path) -> None:
    spec = edited(of_own_sum)
    spec["train"] = {"epochs": 1, "batch_size": 2}
    rows = {name: BATCH[name].numpy() for name in ("trials", "k", "w")}
    run = sgc.train(spec, data=rows, output=tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        sample_run(run.folder, tmp_path / "w.png", given={"trials": 3})
    numbers = "no observed node is a picture: write numbers with -o FILE.npz, and give 'w': its total is its"
    assert str(caught.value) == f"{numbers} own sum"


def test_editors_know_names_of_totals() -> None:
    import jsonschema

    check = jsonschema.Draft202012Validator(json_schema())
    for edit in (lambda spec: None, of_own_sum):
        check.validate(edited(edit))
    assert not check.is_valid(
        edited(lambda spec: spec["nodes"]["k"].update(distribution={"Binomial": {"total_count": 0}}))
    )


# ---- from end to end


def test_a_column_of_trials_from_check_to_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n, d = rng.integers(0, 9, 120), rng.integers(0, 9, 120)
    y = rng.integers(0, 2, 120)
    w = np.stack([rng.multinomial(total, [0.2, 0.3, 0.5]) for total in d])
    frame = frame_of({"k": rng.binomial(n, np.where(y, 0.9, 0.1)), "trials": n, "depth": d, "w": w})
    frame["y"] = y
    frame.to_csv("d.csv", index=False)
    spec = copy.deepcopy(SPEC)
    spec["nodes"]["z"] = {
        "distribution": "Categorical", "categories": 2, "supervision": "partial",
        "recognition": {"parents": ["k", "w", "trials", "depth"], **NET},
    }  # fmt: skip
    spec["data"] = {
        "source": "table", "file": "d.csv", "columns": {**COLUMNS, "z": {"column": "y"}},
        "split": {"validation": 20, "test": 20}, "labels": {"z": {"count": 20}},
    }  # fmt: skip
    spec["train"] = {"epochs": 2, "batch_size": {"unlabelled": 20, "labelled": 10}}
    Path("m.yaml").write_text(json.dumps(spec))
    run = CliRunner().invoke

    def ok(*words: str) -> str:
        found = run(app, list(words))
        assert found.exit_code == 0, found.output
        return found.output

    ok("check", "m.yaml", "--data")
    shown = ok("inspect", "m.yaml")
    assert "Binomial(total_count trials)" in shown
    assert "p(k | z, trials) p(w | z, depth) p(z)" in shown
    ok("prove", "m.yaml")
    ok("train", "m.yaml", "-o", "run")
    assert np.isfinite(json.loads(ok("evaluate", "run", "--json"))["log_p"])
    ok("predict", "run", "d.csv", "-o", "p.csv")
    assert len(pd.read_csv("p.csv")) == 120
    ok("sample", "run", "-o", "s.npz", "--given", "trials=4", "--given", "depth=6")
    drawn = np.load("s.npz")
    assert drawn["k"].max() <= 4
    assert set(drawn["w"].sum(-1)) == {6.0}
    ok("train", "m.yaml", "-o", "run", "--resume")
    frame.loc[3, "k"] = 40
    frame.to_csv("e.csv", index=False)
    refused = run(app, ["predict", "run", "e.csv", "-o", "q.csv"])
    assert refused.exit_code == 2
    assert f"found 40, wanted at most {n[3]}, its row's 'trials'" in refused.output.replace("\n", " ")
