"""Discrete structure: a chain costs what the forward algorithm costs, and rows of any patterns run under one plan.

The oracle is a forward recursion written here over the model's own conditionals. Costs are counted, not timed: numbers
that are kept for the backward pass, and tensors' dimensions.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import Raw, assert_same, assert_same_gradients, compiled, gradients
from torch import Tensor

import sgc
from sgc.derivation.derive import derive
from sgc.derivation.plan import EachNode
from sgc.report.json_report import inspect_json
from sgc.report.warning_notes import warnings
from sgc.runtime.batch import patterns_of
from sgc.runtime.model import Model
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.training.dry_run import dry
from sgc.training.trainer import train

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")

LABELS = ["none", "all", "random"]
BOUNDS: dict[str, Raw] = {
    "elbo": {"alpha": 0.0},
    "elbo_alpha": {"alpha": 2.5},
    "kl_weight": {"alpha": 0.5, "kl_weight": 0.3},
    "iwae": {"bound": "iwae", "alpha": 0.0},
    "iwae_alpha": {"bound": "iwae", "alpha": 1.5},
    "density": {"bound": "density"},
    "supervised": {"bound": "supervised"},
}


def chain(length: int, categories: int = 5, **objective: Any) -> Raw:  # Any: plain data
    """Write a chain y1 .. yT with emissions x1 .. xT out as plain nodes; q filters: q(y_t | y_{t-1}, x_t)."""
    nodes: Raw = {}
    for t in range(1, length + 1):
        before = [f"y{t - 1}"] if t > 1 else []
        nodes[f"y{t}"] = {
            "distribution": "Categorical",
            "categories": categories,
            "supervision": "partial",
            "generative": {"parents": before, "network": {"mlp": []}} if before else {"learn": True},
            "recognition": {"parents": [*before, f"x{t}"], "network": {"mlp": []}, "estimator": "enumerate"},
        }
        nodes[f"x{t}"] = {
            "distribution": "Normal",
            "supervision": "full",
            "generative": {"parents": [f"y{t}"], "network": {"mlp": []}},
        }
    return {"version": 1, "nodes": nodes, "objective": objective}


def rows_of(length: int, rows: int, labels: str, categories: int = 5) -> dict[str, Tensor]:
    """Draw emissions, and labels: none, all, or each with probability 1/2 in rows of patterns of their own."""
    draw = torch.Generator().manual_seed(length)
    batch = {f"x{t}": torch.randn(rows, generator=draw) for t in range(1, length + 1)}
    for t in range(1, length + 1):
        label = torch.randint(categories, (rows,), generator=draw)
        shown = torch.rand(rows, generator=draw) < 0.5
        if labels != "none":
            batch[f"y{t}"] = label if labels == "all" else torch.where(shown, label, -1)
    return batch


class Forward:
    """The forward recursion over one chain: sums over y1 .. yT of products of factors of (y_{t-1}, y_t), in logs.

    Each factor is [B, K before, K now]; y1 has nothing before it, so that the first place alone counts there.
    """

    def __init__(self, model: Model, length: int, batch: dict[str, Tensor], categories: int = 5) -> None:
        rows, k = len(batch["x1"]), categories
        now, before = torch.arange(k).repeat(rows * k), torch.arange(k).repeat_interleave(k).repeat(rows)
        self.log_prior, self.log_emission, self.log_q = [], [], []
        self.there, self.allowed = [], []
        for t in range(1, length + 1):
            label = batch.get(f"y{t}", torch.full((rows,), -1)).reshape(-1, 1, 1)
            self.there.append(label >= 0)
            self.allowed.append((label == torch.arange(k)) | (label < 0))
            values = {f"y{t}": now, f"x{t}": batch[f"x{t}"].repeat_interleave(k * k)}
            values |= {f"y{t - 1}": before} if t > 1 else {}
            for kept, node, role in (
                (self.log_prior, f"y{t}", "generative"),
                (self.log_emission, f"x{t}", "generative"),
                (self.log_q, f"y{t}", "recognition"),
            ):
                kept.append(model.log_prob(node, role, values).reshape(rows, k, k))

    def sum(self, logs: Sequence[Tensor], values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """log Σ_y ∏ exp(logs), and the mean of Σ values under these weights, over what the labels allow: [B] each."""
        rows, _, k = logs[0].shape
        log = torch.zeros(rows, k).masked_fill(torch.arange(k) > 0, -math.inf)
        value = torch.zeros(rows, k)
        for factor, added, allowed in zip(logs, values, self.allowed, strict=True):
            joint = (log.unsqueeze(2) + factor).masked_fill(~allowed, -1e4)
            log = joint.logsumexp(1)
            value = ((joint - log.unsqueeze(1)).exp() * (value.unsqueeze(2) + added)).sum(1)
        return log.logsumexp(1), (log.softmax(1) * value).sum(1)

    def bound(self, words: Raw, kl_weight: float = 1.0) -> Tensor:
        """Give each row's bound, by Siddharth et al. 2017, Eqs. (8) and (9), and Eq. (4) of its earlier form."""
        kind, alpha = words.get("bound", "elbo"), words.get("alpha", 1.0)
        log_r = [q.masked_fill(there, 0) for q, there in zip(self.log_q, self.there, strict=True)]
        log_w = [q.masked_fill(~there, 0) for q, there in zip(self.log_q, self.there, strict=True)]
        nothing = [torch.zeros_like(q) for q in self.log_q]
        if kind == "supervised":
            return self.sum(self.log_q, nothing)[0]
        if kind == "iwae":
            log_p = [p + e for p, e in zip(self.log_prior, self.log_emission, strict=True)]
            return self.sum(log_p, nothing)[0] + alpha * self.sum(self.log_q, nothing)[0]
        terms = []
        for there, p, e, r, w in zip(self.there, self.log_prior, self.log_emission, log_r, log_w, strict=True):
            latent = torch.where(there, 1.0, kl_weight)
            terms.append(latent * (p - r) + e - w)
        log_z, f = self.sum(self.log_q, terms)
        return log_z.exp() * f if kind == "density" else f + (1 + alpha) * self.sum(log_r, log_w)[1]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(
    ("name", "length"),
    [("elbo_alpha", 50), ("iwae_alpha", 50), *((name, 10) for name in BOUNDS)],
)
def test_a_chain_is_the_forward_algorithm(name: str, length: int, labels: str) -> None:
    words = BOUNDS[name]
    spec = chain(length, **words)
    model, batch = compiled(spec, 1, 0.7), rows_of(length, 4, labels)
    out = model.objective(batch)
    oracle = Forward(model, length, batch)
    assert_same(out.bound, oracle.bound(words))
    wanted = -oracle.bound(words, words.get("kl_weight", 1.0)).mean()
    assert_same(out.loss, wanted)
    assert_same_gradients(gradients(model, out.loss), gradients(model, wanted))


@pytest.mark.parametrize("labels", LABELS)
def test_a_chain_longer_than_a_tensor_has_dimensions(labels: str) -> None:
    model, batch = compiled(chain(70, 2), 2, 0.7), rows_of(70, 4, labels, 2)
    assert_same(model.objective(batch).bound, Forward(model, 70, batch, 2).bound({}))


@pytest.mark.parametrize("name", ["elbo_alpha", "iwae_alpha", "density", "supervised"])
def test_rows_under_one_plan_are_as_each_under_its_own(name: str) -> None:
    model, batch = compiled(chain(9, **BOUNDS[name]), 3), rows_of(9, 12, "random")
    mix = torch.randn(12)
    out = model.objective(batch, weights=mix)
    assert len({sums.plan for _, sums in out._parts}) == 1
    alone = [model.objective({key: value[i : i + 1] for key, value in batch.items()}) for i in range(12)]
    assert all(not sums.plan.maybe_labelled for each in alone for _, sums in each._parts)
    assert_same(out.bound, torch.cat([each.bound for each in alone]))
    assert_same(out.ess, torch.cat([each.ess for each in alone]))
    for node, roles in out.terms.items():
        for role, found in roles.items():
            if name == "supervised" and role != "label":  # no part of that bound
                continue
            zero = torch.zeros(1)
            assert_same(found, torch.cat([each.terms.get(node, {}).get(role, zero) for each in alone]))
    wanted = -(mix * torch.cat([each.bound for each in alone])).sum() / 12
    assert_same_gradients(gradients(model, out.loss), gradients(model, wanted))


def test_a_soft_label_is_scored_alike_under_one_plan_and_its_own() -> None:
    model, batch = compiled(chain(4, 3), 5), rows_of(4, 6, "none")
    soft = torch.rand(6, 3).softmax(-1)
    batch |= {"y2": soft, "y3": torch.where(torch.arange(6).unsqueeze(1) < 3, soft.flip(-1), math.nan)}
    out = model.objective(batch)
    assert out._parts[0][1].plan.maybe_labelled
    alone = [model.objective({key: value[i : i + 1] for key, value in batch.items()}).bound for i in range(6)]
    assert_same(out.bound, torch.cat(alone))


# ---- what it costs


def kept_numbers(model: Model, batch: dict[str, Tensor]) -> int:
    """Count the numbers of all tensors that are kept for the backward pass, and look at their dimensions."""
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        assert tensor.dim() <= 6  # two enumerated, the samples, the rows, the event, and one more inside torch
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.objective(batch).loss
    loss.backward()
    return sum(kept.values())


@pytest.mark.parametrize("labels", LABELS)
def test_the_memory_of_a_chain_is_linear_in_its_length(labels: str) -> None:
    short, long = (kept_numbers(compiled(chain(t)), rows_of(t, 20, labels)) for t in (25, 50))
    assert long < 2.1 * short
    assert long < 50 * 20 * 5 * 5 * 40  # a step keeps some [K, K, B]


def counted_calls(model: Model, batch: dict[str, Tensor]) -> int:
    """Count what torch is asked to do in a forward and a backward pass."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: torch's
            self.calls += 1
            return func(*args, **(kwargs or {}))

    with Counter() as counter:
        model.objective(batch).loss.backward()
    return counter.calls


def test_the_work_of_a_chain_is_linear_and_patterns_do_not_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    short, long = (counted_calls(compiled(chain(t)), rows_of(t, 30, "random")) for t in (10, 20))
    assert long < 2.1 * short
    model = compiled(chain(20))
    assert long < 2 * counted_calls(model, rows_of(20, 30, "none"))


@pytest.mark.parametrize("labels", LABELS)
def test_a_chain_of_50_takes_well_under_a_second(labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    model, batch = compiled(chain(50)), rows_of(50, 100, labels)
    times = []
    for _ in range(3):
        began = time.process_time()
        model.objective(batch).loss.backward()
        times.append(time.process_time() - began)
    assert min(times) < 0.6  # one core; about 0.1 on a quiet machine


def test_the_plan_of_a_chain_tells_its_cost_at_once() -> None:
    made = outline(load(chain(200)))
    times = []
    for _ in range(3):
        began = time.process_time()
        plan = derive(made.graphs, set(), made.words)
        times.append(time.process_time() - began)
    assert min(times) < 0.3  # about 0.02 on a quiet machine
    assert plan.largest == 25
    assert plan.operations == 25 * 199 + 5
    assert set(plan.axes.values()) == {0, 1}
    assert derive(made.graphs, made.graphs.partial, made.words).axes == {}


# ---- what it says before anything runs


def test_a_long_chain_is_inspected_without_listing_its_patterns() -> None:
    made = outline(load(chain(50)))
    found = inspect_json(made)
    assert found["warnings"] == []
    assert [len(plan["observed"]) for plan in found["patterns"]] == [0, 1, 1, 1, 1, 1, 1, 50]
    assert found["patterns_left_out"] == 2**50 - 8
    assert found["patterns"][0]["largest_intermediate"] == 25
    assert found["patterns"][0]["cost"].endswith("; largest intermediate 25 numbers a row, 1230 touched in all")


def wide(nodes: int, categories: int = 10, **more: Any) -> Raw:  # Any: plain data
    """Write a node that reads many: to enumerate them all takes categories ** nodes."""
    names = "abcdefghijklmnop"[:nodes]
    x: Raw = {"distribution": "Normal", "supervision": "full"}
    spec: Raw = {"x": {**x, "generative": {"parents": list(names), "network": {"mlp": []}}}}
    for name in names:
        recognition = {"parents": ["x"], "network": {"mlp": []}, "estimator": "enumerate", **more}
        spec[name] = {"distribution": "Categorical", "categories": categories, "supervision": "partial"}
        spec[name]["recognition"] = recognition
    return {"version": 1, "nodes": spec}


def test_what_enumerates_too_much_is_warned_of_with_a_way_out() -> None:
    (found,) = warnings(outline(load(wide(8))))
    assert found.startswith(
        "rows without labels: enumerating touches 111,111,110 numbers a row, and its largest sum, over "
        "a, b, c, d, e, f, g, h, 100,000,000: more than 10,000,000 and 1,000,000 are too many; with estimator "
    )
    assert "gumbel_softmax at a, b, c" in found
    assert found.endswith(" they are 222,222 and 200,000")
    assert warnings(outline(load(wide(6)))) == []
    assert " 10^16 " in warnings(outline(load(wide(16))))[0]


def test_the_way_out_costs_what_was_said() -> None:
    spec = wide(8)
    for name in "abc":
        spec["nodes"][name]["recognition"]["estimator"] = "gumbel_softmax"
    made = outline(load({**spec, "objective": {"samples": 2}}))
    plan = derive(made.graphs, set(), made.words)
    assert (plan.operations, plan.largest) == (222_222, 200_000)
    assert warnings(made) == []


def test_a_draw_below_enumerated_nodes_is_counted_with_their_dimensions() -> None:
    spec = wide(2, 4)
    spec["nodes"]["z"] = {
        "distribution": "Normal",
        "supervision": "none",
        "recognition": {"parents": ["a", "b"], "network": {"mlp": []}},
    }
    spec["nodes"]["x"]["generative"]["parents"] = ["a", "z"]
    made = outline(load({**spec, "objective": {"samples": 3}}))
    plan = derive(made.graphs, set(), made.words)
    assert plan.largest == 4 * 4 * 3
    assert EachNode(plan).cost().endswith("; z is drawn 16 times a sample")


# ---- which rows share a plan


def merged(spec: Raw) -> frozenset[str]:
    return outline(load(spec)).merging.nodes


def test_nodes_that_draws_depend_on_or_that_depend_on_draws_keep_a_plan_for_each_pattern() -> None:
    spec = wide(4, 3)
    normal = {"distribution": "Normal", "supervision": "none"}
    network: Raw = {"network": {"mlp": []}}
    spec["nodes"]["z"] = {**normal, "recognition": {"parents": ["h"], **network}}
    spec["features"] = {"h": {"parents": ["x", "a"], **network}}
    spec["nodes"]["b"]["recognition"]["parents"] = ["z"]
    assert merged(spec) == {"c", "d"}
    spec["nodes"]["c"]["recognition"]["estimator"] = "gumbel_softmax"
    spec["nodes"]["d"]["recognition"]["parents"] = ["c"]
    assert merged(spec) == set()


def test_patterns_share_a_plan_only_where_that_is_cheaper() -> None:
    cheap, dear = outline(load(wide(3, 3))).merging, outline(load(wide(8, 10))).merging
    assert cheap.worth(frozenset(), cheap.nodes, 7, 50)
    assert not cheap.worth(frozenset(), cheap.nodes, 1, 50)
    assert not dear.worth(frozenset(), dear.nodes, 60, 100)


def test_more_labels_than_bits_in_an_integer_are_told_apart() -> None:
    present = np.zeros((5, 70), dtype=bool)
    present[1, 66] = present[2, 2] = present[3, 66] = True
    found, which = patterns_of(present)
    assert [list(np.flatnonzero(each)) for each in found] == [[], [2], [66]]
    assert which.tolist() == [0, 2, 1, 2, 0]


def test_plans_of_many_patterns_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgc.runtime.plan_runner.PLANS_KEPT", 48)  # of 6 nodes
    model = sgc.compile(sgc.load(wide(5, 2)))
    for size in range(6):
        for observed in itertools.combinations("abcde", size):
            assert model.plan(observed).observed == observed
    assert len(model._plans) == 8


def test_data_of_many_patterns_train_and_a_dry_run_does_not_try_them_all(tmp_path: Path) -> None:
    spec = {**chain(6, 2), "train": {"epochs": 1, "batch_size": 50}}
    batch = {name: value.numpy() for name, value in rows_of(6, 120, "random", 2).items()}
    np.savez(tmp_path / "rows.npz", **batch)
    spec["data"] = {"source": "npz", "file": "rows.npz", "columns": {n: {"column": n} for n in spec["nodes"]}}
    spec["train"] |= {"optimizer": {"name": "Adam", "lr": 0.01}}
    found = dry(sgc.load(spec), beside=tmp_path)
    carried = np.stack([batch[f"y{t}"] >= 0 for t in range(1, 7)], 1)
    patterns = len(np.unique(carried[carried.any(1)], axis=0))
    assert patterns > 32
    assert len(found) == 34  # without labels, 32, and one for the rest
    assert found[-1]["rows"] == f"rows of {patterns - 32} more patterns"
    run = train(sgc.load(spec), beside=tmp_path, output=tmp_path / "run")
    assert math.isfinite(run.lines[0]["bound"]["labelled"])
