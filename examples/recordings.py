"""Write recordings.npz for specs/hmm.yaml: a signal of three channels over 50 steps, from five activities in turn.

    python examples/recordings.py && sgc train specs/hmm.yaml && sgc evaluate runs/hmm

What is drawn is a hidden Markov model with a person's own offset on it; `--best` says how well the activities would be
found by whoever knew the model, the offsets taken for noise. A quarter of the recordings are annotated in part: the
activity of some stretch of steps is unknown (-1), as where an annotator did not look. The file is written into specs/,
beside the spec, or where there is no such folder into this one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

NAMES = ["rest", "walk", "run", "climb", "fall"]
STAY = 0.85  # the chance of going on with an activity
MEANS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [1.6, 0.8, 0.0], [0.5, 1.5, -0.5], [-0.8, 0.5, 1.0]])
NOISE = 0.7  # of a reading around its activity's mean
OFFSET = 0.15  # of a person


def recordings(count: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Draw recordings: signal [count, steps, 3], activity [count, steps] (a name, or -1), person [count]."""
    rng = np.random.default_rng(seed)
    kinds = len(MEANS)
    activity = np.empty((count, steps), dtype=np.int64)
    activity[:, 0] = rng.integers(kinds, size=count)
    for t in range(1, steps):
        moves = rng.random(count) > STAY
        other = (activity[:, t - 1] + rng.integers(1, kinds, size=count)) % kinds
        activity[:, t] = np.where(moves, other, activity[:, t - 1])
    person = rng.integers(25, size=count)
    offset = OFFSET * rng.standard_normal((25, 3))[person][:, None]
    signal = MEANS[activity] + offset + NOISE * rng.standard_normal((count, steps, 3))
    known = np.array(NAMES)[activity]
    for row in np.flatnonzero(rng.random(count) < 0.25):
        start = rng.integers(steps)
        known[row, start : start + steps // 3] = "-1"
    return {"signal": signal.astype(np.float32), "activity": known, "person": person}


def best_error(count: int, steps: int, seed: int) -> float:
    """Give the share of steps that the true model's smoothed probabilities get wrong."""
    drawn = recordings(count, steps, seed)
    kinds = len(MEANS)
    stay = np.full((kinds, kinds), (1 - STAY) / (kinds - 1)) + np.eye(kinds) * (STAY - (1 - STAY) / (kinds - 1))
    apart = ((drawn["signal"][:, :, None] - MEANS) ** 2).sum(-1)
    likelihood = np.exp(-0.5 * apart / (NOISE**2 + OFFSET**2))  # [count, steps, kinds]
    forward, backward = likelihood.copy(), np.ones_like(likelihood)
    for t in range(1, steps):
        ahead = forward[:, t - 1] / forward[:, t - 1].sum(-1, keepdims=True)
        forward[:, t] *= ahead @ stay
    for t in range(steps - 2, -1, -1):
        behind = (likelihood[:, t + 1] * backward[:, t + 1]) @ stay.T
        backward[:, t] = behind / behind.sum(-1, keepdims=True)
    found = np.array(NAMES)[(forward * backward).argmax(-1)]
    known = drawn["activity"] != "-1"
    return float((found != drawn["activity"])[known].mean())


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    beside = Path("specs") if Path("specs").is_dir() else Path()  # of hmm.yaml
    parser.add_argument("-o", "--output", type=Path, default=beside / "recordings.npz")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--best", action="store_true", help="write nothing, say what the true model gets wrong")
    given = parser.parse_args()
    if given.best:
        print(f"{100 * best_error(given.count, given.steps, given.seed):.2f} % of the known steps")
        return
    if not given.output.parent.is_dir():
        parser.error(f"{given.output}: the folder {given.output.parent} does not exist")
    np.savez_compressed(given.output, **recordings(given.count, given.steps, given.seed))
    print(f"{given.output}: {given.count} recordings of {given.steps} steps")


if __name__ == "__main__":
    main()
