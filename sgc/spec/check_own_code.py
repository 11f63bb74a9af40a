"""Own code in a spec: every place that names some, refused if the spec is not trusted.

It is read from the file as written: faults beside it do not hide it, and the rest of the spec is checked by what it
declares.
"""

from __future__ import annotations

from collections.abc import Iterator

from sgc.errors import Path
from sgc.own_code import is_import_path, wants_trust
from sgc.spec.document import Plain
from sgc.spec.findings import Findings

# where a spec or a repeat may have `python: module:Class`: a source, a bound, a metric, a family, an estimator, a
# network or an entry of one
_NETWORKS = (
    ("networks", "*"),
    ("features", "*", "network"),
    ("carry", "*", "network"),
    ("nodes", "*", "generative", "network"),
    ("nodes", "*", "recognition", "network"),
    ("nodes", "*", "recognition", "experts", "*", "network"),
    ("recognition", "network"),
)
PLACES: tuple[tuple[str, ...], ...] = (
    ("data",),
    ("objective", "bound"),
    ("evaluate", "metrics", "*"),
    ("nodes", "*", "distribution"),
    ("nodes", "*", "recognition", "estimator"),
    *_NETWORKS,
    *((*place, "*") for place in _NETWORKS),
)


def check_own_code(findings: Findings, *, trust: bool) -> None:
    """Find own code that is not trusted."""
    document = findings.document
    levels = [] if trust else [((), document.data), *_repeats(document.data)]
    for level, data in levels:
        for path, written in (match for place in PLACES for match in _matching(data, place, level)):
            named = written.get("python") if isinstance(written, dict) else None
            if is_import_path(named):  # else it has a fault of its own
                # nothing is marked as broken: what is declared beside it still holds
                findings.faults.append(document.fault((*path, "python"), *wants_trust(named)))


def _repeats(written: Plain, path: Path = ()) -> Iterator[tuple[Path, Plain]]:
    """List the repeats of a level, and those in them, with what is written there."""
    for inner, repeat in _matching(written, ("repeat", "*"), path):
        yield inner, repeat
        yield from _repeats(repeat, inner)


def _matching(written: Plain, form: tuple[str, ...], path: Path = ()) -> Iterator[tuple[Path, Plain]]:
    """List the places that match a form, with what is written there: `*` matches any key and any entry of a list."""
    if not form:
        yield path, written
        return
    parts = written.items() if isinstance(written, dict) else enumerate(written) if isinstance(written, list) else ()
    for key, part in parts:
        if form[0] in ("*", key):
            yield from _matching(part, form[1:], (*path, key))
