"""The files of a run: each is read as a strict record, and a fault names the file and the key, whoever wrote it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_runs import At, finished_files, in_child, rich, small, small_arrays, write_rich

import sgc
from sgc.errors import Interrupted, RunError, UsageError
from sgc.runs.run_folder import RunFolder
from sgc.runtime.model import Model
from sgc.training.trainer import train

Raw = dict[str, Any]  # Any: plain data

RICH = rich(
    data__columns__w={"column": "size", "transforms": ["standardize"]},
    nodes__y__recognition__estimator={"score_function": {"baseline": "running_mean"}},
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run on them that is finished, and one that was stopped on its way."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    write_rich(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "validate_args", True)  # as in every test: torch's checks move the last bit of a result
        train(sgc.load(RICH), output=folder / "finished", beside=folder)
        with pytest.raises(Interrupted):
            train(sgc.load(RICH), output=folder / "stopped", beside=folder, watcher=At(7, signal.SIGINT))
    return folder


@pytest.fixture
def finished(runs: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(runs / "finished", tmp_path / "run"))


@pytest.fixture
def stopped(runs: Path, tmp_path: Path) -> Path:
    """A copy of the run that was stopped."""
    return Path(shutil.copytree(runs / "stopped", tmp_path / "run"))


def resume(folder: Path, runs: Path) -> None:
    train(sgc.load(RICH), output=folder, beside=runs, resume=True)


def change(path: Path, key: str, value: Any) -> None:  # Any: what JSON can say
    """Set a value of a JSON file at a key with dots between; `...` takes it out."""
    data = here = json.loads(path.read_text())
    *above, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
    for part in above:
        here = here[part]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    path.write_text(json.dumps(data) + "\n")


# ---- what is wrong is named

RECORDS: list[tuple[str, str, Any, str]] = [
    ("run.json", "platform", ..., "cannot be read as the record of a run (key 'platform': missing)"),
    (
        "run.json",
        "rows.labelled",
        "many",
        "cannot be read as the record of a run (key 'rows.labelled': expected an integer, got string 'many')",
    ),
    (
        "run.json",
        "rate",
        1.5,
        "cannot be read as the record of a run (key 'rate': expected a number at most 1.0, got number 1.5)",
    ),
    (
        "run.json",
        "beside",
        "a\0b",
        "cannot be read as the record of a run (key 'beside': not the name of a file)",
    ),
    ("run.json", "more", 1, "cannot be read as the record of a run (key 'more': unknown)"),
    ("run.json", "versions.sgc", ..., "cannot be read as the record of a run (its versions name no sgc)"),
    (
        "run.json",
        "version",
        7,
        "cannot be read as the record of a run (found version 7, written by a newer sgc, and this one reads up to 1)",
    ),
    (
        "columns.json",
        "columns.w.fitted.0.mean",
        ...,
        "cannot be read as what transforms learned "
        "(key 'columns.w': 'fitted[0]', of the transform 'standardize': key 'mean': missing)",
    ),
    (
        "columns.json",
        "columns.w.fitted.0.mean",
        [1.0, 2.0],
        "cannot be read as what transforms learned (key 'columns.w': 'fitted[0]', of the transform 'standardize': "
        "expected a deviation above 0 for each mean)",
    ),
    (
        "columns.json",
        "columns.w.fitted",
        [],
        "cannot be read as what transforms learned (key 'columns.w': 'fitted' has 0 entries and 'transforms' 1)",
    ),
    (
        "columns.json",
        "columns.y.variable.categories",
        4,
        "does not fit the spec (key 'columns.y.variable.categories': found 4, wanted 3)",
    ),
    (
        "columns.json",
        "columns.x.transforms.0.divide",
        32,
        "does not fit the spec (key 'columns.x.transforms': not those of the spec)",
    ),
    (
        "columns.json",
        "columns.x.inner_shape",
        [5, 5],
        "cannot be read as what transforms learned "
        "(key 'columns.x': key 'inner_shape': [5, 5] does not fit the node's shape [1, 4, 4])",
    ),
    ("columns.json", "columns.x", ..., "does not fit the spec (key 'columns.x': missing)"),
    ("columns.json", "columns", ..., "cannot be read as what transforms learned (key 'columns': missing)"),
]


@pytest.mark.parametrize(("name", "key", "value", "told"), RECORDS, ids=lambda each: str(each)[:30])
def test_a_fault_in_a_file_that_an_evaluation_reads_names_file_and_key(
    name: str, key: str, value: Any, told: str, finished: Path
) -> None:
    change(finished / name, key, value)
    with pytest.raises(UsageError) as problem:
        sgc.evaluate(finished)
    assert str(problem.value) == f"{finished / name}: {told}"


LINES: list[tuple[Callable[[list[str]], list[str]], str]] = [
    (
        lambda lines: [lines[0].replace('"step"', '"stop"'), *lines[1:]],
        "line 1 is left out, for it cannot be read as what an epoch did (key 'step': missing, and 1 more)",
    ),
    (
        lambda lines: [lines[0], lines[1].replace('"best": ', '"best": 0, "best": 1'), *lines[2:]],
        "line 2 is left out, for it cannot be read as what an epoch did (Expecting ',' delimiter: line 1 column",
    ),
    (
        lambda lines: [lines[0], lines[0], *lines[1:]],
        "line 2 is left out, for it cannot be read as what an epoch did (key 'epoch': found 1 after 1)",
    ),
    (
        lambda lines: ["[1]", *lines],
        "line 1 is left out, for it cannot be read as what an epoch did (expected a mapping, got a list)",
    ),
]


@pytest.mark.parametrize(("edit", "told"), LINES, ids=["key", "text", "twice", "list"])
def test_a_fault_in_the_metrics_names_line_and_key_and_a_run_goes_on_without_that_line(
    edit: Callable[[list[str]], list[str]], told: str, stopped: Path, runs: Path
) -> None:
    path = stopped / "metrics.jsonl"
    path.write_text("".join(line + "\n" for line in edit(path.read_text().splitlines())))
    with pytest.warns(UserWarning, match=f"^{re.escape(f'{path}: {told}')}"):
        resume(stopped, runs)
    wanted = finished_files(runs / "finished")
    assert {name: finished_files(stopped)[name] for name in ("last", "best")} == {
        n: wanted[n] for n in ("last", "best")
    }


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.array(3), "key 'rows.y': expected a list of integers, got an array of int64 []"),
        (np.arange(3.0), "key 'rows.y': expected a list of integers, got an array of float64 [3]"),
        (np.array(["a"]), "key 'rows.y': expected a list of integers, got an array of <U1 [1]"),
    ],
)
def test_a_fault_in_the_labelled_rows_names_the_node(array: np.ndarray, told: str, stopped: Path, runs: Path) -> None:
    np.savez(stopped / "labels.npz", y=array, w=np.arange(3))
    with pytest.raises(UsageError) as problem:
        resume(stopped, runs)
    assert str(problem.value) == f"{stopped / 'labels.npz'}: cannot be read as the labelled rows ({told})"


# ---- weights


def changed_weights(path: Path, edit: Callable[[dict[str, torch.Tensor], dict[str, str]], None]) -> None:
    with safe_open(str(path), framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    edit(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


WEIGHT = "generative.x_.heads.logits.bias"


def _one_nan(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors[_first(tensors)].reshape(-1)[0] = float("nan")


def _double(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors[_first(tensors)] = tensors[_first(tensors)].double()


def _first(tensors: dict[str, torch.Tensor]) -> str:
    return sorted(tensors)[0]


WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor], dict[str, str]], Any], str]] = {
    "NaN": (_one_nan, r"the weights do not fit the spec: '\S+' has values that are not finite"),
    "type": (_double, r"the weights do not fit the spec: '\S+' has type float64, wanted float32"),
    "no metadata": (
        lambda _, found: found.clear(),
        r"its metadata cannot be read as those of a run \(key 'sgc': missing\)",
    ),
    "epoch": (
        lambda _, found: found.update(sgc='{"epoch": -1, "gamma": 1, "rate": 0.5}'),
        r"its metadata cannot be read as those of a run "
        r"\(key 'epoch': expected a number at least 0.0, got integer -1\)",
    ),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_none_are_refused_by_name(kind: str, finished: Path) -> None:
    edit, told = WEIGHTS[kind]
    changed_weights(finished / "best.safetensors", edit)
    with pytest.raises(UsageError, match=rf"best\.safetensors: {told}$"):
        sgc.open(finished)


# ---- what a stranger can put into training.pt


def state_of(folder: Path) -> Raw:
    state: Raw = torch.load(folder / "training.pt", weights_only=True)
    return state


def moment(state: Raw) -> tuple[Raw, torch.Tensor]:
    """Give what is kept of a parameter that is a matrix, and its first moment."""
    kept = next(each for each in state["optimizer"]["state"].values() if each["exp_avg"].dim() == 2)
    return kept, kept["exp_avg"]


STRANGE: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "0-dimensional": (lambda _: torch.tensor(0.5), r"has shape \[\], wanted \[\d+, \d+\]"),
    "a view of stride 0 of another shape": (
        lambda _: torch.zeros(1).expand(10**6, 10**6),
        r"has shape \[1000000, 1000000\], wanted \[\d+, \d+\]",
    ),
    "another type": (lambda tensor: tensor.double(), "has type float64, wanted float32"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "has type complex64, wanted float32"),
    "sparse": (lambda tensor: tensor.to_sparse(), "is not a plain array of numbers"),
    "NaN": (lambda tensor: tensor * float("nan"), "has values that are not finite"),
    "no tensor": (lambda _: 1.5, "expected a tensor, got number 1.5"),
    "nothing": (lambda _: None, "missing"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_tensor_that_is_not_like_the_models_is_refused_by_its_key(kind: str, stopped: Path, runs: Path) -> None:
    """In a process of its own, which must end with a refusal and by no signal."""
    make, told = STRANGE[kind]
    state = state_of(stopped)
    kept, tensor = moment(state)
    kept["exp_avg"] = make(tensor)
    torch.save(state, stopped / "training.pt")

    def refused() -> None:
        with pytest.raises(
            UsageError, match=rf"does not fit the spec \(key 'optimizer\.state\[\d+\]\.exp_avg': {told}\)$"
        ):
            resume(stopped, runs)

    assert in_child(refused) == 0


@pytest.mark.parametrize("key", ["model", "optimizer"])
def test_tensors_of_any_layout_are_copied_into_arrays_of_their_own(key: str, stopped: Path, runs: Path) -> None:
    """The same numbers under other strides, and all in one storage, end in the same run."""
    state = state_of(stopped)
    for kept in state["optimizer"]["state"].values() if key == "optimizer" else [state["model"]]:
        for name, tensor in kept.items():
            if tensor.dim() == 2:
                kept[name] = tensor.t().contiguous().t()
    torch.save(state, stopped / "training.pt")
    resume(stopped, runs)
    assert finished_files(stopped) == finished_files(runs / "finished")


def test_a_second_moment_of_stride_0_moves_a_run_by_its_numbers_and_harms_nothing(stopped: Path, runs: Path) -> None:
    ends = []
    for expanded in (True, False):
        folder = Path(shutil.copytree(stopped, stopped.with_name(f"expanded {expanded}")))
        state = state_of(folder)
        for kept in state["optimizer"]["state"].values():
            ones = torch.ones(1).expand(kept["exp_avg_sq"].shape)
            kept["exp_avg_sq"] = ones if expanded else ones.clone()
        torch.save(state, folder / "training.pt")
        assert in_child(lambda to=folder: resume(to, runs)) == 0  # type: ignore[misc]
        ends.append(finished_files(folder))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("option", [{"maximize": True}, {"lr": 1e9}, {"weight_decay": -5.0}, {"betas": (2.0, 2.0)}])
def test_options_of_the_optimiser_come_from_the_spec_alone(option: Raw, stopped: Path, runs: Path) -> None:
    state = state_of(stopped)
    state["optimizer"]["param_groups"][0] |= option
    torch.save(state, stopped / "training.pt")
    resume(stopped, runs)
    assert finished_files(stopped) == finished_files(runs / "finished")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("step", True, "key 'step': expected an integer, got boolean true"),
        ("epoch", 2**63, f"key 'epoch': expected a number less than {2**63}, got integer {2**63}"),
        (
            "optimizer.state.0.step",
            torch.tensor(0.0),
            "key 'optimizer.state[0].step': found 0, of a run",
        ),
        ("optimizer.state.999", {}, "key 'optimizer.state[999]': the model has "),
        ("optimizer.state.0.more", torch.zeros(3), "key 'optimizer.state[0].more': Adam keeps no tensor of this name"),
        ("optimizer.param_groups.0.params", [0, 0], "key 'optimizer.param_groups': expected the places of "),
        ("model.more", torch.zeros(3), "key 'model.more': the model has no such weights"),
        ("sums.rows.unlabelled", -1, "key 'sums.rows.unlabelled': expected a number at least 0, got integer -1"),
        ("sums.terms.rows", {}, "key 'sums.terms': 'rows', 'terms' and 'effective' have different patterns"),
        ("alarms", {"collapsed z": "x"}, "key 'alarms.collapsed z': expected an integer, got string 'x'"),
        ("running_means", {"y": float("nan")}, "key 'running_means.y': expected a finite number, got number nan"),
        ("best_bound", float("inf"), "key 'best_bound': expected a bound, which is below infinity, got number inf"),
        ("best_bound", float("nan"), "key 'best_bound': found nan, wanted a number, as there are validation rows"),
        (
            "optimizer.state.0.exp_avg_sq",
            "negative",
            "key 'optimizer.state[0].exp_avg_sq': has numbers below 0, which no sum of squares has",
        ),
        ("optimizer.state.word", {}, "key 'optimizer.state.word': expected an integer, got string 'word'"),
        ("best_epoch", 99, "key 'best_epoch': found 99 in epoch 3"),
        ("more", {1, 2}, "key 'more': unknown"),
        (
            "version",
            10**400,
            "found version an integer of 1329 bits, written by a newer sgc",
        ),
        ("version", 2, "found version 2, written by a newer sgc, and this one reads up to 1"),
    ],
)
def test_a_fault_in_the_training_state_names_the_key(
    path: str, value: Any, told: str, stopped: Path, runs: Path
) -> None:
    state = here = state_of(stopped)
    *above, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    for part in above:
        here = here[part]
    here[last] = -here[last] if value == "negative" else value
    torch.save(state, stopped / "training.pt")
    with pytest.raises(UsageError) as problem:
        resume(stopped, runs)
    start = f"{stopped / 'training.pt'}: does not fit the spec ({told}"
    assert str(problem.value).startswith(start)
    assert "\n" not in str(problem.value)


# ---- what evaluation does not need, and folders of before there were versions


def test_an_evaluation_reads_none_of_what_it_does_not_need(finished: Path) -> None:
    whole = sgc.evaluate(finished).plain()
    for name in ("training.pt", "metrics.jsonl", "last.safetensors"):
        (finished / name).write_bytes(b"damaged")
    assert sgc.evaluate(finished).plain() == whole
    for name in ("run.json", "columns.json", "labels.npz", "rows.npz"):
        (finished / name).unlink()
    sgc.open(finished)


BEFORE = Path(__file__).parent / "run_of_before.zip"  # a run stopped after five steps, and its data


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows.npz and a run that was written before the files of a run had versions."""
    with zipfile.ZipFile(BEFORE) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)  # its run.json says that the data stand beside
    return tmp_path / "run"


def test_a_run_folder_of_before_there_were_versions_opens_is_evaluated_and_goes_on(before: Path) -> None:
    assert not {"version", "threads"} & json.loads((before / "run.json").read_text()).keys()
    state = state_of(before)
    assert "version" not in state
    assert sgc.open(before).epoch == 2
    assert sgc.evaluate(before).evaluation.rows == 12
    spec = sgc.load(before / "spec.yaml")
    train(spec, output=before, beside=before.parent, resume=True)
    assert sgc.open(before, "last").epoch == 3
    train(spec, output=before.parent / "whole", beside=before.parent)
    one, other = (load_file(folder / "last.safetensors") for folder in (before, before.parent / "whole"))
    for name, tensor in one.items():  # another version of torch rounds in another way
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-5)


def test_a_run_folder_of_before_refuses_other_data_as_ever(before: Path) -> None:
    with np.load(before.parent / "rows.npz") as found:
        arrays = dict(found)
    np.savez(before.parent / "rows.npz", **{**arrays, "x": arrays["x"] + 1})
    with pytest.raises(UsageError, match="the data are not those the run was started on: other rows or values; "):
        sgc.evaluate(before)


# ---- optimisers


OPTIMISERS = ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"]


@pytest.mark.parametrize(("name", "precision"), [*((name, "32-true") for name in OPTIMISERS), ("Adam", "64-true")])
def test_every_optimiser_goes_on_to_the_same(name: str, precision: str, tmp_path: Path) -> None:
    momentum = {"momentum": 0.5} if name in ("SGD", "RMSprop") else {}
    spec = small(train__optimizer={"name": name, "lr": 0.001, **momentum}, train__precision=precision, train__epochs=2)
    arrays = small_arrays()
    train(sgc.load(spec), arrays, output=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(sgc.load(spec), arrays, output=tmp_path / "parts", watcher=At(4, signal.SIGINT))
    train(sgc.load(spec), arrays, output=tmp_path / "parts", resume=True)
    assert finished_files(tmp_path / "parts") == finished_files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "training.pt", "run.json", "metrics.jsonl"])
def test_links_in_a_folder_of_a_stranger_lead_no_write_elsewhere(name: str, stopped: Path, runs: Path) -> None:
    own = stopped.parent / "own"
    own.write_text("mine")
    for link in (stopped / name, stopped / f"{name}.part"):
        if link.exists() and name in ("training.pt", "run.json"):
            continue  # it is read before it is written
        link.unlink(missing_ok=True)
        link.symlink_to(own)
    resume(stopped, runs)
    assert own.read_text() == "mine"
    (stopped / "metrics.jsonl").unlink()
    (stopped / "metrics.jsonl").symlink_to(stopped.parent / "new")
    with pytest.raises(RunError, match=r"metrics\.jsonl: Too many levels of symbolic links"):
        RunFolder(stopped).append_metrics({"epoch": 1})
    assert not (stopped.parent / "new").exists()


def test_a_packed_array_of_a_run_and_a_version_of_any_length_are_refused(stopped: Path, runs: Path) -> None:
    path = stopped / "rows.npz"
    rows = dict(np.load(path))
    np.savez_compressed(path, **rows)
    told = f"^{re.escape(str(path))}: cannot be read as what the data of the run are known by "
    with pytest.raises(UsageError, match=told + r"\(key 'rows/train': is packed, as no run writes it\)$"):
        resume(stopped, runs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"sgc " + b"9" * 5000
    newer = r"\(found version 999999999, written by a newer sgc, and this one reads up to 1\)$"
    with pytest.raises(UsageError, match=told + newer):
        resume(stopped, runs)


def test_a_run_that_lost_its_spec_does_not_go_on(stopped: Path, runs: Path) -> None:
    (stopped / "spec.yaml").unlink()
    told = f"^{re.escape(str(stopped))}: holds a run without its spec.yaml; force=True starts over$"
    with pytest.raises(UsageError, match=told):
        resume(stopped, runs)
