"""A table of text: columns under their titles, cells of several lines, folded where they are wider than there is room.

It is laid out as rich lays out a table with the box SIMPLE_HEAD, letter by letter (`tests/test_text_table.py`), without
rich: importing that takes longer than all else that `sgc inspect` writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

GAP = 3  # between columns: the spaces beside a line that is not drawn, and its own


def text_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, right: Sequence[str] = ()
) -> list[str]:
    """Lay out a table with an empty line between its rows; give its lines.

    rows: their cells, of one or more lines. width: the most columns of a terminal that a line takes, at least as many
    as there are titles to stand apart. right: the titles of what is aligned to the right.
    """
    cells = [[cell.expandtabs() for cell in row] for row in rows]
    columns = list(zip(titles, *cells, strict=True))
    room = width - (len(titles) - 1)
    # the outer columns have the space of a gap on one side alone
    beside = [(place > 0) + (place < len(titles) - 1) for place in range(len(titles))]
    widest = [
        min(room, space + max(_width(line) for cell in column for line in cell.split("\n")))
        for column, space in zip(columns, beside, strict=True)
    ]
    widths = [wide - space for wide, space in zip(_narrowed(widest, room), beside, strict=True)]
    folded = [
        [
            [line for text in cell.split("\n") for line in _folded(text, wide)]
            for cell, wide in zip(row, widths, strict=True)
        ]
        for row in [titles, *cells]
    ]
    head, *body = folded
    height = max(map(len, head))
    places = [title in right for title in titles]
    lines = _side_by_side([[""] * (height - len(cell)) + cell for cell in head], widths, places)
    lines.append("─" * (sum(widths) + GAP * (len(titles) - 1)))
    for number, row in enumerate(body):
        lines += [""] if number else []
        lines += _side_by_side(row, widths, places)
    return lines


def _side_by_side(cells: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    lines = []
    for texts in zip_longest(*cells, fillvalue=""):
        padded = []
        for text, width, to_the_right in zip(texts, widths, right, strict=True):
            text = text.rstrip()
            space = " " * (width - _width(text))
            padded.append(space + text if to_the_right else text + space)
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """Take from the widest columns, evenly, until all have room."""
    widths = list(widths)
    while (excess := sum(widths) - room) > 0:
        most = max(widths)
        places = [place for place, width in enumerate(widths) if width == most]
        step = min(excess, most - max((width for width in widths if width < most), default=0))
        for number, place in enumerate(places):
            share = min(step, round(excess / (len(places) - number)))
            widths[place] -= share
            excess -= share
    return widths


def _folded(text: str, width: int) -> list[str]:
    """Fold a line between its words; a word that is too long begins a line of its own and is cut."""
    lines, used = [""], 0
    for word in re.findall(r"\s*\S+\s*", text):
        length = _width(word.rstrip())
        if length <= width - used:
            lines[-1] += word
            used += _width(word)
        elif length > width:
            pieces = _cut(word, width)
            lines = [*lines, *pieces] if lines != [""] else pieces
            used = _width(pieces[-1])
        else:
            lines.append(word)
            used = _width(word)
    return lines


def _width(text: str) -> int:
    """Give the columns of a terminal that a text takes: two for a wide letter of Chinese, none for an accent."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int) -> list[str]:
    if text.isascii():
        return [text[start : start + width] for start in range(0, len(text), width)]
    from rich.cells import chop_cells

    return chop_cells(text, width)
