"""One process a run folder: the second is refused by the name of the first, nobody's files are overwritten."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from small_runs import At, all_files, finished_files, in_child, small, small_arrays

import sgc
from sgc.errors import Interrupted, UsageError
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_lock import NAME, locked
from sgc.training.trainer import train

SPEC = small(train__epochs=2)


def run(folder: Path, **words: object) -> None:
    train(sgc.load(SPEC), small_arrays(), output=folder, **words)  # type: ignore[arg-type]


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """What a run ends with that had its folder for itself."""
    run(tmp_path / "whole")
    return finished_files(tmp_path / "whole")


class Waits(At):
    """Tells in a file that it has begun, and waits at its first step until it may go on."""

    def __init__(self, place: Path) -> None:
        super().__init__(0)
        self.place = place

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        (self.place / "begun").touch()
        for _ in range(3000):
            if (self.place / "go").exists():
                return
            time.sleep(0.01)


def until(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come")


@pytest.mark.parametrize("words", [{}, {"resume": True}, {"force": True}])
def test_a_second_process_is_refused_by_the_name_of_the_first_and_changes_nothing(
    words: dict[str, bool], whole: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    child = os.fork()
    if not child:
        os._exit(in_child(lambda: run(folder, watcher=Waits(tmp_path))))
    try:
        until(tmp_path / "begun")
        before = all_files(folder)
        with pytest.raises(UsageError) as told:
            run(folder, **words)
        held = json.loads(before[NAME])
        assert re.fullmatch(
            rf"{re.escape(str(folder))}: process {held['process']} on \S+ is training in it since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d: wait for it to end, or stop it",
            str(told.value),
        )
        assert all_files(folder) == before
    finally:
        (tmp_path / "go").touch()
        _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert finished_files(folder) == whole
    assert NAME not in all_files(folder)


def test_of_processes_that_start_at_once_one_trains(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Four at a time, three times over: one run each time, to the bit that of one process."""

    def told_or_trained(folder: Path, seed: int) -> None:
        while not (tmp_path / "go").exists():
            time.sleep(0.0005)
        spec = small(train__epochs=2, train__seed=seed)
        try:
            train(sgc.load(spec), small_arrays(), output=folder)
        except UsageError as problem:
            text = str(problem)
            assert (
                " is training in it since " in text or "holds a finished run" in text or "holds an unfinished" in text
            )
            raise SystemExit(3) from None

    for attempt in range(3):
        folder = tmp_path / f"run {attempt}"
        (tmp_path / "go").unlink(missing_ok=True)
        children = []
        for seed in range(4):
            child = os.fork()
            if not child:
                os._exit(in_child(lambda to=folder, by=seed: told_or_trained(to, by)))  # type: ignore[misc]
            children.append(child)
        (tmp_path / "go").touch()
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(ends) == [0, 3, 3, 3]
        seed = ends.index(0)
        assert RunFolder(folder).record().seed == seed == RunFolder(folder).spec().train.seed
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
        if seed == 0:
            assert finished_files(folder) == whole


def test_the_lock_of_a_killed_process_holds_nobody(whole: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert in_child(lambda: run(folder, watcher=At(2))) == -signal.SIGKILL
    assert (folder / NAME).exists()
    run(folder, resume=True)
    assert finished_files(folder) == whole
    assert not (folder / NAME).exists()


def test_a_start_killed_in_its_first_write_leaves_a_folder_that_a_run_may_take(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def killed() -> None:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]  # in the child alone
        run(folder)

    assert in_child(killed) == -signal.SIGKILL
    assert sorted(all_files(folder)) == ["run.json.part", NAME]
    run(folder, resume=True)
    assert RunFolder(folder).record().finished


def test_a_lock_goes_with_the_folders_that_were_made_for_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b") as left:
        assert not left
        assert list(all_files(tmp_path)) == [f"a/b/{NAME}"]
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").write_text("")
    assert list(all_files(tmp_path)) == ["a/mine"]


def test_a_lock_that_went_between_its_opening_and_its_taking_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had it may end in that moment, and a third make it anew: what is held must be what stands there."""
    flock, calls = fcntl.flock, [0]

    def late(file: int, operation: int) -> None:
        calls[0] += 1
        if calls[0] == 1:
            (tmp_path / NAME).unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
        with pytest.raises(UsageError, match=f"process {os.getpid()} on "), locked(tmp_path):
            pass
    assert calls == [3]


def test_a_thread_of_the_same_process_is_another(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()} on "), locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["metrics.jsonl", "labels.npz", "columns.json", "rows.npz", "training.pt", "a.part"])
@pytest.mark.parametrize("words", [{}, {"resume": True}, {"force": True}])
def test_files_in_a_folder_without_a_run_are_left_alone_whatever_their_names(
    words: dict[str, bool], name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError) as told:
        run(tmp_path, **words)
    assert str(told.value) == f"{tmp_path}: holds {name} and no run, wanted a new or empty folder"
    assert all_files(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("words", [{}, {"resume": True}, {"force": True}])
@pytest.mark.parametrize("name", ["run.json", NAME])
def test_files_of_other_programs_are_no_run(words: dict[str, bool], name: str, tmp_path: Path) -> None:
    mine = {name: b'{"project": "mine"}', "metrics.jsonl": b"mine", "best.safetensors": b"mine"}
    for each, content in mine.items():
        (tmp_path / each).write_bytes(content)
    told = {
        "run.json": "cannot be read as the record of a run (key 'versions': missing, and 10 more)",
        NAME: "is not the lock of a run: move it, or take another folder",
    }
    with pytest.raises(UsageError) as problem:
        run(tmp_path, **words)
    assert str(problem.value) == f"{tmp_path / name}: {told[name]}"
    assert all_files(tmp_path) == mine


def test_force_leaves_what_a_run_did_not_write(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder)
    (folder / "notes.md").write_text("mine")
    run(folder / "classifier")
    (folder / "classifier" / "notes.md").write_text("mine too")
    run(folder, force=True)
    assert (folder / "notes.md").read_text() == "mine"
    assert all_files(folder / "classifier") == {"notes.md": b"mine too"}


def test_force_waits_for_whoever_trains_the_classifier_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder)
    before = all_files(folder)
    (folder / "classifier").mkdir()
    with locked(folder / "classifier"), pytest.raises(UsageError, match=f"process {os.getpid()} on "):
        run(folder, force=True)
    assert all_files(folder) == before


def test_a_resumption_under_another_number_of_threads_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(folder, watcher=At(2, signal.SIGINT))
    assert RunFolder(folder).record().threads == 1
    torch.set_num_threads(2)
    with pytest.warns(UserWarning, match="thread") as told:
        run(folder, resume=True)
    assert [str(each.message) for each in told] == [
        f"{folder}: was started with 1 thread and goes on with 2: sums are rounded in another order, so the last "
        "digits may differ from those of an uninterrupted run; OMP_NUM_THREADS=1 gives the same digits"
    ]
