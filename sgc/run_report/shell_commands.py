"""Commands of the shell, and calls from Python, that a report advises: whole, so that they can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

from sgc.run_report.run_facts import RunFacts


def command(verb: str, facts: RunFacts, *options: str) -> str:
    """Write a command on a run, with `--trust` where its spec names own code.

    verb: of sgc, such as `report`. options: behind the run, as they are.
    """
    return " ".join(["sgc", verb, shlex.quote(facts.run), *options, *_trust(facts)])


def flag(name: str, value: object = "") -> str:
    """Write an option of a command of the shell, whoever asks for the report.

    >>> flag("samples", 10), flag("resume")
    ('--samples 10', '--resume')
    """
    return f"--{name} {value}".rstrip()


def resuming(facts: RunFacts, epochs: int | None = None) -> str:
    """Write what goes on with a run: its own spec.yaml holds all settings, and it knows where its data are.

    epochs: a later end than it was started with.
    """
    spec = str(Path(facts.run) / "spec.yaml")
    if facts.data == "arrays":
        call = f"sgc.train({spec!r}, data, output={facts.run!r}, resume=True{', trust=True' if facts.trust else ''})"
        if epochs is None:
            return f"in Python, {call} with the same data"
        loaded = f"sgc.load({spec!r}, [{f'train.epochs={epochs}'!r}]{', trust=True' if facts.trust else ''})"
        return f"in Python, {call.replace(repr(spec), loaded, 1)} with the same data"
    options = ["-o", shlex.quote(facts.run), flag("resume")]
    options += [] if epochs is None else [flag("set", f"train.epochs={epochs}")]
    return " ".join(["sgc train", shlex.quote(spec), *options, *_trust(facts)])


def _trust(facts: RunFacts) -> list[str]:
    return [flag("trust")] if facts.trust else []
