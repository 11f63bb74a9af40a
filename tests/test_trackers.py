"""Trackers: what they are told is what the run folder says, each epoch once, whatever stops the run or the tracker."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, final

import pytest
import yaml
from small_runs import NPZ, At, finished_files, in_child, rich, small, small_arrays, write_rich
from test_cli import call

import sgc
from sgc.errors import UsageError
from sgc.sweeps.cell_runs import CellRunner
from sgc.sweeps.cells import cells_of
from sgc.sweeps.outcomes import SweepFolder
from sgc.sweeps.sweep_file import SweepFile
from sgc.trackers.tracker import Logger, TrackedRun, Tracker
from sgc.trackers.trackers import TRACKERS
from sgc.training.tracking import measures, settings

SPEC = small(train__epochs=4, data={**NPZ, "labels": {"y": {"count": 9}}})


class Recorded:
    """A logger as Lightning's are, which remembers; from an epoch on it fails."""

    name, version = "recorded", 3

    def __init__(self, fails_at: int = 99) -> None:
        self.fails_at = fails_at
        self.settings: dict[str, Any] = {}
        self.epochs: dict[int, dict[str, float]] = {}
        self.ends: list[str] = []

    def log_hyperparams(self, params: Any) -> None:
        """Take settings, unless it is to fail early."""
        if self.fails_at < 99:
            raise NotImplementedError("as Fabric's CSVLogger does")
        self.settings |= params

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Take numbers, of each epoch once."""
        if step is not None and step >= self.fails_at:
            raise ConnectionError("the server\nis gone")
        assert step is not None
        assert step not in self.epochs
        self.epochs[step] = dict(metrics)

    def finalize(self, status: str) -> None:
        """Note the end."""
        self.ends.append(status)


def lines_of(run: Path) -> dict[int, dict[str, float]]:
    """Give what trackers should be told of a run, by epoch."""
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["epoch"]: measures(line) for line in lines}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody is told of."""
    run = tmp_path_factory.mktemp("plain") / "run"
    sgc.train(SPEC, small_arrays(), output=run)
    return run


def test_a_logger_from_python_is_told_what_the_run_folder_says_and_changes_nothing(plain: Path, tmp_path: Path) -> None:
    logger = Recorded()
    run = sgc.train(SPEC, small_arrays(), output=tmp_path / "run", loggers=[logger], tags={"who": "me"})
    assert logger.epochs == lines_of(run.folder)
    assert set(logger.epochs) == {1, 2, 3, 4}
    assert {"bound/labelled", "terms/labelled/y/label", "validation_error/y", "lr"} < set(logger.epochs[1])
    assert logger.settings["train.seed"] == 0
    assert logger.settings["nodes.x.generative.network.mlp"] == "[6]"
    assert logger.settings["tags.who"] == "me"
    assert logger.ends == ["success"]
    assert finished_files(run.folder) == finished_files(plain)
    files, again = run.folder / "trackers" / "files", Recorded()
    files.mkdir()
    sgc.train(SPEC, small_arrays(), output=run.folder, loggers=[again], force=True)
    assert not files.exists()
    assert set(again.epochs) == {1, 2, 3, 4}


def test_a_logger_that_fails_ends_no_training_and_is_told_the_rest_when_the_run_goes_on(
    plain: Path, tmp_path: Path
) -> None:
    logger, more = Recorded(fails_at=2), {**SPEC, "train": {**SPEC["train"], "epochs": 5}}
    with pytest.warns(UserWarning, match="loggers") as noted:
        run = sgc.train(SPEC, small_arrays(), output=tmp_path / "run", loggers=[logger])
    assert [str(note.message) for note in noted] == [
        "train.loggers: Recorded takes no settings, and is told of epochs alone",
        "train.loggers: Recorded recorded/3 is told nothing more, it fails (ConnectionError: the server is gone); "
        "training goes on, and resume=True tells the rest",
    ]
    assert {note.filename for note in noted} == {__file__}
    assert finished_files(run.folder) == finished_files(plain)
    assert set(logger.epochs) == {1}
    logger.fails_at = 99
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sgc.train(more, small_arrays(), output=run.folder, resume=True, loggers=[logger])
    assert logger.epochs == lines_of(run.folder)
    assert set(logger.epochs) == {1, 2, 3, 4, 5}


def test_settings_for_trackers_name_no_place_of_the_machine_and_no_option(tmp_path: Path) -> None:
    for file, told in (
        ("/home/me/a/rows.csv", "rows.csv"),
        ("https://b/rows.csv?token=hunter2", "rows.csv"),
        ("a/rows.csv", "a/rows.csv"),
    ):
        columns = {"x": {"column": "a/b"}, "y": {"column": "y"}}
        spec = sgc.load({**SPEC, "data": {"source": "table", "file": file, "columns": columns}})
        told_settings = settings(spec)
        assert told_settings["data.file"] == told
        assert told_settings["data.columns.x.column"] == "a/b"
    (tmp_path / "rows.py").write_text("class Rows:\n    def read(self, columns):\n        return {}\n")
    own = {"source": "python", "python": "rows.py:Rows", "options": {"password": "hunter2"}, "columns": columns}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**SPEC, "data": own}))
    assert "hunter2" not in str(settings(sgc.load(tmp_path / "spec.yaml", trust=True)))


def test_loggers_that_nothing_tells_apart_are_each_told_all_and_one_that_refuses_leaves_no_run(tmp_path: Path) -> None:
    both = [Recorded(), Recorded(fails_at=2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = sgc.train(SPEC, small_arrays(), output=tmp_path / "run", loggers=both)
        both[1].fails_at = 99
        sgc.train(SPEC, small_arrays(), output=run.folder, resume=True, loggers=both)
    assert [logger.epochs for logger in both] == [lines_of(run.folder)] * 2

    class Refuses(Recorded):
        """Cannot be reached."""

        def log_hyperparams(self, params: Any) -> None:
            """Refuse."""
            raise ConnectionError("no https://me:secret@host/")

    with pytest.raises(UsageError) as problem:
        sgc.train(SPEC, small_arrays(), output=tmp_path / "refused", loggers=[Recorded(), Refuses()])
    words = (
        "train.loggers: Refuses cannot be told of the run (ConnectionError: no https://host/): mend it, or take it out"
    )
    assert str(problem.value) == words
    assert not (tmp_path / "refused").exists()


def test_what_a_kill_kept_from_a_logger_it_is_told_when_the_run_goes_on(plain: Path, tmp_path: Path) -> None:
    folder, told = tmp_path / "run", tmp_path / "told"

    class OnDisk(Recorded):
        """Remembers in a file, over a kill."""

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            """Take numbers."""
            super().log_metrics(metrics, step)
            with told.open("a") as file:
                file.write(f"{step} ")

    steps = int(lines_of(plain)[2]["step"])  # of two epochs
    in_child(lambda: sgc.train(SPEC, small_arrays(), output=folder, loggers=[OnDisk()], watcher=At(steps + 1)))
    before = told.read_text().split()
    sgc.train(SPEC, small_arrays(), output=folder, loggers=[OnDisk()], resume=True)
    assert before == ["1", "2"]
    assert told.read_text().split() == ["1", "2", "3", "4"]


# ---- trackers of specs


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of small pictures and their data."""
    folder = tmp_path_factory.mktemp("pictured")
    write_rich(folder)
    (folder / "spec.yaml").write_text(yaml.safe_dump(rich(train__epochs=2)))
    return folder


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed: it is large")


def train(folder: Path, run: Path, tracker: str, epochs: int, *flags: str) -> None:
    """Train the spec of pictures by the command, with a tracker."""
    sets = [f"train.loggers={tracker}", "train.pictures=3", f"train.epochs={epochs}"]
    words = [word for text in sets for word in ("--set", text)]
    done = call("train", folder / "spec.yaml", *words, "-o", run, "--tag", "who=me", *flags)
    assert done.status == 0, done


@needs("tensorboard")
def test_tensorboard_reads_what_the_run_folder_says_and_pictures(pictured: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, everything = tmp_path / "run", {"scalars": 0, "images": 0}
    train(pictured, run, "[tensorboard]", 2)
    told = run / "trackers" / "told.json"
    told.write_text(told.read_text().replace('"epoch": 2', '"epoch": 1'))  # as if killed before it was noted
    train(pictured, run, "[tensorboard]", 3, "--resume")
    read = EventAccumulator(str(run / "trackers" / "tensorboard"), size_guidance=everything).Reload()
    lines = lines_of(run)
    for name in lines[3]:
        wanted = [(epoch, pytest.approx(line[name])) for epoch, line in lines.items() if name in line]
        assert [(event.step, event.value) for event in read.Scalars(name)] == wanted, name
    assert [event.step for event in read.Images("pictures/epoch")] == [3]
    assert read.Images("pictures/best")[-1].width > 300
    assert read.PluginTagToContent("hparams")


@needs("mlflow")
def test_mlflow_reads_what_the_run_folder_says(pictured: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run, address = tmp_path / "run", f"sqlite:///{tmp_path}/mlflow.db"
    train(pictured, run, f"[{{mlflow: {{uri: '{address}', experiment: tried}}}}]", 2)
    told = run / "trackers" / "told.json"
    told.write_text(told.read_text().replace('"epoch": 2', '"epoch": 1'))
    train(pictured, run, f"[{{mlflow: {{uri: '{address}', experiment: tried}}}}]", 3, "--resume")
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("tried")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.status, kept.info.run_name, kept.data.tags["who"]) == ("FINISHED", "run", "me")
    assert kept.data.params["train.batch_size.labelled"] == "9"
    for epoch, line in lines_of(run).items():
        for name, value in line.items():
            key = "".join(c if c.isalnum() or c in "/._- " else "_" for c in name)
            history = client.get_metric_history(kept.info.run_id, key)
            assert [metric.value for metric in history if metric.step == epoch] == [pytest.approx(value)], name
    assert len(list(tmp_path.rglob("images/*"))) >= 4  # of epoch 3 and of the best, each twice


@needs("mlflow")
def test_mlflow_writes_nothing_outside_a_run_that_was_moved_or_whose_path_is_no_address(
    pictured: Path, tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    train(pictured, run, "[mlflow]", 2)
    run.rename(moved)
    train(pictured, moved, "[mlflow]", 3, "--resume")
    assert not run.exists()
    sets = ["--set", "train.loggers=[mlflow]"]
    done = call("train", pictured / "spec.yaml", *sets, "-o", tmp_path / "a?b" / "run")
    assert (done.status, done.told.count("takes no '?'")) == (2, 1), done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved"]


@needs("wandb")
def test_wandb_keeps_a_run_in_files(pictured: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(pictured, run, "[wandb]", 2)
    train(pictured, run, "[wandb]", 3, "--resume")
    folders = sorted((run / "trackers" / "wandb").glob("offline-run-*"))
    version = json.loads((run / "trackers" / "told.json").read_text())["trackers"]["wandb"]["version"]
    assert [folder.name.rpartition("-")[2] for folder in folders] == [version, version]
    assert all((folder / f"run-{version}.wandb").stat().st_size > 1000 for folder in folders)
    assert len(list(run.rglob("media/images/pictures/epoch_*.png"))) == 1
    sent = b"".join(
        path.read_bytes() for folder in folders for path in [*folder.glob("files/*.*"), *folder.glob("*.wandb")]
    )
    assert not any(word in sent for word in (sys.executable.encode(), b"pytest", b".git", b"numpy"))


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_read(tmp_path: Path) -> None:
    @final
    class Absent(Tracker):
        """A tracker whose package nobody has."""

        name: ClassVar[str] = "absent"
        package: ClassVar[str] = "no_such_tracker"
        extra: ClassVar[str] = "absent"

        def open(self, run: TrackedRun) -> Logger:
            """Open nothing."""
            raise AssertionError

    with pytest.raises(UsageError) as problem:
        Absent().check()
    assert str(problem.value) == "train.loggers: absent needs no_such_tracker: pip install 'sgc[absent]'"
    assert all(tracker.extra in TRACKERS for tracker in TRACKERS.values())


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"loggers": [print]},
        "loggers: found a builtin_function_or_method, wanted loggers with log_hyperparams, log_metrics, finalize, name "
        "and version, as those of Lightning",
    ),
    ({"loggers": Recorded()}, "loggers: is of the type 'Recorded', wanted a list of loggers"),
    ({"loggers": [Recorded]}, "loggers: found the class Recorded, wanted one of its loggers: Recorded()"),
    ({"tags": "a=b"}, "tags: is of the type 'str', wanted a mapping, as {'who': 'me'}"),
    ({"tags": {"a": "b"}}, "tags: there is no tracker to take them: name one in train.loggers"),
]


@pytest.mark.parametrize(("words", "told"), REFUSED, ids=["loggers", "no list", "class", "words", "tags"])
def test_what_no_tracker_can_use_is_refused(words: Mapping[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as problem:
        sgc.train(SPEC, small_arrays(), output=tmp_path / "run", **words)
    assert str(problem.value) == told
    assert not (tmp_path / "run").exists()


def test_files_of_a_run_lead_no_tracker_out_of_it(plain: Path, tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(plain, run)
    outside.mkdir()
    (run / "trackers").symlink_to(outside)
    with pytest.raises(UsageError, match=r"trackers: is no folder of its own"):
        sgc.train(SPEC, small_arrays(), output=run, resume=True, loggers=[Recorded()])
    (run / "trackers").unlink()
    (run / "trackers").mkdir()
    (run / "trackers" / "told.json").write_text('{"version": 1, "trackers": {"wandb": {"version": "../../x"}}}')
    problem = (
        r"told.json: cannot be read as what trackers were told \(key 'trackers.wandb.*\): remove it, and trackers are"
    )
    with pytest.raises(UsageError, match=problem):
        sgc.train(SPEC, small_arrays(), output=run, resume=True, loggers=[Recorded()])
    assert not any(outside.iterdir())


def test_trackers_hear_which_cell_of_which_sweep_a_run_is(tmp_path: Path) -> None:
    sweep = SweepFile.model_validate({"version": 1, "grid": {"objective.alpha": [0.5]}})
    cell = cells_of(sweep)[0]
    assert CellRunner("spec.yaml", sweep, SweepFolder(tmp_path / "swept")).tags(cell) == [
        *("--tag", "sweep=swept", "--tag", "cell=alpha=0.5,seed=0", "--tag", "objective.alpha=0.5"),
    ]
