"""A command of sgc that ends when its parent does: run as `python -m sgc.cli.attached_command train …`.

The parent holds the other end of standard input and never writes. Where that end closes, as it does however the parent
dies, the command is interrupted as by Ctrl-C: a training writes its checkpoint, and a later one goes on from it. Where
that end can be written to, the parent learns there that the command has said why it failed.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress


def _watch() -> None:
    while True:
        try:
            if not os.read(0, 1):
                break
        except OSError:
            break
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    from sgc.cli import main

    threading.Thread(target=_watch, daemon=True).start()
    try:
        main()
    except SystemExit as end:
        if end.code:
            with suppress(OSError):
                os.write(0, b"!")
        raise
