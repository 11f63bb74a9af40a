"""A run goes on to a later end as if it had had that from the start, and says how its schedules were read."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from small_runs import At, all_files, changed, finished_files, in_child, rich, small, small_arrays, write_rich

import sgc
from sgc.errors import Interrupted, UsageError
from sgc.runs.run_folder import RunFolder
from sgc.spec.spec import Spec

Raw = dict[str, Any]  # Any: a spec as plain data
MOVING: Raw = {  # lr ends at epoch 3; one ends before the run goes on, one between, one after all
    "train__clip_norm": {"from": 5, "to": 1, "epochs": 2},
    "objective__supervision_rate": {"from": 0.3, "to": 0.6, "epochs": 10},
}


class Notes(At):
    """A watcher that keeps what a user should know."""

    def __init__(self, steps: int = 0, number: int = signal.SIGKILL) -> None:
        super().__init__(steps, number)
        self.told: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.told.append(text)


def test_more_epochs_come_to_what_a_longer_run_comes_to(tmp_path: Path) -> None:
    write_rich(tmp_path)
    whole = sgc.load(rich(**MOVING, train__epochs=5))
    sgc.train(whole, output=tmp_path / "whole", beside=tmp_path)
    sgc.train(rich(**MOVING, train__epochs=2), output=tmp_path / "run", beside=tmp_path)
    watcher = Notes()
    turned = rich(**MOVING, train__epochs=5)
    turned["nodes"] = dict(reversed(turned["nodes"].items()))
    found = sgc.train(turned, output=tmp_path / "run", beside=tmp_path, resume=True, watcher=watcher)
    assert watcher.told == [
        "goes on after epoch 2 to epoch 5, not 2",
        "nodes.y.recognition.estimator.gumbel_softmax.temperature: came to 0.5 at epoch 2, where it stays",
        "objective.supervision_rate: goes on from 0.36 to 0.45 at epoch 5; it would come to 0.6 at epoch 10",
        "train.optimizer.lr: goes on from 0.00325 to 0.001 at epoch 3, where it stays",
        "train.clip_norm: came to 1 at epoch 2, where it stays",
    ]
    assert found.epochs == 5
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")
    assert sgc.load(tmp_path / "run" / "spec.yaml") == whole
    assert RunFolder(tmp_path / "run").record().finished
    again = Notes()
    sgc.train(whole, output=tmp_path / "run", beside=tmp_path, resume=True, watcher=again)
    assert again.told == []


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5])
def test_an_extension_that_is_killed_goes_on(write: int, tmp_path: Path) -> None:
    """Beside any of its first writes: of the metrics, the spec, the record, and the first checkpoint."""
    arrays = small_arrays()
    sgc.train(small(train__epochs=1), data=arrays, output=tmp_path / "run")

    def killed() -> None:
        replace, left = os.replace, [write]

        def counted(one: Path, other: Path) -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(one, other)

        os.replace = counted  # type: ignore[assignment]  # in the child alone
        sgc.train(small(train__epochs=2), data=arrays, output=tmp_path / "run", resume=True, watcher=At(0))

    assert in_child(killed) == -signal.SIGKILL
    sgc.train(small(train__epochs=2), data=arrays, output=tmp_path / "run", resume=True, watcher=At(0))
    sgc.train(small(train__epochs=2), data=arrays, output=tmp_path / "whole")
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")


def test_a_run_that_was_stopped_may_end_sooner_and_not_before_it_stands(tmp_path: Path) -> None:
    arrays, folder = small_arrays(), tmp_path / "run"
    with pytest.raises(Interrupted):
        sgc.train(small(train__epochs=9), data=arrays, output=folder, watcher=At(5, signal.SIGINT))  # in epoch 2
    before = all_files(folder)
    with pytest.raises(UsageError) as told:
        sgc.train(small(train__epochs=1), data=arrays, output=folder, resume=True)
    words = "holds a run that is in epoch 2, and train.epochs is 1: give 2 or more, or start over with force=True"
    assert str(told.value) == f"{folder}: {words}"
    assert all_files(folder) == before
    sgc.train(small(train__epochs=2), data=arrays, output=folder, resume=True, watcher=At(0))
    sgc.train(small(train__epochs=2), data=arrays, output=tmp_path / "whole")
    assert finished_files(folder) == finished_files(tmp_path / "whole")


def test_where_the_schedule_ends_at_nothing_more_epochs_are_refused(tmp_path: Path) -> None:
    spec = small(train__optimizer={"lr": {"from": 0.01, "to": 0, "epochs": 2, "curve": "cosine"}}, train__epochs=2)
    folder = tmp_path / "run"
    sgc.train(spec, data=small_arrays(), output=folder)
    before = all_files(folder)
    with pytest.raises(UsageError) as told:
        sgc.train(changed(spec, train__epochs=4), data=small_arrays(), output=folder, resume=True)
    assert str(told.value) == (
        f"{folder}: train.optimizer.lr came down to 0 with epoch 2 and stays there, so that more epochs would learn "
        "nothing: start over with force=True and a longer schedule"
    )
    assert all_files(folder) == before


def test_a_schedule_that_changes_makes_another_spec(tmp_path: Path) -> None:
    spec = small(train__optimizer={"lr": {"from": 0.01, "to": 0.001, "epochs": 2}}, train__epochs=2)
    sgc.train(spec, data=small_arrays(), output=tmp_path / "run")
    longer = changed(spec, train__epochs=4, train__optimizer={"lr": {"from": 0.01, "to": 0.001, "epochs": 4}})
    with pytest.raises(UsageError, match=r"another spec, which differs at train\.epochs, train\.optimizer\.lr\.epochs"):
        sgc.train(longer, data=small_arrays(), output=tmp_path / "run", resume=True)


def test_patience_that_is_over_wants_more_of_it(tmp_path: Path) -> None:
    write_rich(tmp_path)
    spec = rich(train__stop={"patience": 2}, train__epochs=30, train__optimizer={"name": "SGD", "lr": 0.3})
    first = sgc.train(spec, output=tmp_path / "run", beside=tmp_path)
    with pytest.raises(UsageError) as told:
        sgc.train(changed(spec, train__epochs=40), output=tmp_path / "run", beside=tmp_path, resume=True)
    assert str(told.value) == (
        f"{tmp_path / 'run'}: ended after 2 epochs without a better validation bound, and train.stop.patience is 2: "
        "give a greater one too, or start over with force=True"
    )
    patient = changed(spec, train__stop={"patience": 4})
    more = sgc.train(patient, output=tmp_path / "run", beside=tmp_path, resume=True, watcher=Notes())
    assert more.epochs > first.epochs
    sgc.train(patient, output=tmp_path / "whole", beside=tmp_path)
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")


def test_python_is_warned_of_it(tmp_path: Path) -> None:
    spec: Spec = sgc.load(small(train__epochs=1))
    sgc.train(spec, data=small_arrays(), output=tmp_path / "run")
    with pytest.warns(UserWarning, match="goes on after epoch 1 to epoch 2, not 1"):
        sgc.train(small(train__epochs=2), data=small_arrays(), output=tmp_path / "run", resume=True)
