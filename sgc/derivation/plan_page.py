"""A page of labelled rows, whose cells are set in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Cells = tuple[str, ...]


def aligned(title: str, blocks: Mapping[str, Sequence[Cells]], together: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write blocks of rows, each below its label. together: labels of blocks whose columns have one width.

    >>> print(*aligned("rows", {"a": [("x", "1"), ("yy", "2")], "b": [("no column",)]}, []), sep="\\n")
    rows
      a         x   1
                yy  2
      b         no column
    """
    wide = {label: max((len(row[0]) for row in rows if len(row) > 1), default=0) for label, rows in blocks.items()}
    for labels in together:
        wide |= dict.fromkeys(labels, max(wide[label] for label in labels))
    yield title
    for label, rows in blocks.items():
        for i, (first, *rest) in enumerate(rows):
            text = "  ".join([f"{first:<{wide[label]}}", *rest]) if rest else first
            yield f"  {'' if i else label:<10}{text}".rstrip()
