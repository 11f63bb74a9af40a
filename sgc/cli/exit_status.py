"""How a command ends: every fault that a user can mend in words, with exit status 0, 1, 2 or 130."""

from __future__ import annotations

import functools
import io
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from typing import ParamSpec, TypeVar

import typer

from sgc.errors import DataError, Interrupted, RunError, SpecError, UsageError, in_shell, is_about_memory
from sgc.report.standard_streams import say, styled, visible

P = ParamSpec("P")
R = TypeVar("R")


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every fault that a user can mend into words and an exit status."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with in_shell(), warnings.catch_warnings():
                warnings.showwarning = _warn_plainly  # type: ignore[assignment]  # which takes more by name
                result = command(*args, **kwargs)
                sys.stdout.flush()  # what cannot be written is a fault of the command, not of the exit
                return result
        except (Exception, KeyboardInterrupt, SystemExit) as problem:
            quiet = getattr(problem, "said_by_another", False)  # of the processes that train together
            with redirect_stderr(io.StringIO()) if quiet else nullcontext():
                status = _explain(problem)
            if status is None:
                raise
            raise typer.Exit(status) from None

    return run


def _explain(problem: BaseException) -> int | None:
    """Print what went wrong and give the exit status; None where it is nothing that a user can mend."""
    match problem:
        case SpecError():
            _print_faults(problem)
            return 2
        case DataError() | UsageError():
            say(f"error: {problem}")
            return 2
        case RunError():
            say(f"error: {problem}")
            return 1
        case Interrupted() | KeyboardInterrupt():
            say(str(problem) or "interrupted")
            return 130
        case BrokenPipeError():  # the reader of our output has had enough
            return 0
        case OSError():
            file = f"{problem.filename}: " if problem.filename else ""
            say(f"error: {file}{problem.strerror or problem}")
            return 1
    if is_about_memory(problem):
        say("error: not enough memory: take fewer samples, smaller batches or smaller networks")
        return 1
    if own_failure := _own_failure(problem):
        say(f"error: {own_failure}")
        return 1
    return None


def _warn_plainly(message: Warning | str, *rest: object) -> None:
    """Print a warning without the line of code that it came from."""
    say(f"warning: {message}")


def _own_failure(problem: BaseException) -> str:
    """Say where own code failed; an empty string where the failure is not in own code."""
    if "sgc.own_code" not in sys.modules:  # no own code was read
        return ""
    from sgc.own_code import failure

    return failure(problem)


STYLES = {"head": "\033[1m", "caret": "\033[31m"}


def _print_faults(problem: SpecError) -> None:
    """Print faults unwrapped; in colour on a terminal that wants it."""
    colored = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    for fault in problem.faults:
        text = ""
        for role, piece in fault.pieces():
            style = STYLES.get(role, "") if colored else ""
            text += f"{style}{visible(piece)}\033[0m" if style else visible(piece)
        print(text, file=styled(sys.stderr))
