"""Multi-MNIST: canvases of one to three digits, scaled and shifted, with all that is known of each.

As in Siddharth et al. 2017 (after Eslami et al. 2016), every count is equally frequent, and so is every digit. The
digits of a canvas are in order from left to right, so that a model can find them one by one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sgc.data.columns import Array
from sgc.data.sources.digits_source import Digits
from sgc.data.sources.fetched_sources import Mnist
from sgc.errors import UsageError, option

MOST = 3  # digits on a canvas
SIDE = 64  # of a canvas, in pixels
SIZES = (0.3, 0.55)  # of a digit's window, as a share of the canvas's side; drawn evenly over their logarithm
OVERLAP = 0.25  # of the smaller window, at most; digits may touch
ATTEMPTS = 200  # at placing the digits of one canvas before all of them are drawn anew
CHUNK = 2048  # canvases built at a time

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of the data: its event, its type, and the value of a step that does not exist."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    missing: float = 0.0


def columns(digit: tuple[int, int]) -> tuple[Column, ...]:
    """Describe what is written. digit: height and width of a digit's picture.

    canvas: bytes; count: 1 to 3; size: the share of the canvas's side that a digit's window has; at: its middle, across
    and down, from −1 to 1 over the canvas; digits: the pictures themselves; classes: which digits they are. Of steps
    beyond the count size and at are NaN, digits black, classes −1.
    """
    return (
        Column("canvas", (1, SIDE, SIDE), "u1"),
        Column("count", (), "i8"),
        Column("size", (MOST, 1), "f4", np.nan),
        Column("at", (MOST, 2), "f4", np.nan),
        Column("digits", (MOST, 1, *digit), "u1"),
        Column("classes", (MOST,), "i8", -1),
    )


def build(images: Array, labels: Array, rows: int, seed: int) -> Iterator[dict[str, Array]]:
    """Build so many canvases, a chunk at a time, from digits [N, h, w] in bytes and their labels [N].

    What a canvas holds follows from the seed and from its row alone.
    """
    by_label = [np.flatnonzero(labels == kind) for kind in np.unique(labels)]
    draw = np.random.default_rng([seed, 0])
    counts = draw.permutation(np.arange(rows) % MOST + 1)
    kinds = draw.permutation(np.arange(counts.sum()) % len(by_label))  # every digit as often, over all canvases
    ends = np.cumsum(counts)
    for start in range(0, rows, CHUNK):
        stop = min(start + CHUNK, rows)
        chunk = {
            column.name: np.full((stop - start, *column.shape), column.missing, dtype=column.dtype)
            for column in columns((images.shape[1], images.shape[2]))
        }
        for row in range(start, stop):
            own = np.random.default_rng([seed, 1, row])
            wanted = kinds[ends[row] - counts[row] : ends[row]]
            chosen = np.array([own.choice(by_label[kind]) for kind in wanted])
            sizes, middles = _places(own, len(chosen))
            place = row - start
            canvas = np.zeros((SIDE, SIDE))
            for size, middle, digit_index in zip(sizes, middles, chosen, strict=True):
                np.maximum(canvas, _pasted(images[digit_index].astype(np.float64), size, middle), out=canvas)
            chunk["canvas"][place, 0] = np.rint(canvas)
            chunk["count"][place] = len(chosen)
            chunk["size"][place, : len(chosen), 0] = sizes
            chunk["at"][place, : len(chosen)] = middles
            chunk["digits"][place, : len(chosen), 0] = images[chosen]
            chunk["classes"][place, : len(chosen)] = labels[chosen]
        yield chunk


def _places(draw: np.random.Generator, count: int) -> tuple[Float, Float]:
    """Draw windows on the canvas that hardly overlap, from left to right: sizes [n], middles [n, 2]."""
    while True:
        sizes = np.exp(draw.uniform(np.log(SIZES[0]), np.log(SIZES[1]), count))
        for _ in range(ATTEMPTS):
            middles = draw.uniform(-1, 1, (count, 2)) * (1 - sizes[:, None])
            if _apart(sizes, middles):
                order = np.argsort(middles[:, 0])
                return sizes[order], middles[order]


def _apart(sizes: Float, middles: Float) -> bool:
    """Tell whether no two windows, whose sides are 2 · size, share more than OVERLAP of the smaller one."""
    for i in range(len(sizes)):
        for j in range(i):
            shared = np.clip(sizes[i] + sizes[j] - np.abs(middles[i] - middles[j]), 0, 2 * min(sizes[i], sizes[j]))
            if shared.prod() > OVERLAP * (2 * min(sizes[i], sizes[j])) ** 2:
                return False
    return True


def _pasted(image: Float, size: float, middle: Float) -> Float:
    """Paste a picture [h, w] into a window of an empty canvas, bilinear, as `affine: {paste: …}` does."""
    across = _weights(image.shape[1], size, middle[0])
    down = _weights(image.shape[0], size, middle[1])
    pasted: Float = down @ image @ across.T
    return pasted


def _weights(pixels: int, size: float, middle: float) -> Float:
    """Give the weight of each pixel of a picture in each pixel of the canvas, along one side: [SIDE, pixels]."""
    canvas = (2 * np.arange(SIDE) + 1) / SIDE - 1
    place = (((canvas - middle) / size + 1) * pixels - 1) / 2
    weights: Float = np.clip(1 - np.abs(place[:, None] - np.arange(pixels)), 0, None)
    return weights


def write(path: Path, images: Array, labels: Array, rows: int, seed: int) -> None:
    """Write an npz archive of named arrays, not compressed, so that it can be read from a memory map.

    An existing file is replaced once the new one is whole. Raises: OSError.
    """
    height, width = images.shape[1], images.shape[2]
    unfinished = path.with_name(path.name + ".part")
    spools = {column.name: path.with_name(f"{path.name}.{column.name}.part") for column in columns((height, width))}
    try:
        with ExitStack() as opened:
            files = {name: opened.enter_context(open(spool, "wb")) for name, spool in spools.items()}
            for column in columns((height, width)):
                head = {"descr": np.dtype(column.dtype).newbyteorder("<").str, "fortran_order": False}
                npy.write_array_header_1_0(files[column.name], {**head, "shape": (rows, *column.shape)})
            for chunk in build(images, labels, rows, seed):
                for name, values in chunk.items():
                    files[name].write(np.ascontiguousarray(values).tobytes())
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, spool in spools.items():
                archive.write(spool, f"{name}.npy")
        unfinished.replace(path)
    finally:
        for left in (unfinished, *spools.values()):
            left.unlink(missing_ok=True)


def write_parts(folder: Path, digits: str, rows: tuple[int, int], seed: int, *, force: bool) -> dict[str, Path]:
    """Write train.npz and test.npz, of so many canvases each, from the digits of their own part.

    digits: `mnist`, or scikit-learn's `digits`, of which four fifths are for training.

    Raises:
        UsageError: a file is there already and `force` is not set, or the folder cannot be written.
        DataError: the digits cannot be had.
    """
    paths = {part: folder / f"{part}.npz" for part in ("train", "test")}
    for path in paths.values() if not force else ():
        if path.exists():
            raise UsageError(f"{path}: exists already; {option('force', '-')} overwrites it")
    parts = _mnist(folder) if digits == "mnist" else _sklearn_digits(folder)
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (part, path) in enumerate(paths.items()):
            write(path, *parts[part], rows=rows[number], seed=2 * seed + number)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    return paths


def _mnist(beside: Path) -> dict[str, tuple[Array, Array]]:
    source = Mnist(source="mnist", columns={})
    opened = source.read(beside, ("image", "label"))
    assert opened.test is not None
    parts = {"train": opened.train, "test": opened.test}
    return {name: (part["image"].values, part["label"].values.astype(np.int64)) for name, part in parts.items()}


def _sklearn_digits(beside: Path) -> dict[str, tuple[Array, Array]]:
    rows = Digits(columns={}).read(beside, ("image", "label")).train
    images = np.minimum(rows["image"].values.astype(np.int64) * 16, 255).astype(np.uint8)
    labels, own = rows["label"].values, len(images) * 4 // 5
    return {"train": (images[:own], labels[:own]), "test": (images[own:], labels[own:])}
