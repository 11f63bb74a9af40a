"""One size of one series of `benchmarks.growth`, measured in a process of its own: prints a line of JSON.

    python -m benchmarks.growth_point chain 100 1.0

Seconds are of CPU time on one thread; memory is the process's largest, libraries included, in MiB.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

import sgc
from benchmarks import growth_specs
from benchmarks.chain_by_hand import ChainByHand
from benchmarks.growth_specs import Model
from benchmarks.serve import peak, reset_peak
from benchmarks.torch_contender import count_operators
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.training.epoch_totals import EpochTotals
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

Numbers = dict[str, float]
STEP_SERIES: dict[str, Callable[[int], Model]] = {
    "samples": growth_specs.samples,
    "categories": growth_specs.categories,
    "chain": growth_specs.chain,
    "hmm": growth_specs.hmm,
}
MOST = 30  # steps of one kind that are timed


def timed(step: Callable[[], object]) -> float:
    """Give the CPU seconds of a call."""
    began = time.process_time()
    step()
    return time.process_time() - began


def several(step: Callable[[], object], seconds: float) -> float:
    """Give the median CPU seconds of a step over as many as take so long."""
    times: list[float] = []
    while not times or (sum(times) < seconds and len(times) < MOST):
        times.append(timed(step))
    return median(times)


def trainer_of(model: Model) -> Trainer:
    """Make what `sgc train` takes its steps by; nothing is written."""
    made = outline(sgc.load(model.spec))
    folder = RunFolder(Path(tempfile.gettempdir()) / "sgc-benchmark")
    trainer = Trainer(made, open_data(made, Path(), model.arrays), folder, Silent(), debug=False)
    trainer.model.train()
    return trainer


def steps(model: Model, seconds: float) -> Numbers:
    """Measure the set-up, and a step of training as it is computed, recorded and replayed."""
    began = time.process_time()
    trainer = trainer_of(model)
    numbers: Numbers = {"set-up": time.process_time() - began}

    def plain() -> None:  # every eighth step takes the terms of the bound apart too; this is one of the seven
        trainer.totals.steps = max(1, trainer.totals.steps % 8)
        trainer._step()

    def with_terms() -> None:  # as the first step of an epoch does
        trainer.totals = EpochTotals(trainer.model.outline)
        trainer._step()

    reset_peak()
    trainer.steps.allowed = False
    with_terms()
    plain()
    numbers |= {"computed": several(plain, seconds), "terms": several(with_terms, 0.0), "computed peak": peak()}
    trainer.steps.allowed = True
    reset_peak()
    plain()
    numbers["recorded"] = timed(plain) - numbers["computed"]
    plain()
    numbers |= {"recording peak": peak()}
    reset_peak()
    plain()
    numbers |= {"replayed": several(plain, seconds), "replayed peak": peak()}
    numbers["operators"] = count_operators(plain, 1)
    numbers["operators"] = count_operators(plain, 1)
    kinds = trainer.steps._kinds.values()
    assert any(kind.checked and kind.run is not None for kind in kinds), [kind.refusal for kind in kinds]
    return numbers


def chain_by_hand(size: int, seconds: float) -> Numbers:
    """Measure the same chain by hand."""
    x = torch.from_numpy(growth_specs.chain(size).arrays["x"])
    numbers: Numbers = {}
    for way in ("loop", "stacked"):
        by_hand = ChainByHand(size, x, stacked=way == "stacked")
        by_hand.step()
        numbers |= {way: several(by_hand.step, seconds), f"{way} operators": count_operators(by_hand.step, 1)}
    return numbers


def graph(size: int) -> Numbers:
    """Measure what comes before the first step: the check of a spec, its plan, its module."""
    model = growth_specs.graph(10)
    sgc.compile(model.spec).plan()  # whatever is imported or built once
    model = growth_specs.graph(size)
    reset_peak()
    began = time.process_time()
    spec = sgc.load(model.spec)
    checked = time.process_time()
    compiled = sgc.compile(spec)
    built = time.process_time()
    compiled.plan()
    return {
        "check": checked - began,
        "compile": built - checked,
        "plan": time.process_time() - built,
        "peak": peak(),
    }


def patterns(size: int, seconds: float, *, enumerated: bool) -> Numbers:
    """Measure a row of an epoch whose rows carry labels in so many patterns."""
    trainer = trainer_of(growth_specs.patterns(size, enumerated=enumerated))

    def epoch() -> None:
        for _ in range(trainer.streams.steps):
            trainer._step()

    epoch()
    rows = sum(trainer.totals.rows.values())  # a labelled row may come more than once
    reset_peak()
    numbers: Numbers = {"row": several(epoch, seconds) / rows, "peak": peak()}
    trainer.steps.allowed = False
    return numbers | {"computed row": several(epoch, seconds) / rows}


def measure(series: str, size: int, seconds: float) -> Numbers:
    """Measure one point."""
    if series in STEP_SERIES:
        numbers = steps(STEP_SERIES[series](size), seconds)
        return numbers | (chain_by_hand(size, seconds) if series == "chain" else {})
    if series == "graph":
        return graph(size)
    return patterns(size, seconds, enumerated=series == "enumerated-labels")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
