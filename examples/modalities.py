"""Compare ways to make q of two modalities of which either may be missing: one network, and experts.

    python examples/modalities.py

Pictures of digits (scikit-learn's, black or white) and which digit each shows are two modalities of 1,797 rows. Of the
training rows a third lack the picture, a third the digit. The models differ in q alone: one network that reads zeros
and flags for what is missing, a product of experts, a mixture of them, and a mixture of their products. It prints, for
the test rows, mean ± standard deviation over seeds, which draw the split, what is missing and the weights:

    both, picture, digit   log p of both modalities, of either alone, in nats, from below by 200 samples
    q, posterior           the error of the digit given the picture alone, by q and by the weighted posterior, in %
    coherence              how many of the pictures that a digit alone calls for show it, says a classifier, in %
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import sgc
from sgc.runtime.model import Model

NETWORK: dict[str, Any] = {"mlp": [128]}
EXPERTS = {"image": {"network": NETWORK}, "digit": {"network": NETWORK}}
WAYS: dict[str, dict[str, Any]] = {
    "one network": {"parents": ["image", "digit"], "network": NETWORK},
    "product": {"experts": EXPERTS},
    "mixture": {"experts": EXPERTS, "combine": "mixture"},
    "mixture of products": {"experts": EXPERTS, "combine": "mixture_of_products"},
}
MEASURES = ("both", "picture", "digit", "q", "posterior", "coherence")
SAMPLES = 200  # of a bound, and of a posterior
CALLED_FOR = 100  # pictures of each digit


def spec_of(recognition: dict[str, Any], seed: int, epochs: int) -> dict[str, Any]:
    """Write the spec with one q."""
    part = {"supervision": "partial", "missing": "drop", "generative": {"parents": ["z"], "network": NETWORK}}
    return {
        "version": 1,
        "name": "modalities",
        "nodes": {
            "image": {"distribution": "Bernoulli", "shape": [64], **part},
            "digit": {"distribution": "Categorical", "categories": 10, **part},
            "z": {"distribution": "Normal", "shape": [8], "supervision": "none", "recognition": recognition},
        },
        "train": {"epochs": epochs, "batch_size": 50, "optimizer": {"name": "Adam", "lr": 0.003}, "seed": seed},
    }


def rows_of(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], SVC]:
    """Give rows to train on, some with a modality missing, rows to test on, and a classifier of pictures."""
    pictures, digits = load_digits(return_X_y=True)
    ink = (pictures > 7).astype(float)
    train, test = train_test_split(np.arange(len(ink)), test_size=500, stratify=digits, random_state=seed)
    classifier = SVC().fit(ink[train], digits[train])
    known: dict[str, np.ndarray] = {"image": ink[train].copy(), "digit": digits[train].astype(float)}
    gone = np.random.default_rng(seed).integers(3, size=len(train))
    known["image"][gone == 0], known["digit"][gone == 1] = np.nan, np.nan
    return known, {"image": ink[test], "digit": digits[test]}, classifier


def log_p(model: Model, rows: dict[str, torch.Tensor]) -> float:
    """Bound log p of some rows from below by importance samples, in nats a row."""
    with torch.no_grad():
        return float(model.objective(rows, samples=SAMPLES).bound.mean())


def measured(model: Model, scored: Model, rows: dict[str, np.ndarray], classifier: SVC) -> list[float]:
    """Measure a model on test rows. scored: the same, with the bound of importance samples."""
    image, digit = torch.from_numpy(rows["image"]).float(), torch.from_numpy(rows["digit"])
    no_image, no_digit = torch.full_like(image, torch.nan), torch.full_like(digit, -1)
    found = [log_p(scored, {"image": image, "digit": digit})]
    found += [log_p(scored, {"image": image, "digit": no_digit}), log_p(scored, {"image": no_image, "digit": digit})]
    for answer in ("q", "posterior"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that rest on few samples: that is what is measured
            inferred = model.infer({"image": image, "digit": no_digit}, samples=SAMPLES, from_=answer)
        digits = inferred["digit"].mean
        found.append(100 * float((digits.argmax(-1) != digit).float().mean()))
    asked = torch.arange(10).repeat_interleave(CALLED_FOR)
    z = model.conditional(
        "z", "recognition", {"digit": asked, "image": torch.full((len(asked), 64), torch.nan)}
    ).sample()
    drawn = model.conditional("image", "generative", {"z": z}).mean
    shown = classifier.predict((drawn > 0.5).numpy())
    return [*found, 100 * float((shown == asked.numpy()).mean())]


def run(way: str, seed: int, epochs: int, folder: Path) -> list[float]:
    """Train one way once, and measure it."""
    known, unseen, classifier = rows_of(seed)
    spec = spec_of(WAYS[way], seed, epochs)
    sgc.train(spec, known, output=folder / f"{way}-{seed}")
    model = sgc.open(folder / f"{way}-{seed}")
    scored = sgc.compile({**spec, "objective": {"bound": "iwae"}})
    scored.load_state_dict(model.state_dict())
    torch.manual_seed(seed)
    return measured(model.eval(), scored.eval(), unseen, classifier)


def main() -> None:
    """Train each way with each seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many seeds, from 0 (3)")
    parser.add_argument(
        "--epochs", type=int, default=400, help="epochs, of which the best on validation rows counts (400)"
    )
    chosen = parser.parse_args()
    print(f"{'q':<20}", *(f"{word:>16}" for word in MEASURES))
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            of_seeds = np.array([run(way, seed, chosen.epochs, Path(folder)) for seed in range(chosen.seeds)])
            spread = of_seeds.std(0, ddof=1) if chosen.seeds > 1 else np.zeros(len(MEASURES))
            cells = (f"{mean:.2f} ± {sd:.2f}" for mean, sd in zip(of_seeds.mean(0), spread, strict=True))
            print(f"{way:<20}", *(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
