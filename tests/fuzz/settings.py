"""Settings and flags, strange and broken, through every command that takes some, on a small spec and its run.

By hand: `python tests/fuzz/settings.py SEED COUNT`.
"""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from attacks import Tally, attack, run, try_commands
from small_runs import changed, rich, write_rich

KEYS = (
    *("version", "name", "description", "train", "nodes", "data", "objective", "evaluate", "networks", "recognition"),
    *("train.epochs", "train.batch_size", "train.batch_size.labelled", "train.optimizer", "train.optimizer.name"),
    *("train.optimizer.lr", "train.optimizer.eps", "train.optimizer.weight_decay", "train.optimizer.betas"),
    *("train.optimizer.momentum", "train.clip_norm", "train.stop", "train.stop.patience", "train.device"),
    *("train.precision", "train.seed", "train.weight", "train.category_weights", "train.labelled_also_unlabelled"),
    *("objective.bound", "objective.samples", "objective.alpha", "objective.alpha.y", "objective.gamma"),
    *("objective.supervision_rate", "objective.weights", "objective.label_term", "objective.kl", "objective.kl_weight"),
    *("objective.gradient", "evaluate.samples", "evaluate.metrics", "evaluate.metrics.y", "data.file", "data.source"),
    *("data.split", "data.split.validation", "data.split.test", "data.split.stratify", "data.split.seed"),
    *("data.labels", "data.labels.y", "data.labels.y.count", "data.labels.y.fraction", "data.columns.x"),
    *(
        "data.columns.x.column",
        "data.columns.x.transforms",
        "data.missing_values",
        "nodes.x.shape",
        "nodes.y.categories",
    ),
    *("nodes.x.distribution", "nodes.z.distribution", "nodes.z.shape", "nodes.z.recognition.network"),
    *("nodes.z.recognition.estimator", "nodes.z.generative", "nodes.y.values", "nodes.x.generative.parents", "nodes.w"),
    *("inputs", "features", "repeat", "use", "a.b.c", "nodes..x", ".", ""),
)
VALUES = (
    *("", "null", "~", "true", "no", "0", "-1", "1", "2", "1e-300", "1e300", "-1e300", ".nan", ".inf", "1e400", "2.5"),
    *(
        "99999999999999999999",
        "1" + 400 * "0",
        "[]",
        "{}",
        "[1, 2]",
        "[[1]]",
        "{a: 1}",
        "{a: 1, a: 2}",
        "[1",
        "{",
        "*a",
    ),
    *("!!python/object:os.system x", "&a [*a]", "x", "y", "nobody", "'quoted'", '"\\x1b[31m"', "²", "é"),
    "\x1b[31mred",
    *("cuda:99", "cpu:²", "meta", "Adam", "SGD", "Poisson", "VonMises", "Gamma", "elbo", "iwae", "density", "balanced"),
    *("{from: 1, to: 0, epochs: 2}", "{from: .nan, to: 1, epochs: 1}", "{mlp: [4]}", "{mlp: []}", "{conv: {}}", "auto"),
    *("{start: 1, learn: true}", "/dev/zero", "../../etc/passwd", "-", "--help", "\ud800", "a" * 5000),
)


def prepare(made: Path) -> None:
    """Write a spec with its data, and train it."""
    write_rich(made)
    (made / "rich.yaml").write_text(yaml.safe_dump(changed(rich(), train__epochs=2), sort_keys=False))
    status, told = run(["train", str(made / "rich.yaml"), "-o", str(made / "run")])
    assert status == 0, told
    with np.load(made / "rows.npz") as found:
        assert len(found["label"])


def case(seed: int, made: Path, place: Path) -> Tally:
    """Give one command strange words."""
    draw = random.Random(seed)
    for file in made.iterdir():
        if file.is_file():
            (place / file.name).write_bytes(file.read_bytes())
    spec, ours = str(place / "rich.yaml"), place / "run"
    shutil.copytree(made / "run", ours)
    sets = [word for _ in range(draw.choice([1, 1, 2, 3])) for word in ("--set", _setting(draw))]
    more = _flags(draw, "predict")
    commands: dict[str, list[str]] = {
        "check": ["check", spec, *sets, *draw.choice([[], ["--data"]])],
        "inspect": ["inspect", spec, *sets, *draw.choice([[], ["--json"], ["--expand"], ["-o", str(place / "p.dot")]])],
        "dry-run": ["train", spec, *sets, "-o", str(place / "new"), "--dry-run"],
        "train": ["train", spec, *sets, "-o", str(place / "new"), "--set", "train.epochs=1"],
        "sample": ["sample", str(ours), "-o", str(place / "s.npz"), *_flags(draw, "sample")],
        "predict": ["predict", str(ours), str(place / "rows.npz"), "-o", str(place / "p.csv"), *more],
        "evaluate": ["evaluate", str(ours), *_flags(draw, "evaluate")],
        "prove": ["prove", spec, *sets],
    }
    name = draw.choice([each for each in commands if each != "prove" or draw.random() < 0.2])
    return try_commands(seed, " ".join(map(repr, commands[name]))[:400], {name: commands[name]}, place / "boom")


NUMBERS = (
    *("train.optimizer.lr", "train.optimizer.eps", "train.optimizer.weight_decay", "train.clip_norm", "train.seed"),
    *("objective.alpha", "objective.gamma", "objective.kl_weight", "objective.samples", "evaluate.samples"),
    *("train.batch_size", "train.batch_size.unlabelled", "data.split.validation", "data.split.seed"),
    *("data.labels.y.count", "train.stop.patience", "nodes.z.shape", "nodes.z.recognition.network.mlp"),
)
PLAUSIBLE = (
    *("0", "1", "2", "7", "0.5", "1e-8", "1e-300", "1e30", "1e300", "3e38", "100", "[2]", "[5]", "{over_rate: 0.1}"),
    *("{from: 1, to: 0.5, epochs: 2}", "{from: 1e-9, to: 1e9, epochs: 1, curve: exponential}", "123456789012345678"),
)


def _setting(draw: random.Random) -> str:
    if draw.random() < 0.6:
        return f"{draw.choice(NUMBERS)}={draw.choice(PLAUSIBLE)}"
    text = f"{draw.choice(KEYS)}={draw.choice(VALUES)}"
    return text if draw.random() < 0.97 else text.replace("=", "")


def _flags(draw: random.Random, command: str) -> list[str]:
    known: dict[str, list[str]] = {
        "sample": ["--given", "--analogies", "--traverse", "--checkpoint", "--seed", "--rows", "--samples"],
        "predict": ["--given", "--from", "--id", "--checkpoint", "--samples", "--latents", "--seed"],
        "evaluate": ["--checkpoint", "--samples", "--seed", "--split", "--classifier", "--json"],
    }
    found: list[str] = []
    for _ in range(draw.choice([1, 1, 2])):
        flag = draw.choice(known[command])
        found.append(flag)
        if flag not in ("--classifier", "--json", "--latents") or draw.random() < 0.1:
            value = draw.choice(VALUES)
            found.append(f"{draw.choice('xyzsw')}={value}" if flag == "--given" and draw.random() < 0.7 else value)
    return found


def main(seed: int = 0, count: int = 2000) -> int:
    """Run the attack and print its figures."""
    found = attack(seed, count, prepare, case)
    print(found.text("settings"))
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
