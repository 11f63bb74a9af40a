"""How a command starts: what it builds, and how seldom it searches memory for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from sgc import cli
from sgc.cli.collection import STARTING, USUAL

ROOT = Path(__file__).resolve().parent.parent
DIGITS = str(ROOT / "specs" / "digits.yaml")


# ---- garbage


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("sgc.training.trainer.train", ["train", DIGITS]),
        ("sgc.training.dry_run.dry", ["train", DIGITS, "--dry-run"]),
        ("sgc.trained.run_evaluation.evaluate_run", ["evaluate", "run"]),
        ("sgc.trained.predictions.predict_run", ["predict", "run", "rows.npz", "-o", "answers.csv"]),
        ("sgc.samples.sampler.sample_run", ["sample", "run", "-o", "samples.png"]),
        ("sgc.proof.prover.prove", ["prove", DIGITS]),
        ("sgc.data.multi_mnist.write_parts", ["data", "multi-mnist"]),
        ("sgc.report.warning_notes.warnings", ["check", DIGITS]),
    ],
)
def test_only_a_short_command_searches_memory_seldom(
    monkeypatch: pytest.MonkeyPatch, work: str, words: list[str]
) -> None:
    thresholds: list[tuple[int, int, int]] = []

    def stop(*args: object, **options: object) -> None:
        thresholds.append(gc.get_threshold())
        raise KeyboardInterrupt

    monkeypatch.setattr(work, stop)
    monkeypatch.setattr(sys, "argv", ["sgc", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert thresholds == [(STARTING, *USUAL[1:]) if words[0] == "check" else USUAL]
    assert gc.get_threshold() == USUAL


# ---- pieces


def built(*specs: str) -> set[str]:
    """Load specs in a process of their own; name the kinds whose validators it built."""
    code = (
        "import sys\nfrom sgc.piece import Piece\nfrom sgc.spec.loader import load\n"
        "for spec in sys.argv[1:]:\n    load(spec)\n"
        "kinds = [Piece]\nfor kind in kinds:\n    kinds += kind.__subclasses__()\n"
        "print(*(kind.__name__ for kind in kinds if kind.__pydantic_complete__))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *specs], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_spec_builds_the_validators_of_the_kinds_that_it_names() -> None:
    kinds = built(DIGITS)
    assert {"Spec", "Mlp", "Digits"} <= kinds
    assert not {"Conv", "Gru", "Idx", "Npz", "ScoreFunction", "Conv2d"} & kinds
    assert "Conv" in built(DIGITS, str(ROOT / "specs" / "mnist-conv.yaml"))
