"""What the loops of this folder share: a small spec, and scikit-learn's digits with 100 labels as a torch data set."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

import sgc

SPEC = {
    "version": 1,
    "name": "own-loop",
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [64],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [64]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 10,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [64]}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [6],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [64]}},
        },
    },
    "objective": {"bound": "elbo", "alpha": 30},
}


class Rows(torch.utils.data.Dataset):
    """Rows as a batch of the model holds them: by node, -1 where there is no label."""

    def __init__(self, labels: int = 100) -> None:
        """Keep the labels of the first rows."""
        digits = load_digits()
        self.x = torch.tensor(digits.data / 16, dtype=torch.float32)
        self.y = torch.from_numpy(np.where(np.arange(len(digits.target)) < labels, digits.target, -1))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[row], "y": self.y[row]}


def model() -> torch.nn.Module:
    """Compile the spec."""
    return sgc.compile(SPEC)
