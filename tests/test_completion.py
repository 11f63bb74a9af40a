"""Completion: what Tab offers in bash, zsh and fish, without torch; nothing of a stranger's reaches a shell alive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
import yaml
from small_runs import small

from sgc import cli
from sgc.cli import completion
from sgc.distributions.families import FAMILIES
from sgc.errors import SpecError
from sgc.objectives.estimators import ESTIMATORS
from sgc.report.listed_kinds import KINDS
from sgc.spec.loader import load
from sgc.spec.setting_keys import setting_keys
from sgc.starter.shipped_specs import shipped_specs

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with specs and the outside of two runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "multi-mnist", "mnist-m2"):
        shutil.copy(ROOT / "specs" / f"{name}.yaml", tmp_path)
    (tmp_path / "more").mkdir()
    shutil.copy(ROOT / "specs" / "vae.yaml", tmp_path / "more")
    (tmp_path / "empty").mkdir()
    for name in ("first", "second"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        (folder / "spec.yaml").write_text(yaml.safe_dump(load(ROOT / "specs" / "digits.yaml").plain()))
    return tmp_path


def tab(line: str, shell: str = "bash", **environment: str) -> list[str]:
    """Press Tab at the end of a line, as the script of a shell does; give what is offered."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    asked |= {"_SGC_COMPLETE": f"complete_{shell}", "PYTHONPATH": str(ROOT), **environment}
    code = (
        "import sys; sys.argv = ['sgc']; from sgc.cli import main\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy"} & set(done.stderr.split())
    return done.stdout.split("\n")[:-1]


# ---- what is offered


def test_commands_and_options(place: Path) -> None:
    assert tab("sgc ") == list(COMMANDS)
    assert tab("sgc tr") == ["train"]
    assert {"--set", "--resume", "--force"} <= set(tab("sgc train digits.yaml --"))


def test_specs_and_folders_that_hold_some(place: Path) -> None:
    assert tab("sgc check ") == ["digits.yaml", "mnist-m2.yaml", "multi-mnist.yaml", "more/"]
    assert tab("sgc check mo") == ["more/vae.yaml"]
    assert tab("sgc train m") == ["mnist-m2.yaml", "multi-mnist.yaml", "more/"]
    assert tab("sgc train em") == ["empty/"]
    assert tab("sgc train nothing") == [""]


def test_runs(place: Path) -> None:
    assert tab("sgc evaluate ") == ["runs/first", "runs/second"]
    assert tab("sgc sample runs/f") == ["runs/first"]
    assert tab(f"sgc predict {place}/runs/s") == [f"{place}/runs/second"]


def test_nodes_of_a_run(place: Path) -> None:
    assert tab("sgc sample runs/first --traverse ") == ["x", "y", "z"]
    assert tab("sgc sample runs/first --given y=1", "fish") == ["y=1"]
    assert tab("sgc sample runs/first --traverse z", "fish") == ["z\tNormal, supervision none"]
    assert tab("sgc predict runs/first new.npz --given ") == ["y"]
    assert tab("sgc inspect digits.yaml --expand --pattern ") == ["none", "y"]
    assert tab("sgc evaluate runs/first --checkpoint ") == ["best", "last"]
    assert tab("sgc evaluate runs/first --split v") == ["validation"]


def test_names(place: Path) -> None:
    assert tab("sgc init ") == list(shipped_specs())
    assert tab("sgc init mnist-") == ["mnist-conv", "mnist-m2", "mnist-reinforce", "mnist-z-then-y"]
    assert tab("sgc list ") == list(KINDS)
    (script,) = tab("sgc list f", "zsh")
    assert script.startswith('_arguments \'*: :(("families":"distribution')


# ---- settings


def test_keys_of_a_spec_and_their_values(place: Path) -> None:
    keys = tab("sgc train digits.yaml --set ")
    assert {"train.epochs=", "nodes.z.shape=", "data.labels.y.count=", "objective.bound="} <= set(keys)
    assert tab("sgc train digits.yaml --set train.ep") == ["train.epochs=", "train.epochs=150", "train.epochs=50"]
    assert tab("sgc train digits.yaml --set train.comp") == [
        f"train.compile={v}" for v in ("", "false", "true", "reduce-overhead")
    ]
    offered = tab("sgc train digits.yaml --set nodes.y.recognition.e")
    assert offered == [f"nodes.y.recognition.estimator={name}" for name in ("", *ESTIMATORS)]
    assert '"nodes.z.distribution=Laplace"' in tab("sgc check digits.yaml --set nodes.z.d", "zsh")
    assert "repeat.digit.nodes.at.recognition.estimator=" in tab(
        "sgc check multi-mnist.yaml --set repeat.digit.nodes.at."
    )
    assert tab("sgc train nothing.yaml --set train.seed") == ["train.seed=", "train.seed=0", "train.seed=1"]


def test_values_in_a_bash_that_takes_a_setting_for_three_words(place: Path) -> None:
    assert tab("sgc train digits.yaml --set train.optimizer.name =")[:3] == ["Adam", "AdamW", "NAdam"]
    assert tab("sgc train digits.yaml --set train.optimizer.name = R") == ["RAdam", "RMSprop"]
    assert tab("sgc sample runs/first --given y =") == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("name", shipped_specs())
def test_every_key_that_is_offered_is_one_of_the_language(name: str) -> None:
    """A value that is offered may not fit the rest of the spec, but no key is unknown."""
    shipped = shipped_specs()[name]
    known = setting_keys(shipped.plain)
    assert len(known) > 40
    faults: list[str] = []
    for key, setting in known.items():
        if setting.values and key.startswith(("train.", "evaluate.", "objective.")):
            try:
                load(shipped.file, [f"{key}={setting.values[0]}"])
            except SpecError as problem:
                faults += [str(fault) for fault in problem.faults if "unknown key" in fault.message]
    assert faults == []


def test_every_written_key_is_offered() -> None:
    spec = small(train__epochs=3)
    known = setting_keys(spec)
    assert known["train.epochs"].values[0] == "3"
    assert set(known["nodes.z.distribution"].values) >= set(FAMILIES)
    assert "train.optimizer.lr.from" not in known
    spec["train"]["optimizer"] = {"lr": {"from": 0.1, "to": 0.01, "epochs": 3}}
    assert "train.optimizer.lr.from" in setting_keys(spec)
    assert all(" " not in value for setting in known.values() for value in setting.values)


# ---- shells


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_of_a_real_bash(place: Path) -> None:
    (place / "bin").mkdir()
    program = place / "bin" / "sgc"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'sgc'\nfrom sgc.cli import main\nmain()\n")
    program.chmod(0o755)
    code = """
    eval "$(sgc --show-completion bash 2>/dev/null || sgc --show-completion)"
    COMP_WORDS=(sgc train digits.yaml --set train.ep); COMP_CWORD=4
    _sgc_completion sgc; printf '%s|' "${COMPREPLY[@]}"
    COMP_WORDS=(sgc train digits.yaml --set train.optimizer.name = R); COMP_CWORD=6
    _sgc_completion sgc; printf '%s|' "${COMPREPLY[@]}"
    """
    where = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(place)}
    done = subprocess.run(["bash", "-c", code], env={**os.environ, **where}, capture_output=True, text=True, check=True)
    assert done.stdout == "train.epochs=|train.epochs=150|train.epochs=50|RAdam|RMSprop|"


def test_it_installs_itself(place: Path) -> None:
    for shell, file in (("bash", ".bash_completions/sgc.sh"), ("fish", ".config/fish/completions/sgc.fish")):
        code = "import sys; sys.argv = ['sgc', *sys.argv[1:]]; from sgc.cli import main; main()"
        where = {"HOME": str(place), "PYTHONPATH": str(ROOT), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        words = [sys.executable, "-c", code, "--install-completion", shell]
        subprocess.run(words, env={**os.environ, **where}, capture_output=True, text=True, check=True)
        assert "_SGC_COMPLETE" in (place / file).read_text()


# ---- what a stranger writes


def test_nothing_of_a_stranger_reaches_a_shell_alive(place: Path) -> None:
    bad = {"a b": {"distribution": "Normal", "supervision": "none"}, "$(touch x)": {}, "`x`": {}}
    bad |= {"n": {"distribution": '\\$(touch x)`y`"', "supervision": "partial'"}, "z*": {}}
    (place / "bad.yaml").write_text(yaml.safe_dump({"nodes": bad}))
    (place / "$(touch x).yaml").write_text("")
    context = cast(typer.Context, SimpleNamespace(params={"spec": str(place / "bad.yaml")}))
    offered: Any = completion.nodes(context, "")
    assert offered == [("n", "(touch x)y, supervision partial")]
    assert tab("sgc check '$") in ([""], ["_files"])
    assert not any("$" in word for word in completion.spec_files(context, ""))
    assert tab("sgc check bad.yaml --set nodes.z") == [""]


def test_a_fault_offers_nothing(place: Path) -> None:
    (place / "bad.yaml").write_text("a: [")
    context = cast(typer.Context, SimpleNamespace(params={"spec": str(place / "bad.yaml")}))
    assert completion.nodes(context, "") == []
    assert completion.settings(context, "") == []
