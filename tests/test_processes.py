"""Several processes train as one: gradients, weights, draws and measures are the same, to rounding.

The group is forked once for each number of processes and takes all specs one after the other, in float64, so that what
differs by more than rounding is seen.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import NPZ, Raw, changed, rich, small, small_arrays, write_rich, z_then_y
from test_families import ALL, some_parameters
from torch import Tensor
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous.api import RendezvousTimeoutError
from torch.distributed.tensor import DTensor

import sgc
from sgc import cli
from sgc.errors import RunError, UsageError
from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.weight_files import own_state
from sgc.shared_rows import Sharing, current_layout, rows_in
from sgc.spec.resolver import outline
from sgc.training import processes
from sgc.training import trainer as trainer_module
from sgc.training.launch_environment import Launched, import_path, launched
from sgc.training.launcher import launch
from sgc.training.learner import Learner
from sgc.training.process_sums import MemorySum, SentSum, process_sum
from sgc.training.processes import Processes, together
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

ROOT = Path(__file__).resolve().parent.parent
STEPS = 5  # the fourth of a kind is replayed
NET: Raw = {"mlp": [4], "activation": "tanh"}
DOUBLE = {"train__precision": "64-true", "data": NPZ}


def several_labels() -> Raw:
    """Write two partial nodes that share plans, and a charged draw whose running means go by pattern."""
    q: Raw = {"parents": ["x"], "network": NET}
    return {
        "version": 1,
        "name": "labels",
        "data": changed(NPZ, columns__s={"column": "s"}, labels__s={"count": 15}),
        "nodes": {
            "x": {"distribution": "Normal", "shape": [3], "supervision": "full",
                  "generative": {"parents": ["y", "s", "b"], "network": NET}},
            "y": {"distribution": "Categorical", "categories": 3, "supervision": "partial",
                  "recognition": {**q, "weight_decay": 0.3}},
            "s": {"distribution": "Bernoulli", "supervision": "partial",
                  "recognition": {**q, "parents": ["x", "y"], "estimator": "enumerate"}},
            "b": {"distribution": "Bernoulli", "shape": [2], "supervision": "none",
                  "recognition": {**q, "estimator": {"score_function": {"baseline": "running_mean"}}}},
        },
        "train": {"batch_size": {"unlabelled": 7, "labelled": 11}, "precision": "64-true"},
    }  # fmt: skip


def experts() -> Raw:
    """Write a mixture of experts, some of which are missing in some rows."""
    spec = several_labels()
    drawn: Raw = {"supervision": "partial", "missing": "drop", "generative": {"parents": ["z"], "network": NET}}
    heard = {name: {"network": NET} for name in ("x", "y", "s")}
    spec["nodes"] = {
        "x": {"distribution": "Normal", "shape": [3], "supervision": "full", "generative": drawn["generative"]},
        "y": {"distribution": "Categorical", "categories": 3, **drawn},
        "s": {"distribution": "Bernoulli", **drawn},
        "z": {"distribution": "Normal", "shape": [2], "supervision": "none",
              "recognition": {"experts": heard, "combine": "mixture_of_products"}},
    }  # fmt: skip
    spec["objective"] = {"samples": 2}
    return spec


def counted() -> Raw:
    """Write a repeat that a node counts, with a carry, labels of some steps, and rejected proposals of angles."""
    spec = several_labels()
    q: Raw = {"parents": ["x"], "network": NET}
    bit: Raw = {"distribution": "Bernoulli"}
    spec["nodes"] = {
        "x": {"distribution": "Normal", "shape": [3], "supervision": "full",
              "generative": {"parents": ["g", "a"], "network": NET}},
        "a": {"distribution": "VonMises", "supervision": "none", "generative": {"learn": True},
              "recognition": {**q, "estimator": "score_function"}},
        "y": {"distribution": "Categorical", "categories": 3, "supervision": "partial",
              "recognition": {**q, "estimator": "enumerate"}},
    }  # fmt: skip
    spec["features"] = {"g": {"parents": ["r.f"], "network": {"combine": "sum"}}}
    step = {**bit, "supervision": "none", "generative": {"parents": ["prev.b"], "network": NET}}
    spec["repeat"] = {
        "r": {
            "count": "y",
            "carry": {"c": {"parents": ["x", "prev.b"], "network": {"gru": 2}}},
            "features": {"f": {"parents": ["b"], "network": NET}},
            "nodes": {"b": {**step, "recognition": {"parents": ["x", "c"], "network": NET, "estimator": "enumerate"}}},
        }
    }
    del spec["data"]["columns"]["s"], spec["data"]["labels"]["s"]
    return spec


SPECS: dict[str, Raw] = {
    "patterns, a rate, dropout, batch norm, dynamic pixels": rich(
        train__precision="64-true", train__clip_norm=0.3, train__average=0.5
    ),
    "labels apart by row": several_labels(),
    "a mixture of experts": experts(),
    "a counted repeat": counted(),
    "samples whose weights vary": z_then_y(),
    "iwae": small(objective={"bound": "iwae", "samples": 3, "gradient": "dreg"}, **DOUBLE),
    "replayed batch norm and dropout": small(
        nodes__y__recognition__network=[
            {"layers": [{"BatchNorm1d": {"affine": False}}]},
            {"mlp": [4], "norm": "batch"},
        ],
        nodes__x__generative__network={"mlp": [4], "dropout": 0.3},
        **DOUBLE,
    ),
    "without replacement": small(
        nodes__y__recognition__estimator="without_replacement", objective={"samples": 2}, **DOUBLE
    ),
    "straight through": small(nodes__y__recognition__estimator="straight_through", **DOUBLE),
    "gamma": small(
        nodes__z={
            "distribution": "Gamma",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["x"], "network": NET, "estimator": "score_function"},
            "generative": {"learn": True},
        },
        **DOUBLE,
    ),
    "a batch smaller than the group": small(train__batch_size=1, nodes__x__generative__network=NET, **DOUBLE),
    "weights of rows": small(
        train__category_weights={"y": "balanced"}, objective={"supervision_rate": 0.4}, train__batch_size=5, **DOUBLE
    ),
}


def trained(spec: Raw, place: Path, group: Processes) -> dict[str, Any]:  # Any: tensors and numbers
    """Take some steps of a training; give all that it comes to."""
    words = {"batch_size": 8, **spec.get("train", {}), "epochs": 1000}
    made = outline(sgc.load({**spec, "train": words}))
    arrays = None if spec["name"] == "rich" else {**small_arrays(labels=60), "s": np.arange(60) % 2}
    if arrays is not None:
        arrays = {name: arrays[name] for name in spec["data"]["columns"]}
    trainer = Trainer(made, open_data(made, place, arrays), RunFolder(place), Silent(), group, debug=False)
    if made.spec.train.shard:
        trainer.learner.share_out(trainer._new_model)
    trainer.model.train()
    gradients: list[Tensor] = []
    for step in range(STEPS):
        trainer._step()
        if step in (0, STEPS - 1) and trainer.learner.shards is None:
            gradients += [parameter.grad.clone() for parameter in trainer.parameters]
    trainer.epoch = 1
    line = trainer._line()
    held: list[str] = []
    if trainer.learner.shards is not None:
        rows, weights = trainer.streams.take(0)
        loss, _ = trainer.model(rows, trainer.steps.counts(weights))  # before the backward pass
        assert loss.requires_grad
        own, shards = trainer.model.named_parameters(), trainer.learner.shards.by_name
        held = [name for name, parameter in own if name in shards and not isinstance(parameter, DTensor)]
    line.pop("seconds")
    average = list(trainer.learner.kept_average().get("means", {}).values())
    weights = trainer.learner.gathered().state_dict().values()
    return {
        "tensors": [*gradients, *average, *weights],
        "line": line,
        "held": held,
        "means": trainer.model.running_means.state(),
        "replayed": sum(kind.checked for kind in trainer.steps._kinds.values()),
        "refused": [kind.refusal for kind in trainer.steps._kinds.values() if kind.refusal],
    }


def drawn_apart(group: Processes) -> list[str]:
    """Hold draws of rows that are shared out to those of all rows, to the bit; name the families that differ."""
    wrong: list[str] = []
    count, samples = 7, 2
    share = Sharing(group.rank, group.size).of(count)
    for case in ALL:
        family = case.values[0]
        event = (3,) * family.event_dim
        parameters = some_parameters(family, event, 3, samples, count)
        own = {
            name: value[:, share.places] if value.dim() > 1 and value.shape[:2] == (samples, count) else value
            for name, value in parameters.items()
        }
        with drawing_from(Generators(5)):
            whole = [family.draw(family.distribution(parameters, event), (samples, count)) for _ in range(2)]
        here = (samples, share.rows)
        with drawing_from(Generators(5)), rows_in(here, share):
            part = [family.draw(family.distribution(own, event), here) for _ in range(2)]
        for one, other in zip(whole, part, strict=True):
            if not torch.equal(one.value[:, share.places], other.value):
                wrong.append(case.id)
    return wrong


SHARDED = ("patterns, a rate, dropout, batch norm, dynamic pixels", "a counted repeat", "straight through")
IN_THREE = ("patterns, a rate, dropout, batch norm, dynamic pixels", "labels apart by row", "gamma")


def everything(place: Path) -> Callable[[Processes], dict[str, Any]]:  # Any: as above
    def action(group: Processes) -> dict[str, Any]:  # Any: as above
        names = IN_THREE if group.size == 3 else SPECS
        found = {name: trained(SPECS[name], place, group) for name in names}
        for name in SHARDED:
            shared_out = {**SPECS[name], "train": {**SPECS[name].get("train", {}), "shard": True}}
            found[f"{name}, its weights shared out"] = trained(shared_out, place, group)
        return {**found, "draws": [] if group.alone else drawn_apart(group)}

    return action


def children_of(size: int, place: Path, action: Callable[[Launched], object]) -> list[tuple[int, str]]:
    """Run an action in each of so many processes; give their exit statuses and what they said."""
    meeting = place / f"meeting{size}-{time.monotonic_ns()}"
    children = []
    for rank in range(size):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 70
        try:
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
            sys.stderr = (place / f"words{rank}").open("w")
            action(Launched(rank, size, rank, f"file://{meeting}"))
            status = 0
        except RunError as problem:
            status = 1
            sys.stderr.write("" if getattr(problem, "said_by_another", False) else str(problem))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [(end, (place / f"words{rank}").read_text()) for rank, end in enumerate(ends)]


def in_group(size: int, place: Path, action: Callable[[Processes], Any]) -> list[Any]:  # Any: plain data
    """Run an action in each of so many processes that have met; give what they come to, by rank."""

    def met(found: Launched) -> None:
        with together(found, gpu=False) as group:
            torch.save(action(group), place / f"found{found.rank}")

    ended = children_of(size, place, met)
    assert all(status == 0 for status, _ in ended), "\n".join(words for _, words in ended)
    return [torch.load(place / f"found{rank}", weights_only=False) for rank in range(size)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_rich(folder)
    return folder


@pytest.fixture(scope="module")
def alone(place: Path) -> dict[str, Any]:  # Any: as above
    return everything(place)(Processes())


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def group(request: pytest.FixtureRequest, place: Path) -> list[dict[str, Any]]:  # Any: as above
    return in_group(request.param, place, everything(place))


@pytest.mark.parametrize("name", SHARDED)
def test_weights_that_are_shared_out_are_those_of_one_process(
    name: str, group: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    for found in (member[f"{name}, its weights shared out"] for member in group):
        for own, whole in zip(reversed(found["tensors"]), reversed(alone[name]["tensors"]), strict=False):
            torch.testing.assert_close(own, whole, rtol=1e-7, atol=1e-8)
        assert found["held"] == []
        assert found["line"].pop("gradient", None) is None
        same_line(found["line"], {key: value for key, value in alone[name]["line"].items() if key != "gradient"})


@pytest.mark.parametrize("name", SPECS)
def test_processes_train_as_one(name: str, group: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for found in (member[name] for member in group if name in member):
        wanted = alone[name]
        for own, whole in zip(found["tensors"], wanted["tensors"], strict=True):
            torch.testing.assert_close(own, whole, rtol=1e-7, atol=1e-8)
        assert found["means"] == pytest.approx(wanted["means"], rel=1e-9)
        same_line(found["line"], wanted["line"])
        assert found["replayed"] == wanted["replayed"]
        assert found["refused"] == wanted["refused"]


def same_line(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:  # Any: what JSON can say
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            same_line(found[key], value)
        elif isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), key
        else:
            assert found[key] == value, key


def test_a_row_has_the_draw_that_it_has_alone(group: list[dict[str, Any]]) -> None:
    """Of every family: also of those whose draws take as many numbers as their parameters ask for."""
    assert [found["draws"] for found in group] == [[] for _ in group]


def added_up(group: Processes) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Add up vectors round after round in shared memory and by sending; give both, and what they should be."""
    like, size, rounds = torch.zeros((), dtype=torch.float64), 1001, []
    ways = [process_sum(group, size, like, most) for most in (1 << 20, 0)]
    assert [type(way) for way in ways] == [MemorySum if sys.platform == "linux" else SentSum, SentSum]
    every = torch.randn(20, group.size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for vectors, count in zip(every, itertools.cycle([1001, 1, 2, 998]), strict=False):
        for way in ways:
            way.own.copy_(vectors[group.rank])
            way.add_up(count)
        rounds.append((*(way.total[:count].clone() for way in ways), vectors.sum(0)[:count]))
        for way in ways:
            way.total *= group.rank  # as a gradient is scaled: each process has a sum of its own
    return rounds


def test_memory_that_is_shared_adds_up_as_what_is_sent(place: Path) -> None:
    found = in_group(3, place, added_up)
    for rounds in found:
        for shared, sent, wanted in rounds:
            torch.testing.assert_close(shared, wanted)
            torch.testing.assert_close(sent, wanted)
    for i, (shared, _, _) in enumerate(found[0]):
        assert all(torch.equal(shared, rounds[i][0]) for rounds in found), "the processes have other sums"


def test_a_run_whose_process_is_killed_goes_on_to_the_same(place: Path) -> None:
    """Killed the one that leads, or the other; gone on with by three, who come to the same but for rounding."""
    spec = sgc.load(small(**DOUBLE, train__epochs=4))

    def run(folder: Path, victim: int = -1, *, resume: bool = False) -> Callable[[Launched], None]:
        def train(found: Launched) -> None:
            left = itertools.count(-3)
            learn = Learner.learn

            def learn_or_die(self: Learner, *given: Any, **more: Any) -> Any:  # Any: as it is
                if found.rank == victim and not next(left):
                    os.kill(os.getpid(), signal.SIGKILL)
                return learn(self, *given, **more)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trainer_module, "launched", lambda: found)
                patch.setattr(Learner, "learn", learn_or_die)
                sgc.train(spec, small_arrays(labels=60), output=folder, resume=resume)

        return train

    whole, killed = place / "whole", place / "killed"
    assert [status for status, _ in children_of(2, place, run(whole))] == [0, 0]
    first = children_of(2, place, run(killed, victim=1))
    assert [status for status, _ in first] == [1, -signal.SIGKILL]
    assert "process 1 of 2, counted from 0, ended without a word" in first[0][1]
    second = children_of(2, place, run(killed, victim=0, resume=True))
    assert [status for status, _ in second] == [-signal.SIGKILL, 1]
    assert "the last checkpoint is whole, and resume=True goes on from it" in second[1][1]
    assert [status for status, _ in children_of(3, place, run(killed, resume=True))] == [0, 0, 0]
    for one, other in zip(
        *(load_file(folder / "last.safetensors").values() for folder in (whole, killed)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_run_whose_weights_are_shared_out_goes_on_in_one_process(place: Path) -> None:
    """Also what the optimiser keeps for them, and the norm of a gradient that is clipped."""
    spec = small(**DOUBLE, train__epochs=4, train__shard=True, train__clip_norm=0.5)
    alone, several = place / "alone", place / "several"
    half = sgc.load(spec, ["train.epochs=2"])

    def train(found: Launched) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer_module, "launched", lambda: found)
            run = sgc.train(half, small_arrays(labels=60), output=several)
        best = load_file(several / "best.safetensors")
        assert all(torch.equal(best[name], tensor) for name, tensor in own_state(run.model).items())

    assert [status for status, _ in children_of(3, place, train)] == [0, 0, 0]
    sgc.train(sgc.load(spec), small_arrays(labels=60), output=alone)
    sgc.train(sgc.load(spec, ["train.shard=false"]), small_arrays(labels=60), output=several, resume=True)
    for name, tensor in load_file(alone / "last.safetensors").items():
        torch.testing.assert_close(load_file(several / "last.safetensors")[name], tensor, rtol=1e-9, atol=1e-11)


def test_a_fault_of_one_is_told_by_the_one_that_leads(place: Path) -> None:
    def action(found: Launched) -> None:
        with together(found, gpu=False) as group:
            if group.rank == 1:
                raise RunError("row 3 is broken")
            group.of_all(None)

    assert children_of(2, place, action) == [(1, "row 3 is broken"), (1, "")]


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_row_counts_once(count: int, size: int) -> None:
    shares = [Sharing(rank, size).of(count) for rank in range(size)]
    assert len({share.rows for share in shares}) == 1
    kept = [place for share in shares for place in share.places[: share.real]]
    assert kept == list(range(count))
    assert sum(share.counting.sum() for share in shares) == count


def test_rows_of_processes_are_found_or_refused() -> None:
    share = Sharing(0, 2).of(12)  # six here
    with rows_in((4, 6), share):
        layout = current_layout()
    assert layout is not None
    assert layout.find((4, 6, 3)).whole == (4, 12)
    assert layout.find((3, 4, 6)).axis == 1
    assert layout.find((2, 6, 5)).whole == (2, 12)
    assert layout.find((48, 10)).flat
    assert layout.find((5, 5)) is None
    with pytest.raises(UsageError, match="cannot be found"):
        layout.find((5, 6))


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "no MASTER_ADDR and no MASTER_PORT"),
        ({"RANK": "two", "WORLD_SIZE": "2"}, "no MASTER_ADDR"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "process 2 of 2"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "x"}, "SLURM_PROCID='x'"),
    ],
)
def test_an_environment_that_says_half_is_refused(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        launched(environment)


def test_a_batch_script_of_slurm_is_one_process() -> None:
    assert launched({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}) is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--devices", "2", "--nodes", "2"], "--nodes 2 without --rendezvous"),
        (["--nodes", "2", "--rendezvous", "nowhere"], "wanted HOST:PORT"),
        (["--nodes", "2", "--rendezvous", "node1:99999"], "wanted HOST:PORT"),
        (["--nodes", "2", "--rendezvous", "nosuch.invalid:29500"], "no machine of this name is known here"),
        (["--devices", "2", "--rendezvous", "node1:29500"], "--rendezvous node1:29500 without --nodes"),
    ],
)
def test_wrong_use_is_told_before_anything_starts(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app(["train", str(ROOT / "specs" / "digits.yaml"), *words])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err


def test_no_process_imports_from_the_working_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path, expected in ((["/nowhere"], {"PYTHONSAFEPATH": "1"}), (["/nowhere", ""], {}), ([str(tmp_path)], {})):
        monkeypatch.setattr(sys, "path", path)
        assert import_path() == expected
    for file in (ROOT / "sgc").rglob("*.py"):  # whatever starts Python says so
        text = file.read_text(encoding="utf-8")
        if "sys.executable" in text or "multiprocessing.get_context(" in text:
            assert "import_path()" in text or "importing_as_here()" in text, file


def launch_fails(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def start(*words: str) -> None:
        raise problem

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *given: start)
    monkeypatch.setattr(os, "dup2", lambda *given, **more: 0)


def test_machines_that_do_not_meet_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    launch_fails(monkeypatch, RendezvousTimeoutError())
    with pytest.raises(UsageError, match=r"do not meet at 127\.0\.0\.1:29500"):
        launch(["train", "x"], devices=1, nodes=2, meeting="127.0.0.1:29500")


def test_a_process_that_is_killed_as_it_starts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are ended before they have met it, and say nothing."""
    failure = ProcessFailure(local_rank=1, pid=1, exitcode=-9, error_file="")
    launch_fails(monkeypatch, ChildFailedError("x", {1: failure}))
    with pytest.raises(RunError, match="process 1 of 2, counted from 0, was ended by SIGKILL; what was written is"):
        launch(["train", "x"], devices=2)


def test_a_command_lets_its_parent_know_that_it_has_said_its_fault(tmp_path: Path) -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        words = [sys.executable, "-m", "sgc.cli.attached_command", "check", str(tmp_path / "none.yaml")]
        ended = subprocess.run(words, stdin=theirs, capture_output=True, text=True, cwd=ROOT, check=False)
        assert ended.returncode == 2
        assert "none.yaml" in ended.stderr
        assert own.recv(1) == b"!"


def test_processes_that_are_started_anew_do_not_hear_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    store = torch.distributed.HashStore()  # as torchrun keeps one
    monkeypatch.setattr(processes, "_meeting", lambda launched: store)
    for restarts in range(2):
        monkeypatch.setattr(processes, "_TRAININGS", itertools.count())  # a new process counts from 0
        with together(Launched(0, 1, 0, "env://", restarts), gpu=False) as group:
            assert not group._store.check(["fault"])  # type: ignore[attr-defined]
            group._store.set("fault", "gone")  # type: ignore[attr-defined]
