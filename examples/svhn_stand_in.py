"""Write files in SVHN's format from MNIST: coloured digits in clutter, with pieces of other digits at both sides.

They stand in for Street View House Numbers where those cannot be had, so that `specs/svhn.yaml` can be run; an error
on them says nothing of SVHN's. Run it with `.venv/bin/python examples/svhn_stand_in.py FOLDER [TRAIN] [TEST]`,
SGC_DATA the folder that holds mnist/; it writes FOLDER/svhn/train_32x32.mat and FOLDER/svhn/test_32x32.mat: X uint8
[32, 32, 3, N], y uint8 [N, 1], the digit 0 as 10. Then `SGC_DATA=FOLDER sgc train specs/svhn.yaml`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from sgc.data.file_search import find_file
from sgc.data.idx import read_idx
from sgc.errors import DataError

SIDE = 32
KINDS = ("images-idx3", "labels-idx1")
Bytes = NDArray[np.uint8]


def mnist(part: str) -> tuple[Bytes, Bytes]:
    """Read MNIST's `train` or `t10k` part: images [N, 28, 28] and labels [N]."""
    root = os.environ.get("SGC_DATA", "")
    files = [find_file((f"{part}-{kind}-ubyte", f"{part}-{kind}-ubyte.gz"), "mnist", Path(root)) for kind in KINDS]
    images, labels = map(read_idx, files)
    return images, labels


def coloured(images: Bytes, labels: Bytes, count: int, seed: int) -> tuple[Bytes, Bytes]:
    """Draw pictures [N, 32, 32, 3] of the first `count` digits, other digits beside them, and give their labels."""
    draw = np.random.default_rng(seed)
    pictures = np.zeros((count, SIDE, SIDE, 3), dtype=np.uint8)
    for i in range(count):
        ink = np.zeros((SIDE, SIDE))
        place(ink, images[i], SIDE // 2 + draw.integers(-2, 3), SIDE // 2 + draw.integers(-2, 3))
        for side in (-1, 1):
            other = images[draw.integers(len(images))]
            place(ink, other, SIDE // 2 + draw.integers(-3, 4), SIDE // 2 + side * draw.integers(18, 24))
        paper, colour = colours(draw)
        down, across = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
        slope = draw.normal(0, 12, (2, 3))
        ground = paper + down[..., None] * slope[0] + across[..., None] * slope[1]
        mixed = ground + ink[..., None] * (colour - ground) + draw.normal(0, 5, (SIDE, SIDE, 3))
        pictures[i] = np.clip(mixed, 0, 255).astype(np.uint8)
    return pictures, labels[:count]


def place(ink: NDArray[np.float64], image: Bytes, row: int, column: int) -> None:
    """Lay a digit on the ink, its middle at a place; what is outside is cut off."""
    top, left = row - 14, column - 14
    rows = slice(max(0, top), min(SIDE, top + 28))
    columns = slice(max(0, left), min(SIDE, left + 28))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    piece = image[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] / 255
    ink[rows, columns] = np.maximum(ink[rows, columns], piece)


def colours(draw: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the colours of the paper and of the ink, apart enough to be seen."""
    while True:
        paper, ink = draw.uniform(20, 235, (2, 3))
        if np.linalg.norm(paper - ink) > 90:
            return paper, ink


def main(folder: Path, train: int, test: int) -> None:
    """Write both files."""
    (folder / "svhn").mkdir(parents=True, exist_ok=True)
    for part, name, count, seed in (("train", "train", train, 0), ("t10k", "test", test, 1)):
        pictures, labels = coloured(*mnist(part), count=count, seed=seed)
        ten_for_zero = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        path = folder / "svhn" / f"{name}_32x32.mat"
        savemat(path, {"X": pictures.transpose(1, 2, 3, 0), "y": ten_for_zero}, do_compression=True)
        print(f"{path}: {len(pictures)} pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("train", type=int, nargs="?", default=20_000, help="how many pictures to train on")
    parser.add_argument("test", type=int, nargs="?", default=5_000, help="how many to test on")
    given = parser.parse_args()
    try:
        main(given.folder, given.train, given.test)
    except DataError as problem:
        parser.error(str(problem))
