"""The words of `sgc compare`: what differs, and the numbers of each group of runs and of each run."""

from __future__ import annotations

from collections.abc import Sequence

from sgc.errors import printable
from sgc.run_report.run_comparison import RunComparison


def number_rows(comparison: RunComparison) -> tuple[list[str], list[list[str]]]:
    """Lay the numbers out: a row for each group, mean ± sd over seeds, then one for each of its runs."""
    head = ["run", *(measure.title for measure in comparison.measures)]
    rows = []
    for group in comparison.groups:
        several = len(group.runs) > 1
        if several:
            cells = [m.write(group.mean(m.title), group.deviation(m.title)) for m in comparison.measures]
            rows.append([f"{group.letter}  mean ± sd of {len(group.runs)} runs", *cells])
        for run in group.runs:
            title = f"{'' if several else group.letter + '  '}{run.name}" + (f", seed {run.seed}" if several else "")
            cells = [m.write(run.values.get(m.title)) for m in comparison.measures]
            rows.append([f"{'   ' if several else ''}{title}", *cells])
    return head, rows


def comparison_text(comparison: RunComparison) -> str:
    """Write a comparison as aligned tables."""
    letters = [group.letter for group in comparison.groups]
    lines: list[str] = []
    if comparison.differences:
        rows = [[key, *values] for key, values in comparison.differences.items()]
        lines += [*_aligned([["differ in", *letters], *rows], right=False), ""]
    elif len(comparison.runs) > 1:
        lines += ["the specs differ by seeds alone", ""]
    head, rows = number_rows(comparison)
    lines += _aligned([head, *rows], right=True)
    lines += [""] if comparison.notes else []
    return "\n".join([*lines, *(f"note: {printable(note)}" for note in comparison.notes)])


def _aligned(table: Sequence[Sequence[str]], *, right: bool) -> list[str]:
    cells = [[printable(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        rest = [
            cell.rjust(width) if right else cell.ljust(width) for cell, width in zip(others, widths[1:], strict=True)
        ]
        lines.append("  ".join([first.ljust(widths[0]), *rest]).rstrip())
    return lines
