"""The floors: imports point down only, nothing below the line imports torch, and the guard can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parent.parent / "sgc"

# from the bottom up; a module may import from its own floor's earlier entries and from below
FLOORS = [
    ["errors", "arguments", "version", "notebook"],
    ["piece", "value_words", "randomness", "shared_draws", "shared_rows"],
    ["own_code", "schedules"],
    ["distributions"],
    ["networks", "objectives", "metrics", "trackers"],
    ["derivation"],
    ["data"],
    ["spec"],
    ["report", "starter"],
    # ---- torch above this line
    ["tape"],
    ["runtime"],
    ["runs", "proof"],
    ["evaluation"],
    ["samples"],
    ["training"],
    ["trained"],
    ["export"],
    ["sweeps"],
    ["explorer"],
    ["run_report"],
    ["sklearn"],
    ["cli", "__main__", "__init__"],
]
TORCH_FROM = FLOORS.index(["tape"])
TORCH_FREE = [
    "runtime/data_variables.py",
    "runtime/__init__.py",
    "training/__init__.py",
    "proof/__init__.py",
    "cli/__init__.py",
    "cli/common.py",
    "cli/exit_status.py",
    "cli/explore_command.py",
    "cli/export_command.py",
    "cli/collection.py",
    "cli/report_commands.py",
    "cli/run_commands.py",
    "cli/shell.py",
    "cli/spec_commands.py",
    "cli/start_commands.py",
    "cli/train_command.py",
    "runs/__init__.py",
    "evaluation/__init__.py",
    "trained/__init__.py",
    "samples/__init__.py",
    "explorer/__init__.py",
    "export/__init__.py",
    "explorer/control_values.py",
    "explorer/page_requests.py",
    "explorer/page_server.py",
    "run_report/__init__.py",
    "__main__.py",
    "__init__.py",
]


def floor_of(name: str) -> int | None:
    for i, floor in enumerate(FLOORS):
        if name in floor:
            return i
    return None


def imports(tree: ast.AST, *, everywhere: bool) -> list[str]:
    """List imported modules: all of them, or those at module level alone, typing-only blocks left out."""
    found: list[str] = []
    body = ast.walk(tree) if everywhere else iter(getattr(tree, "body", []))
    for node in body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def upward(source: str, module: str) -> list[str]:
    """Name the imports of a module that point up, those in functions and for types alone counted too."""
    here = floor_of(module)
    assert here is not None, f"{module}: say on which floor it stands"
    wrong = []
    for name in imports(ast.parse(source), everywhere=True):
        parts = name.split(".")
        if parts[0] == "sgc" and len(parts) > 1:
            there = floor_of(parts[1])
            if there is None or there > here:
                wrong.append(name)
    return wrong


FILES = sorted(path for path in ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    assert upward(path.read_text(), module_name(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_below_the_line_imports_torch_at_module_level(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    low = (floor_of(module_name(path)) or 0) < TORCH_FROM
    generator = relative == "distributions/make_table.py"  # a tool, imported by nobody
    if generator or not (low or relative in TORCH_FREE):
        return
    found = [name for name in imports(ast.parse(path.read_text()), everywhere=False) if name.split(".")[0] == "torch"]
    assert found == []


def import_graph(sources: dict[str, str]) -> nx.DiGraph[str]:
    """Draw an arrow from each module to what it imports: in functions and for types alone, too."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in sources else str(node.module) for name in whole]
            graph.add_edges_from((module, name) for name in names if name in sources and name != module)
    return graph


def cycles(sources: dict[str, str]) -> list[list[str]]:
    """List the groups of modules that import each other, directly or not (Tarjan 1972)."""
    return [sorted(group) for group in nx.strongly_connected_components(import_graph(sources)) if len(group) > 1]


def test_no_modules_import_each_other() -> None:
    dotted = {path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in FILES}
    sources = {dotted[path].removesuffix(".__init__"): path.read_text() for path in FILES}
    assert cycles(sources) == []


def test_the_guard_of_cycles_can_fail() -> None:
    lower = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sgc.b import B\n"
    upper = "def late():\n    import sgc.a\n"
    assert cycles({"sgc.a": lower, "sgc.b": upper}) == [["sgc.a", "sgc.b"]]
    assert cycles({"sgc.a": "from sgc import b\n", "sgc.b": "import sgc.a\n"}) == [["sgc.a", "sgc.b"]]
    assert cycles({"sgc.a": "", "sgc.b": upper}) == []


def twice(files: Iterable[Path]) -> list[str]:
    """List the names that more than one file has, those of packages left out."""
    counts = Counter(path.name for path in files if not path.name.startswith("__"))
    return [name for name, count in counts.items() if count > 1]


def test_no_file_name_stands_twice() -> None:
    assert twice(FILES) == []
    assert twice([Path("a/plan.py"), Path("b/plan.py"), Path("a/__init__.py"), Path("b/__init__.py")]) == ["plan.py"]


def test_the_guard_can_fail() -> None:
    assert upward("from sgc.training.trainer import train\n", "derivation") == ["sgc.training.trainer"]
    assert upward("def late():\n    from sgc.runtime import model\n", "data") == ["sgc.runtime"]
    assert imports(ast.parse("import torch\n"), everywhere=False) == ["torch"]


@pytest.mark.parametrize("words", [["--help"], ["check", "SPEC"], ["inspect", "SPEC"], ["schema"]])
def test_commands_that_only_read_never_import_torch(words: list[str]) -> None:
    spec = str(ROOT.parent / "specs" / "digits.yaml")
    words = [spec if word == "SPEC" else word for word in words]
    code = (
        "import sys\nfrom sgc.cli import app\n"
        f"sys.argv = ['sgc', *{words!r}]\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
