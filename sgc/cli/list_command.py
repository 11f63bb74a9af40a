"""The command that lists what a spec may name."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from sgc.cli import completion
from sgc.cli.common import Json, print_indented, print_json


def list_(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="families, networks, layers, estimators, bounds, sources, transforms, metrics or specs.",
            autocompletion=completion.kinds,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what a spec may name: families, networks, estimators, bounds, sources and more, and the shipped specs."""
    import json

    from sgc.report.listed_kinds import kind_json, kind_named, kind_text, overview_json, overview_text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if kind is None:
        if as_json:
            print_indented(overview_json())
        else:
            print(overview_text(width))
    elif as_json:
        print_json(json.dumps(kind_json(kind_named(kind)), indent=2, ensure_ascii=False))
    else:
        print(kind_text(kind_named(kind), width))
