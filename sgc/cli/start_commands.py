"""The commands that write something to start from: init, a spec; data, a data set."""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sgc.arguments import LARGEST
from sgc.cli import completion
from sgc.cli.collection import collect_as_usual
from sgc.cli.common import LARGEST_SEED
from sgc.errors import UsageError, nearest
from sgc.report.standard_streams import say

if TYPE_CHECKING:
    from sgc.starter.shipped_specs import ShippedSpec


def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A shipped spec (sgc list specs), or the name of a new one in NAME.yaml.",
            autocompletion=completion.shipped_names,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="Start from a .csv, .parquet, .npz, .mat, .h5ad or a folder of pictures."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="A file of labelled test rows, where they have one of their own."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a spec to start from: a shipped one by its name, or a commented one, guessed from a file of data."""
    from sgc.data.outputs import Inputs, check_place, write_output
    from sgc.starter.shipped_specs import shipped_specs
    from sgc.starter.starting_spec import starting_spec

    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    shipped = shipped_specs()
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; --force overwrites it")
    check_place(path, Inputs({given: "the data to start from" for given in (data, test) if given is not None}))
    if data is None and test is None and path.stem in shipped:
        _copy(shipped[path.stem], path)
        return
    text = starting_spec(path.stem, data, test, beside=path.parent)
    write_output(path, text.encode())
    if data is None:
        near = nearest(path.stem, shipped)
        hint = f"did you mean '{near}'?" if near else "'sgc list specs' lists them"
        say(f"note: no shipped spec is named '{path.stem}' ({hint}): {path} is a commented one, of digits, to change")
    print(path)


def _copy(shipped: ShippedSpec, path: Path) -> None:
    """Copy a shipped spec and those that it has parts of; say what they need."""
    from sgc.data.outputs import Inputs, check_place, write_output

    missing = {path.with_name(part.file.name): part for part in shipped.parts}
    present = [place for place in missing if place.exists()]
    for place in present:
        say(f"note: {place}, a part of it, is there already and stays as it is")
        del missing[place]
    copies = {**missing, path: shipped}
    for place in copies:
        check_place(place, Inputs())
    for place, each in copies.items():
        write_output(place, each.file.read_bytes())
        say(f"note: {place} is the shipped spec '{each.name}': {each.description}")
    for line in shipped.needs(path.parent):
        say(f"note: {path} {line}")
    file = shlex.quote(str(path))
    say(f"note: next, 'sgc inspect {file}' shows the objective that is derived, 'sgc train {file}' trains")
    for place in copies:
        print(place)


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
