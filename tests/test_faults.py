"""Faults of specs: each message whole, all of a file's in its order, none twice, none that follows from another.

The tables stand in `faults/`, see `fault_tables`. A message that is meant to change is written there by

    python -m pytest tests/test_faults.py --update-faults

which lists what it has written; read the difference (`git diff tests/faults`) before it is committed.
"""

from __future__ import annotations

import copy
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import fault_tables
import pytest
import yaml
from fault_tables import Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgc.cli import app
from sgc.errors import Fault, SpecError, in_shell
from sgc.spec.document import MAX_BYTES, MAX_NODES, from_mapping, parse
from sgc.spec.loader import load, validate
from sgc.spec.overrides import override

VALID = """\
version: 1
name: m2
inputs:
  site: {values: [A, B]}
networks:
  trunk: {mlp: [32], activation: tanh}
features:
  h: {parents: [x, site], network: trunk}
nodes:
  x:
    distribution: Bernoulli
    shape: [1, 8, 8]
    supervision: full
    generative: {parents: [y, z], network: {mlp: [16, 16]}}
  y:
    distribution: Categorical
    categories: 10
    supervision: partial
    recognition: {parents: [h], network: {mlp: [16]}, estimator: enumerate}
  z:
    distribution: Normal
    shape: [4]
    supervision: none
    recognition: {parents: [h, y], network: [{mlp: [16]}, {layers: [Tanh, {Linear: 8}]}]}
data:
  source: digits
  columns:
    x: {column: image, transforms: [{divide: 16}]}
    y: {column: label}
    site: {column: label}
  split: {test: 0.25, validation: 0.1}
  labels:
    y: {count: 50, balanced: true}
objective: {bound: elbo, samples: 1, alpha: 30, supervision_rate: 0.25}
train:
  epochs: 150
  batch_size: {unlabelled: 100, labelled: 50}
  optimizer: {name: Adam, lr: 0.001}
evaluate: {samples: 100, metrics: {y: error}}
"""
PLAIN = yaml.safe_load(VALID)
CASES = fault_tables.read()
UPDATE = "python -m pytest tests/test_faults.py --update-faults"


def check(text: str, flags: tuple[str, ...] = ()) -> list[Fault]:
    """List the faults of a text; an empty list where it is valid."""
    try:
        with in_shell():
            document = parse(text, "spec.yaml")
            override(document, flags)
            validate(document)
    except SpecError as problem:
        return problem.faults
    return []


def faults_of(plain: Any) -> list[Fault]:
    return check(yaml.safe_dump(plain, sort_keys=False, width=1000))


def test_the_spec_that_is_broken_is_valid() -> None:
    assert check(VALID) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.place)
def test_a_fault_is_told_whole(case: Case, pytestconfig: pytest.Config) -> None:
    message = "\n".join(map(str, check(case.broken(VALID), case.flags)))
    place = f"tests/faults/{case.file.name}, '{case.title}'"
    if message != case.message and pytestconfig.getoption("update_faults"):
        fault_tables.update(case, message)
        pytest.skip(f"wrote the new message of {place}")
    assert message == case.message, (
        f"{place} has another message. If it is meant to change: {UPDATE}, then read git diff tests/faults"
    )


def test_every_line_of_the_tables_is_as_promised() -> None:
    for case in fault_tables.read():  # again, for the test above may have written
        for place, source, caret in zip(*[iter(case.message.split("\n"))] * 3, strict=False):
            if place.startswith("--set"):
                continue
            line, column = map(int, re.match(r"spec\.yaml:(\d+):(\d+): ", place).groups())  # type: ignore[union-attr]
            assert source.startswith(f"{line:5d} | ")
            assert re.match(r" +\| [ \t]*\^+( .+)?$", caret)
            if len(source) < 400 and source.isascii():
                assert caret.index("^") == 8 + column - 1


def test_the_tables_are_as_they_are_written_and_a_title_names_one_case() -> None:
    assert max(Counter(case.place for case in CASES).values()) == 1
    for file, table in groupby(CASES, key=lambda case: case.file):
        assert fault_tables.written(list(table)) == file.read_text(encoding="utf-8")


def test_an_update_puts_every_message_back_that_has_changed(tmp_path: Path) -> None:
    for file in fault_tables.FOLDER.glob("*.txt"):
        right = list(fault_tables.cases(file))
        spoilt = tmp_path / file.name
        spoilt.write_text(fault_tables.written([replace(case, message="another") for case in right]), encoding="utf-8")
        for case in right:
            fault_tables.update(replace(case, file=spoilt), case.message)
        assert spoilt.read_bytes() == file.read_bytes()


def test_a_message_that_has_changed_says_how_it_is_written_anew(tmp_path: Path) -> None:
    """A copy of this file beside a table with another message fails with the words, and passes after the update."""
    for name in ("fault_tables.py", Path(__file__).name):
        (tmp_path / name).write_bytes((Path(__file__).parent / name).read_bytes())
    table = tmp_path / "faults" / "table.txt"
    table.parent.mkdir()
    table.write_text("= a name\n< name: m2\n> nmae: m2\nanother\n", encoding="utf-8")

    def run(*flags: str) -> str:
        words = [sys.executable, "-m", "pytest", "-p", "fault_tables", "-ra", "-k", "told_whole or as_promised", *flags]
        return subprocess.run(
            [*words, Path(__file__).name], capture_output=True, text=True, check=False, cwd=tmp_path
        ).stdout

    assert f"tests/faults/table.txt, 'a name' has another message. If it is meant to change: {UPDATE}" in run()
    written = run("--update-faults")
    assert "wrote the new message of tests/faults/table.txt, 'a name'" in written
    assert "1 passed, 1 skipped" in written  # the new message is as promised
    assert "spec.yaml:2:1: nmae: unknown key 'nmae'" in table.read_text(encoding="utf-8")


# ---- files


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", ":1:1: the file is empty, expected a mapping with 'version' and 'nodes'\n    1 | \n      | ^"),
        (b"a: 1\nb: \xff\n", ":2:4: not UTF-8 text: byte 0xff\n    2 | b: \ufffd\n      |    ^"),
        (b"#" * (MAX_BYTES + 1), f": the file is too large, a spec has at most {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_text_is_told(tmp_path: Path, raw: bytes, message: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(raw)
    with pytest.raises(SpecError) as caught:
        load(file)
    assert str(caught.value) == f"{file}{message}".replace("\ufffd", "?" if not "\ufffd".isprintable() else "\ufffd")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a folder, expected a YAML file")):
        with pytest.raises(SpecError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {words}"


def test_bombs_are_refused_at_once() -> None:
    ten = ", ".join(["*a{0}"] * 10)
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [{ten.format(i - 1)}]" for i in range(1, 12)]
    (fault,) = check("\n".join(lines))
    assert fault.message == f"more than {MAX_NODES} values, aliases expanded"
    deep = ["b0: &b0 " + "[" * 50 + "]" * 50] + [f"b{i}: &b{i} [*b{i - 1}]" for i in range(1, 30)]
    (fault,) = check("\n".join(deep))
    assert fault.message == "nested more than 60 deep, aliases expanded"
    (fault,) = check("[" * 100_000)
    assert (fault.message, fault.column) == ("not YAML: nested more than 60 deep", 61)


# ---- from Python


def test_plain_data_has_paths_in_order_and_no_lines() -> None:
    plain: Any = {"version": 2, "nodes": {"x": {"distribution": "Norml", "supervision": "ful"}, "y": 3}, 3: 4}
    with pytest.raises(SpecError) as caught:
        load(plain)
    assert str(caught.value).split("\n") == [
        "spec: version: expected 1, got integer 2",
        "spec: nodes.x.distribution: unknown family 'Norml' (did you mean 'Normal'?)",
        "spec: nodes.x.supervision: unknown supervision 'ful' (did you mean 'full'?)",
        "spec: nodes.y: expected a mapping, got integer 3",
        "spec: expected a string as key, got integer 3",
    ]


def test_plain_data_may_be_neither_endless_nor_objects() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for wrong, words in ((endless, "nested more than 60 deep"), ({1, 2}, "expected plain data, got an object of set")):
        with pytest.raises(SpecError, match=words):
            load({"version": 1, "nodes": {}, "name": wrong})


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = (
        "version: 1\nnodes:\n  no: {distribution: Normal, supervision: full}\n"
        "  on: {distribution: Normal, supervision: none, recognition: {parents: [no], network: {mlp: [010]}}}\n"
        "  y: {distribution: Normal, supervision: none, recognition: {parents: [on], network: {mlp: [0x10, 0o17]}}}\n"
        "train: {optimizer: {lr: 1e-3}}\n"
    )
    spec = validate(parse(text))
    assert list(spec.nodes) == ["no", "on", "y"]
    assert spec.train.optimizer.lr == 1e-3
    networks = [node.recognition.network.mlp for node in spec.nodes.values() if node.recognition]  # type: ignore[union-attr]
    assert networks == [(10,), (16, 15)]


# ---- properties


def paths(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List every place below the root."""
    parts = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from paths(part, (*path, key))


def parent_of(plain: Any, path: tuple[Any, ...]) -> Any:
    for part in path[:-1]:
        plain = plain[part]
    return plain


FREE = {("inputs",), ("networks",), ("features",), ("nodes",)}  # their keys are names, which others use
KEYS = [path for path in paths(PLAIN) if isinstance(path[-1], str) and path[:-1] not in FREE]


def misspelt(word: str) -> str:
    return word[0] + word[2:] if len(word) > 2 else word + word[-1]


@pytest.mark.parametrize("path", KEYS, ids=lambda p: ".".join(map(str, p)))
def test_a_misspelt_key_is_one_fault_at_that_key(path: tuple[Any, ...]) -> None:
    plain = copy.deepcopy(PLAIN)
    parent = parent_of(plain, path)
    renamed = {misspelt(key) if key == path[-1] else key: value for key, value in parent.items()}
    parent.clear()
    parent.update(renamed)
    (fault,) = faults_of(plain)
    kinds = fault.path[: len(path) - 1] == path[:-1]
    assert kinds
    assert fault.path[-1] == misspelt(path[-1])
    assert fault.source[fault.column - 1 :].startswith(misspelt(path[-1]) + ":")


@pytest.mark.parametrize("path", KEYS, ids=lambda p: ".".join(map(str, p)))
def test_a_key_that_is_left_out_is_one_fault_or_none(path: tuple[Any, ...]) -> None:
    plain = copy.deepcopy(PLAIN)
    del parent_of(plain, path)[path[-1]]
    found = faults_of(plain)
    used = path in FREE - {("nodes",), ("networks",)}
    assert len(found) <= (2 if used else 1)


@pytest.mark.parametrize("value", [None, [], True, "zzz"], ids=str)
def test_a_value_of_another_type_is_one_fault_at_that_value_or_none(value: Any) -> None:
    for path in paths(PLAIN):
        plain = copy.deepcopy(PLAIN)
        parent_of(plain, path)[path[-1]] = value
        found = faults_of(plain)
        assert len(found) <= 1, (path, list(map(str, found)))
        if found and value is not None:  # at the value, or at what beside it cannot do without
            above = path[: path.index("network") + 1] if "network" in path else path[:-1]
            assert found[0].path[: len(above)] == above, (path, str(found[0]))


PARENTS = [path for path in paths(PLAIN) if path[-2:-1] == ("parents",)]


@pytest.mark.parametrize("path", PARENTS, ids=lambda p: ".".join(map(str, p)))
def test_a_misspelt_parent_is_one_fault_at_that_parent(path: tuple[Any, ...]) -> None:
    plain = copy.deepcopy(PLAIN)
    parent_of(plain, path)[path[-1]] += "q"
    (fault,) = faults_of(plain)
    assert fault.path == path
    assert fault.message.startswith("no node, feature or input named")


def test_two_faults_do_not_hide_each_other() -> None:
    """Of pairs of misspelt keys in different sections, both are told, in the order of the file."""
    chosen = random.Random(0)
    for _ in range(60):
        one, two = chosen.sample([path for path in KEYS if len(path) > 1], 2)
        if one[0] == two[0]:
            continue
        plain = copy.deepcopy(PLAIN)
        for path in (one, two):
            parent = parent_of(plain, path)
            renamed = {misspelt(key) if key == path[-1] else key: value for key, value in parent.items()}
            parent.clear()
            parent.update(renamed)
        found = faults_of(plain)
        assert len(found) == 2, (one, two, list(map(str, found)))
        assert found == sorted(found, key=lambda fault: (fault.line, fault.column))


WORDS = st.sampled_from(
    sorted({str(part) for path in paths(PLAIN) for part in path} | {"Normal", "<x>", "{mlp}", "full"})
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=30,
)
QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@QUICK
@given(st.dictionaries(WORDS, VALUES, max_size=6), st.integers(0, 10**6), VALUES)
def test_whatever_is_nested_raises_nothing_but_spec_errors(plain: dict[str, Any], seed: int, value: Any) -> None:
    holed = copy.deepcopy(PLAIN)
    path = random.Random(seed).choice(list(paths(holed)))
    parent_of(holed, path)[path[-1]] = value
    for each in (plain, {**PLAIN, **plain}, holed):
        try:
            validate(from_mapping(each))
        except SpecError as problem:
            str(problem)


@QUICK
@given(
    st.text(max_size=60),
    st.integers(0, len(VALID)),
    st.integers(0, 5),
    st.text(" \n\t:-,[]{}&*!#|>'\"%@xy", max_size=4),
)
def test_whatever_is_written_raises_nothing_but_spec_errors(text: str, at: int, cut: int, put: str) -> None:
    for each in (text, VALID[:at] + put + VALID[at + cut :]):
        for fault in check(each):
            assert "\n" not in str(fault).split("\n")[0]


@QUICK
@given(st.text(max_size=30), VALUES)
def test_whatever_is_set_raises_nothing_but_spec_errors(text: str, value: Any) -> None:
    flags = (text, f"{text}=1", f"train.{text}=3", f"nodes.x.shape[{text}]=3", f"nodes.z={value!r}")
    check(VALID, flags)


# ---- recognition: auto


def opened(plain: Any) -> Any:
    """Have the recognition parents derived, and one network by default."""
    made = copy.deepcopy(plain)
    for node in made["nodes"].values():
        node.get("recognition", {}).pop("parents", None)
    del made["nodes"]["y"]["recognition"]["network"]
    return {**made, "recognition": {"parents": "auto", "network": {"mlp": [16]}}}


OPEN = opened(PLAIN)
OPEN_KEYS = [path for path in paths(OPEN) if isinstance(path[-1], str) and path[:-1] not in FREE]


@pytest.mark.parametrize("path", OPEN_KEYS, ids=lambda p: ".".join(map(str, p)))
def test_where_parents_are_derived_a_misspelt_key_is_one_fault_at_that_key(path: tuple[Any, ...]) -> None:
    plain = copy.deepcopy(OPEN)
    parent = parent_of(plain, path)
    renamed = {misspelt(key) if key == path[-1] else key: value for key, value in parent.items()}
    parent.clear()
    parent.update(renamed)
    (fault,) = faults_of(plain)
    assert fault.path[-1] == misspelt(path[-1])


@pytest.mark.parametrize("value", [[], "zzz"], ids=str)
def test_where_parents_are_derived_a_wrong_value_is_one_fault_or_none(value: Any) -> None:
    for path in paths(OPEN):
        plain = copy.deepcopy(OPEN)
        parent_of(plain, path)[path[-1]] = value
        found = faults_of(plain)
        assert len(found) <= 1, (path, list(map(str, found)))


def test_where_parents_are_derived_what_is_left_out_is_one_fault_or_none() -> None:
    for path in OPEN_KEYS:
        plain = copy.deepcopy(OPEN)
        del parent_of(plain, path)[path[-1]]
        used = path in FREE - {("nodes",), ("networks",)} or path == ("recognition",)
        assert len(faults_of(plain)) <= (2 if used else 1), path


def test_a_key_like_it_is_one_fault_and_hides_none_of_written_parents() -> None:
    plain = copy.deepcopy(PLAIN)
    plain["nodes"]["z"]["recognition"]["estimator"] = "enumerate"
    plain["recogniton"] = "auto"
    assert [fault.path[-1] for fault in faults_of(plain)] == ["estimator", "recogniton"]


def test_a_wrong_recognition_and_a_wrong_p_are_both_told() -> None:
    plain = copy.deepcopy(OPEN)
    plain["nodes"]["z"]["recognition"]["estimater"] = "pathwise"
    plain["nodes"]["x"]["generative"]["parents"] = ["y", "zz"]
    assert [fault.path[-1] for fault in faults_of(plain)] == [1, "estimater"]


# ---- from the shell


def shell(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "40", "FORCE_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "sgc", *words], capture_output=True, text=True, check=False, env=environment
    )


def test_check_tells_faults_on_standard_error_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(VALID.replace("[y, z]", "[yy, z, " + ", ".join(f"w{i}" for i in range(20)) + "]"))
    done = shell("check", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    with pytest.raises(SpecError) as caught:
        load(file)
    assert done.stderr == f"{caught.value}\n"  # not wrapped, in no colour, and nothing beside
    assert len(caught.value.faults) == 21


def test_check_names_the_flag_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(VALID)
    done = shell("check", str(file), "--set", "train.epochs=abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--set train.epochs=abc: train.epochs: expected an integer, got string 'abc'\n"


def test_check_of_a_wrong_spec_never_imports_torch(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(VALID.replace("Bernoulli", "Bernuolli"))
    code = (
        f"import sys\nfrom sgc.cli import app\nsys.argv = ['sgc', 'check', {str(file)!r}]\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert end.code == 2\n"
        "assert not {'torch', 'numpy'} & set(sys.modules), 'imported too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_key_that_a_flag_takes_out_is_as_if_it_were_not_written() -> None:
    for flag, taken in (
        ("objective.supervision_rate=", ", supervision_rate: 0.25"),
        (" train.optimizer.lr = ", ", lr: 0.001"),
        ("data.labels=", "  labels:\n    y: {count: 50, balanced: true}\n"),
    ):
        assert taken in VALID
        assert load(PLAIN, [flag]) == load(yaml.safe_load(VALID.replace(taken, "")))
    assert load(PLAIN, ["train.epochs=3", "train.epochs="]).train.epochs == 50
    assert load(PLAIN, ["train.epochs=", "train.epochs=3"]).train.epochs == 3
    assert load(PLAIN).train.epochs == 150  # what was handed over is as it was
    told = CliRunner().invoke(app, ["check", "--help"]).output
    assert "Set a value of the spec, e.g. train.epochs=10; KEY= takes the key out." in " ".join(told.split())
