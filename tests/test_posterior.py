"""The posterior, new rows and log p(x), against every joint value summed by hand."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from oracle import compiled, random_spec
from small_runs import changed, small
from torch import Tensor

import sgc
from sgc.data.dataset import Rows
from sgc.evaluation.measurement import evaluate
from sgc.objectives.plain_draw import PlainDraw
from sgc.runtime.batch import prepare
from sgc.runtime.model import Model
from sgc.runtime.streams import TensorRows
from sgc.spec.resolver import outline

Raw = dict[str, Any]  # Any: a spec as plain data
Joint = dict[str, int]  # a place in the support of every node


pytestmark = pytest.mark.usefixtures("double_precision")


class Truth:
    """The joint distribution of a discrete model, from its conditionals at given values alone."""

    def __init__(self, model: Model, inputs: Raw) -> None:
        self.model, self.inputs = model, inputs
        self.supports: dict[str, Tensor] = {
            name: each.family.enumerate(each.event, torch.float64, torch.device("cpu"))
            for name, each in model.outline.variables.items()
        }
        places = [range(len(support)) for support in self.supports.values()]
        self.joints = [dict(zip(self.supports, places, strict=True)) for places in itertools.product(*places)]
        batch = {name: support[[j[name] for j in self.joints]] for name, support in self.supports.items()}
        batch |= {name: torch.tensor([value] * len(self.joints)) for name, value in inputs.items()}
        with torch.no_grad():
            self.log = sum((model.log_prob(name, "generative", batch) for name in self.supports), torch.zeros(()))

    def given(self, held: Joint) -> tuple[Tensor, float]:
        """Give the probability of every joint value given some nodes, and log p of those."""
        fits = torch.tensor([all(joint[name] == place for name, place in held.items()) for joint in self.joints])
        log = self.log.masked_fill(~fits, -math.inf)
        return log.softmax(0), float(log.logsumexp(0))

    def mean(self, name: str, probabilities: Tensor) -> Tensor:
        values = self.supports[name][[joint[name] for joint in self.joints]]
        return (probabilities.reshape(-1, *[1] * (values.dim() - 1)) * values).sum(0)


def discrete(seed: int, spread: float = 1.5) -> tuple[Model, Truth]:
    """Draw a random model of discrete nodes, all of them enumerated, with parameters from N(0, spread²)."""
    spec = random_spec(random.Random(seed), 60)
    for node in spec["nodes"].values():
        if "recognition" in node:
            node["recognition"]["estimator"] = "enumerate"
    model = compiled(spec, seed, spread)
    return model, Truth(model, {name: [0.7, -0.4] for name in spec.get("inputs", {})})


def row(model: Model, truth: Truth, observed: Joint, count: int = 1) -> dict[str, Tensor]:
    """Lay the observed nodes of one row out as a batch of so many."""
    batch = {
        name: truth.supports[name][place].expand(count, *truth.supports[name].shape[1:])
        for name, place in observed.items()
    }
    return batch | {name: torch.tensor([value] * count) for name, value in truth.inputs.items()}


def patterns(model: Model, truth: Truth, seed: int) -> list[Joint]:
    """Draw a joint value, and give what each observation pattern shows of it."""
    values = random.Random(seed).choice(truth.joints)
    variables = model.outline.variables
    full = [n for n, v in variables.items() if v.supervision == "full"]
    partial = [n for n, v in variables.items() if v.supervision == "partial"]
    shown = itertools.chain.from_iterable(itertools.combinations(partial, n) for n in range(len(partial) + 1))
    found = [{name: values[name] for name in [*full, *names]} for names in shown]
    return [each for each in found if each]


# ---- infer


@pytest.mark.parametrize("seed", range(12))
def test_the_mean_of_an_enumerated_posterior_is_exact_in_every_pattern(seed: int) -> None:
    model, truth = discrete(seed)
    for observed in patterns(model, truth, seed):
        found = model.infer(row(model, truth, observed, 2), samples=3)
        probabilities, _ = truth.given(observed)
        assert set(found) == set(truth.supports) - set(observed)
        for name, posterior in found.items():
            wanted = truth.mean(name, probabilities)
            for each in posterior.mean:
                assert torch.allclose(each, wanted, atol=1e-10)
            assert torch.allclose(posterior.weights.sum(0), torch.ones(2))
            assert posterior.samples.shape == (3, 2, *truth.supports[name].shape[1:])


@pytest.mark.parametrize("seed", range(4))
def test_weighted_samples_estimate_the_mean(seed: int) -> None:
    # Enumerated: weights are alike and samples are exact draws of the posterior. 4000 samples, each mean within 5
    # standard errors, some 30 comparisons a model: a false alarm in 10^4.
    model, truth = discrete(seed)
    observed = patterns(model, truth, seed)[0]
    samples = 4000
    found = model.infer(row(model, truth, observed), samples=samples, generator=torch.Generator().manual_seed(seed))
    probabilities, _ = truth.given(observed)
    for name, posterior in found.items():
        weights = posterior.weights.reshape(samples, 1, *[1] * (posterior.mean.dim() - 1))
        estimate = (weights * posterior.samples).sum(0)[0]
        mean = truth.mean(name, probabilities)
        spread = ((mean - mean**2).clamp(min=1e-9) / samples).sqrt()  # values are 0 or 1
        assert bool(((estimate - mean).abs() < 5 * spread + 1e-9).all())


def drawn(model: Model) -> Model:
    """Compile the model again with nothing enumerated: its proposals are draws, and have to be weighed."""
    for name in model.outline.variables:
        model.exact_graphs = model.exact_graphs.with_estimators({name: PlainDraw()})
    model._plans.clear()
    return model


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_posterior_is_weighed_by_the_model_and_not_by_q(seed: int) -> None:
    # Self-normalised importance sampling of S = 20 000 draws: its standard error is sqrt(Σ ŵ² (f − mean)²), which is
    # asymptotically normal. 5 of them and the bias of 1/S: a false alarm in 10^4 for some 30 comparisons.
    model, truth = discrete(seed, 0.5)  # far spread, a few draws would carry all the weight
    observed = patterns(model, truth, seed)[0]
    samples = 20_000
    generator = torch.Generator().manual_seed(seed)
    found = drawn(model).infer(row(model, truth, observed), samples=samples, generator=generator)
    probabilities, _ = truth.given(observed)
    for name, posterior in found.items():
        weights = posterior.weights.reshape(samples, 1, *[1] * (posterior.mean.dim() - 1))
        assert torch.allclose(weights.sum(0), torch.ones(()))
        estimate = (weights * posterior.samples).sum(0)[0]
        assert torch.allclose(estimate, posterior.mean[0], atol=1e-9)
        mean = truth.mean(name, probabilities)
        error = (weights**2 * (posterior.samples - mean) ** 2).sum(0)[0].sqrt()
        assert bool(((estimate - mean).abs() < 5 * error + 20 / samples).all())


@pytest.mark.parametrize("chain", [False, True])
def test_categories_beside_a_drawn_number_have_the_posterior_of_quadrature(chain: bool) -> None:
    # p(y | x) and E[z | x] by a sum over 2001 values of z. 40 estimates of 1000 samples each, 5 standard errors and the
    # bias of a self-normalised mean, of the order 1/S: a false alarm in 10^5.
    spec = small(
        nodes__z__shape=[], nodes__z__recognition__parameters={"scale": 2}
    )  # wider than p, so weights are bounded
    if chain:  # y is enumerated below a draw of z
        spec["nodes"]["y"]["recognition"]["parents"] = ["x", "z"]
        spec["nodes"]["z"]["recognition"]["parents"] = ["x"]
    model = compiled(spec, 1, 0.4)
    x = torch.tensor([[0.3, -0.5, 1.1], [2.0, 0.1, -1.0]])
    grid = torch.linspace(-10, 10, 2001)
    log = torch.empty(2, 3, 2001)
    for i, k in itertools.product(range(2), range(3)):
        batch = {"x": x[i].expand(2001, 3), "y": torch.full((2001,), k), "z": grid}
        log[i, k] = sum(model.log_prob(name, "generative", batch) for name in ("x", "y", "z")).detach()  # type: ignore[union-attr]
    posterior = log.flatten(1).softmax(1).reshape(2, 3, 2001)
    generator = torch.Generator().manual_seed(0)
    found = [model.infer({"x": x}, samples=1000, generator=generator) for _ in range(40)]
    wanted = {"y": posterior.sum(2), "z": (posterior.sum(1) * grid).sum(1)}
    for name, truth in wanted.items():
        means = torch.stack([each[name].mean for each in found])
        weighted = [
            (each[name].weights.reshape(1000, 2, *[1] * (truth.dim() - 1)) * each[name].samples).sum(0)
            for each in found
        ]
        for estimate in (means, torch.stack(weighted)):
            error = estimate.std(0) / math.sqrt(40)
            assert bool(((estimate.mean(0) - truth).abs() < 5 * error + 10 / 1000).all())
    logs = torch.stack(
        [model.objective({"x": x}, samples=1000, bound="iwae", generator=generator).bound for _ in range(40)]
    )
    exact = log.flatten(1).logsumexp(1) + math.log(20 / 2000)
    assert bool(((logs.mean(0) - exact).abs() < 5 * logs.std(0) / math.sqrt(40) + 10 / 1000).all())


def test_rows_of_mixed_patterns_are_as_each_alone_and_observed_values_come_back() -> None:
    model, truth = discrete(3)
    partial = [n for n, v in model.outline.variables.items() if v.supervision == "partial"]
    shown = patterns(model, truth, 3)
    values = shown[-1]
    rows = []
    for observed in shown:
        batch = row(model, truth, {**values, **observed})
        for name in partial:
            if name not in observed:
                batch[name] = torch.full_like(batch[name], math.nan)
        rows.append(batch)
    joined = {name: torch.cat([each[name] for each in rows]) for name in rows[0]}
    found = model.infer(joined, samples=4)
    assert set(partial) <= set(found)
    for i, observed in enumerate(shown):
        alone = model.infer(row(model, truth, observed), samples=4)
        for name, posterior in found.items():
            if name in observed:
                value = truth.supports[name][observed[name]]
                assert torch.equal(posterior.mean[i], value)
                assert torch.equal(posterior.samples[:, i], value.expand(4, *value.shape))
            else:
                assert torch.allclose(posterior.mean[i], alone[name].mean[0], atol=1e-10)


# ---- generate


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hold", [False, True])
def test_ancestral_draws_have_the_frequencies_of_the_model(seed: int, hold: bool) -> None:
    # 4000 rows; the count of each joint value with an expectation above 5, the rest pooled: chi-square at the Wilson-
    # Hilferty bound of 4.5 standard deviations, a false alarm in 10^5.
    model, truth = discrete(seed)
    roots = [
        n for n in truth.supports if not model.outline.graphs.ancestors([n], "generative") & set(truth.supports) - {n}
    ]
    held = {roots[0]: 1} if hold and roots else {}
    given: Raw = {name: truth.supports[name][place] for name, place in held.items()}
    given |= {name: torch.tensor(value) for name, value in truth.inputs.items()}
    count = 4000
    drawn = model.generate(count, given, generator=torch.Generator().manual_seed(seed))
    places = np.zeros(count, dtype=int)
    for name, support in truth.supports.items():
        value = drawn[name]
        if model.outline.variables[name].categories is not None:
            value = torch.nn.functional.one_hot(value, support.shape[-1]).double()
        same = (value.reshape(count, 1, -1) == support.reshape(1, len(support), -1)).all(2)
        assert bool(same.any(1).all())
        places = places * len(support) + same.double().argmax(1).numpy()
    wanted = truth.given(held)[0].numpy() * count  # a root held is a root observed
    counts = np.bincount(places, minlength=len(truth.joints))
    common = wanted > 5
    expected = np.append(wanted[common], wanted[~common].sum() + 1e-12)
    found = np.append(counts[common], counts[~common].sum())
    expected, found = expected[expected > 1e-6], found[: len(expected)][expected > 1e-6]
    degrees = max(1, len(expected) - 1)
    statistic = float(((found - expected) ** 2 / expected).sum())
    assert statistic < degrees * (1 - 2 / (9 * degrees) + 4.5 * math.sqrt(2 / (9 * degrees))) ** 3


def test_held_nodes_stay_as_they_are_in_every_form() -> None:
    spec = small(nodes__y__categories=None, nodes__y__values=["cat", "dog", True])
    model = sgc.compile(sgc.load(spec))
    assert model.generate(5, {"y": "dog"})["y"].tolist() == [1] * 5
    assert model.generate(5, {"y": True})["y"].tolist() == [2] * 5
    assert model.generate(3, {"y": torch.tensor([2, 0, 1])})["y"].tolist() == [2, 0, 1]
    assert model.generate(2, {"z": [0.5, -1]})["z"].tolist() == [[0.5, -1.0]] * 2
    assert model.generate(2, {"z": 0.5})["z"].tolist() == [[0.5, 0.5]] * 2
    assert torch.equal(model.generate(2, {"x": torch.ones(2, 3)})["x"], torch.ones(2, 3))
    means = model.generate(50, {"y": "cat", "z": [0.0, 0.0]}, means=["x", "y"])
    assert torch.equal(means["x"], means["x"][:1].expand(50, 3))  # a mean has no noise of its own


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": "cow"}, "'y' has no category 'cow'; it has cat, dog, eel"),
        ({"y": 1.5}, "'y' has no category '1.5'; it has cat, dog, eel"),
        ({"y": torch.tensor([3])}, "'y' has category 3"),
        ({"z": [1.0, 2.0, 3.0]}, "'z' got shape"),
        ({"z": "much"}, "'z' is held at 'much', wanted numbers"),
        ({"z": None}, "'z' is held at 'None', wanted numbers"),
        ({"z": float("nan")}, "'z' is held at a missing value in row 0"),
        ({"v": 1}, "no node or input named 'v'"),
        ({}, "the input 'u' must be given"),
    ],
)
def test_what_cannot_be_held_is_told_by_name(given: Raw, words: str) -> None:
    spec = small(nodes__y__categories=None, nodes__y__values=["cat", "dog", "eel"], inputs={"u": {"shape": [2]}})
    spec["nodes"]["x"]["generative"]["parents"] = ["y", "z", "u"]
    model = sgc.compile(sgc.load(spec))
    held = {"u": [0.0, 1.0], **given} if given else {}
    with pytest.raises((ValueError, KeyError)) as told:
        model.generate(1, held)
    assert words in str(told.value.args[0])


def test_categories_of_an_input_are_held_by_name() -> None:
    spec = small(inputs={"u": {"values": ["left", "right"]}})
    spec["nodes"]["x"]["generative"]["parents"] = ["y", "z", "u"]
    found = sgc.compile(sgc.load(spec)).generate(3, {"u": "right"})
    assert found["u"].tolist() == [1, 1, 1]


# ---- log p(x)


def measured(model: Model, truth: Truth, rows: list[Joint], samples: int) -> Any:
    """Evaluate a model on fully observed rows of its partial and full nodes."""
    variables = model.outline.variables
    values: dict[str, np.ndarray] = {}
    for name, variable in variables.items():
        if variable.supervision == "none":
            continue
        whole = torch.stack([truth.supports[name][each[name]] for each in rows])
        values[name] = (whole.argmax(-1) if variable.categories is not None else whole).numpy()
    values |= {name: np.array([value] * len(rows)) for name, value in truth.inputs.items()}
    table = TensorRows(Rows(values, np.arange(len(rows))), model.outline, torch.zeros(()))
    return evaluate(model, table, samples, 0)


@pytest.mark.parametrize("seed", range(8))
def test_log_p_of_an_enumerated_model_is_exact_and_not_below_the_elbo(seed: int) -> None:
    model, truth = discrete(seed)
    full = [n for n, v in model.outline.variables.items() if v.supervision == "full"]
    rows = random.Random(seed).choices(truth.joints, k=7)
    found = measured(model, truth, rows, 3)
    wanted = np.mean([truth.given({name: each[name] for name in full})[1] if full else 0.0 for each in rows])
    assert found.bounds.log_evidence == pytest.approx(wanted, abs=1e-9)
    assert found.bounds.elbo <= wanted + 1e-9
    assert (found.samples, found.bounds.effective_samples) == (3, pytest.approx(3))  # nothing is drawn: all weigh alike


def test_log_p_of_draws_comes_from_below_and_up_to_the_truth() -> None:
    # 300 copies of a row at S draws each: E log p̂ is at most log p, and p̂ itself has the mean p. 4.5 standard errors,
    # a false alarm in 10^5.
    model, truth = discrete(5, 0.5)
    observed = patterns(model, truth, 5)[0]
    exact = truth.given(observed)[1]
    model = drawn(model)
    logs = {}
    for samples in (1, 10, 200):
        (sums,) = model.sums(
            prepare(model.outline, row(model, truth, observed, 300), model.like)[0],
            samples=samples,
            exact=True,
            bound="iwae",
        )
        logs[samples] = sums.value().detach()
        ratio = (logs[samples] - exact).exp()
        assert abs(float(ratio.mean()) - 1) < 4.5 * float(ratio.std()) / math.sqrt(300) + 1e-9
    assert float(logs[1].mean()) <= float(logs[10].mean()) + 0.05 <= float(logs[200].mean()) + 0.1
    assert float(logs[200].mean()) == pytest.approx(exact, abs=0.1)


def test_errors_count_what_they_say() -> None:
    spec = changed(small(), nodes__y__recognition__parents=["x"])
    model = sgc.compile(sgc.load(spec)).eval()
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3)), draw.integers(0, 3, 40)
    y[30:] = -1  # no label: they do not count
    table = TensorRows(Rows({"x": x, "y": y}, np.arange(40)), outline(sgc.load(spec)), torch.zeros(()))
    found = evaluate(model, table, 50, 0)
    probabilities = model.conditional("y", "recognition", {"x": x}).mean.detach()
    wrong = probabilities.argmax(-1).numpy()[:30] != y[:30]
    assert found.from_q["y"].value == pytest.approx(wrong.mean())
    assert found.from_q["y"].rows == 30
    assert found.from_q["y"].standard_error == pytest.approx(wrong.std(ddof=1) / math.sqrt(30))
    guess = model.infer({"x": x}, samples=5000, generator=torch.Generator().manual_seed(0))["y"].mean
    sure = guess.topk(2).values.diff().abs()[:30, 0] > 0.1  # where noise decides nothing
    assert abs(found.from_posterior["y"].value - (guess.argmax(-1).numpy()[:30] != y[:30]).mean()) <= float(
        (~sure).double().mean()
    )
    other = sgc.compile(sgc.load({**spec, "evaluate": {"metrics": {"y": "mae"}}})).eval()
    other.load_state_dict(model.state_dict())
    mae = evaluate(other, table, 5, 0).from_q["y"]
    truth = torch.nn.functional.one_hot(torch.from_numpy(y[:30]), 3)
    assert mae.value == pytest.approx(float((probabilities[:30] - truth).abs().mean()))


def test_inference_and_sampling_leave_a_model_in_training_as_it_was() -> None:
    """Neither dropout nor the batch's own statistics enter, and running means do not move."""
    spec = {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "shape": [4],
                "supervision": "full",
                "generative": {"parents": ["z"], "network": {"mlp": [5], "norm": "batch", "dropout": 0.5}},
            },
            "z": {
                "distribution": "Normal",
                "supervision": "none",
                "recognition": {"parents": ["x"], "network": {"mlp": [5], "norm": "batch"}},
            },
        },
    }
    model = sgc.compile(spec).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.infer({"x": torch.ones(3, 4)}, samples=4)
    model.generate(3)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("values", "given", "place"),
    [(["a", "b", "c"], "b", 1), (["a", "b", "c"], 2, 2), ([3, 5, 7], 5, 1), ([2, 0, 1], 0, 1)],
)
def test_a_category_is_held_by_its_name_in_the_spec(values: list[object], given: object, place: int) -> None:
    node = {"distribution": "Categorical", "values": values, "supervision": "partial", "recognition": {}}
    drawn = sgc.compile({"version": 1, "nodes": {"y": node}}).generate(4, given={"y": given})
    assert drawn["y"].tolist() == [place] * 4


def test_counts_below_one_are_refused_in_words() -> None:
    node = {"distribution": "Bernoulli", "supervision": "partial", "recognition": {}}
    model = sgc.compile({"version": 1, "nodes": {"y": node}})
    with pytest.raises(ValueError, match="count is 0, wanted at least 1"):
        model.generate(0)
    with pytest.raises(ValueError, match="samples is 0, wanted at least 1"):
        model.objective({"y": torch.ones(2)}, samples=0)
