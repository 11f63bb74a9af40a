"""Measure how things grow: `make bench-growth`, or `python -m benchmarks.growth`.

Samples, enumerated categories, steps of a chain and of an HMM, nodes of a graph, patterns of labels: CPU time on one
thread and peak memory of each size, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import load, machine, say, versions, write
from benchmarks.resident import ROOT

FOLDER = Path(__file__).parent
README, PICTURE = FOLDER / "README.md", FOLDER / "growth.svg"
BEGIN, END = "<!-- the tables of growth -->", "<!-- end of the tables of growth -->"
TIME_LIMIT = 900  # seconds of one point

Numbers = dict[str, float]
Points = dict[int, Numbers]  # by size
Column = tuple[str, Callable[[int, Numbers], float]]  # heading, and the number of a size


@dataclass(frozen=True)
class Series:
    """Something that grows: its sizes, and the columns of its table."""

    heading: str
    unit: str  # heading of the sizes
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, str, float], ...]  # of the picture: a number, its name there, and what it is multiplied by
    axis: str = "ms a step"


def milli(key: str, heading: str) -> Column:
    """Give a number of seconds in ms."""
    return heading, lambda _, numbers: 1e3 * numbers[key]


def plain(key: str, heading: str) -> Column:
    """Give a number as it is."""
    return heading, lambda _, numbers: numbers[key]


def share(key: str, heading: str, scale: float) -> Column:
    """Give a number by what grows."""
    return heading, lambda size, numbers: scale * numbers[key] / size


def steps(unit: str) -> tuple[Column, ...]:
    """Give the columns of a step of training."""
    return (
        plain("set-up", "set-up s"),
        milli("computed", "computed ms"),
        milli("terms", "with terms ms"),
        plain("recorded", "recording s"),
        milli("replayed", "replayed ms"),
        share("replayed", f"replayed ms a {unit}", 1e3),
        plain("operators", "operators"),
        plain("computed peak", "peak MiB, computed"),
        plain("recording peak", "recording"),
        plain("replayed peak", "replayed"),
    )


BOTH_WAYS = (("computed", "computed", 1e3), ("replayed", "replayed", 1e3))
CHAIN = (
    share("recorded", "recording ms a node", 1e3),
    share("computed", "computed ms a node", 1e3),
    share("replayed", "replayed ms a node", 1e3),
    share("loop", "a loop by hand", 1e3),
    share("stacked", "stacked by hand", 1e3),
    ("sgc : stacked", lambda _, numbers: numbers["replayed"] / numbers["stacked"]),
    share("operators", "operators a node", 1),
    share("stacked operators", "stacked by hand", 1),
    plain("computed peak", "peak MiB, computed"),
    plain("recording peak", "recording"),
    plain("replayed peak", "replayed"),
)
BY_HAND = (("loop", "a loop by hand", 1e3), ("stacked", "stacked by hand", 1e3))
GRAPH = (*(milli(key, f"{key} ms") for key in ("check", "compile", "plan")), plain("peak", "peak MiB"))
ROWS = (milli("row", "ms a row"), milli("computed row", "ms a row, all computed"), plain("peak", "peak MiB"))
LABELS, FEW_LABELS = (1, 2, 4, 8, 16, 32, 64), (1, 4)
SERIES = {
    "samples": Series("Samples of A3, B = 100", "S", (1, 8, 64), (1, 4), steps("sample"), BOTH_WAYS),
    "categories": Series(
        "Enumerated categories", "categories", (2, 10, 100, 1000), (2, 10), steps("category"), BOTH_WAYS
    ),
    "chain": Series("A chain of T Normal nodes", "T", (5, 20, 100, 500), (5, 20), CHAIN, (*BOTH_WAYS, *BY_HAND)),
    "hmm": Series("An HMM of T steps, two nodes each", "T", (50, 100, 500, 2000), (5, 20), steps("step"), BOTH_WAYS),
    "graph": Series(
        "A graph of n nodes, before the first step",
        "n",
        (10, 100, 300, 1000),
        (10, 50),
        GRAPH,
        tuple((key, key, 1e3) for key in ("check", "compile", "plan")),
        "ms",
    ),
    "enumerated-labels": Series(
        "Patterns of labels, of enumerated nodes", "patterns", LABELS, FEW_LABELS, ROWS, (("row", "a row", 1e3),), "ms"
    ),
    "drawn-labels": Series(
        "Patterns of labels, of drawn nodes", "patterns", LABELS, FEW_LABELS, ROWS, (("row", "a row", 1e3),), "ms"
    ),
}


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.growth", description="Measure how things grow.")
    parser.add_argument("--quick", action="store_true", help="two small sizes of each, to see that all works")
    parser.add_argument("--series", default=",".join(SERIES), help=f"some of {', '.join(SERIES)}")
    parser.add_argument("--most", type=int, help="no size above this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--write", action="store_true", help="put tables and picture into benchmarks/README.md")
    chosen = parser.parse_args(words)
    chosen.series = [name.strip() for name in chosen.series.split(",")]
    if unknown := [name for name in chosen.series if name not in SERIES]:
        parser.error(f"--series: '{unknown[0]}' is none of {', '.join(SERIES)}")
    return chosen


def measure(name: str, size: int, seconds: float) -> Numbers:
    """Measure one size in a process of its own, so long each kind of step. Raises: RuntimeError with its last words."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    point = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth_point", name, str(size), str(seconds)],
        cwd=ROOT,
        env={**os.environ, **counts, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    if point.returncode:
        raise RuntimeError(f"{name} {size}: {(point.stderr.strip().splitlines() or ['nothing said'])[-1]}")
    numbers: Numbers = json.loads(point.stdout.strip().splitlines()[-1])
    return numbers


def table(series: Series, points: Points) -> str:
    """Write a series as a table, which reads as text and as Markdown."""
    rows = [[series.unit, *(heading for heading, _ in series.columns)]]
    for size, numbers in points.items():
        rows.append([str(size), *(number(value(size, numbers)) for _, value in series.columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]])


def number(value: float) -> str:
    """Write three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def tables(measured: dict[str, Points]) -> str:
    """Write all series, each under its heading."""
    return "\n\n".join(
        f"**{SERIES[name].heading}**\n\n{table(SERIES[name], points)}" for name, points in measured.items()
    )


def picture(measured: dict[str, Points], file: Path) -> None:
    """Draw all series, both axes logarithmic, beside a line that grows as the size does."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    mpl.rcParams["svg.hashsalt"] = "growth"
    across = 4
    down = -(-len(measured) // across)
    figure, axes = pyplot.subplots(
        down, across, figsize=(3.4 * across, 2.9 * down), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(measured) :]:
        axis.set_visible(False)
    for axis, (name, points) in zip(axes.flat, measured.items(), strict=False):
        series, sizes = SERIES[name], list(points)
        for key, label, scale in series.lines:
            axis.plot(sizes, [scale * points[size][key] for size in sizes], marker="o", markersize=3, label=label)
        low = min(scale * points[sizes[0]][key] for key, _, scale in series.lines)
        axis.plot(sizes, [low * size / sizes[0] for size in sizes], color="0.7", linestyle=":", label="linear")
        axis.set(xscale="log", yscale="log", title=series.heading, xlabel=series.unit, ylabel=series.axis)
        axis.title.set_fontsize(9)
        axis.set_xticks(sizes, labels=[str(size) for size in sizes])
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axis.legend(fontsize=7, frameon=False)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def main(words: Sequence[str]) -> int:
    """Measure, print, write; the status is 1 where a size could not be measured."""
    chosen, before = options(words), load()
    measured: dict[str, Points] = {}
    failures: list[str] = []
    for name in chosen.series:
        series = SERIES[name]
        measured[name] = {}
        for size in series.quick if chosen.quick else series.sizes:
            if chosen.most is None or size <= chosen.most:
                say(f"{name} {size} ...")
                try:
                    measured[name][size] = measure(name, size, 0.1 if chosen.quick else 1.0)
                except (RuntimeError, subprocess.TimeoutExpired) as why:
                    failures.append(str(why))
                if chosen.json is not None:  # what there is by now
                    chosen.json.write_text(json.dumps({"series": measured}, indent=1) + "\n")
    measured = {name: points for name, points in measured.items() if points}
    command = shlex.join(["python", "-m", "benchmarks.growth", *words])
    account = "\n".join(
        (
            f"Command: `{command}`, 1 thread.",
            f"Machine: {machine()}; {before:.1f} processes wanted a core when it began, {load():.1f} when it ended.",
            f"Versions: {versions().partition(',')[0]}.",
        )
    )
    printed = tables(measured)
    print(f"{account}\n\n{printed}\n", *failures, sep="\n")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"account": account, "series": measured}, indent=1) + "\n")
    if chosen.write:
        write(
            README, f"{account}\n\n![times by size, both axes logarithmic]({PICTURE.name})\n\n{printed}", (BEGIN, END)
        )
        picture(measured, PICTURE)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
