"""Nothing that a command reads is written over: data, pictures, parts, the runs that a spec starts from."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from data_files import section, write_mnist
from PIL import Image
from small_runs import NPZ, all_files, small, small_arrays
from test_cli import call, refused

from sgc.data.outputs import Inputs, check_place
from sgc.errors import UsageError

_opened: list[Path] | None = None


def _note(event: str, words: tuple[Any, ...]) -> None:  # Any: of an audit event
    if event == "open" and _opened is not None and isinstance(words[0], str | bytes | os.PathLike):
        _opened.append(Path(os.fsdecode(words[0])))


sys.addaudithook(_note)  # one that does nothing but below `files_opened`: none can be taken away again


@contextmanager
def files_opened() -> Iterator[list[Path]]:
    """List the files that Python opens."""
    global _opened
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def write_all(folder: Path) -> None:
    """Write small data of every format."""
    rows = {"x": np.arange(6.0).reshape(3, 2), "y": np.array([0, 1, 1])}
    np.savez(folder / "rows.npz", **rows)
    np.savez(folder / "test.npz", **rows)
    (folder / "rows.csv").write_text("x,y\n1,2\n3,4\n")
    write_mnist(folder, 4, 4)
    for name in ("pictures/cat", "pictures/dog", "listed"):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((3, 3), i, dtype=np.uint8)).save(folder / name / f"{i}.png")
    (folder / "pictures.csv").write_text("file,kind\nlisted/0.png,a\nlisted/1.png,b\n")
    parts = {"canvas": np.zeros((2, 1, 64, 64), dtype=np.uint8), "count": np.array([1, 2])}
    (folder / "multi").mkdir()
    for name in ("train", "test"):
        np.savez(folder / "multi" / f"{name}.npz", **parts)


SOURCES = (
    ("{source: npz, file: rows.npz}", ["x"]),
    ("{source: npz, files: {train: rows.npz, test: test.npz}}", ["x"]),
    ("{source: table, file: rows.csv}", ["x"]),
    ("{source: idx}", ["image", "label"]),
    ("{source: images, mode: grey, root: pictures}", ["image", "label"]),
    ("{source: images, mode: grey, file: pictures.csv, path: file}", ["image", "kind"]),
    ("{source: multi-mnist, root: multi}", ["canvas"]),
)


@pytest.mark.parametrize(("text", "columns"), SOURCES)
def test_a_source_names_every_file_that_it_opens(text: str, columns: list[str], tmp_path: Path) -> None:
    write_all(tmp_path)
    source = section(text.replace("}", ", columns: {}}") if text.count("}") == 1 else text[:-1] + ", columns: {}}")
    with files_opened() as opened:
        source.read(tmp_path, columns)
    read = {path.resolve() for path in opened if path.resolve().is_relative_to(tmp_path) and path.is_file()}
    assert len(read) >= len(columns) - 1
    assert read <= {path.resolve() for path in source.inputs(tmp_path)}
    for path in read:
        with pytest.raises(UsageError, match="holds data of the spec, which would be overwritten"):
            check_place(path, Inputs(data=source, beside=tmp_path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, with a spec that starts from it, and with one whose data lie in the run's folder."""
    folder = tmp_path_factory.mktemp("outputs")
    np.savez(folder / "none.npz", **small_arrays(labels=60))
    spec = small(data=NPZ, train__epochs=1)
    (folder / "part.yaml").write_text(yaml.safe_dump(spec))
    (folder / "link.svg").symlink_to(folder / "part.yaml")
    assert call("train", folder / "part.yaml", "-o", folder / "run").status == 0
    image = {"distribution": "Normal", "shape": [3], "supervision": "full"}
    use = {"m": {"spec": "part.yaml", "weights": "run", "bind": {"x": "image"}}}
    data = {**NPZ, "columns": {"image": {"column": "x"}}, "labels": {}}
    host = {"version": 1, "name": "host", "data": data, "use": use, "nodes": {"image": image}, "train": {"epochs": 1}}
    (folder / "host.yaml").write_text(yaml.safe_dump(host))
    data = {**NPZ, "file": "run/rows.npz", "columns": {"image": {"column": "x"}}, "labels": {}}
    z = {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["image"], "network": {"mlp": []}}}
    image = {**image, "generative": {"parents": ["z"], "network": {"mlp": []}}}
    inside = {"version": 1, "name": "inside", "data": data, "nodes": {"image": image, "z": z}}
    (folder / "inside.yaml").write_text(yaml.safe_dump(inside))
    return folder


def copied(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained, folder, symlinks=True)
    (folder / "link.svg").unlink()
    (folder / "link.svg").symlink_to(folder / "part.yaml")
    (folder / "data.svg").hardlink_to(folder / "none.npz")
    (folder / "start.yaml").symlink_to(folder / "table.csv")
    (folder / "table.csv").write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(9)))
    return folder


WRITERS = (
    (("inspect", "host.yaml", "-o", "link.svg"), "link.svg: holds the part 'm' of the spec", "write another file"),
    (("inspect", "part.yaml", "-o", "data.svg"), "data.svg: holds data of the spec", "write another file"),
    (("train", "host.yaml", "-o", "run", "--force"),
     "run/training.pt: holds the run that the part 'm' starts from", "take another folder for the run"),
    (("train", "inside.yaml", "-o", "run", "--force"),
     "run/rows.npz: holds data of the spec", "take another folder for the run"),
    (("init", "start", "--data", "table.csv", "--force"),
     "start.yaml: holds the data to start from", "write another file"),
)  # fmt: skip


@pytest.mark.parametrize(("words", "what", "hint"), WRITERS, ids=[what for _, what, _ in WRITERS])
def test_no_command_writes_over_what_it_reads(
    words: tuple[str, ...], what: str, hint: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(trained, tmp_path / "here")
    monkeypatch.chdir(folder)
    if "inside.yaml" in words:
        shutil.copy("none.npz", "run/rows.npz")
    before = all_files(folder)
    assert refused(*words) == f"{what}, which would be overwritten: {hint}"
    assert all_files(folder) == before


def test_a_run_goes_on_from_its_own_spec(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(trained, tmp_path / "here")
    monkeypatch.chdir(folder)
    assert call("train", "host.yaml", "-o", "other").status == 0
    assert call("train", "host.yaml", "-o", "other", "--force").status == 0
    assert call("inspect", "part.yaml", "-o", "new.svg").status == 0
    assert call("inspect", "part.yaml", "-o", "new.svg").status == 0


KINDS: tuple[tuple[str, Callable[[Path], None], str], ...] = (
    ("pipe.svg", os.mkfifo, "is a named pipe, wanted a file to write"),
    ("null.svg", lambda path: path.symlink_to("/dev/null"), "is a device, wanted a file to write"),
    ("folder.svg", lambda path: path.mkdir(), "is a folder, wanted a file to write"),
    ("none/a.svg", lambda path: None, "the folder {} does not exist"),
    ("loop.svg/a.svg", lambda path: path.parent.symlink_to(path.parent), "the folder {} does not exist"),
)


@pytest.mark.parametrize(("name", "make", "told"), KINDS, ids=[name for name, _, _ in KINDS])
def test_a_place_that_takes_no_file_is_refused(
    name: str, make: Callable[[Path], None], told: str, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    make(path)
    assert refused("inspect", trained / "part.yaml", "-o", path) == f"{path}: {told.format(path.parent)}"


OUTPUTS = (
    ("init", "new.yaml", "--force"),
    *(("inspect", "part.yaml", "-o", f"new.{ending}") for ending in ("svg", "pdf", "dot", "html")),
    ("inspect", "part.yaml", "--expand", "-o", "new.png"),
    *(("predict", "run", "none.npz", "-o", f"new.{ending}") for ending in ("csv", "npz", "json")),
    ("sample", "run", "-o", "new.npz"),
)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_an_older_file_is_kept_or_replaced_whole_and_no_other_touched(
    words: tuple[str, ...], full: bool, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(trained, tmp_path / "here")
    monkeypatch.chdir(folder)
    name = next(word for word in words if word.startswith("new."))
    (folder / "elsewhere").write_text("of before")
    (folder / name).symlink_to("elsewhere")
    (folder / f"{name}.part").write_text("somebody's own")
    before = all_files(folder)

    def refuse(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if full:
        monkeypatch.setattr(os, "fsync", refuse)
        assert refused(*words, status=1) == f"{name}: No space left on device"
        assert all_files(folder) == before
    else:
        assert call(*words).status == 0
        after = all_files(folder)
        assert {path for path in after if after[path] != before.get(path)} == {name, "elsewhere"}
        assert (folder / name).is_symlink()
