"""What weights of convolutions in the order of channels last would give: a step of specs/mnist-conv.yaml, both ways.

    python -m benchmarks.channels_last [--rounds 6]

One process, one thread, ways in turn; CPU milliseconds a step, the least of the rounds, as replayed steps take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml

import sgc
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

SPEC = Path(__file__).resolve().parent.parent / "specs" / "mnist-conv.yaml"
SETTLED, TURN, ROWS = 6, 2, 400  # steps until all are replayed, steps of a turn, rows of drawn pictures


def trainer(precision: str, *, channels_last: bool) -> Trainer:
    """Make a training of the spec on drawn pictures that stands at its first step."""
    words = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    del words["data"]
    spec = sgc.load(words, [f"train.precision={precision}", "train.batch_size=50"])
    rows = np.random.default_rng(0)
    labels = np.where(np.arange(ROWS) < ROWS // 2, rows.integers(0, 10, ROWS), np.nan)
    made = outline(spec)
    data = open_data(made, Path(), {"x": rows.random((ROWS, 1, 28, 28)).round(), "y": labels})
    run = Trainer(made, data, RunFolder(Path(tempfile.gettempdir()) / "sgc-benchmark"), Silent(), debug=False)
    if channels_last:
        run.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run.model.train()
    return run


def main(words: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args(words).rounds
    torch.set_num_threads(1)
    runs = {
        (precision, last): trainer(precision, channels_last=last)
        for precision, last in product(("32-true", "bf16-mixed"), (False, True))
    }
    times: dict[tuple[str, bool], list[float]] = {way: [] for way in runs}
    for turn, (way, run) in product(range(rounds + 1), runs.items()):
        steps = TURN if turn else SETTLED
        began = time.process_time()
        for _ in range(steps):
            run._step()
        times[way] += [1000 * (time.process_time() - began) / steps] if turn else []
    print("| precision | as they are, ms | channels last, ms | ratio |\n|---|---:|---:|---:|")
    for precision in ("32-true", "bf16-mixed"):
        usual, last = (min(times[precision, way]) for way in (False, True))
        print(f"| {precision} | {usual:.1f} | {last:.1f} | {last / usual:.2f} |")


if __name__ == "__main__":
    main()
