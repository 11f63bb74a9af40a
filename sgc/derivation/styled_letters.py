"""Styled letters: a text in which letters carry a role, so that a printer can fold and colour it without reading it.

As in the cells of a terminal, a letter and its role are one character: the role is a block of Unicode's private plane
15, which neither names nor formulas use. Styled letters are kept on one line where they fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

PLANE, BLOCK = 0xF0000, 0x100
ROLES = ("kept", "generative", "recognition", "exact", "enumerated", "sampled", "biased", "varies")


def style(text: str, role: str) -> str:
    """Give letters a role; those that have one keep it.

    >>> plain("log " + style("p(x | z)", "generative"))
    'log p(x | z)'
    """
    first = PLANE + BLOCK * ROLES.index(role)
    return "".join(chr(first + ord(letter)) if ord(letter) < BLOCK else letter for letter in text)


def plain(text: str) -> str:
    """Take the roles off all letters."""
    if text.isascii():
        return text
    return "".join(letter if ord(letter) < PLANE else chr(ord(letter) % BLOCK) for letter in text)


def runs(text: str) -> Iterator[tuple[str, str]]:
    """Divide a text into runs of one role each, '' for none, without styles.

    >>> list(runs("log " + style("p(x)", "generative")))
    [('', 'log '), ('generative', 'p(x)')]
    """
    for block, letters in itertools.groupby(text, key=lambda letter: (ord(letter) - PLANE) // BLOCK):
        yield ROLES[block] if block >= 0 else "", plain("".join(letters))
