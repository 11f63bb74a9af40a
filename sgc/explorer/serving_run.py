"""Serving a run as a page, until it is stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from sgc.explorer.explorer_page import page_of
from sgc.explorer.opening import open_exploration
from sgc.explorer.page_answers import PageAnswers
from sgc.explorer.page_requests import Asked, Brought, Request, Traverse, Walk, read_request
from sgc.explorer.page_server import Answer, PageServer

R = TypeVar("R", bound=Request)


def server_of(run: Path, *, checkpoint: str = "best", port: int, trust: bool = False) -> PageServer:
    """Open a run and the port that its page is served at.

    port: 0 for any that is free. trust: allow own code that the run's spec names.

    Raises: SpecError, UsageError.
    """
    answers = PageAnswers(open_exploration(run, checkpoint, trust=trust))
    return PageServer(port, lambda key: page_of(answers, key), answers_of(answers))


def answers_of(answers: PageAnswers) -> dict[str, Answer]:
    """Give what answers each kind of request."""

    def answering(kind: type[R], answer: Callable[[R], dict[str, Any]]) -> Answer:  # Any: what JSON can say
        def run(body: bytes) -> dict[str, Any]:  # Any: as above
            with torch.inference_mode():
                return answer(read_request(kind, body))

        return run

    return {
        "show": answering(Asked, answers.show),
        "posterior": answering(Asked, answers.posterior),
        "traverse": answering(Traverse, answers.traverse),
        "walk": answering(Walk, answers.walk),
        "bring": answering(Brought, answers.bring),
    }


def opens_by_itself() -> bool:
    """Tell whether a browser is likely to be in front of the user: a terminal of a desktop, no ssh, no CI."""
    away = ("SSH_CONNECTION", "SSH_TTY", "CI")
    if any(os.environ.get(name) for name in away) or not sys.stdout.isatty():
        return False
    desktop = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return desktop or sys.platform in ("darwin", "win32")
