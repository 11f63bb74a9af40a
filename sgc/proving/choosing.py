"""Choosing patterns of labels: all of them, or the plainest and some others; and how they are called."""

from __future__ import annotations

import random
from collections.abc import Sequence


def some_patterns(names: Sequence[str], most: int, rng: random.Random) -> list[tuple[str, ...]]:
    """List every pattern, or none, each and all of the labels, and others, drawn, up to so many."""
    total = 2 ** len(names)
    every = range(total) if total <= most else [0, *(1 << i for i in range(len(names))), total - 1]
    codes = list(every)
    while len(codes) < min(most, total):
        code = rng.getrandbits(len(names))
        codes += [] if code in codes else [code]
    codes.sort(key=lambda code: (code.bit_count(), [i for i in range(len(names)) if code >> i & 1]))
    return [tuple(name for i, name in enumerate(names) if code >> i & 1) for code in codes]


def some(patterns: Sequence[tuple[str, ...]], most: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Choose some patterns, in their order: the first, the last, and others, drawn."""
    if len(patterns) <= most:
        return list(patterns)
    inner = sorted(rng.sample(range(1, len(patterns) - 1), most - 2))
    return [patterns[i] for i in (0, *inner, len(patterns) - 1)]


def words_of(observed: Sequence[str]) -> str:
    """Say which rows a pattern is of.

    >>> words_of(["a", "b"]), words_of("abcdefgh")
    ('rows with a and b labelled', 'rows with 8 labels: a, b, c, …')
    """
    observed = in_steps(observed)
    if len(observed) > 6:
        return f"rows with {len(observed)} labels: {', '.join(observed[:3])}, …"
    return f"rows with {' and '.join(observed)} labelled" if observed else "rows without labels"


def in_steps(names: Sequence[str]) -> list[str]:
    """Word the steps of a repeat's nodes by the name they have in the file.

    >>> in_steps(["k", "t.s@1", "t.s@3", "a.b.x@1.2"])
    ['k', 't.s of steps 1, 3', 'a.b.x of step 1.2']
    """
    found: dict[str, list[str]] = {}
    for name in names:
        whole, _, step = name.partition("@")
        found.setdefault(whole, []).extend([step] if step else [])
    return [
        f"{name} of step{'s' * (len(steps) > 1)} {', '.join(steps)}" if steps else name for name, steps in found.items()
    ]
