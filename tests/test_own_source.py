"""Own sources: a class of the user's gives the columns, under trust alone, and is held to what it promises."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_cli import call

import sgc
from sgc.errors import DataError, SpecError, UsageError
from sgc.proof.prover import _Prover
from sgc.runtime.data_variables import open_data
from sgc.spec.loader import load
from sgc.spec.resolver import outline

MODULE = """\
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
import numpy as np

class Rows:
    def __init__(self, size=60, seed=0, **more):
        self.size, self.seed, self.more = size, seed, more

    def read(self, columns):
        draw = np.random.default_rng(self.seed)
        y = draw.integers(0, 3, self.size)
        x = draw.normal(y[:, None], 0.3, (self.size, 4))
        return {"x": x, "y": y, "unasked": object()}

class Both(Rows):
    def read(self, columns):
        return super().read(columns), Rows(9, 1).read(columns)

class Frame(Rows):
    def read(self, columns):
        import pandas
        found = super().read(columns)
        return pandas.DataFrame({"x": found["x"][:, 0], "y": found["y"]})

class Given(Rows):
    def read(self, columns):
        return eval(self.more["what"], {"np": np, "columns": columns})

class Fails(Rows):
    def read(self, columns):
        return columns["x"]

class Unreadable:
    pass

def rows():
    return Rows()
"""
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "own",
    "data": {
        "source": "python",
        "python": "MODULE:Rows",
        "options": {"size": 60},
        "columns": {"x": {"column": "x"}, "y": {"column": "y"}},
        "split": {"validation": 10, "test": 10},
        "labels": {"y": {"count": 20}},
    },
    "nodes": {
        "x": {
            "distribution": "Normal",
            "shape": [4],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [8]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [8]}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [8]}},
        },
    },
    "train": {"epochs": 1, "batch_size": 20},
}
COUNT = itertools.count()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a module of a name of its own, and the spec beside it."""
    name = f"own_rows_{next(COUNT)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False).replace("MODULE", name))
    return tmp_path


def spec_with(folder: Path, word: str, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Load the folder's spec, trusted, with another class and other options."""
    plain = yaml.safe_load((folder / "spec.yaml").read_text())
    module = plain["data"]["python"].partition(":")[0]
    data = {**plain["data"], "python": f"{module}:{word}", "options": options or {}, **changes}
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump({**plain, "data": data}))
    return load(path, trust=True)


def opened(folder: Path, word: str, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    return open_data(outline(spec_with(folder, word, options, **changes)), folder)


def done(*words: str) -> str:
    """Run a command that is to be carried out; give what it prints."""
    found = call(*words)
    assert found.status == 0, found
    return found.out


def test_own_sources_run_under_trust_from_check_to_predict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done("check", "spec.yaml", "--trust")
    assert not (folder / "imported").exists()
    told = done("check", "spec.yaml", "--trust", "--data")
    assert told.endswith("; rows: 40 train, 10 validation, 10 test, 20 labelled y\n")
    assert (folder / "imported").exists()
    done("train", "spec.yaml", "--trust", "-o", "run")
    done("train", "spec.yaml", "--trust", "-o", "run", "--resume")
    assert "classifier" in done("evaluate", "run", "--trust", "--samples", "2", "--classifier", "--json")
    done("sample", "run", "--trust", "-o", "s.npz")
    np.savez(folder / "new.npz", x=np.zeros((3, 4)))
    done("predict", "run", "new.npz", "--trust", "-o", "p.csv")
    assert len((folder / "p.csv").read_text().splitlines()) == 4
    assert sgc.open(folder / "run", trust=True).spec.trusted


def test_own_sources_are_refused_without_trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done("train", "spec.yaml", "--trust", "-o", "run")
    (folder / "imported").unlink()
    for words in (
        ["check", "spec.yaml"],
        ["check", "spec.yaml", "--data"],
        ["inspect", "spec.yaml"],
        ["train", "spec.yaml", "-o", "other"],
        ["prove", "spec.yaml"],
        ["evaluate", "run"],
        ["sample", "run", "-o", "s.npz"],
        ["predict", "run", "new.npz", "-o", "p.csv"],
    ):
        found = call(*words)
        assert (found.status, found.out) == (2, ""), words
        assert "data.python: own code: it would import 'own_rows_" in found.told, words
        assert "allowed with --trust" in found.told, words
    for load_it in (lambda: sgc.load("spec.yaml"), lambda: sgc.open("run"), lambda: sgc.train("spec.yaml")):
        with pytest.raises(SpecError, match="own code: it would import"):
            load_it()
    assert not (folder / "imported").exists()


def test_trust_is_not_a_matter_of_the_section_alone(folder: Path) -> None:
    """A section that nobody has trusted is refused by itself, even where the spec it came from was."""
    with pytest.raises(UsageError, match="own code: it would import 'own_rows_"):
        spec_with(folder, "Rows").data.read(folder, ["x"])
    assert not (folder / "imported").exists()


def test_options_reach_the_class_as_they_are_written(folder: Path) -> None:
    data = opened(folder, "Rows", {"size": 30, "seed": 1, "nested": {"a": [1, None, "b"]}}, split={})
    assert len(data.train) == 30
    spec = spec_with(folder, "Rows", {"nested": {"a": [1, None, "b"], "c": None}})
    again = load(spec.plain(), trust=True)
    assert again == spec


def test_two_mappings_are_two_parts(folder: Path) -> None:
    data = opened(folder, "Both", {"size": 40}, split={"validation": 5})
    assert (len(data.train), len(data.validation), len(data.test)) == (35, 5, 9)
    with pytest.raises(DataError) as caught:
        opened(folder, "Both", {"size": 20}, split={"test": 5})
    assert str(caught.value) == "split: the source has a test part of its own: leave out 'test'"


def test_a_data_frame_is_a_mapping_of_columns(folder: Path) -> None:
    columns = {"x": {"column": ["x", "x", "x", "x"]}, "y": {"column": "y"}}
    assert len(opened(folder, "Frame", columns=columns).train) == 40


WANTED = "wanted a mapping of columns to arrays, or two of them (training and test rows)"


@pytest.mark.parametrize(
    ("word", "options", "message"),
    [
        ("Given", {"what": "[1, 2]"}, f"MODULE:Given: its read() returned list, {WANTED}"),
        ("Given", {"what": "None"}, f"MODULE:Given: its read() returned NoneType, {WANTED}"),
        ("Given", {"what": "({}, 3)"}, f"MODULE:Given: its read() returned a tuple of dict, int, {WANTED}"),
        ("Given", {"what": "({}, {}, {})"}, f"MODULE:Given: its read() returned a tuple of dict, dict, dict, {WANTED}"),
        (
            "Given",
            {"what": "{'x': np.zeros((3, 4)), 'z': 1}"},
            "MODULE:Given: no column named 'y'; allowed: x, z",
        ),
        (
            "Given",
            {"what": "{'x': np.zeros((3, 4)), 'y': np.zeros(2)}"},
            "MODULE:Given: column 'y': found 2 rows, wanted 3, as in column 'x'",
        ),
        (
            "Given",
            {"what": "{'x': 3, 'y': np.zeros(2)}"},
            "MODULE:Given: 'x': found a single value, wanted an array with the rows first",
        ),
        (
            "Given",
            {"what": "{'x': [[1], [1, 2]], 'y': np.zeros(2)}"},
            "MODULE:Given: 'x' cannot be read as an array: setting an array element with a sequence.",
        ),
        ("Given", {}, "MODULE:Given: tried read: own code failed: KeyError: 'what' (DIR/MODULE.py, line 27)"),
        (
            "Fails",
            {},
            "MODULE:Fails: tried read: own code failed: TypeError: list indices must be integers or slices, not str "
            "(DIR/MODULE.py, line 31)",
        ),
        (
            "Unreadable",
            {},
            "'MODULE:Unreadable': 'Unreadable' in DIR/MODULE.py has no method 'read'",
        ),
        ("rows", {}, "'MODULE:rows': 'rows' in DIR/MODULE.py is not a class"),
        ("Row", {}, "'MODULE:Row': no 'Row' in DIR/MODULE.py (did you mean 'Rows'?)"),
    ],
)
def test_what_a_class_gives_is_held_to_the_contract(
    folder: Path, word: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((DataError, UsageError)) as caught:
        opened(folder, word, options)
    module = next(folder.glob("own_rows_*.py")).stem
    found = str(caught.value).replace(str(folder), "DIR").replace(module, "MODULE")
    assert found.startswith(message) if "as an array" in message else found == message


def test_a_class_without_the_options_says_so(folder: Path) -> None:
    module = next(folder.glob("own_rows_*.py"))
    module.write_text("class Rows:\n    def read(self, columns):\n        return {}\n")
    with pytest.raises(DataError) as caught:
        opened(folder, "Rows", {"size": 3})
    found = str(caught.value).replace(module.stem, "MODULE")
    assert found == "MODULE:Rows: tried made with size: TypeError: Rows() takes no arguments"


def test_arrays_in_place_of_the_source_import_nothing(folder: Path) -> None:
    arrays = {"x": np.zeros((50, 4)), "y": np.arange(50) % 3}
    data = open_data(outline(spec_with(folder, "Rows")), folder, arrays)
    assert len(data.train) == 30
    assert not (folder / "imported").exists()


def test_a_proof_has_no_word_of_an_own_source(folder: Path) -> None:
    assert _Prover(outline(spec_with(folder, "Rows")), 0).notes == []
    assert not (folder / "imported").exists()
