"""The ways to a gradient beside the bound's own: dreg by hand and in the mean, rws by summing over every draw."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import sgc
from sgc.distributions.points import Point
from sgc.errors import SpecError
from sgc.objectives.plain_draw import PlainDraw

pytestmark = pytest.mark.usefixtures("double_precision")
Raw = dict[str, Any]  # Any: plain data
MLP: Raw = {"mlp": [4], "activation": "tanh"}


def normal(p: list[str], q: list[str] | None = None, status: str = "none") -> Raw:
    made: Raw = {"distribution": "Normal", "supervision": status}
    if p:
        made["generative"] = {"parents": p, "network": MLP}
    if q is not None:
        made["recognition"] = {"parents": q, "network": MLP}
    return made


ONE: Raw = {"z": normal([], ["x"]), "x": normal(["z"], status="full")}
TWO: Raw = {"z": normal([], ["x"]), "v": normal(["z"], ["z", "x"]), "x": normal(["v"], status="full")}
SEEN: Raw = {  # what is drawn is read through a feature, and every value of y has a draw of its own
    "y": {"distribution": "Categorical", "categories": 3, "supervision": "none"}
    | {"recognition": {"parents": ["x"], "network": MLP}},
    "z": normal(["y"], ["x", "y"]),
    "x": normal(["h"], status="full"),
}
COUNT: Raw = {"distribution": "Categorical", "categories": 3, "supervision": "partial"}
COUNT |= {"recognition": {"parents": ["x"], "network": MLP, "estimator": "enumerate"}}
COUNTED: Raw = {"k": COUNT, "x": normal(["h"], status="full")}  # a step's draw is in the particles of larger counts


def repeated(step: Raw) -> Raw:
    """Steps that the node k counts, of which a feature gives the sum of z."""
    return {
        "repeat": {"r": {"count": "k", "nodes": step}},
        "features": {"h": {"parents": ["r.z"], "network": {"combine": "sum"}}},
    }


def compiled(nodes: Raw, **objective: Any) -> sgc.Model:
    spec: Raw = {"version": 1, "nodes": nodes, "objective": {"bound": "iwae", **objective}}
    if nodes is SEEN:
        spec["features"] = {"h": {"parents": ["z"], "network": MLP}}
    if nodes is COUNTED:
        spec |= repeated({"z": normal([], ["x"]), "v": normal(["z"], ["x", "z"])})
    torch.manual_seed(3)
    return sgc.compile(sgc.load(spec))


def gradients(model: sgc.Model, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    loss = model.objective(batch).loss
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for n, p, g in zip(names, parameters, found, strict=True)}


def test_dreg_is_the_formula_by_hand() -> None:
    """Σ ŵ² ∂ log(p/q)/∂z · ∂z/∂φ for q = N(a, e^b), p = N(z; 0, 1) N(x; z, 1), with the draws of the model."""
    nodes: Raw = {
        "z": {
            "distribution": "Normal",
            "supervision": "none",
            "recognition": {
                "parameters": {"loc": {"start": 0.4, "learn": True}, "scale": {"start": 0.7, "learn": True}}
            },
        },
        "x": {
            "distribution": "Normal",
            "supervision": "full",
            "generative": {"parents": ["z"], "network": {"mlp": []}, "parameters": {"scale": 1.0}},
        },
    }
    model = compiled(nodes, samples=4, gradient="dreg")
    plain = compiled(nodes, samples=4)
    x = torch.tensor([0.3, -1.2])
    q = model.conditional("z", "recognition", {})
    drawn: list[Tensor] = []
    hold = sgc.objectives.pathwise.Pathwise.draw
    try:

        def kept(self: Any, given: Any) -> Point:  # Any: passed on
            drawn.append(hold(self, given).value)
            return Point(drawn[-1])

        sgc.objectives.pathwise.Pathwise.draw = kept  # type: ignore[method-assign]
        found = gradients(model, {"x": x}, 5)
        own = gradients(plain, {"x": x}, 5)
    finally:
        sgc.objectives.pathwise.Pathwise.draw = hold  # type: ignore[method-assign]
    z = drawn[0].detach().reshape(4, 2).requires_grad_()
    assert torch.equal(z, drawn[1].reshape(4, 2))
    p_x = model.conditional("x", "generative", {"z": z.reshape(-1)}).log_prob(x.repeat(4)).reshape(4, 2)
    fixed = torch.distributions.Normal(float(q.mean.detach().reshape(-1)[0]), float(q.stddev.detach().reshape(-1)[0]))
    log = -0.5 * z.square() - 0.5 * math.log(2 * math.pi) + p_x - fixed.log_prob(z)
    (slope,) = torch.autograd.grad(log.sum(), z)
    weight = torch.softmax(log, 0).detach()
    by_loc = -(weight.square() * slope).sum() / 2
    by_scale = -(weight.square() * slope * (z.detach() - fixed.loc) / fixed.scale).sum() / 2
    loc = next(name for name in found if name.startswith("recognition") and name.endswith("loc"))
    scale = next(name for name in found if name.startswith("recognition") and name.endswith("scale"))
    torch.testing.assert_close(found[loc].reshape(()), by_loc)
    raw = dict(model.named_parameters())[scale].detach()
    family = model.outline.variables["z"].family
    slope_of_scale = torch.autograd.functional.jacobian(lambda each: family.constrain("scale", each), raw)
    torch.testing.assert_close(found[scale].reshape(()), (by_scale * slope_of_scale).reshape(()))
    for name in found:
        if name.startswith("generative"):
            torch.testing.assert_close(found[name], own[name])


@pytest.mark.parametrize("nodes", [ONE, TWO, SEEN], ids=["one", "two", "seen"])
def test_dreg_has_the_mean_of_the_gradient_and_less_noise(nodes: Raw) -> None:
    """400 estimates of each, of 20 rows at 16 samples: |z| < 5.5 of each of some 100 numbers, a false alarm in 10⁵."""
    dreg, total = (compiled(nodes, samples=16, gradient=way) for way in ("dreg", "total"))
    batch = {"x": torch.linspace(-2, 2, 20)}
    found = {}
    for way, model in (("dreg", dreg), ("total", total)):
        draws = [gradients(model, batch, seed) for seed in range(400)]
        found[way] = {name: torch.stack([each[name] for each in draws]) for name in draws[0]}
    for name, one in found["dreg"].items():
        other = found["total"][name]
        error = ((one.var(0) + other.var(0)) / 400).sqrt()
        assert bool(((one.mean(0) - other.mean(0)).abs() <= 5.5 * error + 1e-12).all()), name
        if name.startswith("generative"):
            torch.testing.assert_close(one, other)  # of one seed, the draws are the same
    noise = {
        way: sum(float(each.var(0).sum()) for name, each in parts.items() if name.startswith("recognition.z"))
        for way, parts in found.items()
    }
    assert noise["dreg"] < noise["total"]


@pytest.mark.parametrize("enumerated", [False, True])
def test_rws_is_the_expected_wake_update_over_every_draw(enumerated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """E Σ_s ŵ_s ∇ log q(v_s, y | x) by summing over the 9 pairs of draws of v; p's gradient is iwae's."""
    three: Raw = {"distribution": "Categorical", "categories": 3, "supervision": "none"}
    q = {"parents": ["x"], "network": MLP}
    nodes: Raw = {"v": three | {"recognition": {**q, "estimator": "score_function"}}, "x": normal(["v"], status="full")}
    if enumerated:
        nodes["y"] = three | {"recognition": {"parents": ["x", "v"], "network": MLP, "estimator": "enumerate"}}
        nodes["x"] = normal(["v", "y"], status="full")
    model = compiled(nodes, samples=2, gradient="rws")
    for proposal in model.plan().proposals:
        assert proposal.estimator.name == ("enumerate" if proposal.node == "y" else "draw")
    monkeypatch.setattr(PlainDraw, "draw", lambda self, given: Point(pairs(given.leading)))
    row = torch.tensor([0.8])

    def pairs(leading: tuple[int, ...]) -> Tensor:
        places = torch.tensor(list(itertools.product(range(3), repeat=2))).T  # [S, 9]
        return torch.eye(3)[places].reshape(*leading, 3)

    eye = torch.eye(3)
    log_q = model.conditional("v", "recognition", {"x": row}).log_prob(eye)  # [3]
    chance = torch.stack([log_q[a] + log_q[b] for a, b in itertools.product(range(3), repeat=2)]).exp().detach()
    out = model.objective({"x": row.expand(9)})
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad((out.bound * chance).sum(), parameters, allow_unused=True)

    values = (
        {"v": eye.repeat_interleave(3, 0), "y": eye.repeat(3, 1), "x": row.expand(9)}
        if enumerated
        else {"v": eye, "x": row.expand(3)}
    )
    log_p = sum(model.conditional(n, "generative", values).log_prob(values[n]) for n in nodes)
    log_r = sum(model.conditional(n, "recognition", values).log_prob(values[n]) for n in nodes if n != "x")
    inner = log_q if not enumerated else log_q.repeat_interleave(3)
    ratio = (log_p - inner).reshape(3, -1)  # of a value of v, over those of y: what its sample adds to the mean
    wanted: Tensor = torch.zeros(())
    bound: Tensor = torch.zeros(())
    for i, (a, b) in enumerate(itertools.product(range(3), repeat=2)):
        both = torch.cat([ratio[a], ratio[b]])
        weight = torch.softmax(both, 0).detach()
        score = torch.cat([log_r.reshape(3, -1)[a], log_r.reshape(3, -1)[b]])
        wanted = wanted + chance[i] * (weight * score).sum()
        bound = bound + chance[i] * (both.logsumexp(0) - math.log(2))
    q_side = torch.autograd.grad(wanted, parameters, allow_unused=True, retain_graph=True)
    p_side = torch.autograd.grad(bound, parameters, allow_unused=True)
    for name, got, by_q, by_p in zip(names, found, q_side, p_side, strict=True):
        right = by_q if name.startswith("recognition") else by_p
        torch.testing.assert_close(got, right, msg=name)


def test_dreg_weighs_a_draw_by_the_particles_in_which_its_step_exists() -> None:
    """Steps of an unlabelled count: 60 estimates of 200 rows at 3 samples, |z| < 7 of each of some 100 numbers.

    A false alarm in 10⁶.
    """
    batch, found = {"x": torch.linspace(-2, 2, 200)}, {}
    for way in ("dreg", "total"):
        model = compiled(COUNTED, samples=3, gradient=way)
        draws = [gradients(model, batch, seed) for seed in range(60)]
        found[way] = {name: torch.stack([each[name] for each in draws]) for name in draws[0]}
    for name, one in found["dreg"].items():
        other = found["total"][name]
        error = ((one.var(0) + other.var(0)) / 60).sqrt()
        assert bool(((one.mean(0) - other.mean(0)).abs() <= 7 * error + 1e-12).all()), name


DROPPED: Raw = {"mlp": [4], "activation": "tanh", "dropout": 0.3}
NORMED: Raw = {"mlp": [4], "activation": "tanh", "norm": "batch"}


def chained(network: Raw, place: str) -> Raw:
    """z -> v -> x, in which one network is another: q of z or of v, p of x, a feature for p alone or for both."""
    q: Raw = {"z": normal([], ["x"]), "v": normal(["z"], ["z", "x"]), "x": normal(["v"], status="full")}
    spec: Raw = {"version": 1, "nodes": q, "objective": {"bound": "iwae", "samples": 4, "gradient": "dreg"}}
    if place in ("top", "below", "p"):
        node, role = {"top": ("z", "recognition"), "below": ("v", "recognition"), "p": ("x", "generative")}[place]
        q[node] = {**q[node], role: {**q[node][role], "network": network}}
    else:
        spec["features"] = {"h": {"parents": ["z"], "network": network}}
        q["x"] = normal(["v", "h"], status="full")
        if place == "both":
            q["v"] = normal(["z"], ["h", "x"])
    return spec


@pytest.mark.parametrize(("network", "layer"), [(DROPPED, "Dropout"), (NORMED, "BatchNorm1d")])
@pytest.mark.parametrize(("place", "what"), [("below", "q of v"), ("both", "the feature h")])
def test_dreg_refuses_what_would_not_give_the_same_again(network: Raw, layer: str, place: str, what: str) -> None:
    with pytest.raises(SpecError) as problem:
        sgc.load(chained(network, place))
    told = f"'dreg' computes {what}, below a draw, twice, and its {layer} gives another result the second time"
    assert [fault.message for fault in problem.value.faults] == [told]


@pytest.mark.parametrize("place", ["top", "p", "feature"])
def test_what_dreg_computes_once_may_drop_and_normalise(place: str) -> None:
    """A batch norm learns of one batch a step."""
    assert sgc.compile(sgc.load(chained(DROPPED, place))).objective({"x": torch.linspace(-1, 1, 8)}).loss.isfinite()
    model = sgc.compile(sgc.load(chained(NORMED, place)))
    model.objective({"x": torch.linspace(-1, 1, 8)})
    counts = [value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert [int(count) for count in counts] == [1]


def test_rws_trains_a_drawn_count_that_labels_restrict_as_an_enumerated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label of the first of two steps leaves 1 and 2 of the counts: with these as the two draws of a uniform q.

    Both sums then have the same particles at the same weights, so bound and gradient are the same.
    """
    found = {}
    for estimator in ("score_function", "enumerate"):
        y: Raw = {"distribution": "Bernoulli", "supervision": "partial"}
        y |= {"generative": {"parents": [], "learn": True}, "recognition": {"parents": ["x"], "network": MLP}}
        count = {**COUNT, "recognition": {**COUNT["recognition"], "estimator": estimator}}
        spec: Raw = {
            "version": 1,
            "nodes": {"k": count, "x": normal(["h", "k"], status="full")},
            "repeat": {"r": {"count": "k", "nodes": {"y": y}}},
            "features": {"h": {"parents": ["r.y"], "network": {"combine": "sum"}}},
            "objective": {"bound": "iwae", "samples": 2, "gradient": "rws", "alpha": 0.6},
        }
        torch.manual_seed(3)
        model = sgc.compile(sgc.load(spec))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith("recognition.k_.heads"):
                    parameter.zero_()

        def both(law: Any, leading: tuple[int, ...]) -> Point:  # Any: a distribution
            return Point(torch.tensor([1, 2]).reshape(2, 1).expand(leading))

        monkeypatch.setattr("sgc.runtime.execution.draw", both)
        batch = {"x": torch.tensor([0.8, -0.4, 1.5]), "r.y": torch.tensor([[1.0, math.nan]]).expand(3, 2)}
        found[estimator] = gradients(model, batch, 0)
    drawn, enumerated = found["score_function"], found["enumerate"]
    assert float(enumerated["recognition.k_.heads.bias"].abs().max()) > 0.01
    for name, wanted in enumerated.items():
        torch.testing.assert_close(drawn[name], wanted, msg=name)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (
            {"z": normal(["prev.z"], ["x", "prev.z"])},
            "'dreg' needs one weight for draws that depend on each other in q: r.z depends on that of another step, "
            "and k can leave out one of the two",
        ),
        (
            {"z": normal(["u"], ["x", "u"])},
            "'dreg' needs one weight for draws that depend on each other in q: r.z depends on u, and k can leave out "
            "one of the two",
        ),
    ],
    ids=["chain", "global"],
)
def test_dreg_refuses_draws_that_hang_on_others_which_a_count_leaves_out_alone(step: Raw, told: str) -> None:
    nodes = {**COUNTED, "u": normal([], ["x"])}
    spec = {"version": 1, "nodes": nodes, "objective": {"bound": "iwae", "samples": 4, "gradient": "dreg"}}
    with pytest.raises(SpecError) as problem:
        sgc.load({**spec, **repeated(step)})
    assert [fault.message for fault in problem.value.faults] == [told]


@pytest.mark.parametrize(
    ("nodes", "objective", "told"),
    [
        (ONE, {"gradient": "dreg", "bound": "elbo"}, "'dreg' is a gradient of the iwae bound, not of elbo"),
        (ONE, {"gradient": "rws", "bound": "elbo"}, "'rws' takes the weights of the iwae bound, not of elbo"),
        (
            {
                **ONE,
                "v": {"distribution": "Bernoulli", "supervision": "none"}
                | {"recognition": {"parents": ["x"], "network": MLP, "estimator": "score_function"}},
            },
            {"gradient": "dreg"},
            "'dreg' needs reparameterised draws, and v has the estimator score_function",
        ),
        (
            {**SEEN, "u": normal([], ["x"]), "x": normal(["z", "u"], status="full")},
            {"gradient": "dreg"},
            "'dreg' needs one weight for all draws of a sample, and z is drawn for each value of y, u is not",
        ),
        (
            {"z": ONE["z"] | {"recognition": ONE["z"]["recognition"] | {"estimator": "mean"}}, "x": ONE["x"]},
            {"gradient": "rws"},
            "forbidden beside gradient: rws, which needs draws: 'mean' gives none",
        ),
    ],
)
def test_what_a_gradient_cannot_have_is_told(nodes: Raw, objective: Raw, told: str) -> None:
    with pytest.raises(SpecError) as problem:
        sgc.load({"version": 1, "nodes": nodes, "objective": {"bound": "iwae", "samples": 4, **objective}})
    assert [fault.message for fault in problem.value.faults] == [told]
