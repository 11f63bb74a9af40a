"""In a notebook: specs, plans, models and runs show themselves, training is one line, metrics are a data frame."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import NPZ, small, small_arrays

import sgc
from sgc.notebook import in_notebook
from sgc.report.pages import notebook_views
from sgc.spec.loader import load
from sgc.starter.shipped_specs import shipped_specs
from sgc.training.run import Run
from sgc.training.watchers import NotebookLine, Silent, watching

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:.*its weights are drawn at random")
LATEX = r"q(\mathrm{kind} \mid x)"


class Tags(HTMLParser):
    """Reads a page: the tags that it opens, their attributes, and its text; every tag is closed where it must be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words, self.stack = "", []
        self.feed(page)
        assert self.stack == []

    stack: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp("run")
    spec = load(small(data=None, train__epochs=3))
    return sgc.train(spec, small_arrays(), output=folder / "run")


# ---- views


@pytest.mark.parametrize("name", shipped_specs())
def test_every_shipped_spec_shows_itself(name: str) -> None:
    spec = load(shipped_specs()[name].file)
    page = Tags(spec._repr_html_())
    assert page.tags.count("svg") >= 2
    assert spec.name in page.words
    assert not {"script", "iframe", "link", "img", "object"} & set(page.tags)
    assert not any(key.startswith("on") for key, _ in page.attributes)
    assert not any((value or "").startswith(("http", "//")) for key, value in page.attributes if key in ("src", "href"))
    assert all(node.split("@")[0] in page.words for node in list(spec.nodes)[:3])
    assert (
        repr(spec)
        == str(spec)
        == f"Spec({spec.name!r}: {', '.join(f'{n} ({v.supervision})' for n, v in spec.nodes.items())})"
    )


@pytest.mark.parametrize("name", ["digits", "faces", "two-label", "multi-mnist"])
def test_plans_and_models_show_themselves(name: str) -> None:
    model = sgc.compile(load(shipped_specs()[name].file))
    plan = model.plan(set())
    page = Tags(plan._repr_html_())
    assert {"math", "details"} <= set(page.tags)
    assert plan.text() in page.words
    assert plan._repr_latex_() == f"$$\n{plan.latex()}\n$$"
    page = Tags(model._repr_html_())
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters, float32 on cpu, in training mode" in page.words
    assert repr(model).startswith(f"Model('{name}': ")
    assert len(repr(model).split("\n")) == 1 + len(model.outline.parameter_table())


def test_a_plan_is_a_formula_for_mathjax_without_latex2mathml(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = sgc.compile(load(shipped_specs()["digits"].file)).plan({"y"})
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    page = Tags(plan._repr_html_())
    assert "math" not in page.tags
    assert plan.latex().split("\n")[3] in page.words
    assert page.words.count("$$") == 2
    long = notebook_views.plan_html(sgc.compile(load(shipped_specs()["hmm"].file)).plan(set()))
    assert "$$" not in long
    assert "<pre>" in long


def test_without_matplotlib_a_spec_has_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **words: object) -> str:
        raise ImportError

    monkeypatch.setattr(notebook_views, "graph_panels", missing)
    page = Tags(load(shipped_specs()["digits"].file)._repr_html_())
    assert "svg" not in page.tags
    assert "pip install 'sgc[plots]'" in page.words


def test_what_a_stranger_writes_is_text() -> None:
    evil = "</style><script>alert(1)</script><img src=x onerror=alert(1)> & \"'"
    spec = load(small(data=None, description=evil))
    for page in (spec._repr_html_(), sgc.compile(spec)._repr_html_()):
        assert not {"script", "img"} & set(Tags(page).tags)
    assert evil in Tags(spec._repr_html_()).words
    run = Run(Path(evil), sgc.compile(spec), 1, [{"epoch": 1, "bound": {evil: 1.0}, "best": True, "warnings": [evil]}])
    assert not {"script", "img"} & set(Tags(run._repr_html_()).tags)
    assert Tags(run._repr_html_()).words.count("alert(1)</script>") >= 3


# ---- runs


def test_a_run_shows_what_it_reached(run: Run) -> None:
    page = Tags(run._repr_html_())
    assert str(run.folder) in page.words
    assert f"3 epochs, best epoch {run.best['epoch']}" in page.words  # type: ignore[index]
    assert "bound, unlabelled" in page.words
    assert repr(run).startswith(f"Run('{run.folder}': 3 epochs, best epoch ")
    empty = Run(Path("nothing"), run.model)
    assert (repr(empty), empty.best) == ("Run('nothing': 0 epochs)", None)
    assert "0 epochs" in Tags(empty._repr_html_()).words


def test_metrics_are_a_data_frame_by_epoch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = run.metrics
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [line["epoch"] for line in run.lines]
    assert frame.index.name == "epoch"
    assert "version" not in frame
    assert list(frame["bound.unlabelled"]) == [line["bound"]["unlabelled"] for line in run.lines]
    assert frame["loss"].dtype.kind == frame["bound.unlabelled"].dtype.kind == "f"
    assert frame["best"].dtype.kind == "b"
    assert len(Run(Path("nothing"), run.model).metrics) == 0
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert run.metrics is run.lines


# ---- progress


def test_outside_a_notebook_nothing_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert not in_notebook()
    with watching(None, "m") as watcher:
        assert type(watcher) is Silent
    sgc.train(load(small(data=None, train__epochs=1)), small_arrays(), output=tmp_path / "run")
    assert capsys.readouterr() == ("", "")


def test_a_line_changes_twice_a_second_and_ends_with_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = [0.0], []
    line = NotebookLine("m\n", clock=lambda: now[0])
    monkeypatch.setattr(line, "_show", shown.append)
    line.begin(2, 10, 0)
    for step in range(1, 11):
        now[0] += 0.2
        line.step(1, step, 10, -3.0)
    line.handle = object()
    line.epoch({"epoch": 1, "bound": {"unlabelled": -2.0}, "validation_bound": -1.5})
    assert len(shown) == 3  # at 0.6, 1.2 and 1.8 s
    assert shown[0] == "epoch 1/2  bound -3.00  3 s left"
    line.epoch({"epoch": 2, "bound": {"unlabelled": -2.0}, "validation_bound": -1.5, "validation_error": {"y": 0.25}})
    assert len(shown) == 3
    line.end()
    assert shown[-1] == "epoch 2/2  bound unlabelled -2.00  validation -1.50  error of y 0.25  after 2 s"


def cell_outputs(cell: Any) -> list[Any]:  # Any: nodes of a notebook
    return list(cell["outputs"])


def test_a_real_notebook(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    np = pytest.importorskip("numpy")
    np.savez(tmp_path / "none.npz", **small_arrays())
    spec = small(data=NPZ, data__labels__y__count=10, train__epochs=4)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(spec))
    code = [
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import sgc",
        "spec = sgc.load('small.yaml'); spec",
        "run = sgc.train(spec)",
        "run",
        "run.model",
        "run.model.plan({'y'})",
        "run.metrics",
        "print(spec)",
        "_ = sgc.train(sgc.load('small.yaml', ['train.epochs=50', 'train.stop.patience=2']), output='early')",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    _, shown, trained, *others, text, early = [cell_outputs(cell) for cell in book.cells]
    assert "<svg" in shown[0]["data"]["text/html"]
    (line,) = [output for output in trained if output["output_type"] == "display_data"]
    assert set(line["data"]) == {"text/plain"}
    assert re.match(r"\w+: epoch 4/4  bound .*  after \d+ s$", line["data"]["text/plain"]), line
    assert not [output for output in trained if output["output_type"] == "stream" and output["name"] == "stdout"]
    for outputs in others:
        assert "text/html" in outputs[0]["data"]
    assert "$$" in others[2][0]["data"]["text/latex"]
    assert text[0]["text"].startswith("Spec(")
    (line,) = [output for output in early if output["output_type"] == "display_data"]
    found = re.match(r"\w+: epoch (\d+)/50  bound .*  after \d+ s$", line["data"]["text/plain"])
    assert found is not None, line
    assert int(found[1]) == len((tmp_path / "early" / "metrics.jsonl").read_text().splitlines())


def test_python_imports_as_little_as_before() -> None:
    code = "import sys, sgc; sgc.load(sys.argv[1]); print(*sys.modules)"
    words = [sys.executable, "-c", code, str(ROOT / "specs" / "digits.yaml")]
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=where, capture_output=True, text=True, check=True)
    assert not {"IPython", "torch", "pandas", "matplotlib", "sgc.report"} & set(done.stdout.split())
