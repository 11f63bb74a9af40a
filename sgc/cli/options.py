"""The arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass

LARGEST_SEED = 2**63 - 1  # that torch takes

SpecArg = Annotated[str, typer.Argument(metavar="SPEC", help="A spec, in YAML.")]
RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set a value of the spec, e.g. train.epochs=10; KEY= takes the key out."
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow own code that the spec names; say it every time.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", metavar="best|last", help="Which weights.")]
