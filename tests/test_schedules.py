"""Schedules: in any epoch a model is, to the bit, the one with the numbers of that epoch written in their place."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small_runs import changed, finished_files, small, small_arrays
from torch import Tensor

import sgc
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.runtime.model import Model
from sgc.runtime.streams import Streams, rates
from sgc.schedules import Schedule, ends
from sgc.spec.resolver import outline
from sgc.spec.training_section import Optimizer
from sgc.training.engine import make_optimizer, move_optimizer
from sgc.training.parameter_groups import ParameterGroup
from sgc.training.trainer import train

Raw = dict[str, Any]  # Any: a spec as plain data

CURVES = ("linear", "cosine", "exponential")
EPOCHS = (0.0, 1.3, 4.0, 9.0)
RELAXED = small(nodes__y__recognition__estimator={"gumbel_softmax": {"temperature": 0.5}})
DROPPED = small(nodes__x__generative__network=[{"mlp": [6], "dropout": 0.1}, {"layers": [{"Dropout": 0.1}]}])
FIXED = small(
    nodes__z__generative={"parameters": {"loc": 0.3, "scale": 2}},
    nodes__z__recognition={"parents": ["x", "y"], "network": {"mlp": [6]}, "parameters": {"scale": 0.5}},
)
PLACES = [  # a spec, and where in it a number stands that may move, in a range
    (small(), "objective__alpha", 0.0, 9.0),
    (small(objective={"supervision_rate": 0.2}), "objective__alpha__over_rate", 0.1, 9.0),
    (small(objective={"alpha": {"over_rate": 0.1}}), "objective__supervision_rate", 0.1, 0.9),
    (small(), "objective__alpha__y", 0.0, 9.0),
    (small(), "objective__gamma", 0.0, 3.0),
    (small(), "objective__kl_weight", 0.1, 2.0),
    (RELAXED, "nodes__y__recognition__estimator__gumbel_softmax__temperature", 0.1, 2.0),
    (DROPPED, "nodes__x__generative__network__0__dropout", 0.0, 0.8),
    (DROPPED, "nodes__x__generative__network__1__layers__0__Dropout", 0.0, 0.8),
    (FIXED, "nodes__z__generative__parameters__loc", -1.0, 1.0),
    (FIXED, "nodes__z__generative__parameters__scale", 0.1, 3.0),
    (FIXED, "nodes__z__recognition__parameters__scale", 0.1, 3.0),
]


def put(spec: Raw, path: str, value: Any) -> Raw:  # Any: a number or a schedule
    """Copy a spec with a number in a place, which may lie in a list."""
    made: Any = copy.deepcopy(spec)
    *above, last = (int(key) if key.isdigit() else key for key in path.split("__"))
    here = made
    for key in above:
        here = here[key] if isinstance(key, int) else here.setdefault(key, {})
    here[last] = value
    found: Raw = made
    return found


def schedule(low: float, high: float, curve: str = "linear", epochs: int = 4) -> Raw:
    start = max(low, 0.05) if curve == "exponential" else low
    return {"from": high, "to": start, "epochs": epochs, "curve": curve}


def compiled(spec: Raw, *, double: bool = False) -> Model:
    """Compile a spec; one seed gives one model."""
    torch.manual_seed(3)
    model = sgc.compile(sgc.load(spec))
    return model.double() if double else model


def said(model: Model) -> list[Tensor]:
    """Ask a model all that it says of a batch: while training and its gradient, then conditionals, draws, posterior."""
    arrays = small_arrays(12, 6)
    batch = {"x": torch.as_tensor(arrays["x"]).to(model.like), "y": torch.as_tensor(arrays["y"])}
    out = model.train().objective(batch, generator=torch.Generator().manual_seed(1))
    learned = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(out.loss, learned, allow_unused=True)
    found = [out.loss, out.bound, *(torch.zeros(1) if g is None else g for g in gradients)]
    torch.manual_seed(4)  # of dropout
    whole = {**batch, "y": arrays["y"] % 3, "z": torch.ones(12, 2)}
    for name, role in (("z", "generative"), ("z", "recognition"), ("x", "generative")):
        found.append(model.log_prob(name, role, whole))  # type: ignore[arg-type]
    found += model.generate(5, generator=torch.Generator().manual_seed(2)).values()
    found += [each.mean for each in model.infer(batch, samples=3, generator=torch.Generator().manual_seed(2)).values()]
    return [each.detach() for each in found]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("spec", "path", "low", "high"), PLACES, ids=[place[1] for place in PLACES])
def test_a_model_is_the_one_with_the_numbers_of_its_epoch(spec: Raw, path: str, low: float, high: float) -> None:
    curve = CURVES[len(path) % 2]
    moving = schedule(low, high, curve)
    model, written = compiled(put(spec, path, moving)), Schedule.model_validate(moving)
    different = []
    for epoch in EPOCHS:
        model.epoch = epoch
        different.append(said(model))
        assert same(different[-1], said(compiled(put(spec, path, written.at(epoch)))))
    assert not same(different[0], different[1])
    assert same(different[2], different[3])  # it stays
    model.epoch = 0  # and comes back
    assert same(said(model), different[0])


def test_a_fixed_parameter_that_moves_is_rounded_as_a_number_is() -> None:
    """A model made in float32 and turned to float64 keeps 0.1 as float32 has it, whether or not a schedule gives it."""
    place = "nodes__z__generative__parameters__scale"
    model = compiled(put(FIXED, place, {"from": 0.7, "to": 0.1, "epochs": 2}), double=True)
    model.epoch = 2
    assert same(said(model), said(compiled(put(FIXED, place, 0.1), double=True)))


@pytest.mark.parametrize("curve", CURVES)
def test_a_schedule_stays_between_its_ends_and_meets_them(curve: str) -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        start, to = (float(each) for each in draw.uniform(0.01, 3, 2))
        made = Schedule.model_validate({"from": start, "to": to, "epochs": int(draw.integers(1, 9)), "curve": curve})
        values = [made.at(epoch) for epoch in np.linspace(0, made.epochs, 30)]
        assert (values[0], values[-1], made.at(99)) == (start, to, to)
        assert values == sorted(values, reverse=start > to)
        still = made.model_copy(update={"to": start})
        assert {still.at(epoch) for epoch in np.linspace(0, made.epochs, 30)} == {start} == set(ends(still))


def test_a_gradient_may_be_taken_after_the_epoch_has_moved() -> None:
    model = compiled(put(FIXED, "nodes__z__generative__parameters__scale", schedule(0.5, 2.0)))
    out = model.objective({"x": torch.zeros(2, 3)}, generator=torch.Generator().manual_seed(1))
    model.epoch = 3
    out.loss.backward()


def test_both_ends_of_a_range_may_move_if_they_never_meet() -> None:
    node = {"distribution": "Uniform", "shape": [2], "supervision": "none", "recognition": {}}
    node["generative"] = {"parameters": {"low": schedule(0, 5, "cosine"), "high": schedule(1, 6, "cosine")}}
    model = compiled(small(nodes__z=node))
    for epoch, low in ((0, 5), (2, 2.5), (4, 0)):
        model.epoch = epoch
        drawn = model.generate(1000)["z"]
        assert low <= float(drawn.min()) < low + 0.1 < low + 0.9 < float(drawn.max()) <= low + 1


# ---- training

NUMBERS: dict[str, Raw] = {
    "Adam": {"name": "Adam", "lr": 0.01, "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-6},
    "AdamW": {"name": "AdamW", "lr": 0.01, "weight_decay": 0.1, "betas": [0.8, 0.95]},
    "SGD": {"name": "SGD", "lr": 0.01, "weight_decay": 0.1, "momentum": 0.7},
    "RMSprop": {"name": "RMSprop", "lr": 0.001, "weight_decay": 0.1, "momentum": 0.7, "eps": 1e-6},
}


def moved(value: Any) -> Any:  # Any: plain data
    """Write every number as a schedule that stays where it is."""
    if isinstance(value, dict):
        return {key: moved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [moved(each) for each in value]
    return {"from": value, "to": value, "epochs": 2} if isinstance(value, float) else value


@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_training_with_schedules_that_stay_is_training_with_numbers(name: str, tmp_path: Path) -> None:
    spec = small(
        nodes__x__generative__network={"mlp": [6], "dropout": 0.3},
        nodes__z__generative={"parameters": {"loc": 0.1, "scale": 1.3}},
        nodes__y__recognition__estimator={"score_function": {"baseline": "running_mean", "decay": 0.7}},
        objective={"alpha": 2.0, "gamma": 1.7, "kl_weight": 0.9},
        train__optimizer=NUMBERS[name],
        train__clip_norm=1.5,
    )
    for folder, given in (("plain", spec), ("moved", moved(spec))):
        train(sgc.load(given), small_arrays(), output=tmp_path / folder)
    assert finished_files(tmp_path / "moved") == finished_files(tmp_path / "plain")


@pytest.mark.parametrize("name", NUMBERS)
def test_an_optimiser_has_the_numbers_of_its_epoch(name: str) -> None:
    wanted = NUMBERS[name]
    moving = {key: {"from": v, "to": v / 2, "epochs": 4} for key, v in wanted.items() if isinstance(v, float)}
    if "betas" in wanted:
        moving["betas"] = [wanted["betas"][0], {"from": 0.9, "to": 0.5, "epochs": 4}]
    given = Optimizer.model_validate({"name": name, **moving})
    optimizer = make_optimizer(given, [ParameterGroup([torch.nn.Parameter(torch.ones(2))])])
    assert optimizer.param_groups[0]["lr"] == wanted["lr"]
    move_optimizer(optimizer, given, 2.0)
    group, halfway = optimizer.param_groups[0], {k: 0.75 * v for k, v in wanted.items() if isinstance(v, float)}
    assert {key: group[key] for key in halfway} == pytest.approx(halfway)
    assert "betas" not in wanted or group["betas"] == pytest.approx((0.8, 0.7))


@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_momentum_may_begin_at_zero(name: str) -> None:
    """By hand: v ← m v + d and w ← w − lr v, where d is the gradient, in RMSprop g / (√s + ε) with the mean s of g²."""
    momentum = Schedule.model_validate({"from": 0, "to": 0.9, "epochs": 3})
    given = Optimizer.model_validate({"name": name, "lr": 0.1, "momentum": momentum})
    draw = torch.Generator().manual_seed(0)
    weight, late = (torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in range(2))
    optimizer = make_optimizer(given, [ParameterGroup([weight, late])])
    state = {id(p): [torch.zeros(3, dtype=torch.float64) for _ in range(3)] for p in (weight, late)}
    for epoch in range(5):
        move_optimizer(optimizer, given, float(epoch))
        for parameter in (
            [weight] if epoch < 2 else [weight, late]
        ):  # one gets its first gradient when there is momentum
            gradient = torch.randn(3, generator=draw, dtype=torch.float64)
            parameter.grad = gradient
            value, speed, square = state[id(parameter)]
            square.mul_(0.99).add_(0.01 * gradient**2)
            step = gradient / (square.sqrt() + 1e-8) if name == "RMSprop" else gradient
            if momentum.at(epoch) or name == "SGD":
                speed.mul_(momentum.at(epoch)).add_(step)
                value.sub_(0.1 * speed)
            else:
                value.sub_(0.1 * step)
            if name == "SGD" and not momentum.at(epoch):
                speed.zero_()  # torch keeps none without momentum
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for parameter in (weight, late):
            assert torch.allclose(parameter, state[id(parameter)][0], rtol=1e-12, atol=1e-12)


def test_a_trained_model_stands_where_its_weights_were_written(tmp_path: Path) -> None:
    scale = {"from": 2, "to": 1, "epochs": 6}
    spec = small(nodes__z__generative={"parameters": {"scale": scale}}, train__epochs=3)
    train(sgc.load(spec), small_arrays(), output=tmp_path / "run")
    opened = sgc.open(tmp_path / "run", "last")
    assert opened.epoch == 3
    assert float(opened.conditional("z", "generative", {}).stddev[0, 0]) == 1.5
    drawn = opened.generate(4000, generator=torch.Generator().manual_seed(0))["z"]
    assert float(drawn.std()) == pytest.approx(1.5, abs=0.07)  # 4.2 standard errors of 8000 draws: 3 in 100,000


# ---- how labelled rows weigh


class Part(NamedTuple):
    """Rows of a batch, of which only their number is known; none are left to other processes."""

    kind: str
    size: int
    share: None = None


class Labels:
    """Rows without values: which of them carry a label is all that streams look at here."""

    def __init__(self, unlabelled: int, labelled: int) -> None:
        self.count, self.store = unlabelled + labelled, None
        self.row_ids, self.like = np.arange(self.count), torch.zeros(())
        self.labels = np.arange(self.count)[:, None] < labelled

    def part(self, index: np.ndarray, observed: frozenset[str]) -> Part:
        return Part("bare", len(index))

    def parts(self, index: np.ndarray) -> list[Part]:
        return [Part("labelled", len(index))]


def weights(unlabelled: int, labelled: int, **words: Any) -> list[dict[str, float]]:  # Any: numbers and schedules
    """Give what each stream counts, step by step, over four epochs."""
    given = {key: Schedule.model_validate(v) if isinstance(v, dict) else v for key, v in words.items()}
    rows: Any = Labels(unlabelled, labelled)  # Any: it stands in for rows
    made = Streams(rows, batch=(5, 4), seed=0, **{"gamma": None, "rate": None, **given})
    found = []
    for step in range(4 * made.steps):
        parts: Any = made.take(step)
        found.append({part.kind: weight * part.size for part, weight in zip(*parts, strict=True)})
    return found


@pytest.mark.parametrize("key", ["gamma", "rate"])
def test_labelled_rows_weigh_what_the_schedule_says_at_each_step(key: str) -> None:
    moving = {"from": 0.2, "to": 0.8, "epochs": 3}
    for step, found in enumerate(weights(20, 8, **{key: moving})):  # 4 steps an epoch
        now = min(0.2 + 0.6 * (step / 4) / 3, 0.8)
        rate = now if key == "rate" else now * 8 / (20 + now * 8)
        assert found == pytest.approx({"bare": 1 - rate, "labelled": rate})


def test_rows_that_weigh_nothing_are_not_looked_at() -> None:
    found = weights(20, 8, gamma={"from": 0, "to": 1, "epochs": 2})
    assert found[0] == {"bare": 1.0}
    assert all(set(each) == {"bare", "labelled"} for each in found[1:])
    assert all(each == {"bare": 1.0} for each in weights(20, 8, gamma={"from": 1, "to": 0, "epochs": 2})[8:])
    assert all(each == {"labelled": 1.0} for each in weights(0, 8, gamma={"from": 1, "to": 2, "epochs": 2}))
    with pytest.raises(ValueError, match="no row counts"):
        weights(0, 8, gamma={"from": 1, "to": 0, "epochs": 2})
    with pytest.raises(ValueError, match=r"objective.supervision_rate is 0.5, but no row carries a label"):
        weights(8, 0, rate={"from": 0.5, "to": 0.6, "epochs": 2})


def test_the_rate_that_alpha_is_over_moves_in_training(tmp_path: Path) -> None:
    """α = 0.1/ρ where γ moves and the data tell ρ; the run's last weights say which."""
    spec = small(objective={"alpha": {"over_rate": 0.1}, "gamma": {"from": 1, "to": 4, "epochs": 3}})
    found = train(sgc.load(spec), small_arrays(60, 20), output=tmp_path / "run")
    last = sgc.open(found.folder, "last")
    rate = rates(40, 20, 4.0, None).rate
    assert (last.gamma, last.rate) == (4.0, pytest.approx(rate))
    assert last.settings().alpha["y"] == pytest.approx(0.1 / rate)


# ---- what is shown


def test_what_moves_is_said_in_words_and_as_data() -> None:
    spec = put(
        FIXED, "nodes__z__generative__parameters__scale", {"from": 1, "to": 0.2, "epochs": 20, "curve": "cosine"}
    )
    dropped = [
        {"mlp": [6], "dropout": {"from": 0.5, "to": 0, "epochs": 9}},
        {"layers": [{"Dropout": schedule(0, 0.5)}]},
    ]
    made = outline(sgc.load(changed(spec, nodes__x__generative__network=dropped)))
    text = " ".join(inspect_text(made, width=400).split())
    assert "loc 0.3, scale from 1 to 0.2 over 20 epochs, cosine" in text
    assert "mlp 6 relu dropout from 0.5 to 0 over 9 epochs, Dropout from 0.5 to 0 over 4 epochs" in text
    constants = inspect_json(made)["nodes"][2]["generative"]["constants"]
    moving = {"from": 1.0, "to": 0.2, "epochs": 20, "curve": "cosine"}
    assert constants == {"loc": {"value": 0.3, "learn": False}, "scale": {"value": moving, "learn": False}}


def test_a_spec_with_schedules_everywhere_is_written_out_and_loaded_again() -> None:
    for spec, path, low, high in PLACES:
        plain = sgc.load(put(spec, path, schedule(low, high))).plain()
        assert sgc.load(plain).plain() == plain
    assert math.isclose(Schedule.model_validate(schedule(0, 1)).at(2), 0.5)
