"""What a prediction sums up over its rows: never a list of them, so that it stays small whatever their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.record import Count, Record
from sgc.errors import LISTED
from sgc.runtime.finiteness import row_list
from sgc.runtime.inference import FEW

LEFT_OUT = 1000  # rows that are left out of which each is named
REASONS = 100  # that are told apart
OTHER = "for other reasons"
COARSE = 14  # bits of a float32 that are not kept of effective samples: to a thousandth, 1 in 2^10


class ReasonRecord(Record):
    """Rows that are left out for one reason: the first of them, what they are named, and how many there are."""

    reason: str
    rows: list[Count]
    names: list[str | int | float | bool | None]
    count: Count


class SumsRecord(Record):
    """`PredictionSums` in a file."""

    rows: Count
    answered: Count
    given: dict[str, Count]
    ignored: dict[str, Count]
    few: Count
    effective: dict[str, Count]
    reasons: list[ReasonRecord]
    left_out: dict[str, str]


@dataclass
class Reason:
    """The first rows that are left out for one reason, what their file names them, and how many there are."""

    rows: list[int] = field(default_factory=list)
    names: list[Any] = field(default_factory=list)  # Any: a cell of an id column; empty where there is none
    count: int = 0

    def words(self, reason: str) -> str:
        """List the rows and say why; of many, the first twelve."""
        names = dict(zip(self.rows, self.names, strict=False))
        return f"{row_list(self.rows, names, self.count)}: {reason}"


@dataclass
class PredictionSums:
    """Sums over rows: how many, how many have answers, by node how many values are evidence or ignored.

    `effective` counts rows by their effective samples, of which `few` are below `FEW`; rows that weigh no samples are
    not in it. `reasons`, by text, are of the rows that are left out; `left_out` says of the first of them why.
    """

    rows: int = 0
    answered: int = 0
    given: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    few: int = 0
    effective: Counter[int] = field(default_factory=Counter)  # by the upper bits of a float32
    reasons: dict[str, Reason] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)

    def add_effective(self, effective: Tensor) -> None:
        """Count the effective samples of rows, [N], as in `Inference`."""
        known = effective[effective.isfinite()].to(torch.float32).numpy()
        self.few += int((known < FEW).sum())
        rounded = (known.view(np.int32) + (1 << (COARSE - 1))) >> COARSE
        kinds, counts = np.unique(rounded, return_counts=True)
        self.effective.update(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))

    def leave_out(self, row: int, reason: str, name: Any = None, *, named: bool = False) -> None:  # Any: a cell
        """Note that a row is left out. named: whether its file gives it a name."""
        if len(self.left_out) < LEFT_OUT:
            self.left_out[row] = reason
        if reason not in self.reasons and len(self.reasons) >= REASONS:
            reason = OTHER
        of = self.reasons.setdefault(reason, Reason())
        of.count += 1
        if len(of.rows) < LISTED:
            of.rows.append(row)
            of.names += [name] if named else []

    def add(self, later: PredictionSums) -> None:
        """Add the sums over the rows that follow."""
        self.rows += later.rows
        self.answered += later.answered
        self.few += later.few
        for mine, its in ((self.given, later.given), (self.ignored, later.ignored)):
            for name, count in its.items():  # also names that no row counts for
                mine[name] += count
        self.effective.update(later.effective)
        self.left_out |= islice(later.left_out.items(), LEFT_OUT - len(self.left_out))
        for text, reason in later.reasons.items():
            known = text in self.reasons or len(self.reasons) < REASONS
            of = self.reasons.setdefault(text if known else OTHER, Reason())
            room = LISTED - len(of.rows)
            of.rows += reason.rows[:room]
            of.names += reason.names[:room]
            of.count += reason.count

    @property
    def broken(self) -> int:
        """How many rows are left out."""
        return self.rows - self.answered

    @property
    def median(self) -> float:
        """The median of the effective samples, the lower of two, to a thousandth; infinite where there are none."""
        half, below = (self.effective.total() + 1) // 2, 0
        for kind in sorted(self.effective):
            below += self.effective[kind]
            if below >= half:
                return float(np.int32(kind << COARSE).view(np.float32))
        return inf

    def reasons_words(self) -> str:
        """List the rows that are left out, with the reason of each, those of one reason together."""
        return "; ".join(reason.words(text) for text, reason in self.reasons.items())

    def plain(self) -> Mapping[str, Any]:  # Any: what JSON can say
        """Give it as the record of a file."""
        return {
            "rows": self.rows,
            "answered": self.answered,
            "given": dict(self.given),
            "ignored": dict(self.ignored),
            "few": self.few,
            "effective": {str(kind): count for kind, count in self.effective.items()},
            "reasons": [
                {"reason": text, "rows": of.rows, "names": of.names, "count": of.count}
                for text, of in self.reasons.items()
            ],
            "left_out": {str(row): why for row, why in self.left_out.items()},
        }

    @classmethod
    def of(cls, record: SumsRecord) -> PredictionSums:
        """Read it from a record. Raises: ValueError."""
        return cls(
            record.rows,
            record.answered,
            Counter(record.given),
            Counter(record.ignored),
            record.few,
            Counter({int(kind): count for kind, count in record.effective.items()}),
            {of.reason: Reason(list(of.rows), list(of.names), of.count) for of in record.reasons},
            {int(row): why for row, why in record.left_out.items()},
        )
