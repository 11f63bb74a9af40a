"""Train a semi-supervised model on arrays, from Python: scikit-learn's digits with 30 labels.

Run it with `.venv/bin/python examples/train_on_arrays.py [FOLDER]`; it takes about a minute.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

import sgc

SPEC = {
    "version": 1,
    "name": "digits-from-arrays",
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [64],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [128, 128]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 10,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [128]}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [6],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [128]}},
        },
    },
    "objective": {"bound": "elbo", "alpha": 30, "supervision_rate": 0.25},
    "train": {"epochs": 60, "batch_size": {"unlabelled": 100, "labelled": 30}},
}


def main(folder: Path) -> None:
    """Hide most labels, train, and print what the model makes of rows it has not seen."""
    digits = load_digits()
    images = (digits.data / 16).astype("float32")
    train, test = slice(0, 1400), slice(1400, None)

    labels = np.full(1400, -1)  # -1: no label in this row
    for digit in range(10):
        labels[np.flatnonzero(digits.target[train] == digit)[:3]] = digit

    spec = sgc.load(SPEC)
    print(sgc.compile(spec).plan({"y"}))  # the derivation for the rows whose y is labelled

    run = sgc.train(spec, data={"x": images[train], "y": labels}, output=folder, force=True)
    model = sgc.open(run.folder)

    posterior = model.infer({"x": torch.from_numpy(images[test])}, samples=32)
    probabilities = posterior["y"].mean  # [B, 10]
    wrong = probabilities.argmax(-1).numpy() != digits.target[test]
    print(f"error on {len(wrong)} new rows, from 30 labels: {100 * wrong.mean():.1f}%")

    sevens = model.generate(5, given={"y": 7})["x"]
    print(f"five sevens: {tuple(sevens.shape)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()) / "run")
