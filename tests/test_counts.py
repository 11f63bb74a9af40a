"""Counts in specs: the model of scVI beside its density by hand, zeros, library sizes, and what rows must be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sgc
from sgc.distributions.families import FORMS
from sgc.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["nodes.counts.shape=[4]", "features.profile.network={layers: [{Linear: 4}, Softmax]}"]
Raw = dict[str, Any]  # Any: plain data


def cells(rows: int = 6) -> Raw:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1.0, 6.0, (rows, 4)))
    counts[:, 0] += 1  # a cell without reads is refused
    return {"counts": counts, "library": counts.sum(1), "batch": np.array(["a", "b"])[np.arange(rows) % 2]}


def log_zinb(x: Tensor, mu: Tensor, theta: Tensor, pi: Tensor) -> Tensor:
    """Score counts as Lopez et al. 2018 write it, without its ε; pi: the logits of a further zero."""
    total = (theta + mu).log()
    log_nb = x * (mu.log() - total) + theta * (theta.log() - total)
    log_nb = log_nb + (x + theta).lgamma() - theta.lgamma() - (x + 1).lgamma()
    zero = (pi.sigmoid() + (-pi).sigmoid() * log_nb.exp()).log()
    return torch.where(x == 0, zero, -torch.nn.functional.softplus(pi) + log_nb)


def test_scvi_scores_counts_as_its_authors_do() -> None:
    """The mean is the library size times a softmax, the same cell in a larger library a multiple of it."""
    rows = cells()
    model = sgc.compile(sgc.load(ROOT / "specs" / "scvi.yaml", overrides=SMALL)).double().eval()
    given = {**rows, "z": torch.randn(6, 10, dtype=torch.float64)}
    parts = model.conditional("counts", "generative", given).base_dist
    x = torch.from_numpy(rows["counts"]).double()
    wanted = log_zinb(x, parts.base.mean, parts.base.inverse_dispersion, parts.gate_logits).sum(1)
    torch.testing.assert_close(model.log_prob("counts", "generative", given), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts.base.mean.sum(1), torch.from_numpy(rows["library"]).double())
    larger = model.conditional("counts", "generative", {**given, "library": 3 * rows["library"]}).base_dist
    torch.testing.assert_close(larger.base.mean, 3 * parts.base.mean)


@pytest.mark.parametrize("name", ["scvi", "scanvi"])
def test_specs_of_cells_learn_and_draw(name: str, tmp_path: Path) -> None:
    short = ["train.epochs=2", "train.batch_size=8"]
    spec = sgc.load(ROOT / "specs" / f"{name}.yaml", overrides=[*SMALL, *short])
    rows = cells(24)
    labels = {"type": np.array(["B", "NK", "T", "", "", ""] * 4)} if name == "scanvi" else {}
    run = sgc.train(spec, data={**rows, **labels}, output=tmp_path / "run")
    model = sgc.open(run.folder)
    drawn = model.generate(3, given={"batch": "b", "library": 500.0})["counts"]
    assert drawn.shape == (3, 4)
    assert bool((drawn == drawn.round()).all())
    with pytest.raises(ValueError, match=r"'library': found -1 in row 0, wanted a number above 0"):
        model.objective({**rows, "library": np.full(24, -1.0)})


def test_a_library_size_of_a_column_is_the_sum_of_its_counts(tmp_path: Path) -> None:
    rows = cells()
    np.savez(tmp_path / "cells.npz", counts=rows["counts"], batch=rows["batch"])
    columns = {"counts": {"column": "counts"}, "batch": {"column": "batch"}}
    spec: Raw = {
        "version": 1,
        "data": {"source": "npz", "file": str(tmp_path / "cells.npz"), "columns": columns},
        "inputs": {"batch": {"values": ["a", "b"]}, "library": {"support": "positive"}, "depth": {}},
        "nodes": {
            "counts": {
                "distribution": {"NegativeBinomial": {"by": "mean"}},
                "shape": [4],
                "supervision": "full",
                "generative": {"parents": ["depth"], "network": {"mlp": []}, "parameters": {"mean": "library"}},
            }
        },
    }
    columns["library"] = {"column": "counts", "transforms": ["sum"]}
    columns["depth"] = {"column": "counts", "transforms": ["sum", "log1p"]}
    run = sgc.train(sgc.load(spec, overrides=["train.epochs=1"]), output=tmp_path / "run")
    found = sgc.open(run.folder).encode(dict.fromkeys(("counts", "library", "depth"), rows["counts"]) | rows)
    assert found["library"].tolist() == rows["counts"].sum(1).tolist()
    assert found["depth"].tolist() == pytest.approx(np.log1p(rows["counts"].sum(1)))
    rows["counts"][2] = 0
    np.savez(tmp_path / "cells.npz", counts=rows["counts"], batch=rows["batch"])
    with pytest.raises(DataError, match=r"row 2.*found 0, wanted a number above 0"):
        sgc.train(sgc.load(spec), output=tmp_path / "other")


def test_a_negative_binomial_is_one_by_either_form() -> None:
    """scipy's, from counts that are nearly always 0 to a hundred thousand, from a Poisson to a heavy tail."""
    stats = pytest.importorskip("scipy.stats")
    form = FORMS["NegativeBinomial by mean"]
    for mean in (1e-8, 1e-3, 0.7, 40.0, 1e5):
        for theta in (1e-4, 0.1, 3.0, 1e4):
            k = torch.tensor([0.0, 1.0, 7.0, round(mean), round(3 * mean) + 1.0])
            right = stats.nbinom.logpmf(k.numpy(), theta, theta / (theta + mean))
            for given in ({"inverse_dispersion": theta}, {"dispersion": 1 / theta}):
                parameters = {name: torch.tensor(value) for name, value in {"mean": mean, **given}.items()}
                member = form.distribution(parameters, ())
                assert form.log_prob(member, k).tolist() == pytest.approx(right, rel=2e-5, abs=2e-5)
                assert form.variance(member).item() == pytest.approx(mean + mean**2 / theta, rel=1e-4)


def test_zeros_of_a_total_by_row_are_summed_over() -> None:
    """A latent zero-inflated Binomial of each row's own total is no finite family; of one total it is enumerated."""
    inflated = FORMS["ZeroInflated Binomial"]
    gate, logits = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    values = inflated.enumerate((), torch.float64, "cpu")
    mass = inflated.log_prob(inflated.distribution({"logits": logits, "gate": gate}, ()), values).exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-12)
    p = 1 / (1 + math.exp(-0.4))
    assert mass[0].item() == pytest.approx(0.3 + 0.7 * (1 - p) ** 4, abs=1e-12)
    spec: Raw = {
        "version": 1,
        "inputs": {"patients": {}},
        "nodes": {
            "ill": {
                "distribution": {"ZeroInflated": {"of": {"Binomial": {"total_count": "patients"}}}},
                "supervision": "full",
                "generative": {"parameters": {"logits": 0.4, "gate": 0.3}},
            }
        },
    }
    model = sgc.compile(sgc.load(spec)).double()
    bound = model.objective({"ill": np.array([0, 4, 2]), "patients": np.array([4, 4, 9])}).bound.exp()
    assert bound.tolist() == pytest.approx([mass[0].item(), mass[4].item(), 0.7 * 36 * p**2 * (1 - p) ** 7], rel=1e-6)
    with pytest.raises(ValueError, match=r"'ill': found 5 in row 0, wanted at most 4"):
        model.objective({"ill": np.array([5]), "patients": np.array([4])})
