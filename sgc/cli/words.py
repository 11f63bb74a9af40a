"""What several commands do with a spec before their own work, and how they print."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sgc.report.standard_streams import say, visible_json

if TYPE_CHECKING:
    from sgc.spec.outline import Outline
    from sgc.spec.spec import Spec


def load_spec(path: str, sets: list[str] | None, trust: bool = False) -> Spec:
    from sgc.spec.loader import load

    return load(path, sets or [], trust=trust)


def outline_of(spec: Spec) -> Outline:
    from sgc.spec.resolver import outline

    return outline(spec)


def warn_of(outline: Outline) -> None:
    from sgc.report.independence_notes import notes
    from sgc.report.warning_notes import warnings as warnings_of

    for warning in warnings_of(outline):
        say(f"warning: {warning}")
    for note in notes(outline):
        say(f"note: {note}")


def print_json(text: str) -> None:
    print(visible_json(text, sys.stdout.encoding))


def wants_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
