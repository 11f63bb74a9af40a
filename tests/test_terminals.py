"""Standard streams: every encoding shows what is printed, nothing printed commands a terminal, none ends a command."""

from __future__ import annotations

import ast
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_runs import NPZ, small, small_arrays

import sgc
from sgc import cli
from sgc.report.ascii_forms import ascii_form
from sgc.report.standard_streams import visible, visible_json
from sgc.report.text_report import inspect_text
from sgc.spec.loader import load
from sgc.spec.resolver import outline

CONTROLS = "\x1b[31m\x1b]0;title\x07\x08\x7f\x9b2J\u202e\u200b"
PACKAGE = Path(sgc.__file__).parent


def run(monkeypatch: pytest.MonkeyPatch, *words: object, encoding: str = "utf-8") -> tuple[int, bytes, bytes]:
    """Run a command through its entry point; give its status and the bytes that its streams were given."""
    out, told = io.BytesIO(), io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        patch.setattr(sys, "stderr", io.TextIOWrapper(told, encoding=encoding, errors="backslashreplace"))
        patch.setattr(sys, "argv", ["sgc", *map(str, words)])
        patch.setenv("MPLBACKEND", "agg")
        with pytest.raises(SystemExit) as end:
            cli.main()
        sys.stderr.flush()
        return int(end.value.code or 0), out.getvalue(), told.getvalue()


def child(place: Path, *words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a process, its streams as the shell says."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-m", "sgc", *words]
    where = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.run(
        command, cwd=place, env={**os.environ, **where, **environment}, capture_output=True, check=False
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small spec, its data, and a finished run."""
    folder = tmp_path_factory.mktemp("place")
    np.savez(folder / "none.npz", **small_arrays())
    spec = small(description="Grüße: α ≥ ½", data=NPZ, data__labels__y__count=10, train__epochs=1)
    (folder / "small.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    from sgc.training.trainer import train

    train(load(str(folder / "small.yaml")), output=folder / "run", beside=folder)
    return folder


# ---- encodings


def own_text() -> dict[str, str]:
    """Give each letter beyond ASCII in what the package may print, with where it stands; docstrings are not printed."""
    found: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if file.name == "ascii_forms.py" or (text.isascii() and not re.search(r"\\[uNx]", text)):
            continue
        tree = ast.parse(text)
        silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                found |= {c: f"{file.name}:{node.lineno}" for c in node.value if not c.isascii() and c.isprintable()}
    return found


def test_whatever_letter_the_package_writes_has_an_ascii_form() -> None:
    letters = own_text()
    assert {"Σ", "α", "±"} <= set(letters)
    for letter, where in letters.items():
        form = ascii_form(letter)
        assert form.isascii(), (letter, where)
        assert "\\" not in form, (letter, where)


COMMANDS = [
    ["inspect", "small.yaml"],
    ["inspect", "small.yaml", "--expand"],
    ["inspect", "small.yaml", "--json"],
    ["inspect", "small.yaml", "--expand", "--json"],
    ["evaluate", "run"],
    ["schema"],
]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_encoding_shows_what_is_printed(
    words: list[str], encoding: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    status, whole, _ = run(monkeypatch, *words)
    found, spelled, told = run(monkeypatch, *words, encoding=encoding)
    assert (status, found, told) == (0, 0, b"")
    if "--json" in words or words == ["schema"]:
        assert json.loads(spelled.decode(encoding)) == json.loads(whole)
        return
    runs = itertools.groupby(whole.decode(), key=lambda letter: letter.encode(encoding, "ignore") != b"")
    wanted = "".join("".join(run_) if shown else ascii_form("".join(run_)) for shown, run_ in runs)
    assert spelled.decode(encoding) == wanted


def test_symbols_are_spelled_as_one_would_type_them() -> None:
    assert ascii_form("loss −Σ g·bound, α = ½, 0.1 ± 0.2, x₁₂ ≥ 10⁻⁶") == (
        "loss -sum g*bound, alpha = 1/2, 0.1 +- 0.2, x_12 >= 10^-6"
    )
    assert ascii_form("├── node ─┼│") == "+-- node -+|"
    assert ascii_form("Grüße") == "Gr\\xfc\\xdfe"


# ---- what would command a terminal


def harmless(shown: bytes) -> bool:
    """Tell whether a terminal only writes this: every letter prints, or ends a line."""
    return all(letter == "\n" or letter.isprintable() for letter in shown.decode())


def attacked(folder: Path) -> Path:
    """Write a spec and its table that have control characters wherever text of a user's may stand."""
    values = [f"a{CONTROLS}", "b"]
    arrays = small_arrays()
    header = f"x{CONTROLS}"
    lines = [f'"{header}","kind"'] + [
        f'{row[0]},"{values[k % 2] if k >= 0 else ""}"' for row, k in zip(arrays["x"], arrays["y"], strict=True)
    ]
    (folder / f"t{CONTROLS}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = small(
        description=f"from {CONTROLS} afar",
        nodes__x__shape=None,
        nodes__y__categories=None,
        nodes__y__values=values,
        data={
            "source": "table",
            "file": f"t{CONTROLS}.csv",
            "columns": {"x": {"column": header}, "y": {"column": "kind"}},
            "split": {"validation": 12, "test": 12, "seed": 0},
        },
        train__epochs=1,
    )
    path = folder / f"s{CONTROLS}.yaml"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path


def test_nothing_of_a_spec_or_its_data_commands_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, values = attacked(tmp_path), f"a{CONTROLS}"
    out = tmp_path / f"r{CONTROLS}"
    table = next(tmp_path.glob("t*.csv"))
    broken = tmp_path / "broken.yaml"
    broken.write_text(spec.read_text().replace('"supervision": "none"', '"supervision": "\\u001b[1m"'))
    wrong = tmp_path / f"w{CONTROLS}.csv"
    wrong.write_text(table.read_text(encoding="utf-8").replace("\n", f"\n{CONTROLS}", 1), encoding="utf-8")
    commands: list[tuple[int, list[Any]]] = [
        (0, ["check", spec, "--data"]),
        (0, ["inspect", spec]),
        (0, ["inspect", spec, "--json"]),
        (0, ["train", spec, "-o", out]),
        (0, ["evaluate", out]),
        (0, ["evaluate", out, "--json"]),
        (0, ["predict", out, table, "-o", tmp_path / f"p{CONTROLS}.csv"]),
        (2, ["predict", out, wrong, "-o", tmp_path / "w.csv"]),
        (2, ["check", broken]),
        (2, ["check", spec, "--set", f"data.columns.x.column=c{CONTROLS}", "--data"]),
        (2, ["check", spec, f"--{CONTROLS}"]),
        (2, ["inspect", tmp_path / CONTROLS]),
        (2, [CONTROLS]),
        (0, ["init", tmp_path / "new", "--data", table]),
    ]
    for wanted, words in commands:
        status, shown, told = run(monkeypatch, *words)
        assert status == wanted, (words, told)
        assert harmless(shown), words
        assert harmless(told), words
    described = load(str(spec))
    plain = inspect_text(outline(described))
    assert f"from {visible(CONTROLS)} afar" in plain
    assert visible(values) in plain
    coloured = inspect_text(outline(described), color=True)
    assert "\x1b[1m" in coloured  # our own
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_escaped_json_is_the_same_json() -> None:
    found = {"a": f"Σ{CONTROLS}😀\udcff", CONTROLS: "é"}
    for encoding in ("ascii", "latin-1", "utf-8", None):
        text = visible_json(json.dumps(found, ensure_ascii=False), encoding)
        assert json.loads(text) == found
        assert text.encode(encoding or "utf-8").decode(encoding or "utf-8").isprintable()


# ---- streams that are closed or full, and files of other settings


@pytest.mark.parametrize(
    ("shell", "status", "told"),
    [
        (">&-", 0, b""),
        ("2>&-", 0, b""),
        (">&- 2>&- <&-", 0, b""),
        (">/dev/full", 1, b"error: standard output: No space left on device\n"),
    ],
)
def test_a_closed_stream_ends_no_command_and_a_full_one_is_told(
    shell: str, status: int, told: bytes, place: Path
) -> None:
    if "/dev/full" in shell and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    done = child(place, "inspect", "small.yaml", shell=shell)
    assert (done.returncode, done.stderr) == (status, told)
    assert (b"nodes" in done.stdout) == (shell == "2>&-")


def test_messages_that_nobody_reads_change_no_status() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sgc", "check", "nowhere.yaml"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        stdout=subprocess.PIPE,
        stderr=writer,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (2, b"")


def test_pictures_are_the_same_whatever_the_users_settings_of_matplotlib(tmp_path: Path, place: Path) -> None:
    pytest.importorskip("matplotlib")
    spec = str(place / "small.yaml")
    assert child(place, "inspect", spec, "-o", str(tmp_path / "plain.svg")).returncode == 0
    (tmp_path / "matplotlibrc").write_text("text.usetex: true\nbackend: nonsense\nfigure.facecolor: red\n")
    done = child(tmp_path, "inspect", spec, "-o", "odd.svg", MPLBACKEND="nonsense")
    assert (done.returncode, done.stdout) == (0, b"odd.svg\n")
    assert (tmp_path / "odd.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


# ---- names that are no text


@pytest.fixture
def bytes_folder(tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8."""
    folder = tmp_path / "od\udcffd"
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("names of files are text here")
    return folder


def test_a_folder_whose_name_is_not_text_works(
    bytes_folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, out, rows = bytes_folder / "s\udcfe.yaml", bytes_folder / "r\udcfe", bytes_folder / "none.npz"
    spec.write_text((place / "small.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    rows.write_bytes((place / "none.npz").read_bytes())
    for words in (
        ["check", spec, "--data"],
        ["train", spec, "-o", out],
        ["evaluate", out, "--json"],
        ["predict", out, rows, "-o", bytes_folder / "p\udcfe.csv"],
        ["sample", out, "-o", bytes_folder / "p\udcfe.npz"],
        ["inspect", spec, "-o", bytes_folder / "p\udcfe.html"],
    ):
        status, shown, told = run(monkeypatch, *words)
        assert (status, b"error: " in told) == (0, False), (words, told)
        assert harmless(shown)
        if words[0] in ("check", "predict"):
            assert b"/od\\xffd/" in shown  # the byte itself, visibly


def test_names_that_a_spec_or_a_column_cannot_hold_are_refused(
    bytes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = bytes_folder.parent / "pictures"
    for folder in ("a", "b"):
        (pictures / folder).mkdir(parents=True)
    Image = pytest.importorskip("PIL.Image")
    for name in ("a/0.png", "b/1.png", "b/\udcff.png"):
        with open(pictures / name, "wb") as file:
            Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(file, "png")
    table = bytes_folder / "rows.csv"
    table.write_text("a,b\n1,2\n2,3\n")
    told = run(monkeypatch, "init", bytes_folder.parent / "new", "--data", table)
    assert told[0] == 2
    assert told[2].endswith(b"od\\xffd/rows.csv: its name is not text in UTF-8: rename it\n")
    told = run(monkeypatch, "init", bytes_folder.parent / "new", "--data", pictures)
    assert (told[0], told[2]) == (2, b"error: b/\\xff.png: its name is not text in UTF-8: rename it\n")


def test_a_message_stays_on_its_line_whatever_names_and_cells_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(train__epochs=1)
    columns = {"x": {"column": ["a", "b", "c\nd"]}, "y": {"column": "y"}}
    head = 'a,b,"c\nd",y'
    hint = "is it a mark for an empty cell (missing_values)?"
    number = f"row 1: node 'x', column 'c\\nd': found '2\\n3', wanted a number; {hint} (line 4 of the file)"
    width = "row 1: found 5 cells, wanted 4, as in the header (line 4 of the file)"
    for name, header, cell, told in (
        ("r.csv", "a,b,c,y", "1", "r.csv: no column named 'c\\nd'; allowed: a, b, c, y"),
        ("r\ns.csv", head, "1", ""),
        ("r\ns.csv", head, '"2\n3"', f"r\\ns.csv: {number}"),
        ("r\x1bs.csv", head, "1,2", f"r\\x1bs.csv: {width}"),
    ):
        (tmp_path / name).write_text(f"{header}\n1,2,3,0\n1,2,{cell},1\n")
        spec["data"] = {"source": "table", "file": name, "columns": columns}
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(spec))
        status, _, said = run(monkeypatch, "check", tmp_path / "m.yaml", "--data")
        lines = [line for line in said.decode().splitlines() if not line.startswith("note: ")]
        assert (status, lines) == ((2, [f"error: {tmp_path}/{told}"]) if told else (0, []))


def test_a_stream_object_that_is_closed_takes_everything(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for name in ("stdout", "stderr"):
        stream = io.StringIO()
        stream.close()
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, stream)
            patch.setattr(sys, "argv", ["sgc", "check", "small.yaml"])
            patch.setenv("MPLBACKEND", "agg")
            with pytest.raises(SystemExit) as end:
                cli.main()
        assert not end.value.code


@pytest.mark.parametrize("backend", ["svg", "nonsense"])
def test_the_backend_of_whoever_draws_stays_theirs(backend: str, place: Path) -> None:
    code = (
        "from pathlib import Path; from sgc.spec.loader import load; from sgc.spec.resolver import outline\n"
        "from sgc.report.pictures.graph_pictures import draw; draw(outline(load('small.yaml')), Path('mine.svg'))\n"
        "import matplotlib; print(matplotlib.rcParams._get('backend'))"
    )
    where = {"PYTHONPATH": str(PACKAGE.parent), "MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env={**os.environ, **where}, capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip() == "svg") == (backend == "svg")
