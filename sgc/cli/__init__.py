"""The shell interface: parse, call, print, exit status. A command imports what it needs when it is called.

Results go to standard output, everything else to standard error. Exit 0 done, 1 failed while running, 2 wrong spec,
data or usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from sgc import __version__
from sgc.cli.collection import collecting_seldom
from sgc.cli.exit_status import plainly
from sgc.cli.run_commands import evaluate, predict, sample
from sgc.cli.spec_commands import check, inspect, prove, schema
from sgc.cli.start_commands import data, init
from sgc.cli.train_command import train
from sgc.report.standard_streams import say, standard_streams

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


for command in (check, inspect, train, evaluate, predict, sample, prove, schema, init, data):
    app.command()(plainly(command))


def main() -> None:
    """Run the command line, on streams that show whatever it prints."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files: whatever windows the user's own settings name, none opens
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some opens every installed package
    with standard_streams(), collecting_seldom():
        try:
            try:
                app()
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(0)
        except OSError as problem:  # of what is printed outside a command, such as its help
            say(f"error: {problem.filename}: {problem.strerror}")
            sys.exit(1)
