"""The table of a sweep: for each setting the mean of each measure over its seeds, with the standard deviation."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgc.errors import UsageError, printable
from sgc.metrics.metrics import METRICS
from sgc.sweeps.cells import short_names, value_text
from sgc.sweeps.outcomes import WAYS, measures_of
from sgc.sweeps.sweep_file import SweepFile, Value
from sgc.sweeps.sweep_runs import Ended

ENDINGS = (".csv", ".json", ".tex")
WAY_WORDS = {"q": "q", "posterior": "posterior", "classifier": "classifier alone"}
ROUGH = ("ece", "nll", "brier")  # not in the table unless asked for


@dataclass(frozen=True)
class Spread:
    """A measure over the seeds of a setting: its mean, its standard deviation (n − 1; NaN of one run), and how many."""

    mean: float
    sd: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        sd = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), sd, len(values))


@dataclass(frozen=True)
class Column:
    """A measure as the table shows it: its name in files, its title, and by what a value is multiplied."""

    name: str
    title: str
    unit: str = ""
    scale: float = 1.0

    def words(self, spread: Spread) -> str:
        """Write mean ± standard deviation, in the column's unit."""
        mean, sd = self.scale * spread.mean, self.scale * spread.sd
        digits = 2 if abs(mean) < 1000 else 0
        return f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}")


@dataclass(frozen=True)
class Row:
    """A setting: its values, its measures, and how many of its runs are done and failed."""

    settings: tuple[tuple[str, Value], ...]
    measures: dict[str, Spread]
    done: int
    failed: int


@dataclass(frozen=True)
class Table:
    """All settings of a sweep, in its order."""

    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    seeds: int

    def text(self) -> str:
        """Write it as aligned lines."""
        short = short_names(self.keys)
        head = [*(short[key] for key in self.keys), *(_heading(column) for column in self.columns), "runs"]
        lines = [head, *([*map(_shown, self._values(row)), *self._cells(row), self._runs(row)] for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def csv(self) -> str:
        """Write it as csv: of each measure the mean, the standard deviation and the number of runs, unscaled."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        names = sorted({name for row in self.rows for name in row.measures}, key=self._order)
        writer.writerow(
            [*self.keys, "done", "failed", *(f"{n}.{part}" for n in names for part in ("mean", "sd", "runs"))]
        )
        for row in self.rows:
            numbers: list[object] = []
            for name in names:
                spread = row.measures.get(name)
                numbers += (
                    ["", "", 0]
                    if spread is None
                    else [spread.mean, "" if math.isnan(spread.sd) else spread.sd, spread.runs]
                )
            writer.writerow([*map(_shown, self._values(row)), row.done, row.failed, *numbers])
        return buffer.getvalue()

    def json(self) -> str:
        """Write it as JSON, every measure of every setting, unscaled."""
        rows = [
            {
                "settings": dict(row.settings),
                "done": row.done,
                "failed": row.failed,
                "measures": {
                    name: {"mean": s.mean, "sd": None if math.isnan(s.sd) else s.sd, "runs": s.runs}
                    for name, s in row.measures.items()
                },
            }
            for row in self.rows
        ]
        return json.dumps({"seeds": self.seeds, "rows": rows}, indent=1, ensure_ascii=False)

    def latex(self) -> str:
        """Write it as a LaTeX table in the style of booktabs."""
        short = short_names(self.keys)
        heads = [*(_latex(short[key]) for key in self.keys), *(_latex(_heading(column)) for column in self.columns)]
        body = [
            [*(_latex(_shown(v)) for v in self._values(row)), *(_pm(c) for c in self._cells(row))] for row in self.rows
        ]
        form = "l" * len(self.keys) + "r" * len(self.columns)
        lines = [rf"\begin{{tabular}}{{{form}}}", r"\toprule", " & ".join(heads) + r" \\", r"\midrule"]
        return "\n".join([*lines, *(" & ".join(line) + r" \\" for line in body), r"\bottomrule", r"\end{tabular}", ""])

    def write(self, path: Path) -> None:
        """Write it into a file, by its ending. Raises: UsageError, OSError."""
        from sgc.data.outputs import write_output

        forms: dict[str, Callable[[], str]] = {".csv": self.csv, ".json": self.json, ".tex": self.latex}
        if path.suffix not in forms:
            raise UsageError(f"{path}: a table ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
        write_output(path, forms[path.suffix]().encode())

    def _values(self, row: Row) -> list[Value]:
        settings = dict(row.settings)
        return [settings.get(key, ABSENT) for key in self.keys]

    def _cells(self, row: Row) -> list[str]:
        spreads = [row.measures.get(column.name) for column in self.columns]
        return [
            "-" if spread is None else column.words(spread)
            for column, spread in zip(self.columns, spreads, strict=True)
        ]

    def _runs(self, row: Row) -> str:
        failed = f", {row.failed} failed" if row.failed else ""
        return f"{row.done}/{self.seeds}{failed}"

    def _order(self, name: str) -> tuple[int, str]:
        ways = [*WAYS, "elbo", "log_p", "validation_bound", "validation_error", "seconds"]
        return ways.index(name.split(".")[0]), name


ABSENT = object()  # of a key that a setting leaves as the spec has it


def table_of(sweep: SweepFile, state: Ended) -> Table:
    """Make the table of what has ended so far. Raises: UsageError for a measure that no run has."""
    groups: dict[str, list[int]] = {}
    cells = list(state.cells)
    for index, cell in enumerate(cells):
        groups.setdefault(json.dumps(cell.settings, sort_keys=True), []).append(index)
    rows = []
    for members in groups.values():
        ended = [state.outcomes[cells[i]] for i in members if cells[i] in state.outcomes]
        measured = [measures_of(outcome) for outcome in ended if outcome.evaluation]
        names = dict.fromkeys(name for measures in measured for name in measures)
        spreads = {name: Spread.of([m[name] for m in measured if name in m]) for name in names}
        failed = sum(outcome.state == "failed" for outcome in ended)
        rows.append(Row(cells[members[0]].settings, spreads, len(ended) - failed, failed))
    known = list(dict.fromkeys(name for row in rows for name in row.measures))
    unknown = [name for name in sweep.measures if known and name not in known]
    if unknown:
        raise UsageError(f"measures: no run has '{unknown[0]}': {', '.join(known)}")
    chosen = [name for name in sweep.measures if name in known] or [name for name in known if _is_shown(name)]
    return Table(sweep.varied, tuple(map(column_of, chosen)), tuple(rows), len(sweep.seeds))


def _is_shown(name: str) -> bool:
    way, _, rest = name.partition(".")
    last = rest.rpartition(".")[2]
    return (way in WAYS and last in METRICS) or name in ("log_p", "seconds")


def column_of(name: str) -> Column:
    """Say how a measure is shown, by its name in files."""
    way, _, rest = name.partition(".")
    node, _, metric = rest.rpartition(".")
    if way in WAYS:
        known = METRICS.get(metric)
        title, unit, scale = (metric, "", 1.0) if known is None else (known.title, known.unit, known.scale)
        return Column(name, f"{title} of {node}, {WAY_WORDS[way]}", unit, scale)
    if way == "validation_error":
        return Column(name, f"validation error of {rest}", "%", 100.0)
    words = {"log_p": ("log p(x)", "nats"), "elbo": ("ELBO", "nats"), "validation_bound": ("validation bound", "nats")}
    if name == "seconds":
        return Column(name, "training", "min", 1 / 60)
    title, unit = words[name]
    return Column(name, title, unit)


def _heading(column: Column) -> str:
    return f"{column.title}, {column.unit}" if column.unit else column.title


def _shown(value: Value) -> str:
    return "" if value is ABSENT else printable(value_text(value))


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _pm(words: str) -> str:
    return "--" if words == "-" else "$" + words.replace(" ± ", r" \pm ") + "$"
