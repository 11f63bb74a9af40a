"""Choosing patterns of labels, all of them or the plainest and some others; and their names."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from sgc.derivation.node_id import NodeId


def some_patterns(names: Sequence[str], most: int, rng: random.Random) -> list[tuple[str, ...]]:
    """List all patterns, or at most so many: without labels, with each one, with all, and others at random."""
    total = 2 ** len(names)
    every = range(total) if total <= most else [0, *(1 << i for i in range(len(names))), total - 1]
    codes = list(every)
    while len(codes) < min(most, total):
        code = rng.getrandbits(len(names))
        codes += [] if code in codes else [code]
    codes.sort(key=lambda code: (code.bit_count(), [i for i in range(len(names)) if code >> i & 1]))
    return [tuple(name for i, name in enumerate(names) if code >> i & 1) for code in codes]


def some(patterns: Sequence[tuple[str, ...]], most: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Choose some patterns in their order: the first, the last, and others at random."""
    if len(patterns) <= most:
        return list(patterns)
    inner = sorted(rng.sample(range(1, len(patterns) - 1), most - 2))
    return [patterns[i] for i in (0, *inner, len(patterns) - 1)]


def words_of(observed: Iterable[NodeId]) -> str:
    """Describe the rows of a pattern.

    >>> words_of([NodeId("a"), NodeId("b")]), words_of(map(NodeId, "abcdefgh"))
    ('rows with a and b labelled', 'rows with 8 labels: a, b, c, …')
    """
    words = in_steps(observed)
    if len(words) > 6:
        return f"rows with {len(words)} labels: {', '.join(words[:3])}, …"
    return f"rows with {' and '.join(words)} labelled" if words else "rows without labels"


def in_steps(nodes: Iterable[NodeId]) -> list[str]:
    """Name nodes as in the file, those of a repeat with their steps.

    >>> in_steps([NodeId("k"), NodeId("t.s", (0,)), NodeId("t.s", (2,)), NodeId("a.b.x", (0, 1))])
    ['k', 't.s of steps 1, 3', 'a.b.x of step 1.2']
    """
    named: dict[str, list[str]] = {}
    for node in nodes:
        named.setdefault(node.name, []).extend([node.step] if node.index else [])
    return [
        f"{name} of step{'s' * (len(steps) > 1)} {', '.join(steps)}" if steps else name for name, steps in named.items()
    ]
