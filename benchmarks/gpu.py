"""Steps of training on a GPU: `benchmarks/gpu.sh`. Every row is written when it is measured, so that none is lost.

Rows: A1 to A3 at two sizes of batch, by hand and by sgc; two specs of this repository; mixed precisions. Checks: losses
and gradients of sgc from the same start with the same draws, on this device and on the CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import sgc
from benchmarks import growth_specs, problem
from benchmarks.bench import say
from benchmarks.contenders.plain_torch import PlainTorch
from benchmarks.contenders.sgc_step import SgcStep
from benchmarks.contenders.tuned_torch import TunedTorch
from benchmarks.problem import Problem
from benchmarks.serve import peak, reset_peak
from benchmarks.torch_contender import ByHand
from sgc.errors import DataError
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.spec.training_section import Train
from sgc.training import engine
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

SPECS = Path(__file__).parent.parent / "specs"
COMPILES = "compile" in Train.model_fields  # whether `train.compile` is an option of this version
SETTLES, TURNS = 18, 5  # steps before the first that counts; turns of a row, whose median counts
FULL, MIXED = "32-true", ("16-mixed", "bf16-mixed")
ALLOWED = 1e-4  # of a loss, and of a gradient by the largest number of it


@dataclass
class Row:
    """A row of the table: what is measured, how, and what came of it."""

    step: str
    batch: int
    contender: str
    precision: str = FULL
    ms: float | None = None
    peak: float | None = None  # MiB: of tensors on a GPU, of the process on the CPU
    why: str = ""  # it has no numbers


@dataclass
class Check:
    """What was compared with the CPU: the largest differences of the loss and of gradients, relative."""

    what: str
    loss: float
    gradient: float
    why: str = ""

    @property
    def agrees(self) -> bool:
        return not self.why and self.loss <= ALLOWED and self.gradient <= ALLOWED


# ---- times and memory


class Clock:
    """Times steps on a device; on a GPU by its own events, once all that was asked for is done."""

    def __init__(self, device: torch.device, turn: float) -> None:
        self.device, self.turn = device, turn
        self.cuda = device.type == "cuda"

    def seconds(self, step: Callable[[], object], count: int) -> float:
        """Give the seconds of so many steps."""
        if not self.cuda:
            began = time.perf_counter()
            for _ in range(count):
                step()
            return time.perf_counter() - began
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        first.record()
        for _ in range(count):
            step()
        last.record()
        torch.cuda.synchronize(self.device)
        return float(first.elapsed_time(last)) / 1e3

    def measure(self, row: Row, step: Callable[[], object]) -> None:
        """Take steps until all are alike, then time some turns of them."""
        once = self.seconds(step, SETTLES) / SETTLES
        count = max(1, round(self.turn / max(once, 1e-6)))
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            reset_peak()
        row.ms = 1e3 * median(self.seconds(step, count) for _ in range(TURNS)) / count
        row.peak = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.cuda else peak()


def to_device(by_hand: ByHand, device: torch.device) -> ByHand:
    """Move the networks and rows of a step that is written by hand; its optimiser keeps its parameters."""
    for name, value in list(vars(by_hand).items()):
        if isinstance(value, nn.Module):
            value.to(device)
        elif isinstance(value, Tensor):
            setattr(by_hand, name, value.to(device))
    return by_hand


def synthetic(spec: Spec, rows: int) -> dict[str, np.ndarray]:
    """Draw rows from a spec's own p with the weights that it starts from; the first half of them has all labels."""
    torch.manual_seed(0)
    model = sgc.compile(spec)
    arrays: dict[str, np.ndarray] = {}
    for name, value in model.generate(rows).items():
        steps = model.outline.stepped
        node = model.outline.graphs.nodes[steps[name].nodes[0] if name in steps else name]
        if node.supervision == "none" or name == "digit.mnist.y":  # these labels are for evaluation alone
            continue
        array = value.detach().numpy().astype(float)
        values = model.outline.variables[name].values if name in model.outline.variables else None
        if values:
            array = np.array([float(each) for each in values])[array.astype(int)]
        if node.supervision == "partial":
            array[rows // 2 :] = np.nan
        arrays[name] = array
    return arrays


def trainer_of(file: Path, overrides: Sequence[str], rows: int) -> Trainer:
    """Make the trainer of a spec on its own data, or on synthetic rows of the same shapes."""
    made = outline(sgc.load(file, overrides))
    try:
        data = open_data(made, file.parent)
    except DataError:
        spec = sgc.load(file, [*overrides, "data="])
        made = outline(spec)
        data = open_data(made, file.parent, synthetic(spec, rows))
    trainer = Trainer(made, data, RunFolder(Path(tempfile.gettempdir()) / "sgc-benchmark"), Silent(), debug=False)
    trainer.model.train()
    return trainer


# ---- the checks


class DrawnOnCpu(TorchDispatchMode):
    """Makes every draw on the CPU, from one seed, so that it is the same on every device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **kwargs)
        device = next((each.device for each in args if isinstance(each, Tensor)), None)
        moved = [each.cpu() if isinstance(each, Tensor) else each for each in args]
        takes = any(argument.name == "generator" for argument in function._schema.arguments)
        named = {**kwargs, "generator": self.generator} if takes else dict(kwargs)
        if "device" in named:
            device, named["device"] = named["device"], torch.device("cpu")
        with torch.random.fork_rng(devices=[]):
            if not takes:  # it draws from the CPU's own generator
                torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator)))
            drawn = function(*moved, **named)
        if function._schema.is_mutable:
            return args[0].copy_(drawn)
        return drawn.to(device) if isinstance(drawn, Tensor) else drawn


def loss_and_gradients(step: SgcStep) -> tuple[float, dict[str, Tensor]]:
    """Compute the loss of the first rows and its gradients, with draws that depend on no device."""
    model = step.trainer.model
    model.zero_grad()
    with DrawnOnCpu():
        loss, _ = model(step.parts, step.weights)
        loss.backward()
    named = model.named_parameters()
    return float(loss.detach()), {name: each.grad.double().cpu() for name, each in named if each.grad is not None}


def compare(what: str, given: Problem, device: torch.device) -> Check:
    """Compare sgc's loss and gradients on a device with those on the CPU, from the same weights and draws."""
    (loss, gradients), (other_loss, other_gradients) = (
        loss_and_gradients(SgcStep(given, [f"train.device={kind}"])) for kind in ("cpu", device.type)
    )
    off = max(
        float((gradient - other_gradients[name]).abs().max() / gradient.abs().max().clamp(min=1e-12))
        for name, gradient in gradients.items()
    )
    return Check(what, abs(loss - other_loss) / max(1.0, abs(loss)), off)


# ---- the rows


@contextmanager
def noting(note: Callable[[str], None]) -> Iterator[None]:
    """Note why something could not be measured; the rest goes on."""
    try:
        yield
    except Exception as why:  # whatever a device or a precision cannot do: its row says so
        note(f"{type(why).__name__}: {(str(why).strip().splitlines() or ['nothing said'])[0]}")


class Rows:
    """All that is measured, in its order, until there is no time left."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.device = chosen, torch.device(chosen.device)
        self.clock = Clock(self.device, 0.02 if chosen.quick else 0.5)
        self.rows: list[Row] = []
        self.checks: list[Check] = []
        self.end = time.monotonic() + 60 * chosen.minutes

    def write(self) -> None:
        """Write what there is by now."""
        found = {
            "device": device_text(self.device),
            "torch": torch.__version__,
            "rows": [asdict(row) for row in self.rows],
            "checks": [asdict(check) for check in self.checks],
        }
        self.chosen.json.write_text(json.dumps(found, indent=1) + "\n")

    def row(self, row: Row, make: Callable[[], Callable[[], object]]) -> None:
        """Measure a row and write it down. make: gives its step."""
        say(f"{row.step} {row.batch} {row.contender} {row.precision} ...")
        self.rows.append(row)
        if time.monotonic() > self.end:
            row.why = "no time left"
        else:
            with noting(lambda why: setattr(row, "why", why)):
                self.clock.measure(row, make())
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.write()

    def check(self, what: str, make: Callable[[], Check]) -> None:
        """Compare and write down what comes of it."""
        say(f"{what}, held to the CPU ...")
        check = Check(what, float("nan"), float("nan"))
        with noting(lambda why: setattr(check, "why", why)):
            check = make()
        self.checks.append(check)
        self.write()

    def overrides(self, precision: str, *, compiled: bool = False) -> list[str]:
        words = [f"train.device={self.device.type}", f"train.precision={precision}", "train.epochs=1000000"]
        return [*words, "train.compile=true"] if compiled else words

    def steps(self) -> None:
        """Measure A1 to A3."""
        for batch in (4,) if self.chosen.quick else (100, 4096):
            for name in problem.STEPS:
                given = problem.read(name, batch)
                if self.chosen.quick:
                    given = problem.tiny(given)
                self.row(Row(name, batch, "plain"), lambda given=given: to_device(PlainTorch(given), self.device).step)  # type: ignore[misc]
                self.row(Row(name, batch, "tuned"), lambda given=given: to_device(TunedTorch(given), self.device).step)  # type: ignore[misc]
                self.sgc(Row(name, batch, "sgc"), given)
                if COMPILES:
                    self.sgc(Row(name, batch, "sgc compiled"), given, compiled=True)
                for precision in MIXED if name == "A1" else ():
                    self.sgc(Row(name, batch, "sgc", precision), given)

    def sgc(self, row: Row, given: Problem, *, compiled: bool = False) -> None:
        """Measure the step of sgc on a problem."""
        overrides = self.overrides(row.precision, compiled=compiled)
        self.row(row, lambda: without_terms(SgcStep(given, overrides).trainer))

    def specs(self) -> None:
        """Measure specs of this repository, at their own sizes of batch."""
        for name in ("mnist-conv", "multi-mnist"):
            ways = [("sgc", FULL, False), *(("sgc", precision, False) for precision in MIXED)]
            if COMPILES:
                ways.append(("sgc compiled", FULL, True))
            for contender, precision, compiled in ways[:1] if self.chosen.quick else ways:
                overrides = self.overrides(precision, compiled=compiled)
                if self.chosen.quick:
                    overrides.append("train.batch_size={unlabelled: 2, labelled: 2}")

                def make(name: str = name, overrides: Sequence[str] = overrides) -> Callable[[], object]:
                    return without_terms(trainer_of(SPECS / f"{name}.yaml", overrides, 8 if self.chosen.quick else 600))

                self.row(Row(name, 2 if self.chosen.quick else 100, contender, precision), make)

    def all(self) -> None:
        """Check, then measure, the most telling first."""
        for name in problem.STEPS:
            given = problem.read(name, 4 if self.chosen.quick else 100)
            given = problem.tiny(given) if self.chosen.quick else given
            self.check(name, lambda name=name, given=given: compare(name, given, self.device))  # type: ignore[misc]
        self.check("hmm", lambda: compare_hmm(self.device))
        with engine.repeatable():
            self.steps()
            self.specs()


def compare_hmm(device: torch.device) -> Check:
    """Compare a repeat, stacked steps and sums over categories, where nothing is drawn."""
    model = growth_specs.hmm(12)
    found = []
    for kind in (torch.device("cpu"), device):
        torch.manual_seed(0)
        compiled = sgc.compile(model.spec).to(kind)
        outcome = compiled.objective(model.arrays)
        outcome.loss.backward()
        gradients = [each.grad.double().cpu() for each in compiled.parameters() if each.grad is not None]
        found.append((float(outcome.loss.detach()), gradients))
    (loss, gradients), (other_loss, other_gradients) = found
    off = max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))
        for one, other in zip(gradients, other_gradients, strict=True)
    )
    return Check("hmm", abs(loss - other_loss) / max(1.0, abs(loss)), off)


def without_terms(trainer: Trainer) -> Callable[[], object]:
    """Give the step of training that seven of eight are; the eighth takes the terms of the bound apart too."""

    def step() -> None:
        if trainer.wants_terms:
            trainer.totals.steps += 1
        trainer._step()

    return step


# ---- what is said


def device_text(device: torch.device) -> str:
    """Name the device."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return platform.processor() or platform.machine()


def table(rows: Sequence[Row]) -> str:
    """Write the rows as a table; why some have no numbers stands below it."""
    cells = [["step", "B", "contender", "precision", "ms", "peak MiB"]]
    for row in rows:
        numbers = ["cannot", ""] if row.why else [f"{row.ms:.3g}", f"{row.peak:.0f}"]
        cells.append([row.step, str(row.batch), row.contender, row.precision, *numbers])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines += [f"- {row.step}, {row.batch}, {row.contender}, {row.precision}: {row.why}" for row in rows if row.why]
    return "\n".join(lines)


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description="Measure steps of training on a GPU.")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few steps: a test of the script itself")
    parser.add_argument("--minutes", type=float, default=9, help="no row is begun after so many minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path(__file__).parent / "gpu.json")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Check, measure, print, write; the status is 1 where the device and the CPU differ, 2 where there is no device."""
    chosen = options(words)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("torch finds no CUDA device here; --device cpu --quick tests the script without one", file=sys.stderr)
        return 2
    measured = Rows(chosen)
    measured.all()
    print(
        f"Device: {device_text(measured.device)}; torch {torch.__version__}; one process.\n\n{table(measured.rows)}\n"
    )
    for check in measured.checks:
        verdict = "agrees" if check.agrees else f"differs {check.why}".strip()
        print(f"{check.what}: {verdict} with the CPU; loss {check.loss:.1e}, gradient {check.gradient:.1e}")
    return 0 if all(check.agrees for check in measured.checks) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
