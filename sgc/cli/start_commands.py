"""The commands that write something to start from: init, a spec; data, a data set."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sgc.arguments import LARGEST
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import LARGEST_SEED
from sgc.errors import UsageError


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the model; the file is NAME.yaml.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Start from a .csv, .parquet, .npz, .mat or a folder of pictures."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented starting spec."""
    from sgc.data.outputs import Inputs, check_place, write_output
    from sgc.starter.starting_spec import starting_spec

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; --force overwrites it")
    check_place(path, Inputs({} if data is None else {data: "the data to start from"}))
    text = starting_spec(path.stem, data, beside=path.parent)
    write_output(path, text.encode())
    print(path)


class Buildable(StrEnum):
    """What `sgc data` can build."""

    MULTI_MNIST = "multi-mnist"


class DigitSet(StrEnum):
    """What it can be built from."""

    MNIST = "mnist"
    DIGITS = "digits"


def data(
    name: Annotated[Buildable, typer.Argument(metavar="NAME", help="What to build: multi-mnist.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Where to write; by default $SGC_DATA/NAME, or NAME here."
        ),
    ] = None,
    digits: Annotated[
        DigitSet, typer.Option("--digits", help="Whose digits: MNIST's or scikit-learn's.")
    ] = DigitSet.MNIST,
    train: Annotated[
        int, typer.Option("--train", min=1, max=LARGEST, help="Canvases from the training digits.")
    ] = 72_000,
    test: Annotated[int, typer.Option("--test", min=1, max=LARGEST, help="Canvases from the test digits.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of all draws.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
) -> None:
    """Build a data set: canvases of one to three digits, with counts, classes, sizes and places as labels."""
    from sgc.data.multi_mnist import write_parts

    collect_as_usual()
    folder = output if output is not None else Path(os.environ.get("SGC_DATA", "")) / name.value
    for path in write_parts(folder, digits.value, (train, test), seed, force=force).values():
        print(path)
