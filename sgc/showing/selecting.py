"""Which of the observation patterns are shown, which are searched, and which a user asks for: there are 2ⁿ of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

from sgc.derivation.graph import Graphs
from sgc.errors import UsageError

SHOWN = 8  # so many observation patterns are shown; of more the unlabelled one, single labels, and all labels
SEARCHED = 256  # and warnings are looked for in this many, all labels among them
EFFORT = 20_000  # fewer for large models: so many nodes are gone through in all


def _patterns(partial: tuple[str, ...]) -> Iterator[frozenset[str]]:
    """Go through every observation pattern, the unlabelled one first; there are 2ⁿ, so one at a time."""
    for size in range(len(partial) + 1):
        yield from map(frozenset, itertools.combinations(partial, size))


def shown(graphs: Graphs) -> tuple[list[frozenset[str]], int]:
    """Choose the patterns to show; return them with the number of those left out."""
    partial = graphs.partial
    total = 1 << len(partial)
    if total <= SHOWN:
        return list(_patterns(partial)), 0
    chosen = [frozenset[str](), *(frozenset({name}) for name in partial[: SHOWN - 2]), frozenset(partial)]
    return chosen, total - len(chosen)


def pattern_of(graphs: Graphs, text: str, steps: Collection[str] = ()) -> frozenset[str]:
    """Read the pattern of labels that a text names, `species,sex` or `none`. Raises: UsageError.

    steps: single steps of repeats, which may be named too.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"] and "none" not in graphs.partial:
        return frozenset()
    wrong = next((name for name in names if name not in graphs.partial and name not in steps), None)
    if wrong is not None or not names:
        found = f"'{wrong}' is not partially supervised" if wrong is not None else "it names no label"
        raise UsageError(f"--pattern {text}: {found}; allowed: none, {', '.join(graphs.partial)}".rstrip(", "))
    return frozenset(names)


def searched(graphs: Graphs, nodes: int) -> list[frozenset[str]]:
    """Choose the patterns to look for warnings in: those with the fewest labels, and that with all.

    nodes: how many there are to go through for a pattern, every step of a repeat counted.
    """
    partial = graphs.partial
    limit = max(SHOWN, min(SEARCHED, EFFORT // nodes))
    if 1 << len(partial) <= limit:
        return list(_patterns(partial))
    return [*itertools.islice(_patterns(partial), limit - 1), frozenset(partial)]
