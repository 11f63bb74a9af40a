"""What a command's end says: every fault of a user's in words, with exit status 0, 1, 2 or 130."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from sgc.errors import DataError, RunError, SpecError, UsageError, in_shell, is_about_memory
from sgc.report.standard_streams import say, styled, visible

if TYPE_CHECKING:
    pass

P = ParamSpec("P")
R = TypeVar("R")


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every fault of a user's into words and an exit status."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with in_shell(), warnings.catch_warnings():
                warnings.showwarning = _warn_plainly  # type: ignore[assignment]  # which takes more by name
                result = command(*args, **kwargs)
                sys.stdout.flush()  # what cannot be written is a fault of the command, not of the exit
                return result
        except SpecError as problem:
            _print_faults(problem)
            raise typer.Exit(2) from None
        except (DataError, UsageError) as problem:
            say(f"error: {problem}")
            raise typer.Exit(2) from None
        except RunError as problem:
            say(f"error: {problem}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read our output has had enough
            raise typer.Exit(0) from None
        except OSError as problem:
            where = f"{problem.filename}: " if problem.filename else ""
            say(f"error: {where}{problem.strerror or problem}")
            raise typer.Exit(1) from None
        except (Exception, SystemExit) as problem:
            if is_about_memory(problem):
                say("error: not enough memory: take fewer samples, smaller batches or smaller networks")
                raise typer.Exit(1) from None
            told = _own_failure(problem)
            if not told:
                raise
            say(f"error: {told}")
            raise typer.Exit(1) from None

    return run


def _warn_plainly(message: Warning | str, *rest: object) -> None:
    """Tell a warning without the line of code that it came from."""
    say(f"warning: {message}")


def _own_failure(problem: BaseException) -> str:
    """Say where own code failed; an empty string where the failure is not its."""
    if "sgc.own_code" not in sys.modules:  # nothing of it was read
        return ""
    from sgc.own_code import failure

    return failure(problem)


def _print_faults(problem: SpecError) -> None:
    """Print faults unwrapped; in colour on a terminal that wants it."""
    text = visible(str(problem))
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        lines = []
        for line in text.split("\n"):
            gutter, bar, rest = line.partition(" | ")
            if bar and not gutter.strip() and "^" in rest:
                line = f"{gutter}{bar}\033[31m{rest}\033[0m"
            elif not (bar and (gutter.strip().isdigit() or not gutter.strip())):
                line = f"\033[1m{line}\033[0m"
            lines.append(line)
        text = "\n".join(lines)
    print(text, file=styled(sys.stderr))
