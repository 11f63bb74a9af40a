"""The shell interface: parse, call, print, exit status. A command imports what it needs when it is called.

Results go to standard output, everything else to standard error. Exit 0 done, 1 failed while running, 2 wrong spec,
data or usage, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sgc.cli.collection import collecting_seldom

if TYPE_CHECKING:
    from sgc.cli.shell import app as app


def main() -> None:
    """Run the command line, on streams that show whatever it prints."""
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files: whatever windows the user's own settings name, none opens
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some opens every installed package
    with collecting_seldom():
        from sgc.cli.completion import settings_in_bash
        from sgc.cli.shell import app
        from sgc.report.standard_streams import say, standard_streams

        with standard_streams(), settings_in_bash():
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


def __getattr__(name: str) -> object:
    """Import typer and the commands only once they are asked for."""
    if name != "app":
        raise AttributeError(f"module 'sgc.cli' has no attribute '{name}'")
    from sgc.cli.shell import app

    return app
