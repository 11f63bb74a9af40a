"""What was measured of a step, by contender; whether losses agree; and the table of it all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, stdev

from benchmarks.contenders import SGC

ERRORS = 5.0  # standard errors by which losses may differ
ROUNDING = 1e-5  # share of a loss that float32 may lose


@dataclass
class Measured:
    """One contender's step. Lists have an entry for each round: seconds a step."""

    title: str
    lost: str = ""  # why there is nothing more; "cannot: ..." where the library has no way
    losses: list[float] = field(default_factory=list)
    exact: dict[str, float] = field(default_factory=dict)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    peak: float = 0.0  # MiB
    faults: list[float] = field(default_factory=list)  # pages of memory that a step has the system put in
    resident: float = 0.0  # MiB, of libraries alone
    operators: int | None = None
    setup: float = 0.0  # seconds
    later: float | None = None  # loss after all steps

    @property
    def loss(self) -> float:
        return fmean(self.losses)

    @property
    def error(self) -> float:
        """Give the standard error of the loss."""
        if not all(map(math.isfinite, self.losses)):
            return math.nan
        return stdev(self.losses) / len(self.losses) ** 0.5 if len(self.losses) > 1 else 0.0


Step = dict[str, Measured]  # by contender


def ratios(one: Measured, other: Measured) -> list[float]:
    """Divide CPU times round by round."""
    return [a / b for a, b in zip(one.cpu, other.cpu, strict=True)]


def disagreement(one: Measured, other: Measured) -> str:
    """Say in what two contenders differ by more than chance; an empty string where in nothing."""
    apart = abs(one.loss - other.loss)
    allowed = ERRORS * math.hypot(one.error, other.error) + ROUNDING * abs(other.loss)
    if not apart <= allowed:
        return f"loss {one.loss:.4f} for {other.loss:.4f}, allowed ±{allowed:.4f}"
    for name in one.exact.keys() & other.exact.keys():
        mine, theirs = one.exact[name], other.exact[name]
        if not abs(mine - theirs) <= ROUNDING * max(1.0, abs(theirs)):
            return f"{name} {mine:.6f} for {theirs:.6f}"
    return ""


def reference(step: Step) -> Measured | None:
    """Give the contender that losses are held to: the first that has one."""
    return next((each for each in step.values() if not each.lost), None)


def disagreements(steps: dict[str, Step]) -> list[str]:
    """List every contender whose loss is not that of the first."""
    found = []
    for name, step in steps.items():
        against = reference(step)
        for each in step.values():
            if against is not None and not each.lost and (why := disagreement(each, against)):
                found.append(f"{name}, {each.title}: {why}")
    return found


TIMES, OTHERS = (
    ["CPU ms", "wall ms", "sgc : it", "range"],
    ["loss at the start", "peak MiB", "faults", "operators", "set-up s"],
)
COLUMNS = ["step", "contender", *TIMES, *OTHERS]
WORDS = 2  # columns of words; the others are of numbers


def table(steps: dict[str, Step]) -> str:
    """Write everything as one table, which reads as text and as Markdown, and below it why rows have no numbers."""
    rows = [list(row) for name, step in steps.items() for row in _rows(name, step)]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    rule = "|".join("-" * (width + 1) + ("-" if i < WORDS else ":") for i, width in enumerate(widths))
    lines = [_line(COLUMNS, widths), f"|{rule}|"]
    below = [f"- {reason}" for reason in reasons(steps)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows), *([""] if below else []), *below])


def reasons(steps: dict[str, Step]) -> list[str]:
    """Say why contenders have rows without numbers, each reason once."""
    found: dict[str, list[str]] = {}
    for name, step in steps.items():
        for each in step.values():
            if each.lost:
                found.setdefault(f"{each.title} {each.lost}", []).append(name)
    return [f"{', '.join(names)}: {reason}." for reason, names in found.items()]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = list(zip(cells, widths, strict=True))
    words = [cell.ljust(width) for cell, width in pairs[:WORDS]]
    return "| " + " | ".join([*words, *(cell.rjust(width) for cell, width in pairs[WORDS:])]) + " |"


def _rows(name: str, step: Step) -> Iterator[list[str]]:
    own, against = step.get(SGC), reference(step)
    for each in step.values():
        if each.lost:
            yield [name, each.title, each.lost.partition(":")[0], *[""] * (len(COLUMNS) - 3)]
            continue
        ratio = extent = ""
        if own is not None and each is not own and not own.lost:
            found = ratios(own, each)
            ratio, extent = f"{median(found):.2f}", f"{min(found):.2f}–{max(found):.2f}"
        assert against is not None
        differs = " differs" if disagreement(each, against) else ""
        yield [
            name,
            each.title,
            f"{1000 * median(each.cpu):.3g}",
            f"{1000 * median(each.wall):.3g}",
            ratio,
            extent,
            f"{each.loss:.3f} ± {each.error:.3f}{differs}",
            f"{each.peak:.0f}",
            f"{median(each.faults):.0f}" if each.faults else "-",
            "-" if each.operators is None else str(each.operators),
            f"{each.setup:.1f}",
        ]
