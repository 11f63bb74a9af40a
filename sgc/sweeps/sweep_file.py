"""A sweep as it is written: which keys of a spec take which values, with which seeds, and how runs are evaluated."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sgc.errors import Path, SpecError
from sgc.piece import Many, Maybe, Piece
from sgc.spec.document import Document, Plain, read
from sgc.spec.findings import Findings
from sgc.spec.grammar import report

LARGEST_SWEEP = 10_000  # cells
SEED = "train.seed"
NOTHING: Final[dict[str, Any]] = {}

Value = Any  # whatever the spec allows at a key
Settings = dict[str, Value]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _as_seeds(value: Plain) -> Plain:
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else value


class Evaluate(Piece):
    """How each run is evaluated: `sgc evaluate` with these options."""

    split: Annotated[Literal["test", "validation"], Field(description="Which rows.")] = "test"
    samples: Annotated[
        Maybe[Annotated[int, Field(ge=1, lt=2**31)]], Field(description="Of the weighted posterior and log p(x).")
    ] = None
    classifier: Annotated[bool, Field(description="Also train the classifier alone, on the same labels.")] = False
    checkpoint: Annotated[Literal["best", "last"], Field(description="Which weights.")] = "best"


class Range(Piece):
    """The numbers from `low` to `high` that a search may take; `log`: as likely in each decade."""

    low: float
    high: float
    log: bool = False
    step: Maybe[Annotated[float, Field(gt=0)]] = None
    whole: Annotated[bool, Field(description="Whole numbers alone.")] = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low >= self.high:
            raise PydanticCustomError("range", "low is not below high: a search needs some room")
        if self.log and (self.low <= 0 or self.step is not None):
            raise PydanticCustomError("range", "a logarithmic range begins above 0 and has no step")
        return self


class Choice(Piece):
    """The values among which a search chooses."""

    choices: Annotated[Many[Value], Field(min_length=2)]


class Search(Piece):
    """A search by Optuna: how many trials, over what, and what it makes small (or large) on the validation rows."""

    trials: Annotated[int, Field(ge=1, le=LARGEST_SWEEP)]
    space: Annotated[dict[str, Range | Choice], Field(min_length=1)]
    measure: Annotated[
        str, Field(description="`validation_bound`, which is made large, or `validation_error.NODE`, made small.")
    ] = "validation_bound"
    seed: Seed = 0


class Published(Piece):
    """A published result at one value of the picture's axis, in the units of the table."""

    at: float
    mean: float
    sd: Maybe[float] = None


class Picture(Piece):
    """What the picture shows: a measure against a key, a line for each value of another."""

    x: Annotated[
        Maybe[str], Field(description="The key on the axis; by default the first whose values are numbers.")
    ] = None
    measure: Annotated[Maybe[str], Field(description="As the table names it; by default the first one.")] = None
    log: Annotated[bool, Field(description="A logarithmic axis.")] = False


class SweepFile(Piece):
    """A sweep: every setting of `cells` with every combination of `grid`, once for each seed."""

    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "sweep"
    description: str = ""
    set: Annotated[Settings, Field(description="Keys of the spec with their value in every run.")] = NOTHING
    grid: Annotated[
        dict[str, Annotated[Many[Value], Field(min_length=1)]],
        Field(description="Keys with the values that they take."),
    ] = NOTHING
    cells: Annotated[Many[Settings], Field(description="Settings that stand for themselves.")] = ()
    seeds: Annotated[
        Many[Seed],
        BeforeValidator(_as_seeds),
        Field(
            min_length=1, description="`train.seed` of the runs of a cell, which also draws the labels; or how many."
        ),
    ] = (0,)
    evaluate: Evaluate = Evaluate()
    search: Maybe[Search] = None
    measures: Annotated[
        Many[str], Field(description="What the table shows, by its columns in the csv; by default errors and bounds.")
    ] = ()
    picture: Picture = Picture()
    published: Annotated[
        dict[str, Many[Published]], Field(description="Results of others, beside ours in the picture.")
    ] = NOTHING

    @property
    def varied(self) -> tuple[str, ...]:
        """The keys that differ between cells, in the order of the file."""
        listed = [key for cell in self.cells for key in cell]
        searched = [] if self.search is None else list(self.search.space)
        return tuple(dict.fromkeys([*listed, *self.grid, *searched]))


def read_sweep(path: FilePath | str) -> tuple[SweepFile, Document]:
    """Read a sweep, with the places of what it says. Raises: SpecError, with all faults of the file at once."""
    document = read(path)
    findings = Findings(document)
    if not isinstance(document.data, dict):
        findings.add((), "expected a mapping with 'version' and 'grid', 'cells' or 'search'")
        raise SpecError(document.sort(findings.faults))
    plain = {"name": _name_of(FilePath(path)), **document.data}
    try:
        sweep = SweepFile.model_validate(plain)
    except ValidationError as problem:
        report(problem, plain, findings, SweepFile)
        raise SpecError(document.sort(findings.faults)) from None
    _check_keys(sweep, findings)
    if findings.faults:
        raise SpecError(document.sort(findings.faults))
    return sweep, document


def _name_of(path: FilePath) -> str:
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in path.stem)
    return letters if letters[:1].isalpha() else f"sweep-{letters}"


def _place(section: str, index: int, key: str) -> Path:
    if section == "cells":
        return ("cells", index, key)
    return ("search", "space", key) if section == "search" else (section, key)


def _check_keys(sweep: SweepFile, findings: Findings) -> None:
    """Check that every key is set once in a run, and that there are runs, not too many."""
    sections: dict[str, list[Any]]  # Any: keys with whatever is said of them
    sections = {"set": [sweep.set], "grid": [sweep.grid], "cells": list(sweep.cells)}
    if sweep.search is not None:
        sections["search"] = [sweep.search.space]
        if sweep.grid or sweep.cells:
            findings.add(("search",), "excludes 'grid' and 'cells': a search chooses the settings itself", at="key")
    earlier: dict[str, str] = {SEED: "seeds"}
    for section, settings in sections.items():
        for index, setting in enumerate(settings):
            for key in setting:
                path = _place(section, index, key)
                if earlier.get(key, section) != section:
                    findings.add(path, f"'{key}' is set by '{earlier[key]}' already", at="key")
                elif not key.strip() or "=" in key:
                    findings.add(path, "not a key of a spec", "for example objective.alpha", at="key")
        for setting in settings:
            earlier |= dict.fromkeys(setting, section)
    for index, cell in enumerate(sweep.cells):
        if cell in sweep.cells[:index]:
            findings.add(("cells", index), "stands twice: its runs would be counted twice")
    if len(set(sweep.seeds)) < len(sweep.seeds):
        findings.add(("seeds",), "a seed stands twice: its run would be counted twice")
    count = max(1, len(sweep.cells)) * len(sweep.seeds)
    for key, values in sweep.grid.items():
        count *= len(values)
        for index, value in enumerate(values):
            if value in values[:index]:
                findings.add(("grid", key, index), "stands twice: its runs would be counted twice")
    if count > LARGEST_SWEEP:
        findings.add((), f"{count:,} runs, at most {LARGEST_SWEEP:,} in a sweep")
