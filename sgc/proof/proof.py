"""The result of a proof in words and as plain data: each comparison, exact or of means, and the bias of estimators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgc.objectives.estimator import Estimator
from sgc.proof.comparison import FALSE_ALARM, TOLERANCE, Difference

WARM = 0.2  # a cold relaxation is off by a few percent, one scored at its largest entry by most of the gradient

Plain = Any  # what JSON can say


@dataclass(frozen=True)
class Exact:
    """The exact comparison of the rows of one pattern."""

    rows: str
    epoch: int
    difference: Difference | None
    problem: str = ""  # how the compiled objective failed, if it did
    pattern: bool = True  # False: rows of several patterns in one batch

    @property
    def way(self) -> str:
        return "exact"

    @property
    def passed(self) -> bool:
        return self.difference is not None and self.difference.small

    def words(self) -> str:
        """Say what was found."""
        if self.difference is None:
            return f"FAILED: {self.problem}"
        if self.passed:
            return f"largest difference {self.difference.size:.1e}"
        return (
            f"FAILED: {self.difference.name} differs by {self.difference.size:.1e}, at most {TOLERANCE:.0e} is rounding"
        )

    def plain(self) -> dict[str, Plain]:
        """Give it as plain data."""
        difference = self.difference
        result = (
            {"problem": self.problem} if difference is None else {"difference": difference.size, "at": difference.name}
        )
        return {"rows": self.rows, "epoch": self.epoch, "passed": self.passed, **result}


@dataclass(frozen=True)
class Sampled:
    """The comparison of means: the largest |z| of so many numbers, after so many estimates of a row."""

    rows: str
    epoch: int
    samples: int
    estimates: int
    numbers: int
    score: float
    name: str
    problem: str = ""
    limit: float = math.inf  # on |z|; known once all numbers are counted

    @property
    def way(self) -> str:
        return f"sampled, {self.samples} sample{'s' * (self.samples > 1)}"

    @property
    def passed(self) -> bool:
        return not self.problem and self.score <= self.limit

    def words(self) -> str:
        """Say what was found."""
        if self.problem:
            return f"FAILED: {self.problem}"
        counts = f"{self.numbers:,} numbers, {self.estimates:,} draws"
        if self.passed:
            return f"|z| at most {self.score:.1f} of {counts}"
        return f"FAILED: {self.name} has |z| = {self.score:.3g}, at most {self.limit:.1f} is chance; of {counts}"

    def plain(self) -> dict[str, Plain]:
        """Give it as plain data."""
        result: dict[str, Plain] = {"problem": self.problem}
        if not self.problem:
            result = {"z": self.score, "limit": self.limit, "at": self.name}
            result |= {"numbers": self.numbers, "draws": self.estimates}
        place = {"rows": self.rows, "epoch": self.epoch, "samples": self.samples}
        return {**place, "passed": self.passed, **result}


@dataclass(frozen=True)
class Bias:
    """The bias of an estimator at the twin, in rows without labels: of the gradient as a share, of the loss in nats.

    Each with its standard error.
    """

    node: str
    estimator: Plain
    gradient: tuple[float, float]
    loss: tuple[float, float]

    def words(self) -> str:
        """Say how large the bias is."""
        name, options = _estimator(self.estimator)
        loss, loss_error = self.loss
        at = "".join(f", {key.replace('_', ' ')} {value:g}" for key, value in options.items())
        return (
            f"{self.node}: {name}: gradient off by {_share(self.gradient)}, "
            f"loss by {loss:.3f} ± {loss_error:.3f} nats (relative L2, twin{at})"
        )

    def plain(self) -> dict[str, Plain]:
        """Give it as plain data."""
        loss = {"nats": self.loss[0], "standard_error": self.loss[1]}
        return {"node": self.node, "estimator": self.estimator, "gradient": _relative(self.gradient), "loss": loss}


@dataclass(frozen=True)
class Cooled:
    """The bias of the gradient of a relaxed node at a low temperature, where it must come close to that of hard draws.

    If it does not, then the relaxed value is scored as if it were another.
    """

    node: str
    estimator: Plain
    gradient: tuple[float, float]  # a share, and its standard error

    @property
    def passed(self) -> bool:
        off, error = self.gradient
        return off - 5 * error <= WARM

    @property
    def rows(self) -> str:
        return f"{self.node} when cold"

    def words(self) -> str:
        """Say how close to hard draws a cold relaxation comes."""
        name, options = _estimator(self.estimator)
        text = f"gradient off by {_share(self.gradient)} at temperature {options['temperature']:g}"
        result = text if self.passed else f"FAILED: {text}, at most {100 * WARM:.0f}% is warmth"
        return f"{self.node}: {name}, cold: {result}"

    def plain(self) -> dict[str, Plain]:
        """Give it as plain data."""
        gradient = _relative(self.gradient)
        return {"node": self.node, "estimator": self.estimator, "passed": self.passed, "gradient": gradient}


def _share(measured: tuple[float, float]) -> str:
    return f"{100 * measured[0]:.1f}% ± {100 * measured[1]:.2f}%"


def _relative(measured: tuple[float, float]) -> dict[str, float]:
    return {"relative": measured[0], "standard_error": measured[1]}


def _estimator(plain: Plain) -> tuple[str, Mapping[str, Plain]]:
    """Give the name of an estimator, and its options that are numbers."""
    if isinstance(plain, str):
        return plain, {}
    if "python" in plain:  # the user's own
        name, options = plain["python"], plain.get("options", {})
    else:
        ((name, options),) = plain.items()
    return name, {key: value for key, value in options.items() if isinstance(value, int | float)}


@dataclass(frozen=True)
class Proof:
    """All comparisons of a proof, in the order in which they were made."""

    name: str
    nodes: tuple[str, ...]
    exact: tuple[Exact, ...]
    sampled: tuple[Sampled, ...]
    biases: tuple[Bias, ...]
    cooled: tuple[Cooled, ...]
    notes: tuple[str, ...]
    seed: int
    estimators: Mapping[str, Estimator]  # by node, as in the spec

    @property
    def lines(self) -> tuple[Exact | Sampled | Cooled, ...]:
        return (*self.exact, *self.sampled, *self.cooled)

    @property
    def passed(self) -> bool:
        return all(line.passed for line in self.lines)

    def words(self) -> str:
        """Write what was compared with what, a line for each pattern, and whether the proof holds."""
        lines = [f"{self.name}, on a discrete twin: {', '.join(self.nodes)} of two categories each, seed {self.seed}"]
        moving = len({line.epoch for line in self.exact}) > 1
        compared: list[Exact | Sampled] = [*self.exact, *self.sampled]
        measured: list[Bias | Cooled] = [*self.biases, *self.cooled]
        rows = [(line.rows, line.way + f", epoch {line.epoch}" * moving, line.words()) for line in compared]
        width, wide = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        lines += [f"  {first:<{width}}  {second:<{wide}}  {third}" for first, second, third in rows]
        for estimator in dict.fromkeys(self.estimators.values()):
            names = [name for name, own in self.estimators.items() if own == estimator]
            lines.append(f"  {', '.join(names)}: {estimator}{self._how_proved(estimator)}")
        lines += [f"  {line.words()}" for line in measured]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, self.verdict()])

    def _how_proved(self, estimator: Estimator) -> str:
        if estimator.enumerates:
            return ""
        if estimator.tag == "biased" or not self.sampled:
            return ", proved as enumerate"
        drawn = "drawn" if estimator.charged else "drawn as score_function"
        return f", summed where exact, {drawn} where sampled"

    def verdict(self) -> str:
        """Say in one line whether the proof holds."""
        failed = [line for line in self.lines if not line.passed]
        if failed:
            names = "; ".join(dict.fromkeys(line.rows for line in failed))
            return f"FAILED: {len(failed)} of {len(self.lines)} comparisons: {names}"
        count = len({line.rows for line in self.exact if line.pattern})
        text = f"proved: {count} pattern{'s' * (count > 1)}, bound and gradient, to {TOLERANCE:.0e}"
        if self.sampled:
            limit = self.sampled[0].limit
            text += f"; sampled: |z| up to {limit:.1f} allowed, a false alarm in {1 / FALSE_ALARM:,.0f} proofs"
        return text

    def plain(self) -> dict[str, Plain]:
        """Give it as plain data."""
        return {
            "name": self.name,
            "seed": self.seed,
            "proved": self.passed,
            "nodes": list(self.nodes),
            "exact": [line.plain() for line in self.exact],
            "sampled": [line.plain() for line in self.sampled],
            "biases": [bias.plain() for bias in self.biases],
            "cooled": [cooled.plain() for cooled in self.cooled],
            "notes": list(self.notes),
        }
