"""What several commands share: arguments and options, loading a spec, warnings, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgc.cli import completion
from sgc.errors import Fault, SpecError, nearest
from sgc.report.standard_streams import say, visible_json

if TYPE_CHECKING:
    from sgc.spec.outline import Outline
    from sgc.spec.spec import Spec

LARGEST_SEED = 2**63 - 1  # that torch takes

SpecArg = Annotated[str, typer.Argument(metavar="SPEC", help="A spec, in YAML.", autocompletion=completion.spec_files)]
RunArg = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", autocompletion=completion.run_folders)
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a value of the spec, e.g. train.epochs=10; KEY= takes the key out.",
        autocompletion=completion.settings,
    ),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow own code that the spec names; needed every time.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Checkpoint = Annotated[
    str,
    typer.Option("--checkpoint", metavar="best|last", help="Which weights.", autocompletion=completion.checkpoints),
]


def load_spec(path: str, sets: list[str] | None, trust: bool) -> Spec:
    """Load a spec with the overrides of the command line. Raises: SpecError, UsageError."""
    from sgc.spec.loader import load

    if not os.path.lexists(path):
        raise SpecError([Fault((), "no such file", _file_meant(path), file=path)])
    return load(path, sets or [], trust=trust)


def _file_meant(path: str) -> str:
    """Say which spec was probably meant, or which command writes it; an empty string where neither is known."""
    from sgc.starter.shipped_specs import shipped_specs

    folder, stem = Path(path).parent, Path(path).stem
    names = [file.name for file in folder.glob("*.y*ml")] if folder.is_dir() else []
    near = f"{stem}.yaml" if f"{stem}.yaml" in names else nearest(Path(path).name, names, cutoff=0.8)
    if near:
        return f"did you mean '{folder / near}'?"
    shipped = nearest(stem, shipped_specs(), cutoff=0.8)
    return f"'sgc init {folder / shipped}' writes the shipped one" if shipped else ""


def outline_of(spec: Spec) -> Outline:
    """Resolve a spec: its names, shapes and numbers of parameters."""
    from sgc.spec.resolver import outline

    return outline(spec)


def print_warnings(outline: Outline) -> None:
    """Print the warnings and notes on a model to standard error."""
    from sgc.report.independence_notes import notes
    from sgc.report.warning_notes import warnings

    for warning in warnings(outline):
        say(f"warning: {warning}")
    for note in notes(outline):
        say(f"note: {note}")


def print_json(text: str) -> None:
    """Print JSON, with what the encoding of standard output lacks as JSON's escapes."""
    print(visible_json(text, sys.stdout.encoding))


def print_indented(plain: dict[str, Any]) -> None:  # Any: JSON
    """Print plain data as indented JSON."""
    print_json(json.dumps(plain, indent=2, ensure_ascii=False))


def wants_color() -> bool:
    """Tell whether standard output is a terminal on which the user allows colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
