"""The command that opens a run as a page of this machine."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from sgc.cli.collection import collect_as_usual
from sgc.cli.common import Checkpoint, RunArg, Trust
from sgc.report.standard_streams import say

PORT = 8642


def explore(
    run: RunArg,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port of the page; 0 takes any that is free.")
    ] = PORT,
    open_: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open a browser; by default on a desktop.", show_default=False),
    ] = None,
    checkpoint: Checkpoint = "best",
    trust: Trust = False,
) -> None:
    """Turn the nodes of a run by hand on a page of this machine, and see at once what is generated."""
    from sgc.explorer.serving_run import opens_by_itself, server_of

    collect_as_usual()
    server = server_of(run, checkpoint=checkpoint, port=port, trust=trust)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever started it may have ignored
    print(server.address, flush=True)
    say("stop it with Ctrl-C")
    if opens_by_itself() if open_ is None else open_:
        import webbrowser

        webbrowser.open(server.address)
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()
