"""Steps whose numbers are read many at a time are those that are read one by one: to the bit, faults and stops too."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import At, changed, finished_files, rich, small, small_arrays, write_rich
from test_recorded_steps import SPECS, Raw
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import sgc
from sgc.errors import Interrupted, RunError, UsageError
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.streams import Streams
from sgc.spec.resolver import outline
from sgc.training.epoch_totals import StepSums
from sgc.training.step_results import UnreadStep
from sgc.training.trainer import Trainer
from sgc.training.training_state import optimizer_state
from sgc.training.unread_steps import UnreadSteps
from sgc.training.watchers import Silent

K = 7


class Progress(Silent):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, float]] = []

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        self.steps.append((epoch, step, bound))


class Run:
    """A trainer, and how its steps were read."""

    def __init__(self, spec: Raw, arrays: Any, folder: Path, window: int | None) -> None:
        words = {"batch_size": 8, **spec.get("train", {}), "epochs": 1000}
        made = outline(sgc.load({**spec, "train": words}))
        self.progress = Progress()
        data = open_data(made, folder, arrays)
        self.trainer = Trainer(made, data, RunFolder(folder / "run"), self.progress, debug=False, window=window)
        self.trainer.model.train()
        self.read: list[tuple[int, bool]] = []  # steps that were read at once and hold, and whether all of them do
        read = self.trainer.unread.read

        def noted() -> Any:
            waited = len(self.trainer.unread)
            steps, all_hold = read()
            self.read += [(len(steps), all_hold)] if waited else []
            return steps, all_hold

        self.trainer.unread.read = noted  # type: ignore[method-assign]

    def to(self, last: int) -> Run:
        self.trainer._steps_to(last)
        return self

    @property
    def failed(self) -> int:
        """In how many windows a step did not hold."""
        return sum(not all_hold for _, all_hold in self.read)


def equal(one: Run, other: Run) -> None:
    """Hold all that a run keeps of its steps, and shows of them, to another's."""
    first, second = one.trainer, other.trainer
    assert first.step == second.step
    assert first.totals.state() == second.totals.state()
    means, others = (trainer.learner.kept_average() for trainer in (first, second))
    assert means.get("count") == others.get("count")
    assert all(torch.equal(mean, others["means"][name]) for name, mean in means.get("means", {}).items())
    assert first.model.running_means.state() == second.model.running_means.state()
    assert one.progress.steps == other.progress.steps
    for (name, left), right in zip(first.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(left.nan_to_num(0), right.nan_to_num(0)), name
        assert torch.equal(left.isnan(), right.isnan()), name
    left, right = (optimizer_state(trainer.optimizer)["state"] for trainer in (first, second))
    assert left.keys() == right.keys()
    for place in left:
        assert left[place].keys() == right[place].keys()
        for name, tensor in left[place].items():
            assert tensor is None or torch.equal(tensor, right[place][name])


def two(spec: Raw, folder: Path, steps: int, arrays: Any = None, window: int = K) -> tuple[Run, Run]:
    """Take steps one by one, and in windows."""
    arrays = small_arrays(rows=400) if arrays is None else arrays
    return Run(spec, arrays, folder, 1).to(steps), Run(spec, arrays, folder, window).to(steps)


# ---- equal to the bit

OPTIMIZERS: dict[str, Raw] = {
    "AdamW": {"name": "AdamW", "weight_decay": 0.01},
    "SGD": {"name": "SGD", "lr": 0.01},
    "momentum": {"name": "SGD", "lr": 0.01, "momentum": 0.9},
    "a momentum that comes": {"name": "SGD", "lr": 0.01, "momentum": {"from": 0, "to": 0.9, "epochs": 2}},
    "a rate that falls": {"name": "Adam", "lr": {"from": 0.01, "to": 0.001, "epochs": 2}},
}


@pytest.mark.parametrize("name", SPECS)
def test_steps_in_windows_are_the_steps_one_by_one(name: str, tmp_path: Path) -> None:
    one, other = two(SPECS[name], tmp_path, 36)
    equal(one, other)
    assert one.read == []
    assert max(count for count, _ in other.read) >= (K if name not in ("warm-up", "alpha over a rate") else 1)


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_fused_optimiser_moves_alike(options: Raw, tmp_path: Path) -> None:
    one, other = two(small(train__optimizer=options, train__clip_norm=1.0), tmp_path, 60)
    equal(one, other)
    assert (K, True) in other.read


@pytest.mark.parametrize("name", ["RMSprop", "NAdam", "RAdam", "Adamax"])
def test_an_optimiser_that_must_ask_python_is_read_at_each_step(name: str, tmp_path: Path) -> None:
    one, other = two(small(train__optimizer={"name": name}), tmp_path, 12)
    assert other.trainer.unread.limit == 1
    equal(one, other)


def test_rows_that_differ_in_their_labels_and_steps_of_many_kinds(tmp_path: Path) -> None:
    write_rich(tmp_path)
    one, other = (Run(rich(train__average=0.9), None, tmp_path, window).to(80) for window in (1, K))
    equal(one, other)
    assert other.read


@pytest.mark.parametrize("window", [2, 3, 1000])
def test_any_window_gives_the_same(window: int, tmp_path: Path) -> None:
    one, other = two(SPECS["dropout and batch norm"], tmp_path, 40, window=window)
    equal(one, other)
    assert max(count for count, _ in other.read) == min(
        window, 23
    )  # those with terms, each eighth, are replayed from the third on


# ---- steps that do not hold


def test_a_guard_that_fails_within_a_window_leaves_its_step_to_be_computed(tmp_path: Path) -> None:
    """Guards are made to fail at chosen steps: batch norms must not move by them, nor weights, nor their average."""
    spec, arrays = changed(SPECS["dropout and batch norm"], train__average={}), small_arrays(rows=400)
    one, other = Run(spec, arrays, tmp_path, 1), Run(spec, arrays, tmp_path, K)
    one.to(60)
    steps = other.trainer.steps
    outputs, streams = steps._outputs, other.trainer.streams.take
    now = [0]

    def take(step: int, *more: Any) -> Any:
        now[0] = step
        return streams(step, *more)

    def turned(kind: Any, *words: Any) -> Any:
        found = outputs(kind, *words)
        if now[0] not in (20, 21, 33, 47):
            return found
        first = len(found) - len(kind.guards)
        return (*found[:first], *(guard.logical_not() for guard in found[first:]))

    other.trainer.streams.take = take  # type: ignore[method-assign]
    steps._outputs = turned  # type: ignore[method-assign]
    other.to(60)
    equal(one, other)
    assert all(kind.guards for kind in steps._kinds.values() if kind.checked)
    assert other.failed == 4
    assert sum(kind.failed for kind in steps._kinds.values()) == 4


def test_weights_that_come_to_one_within_a_window(tmp_path: Path) -> None:
    spec = small(objective={"kl_weight": {"from": 0.1, "to": 1, "epochs": 2}})
    one, other = two(spec, tmp_path, 90)
    equal(one, other)


def test_a_replay_that_torch_refuses_within_a_window(tmp_path: Path) -> None:
    one, other = (
        Run(small(), small_arrays(rows=400), tmp_path, 1).to(40),
        Run(small(), small_arrays(rows=400), tmp_path, K),
    )
    outputs = other.trainer.steps._outputs
    calls = [0]

    def refused(*words: Any) -> Any:
        calls[0] += 1
        return None if calls[0] in (10, 11, 20) else outputs(*words)

    other.trainer.steps._outputs = refused  # type: ignore[method-assign]
    equal(one, other.to(40))
    assert other.failed == 0


def spoilt(place: int = 300) -> dict[str, np.ndarray]:
    arrays = small_arrays(rows=400)
    arrays["x"][place] = [3e38, -3e38, 3e38]
    return arrays


@pytest.mark.parametrize(
    "spec",
    [small(), SPECS["score function"], SPECS["dropout and batch norm"], small(train__clip_norm=0.5)],
    ids=["m2", "score function", "batch norm", "clipped"],
)
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(spec: Raw, tmp_path: Path) -> None:
    """One row of the data is too large to be scored: the words, the step, the weights are those without windows."""
    words, runs = [], []
    for window in (1, K):
        run = Run(spec, spoilt(), tmp_path, window)
        with pytest.raises(RunError) as caught:
            run.to(100)
        words.append(str(caught.value))
        runs.append(run)
    assert words[0] == words[1]
    assert words[0].startswith(f"step {runs[0].trainer.step + 1} (epoch 1): ")
    assert runs[0].trainer.step > 10
    assert runs[1].failed == 1
    assert runs[1].read[-1][0] not in (0, K)
    equal(*runs)


def test_a_gradient_that_is_not_finite_stops_the_run_at_its_step(tmp_path: Path) -> None:
    """The loss is finite, and the gradient of one step is spoilt in its replay: no weight moves by it."""
    one, other = (Run(small(), small_arrays(rows=400), tmp_path, window) for window in (1, K))
    one.to(30)
    steps, now, streams = other.trainer.steps, [0], other.trainer.streams.take
    outputs = steps._outputs

    def take(step: int, *more: Any) -> Any:
        now[0] = step
        return streams(step, *more)

    def broken(kind: Any, *words: Any) -> Any:
        found = outputs(kind, *words)
        if now[0] != 24:
            return found
        assert found is not None
        norm, gradient = found[1], len(found) - len(kind.guards) - 1
        return (found[0], norm * torch.nan, *found[2:gradient], found[gradient] * torch.nan, *found[gradient + 1 :])

    other.trainer.streams.take = take  # type: ignore[method-assign]
    steps._outputs = broken  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"^step 25 \(epoch 1\): .*gradient"):
        other.to(30)
    assert other.failed == 1
    assert other.trainer.step == 24
    equal(Run(small(), small_arrays(rows=400), tmp_path, 1).to(24), other)


def test_a_gradient_too_large_to_be_squared_is_clipped_by_its_own_norm(tmp_path: Path) -> None:
    """Its norm is infinite, though every gradient is finite: such a step does not hold, and is read."""
    arrays = small_arrays(rows=400)
    arrays["x"][300] = [1e15, -1e15, 1e15]
    spec = small(
        train__clip_norm=0.5,
        nodes__x__generative={"parents": ["y", "z"], "network": {"mlp": [6]}, "parameters": {"scale": 1e-3}},
        nodes__z__recognition__parents=["y"],
    )
    one, other = two(spec, tmp_path, 100, arrays)
    equal(one, other)
    assert other.failed >= 1
    assert all(kind.failed == 0 for kind in other.trainer.steps._kinds.values())  # its guards hold


# ---- runs that are stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_within_a_window_and_resumed_ends_the_same(number: int, tmp_path: Path) -> None:
    spec, arrays = small(train__epochs=4), small_arrays(rows=400)
    sgc.train(spec, arrays, output=tmp_path / "whole", window=1)
    with pytest.raises(Interrupted):
        sgc.train(spec, arrays, output=tmp_path / "stopped", watcher=At(38, number), window=K)
    state = RunFolder(tmp_path / "stopped").state()
    assert state.step >= 38
    assert state.step % 26
    sgc.train(spec, arrays, output=tmp_path / "stopped", resume=True, window=5)
    assert finished_files(tmp_path / "stopped") == finished_files(tmp_path / "whole")


def test_a_run_that_ends_within_a_window_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    class Ends(Silent):
        def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
            if (epoch, step) == (3, 11):
                raise KeyboardInterrupt

    spec, arrays = small(train__epochs=4), small_arrays(rows=400)
    sgc.train(spec, arrays, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sgc.train(spec, arrays, output=tmp_path / "killed", watcher=Ends(), window=K)
    sgc.train(spec, arrays, output=tmp_path / "killed", resume=True, window=K)
    assert finished_files(tmp_path / "killed") == finished_files(tmp_path / "whole")


# ---- what is read

READS = {
    *("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__array__", "__contains__"),
    *("equal", "allclose", "is_nonzero", "nonzero"),
}


class Reads(TorchFunctionMode):
    """Counts the calls from Python by which numbers leave tensors."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        self.seen[name] += name in READS
        return function(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    """Counts the operations of torch that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__.split(".")[0]
        self.seen[name] += name in ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")
        return function(*args, **(kwargs or {}))


def reads_of(run: Run, steps: int) -> tuple[Counter[str], Counter[str]]:
    """Count what is read in the next steps of a run, but for what is read of rows on the host as they are laid out."""
    streams, first = run.trainer.streams, run.trainer.step + len(run.trainer.unread)
    rows = {number: Streams.take(streams, number) for number in range(first, first + steps)}
    streams.take = lambda number: rows[number]  # type: ignore[method-assign,assignment,misc]
    asked, waited = Reads(), Waits()
    with asked, waited:
        for _ in range(steps):
            run.trainer._step()
    return +asked.seen, +waited.seen


@pytest.mark.parametrize("name", ["m2", "z then y", "relaxed", "clipped", "dropout and batch norm", "warm-up"])
def test_a_window_reads_no_number_until_its_end(name: str, tmp_path: Path) -> None:
    run = Run(SPECS[name], small_arrays(rows=4000), tmp_path, 16).to(50)
    assert len(run.trainer.unread) == 0
    assert reads_of(run, 15) == (Counter(), Counter())
    assert len(run.trainer.unread) == 15
    assert reads_of(run, 1) == (Counter({"tolist": 1}), Counter())
    assert len(run.trainer.unread) == 0
    assert run.read[-1] == (16, True)


def test_the_count_of_what_is_read_can_fail(tmp_path: Path) -> None:
    asked, waited = reads_of(Run(small(), small_arrays(rows=4000), tmp_path, 1).to(50), 16)
    assert asked["__bool__"] >= 16
    assert asked["__float__"] >= 32  # the loss, and the sums of the step
    assert waited["_local_scalar_dense"] >= 16


# ---- how long numbers wait


def unread(*holds: bool) -> Callable[[UnreadSteps], None]:
    def add(steps: UnreadSteps) -> None:
        before = steps.holds
        for word in holds:
            before = before & torch.tensor(word)
            steps.add(UnreadStep(before, torch.tensor(1.5), torch.tensor(1.0), []), StepSums([]))

    return add


def taken(steps: UnreadSteps) -> int:
    count = 0
    while not steps.full:
        unread(True)(steps)
        count += 1
    steps.read()
    return count


def test_windows_are_shorter_where_steps_do_not_hold_and_grow_again() -> None:
    steps = UnreadSteps(16, torch.device("cpu"))
    assert taken(steps) == 16
    unread(True, True, False, False)(steps)
    read, all_hold = steps.read()
    assert [step.loss for step in read] == [1.5, 1.5]
    assert not all_hold
    assert [taken(steps) for _ in range(3)] == [8, 16, 16]
    for _ in range(6):
        unread(False)(steps)
        assert steps.read() == ([], False)
    assert [taken(steps) for _ in range(5)] == [1, 2, 4, 8, 16]
    assert steps.read() == ([], True)


def test_a_gpu_has_windows_and_a_cpu_has_none_unless_asked(tmp_path: Path) -> None:
    assert Run(small(), small_arrays(), tmp_path, None).trainer.unread.limit == 1
    assert Run(small(), small_arrays(), tmp_path, 5).trainer.unread.limit == 5


@pytest.mark.parametrize("window", [0, -1, 2.0, True, "16"])
def test_a_window_is_a_whole_number(window: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^window is .*, wanted (at least 1|a whole number from 1 up)$"):
        sgc.train(small(), small_arrays(), output=tmp_path / "run", window=window)
    assert not (tmp_path / "run").exists()
