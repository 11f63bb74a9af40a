"""The choice among 2ⁿ observation patterns: which are shown, which are searched, and which a user names."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence

from sgc.derivation.graph import Graphs
from sgc.errors import UsageError, option
from sgc.spec.outline import Outline

SHOWN = 8  # patterns that are shown; where there are more: without labels, with single labels, with all labels
SEARCHED = 256  # patterns that are searched for warnings, that with all labels among them
EFFORT = 60_000  # names and parents that are gone through in all: fewer patterns for large models


def _patterns(groups: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    """Go through every observation pattern, the unlabelled one first; there are 2ⁿ, so one at a time."""
    for size in range(len(groups) + 1):
        for chosen in itertools.combinations(groups, size):
            yield frozenset().union(*chosen)


def together(outline: Outline) -> list[frozenset[str]]:
    """Group the nodes whose labels the rules of the data give to the same rows; those that get none are left out."""
    data, partial = outline.spec.data, outline.graphs.partial
    rules = data.labels if data is not None else {}
    groups: dict[str, set[str]] = {}
    for name in partial:
        first, group = name, {name}
        while first in rules and (other := rules[first].same_rows_as) in partial and other not in group:
            first = str(other)
            group.add(first)
        rule = rules.get(first)
        if rule is None or (rule.count != 0 and rule.fraction != 0):
            groups.setdefault(first, set()).add(name)
    return [frozenset(nodes) for nodes in groups.values()]


def shown(outline: Outline) -> tuple[list[frozenset[str]], int]:
    """Choose the patterns to show, of those that labels by rule can make; return them with the number left out."""
    groups = together(outline)
    total = 1 << len(groups)
    if total <= SHOWN:
        return list(_patterns(groups)), 0
    chosen = [frozenset[str](), *groups[: SHOWN - 2], frozenset().union(*groups)]
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
        problem = f"'{wrong}' is not partially supervised" if wrong is not None else "it names no label"
        flag, allowed = option("pattern", text), ", ".join(["none", *graphs.partial])
        raise UsageError(f"{flag}: {problem}; allowed: {allowed}")
    return frozenset(names)


def searched(outline: Outline, size: int) -> list[frozenset[str]]:
    """Choose the patterns to look for warnings in: those with the fewest labels, and that with all.

    size: how much there is to go through for a pattern, names and what they read, every step of a repeat counted.
    """
    groups = together(outline)
    limit = max(SHOWN, min(SEARCHED, EFFORT // size))
    if 1 << len(groups) <= limit:
        return list(_patterns(groups))
    return [*itertools.islice(_patterns(groups), limit - 1), frozenset().union(*groups)]
