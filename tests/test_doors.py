"""One reading behind all doors: a cell means the same in every file and array, to training, objective and inference."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch

import sgc
from sgc.data.new_rows import read_rows
from sgc.errors import DataError
from sgc.runtime.data_variables import data_variables, open_data
from sgc.runtime.model import Model
from sgc.spec.resolver import outline

NAN = float("nan")
Raw = dict[str, Any]
Cells = list[Any]

PLACES = ", wanted a category from 0 to 2, or -1 where it is missing"
GRADES = ["mild", "moderate", "severe"]
NUMBER: Raw = {"distribution": "Normal", "missing": "drop"}
PAIR: Raw = {"distribution": "Normal", "shape": [2], "missing": "drop"}
TRIALS: Raw = {"distribution": {"Binomial": {"total_count": 2}}, "missing": "drop"}
CLASS: Raw = {"distribution": "Categorical", "categories": 3, "recognition": {"parents": ["w"]}}


def named(*values: Any) -> Raw:
    return {"distribution": "Categorical", "values": list(values), "recognition": {"parents": ["w"]}}


@dataclass(frozen=True)
class Case:
    """Cells of a node `t` in all rows but the last, which is empty, and the values they are; None: they are refused."""

    node: Raw
    cells: Cells
    wanted: Cells | None
    marks: Cells = field(default_factory=lambda: [""])
    column: Raw = field(default_factory=dict)
    refusal: str = ""


CASES = {
    "numbers": Case(NUMBER, [2.5, None, -1.0], [2.5, NAN, -1.0]),
    "integers": Case(NUMBER, [2, None, -1], [2, NAN, -1]),
    "numbers as text": Case(NUMBER, ["2.5", None, " 1e3 "], [2.5, NAN, 1000]),
    "decimals": Case(NUMBER, [Decimal("2.5"), None], [2.5, NAN]),
    "truths as numbers": Case(NUMBER, [True, None, False], [1, NAN, 0]),
    "an empty text": Case(NUMBER, ["2.5", ""], [2.5, NAN]),
    "a mark that is a number": Case(NUMBER, [2.5, -999.0, 0.0], [2.5, NAN, 0], ["", -999]),
    "a mark that is a number, among integers": Case(NUMBER, [2, -999, 0], [2, NAN, 0], [-999]),
    "a mark that is a number as text": Case(NUMBER, [2, -999, 0], [2, NAN, 0], ["-999"]),
    "a mark that binary fractions do not have": Case(NUMBER, [2.5, -99.9], [2.5, NAN], [-99.9]),
    "marks that are text": Case(NUMBER, ["2.5", "NA", " ? ", ""], [2.5, NAN, NAN, NAN], ["", "NA", "?"]),
    "a mark that is text, of which the empty one is none": Case(
        NUMBER, ["2.5", "two"], None, refusal="found 'two', wanted a number; is it a mark for an empty cell"
    ),
    "no number": Case(NUMBER, ["2.5", "x"], None, ["NA"], refusal="found 'x', wanted a number"),
    "an infinite number": Case(NUMBER, [2.5, float("inf")], None, refusal="found inf"),
    "a transform of names to numbers": Case(
        TRIALS, ["mild", None, "NA", "severe"], [0, NAN, NAN, 2], ["", "NA"],
        {"transforms": [{"one_of": GRADES}]},
    ),
    "vectors": Case(PAIR, [[1.0, 2.0], [3.0, -9.0], [None, 4.0]], [[1, 2], [3, NAN], [NAN, 4]], ["", -9]),
    "places": Case(CLASS, [0, 2, None, 1, -1], [0, 2, -1, 1, -1]),
    "places as text": Case(CLASS, ["0", "2", None, "-1"], [0, 2, -1, -1]),
    "places and a mark": Case(CLASS, [0, 2, -9, 1], [0, 2, -1, 1], [-9]),
    "a place too far": Case(CLASS, [0, 3], None, refusal=PLACES),
    "between two places": Case(CLASS, [0, 0.5], None, refusal=PLACES),
    "names": Case(named("good", "bad"), ["bad", "good", None, ""], [1, 0, -1, -1]),
    "names and marks": Case(named("good", "bad"), ["bad", " ?", "NA", "good"], [1, -1, -1, 0], ["?", "NA"]),
    "names that are no categories": Case(
        named("good", "bad"), ["bad", "ugly"], None, refusal="found 'ugly', wanted one of 'good', 'bad', or -1 where it"
    ),
    "places for names": Case(named("good", "bad"), [1, 0], None, refusal=", wanted one of 'good', 'bad', or -1"),
    "names that are numbers": Case(named(3, 5, 7), [5, 3, None, 7], [1, 0, -1, 2]),
    "names that are other places": Case(named(2, 0, 1), [0, 2, None, 1], [1, 0, -1, 2]),
    "names that are fractions": Case(named(0.5, 1.5), [1.5, 0.5, None], [1, 0, -1]),
    "names that are truths": Case(named(True, False), [False, True, None], [1, 0, -1]),
    "a transform of names": Case(
        CLASS, ["moderate", None, "mild"], [1, -1, 0], [""], {"transforms": [{"one_of": GRADES}]}
    ),
}  # fmt: skip


def spec_of(case: Case) -> Raw:
    """Write a model of t, of a w that is always there, and of a z that both hang on."""
    net = {"network": {"mlp": [3]}}
    node = {**case.node, "supervision": "partial", "generative": {"parents": ["z"], **net}}
    if "recognition" in node:
        node["recognition"] = {**node["recognition"], **net, "estimator": "enumerate"}
    wide = case.node.get("shape") == [2]
    return {
        "version": 1,
        "data": {
            "source": "table",
            "file": "d.csv",
            "missing_values": case.marks,
            "columns": {"w": {"column": "w"}, "t": {"column": ["t1", "t2"] if wide else "t", **case.column}},
        },
        "nodes": {
            "w": {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["z"], **net}},
            "t": node,
            "z": {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["w"], **net}},
        },
    }


def named_columns(cells: Cells) -> dict[str, Cells]:
    """Give cells the columns of the spec: of vectors one for each element."""
    if not any(isinstance(cell, list) for cell in cells):
        return {"t": cells}
    rows = [cell if isinstance(cell, list) else [None, None] for cell in cells]
    return {f"t{i + 1}": [row[i] for row in rows] for i in range(2)}


# ---- files


def write_csv(path: Path, columns: dict[str, Cells], mark: Any = "") -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        rows = zip(*columns.values(), strict=True)
        writer.writerows([mark if cell is None else cell for cell in row] for row in rows)


def write_parquet(path: Path, columns: dict[str, Cells]) -> None:
    pyarrow.parquet.write_table(pyarrow.table({name: pyarrow.array(cells) for name, cells in columns.items()}), path)


def write_npz(path: Path, columns: dict[str, Cells]) -> None:
    def array(cells: Cells) -> np.ndarray:
        if any(isinstance(cell, str) for cell in cells):
            return np.array(["" if cell is None else cell for cell in cells])
        return np.array([NAN if cell is None else float(cell) for cell in cells])

    np.savez(path, **{name: array(cells) for name, cells in columns.items()})


WRITERS: dict[str, Callable[..., None]] = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".npz": write_npz,
}


# ---- what Python has


def objects(cells: Cells) -> np.ndarray:
    found = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        found[i] = cell
    return found


def with_na(cells: Cells) -> np.ndarray:
    return objects([pd.NA if cell is None else cell for cell in cells])


def masked(cells: Cells) -> Any:
    """Mask what is missing, on top of something that would be a value."""
    plain = [[0.0, 0.0] if cell is None else cell for cell in cells] if isinstance(cells[0], list) else cells
    flat = [cell for row in plain for cell in (row if isinstance(row, list) else [row])]
    some = next(cell for cell in flat if cell is not None)
    filled = [[some if each is None else each for each in row] if isinstance(row, list) else row for row in plain]
    filled = [some if row is None else row for row in filled]
    gone = [cell is None for cell in flat]
    for i, cell in enumerate(cells):
        if cell is None and isinstance(cells[0], list):
            gone[2 * i : 2 * i + 2] = [True, True]
    return np.ma.array(np.array(filled), mask=np.reshape(gone, np.array(filled).shape))


ARRAYS: dict[str, Callable[[Cells], Any]] = {
    "list": list,
    "objects": objects,
    "pandas' NA": with_na,
    "masked": masked,
    "series": lambda cells: pd.Series(objects(cells)),
    "typed series": lambda cells: pd.Series(cells).convert_dtypes(),
    "categories": lambda cells: (
        pd.Series(cells, dtype="category") if not isinstance(cells[0], list) else objects(cells)
    ),
}


def frames(columns: dict[str, Cells]) -> dict[str, pd.DataFrame]:
    plain = pd.DataFrame(columns)
    return {
        "frame": plain,
        "frame of objects": pd.DataFrame({name: objects(cells) for name, cells in columns.items()}),
        "typed frame": plain.convert_dtypes(),
        "frame from arrow": pyarrow.table({n: pyarrow.array(cells) for n, cells in columns.items()}).to_pandas(
            types_mapper=pd.ArrowDtype
        ),
    }


# ---- the doors: each tells what values it took, or refuses


@dataclass
class House:
    """A model and the place of its files; `w` counts the rows."""

    case: Case
    place: Path

    def __post_init__(self) -> None:
        self.spec = sgc.load(spec_of(self.case)).stands_in(self.place, trusted=False)
        torch.manual_seed(0)
        self.model: Model = sgc.compile(self.spec)
        self.cells = [*self.case.cells, None]
        self.w = [float(i) for i in range(len(self.cells))]
        self.known = self.tensor([*self.case.wanted, [NAN, NAN] if self.vector else NAN]) if self.case.wanted else None

    @property
    def vector(self) -> bool:
        return "shape" in self.case.node

    @property
    def categories(self) -> bool:
        return "missing" not in self.case.node

    def tensor(self, values: Cells) -> torch.Tensor:
        found = torch.tensor(values, dtype=torch.float32)
        return found.nan_to_num(-1).long() if self.categories else found

    def opened(self, arrays: Any = None) -> np.ndarray:
        return np.asarray(open_data(outline(self.spec), self.place, arrays).train.values["t"])

    def doors(self) -> dict[str, Callable[[], Any]]:
        """Name every way in, each giving values [N] or [N, 2], NaN or -1 where one is missing."""
        columns = {"w": self.w, **named_columns(self.cells)}
        doors: dict[str, Callable[[], Any]] = {"csv": lambda: self.written(columns, ".csv", self.opened)}
        for ending in WRITERS:
            doors[f"new rows {ending}"] = lambda e=ending: self.written(columns, e, lambda: self.new_rows(e))
        doors["parquet"] = lambda: self.written(columns, ".parquet", lambda: House.as_file(self, "d.parquet"))
        for name, frame in frames(columns).items():
            doors[name] = lambda f=frame: self.opened(f)
            doors[f"{name}, encoded"] = lambda f=frame: self.model.encode(f)["t"].numpy()
            doors[f"{name}, objective"] = lambda f=frame: self.objective(f)
            doors[f"{name}, infer"] = lambda f=frame: self.infer(f)
        for name, make in ARRAYS.items():
            doors[name] = lambda m=make: self.opened({"w": self.w, "t": m(self.cells)})
            doors[f"{name}, encoded"] = lambda m=make: self.model.encode({"w": self.w, "t": m(self.cells)})["t"].numpy()
            doors[f"{name}, objective"] = lambda m=make: self.objective({"w": self.w, "t": m(self.cells)})
            doors[f"{name}, infer"] = lambda m=make: self.infer({"w": self.w, "t": m(self.cells)})
            doors[f"{name}, log_prob"] = lambda m=make: self.log_prob(m(self.cells))
            doors[f"{name}, generate"] = lambda m=make: self.generate(m)
        return doors

    def written(self, columns: dict[str, Cells], ending: str, then: Callable[[], np.ndarray]) -> np.ndarray:
        mark = {"mark": self.case.marks[0]} if ending == ".csv" else {}  # nothing else stands for an empty cell there
        WRITERS[ending](self.place / f"d{ending}", columns, **mark)
        return then()

    def as_file(self, name: str) -> np.ndarray:
        assert self.spec.data is not None
        data = self.spec.data.model_copy(update={"file": name})
        made = outline(self.spec.model_copy(update={"data": data}))
        return np.asarray(open_data(made, self.place).train.values["t"])

    def new_rows(self, ending: str) -> np.ndarray:
        """Read the file as `predict` does, by the encoders of a training on other rows."""
        fine = [cell for cell in self.cells if self.case.wanted]
        fitted = open_data(outline(self.spec), self.place, {"w": self.w, "t": fine or self.fine()}).encoders
        variables = data_variables(self.model.outline)
        return np.asarray(read_rows(self.spec.data, variables, fitted, self.place / f"d{ending}").rows.values["t"])

    def fine(self) -> Cells:
        return [self.case.cells[0]] * len(self.w)

    def objective(self, batch: Any) -> Any:
        """Tell that the bound of these rows is the one of the known values."""
        found = self.model.objective(batch, generator=torch.Generator().manual_seed(1)).bound
        wanted = self.model.objective(
            {"w": torch.tensor(self.w), "t": self.known}, generator=torch.Generator().manual_seed(1)
        )
        torch.testing.assert_close(found, wanted.bound, rtol=1e-5, atol=1e-5)
        return self.known

    def infer(self, batch: Any) -> Any:
        """Take what inference holds of the rows that have a value; the others are nothing that was given."""
        found = self.model.infer(batch, samples=2, generator=torch.Generator().manual_seed(1))["t"].mean
        assert self.known is not None
        if self.categories:
            return torch.where(self.known < 0, -1, found.argmax(-1))
        return torch.where(self.known.isnan(), NAN, found)

    def log_prob(self, given: Any) -> Any:
        """Score the values that are there; a category that is missing is refused."""
        z = torch.zeros(len(self.w))
        if self.categories and self.known is not None:
            there = (self.known >= 0).nonzero().flatten().tolist()
            given = objects([self.cells[i] for i in there])
            return self.scored({"t": given, "z": z[: len(there)]}, {"t": self.known[there], "z": z[: len(there)]})
        return self.scored({"t": given, "z": z}, {"t": self.known, "z": z})

    def scored(self, given: Raw, known: Raw) -> Any:
        found = self.model.log_prob("t", "generative", given)
        torch.testing.assert_close(found, self.model.log_prob("t", "generative", known), rtol=1e-5, atol=1e-5)
        return self.known

    def generate(self, make: Callable[[Cells], Any]) -> Any:
        """Hold the values that are there, since none can be held at a missing one."""
        if self.known is None:
            return self.model.generate(len(self.case.cells), {"t": make(self.case.cells)})["t"]
        gone = self.known < 0 if self.categories else self.known.isnan()
        there = (~gone.reshape(len(gone), -1).any(1)).nonzero().flatten().tolist()
        held = self.model.generate(len(there), {"t": make([self.cells[i] for i in there])})["t"]
        found = self.known.clone()
        found[there] = held.to(found.dtype)
        return found


@pytest.mark.parametrize("name", CASES)
def test_a_cell_is_the_same_value_or_the_same_fault_at_every_door(name: str, tmp_path: Path) -> None:
    house = House(CASES[name], tmp_path)
    for door, take in house.doors().items():
        if house.known is not None:
            found = torch.as_tensor(take()).to(house.known.dtype)
            assert torch.allclose(found, house.known, equal_nan=True), (door, found, house.known)
            continue
        with pytest.raises((DataError, ValueError)) as caught:
            take()
        assert house.case.refusal in str(caught.value), (door, str(caught.value))
