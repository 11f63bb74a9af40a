"""A repeat's nodes outside of plans: one name for all steps, from batches and rows to posteriors, samples and terms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sgc
from sgc.data import large_columns
from sgc.runtime.batch import prepare
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.steps import rows_text
from sgc.runtime.streams import TensorRows

NAN = float("nan")
STEPS, NAMES = 3, ["rest", "walk", "run"]
Raw = dict[str, Any]


def chain(**more: Any) -> Raw:
    """Write a hidden Markov model of three steps, whose states are labelled in part."""
    s = {
        "distribution": "Categorical",
        "values": NAMES,
        "supervision": "partial",
        "generative": {"parents": ["prev.s"], "network": {"mlp": []}},
        "recognition": {"parents": ["prev.s", "later"], "network": {"mlp": [4]}, "estimator": "enumerate"},
    }
    x = {
        "distribution": "Normal",
        "shape": [2],
        "supervision": "full",
        "generative": {"parents": ["s"], "network": {"mlp": []}},
    }
    carry = {"later": {"parents": ["x"], "network": {"gru": 4}, "direction": "backward"}}
    return {
        "version": 1,
        "name": "chain",
        "repeat": {"t": {"count": STEPS, "carry": carry, "nodes": {"s": s, "x": x}}},
        "objective": {"bound": "elbo"},
        "train": {"epochs": 2, "batch_size": 10, "optimizer": {"name": "Adam", "lr": 0.01}, "seed": 0},
        **more,
    }


def counted(supervision: str = "full") -> Raw:
    """Write a repeat whose count is a node."""
    k = {"distribution": "Categorical", "values": [1, 2, 3], "supervision": supervision}
    if supervision == "partial":
        k["recognition"] = {"parents": ["h"], "network": {"mlp": []}, "estimator": "enumerate"}
    w = {"distribution": "Normal", "supervision": "full", "shape": [2]}
    v = {
        "distribution": "LogNormal",
        "shape": [2],
        "supervision": "partial",
        "recognition": {"parents": ["h"], "network": {"mlp": []}},
    }
    return {
        "version": 1,
        "name": "counted",
        "features": {"h": {"parents": ["w"], "network": {"mlp": [3]}}},
        "nodes": {"k": k, "w": w},
        "repeat": {"a": {"count": "k", "nodes": {"v": v}}},
        "objective": {"bound": "elbo"},
        "train": {"epochs": 1, "batch_size": 10, "optimizer": {"name": "Adam", "lr": 0.01}, "seed": 0},
    }


@cache
def model() -> Model:
    torch.manual_seed(0)
    made = sgc.compile(sgc.load(chain()))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return made


def rows(count: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"t.x": torch.randn(count, STEPS, 2), "t.s": torch.randint(-1, 3, (count, STEPS))}


def flat(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}@{i + 1}": value[:, i] for name, value in batch.items() for i in range(STEPS)}


def test_a_batch_by_outer_names_is_the_batch_by_steps() -> None:
    batch = rows()
    whole, apart = model().objective(batch), model().objective(flat(batch))
    mixed = model().objective({"t.x": batch["t.x"].numpy(), **flat({"t.s": batch["t.s"]})})
    assert torch.equal(whole.bound, apart.bound)
    assert torch.equal(whole.bound, mixed.bound)
    assert set(whole.terms) == {"t.s", "t.x"}
    total = sum(term for roles in whole.terms.values() for term in roles.values())
    assert isinstance(total, Tensor)
    assert torch.allclose(total, whole.bound, atol=1e-4)


def test_the_posterior_has_the_steps_first_and_is_that_of_all_combinations() -> None:
    batch = {"t.x": rows()["t.x"]}
    log: dict[tuple[int, ...], Tensor] = {}
    for states in itertools.product(range(3), repeat=STEPS):
        values = flat({**batch, "t.s": torch.tensor([states]).expand(6, STEPS)})
        log[states] = torch.stack([model().log_prob(node, "generative", values) for node in values]).sum(0)
    joint = torch.stack(list(log.values())).softmax(0)
    wanted = torch.zeros(6, STEPS, 3)
    for states, mass in zip(log, joint, strict=True):
        for i, state in enumerate(states):
            wanted[:, i, state] += mass
    found = model().infer(batch, samples=5)
    assert set(found) == {"t.s"}
    assert torch.allclose(found["t.s"].mean, wanted, atol=1e-5)
    assert found["t.s"].samples.shape == (5, 6, STEPS, 3)
    assert found["t.s"].weights.shape == (5, 6)


def test_steps_that_are_labelled_keep_their_labels() -> None:
    batch = rows()
    found = model().infer(batch, samples=3)["t.s"]
    there = batch["t.s"] >= 0
    assert 0 < there.sum() < there.numel()
    assert torch.equal(found.mean[there].argmax(-1), batch["t.s"][there])
    assert torch.equal(found.mean[there].amax(-1), torch.ones(int(there.sum())))
    assert bool((found.samples[:, ~there].argmax(-1) != 2).any())


def test_what_is_generated_has_the_steps_first_and_takes_either_name() -> None:
    drawn = model().generate(50)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {"t.s": (50, STEPS), "t.x": (50, STEPS, 2)}
    assert (model().generate(4, {"t.s": "run"})["t.s"] == 2).all()
    assert model().generate(2, {"t.s": ["rest", "walk", "run"]})["t.s"].tolist() == [[0, 1, 2]] * 2
    some = model().generate(50, {"t.s": ["run", -1, -1]})
    assert (some["t.s"][:, 0] == 2).all()
    assert len(some["t.s"][:, 1].unique()) > 1
    alone = model().generate(50, {"t.s@2": "walk"}, means=["t.x"])
    assert (alone["t.s"][:, 1] == 1).all()
    per_state = torch.stack([alone["t.x"][alone["t.s"] == i].var(0) for i in range(3)])
    assert float(per_state.max()) < 1e-9, "a mean hangs on the state alone, in every step"


def problem(call: Any) -> str:
    with pytest.raises((ValueError, KeyError)) as caught:
        call()
    return str(caught.value.args[0])


def test_what_does_not_fit_is_told() -> None:
    batch = rows()
    short = {**batch, "t.x": batch["t.x"][:, :2]}
    assert problem(lambda: model().objective(short)) == "'t.x' got shape [6, 2, 2], wanted [B, 3, 2]"
    short = {**batch, "t.s": batch["t.s"][:, 0]}
    assert problem(lambda: model().objective(short)) == (
        "'t.s' got shape [6], wanted [B, 3, 3] or integer categories [B, 3]"
    )
    twice = {**batch, "t.s@2": batch["t.s"][:, 1]}
    assert problem(lambda: model().objective(twice)) == "'t.s@2' is given beside 't.s', which has it"
    gone = {**batch, "t.x": batch["t.x"].clone().index_fill_(1, torch.tensor(1), NAN)}
    assert problem(lambda: model().objective(gone)) == "'t.x@2' is missing in row 0, it must be there in every row"
    assert problem(lambda: model().objective({**batch, "t.y": batch["t.s"]})) == (
        "no node or input named 't.y'; did you mean 't.x'?"
    )
    for call in (model().conditional, model().log_prob):
        assert problem(lambda call=call: call("t.s", "recognition", batch)) == (
            "'t.s' is a node of a repeat, with a conditional for each step: t.s@1, t.s@2, t.s@3"
        )
    held = {"t.s": "run", "t.s@1": "walk"}
    assert problem(lambda: model().generate(2, held)) == "'t.s@1' is held beside 't.s', which has it"


# ---- rows of data


def table(made: Model, arrays: Mapping[str, Any]) -> TensorRows:
    data = open_data(made.outline, made.spec.folder, arrays)
    return TensorRows(data.train, made.outline, made.like, data.encoders)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_rows_give_what_the_same_batch_would(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_columns, "LIMIT", limit)
    batch = rows(40)
    names = np.array([*NAMES, ""])[batch["t.s"].numpy()]
    data = table(model(), {"t.x": batch["t.x"].numpy(), "t.s": names})
    assert bool(data.columns) == (not limit)
    assert data.partial == ["t.s@1", "t.s@2", "t.s@3"]
    np.testing.assert_array_equal(data.labels, batch["t.s"].numpy() >= 0)
    index = np.arange(5, 35)
    wanted, _ = prepare(model().outline, {name: value[5:35] for name, value in batch.items()}, model().like)
    found = data.parts(index)
    assert len(found) == len(wanted)
    for got, made in zip(found, wanted, strict=True):
        assert got.observed == made.observed
        everything = torch.arange(30)
        assert torch.equal(everything if got.rows is None else got.rows, everything if made.rows is None else made.rows)
        assert got.labelled.keys() == made.labelled.keys()
        assert all(torch.equal(got.labelled[name], made.labelled[name]) for name in got.labelled)
        assert set(got.values) == set(made.values)
        for name, value in got.values.items():
            assert torch.equal(value, made.values[name])
    bare = data.part(index, frozenset())
    assert set(bare.values) == {"t.x@1", "t.x@2", "t.x@3"}
    labelled = data.labelled(bare, index)
    assert sum(each.size for each in labelled) == int((batch["t.s"][5:35] >= 0).any(1).sum())
    for each in labelled:
        assert each.rows is not None
        for name in each.observed:
            wanted_here = batch["t.s"][5:35][each.rows, int(name[-1]) - 1]
            assert torch.equal(each.values[name].argmax(-1), wanted_here)
    assert torch.equal(data.take("t.x@2", index), data.take("t.x", index)[:, 1])
    np.testing.assert_array_equal(data.present("t.s@2"), batch["t.s"][:, 1].numpy() >= 0)


@pytest.mark.parametrize("supervision", ["full", "partial"])
def test_what_stands_at_a_step_beyond_a_count_reaches_no_plan(supervision: str) -> None:
    made = sgc.compile(sgc.load(counted(supervision)))
    torch.manual_seed(2)
    k, w = torch.tensor([0, 1, 2, 1]), torch.randn(4, 2)
    v = torch.rand(4, 3, 2) + 0.1
    junk = v.clone()
    beyond = torch.arange(3) > k.unsqueeze(1)
    junk[beyond] = torch.tensor([-5.0, NAN])
    for each in (v, junk, junk.masked_fill(beyond.unsqueeze(-1), NAN)):
        for part in [
            *prepare(made.outline, {"k": k, "w": w, "a.v": each}, made.like)[0],
            *table(made, {"k": k.numpy() + 1, "w": w.numpy(), "a.v": each.numpy()}).parts(np.arange(4)),
        ]:
            for i in range(3):
                value = part.values.get(f"a.v@{i + 1}")
                if value is not None:
                    places = torch.arange(4) if part.rows is None else part.rows
                    there = ~beyond[places, i]
                    assert torch.equal(value[there], v[places[there], i])
                    assert bool((value[~there] > 0).all())
    wrong = junk.clone()
    wrong[1, 1, 0] = -5
    assert problem(lambda: prepare(made.outline, {"k": k, "w": w, "a.v": wrong}, made.like)) == (
        "'a.v@2': found -5 in row 1 at [0], wanted a number above 0 (LogNormal)"
    )


def test_a_plan_takes_a_name_for_all_its_steps() -> None:
    model = sgc.compile(chain())
    assert model.plan("t.s").observed == model.plan({f"t.s@{i + 1}" for i in range(STEPS)}).observed
    assert set(model.plan({"t.s"}).observed) == {"t.s@1", "t.s@2", "t.s@3"}


def test_a_density_of_a_step_is_that_of_its_place_under_the_outer_name() -> None:
    model = sgc.compile(chain())
    x, s = torch.randn(4, STEPS, 2), torch.randint(3, (4, STEPS))
    whole = model.log_prob("t.s@2", "recognition", {"t.x": x, "t.s": s})
    flat = {f"t.x@{i + 1}": x[:, i] for i in range(STEPS)} | {f"t.s@{i + 1}": s[:, i] for i in range(STEPS)}
    torch.testing.assert_close(whole, model.log_prob("t.s@2", "recognition", flat))
    gone = torch.where(torch.tensor([False, False, True]), -1, s)  # what is not read may be missing
    torch.testing.assert_close(whole, model.log_prob("t.s@2", "recognition", {"t.x": x, "t.s": gone}))
    with pytest.raises(KeyError, match=r"the value of 't\.s@1' is missing"):
        model.log_prob("t.s@2", "recognition", {"t.x": x, "t.s": torch.where(s == s[:, :1], -1, s)})


def test_a_plan_takes_the_name_of_all_steps_and_tells_its_rows_by_it() -> None:
    model = sgc.compile(chain())
    every = model.plan({f"t.s@{i + 1}" for i in range(STEPS)})
    assert model.plan({"t.s"}) is every
    assert model.plan("t.s") is every
    assert rows_text(model.outline, every) == "rows with t.s labelled"
    assert rows_text(model.outline, model.plan({"t.s@2"})) == "rows with t.s@2 labelled"
    assert rows_text(model.outline, model.plan(maybe_labelled={"t.s"})) == "rows with some of t.s labelled"
    assert rows_text(model.outline, model.plan()) == "rows without labels"
