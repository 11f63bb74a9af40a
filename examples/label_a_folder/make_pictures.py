"""Write scikit-learn's digits as a folder of pictures with a table of few labels: what a real project starts from.

`make_pictures.py FOLDER` writes

    pictures/0000.png …   1197 grey pictures of 8 x 8
    labels.csv            path,label of them; 100 have a label, the other cells are empty
    test/1197.png …       300 others, all of which somebody has labelled
    test.csv              path,label of those
    new/1497.png …        300 pictures that came in later
    answers.csv           what is on those, which no real project would know
    spec.yaml             the model
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARTS = {"pictures": ("labels.csv", 0, 1197), "test": ("test.csv", 1197, 1497), "new": ("answers.csv", 1497, 1797)}
LABELS = 10  # of each digit


def main(folder: Path) -> None:
    """Write everything below the folder, which may exist."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pictures = np.rint(digits.images[order] * (255 / 16)).astype(np.uint8)
    kinds = digits.target[order]

    for part, (table, start, end) in PARTS.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        rows = []
        for i in range(start, end):
            Image.fromarray(pictures[i]).save(folder / part / f"{i:04d}.png")
            known = part != "pictures" or np.count_nonzero(kinds[:i] == kinds[i]) < LABELS
            rows.append((f"{part}/{i:04d}.png", NAMES[kinds[i]] if known else ""))
        write(folder / table, rows)
    shutil.copy(Path(__file__).with_name("spec.yaml"), folder / "spec.yaml")


def write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write a table of paths and labels."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label"), *rows])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_pictures.py FOLDER")
    main(Path(sys.argv[1]))
