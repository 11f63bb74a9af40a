"""A disk that is full, or may not be written: the file is named, the last checkpoint is whole, and a run goes on."""

from __future__ import annotations

import builtins
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_runs import At, StopsAfterAnEpoch, all_files, changed, finished_files, in_child, shell, small, small_arrays

import sgc
from sgc.errors import RunError, UsageError
from sgc.runs.file_formats import write_whole
from sgc.runtime.model import Model

SPEC = small(train__epochs=2, nodes__y__categories=4)  # of which the last has no row: a note, before any write
FILES = ["run.json", "labels.npz", "last.safetensors", "training.pt"]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="needs the names of open files, as Linux has them"
)


Fill = Callable[[Path], None]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Make the next write of a file meet a full disk, where the system is asked to put it there."""
    full: set[str] = set()
    put = os.fsync

    def refuse(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}").removesuffix(".part")
        if path in full:
            full.remove(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(file)

    monkeypatch.setattr(os, "fsync", refuse)
    return lambda path: full.add(str(path.resolve()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run ends with that no disk stopped."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "validate_args", True)  # as in every test
        sgc.train(SPEC, data=small_arrays(), output=folder)
    return finished_files(folder)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}])
def test_a_run_that_may_not_be_written_is_left_as_it_is(
    how: dict[str, bool], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sgc.train(SPEC, data=small_arrays(), output=tmp_path)
    before, put = all_files(tmp_path), os.open

    def refuse(path: object, flags: int, *rest: int, **more: int) -> int:
        if str(path).startswith(str(tmp_path)) and flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), str(path))
        return put(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=tmp_path, **how)  # type: ignore[arg-type]
    assert str(told.value) == f"{tmp_path / 'train.lock'}: {os.strerror(number)}; nothing of the run is touched"
    assert all_files(tmp_path) == before


@pytest.mark.parametrize("name", ["best.safetensors", "training.pt"])
def test_a_file_that_may_not_be_read_is_not_said_to_be_another(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sgc.train(SPEC, data=small_arrays(), output=tmp_path)
    put = builtins.open

    def refuse(path: Any, *rest: Any, **more: Any) -> Any:  # Any: as of open
        if str(path) == str(tmp_path / name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return put(path, *rest, **more)

    monkeypatch.setattr(builtins, "open", refuse)
    longer = small(train__epochs=3, nodes__y__categories=4)
    reads: dict[str, Callable[[], object]] = {
        "best.safetensors": lambda: sgc.open(tmp_path),
        "training.pt": lambda: sgc.train(longer, small_arrays(), output=tmp_path, resume=True),
    }
    with pytest.raises(UsageError) as told:
        reads[name]()
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path / name))}: cannot be read \(.*Permission denied.*\)", str(told.value)
    )


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_names_the_file_before_there_is_a_checkpoint(
    name: str, tmp_path: Path, whole: dict[str, bytes], fill: Fill
) -> None:
    folder = tmp_path / "run"

    class Fills(At):
        def note(self, text: str) -> None:
            fill(folder / name)

    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=folder, watcher=Fills(0))
    assert str(told.value) == f"{folder / name}: No space left on device; there is no checkpoint yet"
    assert not list(folder.glob("*.part"))  # it would take room from what comes next
    sgc.train(SPEC, data=small_arrays(), output=folder, resume=True)
    assert finished_files(folder) == whole


@pytest.mark.parametrize("name", ["best.safetensors", "training.pt", "run.json"])
def test_a_full_disk_leaves_the_last_checkpoint_whole(
    name: str, tmp_path: Path, whole: dict[str, bytes], fill: Fill
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InterruptedError):
        sgc.train(SPEC, data=small_arrays(), output=folder, watcher=StopsAfterAnEpoch())
    kept = (folder / "training.pt").read_bytes()
    fill(folder / name)
    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=folder, resume=True)
    words = "No space left on device; the last checkpoint is whole, resume=True goes on from it"
    assert str(told.value) == f"{folder / name}: {words}"
    if name != "run.json":  # which is written last
        assert (folder / "training.pt").read_bytes() == kept
    sgc.train(SPEC, data=small_arrays(), output=folder, resume=True)
    assert finished_files(folder) == whole


def test_a_full_disk_under_the_log_names_it(tmp_path: Path, fill: Fill) -> None:
    folder = tmp_path / "run"
    fill(folder / "metrics.jsonl")
    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=folder)
    assert str(told.value) == f"{folder / 'metrics.jsonl'}: No space left on device; there is no checkpoint yet"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_whatever_the_disk_says_is_said_of_a_file(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InterruptedError):
        sgc.train(SPEC, data=small_arrays(), output=folder, watcher=StopsAfterAnEpoch())
    before = all_files(folder)

    def refuse(one: object, other: object) -> None:
        raise OSError(code, os.strerror(code), str(one))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=folder, resume=True)
    words = f"{os.strerror(code)}; the last checkpoint is whole, resume=True goes on from it"
    assert str(told.value) == f"{folder / 'metrics.jsonl'}: {words}"
    assert all_files(folder) == before


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(RunError) as told:
        sgc.train(SPEC, data=small_arrays(), output=tmp_path / "run")
    lock = tmp_path / "run" / "train.lock"
    assert str(told.value) == f"{lock}: No space left on device; nothing of the run is touched"


def test_other_files_are_named_too(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "found.csv")
    with pytest.raises(OSError, match="No space left on device") as told:
        write_whole(tmp_path / "found.csv", b"1")
    assert told.value.filename == str(tmp_path / "found.csv")


def test_the_shell_says_it_with_status_1(tmp_path: Path, fill: Fill) -> None:
    arrays = small_arrays()
    spec = changed(SPEC, data={"source": "npz", "file": "rows.npz", "columns": {n: {"column": n} for n in arrays}})
    np.savez(tmp_path / "rows.npz", **arrays)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(InterruptedError):
        sgc.train(tmp_path / "spec.yaml", output=tmp_path / "run", watcher=StopsAfterAnEpoch())
    fill(tmp_path / "run" / "training.pt")
    words = ["train", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "run"), "--resume"]
    status = in_child(lambda: shell(words), tmp_path / "told")
    text = f"{tmp_path / 'run' / 'training.pt'}: No space left on device; the last checkpoint is whole"
    assert status == 1
    assert (tmp_path / "told").read_text().splitlines()[-1] == f"error: {text}, --resume goes on from it"
