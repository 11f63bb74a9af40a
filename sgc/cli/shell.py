"""The commands as one program: typer reads their words."""

from __future__ import annotations

from typing import Annotated

import typer

from sgc import __version__
from sgc.cli.exit_status import plainly
from sgc.cli.list_command import list_
from sgc.cli.run_commands import evaluate, predict, sample
from sgc.cli.spec_commands import check, inspect, prove, schema
from sgc.cli.start_commands import data, init
from sgc.cli.sweep_command import sweep
from sgc.cli.train_command import train

app = typer.Typer(
    name="sgc",
    help="Semi-supervised deep generative models from YAML: check, inspect, prove, train, evaluate, predict, sample.",
    no_args_is_help=True,
    add_completion=False,
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


for command in (check, inspect, train, evaluate, predict, sample, prove, schema, init, data, sweep):
    app.command()(plainly(command))
app.command("list")(plainly(list_))
