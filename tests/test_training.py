"""Training runs: one seed gives one result, whatever stopped it on the way; faults leave the checkpoint alone."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_runs import (
    At,
    all_files,
    changed,
    drawing_elsewhere,
    finished_files,
    in_child,
    rich,
    shell,
    small,
    small_arrays,
    write_rich,
)
from torch import Tensor

import sgc
from sgc.distributions.family import Family
from sgc.errors import DataError, Interrupted, RunError, UsageError
from sgc.runs.file_formats import spec_yaml
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.spec.resolver import outline
from sgc.training.dry_run import dry
from sgc.training.trainer import train

Raw = dict[str, Any]  # Any: a spec as plain data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of the rich spec."""
    folder = tmp_path_factory.mktemp("data")
    write_rich(folder)
    return folder


def run(spec: Raw, folder: Path, data: Path | dict[str, Any] | None = None, **words: Any) -> Any:  # Any: train's words
    """Train, on files beside a folder or on arrays."""
    if isinstance(data, Path):
        return train(sgc.load(spec), output=folder, beside=data, **words)
    return train(sgc.load(spec), small_arrays() if data is None else data, output=folder, **words)


# ---- one seed, one result

SGD = {
    "name": "SGD",
    "momentum": {"from": 0, "to": 0.9, "epochs": 2},
    "weight_decay": {"from": 0.1, "to": 0, "epochs": 3, "curve": "cosine"},
    "lr": {"from": 0.01, "to": 0.001, "epochs": 3},
}
VARIANTS: dict[str, Raw] = {
    "adam": {},
    "moving": {
        "train__optimizer": SGD,
        "train__labelled_also_unlabelled": True,
        "train__clip_norm": {"from": 5, "to": 0.5, "epochs": 2, "curve": "exponential"},
        "train__average": {"decay": 0.8, "from": 1},
        "objective__supervision_rate": {"from": 0.3, "to": 0.6, "epochs": 3},
        "nodes__x__generative__network": {"mlp": [8], "dropout": {"from": 0.4, "to": 0, "epochs": 2}},
        "nodes__z__generative": {"parameters": {"scale": {"from": 2, "to": 1, "epochs": 3}}},
    },
    "half": {"train__precision": "bf16-mixed"},
    "score": {"nodes__y__recognition__estimator": {"score_function": {"baseline": "running_mean"}}},
}


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What uninterrupted runs of every variant end with."""
    torch.set_num_threads(1)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "validate_args", True)  # as in every test: torch's checks move the last bit of a result
        for name, changes in VARIANTS.items():
            folder = tmp_path_factory.mktemp("whole") / name
            run(rich(**changes), folder, data)
            found[name] = finished_files(folder)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_seed_gives_one_result_whatever_the_global_generator_holds(
    variant: str, whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    run(rich(**VARIANTS[variant]), tmp_path / "run", data)
    assert finished_files(tmp_path / "run") == whole[variant]
    assert torch.equal(torch.get_rng_state(), before)  # and the caller's generator is as it was


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_seed_gives_one_result_whatever_else_the_process_does(
    variant: str, whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    """Neither torch's default type nor another thread that draws from its generator changes a run."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with drawing_elsewhere():
            run(rich(**VARIANTS[variant]), tmp_path / "run", data)
            weights = sgc.open(tmp_path / "run").parameters()
    finally:
        torch.set_default_dtype(before)
    assert finished_files(tmp_path / "run") == whole[variant]
    assert {each.dtype for each in weights} == {torch.float32}


def test_another_seed_gives_another_result(whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path) -> None:
    run(rich(train__seed=1), tmp_path / "run", data)
    found = finished_files(tmp_path / "run")
    assert all(found[name] != whole["adam"][name] for name in found)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_at_any_step_and_resumed_ends_the_same(
    variant: str, whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    folder, spec = tmp_path / "run", rich(**VARIANTS[variant])
    draw = random.Random(variant)
    status, kills = -signal.SIGKILL, -1
    while status:  # killed again and again on its way, 3 or 5 steps an epoch
        assert status == -signal.SIGKILL
        steps, kills = draw.randint(1, 8), kills + 1
        status = in_child(lambda at=steps: run(spec, folder, data, resume=True, watcher=At(at)))  # type: ignore[misc]
        assert kills < 100
    assert kills >= 2
    assert finished_files(folder) == whole[variant]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_beside_any_write_and_resumed_ends_the_same(when: str, data: Path, tmp_path: Path) -> None:
    spec = rich()
    run(spec, tmp_path / "whole", data)
    wanted = finished_files(tmp_path / "whole")

    def killed(folder: Path, write: int) -> None:
        left = [write]
        replace = os.replace

        def counted(one: Path, other: Path) -> None:
            if when == "after":
                replace(one, other)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            if when == "before":
                replace(one, other)

        os.replace = counted  # type: ignore[assignment]  # in the child alone
        run(spec, folder, data)

    write, status = 0, -signal.SIGKILL
    while status:
        write += 1
        folder = tmp_path / str(write)
        status = in_child(lambda at=write, to=folder: killed(to, at))  # type: ignore[misc]
        assert status in (0, -signal.SIGKILL)
        if status:
            run(spec, folder, data, resume=True)
            assert finished_files(folder) == wanted, f"killed {when} write {write}"
            assert RunFolder(folder).record().finished
    assert write >= 10


def test_a_run_killed_at_any_time_and_resumed_ends_the_same(
    whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    spec, draw = rich(), random.Random(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        child = os.fork()
        if not child:
            try:
                run(spec, folder, data)
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0.02, 0.6))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        run(spec, folder, data, resume=True)
        assert finished_files(folder) == whole["adam"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [2, 7])
def test_a_run_stopped_by_a_signal_keeps_its_checkpoint_and_goes_on_to_the_same(
    steps: int, number: int, whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    folder, spec = tmp_path / "run", rich()
    epoch_steps = json.loads(whole["adam"]["metrics"])[0]["step"]
    with pytest.raises(Interrupted) as told:
        run(spec, folder, data, watcher=At(steps, number))
    epoch = steps // epoch_steps + 1
    assert str(told.value) == f"stopped in epoch {epoch} after {steps} steps; resume=True goes on"
    assert signal.getsignal(number) is not None
    state = torch.load(folder / "training.pt", weights_only=True)
    assert (state["step"], state["epoch"]) == (steps, epoch - 1)
    kept = load_file(folder / "last.safetensors")
    assert all(torch.equal(kept[name], state["model"][name]) for name in kept)
    run(spec, folder, data, resume=True)
    assert finished_files(folder) == whole["adam"]


def test_ctrl_c_in_the_shell_exits_130_with_the_checkpoint_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", False)  # as in the shell
    write_rich(tmp_path)
    spec = rich(train__epochs=20)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    command = [sys.executable, "-m", "sgc", "train", "spec.yaml", "-o", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(5000):
        if (metrics.exists() and metrics.read_text()) or child.poll() is not None:
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said, told = child.communicate(timeout=60)
    assert child.returncode == 130, told
    assert said == ""
    assert told.splitlines()[-1].startswith("stopped in epoch ")
    assert told.splitlines()[-1].endswith("; --resume goes on")
    assert (tmp_path / "run" / "training.pt").exists()
    run(spec, tmp_path / "run", tmp_path, resume=True)
    run(spec, tmp_path / "other", tmp_path)
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "other")


# ---- what is not finite


def test_a_term_that_is_no_number_stops_the_run_before_the_checkpoint_is_touched(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    score, calls = Family.log_prob, [0]

    def broken(family: Family, distribution: Any, *values: Any) -> Tensor:
        found = score(family, distribution, *values)
        calls[0] += family.name == "Bernoulli"
        return found * float("nan") if family.name == "Bernoulli" and calls[0] > 60 else found

    kept: dict[str, bytes] = {}

    class Keep(At):
        def epoch(self, line: Any) -> None:
            kept.update({n: b for n, b in all_files(folder).items() if n.endswith((".pt", ".safetensors"))})

    monkeypatch.setattr(Family, "log_prob", broken)
    with pytest.raises(
        RunError, match=r"^step \d+ \(epoch \d+\)(, validation)?: node 'x': log p is not finite"
    ) as told:
        run(rich(train__epochs=50), folder, data, watcher=Keep(0))
    assert str(told.value).endswith("; the last checkpoint is untouched")
    assert kept
    assert {name: all_files(folder)[name] for name in kept} == kept
    assert not RunFolder(folder).record().finished


def test_an_absurd_learning_rate_stops_the_shell_with_status_1(tmp_path: Path, capfd: Any) -> None:
    write_rich(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(rich(train__optimizer={"lr": 1e30})))
    words = ["train", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "run")]
    for more in ([], ["--debug", "--force"]):
        status = in_child(lambda more=more: shell([*words, *more]), tmp_path / "told")  # type: ignore[misc]
        told = (tmp_path / "told").read_text().splitlines()
        assert status == 1, told
        assert re.match(r"error: step 2 \(epoch 1\): (node '\w|[pq]\()", told[-1])
        assert told[-1].endswith("; the last checkpoint is untouched")
        assert not list((tmp_path / "run").glob("*.safetensors"))


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    # one step an epoch: the loss is finite, its update is not, and no further step would notice
    with pytest.raises(RunError) as told:
        run(small(train={"epochs": 1, "batch_size": 60, "optimizer": {"name": "SGD", "lr": 1e38}}), tmp_path / "run")
    text = str(told.value)
    assert text.startswith("step 1 (epoch 1): node '")
    assert text.endswith("its weights are not finite after the update; the last checkpoint is untouched")
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_an_infinite_validation_bound_names_its_node(tmp_path: Path) -> None:
    section = {"source": "npz", "file": "none.npz", "columns": {"x": {"column": "x"}, "y": {"column": "y"}}}
    spec = small(data={**section, "split": {"validation": 10, "seed": 0}})
    arrays = small_arrays()
    held_out = open_data(outline(sgc.load(spec)), tmp_path, arrays).validation.rows
    arrays["x"][held_out] = 1e25
    with pytest.raises(RunError) as told:
        run(spec, tmp_path / "run", arrays)
    assert str(told.value) == (
        "step 3 (epoch 1), validation: node 'x': log p is not finite, in rows without labels; "
        "the last checkpoint is untouched"
    )
    assert not list((tmp_path / "run").glob("*.safetensors"))


# ---- the folder


def test_a_folder_that_holds_a_run_is_not_overwritten_without_force(tmp_path: Path) -> None:
    folder, spec = tmp_path / "run", small()
    run(spec, folder)
    before = all_files(folder)
    with pytest.raises(UsageError) as told:
        run(spec, folder)
    assert str(told.value) == f"{folder}: holds a finished run; force=True starts over"
    assert all_files(folder) == before
    run(changed(spec, train__seed=1), folder, force=True)
    assert all_files(folder).keys() == before.keys()
    assert finished_files(folder) != {name: before.get(name) for name in finished_files(folder)}
    with pytest.raises(Interrupted):
        run(spec, folder, force=True, watcher=At(2, signal.SIGINT))
    with pytest.raises(UsageError) as told:
        run(spec, folder)
    assert str(told.value) == f"{folder}: holds an unfinished run; resume=True goes on, force=True starts over"


def test_a_folder_with_a_spec_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("# mine\n")
    for words in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(UsageError, match=r"holds spec\.yaml and no run"):
            run(small(), tmp_path, **words)
    assert all_files(tmp_path) == {"spec.yaml": b"# mine\n"}


def test_resume_refuses_another_spec_and_names_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small(), folder)
    before = all_files(folder)
    with pytest.raises(UsageError) as told:
        run(small(train__optimizer={"lr": 0.5}), folder, resume=True)
    assert str(told.value) == f"{folder}: holds a run of another spec, which differs at train.optimizer.lr"
    assert all_files(folder) == before


def test_resume_takes_nodes_in_another_order_for_the_same_spec(
    whole: dict[str, dict[str, bytes]], data: Path, tmp_path: Path
) -> None:
    spec = rich()
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "run", data, watcher=At(4, signal.SIGINT))
    turned = {**spec, "nodes": dict(reversed(spec["nodes"].items()))}
    run(turned, tmp_path / "run", data, resume=True)
    assert finished_files(tmp_path / "run") == whole["adam"]


def test_resume_refuses_other_labels(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small(), folder)
    with pytest.raises(UsageError, match="the data are not those the run was started on: other rows carry a label"):
        run(small(), folder, small_arrays(labels=21), resume=True)


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small(), folder)
    before = all_files(folder)
    found = run(small(), folder, resume=True)
    assert found.epochs == 3
    assert all_files(folder) == before
    (folder / "training.pt").unlink()
    with pytest.raises(UsageError, match=r"holds a finished run without its training\.pt; force=True starts over"):
        run(small(), folder, resume=True)


def test_resume_starts_where_there_is_nothing(tmp_path: Path) -> None:
    run(small(), tmp_path / "a" / "b" / "run", resume=True)
    run(small(), tmp_path / "run")
    assert finished_files(tmp_path / "a" / "b" / "run") == finished_files(tmp_path / "run")


def test_the_folder_holds_the_resolved_spec_versions_seed_and_labelled_rows(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(rich(train__seed=3), folder, data)
    assert sgc.load(folder / "spec.yaml") == sgc.load(rich(train__seed=3))
    assert yaml.safe_load((folder / "spec.yaml").read_text())["train"]["labelled_also_unlabelled"] is False
    info = json.loads((folder / "run.json").read_text())
    assert info["seed"] == 3
    assert info["versions"]["torch"] == torch.__version__
    assert info["finished"] is True
    assert info["rate"] == pytest.approx(0.3)
    with np.load(folder / "labels.npz") as labels:
        assert {name: len(labels[name]) for name in labels.files} == {"y": 30, "w": 25}
        carrying = len(np.union1d(labels["y"], labels["w"]))
    assert info["rows"] == {"unlabelled": 80 - carrying, "labelled": carrying}
    assert info["gamma"] == pytest.approx(0.3 * (80 - carrying) / (0.7 * carrying))
    assert info["alpha"]["y"] == pytest.approx(0.1 / 0.3)


def test_a_resolved_spec_loads_to_the_same_whatever_its_words_look_like(tmp_path: Path) -> None:
    values = [
        "1e-3",
        "12",
        "0x1f",
        "0o17",
        "1.",
        ".5",
        "no",
        "null",
        "~",
        "true",
        "2001-01-01",
        "a: b",
        "1_000",
        "1:30",
    ]
    spec = sgc.load(
        small(nodes__y__categories=None, nodes__y__values=[*values, 1, 2.5, True], train__optimizer__lr=1e-5)
    )
    (tmp_path / "spec.yaml").write_text(spec_yaml(spec))
    assert sgc.load(tmp_path / "spec.yaml").plain() == spec.plain()


def test_metrics_say_what_every_epoch_did(data: Path, tmp_path: Path) -> None:
    found = run(rich(), tmp_path / "run", data)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert found.lines == lines
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    steps = lines[0]["step"]
    assert [line["step"] for line in lines] == [steps, 2 * steps, 3 * steps]
    for line in lines:
        assert set(line["bound"]) == {"unlabelled", "labelled"}
        assert set(line["validation_error"]) == {"y", "w"}
        assert {"loss", "validation_bound", "best", "lr", "seconds"} <= set(line)
    bounds = [line["validation_bound"] for line in lines]
    assert [line["best"] for line in lines] == [bound > max([-np.inf, *bounds[:i]]) for i, bound in enumerate(bounds)]


def test_validation_measures_as_the_spec_says(data: Path, tmp_path: Path) -> None:
    root, mean = (run(rich(evaluate={"metrics": {"w": each}}), tmp_path / each, data).lines for each in ("rmse", "mae"))
    for one, other in zip(root, mean, strict=True):
        assert one["validation_bound"] == other["validation_bound"]
        assert one["validation_error"]["y"] == other["validation_error"]["y"]
        assert one["validation_error"]["w"] > other["validation_error"]["w"]  # a root mean square is above a mean


def test_patience_ends_a_run_that_gets_no_better(data: Path, tmp_path: Path) -> None:
    spec = rich(train__stop={"patience": 2}, train__epochs=30, train__optimizer={"name": "SGD", "lr": 0.3})
    found = run(spec, tmp_path / "run", data)
    best = max(line["epoch"] for line in found.lines if line["best"])
    assert found.epochs == best + 2 < 30
    again = run(spec, tmp_path / "run", data, resume=True)
    assert again.epochs == found.epochs
    assert RunFolder(tmp_path / "run").record().finished


def test_best_is_chosen_by_the_bound_and_never_by_labels(tmp_path: Path) -> None:
    spec = rich(train__epochs=6, train__optimizer={"name": "SGD", "lr": 0.05})
    write_rich(tmp_path)
    found = run(spec, tmp_path / "one", tmp_path)
    with np.load(tmp_path / "rows.npz") as rows:
        arrays = dict(rows)
    places = open_data(outline(sgc.load(spec)), tmp_path).validation.rows
    for name in ("label", "size"):
        arrays[name][places] = np.roll(arrays[name][places], 7)
    np.savez(tmp_path / "rows.npz", **arrays)
    other = run(spec, tmp_path / "other", tmp_path)
    for checkpoint in ("best", "last"):
        files = [tmp_path / folder / f"{checkpoint}.safetensors" for folder in ("one", "other")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert [line["best"] for line in found.lines] == [line["best"] for line in other.lines]
    assert [line["validation_error"] for line in found.lines] != [line["validation_error"] for line in other.lines]


# ---- damaged files


def resume(folder: Path) -> None:
    run(small(), folder, resume=True)


def encoders(folder: Path) -> None:
    RunFolder(folder).encoders()


READERS: dict[str, Callable[[Path], object]] = {
    "training.pt": resume,
    "run.json": resume,
    "labels.npz": resume,
    "spec.yaml": sgc.open,
    "best.safetensors": sgc.open,
    "columns.json": encoders,
}


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


@pytest.mark.parametrize("content", ["", "\0\ufffd garbage\n", "[1, 2]", '{"a": 1}', "half"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_told_in_plain_words(name: str, content: str, tmp_path: Path, trained: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if content == "half" else content.encode())
    if name == "run.json" and content == '{"a": 1}':
        return  # a record, if a poor one
    with pytest.raises((UsageError, sgc.SpecError)) as told:
        READERS[name](folder)
    text = str(told.value)
    assert name in text
    assert "\n" not in text or name == "spec.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(small(), folder)
    return folder


class Explosive:
    """An object whose loading from a pickle would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["training.pt", "labels.npz", "best.safetensors"])
def test_a_pickle_among_the_files_never_runs_code(name: str, kind: str, trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    bomb = Explosive(tmp_path / "boom")
    if kind == "pickle":
        (folder / name).write_bytes(pickle.dumps(bomb, protocol=2))
    else:
        torch.save({"model": bomb}, folder / name)
    with pytest.raises(UsageError):
        READERS[name](folder)
    assert not (tmp_path / "boom").exists()


def _poison(state: Raw, part: str) -> None:
    kept = state["optimizer"]["state"]
    if part == "shape":
        name = next(iter(state["model"]))
        state["model"][name] = torch.zeros(1)
    elif part == "optimizer shape":
        kept[0]["exp_avg"] = torch.zeros(7, 7)
    elif part == "optimizer groups":
        state["optimizer"]["param_groups"] = []
    elif part == "step":
        state["step"] = 10_000
    elif part == "sums":
        state["sums"] = {"loss": "much"}
    else:
        del state[part]


@pytest.mark.parametrize(
    "part",
    ["shape", "optimizer shape", "optimizer groups", "step", "sums", "model", "epoch", "optimizer", "best_bound"],
)
def test_a_training_state_that_does_not_fit_is_refused_in_one_line(part: str, trained: Path, tmp_path: Path) -> None:
    folder = copied(trained, tmp_path / "run")
    state = torch.load(folder / "training.pt", weights_only=True)
    _poison(state, part)
    torch.save(state, folder / "training.pt")
    with pytest.raises(UsageError, match=r"training\.pt: does not fit the spec \(.*\)$"):
        run(small(), folder, resume=True)


def test_weights_of_another_spec_are_refused_by_name(trained: Path, tmp_path: Path) -> None:
    run(small(nodes__z__shape=[3], train__epochs=1), tmp_path / "wide")
    run(small(nodes__z__recognition__network={"mlp": [6, 6]}, train__epochs=1), tmp_path / "deep")
    for name, words in (("wide", "has shape"), ("deep", "has besides")):
        (tmp_path / name / "spec.yaml").write_bytes((trained / "spec.yaml").read_bytes())
        with pytest.raises(UsageError, match=f"the weights do not fit the spec: .*{words}"):
            sgc.open(tmp_path / name)


# ---- from Python


def test_arrays_and_a_data_frame_train_the_same(tmp_path: Path) -> None:
    spec = small(
        nodes__x__shape=[],
        data={
            "source": "table",
            "file": "none.csv",
            "columns": {"x": {"column": "length", "transforms": ["standardize"]}, "y": {"column": "kind"}},
            "split": {"validation": 12, "seed": 0},
            "labels": {"y": {"count": 15}},
        },
        nodes__y__categories=None,
        nodes__y__values=["cat", "dog", "eel"],
    )
    kinds = np.array(["cat", "dog", "eel", None], dtype=object)
    arrays = small_arrays(labels=40)
    frame = pd.DataFrame({"length": 10 + 3 * arrays["x"][:, 0], "kind": kinds[arrays["y"]]}, index=range(100, 160))
    columns = {"length": frame["length"].to_numpy(), "kind": frame["kind"].to_numpy()}
    named = {"x": columns["length"], "y": columns["kind"]}
    run(spec, tmp_path / "frame", frame)
    run(spec, tmp_path / "named", named)
    assert finished_files(tmp_path / "frame") == finished_files(tmp_path / "named")
    assert len(RunFolder(tmp_path / "frame").labelled_rows()["y"]) == 15

    bare = changed(spec, data=None)
    run(bare, tmp_path / "bare frame", pd.DataFrame({"x": arrays["x"][:, 0], "y": kinds[arrays["y"]]}))
    run(bare, tmp_path / "bare", {"x": list(arrays["x"][:, 0]), "y": kinds[arrays["y"]].tolist()})
    with_numbers = changed(bare, nodes__y__values=None, nodes__y__categories=3)
    run(
        with_numbers,
        tmp_path / "tensors",
        {name: torch.as_tensor(each) for name, each in arrays.items()} | {"x": arrays["x"][:, 0]},
    )
    assert finished_files(tmp_path / "tensors") == finished_files(tmp_path / "bare")
    assert finished_files(tmp_path / "bare frame") == finished_files(tmp_path / "bare")


def test_an_opened_run_is_the_trained_model(data: Path, tmp_path: Path) -> None:
    found = run(rich(), tmp_path / "run", data)
    batch = {"x": torch.rand(7, 1, 4, 4).round(), "y": torch.tensor([0, 1, 2, -1, -1, 0, 1])}
    bounds = []
    for model in (found.model, sgc.open(tmp_path / "run")):
        assert not model.training
        generator = torch.Generator().manual_seed(0)
        bounds.append(model.objective(batch, generator=generator))
    assert torch.equal(bounds[0].bound, bounds[1].bound)
    assert torch.equal(bounds[0].loss, bounds[1].loss)
    best = max((line for line in found.lines if line["best"]), key=lambda line: line["epoch"])
    assert sgc.open(tmp_path / "run").epoch == best["epoch"]
    last = sgc.open(tmp_path / "run", "last")
    assert last.epoch == 3
    assert last.gamma == pytest.approx(RunFolder(tmp_path / "run").record().gamma)


def test_training_needs_no_labels_and_can_have_all(tmp_path: Path) -> None:
    arrays = small_arrays(labels=60)
    counts = []
    for name, given in (("all", arrays), ("none", {"x": arrays["x"]})):
        run(small(), tmp_path / name, given)
        counts.append(RunFolder(tmp_path / name).record().rows.model_dump())
    assert counts == [{"unlabelled": 0, "labelled": 60}, {"unlabelled": 60, "labelled": 0}]
    vae = small(nodes__y=None, nodes__x__generative__parents=["z"], nodes__z__recognition__parents=["x"])
    found = run(vae, tmp_path / "vae", {"x": arrays["x"]})
    assert list(found.lines[0]["bound"]) == ["unlabelled"]


def test_a_rate_without_labels_is_refused_in_words(tmp_path: Path) -> None:
    spec = small(objective={"supervision_rate": 0.5})
    with pytest.raises(UsageError) as told:
        run(spec, tmp_path / "run", {"x": small_arrays()["x"]})
    assert str(told.value) == "objective.supervision_rate is 0.5, but no row carries a label"
    with pytest.raises(UsageError) as told:
        run(spec, tmp_path / "run", small_arrays(labels=60))
    assert str(told.value) == "objective.supervision_rate is 0.5, but every row carries a label: leave it out"
    with pytest.raises(UsageError) as told:
        run(small(objective={"bound": "supervised"}), tmp_path / "run", {"x": small_arrays()["x"]})
    assert str(told.value) == "the supervised bound needs labelled rows, and no row carries a label"
    assert not (tmp_path / "run").exists()


def test_labelled_rows_may_also_stand_among_the_unlabelled(tmp_path: Path) -> None:
    run(small(train__labelled_also_unlabelled=True), tmp_path / "run")
    assert RunFolder(tmp_path / "run").record().rows.model_dump() == {"unlabelled": 60, "labelled": 20}
    assert RunFolder(tmp_path / "run").record().rate == pytest.approx(20 / 80)


@pytest.mark.parametrize("bound", ["elbo", "iwae", "supervised"])
def test_every_bound_trains_on_mixed_patterns_and_takes_a_dry_step(bound: str, data: Path, tmp_path: Path) -> None:
    words = {"bound": bound, "samples": 3}
    spec = rich(objective=words, train__epochs=1)
    if bound == "iwae":
        spec["nodes"]["y"]["recognition"]["estimator"] = "enumerate"
    run(spec, tmp_path / "run", data)
    found = dry(sgc.load(spec), beside=data)
    assert len(found) == (3 if bound == "supervised" else 4)  # y, w, both; and neither
    assert all(np.isfinite(each["bound"]) for each in found)


def test_the_loss_falls_and_labels_are_learned(tmp_path: Path) -> None:
    arrays = small_arrays(rows=300, labels=60)
    spec = small(train={"epochs": 40, "batch_size": 30, "optimizer": {"lr": 0.02}}, objective={"alpha": 5})
    found = run(spec, tmp_path / "run", arrays)
    assert found.lines[-1]["loss"] < found.lines[0]["loss"] - 1
    fresh = small_arrays(rows=200, labels=200, seed=1)
    draw = torch.Generator().manual_seed(0)
    guess = found.model.infer({"x": fresh["x"]}, samples=20, generator=draw)["y"].mean.argmax(-1).numpy()
    assert (guess != fresh["y"]).mean() < 0.15  # the clusters overlap by about 4%


def test_faults_of_use_are_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases: list[tuple[Raw, Path, str]] = [
        (small(train__device="abacus"), tmp_path / "run", "train.device is 'abacus', which cannot be used here"),
        (small(train__device="cpu:x"), tmp_path / "run", "train.device is 'cpu:x', wanted a name as"),
        (small(), tmp_path / "file", "is a file, wanted a folder for the run"),
    ]
    for spec, folder, words in cases:
        with pytest.raises(UsageError, match=words):
            run(spec, folder)
    fixed: Raw = {"version": 1, "nodes": {"x": {"distribution": "Normal", "supervision": "full"}}}
    with pytest.raises(UsageError, match="nothing to learn"):
        run(fixed, tmp_path / "run", {"x": np.zeros(5)})
    with pytest.raises(DataError):
        run(small(), tmp_path / "run", {"x": np.zeros((5, 2)), "y": np.zeros(5, dtype=int)})
    assert not (tmp_path / "run").exists()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without an output of their own stay out of the checkout."""
    monkeypatch.chdir(tmp_path)


def test_the_default_folder_is_named_after_the_spec() -> None:
    found = sgc.train(sgc.load(small(train__epochs=1)), data=small_arrays())
    assert found.folder == Path("runs/small")
    assert (Path("runs/small") / "best.safetensors").exists()


def test_without_validation_rows_the_best_weights_are_the_last(tmp_path: Path) -> None:
    """Nothing else could choose: the training loss moves with its schedules."""
    spec = small(objective={"alpha": {"from": 1, "to": 100, "epochs": 3}})
    found = run(spec, tmp_path / "run")
    assert [line["best"] for line in found.lines] == [True, True, True]
    assert found.model.epoch == 3.0


def test_patience_needs_validation_rows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="waits for a better validation bound, but there are no validation rows"):
        run(small(train__stop={"patience": 2}), tmp_path / "run")


def test_resume_refuses_other_values(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small(), folder)
    arrays = small_arrays()
    with pytest.raises(UsageError, match="the data are not those the run was started on: other values of 'x'; bring"):
        run(small(), folder, {**arrays, "x": arrays["x"] + 1}, resume=True)


def test_a_run_does_not_settle_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"holds thesis\.tex and no run, wanted a new or empty folder"):
        run(small(), tmp_path)
    assert all_files(tmp_path) == {"thesis.tex": b"mine"}


def test_a_learning_rate_may_end_at_zero(tmp_path: Path) -> None:
    spec = small(train__optimizer={"lr": {"from": 0.01, "to": 0, "epochs": 3, "curve": "cosine"}})
    assert run(spec, tmp_path / "run").epochs == 3


def test_the_loss_of_an_opened_model_counts_labelled_rows_as_the_spec_says(tmp_path: Path) -> None:
    spec = small(objective={"supervision_rate": 0.9})
    model = run(spec, tmp_path / "run").model
    out = model.objective({"x": torch.zeros(2, 3), "y": torch.tensor([0, 1])})
    assert float(out.loss.detach()) == pytest.approx(-float(out.bound.detach().mean()))


def test_errors_of_numbers_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    """A label of standard deviation 1000 that nothing predicts: an RMSE of some hundreds, not of one."""
    draw = np.random.default_rng(0)
    arrays = {"x": draw.normal(size=(80, 3)), "y": 5000 + 1000 * draw.normal(size=80)}
    spec = small(nodes__y__distribution="Normal", nodes__y__categories=None, train__epochs=1)
    spec["data"] = {
        "source": "npz",
        "file": "unused.npz",
        "columns": {"x": {"column": "x"}, "y": {"column": "y", "transforms": ["standardize"]}},
        "split": {"test": 0.25},
    }
    folder = tmp_path / "run"
    run(spec, folder, arrays)
    report = sgc.evaluate(folder, data=arrays, samples=3)
    assert 300 < report.evaluation.from_q["y"].value < 3000
    assert report.evaluation.from_q["y"].metric.name == "rmse"


def test_a_run_on_arrays_without_a_split_is_evaluated_on_new_ones(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(small(), folder)
    fresh = small_arrays(rows=30, labels=30, seed=7)
    assert sgc.evaluate(folder, data=fresh, samples=3).evaluation.from_q["y"].rows == 30
    with pytest.raises(UsageError, match="was trained on arrays"):
        sgc.evaluate(folder)
