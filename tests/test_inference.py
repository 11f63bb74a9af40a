"""What q says and what the model's posterior says, against sums by hand; few samples and broken rows are told."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from oracle import compiled
from small_runs import small
from test_posterior import Joint, Truth, discrete, patterns, row
from torch import Tensor

import sgc
from sgc.errors import RunError
from sgc.runtime.model import Model

pytestmark = [pytest.mark.usefixtures("double_precision"), pytest.mark.filterwarnings("error")]


def law_of_q(model: Model, truth: Truth, held: Joint) -> Tensor:
    """Give q's probability of every joint value given some nodes: the product of all its conditionals, normalised."""
    places = [[joint[name] for joint in truth.joints] for name in truth.supports]
    batch = {name: s[torch.tensor(p)] for (name, s), p in zip(truth.supports.items(), places, strict=True)}
    batch |= {name: torch.tensor([value] * len(truth.joints)) for name, value in truth.inputs.items()}
    with torch.no_grad():
        names = model.outline.recognition
        log = sum((model.log_prob(name, "recognition", batch) for name in names), torch.zeros(len(truth.joints)))
    fits = torch.tensor([all(joint[name] == place for name, place in held.items()) for joint in truth.joints])
    return log.masked_fill(~fits, -math.inf).softmax(0)


@pytest.mark.parametrize("from_", ["q", "posterior"])
@pytest.mark.parametrize("seed", range(1, 9))
def test_means_and_deviations_of_what_is_enumerated_are_exact_in_every_pattern(seed: int, from_: Any) -> None:
    model, truth = discrete(seed)
    for observed in patterns(model, truth, seed):
        found = model.infer(row(model, truth, observed, 2), samples=3, from_=from_)
        law = law_of_q(model, truth, observed) if from_ == "q" else truth.given(observed)[0]
        assert set(found) == set(truth.supports) - set(observed)
        for name, known in found.items():
            mean = truth.mean(name, law)
            values = truth.supports[name][[joint[name] for joint in truth.joints]]
            variance = (law.reshape(-1, *[1] * (values.dim() - 1)) * (values - mean) ** 2).sum(0)
            for i in range(2):
                torch.testing.assert_close(known.mean[i], mean, rtol=1e-9, atol=1e-10)
                torch.testing.assert_close(known.sd[i] ** 2, variance, rtol=1e-9, atol=1e-10)
            assert torch.equal(known.weights, torch.full((3, 2), 1 / 3))


def test_draws_from_q_have_its_law_given_a_label() -> None:
    # Enumerated: 4000 samples are exact draws of q given the labels; each mean within 5 standard errors, some 20
    # comparisons: a false alarm in 10^5.
    model, truth = discrete(3)
    observed = patterns(model, truth, 3)[-1]
    generator = torch.Generator().manual_seed(0)
    found = model.infer(row(model, truth, observed), samples=4000, from_="q", generator=generator)
    law = law_of_q(model, truth, observed)
    for name, known in found.items():
        mean = truth.mean(name, law)
        spread = ((mean - mean**2).clamp(min=1e-9) / 4000).sqrt()  # values are 0 or 1
        assert bool(((known.samples[:, 0].mean(0) - mean).abs() < 5 * spread + 1e-9).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_q_of_a_number_below_a_category_is_a_mixture(dtype: torch.dtype) -> None:
    model = compiled(small(), 1, 0.7).to(dtype)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = model.infer({"x": x}, samples=2, from_="q")
    y = model.conditional("y", "recognition", {"x": x}).mean
    each = [model.conditional("z", "recognition", {"x": x, "y": torch.full((5,), k)}) for k in range(3)]
    mean = sum(y[:, [k]] * each[k].mean for k in range(3))
    second = sum(y[:, [k]] * (each[k].variance + each[k].mean ** 2) for k in range(3))
    torch.testing.assert_close(found["y"].mean, y)
    torch.testing.assert_close(found["z"].mean, mean)
    torch.testing.assert_close(found["z"].sd, (second - mean**2).sqrt(), rtol=1e-4, atol=1e-5)
    assert found["z"].sd.dtype == dtype


def test_q_of_what_a_label_hangs_on_is_weighed_by_the_label() -> None:
    # q(z | x) q(y | x, z), y labelled: E_q[z | x, y] and its deviation by a sum over 4001 values of z. 40 estimates of
    # 2000 samples, 5 standard errors and the bias 1/S: 8 comparisons, a false alarm in 10^5.
    spec = small(nodes__z__shape=[])
    spec["nodes"]["y"]["recognition"]["parents"] = ["x", "z"]
    spec["nodes"]["z"]["recognition"]["parents"] = ["x"]
    model = compiled(spec, 3, 1.2)
    batch = {"x": torch.tensor([[0.3, -0.5, 1.1], [2.0, 0.1, -1.0]]), "y": torch.tensor([0, 2])}
    generator = torch.Generator().manual_seed(0)
    found = [model.infer(batch, samples=2000, from_="q", generator=generator)["z"] for _ in range(40)]
    grid = torch.linspace(-12, 12, 4001)
    for i in range(2):
        rows = {"x": batch["x"][i].expand(4001, 3), "y": batch["y"][i].expand(4001), "z": grid}
        law = sum(model.log_prob(name, "recognition", rows) for name in ("y", "z")).softmax(0)
        mean = (law * grid).sum()
        deviation = (law * (grid - mean) ** 2).sum().sqrt()
        assert abs(mean - model.conditional("z", "recognition", batch).mean[i]) > 0.05  # the label tells of z
        for wanted, estimates in (
            (mean, [each.mean[i] for each in found]),
            (deviation, [each.sd[i] for each in found]),
        ):
            estimate = torch.stack(estimates)
            assert abs(estimate.mean() - wanted) < 5 * estimate.std() / math.sqrt(40) + 10 / 2000


def test_an_angle_deviates_the_shorter_way() -> None:
    """q of an angle at the edge of the circle, its deviation against 4001 values of its density."""
    spec = small(nodes__z__distribution="VonMises", nodes__z__shape=[], nodes__z__recognition__parents=["x"])
    spec["nodes"]["z"]["recognition"] = {"parameters": {"loc": 3.1, "concentration": 4.0}}
    model = compiled(spec, 1, 0.4)
    generator = torch.Generator().manual_seed(0)
    found = model.infer({"x": torch.zeros(1, 3)}, samples=20_000, from_="q", generator=generator)["z"]
    apart = torch.linspace(-math.pi, math.pi, 4001)
    law = (4 * apart.cos()).softmax(0)
    # the variance of 20 000 squares, each below π²: 6 standard errors
    assert float(found.sd[0]) == pytest.approx(float((law * apart**2).sum().sqrt()), rel=6 * 1.2 / math.sqrt(20_000))


# ---- what is told


def test_few_effective_samples_are_told() -> None:
    model = compiled(small(), 1, 0.5)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = model.infer({"x": 3 * x}, samples=64, generator=generator)
    effective = 1 / (found["z"].weights ** 2).sum(0)
    few = int((effective < 10).sum())
    assert 1 < few < 7
    assert [str(each.message) for each in caught] == [
        f"{few} of 7 rows rest on fewer than 10 effective samples of 64 (median {effective.median():.1f}), so that the "
        "weighted posterior is known roughly; take more samples, or compare from_='q': sgc.evaluate(RUN, "
        "split='validation') measures both"
    ]
    assert caught[0].filename == __file__
    model.infer({"x": 3 * x}, samples=64, from_="q")  # nothing is weighed: no warning, which would be an error here
    effective = 1 / (model.infer({"x": x[:1]}, samples=3000)["z"].weights ** 2).sum(0)  # nor of enough
    assert effective > 10


@pytest.mark.parametrize("discrete_node", [True, False])
@pytest.mark.parametrize("validate", [True, False])
def test_a_row_without_finite_scores_is_told_and_spoils_no_other(
    discrete_node: bool, validate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", validate)
    spec = small()
    if not discrete_node:
        del spec["nodes"]["y"]
        for name, key in (("x", "generative"), ("z", "recognition")):
            spec["nodes"][name][key]["parents"].remove("y")
    model = compiled(spec, 1, 0.2).float()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).float()
    x[2] = 1e25
    reason = f"node '{'z' if discrete_node else 'x'}': log p is not finite"  # what comes first
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = model.infer({"x": x}, samples=2000, generator=torch.Generator().manual_seed(0))
    assert [str(each.message) for each in caught] == [f"no answer for rows without finite scores: row 2: {reason}"]
    for known in found.values():
        for each in (known.mean, known.sd, known.samples.transpose(0, 1), known.weights.T):
            assert each[2].isnan().all()
            assert each[[0, 1, 3, 4]].isfinite().all()
    with pytest.raises(RunError, match=r"^no row has finite scores: row 0: node '[xz]': log p is not finite$"):
        model.infer({"x": x[2:3]})


def test_what_q_is_asked_for_by() -> None:
    model = sgc.compile(sgc.load(small()))
    with pytest.raises(ValueError, match="from_ is 'Q', wanted 'posterior' or 'q'"):
        model.infer({"x": torch.zeros(2, 3)}, from_="Q")  # type: ignore[arg-type]


def test_filled_in_values_have_the_deviation_of_their_law() -> None:
    """A leaf that drops what is missing: p(x | y) mixed by q, and by the posterior, over the categories of y."""
    spec = small(nodes__x__shape=[2], nodes__x__supervision="partial", nodes__x__missing="drop")
    del spec["nodes"]["z"]
    spec["nodes"]["x"]["generative"]["parents"] = ["y"]
    model = compiled(spec, 1, 0.8)
    x = torch.tensor([[0.4, math.nan], [math.nan, math.nan]])
    each = model.conditional("x", "generative", {"y": torch.eye(3)})
    prior = torch.tensor([1 / 3] * 3)
    parts = [torch.distributions.Normal(each.mean[k, 0], each.stddev[k, 0]).log_prob(x[0, 0]) for k in range(3)]
    by_p = torch.stack([(prior.log() + torch.stack(parts)).softmax(0), prior])
    for from_, laws in (("posterior", by_p), ("q", model.infer({"x": x}, from_="q")["y"].mean)):
        found = model.infer({"x": x}, samples=3, from_=from_)["x"]  # type: ignore[arg-type]
        mean = laws @ each.mean
        deviation = (laws @ (each.variance + each.mean**2) - mean**2).sqrt()
        torch.testing.assert_close(found.mean[:, 1], mean[:, 1])
        torch.testing.assert_close(found.sd[:, 1], deviation[:, 1])
        assert (found.mean[0, 0], found.sd[0, 0]) == (0.4, 0)
