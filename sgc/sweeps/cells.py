"""The cells of a sweep: settings and a seed, each with the name of its folder and the `--set` of its run."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import yaml

from sgc.errors import Fault, Path, SpecError, option, path_text
from sgc.spec.document import Document
from sgc.spec.loader import load
from sgc.spec.spec import Spec
from sgc.sweeps.sweep_file import SEED, Settings, SweepFile, Value

LONGEST_NAME = 120  # letters of a folder's name
_ODD = re.compile(r"[^A-Za-z0-9_.+=,-]+")


@dataclass(frozen=True)
class Cell:
    """One run: what it sets beside the sweep's own `set`, its seed, and a name for its folder, which tells it apart."""

    settings: tuple[tuple[str, Value], ...] = field(compare=False)
    seed: int = field(compare=False)
    name: str

    def overrides(self, sweep: SweepFile) -> list[str]:
        """List what `sgc train` is told by `--set`.

        A key that is left out is set first to a value that another cell has: then it is there to be taken out.
        """
        own: list[str] = []
        for key, value in self.settings:
            others = [*sweep.grid.get(key, ()), *(cell[key] for cell in sweep.cells if key in cell)]
            other = next((each for each in others if each is not None), None)
            own += [assignment(key, other)] if value is None and other is not None else []
            own.append(assignment(key, value))
        return [*map(assignment, sweep.set, sweep.set.values()), *own, f"{SEED}={self.seed}"]


def assignment(key: str, value: Value) -> str:
    """Write a setting as `--set` takes it.

    >>> assignment("train.optimizer", {"name": "Adam", "lr": 0.001})
    'train.optimizer={name: Adam, lr: 0.001}'

    A key without a value is left out of the spec, so that its default holds:

    >>> assignment("objective.supervision_rate", None)
    'objective.supervision_rate='
    """
    return f"{key}={'' if value is None else value_text(value)}"


def value_text(value: Value) -> str:
    """Write a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Name each key by its last words, as many as tell it from the others.

    >>> short_names(["data.labels.y.count", "objective.alpha"])
    {'data.labels.y.count': 'count', 'objective.alpha': 'alpha'}
    """
    names = {}
    for key in keys:
        parts = key.split(".")
        shorter = (".".join(parts[-n:]) for n in range(1, len(parts)))
        alone = (s for s in shorter if not any(o != key and f".{o}".endswith(f".{s}") for o in keys))
        names[key] = next(alone, key)
    return names


def settings_of(sweep: SweepFile) -> list[tuple[tuple[str, Value], ...]]:
    """List the settings of the cells, in the order of the file: the last key of the grid turns fastest."""
    grids: list[Settings] = [
        dict(zip(sweep.grid, values, strict=True)) for values in itertools.product(*sweep.grid.values())
    ]
    return [tuple({**cell, **grid}.items()) for cell in (sweep.cells or ({},)) for grid in grids]


def cells_of(sweep: SweepFile) -> list[Cell]:
    """List the runs of a sweep, those of one setting with their seeds side by side."""
    return [cell for settings in settings_of(sweep) for cell in seeded(sweep, settings)]


def seeded(sweep: SweepFile, settings: tuple[tuple[str, Value], ...]) -> Iterator[Cell]:
    """Give the cells of one setting, one for each seed."""
    short = short_names(sweep.varied)
    for seed in sweep.seeds:
        words = [*(f"{short[key]}={value_text(value)}" for key, value in settings), f"seed={seed}"]
        yield Cell(settings, seed, folder_name(",".join(words), settings))


def folder_name(words: str, settings: Sequence[tuple[str, Value]]) -> str:
    """Make words the name of a folder; where letters are lost, a digest of the settings keeps it apart.

    >>> folder_name("count=100,seed=0", [])
    'count=100,seed=0'
    """
    plain = _ODD.sub("_", words).strip("._")
    if plain == words and len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    seed = words.rpartition(",")[2]
    return f"{plain[: LONGEST_NAME - 30]}-{digest},{_ODD.sub('_', seed)}"


def load_cells(
    spec: str, sweep: SweepFile, document: Document, cells: Sequence[Cell], *, trust: bool
) -> dict[Cell, Spec]:
    """Validate the spec of every run before the first one starts.

    Raises: SpecError, with the faults of all of them; those of a setting at its place in the sweep.
    """
    load(spec, trust=trust)  # its own faults, once
    specs: dict[Cell, Spec] = {}
    faults: list[Fault] = []
    bad: set[str] = set()  # settings whose fault is told
    for cell in cells:
        try:
            specs[cell] = load(spec, cell.overrides(sweep), trust=trust)
        except SpecError as problem:
            for fault in problem.faults:
                at_home = _at_its_place(fault, sweep, document, cell)
                if str(at_home) not in bad:
                    bad.add(str(at_home))
                    faults.append(at_home)
    if faults:
        raise SpecError(document.sort(faults))
    return specs


def _at_its_place(fault: Fault, sweep: SweepFile, document: Document, cell: Cell) -> Fault:
    """Move the fault of a flag to the place in the sweep that set it."""
    places: dict[str, Path] = {assignment(key, value): ("set", key) for key, value in sweep.set.items()}
    for key, value in cell.settings:
        if key in sweep.grid:
            places[assignment(key, value)] = ("grid", key, sweep.grid[key].index(value))
        else:
            index = next((i for i, settings in enumerate(sweep.cells) if key in settings and settings[key] == value), 0)
            places[assignment(key, value)] = ("cells", index, key)
    for text, place in places.items():
        if fault.flag == option("set", text, python=f"overrides: {text}"):
            words = fault.message if not fault.path else f"{path_text(fault.path)}: {fault.message}"
            return document.fault(place, words, fault.hint)
    return fault
