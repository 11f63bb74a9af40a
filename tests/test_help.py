"""`--help`: each command ends with examples, and these work, in an empty folder and in their order."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import typer

from sgc import cli
from sgc.cli.examples import ALL, EXAMPLES, epilog

COMMANDS: Mapping[str, object] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
SHORTER = {  # what the tests add to an example, so that it is over soon
    "train": ["--set", "train.epochs=1", "--force"],
    "evaluate": ["--samples", "2"],
    "data": ["--train", "20", "--test", "10"],
    "sweep": ["--dry-run"],
    "explore": ["--port", "0", "--no-open"],
}


def stopped(*_: object, **__: object) -> None:
    """Stand for a server that is stopped at once."""
    raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["sgc", *words])
        patch.setenv("MPLBACKEND", "agg")
        patch.setattr("sgc.explorer.page_server.PageServer.serve_forever", stopped)
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0)


def examples(text: str) -> list[str]:
    """Find the examples at the end of a help, a line each."""
    (end,) = re.findall(r"^  Examples?:\n((?:    .*\n)+)\Z", text, flags=re.MULTILINE)
    return [line.strip() for line in end.splitlines()]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_each_help_ends_with_its_examples(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *command.split(), "--help") == 0
    lines = examples(capsys.readouterr().out)
    assert lines == list(EXAMPLES[command] if command else ALL)
    assert all(line.startswith("sgc ") for line in lines)
    assert lines[-1].startswith(f"sgc {command}".rstrip())  # before it stands what it takes


def test_the_list_of_commands_cuts_no_sentence_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "..." not in text.partition("Commands:")[2]
    assert "  check     Validate a spec.\n" in text


def test_a_command_without_examples_has_no_end() -> None:
    assert epilog("nothing") == ""
    assert set(EXAMPLES) <= set(COMMANDS)


def test_every_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers.csv").write_text(
        "length,width,kind\n" + "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(40))
    )
    np.savez(tmp_path / "new.npz", image=np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "labels.yaml").write_text("version: 1\nname: labels\ngrid: {data.labels.y.count: [50, 100]}\n")
    done: set[str] = set()
    for line in (*EXAMPLES["init"], *ALL, *(line for lines in EXAMPLES.values() for line in lines)):
        if line in done:
            continue
        done.add(line)
        _, *words = shlex.split(line)
        words, goal = (words[:-2], words[-1]) if ">" in words else (words, "")
        shorter = [] if "--dry-run" in words else SHORTER.get(words[0], [])
        status = run(monkeypatch, *words, *shorter)
        out, told = capsys.readouterr()
        assert status == 0, (line, told)
        if goal:
            (tmp_path / goal).write_text(out)
        for name in [word for word in (*words, goal) if re.fullmatch(r"\w+(\.\w+)?\.(svg|png|csv|json|yaml)", word)]:
            assert (tmp_path / name).stat().st_size > 0, line
