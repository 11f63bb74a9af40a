"""The commands as one program: typer reads their words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

import typer

from sgc import __version__
from sgc.cli.examples import epilog
from sgc.cli.exit_status import plainly
from sgc.cli.explore_command import explore
from sgc.cli.export_command import export
from sgc.cli.list_command import list_
from sgc.cli.report_commands import compare, report
from sgc.cli.run_commands import evaluate, predict, sample
from sgc.cli.spec_commands import check, inspect, prove, schema
from sgc.cli.start_commands import data, init
from sgc.cli.sweep_command import sweep
from sgc.cli.train_command import train

app = typer.Typer(
    name="sgc",
    help="Semi-supervised deep generative models from YAML: checked, explained, proved, trained, evaluated, looked at.",
    epilog=epilog(""),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"sgc {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Semi-supervised deep generative models from YAML."""


def _short(command: Callable[..., None]) -> str:
    """Give what a command does as far as the first stop of its help, which has room in the list of all commands."""
    return re.split("[.,:;]", command.__doc__ or "")[0] + "."


for command in (
    check,
    inspect,
    train,
    evaluate,
    predict,
    sample,
    explore,
    export,
    report,
    compare,
    prove,
    schema,
    init,
    data,
    sweep,
):
    app.command(epilog=epilog(command.__name__), short_help=_short(command))(plainly(command))
app.command("list", epilog=epilog("list"), short_help=_short(list_))(plainly(list_))
