"""Draw what the models of the gallery give whose rows are no pictures, from data that are drawn here.

    python examples/gallery_pictures.py regression two-label two-modalities hmm

trains each in a minute or two, in a folder that is thrown away unless --keep names one, and writes
examples/pictures/NAME.png from what `sgc predict` and `sgc sample` give for it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sgc
from sgc.trained.predictions import predict_run
from sgc.trained.sampler import sample_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
COLOURS = ("#2f7fd6", "#c4650f", "#1b8f72", "#a55ac8", "#d4486a")  # those of `sgc report`
GREY = "#7a7f88"
Arrays = dict[str, np.ndarray]
SETTINGS = {  # in place of those of the specs
    "regression": ["data="],
    "two-label": [],
    "two-modalities": ["train.epochs=40", "train.batch_size=100", "train.optimizer.lr=0.002"],
}


def written(path: Path, arrays: Arrays) -> Path:
    """Write arrays to a file."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def trained(folder: Path, name: str, data: Arrays | None) -> None:
    """Train a shipped spec on arrays, or on the file in the folder that it names; unless a run is there."""
    if (folder / "run").exists():
        return
    spec = sgc.load(ROOT / "specs" / f"{name}.yaml", [] if data is None else SETTINGS[name])
    sgc.train(spec, data, output=folder / "run", beside=folder)


def predicted(folder: Path, rows: Arrays, **how: Any) -> Arrays:  # Any: as `predict_run` says
    """Give what `sgc predict` writes for rows."""
    data, output = written(folder / "new.npz", rows), folder / "predicted.npz"
    predict_run(folder / "run", data, output, **how)
    return dict(np.load(output))


def sampled(folder: Path, count: int, **given: Any) -> Arrays:  # Any: values as a spec may hold them
    """Give what `sgc sample` writes."""
    output = folder / "sampled.npz"
    sample_run(folder / "run", output, count=count, given=given)
    return dict(np.load(output))


def axes_of(figure: Figure, *widths: float) -> list[Any]:  # Any: matplotlib's axes
    """Put axes side by side."""
    return list(figure.subplots(1, len(widths), gridspec_kw={"width_ratios": widths}))


def new_figure(width: float, height: float) -> Figure:
    """Begin a picture, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=100)


# ---- heating load


def buildings(count: int, seed: int) -> Arrays:
    """Draw buildings as boxes, and the heat that they need: what walls, roof and glass lose, and what the sun gives."""
    rng = np.random.default_rng(seed)
    height = rng.choice([3.5, 7.0], size=count)
    floor = 771.75 / height  # of the same volume
    ratio = rng.uniform(1, 3, count)
    wall = 2 * height * np.sqrt(floor) * (np.sqrt(ratio) + 1 / np.sqrt(ratio))
    surface = wall + 2 * floor
    glazing, orientation = rng.choice([0.0, 0.1, 0.25, 0.4], size=count), rng.integers(2, 6, count)
    compact = 6 * 771.75 ** (2 / 3) / surface
    lost = 0.03 * wall * (1 + 2 * glazing) + 0.035 * floor + 0.9 * height
    sun = 4 * glazing * (1 + 0.2 * (orientation == 4))
    heating = lost - sun + rng.normal(0, 0.8, count)
    columns = (compact, surface, wall, floor, height, orientation, glazing, rng.integers(0, 6, count))
    return {"x": np.stack(columns, 1), "y": heating}


def regression(folder: Path) -> Figure:
    """Draw q's means and intervals over the labels, and the model's draws over the rows."""
    rows = buildings(768, 0)
    data = {"x": rows["x"], "y": np.where(np.arange(768) % 10 == 0, rows["y"], np.nan)}
    scales = {name: (np.nanmean(value, 0), np.nanstd(value, 0)) for name, value in data.items()}
    standard = {name: (value - scales[name][0]) / scales[name][1] for name, value in data.items()}
    trained(folder, "regression", standard)
    held_out = buildings(150, 1)
    shown = predicted(folder, {"x": (held_out["x"] - scales["x"][0]) / scales["x"][1]}, from_="q")
    middle, width = scales["y"]
    mean, deviation = shown["y"] * width + middle, shown["y.sd"] * width
    figure = new_figure(9.5, 3.9)
    left, right = axes_of(figure, 1, 1)
    left.errorbar(held_out["y"], mean, 1.645 * deviation, fmt="o", ms=3, lw=0.8, color=COLOURS[0], ecolor="#2f7fd688")
    ends = [held_out["y"].min(), held_out["y"].max()]
    left.plot(ends, ends, "--", color=GREY, lw=1)
    inside = np.mean(np.abs(held_out["y"] - mean) < 1.645 * deviation)
    left.set(xlabel="heating load", ylabel="q's mean, and its central 90 %")
    left.set_title(f"150 new buildings; {100 * inside:.0f} % lie in their interval", fontsize=10)
    drawn = sampled(folder, 400)
    right.plot(rows["x"][:, 2], rows["y"], "o", ms=2.5, color=GREY, label="rows of the data")
    surface = drawn["x"][:, 2] * scales["x"][1][2] + scales["x"][0][2]
    right.plot(surface, drawn["y"] * width + middle, "o", ms=2.5, color=COLOURS[1], label="drawn by the model")
    right.set(xlabel="wall area", ylabel="heating load")
    right.set_title("The data, and what the model draws", fontsize=10)
    right.legend(fontsize=8, frameon=False)
    return figure


# ---- species and sex

SPECIES = ["Adelie", "Chinstrap", "Gentoo", "Macaroni", "Royal"]
SEX = ["female", "male"]


def animals(count: int, seed: int) -> Arrays:
    """Draw eight measurements of animals around the mean of their species, males larger."""
    rng, means = np.random.default_rng(seed), np.random.default_rng(12).normal(0, 1.6, (5, 8))
    species, sex = rng.integers(5, size=count), rng.integers(2, size=count)
    larger = np.array([0.9, 0.3, 0.8, 0.5, 1.0, 0.2, 0.7, 0.4])
    size = rng.normal(0, 0.5, (count, 1))
    x = means[species] + (2 * sex[:, None] - 1) * larger + size + rng.normal(0, 0.5, (count, 8))
    return {"x": x, "species": species, "sex": sex}


def two_label(folder: Path) -> Figure:
    """Draw the model's animals beside the data, and the confusions of new rows."""
    rows, rng = animals(1000, 0), np.random.default_rng(2)
    known = {name: rng.random(1000) < 0.06 for name in ("species", "sex")}
    words = {"species": np.array(SPECIES)[rows["species"]], "sex": np.array(SEX)[rows["sex"]]}
    data = {"x": rows["x"], **{name: np.where(known[name], words[name], "") for name in known}}
    trained(folder, "two-label", data)
    figure = new_figure(11, 3.8)
    axes = axes_of(figure, 1, 1, 0.9)
    for place, name in enumerate(SPECIES):
        of_data = rows["x"][rows["species"] == place]
        drawn = sampled(folder, 200, species=name)["x"]
        for here, points in zip(axes, (of_data, drawn), strict=False):
            here.plot(points[:, 0], points[:, 4], "o", ms=2.5, color=COLOURS[place], label=name)
    for here, title in zip(
        axes, ("The rows of the data, by species", "Drawn by the model, given a species"), strict=False
    ):
        here.set_title(title, fontsize=10)
        here.set(xlabel="measurement 1", ylabel="measurement 5", xlim=(-6, 6), ylim=(-6, 6))
    axes[0].legend(fontsize=7, frameon=False, markerscale=2)
    new = animals(1000, 1)
    answers = predicted(folder, {"x": new["x"]})
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (new["species"], [SPECIES.index(word) for word in answers["species"]]), 1)
    axes[2].imshow(counts / counts.sum(1, keepdims=True), cmap="Blues", vmax=1.6)
    for (i, j), count in np.ndenumerate(counts):
        axes[2].text(j, i, str(count), ha="center", va="center", fontsize=8)
    short = [name[:4] for name in SPECIES]
    axes[2].set(xticks=range(5), yticks=range(5), xlabel="predicted", ylabel="species")
    axes[2].set_xticklabels(short, fontsize=8)
    axes[2].set_yticklabels(short, fontsize=8)
    right = np.mean(answers["sex"] == np.array(SEX)[new["sex"]])
    axes[2].set_title(f"1000 new animals; sex right in {100 * right:.0f} %", fontsize=10)
    return figure


# ---- pictures and tags

TAGS = ["disc", "square", "cross", "left", "right", "up", "down", "small", "large"]


def shapes(count: int, seed: int) -> Arrays:
    """Draw pictures of a shape, and its tags: what it is, where it is, how large, of 200 that there might be."""
    rng = np.random.default_rng(seed)
    kind, size = rng.integers(3, size=count), rng.uniform(3, 8, count)
    middle = rng.uniform(9, 19, (count, 2))
    high, wide = np.mgrid[:28, :28]
    down, across = (np.abs(grid[None] - middle[:, axis, None, None]) for axis, grid in enumerate((high, wide)))
    radius, thick = size[:, None, None], 0.35 * size[:, None, None]
    disc, square = np.hypot(down, across) < radius, np.maximum(down, across) < 0.9 * radius
    cross = square & (np.minimum(down, across) < thick)
    image = np.where(kind[:, None, None] == 0, disc, np.where(kind[:, None, None] == 1, square, cross))
    tags = np.zeros((count, 200))
    tags[np.arange(count), kind] = 1
    words = (middle[:, 1] < 13, middle[:, 1] > 15, middle[:, 0] < 13, middle[:, 0] > 15, size < 5, size > 6)
    tags[:, 3:9] = np.stack(words, 1)
    return {"image": image[:, None].astype(float), "tags": tags}


def two_modalities(folder: Path) -> Figure:
    """Draw the pictures that tags alone call for, and the tags that a picture alone has."""
    rows, rng = shapes(4000, 0), np.random.default_rng(1)
    gone = rng.integers(4, size=4000)  # a quarter without its picture, a quarter without its tags
    data = {name: value.copy() for name, value in rows.items()}
    data["image"][gone == 0], data["tags"][gone == 1] = np.nan, np.nan
    trained(folder, "two-modalities", data)
    asked = [("disc", "left", "up", "small"), ("square", "right", "up", "large"), ("cross", "left", "down", "large")]
    asked += [("disc", "right", "down", "large"), ("cross", "right", "up", "large")]
    tags = np.array([[float(place < len(TAGS) and TAGS[place] in words) for place in range(200)] for words in asked])
    called = predicted(folder, {"tags": tags, "image": np.full((len(asked), 1, 28, 28), np.nan)})["image"]
    seen = shapes(len(asked), 7)["image"]
    said = predicted(folder, {"image": seen, "tags": np.full((len(asked), 200), np.nan)})["tags"]
    figure = new_figure(9, 1.25 * len(asked))
    axes = figure.subplots(len(asked), 4, gridspec_kw={"width_ratios": [1.3, 1, 1, 1.3]})
    for row, words in enumerate(asked):
        order = [place for place in np.argsort(-said[row]) if said[row, place] > 0.3]
        found = [f"{TAGS[place]} {100 * said[row, place]:.0f} %" for place in order if place < len(TAGS)]
        for here, text, side in ((axes[row, 0], ", ".join(words), 0.95), (axes[row, 3], "\n".join(found), 0.05)):
            here.text(side, 0.5, text, fontsize=9, va="center", ha="right" if side > 0.5 else "left", wrap=True)
        axes[row, 1].imshow(called[row].reshape(28, 28), cmap="gray", vmin=0, vmax=1)
        axes[row, 2].imshow(seen[row, 0], cmap="gray", vmin=0, vmax=1)
    for here in axes.flat:
        here.axis("off")
    for place, title in enumerate(("tags alone …", "… the model's picture", "a picture alone …", "… the model's tags")):
        axes[0, place].set_title(title, fontsize=10)
    return figure


# ---- activities


def hmm(folder: Path) -> Figure:
    """Draw a recording with the activities that the model finds in it, and one that the model draws."""
    import recordings

    written(folder / "recordings.npz", recordings.recordings(1000, 50, 0))
    trained(folder, "hmm", None)
    new = recordings.recordings(40, 50, 1)
    row = next(row for row in range(40) if "-1" not in new["activity"][row])
    answers = predicted(folder, {name: value[row : row + 1] for name, value in new.items() if name != "activity"})
    shares = answers["t.s.probability"][0]
    drawn = sampled(folder, 4)
    figure = new_figure(9.5, 6.2)
    axes = figure.subplots(5, 1, sharex=True, gridspec_kw={"height_ratios": [3, 0.5, 1.6, 3, 0.5]})
    signals(axes[0], new["signal"][row], "a new recording: its signal")
    strip(axes[1], new["activity"][row], "its activities")
    axes[2].stackplot(range(50), *shares.T, colors=COLOURS, labels=recordings.NAMES, step="mid")
    axes[2].set(ylim=(0, 1), yticks=[0, 1])
    axes[2].set_title("the model's probabilities of them, from the signal alone", fontsize=9, loc="left")
    figure.legend(*axes[2].get_legend_handles_labels(), ncols=5, fontsize=8, frameon=False, loc="outside lower center")
    signals(axes[3], drawn["t.x"][0], "a recording that the model draws, in standard deviations")
    strip(axes[4], drawn["t.s"][0], "the activities that it drew it from")
    axes[4].set(xlim=(-0.5, 49.5), xlabel="step")
    return figure


def signals(axes: Any, values: np.ndarray, title: str) -> None:  # Any: matplotlib's axes
    """Draw three channels over the steps."""
    for channel, style in enumerate(("-", "--", ":")):
        axes.plot(values[:, channel], style, color="#33383f", lw=1)
    axes.set_title(title, fontsize=9, loc="left")


def strip(axes: Any, names: np.ndarray, title: str) -> None:  # Any: as above
    """Draw the activity of each step as a colour."""
    from matplotlib.colors import ListedColormap
    from recordings import NAMES

    places = np.array([[NAMES.index(name) for name in names]])
    axes.imshow(places, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=4.5, aspect="auto", interpolation="nearest")
    axes.set_yticks([])
    axes.set_title(title, fontsize=9, loc="left")


PICTURES: dict[str, Callable[[Path], Figure]] = {
    "regression": regression,
    "two-label": two_label,
    "two-modalities": two_modalities,
    "hmm": hmm,
}


def main() -> None:
    """Draw the pictures that are asked for."""
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], default=list(PICTURES))
    parser.add_argument("--keep", type=Path, help="a folder for the runs: those that are there are taken")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as thrown_away:
        for name in given.names:
            folder = (given.keep or Path(thrown_away)) / name
            folder.mkdir(parents=True, exist_ok=True)
            goal = ROOT / "examples" / "pictures" / f"{name}.png"
            PICTURES[name](folder).savefig(goal)
            Image.open(goal).convert("RGB").quantize(64).save(goal, optimize=True)
            print(f"examples/pictures/{name}.png")


if __name__ == "__main__":
    main()
