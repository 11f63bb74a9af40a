"""The pages of `sgc report`: true to their run whatever it is, open offline, and readable by everybody."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import DESK, PHONE, visit
from small_runs import NPZ, changed, rich, small, small_arrays, write_rich
from test_cli import call, refused

import sgc
from sgc.run_report.chart_parts import COLOURS
from sgc.run_report.inferred_rows import infer_rows
from sgc.run_report.report_page import report_page
from sgc.run_report.run_report import RunReport, report_run
from sgc.run_report.shell_commands import command, resuming
from sgc.runs.run_folder import RunFolder
from sgc.trained.run_evaluation import evaluate_run, held_out, run_data

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

HOSTILE = "<img src=x onerror=alert(1)></script><script>document.title='mine'</script>"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of pictures, categories and numbers, with data beside."""
    folder = tmp_path_factory.mktemp("reports")
    write_rich(folder, rows=260)
    spec = rich(data__split={"validation": 40, "test": 120, "seed": 1}, description=HOSTILE, objective__samples=2)
    (folder / "rich.yaml").write_text(yaml.safe_dump(spec))
    assert call("train", folder / "rich.yaml", "-o", folder / "run").status == 0
    return folder


@pytest.fixture(scope="module")
def measured(place: Path) -> RunReport:
    return report_run(place / "run")


# ---- what is measured


def test_what_a_report_says_is_what_evaluate_says(place: Path, measured: RunReport) -> None:
    report = evaluate_run(place / "run")
    assert measured.evaluation is not None
    assert measured.evaluation.plain() == report.evaluation.plain()
    assert measured.split == "test"
    assert report_run(place / "run", split="validation").split == "validation"


def test_curves_are_those_of_the_log(place: Path, measured: RunReport) -> None:
    lines = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    history = measured.history
    assert history.bounds["validation"] == tuple((line["epoch"], line["validation_bound"]) for line in lines)
    assert history.terms["z"]["kl"]["labelled"][-1] == (3, lines[-1]["terms"]["labelled"]["z"]["kl"])
    gradient = lines[0]["gradient"]
    assert history.noise["all parameters"][0] == (1, pytest.approx(gradient["variance"] / gradient["norm"] ** 2))
    assert history.best == max(line["epoch"] for line in lines if line["best"])


def test_numbers_are_in_the_units_of_the_data(place: Path, measured: RunReport) -> None:
    (prediction,) = measured.predictions
    (element,) = prediction.elements
    sizes = np.load(place / "rows.npz")["size"]
    assert element.name == "w"
    assert len(element.truth) == 120
    assert np.isclose(element.truth[:, None], sizes[None]).any(1).all()
    error = measured.evaluation.from_q["w"]  # type: ignore[union-attr]
    assert np.sqrt((element.residuals**2).mean()) == pytest.approx(error.value, rel=1e-4)
    shares = dict(prediction.coverage)
    assert error.coverage is not None
    assert (shares[0.5], shares[0.9]) == pytest.approx((error.coverage["50%"], error.coverage["90%"]))


def test_a_map_has_a_point_and_a_label_for_each_row(measured: RunReport) -> None:
    (latent,) = measured.maps
    assert (latent.node, latent.units, latent.points.shape, latent.explained) == ("z", 2, (120, 2), ())
    kind, size = sorted(latent.labels, key=lambda label: not label.names)
    assert (kind.name, kind.names, size.names) == ("y", ("0", "1", "2"), ())
    assert measured.evaluation is not None
    confusion = measured.evaluation.from_q["y"].confusion
    assert confusion is not None
    assert np.bincount(kind.values.astype(int)).tolist() == confusion.labels.tolist()


def test_latent_categories_are_mapped_by_the_mass_of_the_rows_of_each_label(tmp_path: Path) -> None:
    latent = {"distribution": "Categorical", "values": ["a", "b", "c"], "supervision": "none"}
    latent["recognition"] = {"parents": ["x"], "network": {"mlp": [6]}}
    run = trained(tmp_path, changed(small(data=NPZ), nodes__z=latent), **small_arrays(labels=60))
    report = report_run(run, split="validation")
    (shown,) = report.category_maps
    assert (shown.title, shown.categories, shown.label, report.maps) == ("z", ("a", "b", "c"), "y", ())
    rows = held_out(sgc.open(run), run_data(RunFolder(run), sgc.open(run)), "validation")
    inferred = infer_rows(sgc.open(run), rows, 0)
    labels = rows.take("y", inferred.index).numpy()
    by_hand = [inferred.categories["z"][labels == int(group)].mean(0) for group in shown.groups]
    np.testing.assert_allclose(shown.mass, np.stack(by_hand, 1))
    assert (shown.counts, shown.mass.sum(0).tolist()) == (tuple(np.bincount(labels)), pytest.approx([1.0] * 3))
    page = report_page(report)
    assert "Map of z by y" in page
    assert json.loads(json.dumps(report.plain()))["category_maps"][0]["categories"] == ["a", "b", "c"]


def test_the_same_run_gives_the_same_page(place: Path, measured: RunReport) -> None:
    assert report_page(report_run(place / "run")) == report_page(measured)


# ---- the page


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (DESK, True), (PHONE, True)])
def test_a_page_opens_offline_and_is_accessible(
    chromium: Any, place: Path, measured: RunReport, tmp_path: Path, width: int, dark: bool
) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_page(measured), encoding="utf-8")
    assert path.stat().st_size < 3_000_000
    with visit(chromium, path, width=width, dark=dark) as visited:
        visited.page.wait_for_selector("[data-charts=drawn]", timeout=20_000)
        visited.assert_clean()
        visited.assert_accessible()
        assert visited.page.title() == "rich: report"
        assert visited.page.locator("img").count() == 2
        for chart in visited.page.locator(".chart").all():
            assert chart.locator("svg path").count() > 1
        assert HOSTILE in visited.page.inner_text("header")


def luminance(colour: str) -> float:
    """Give the relative luminance of a colour (WCAG 2.2)."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_colours_stand_out_from_both_papers() -> None:
    for colour in COLOURS:
        for paper in ("#ffffff", "#14171c"):
            high, low = sorted((luminance(colour), luminance(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, paper)


# ---- runs of other kinds


def trained(folder: Path, spec: dict[str, Any], **arrays: np.ndarray) -> Path:
    np.savez(folder / "none.npz", **(arrays or small_arrays(labels=60)))  # type: ignore[arg-type]
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    assert call("train", folder / "spec.yaml", "-o", folder / "run").status == 0
    return folder / "run"


def test_a_classifier_alone_has_errors_and_no_latents(tmp_path: Path) -> None:
    run = trained(tmp_path, small(data=NPZ, objective={"bound": "supervised"}))
    report = report_run(run)
    assert report.maps == ()
    assert "no pictures: a classifier alone generates nothing" in report.left_out
    assert "error of y" in report_page(report)


def test_a_run_on_arrays_says_what_is_left_out(tmp_path: Path) -> None:
    run = sgc.train(small(), small_arrays(), output=tmp_path / "run").folder
    report = report_run(run)
    assert report.evaluation is None
    assert report.left_out[0].startswith("no errors, maps and reconstructions, for the data are not at hand: ")
    assert "log p(x)" in report_page(report)
    with_data = sgc.write_report(run, tmp_path / "report.html", data=small_arrays(labels=60))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report_page(with_data)
    assert with_data.evaluation is not None


def test_a_run_without_held_out_rows_or_labels_has_a_page(tmp_path: Path) -> None:
    run = trained(tmp_path, small(data=changed(NPZ, split=None)))
    report = report_run(run)
    assert "the spec keeps no rows for test or validation" in report.left_out[0]
    (said,) = [found.text for found in report.diagnostics if found.text.startswith("z ")]
    assert said.startswith("z is used: in the last epoch of training it said ")
    assert report.command == f"sgc report {run} -o report.html"
    (tmp_path / "other").mkdir()
    bare = changed(small(data=changed(NPZ, labels={"y": {"count": 0}})))
    assert "error up to a permutation" not in report_page(report_run(trained(tmp_path / "other", bare)))


def test_an_unfinished_run_is_said_to_be_one(place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(place / "run", tmp_path / "run")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "finished": False}))
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().splitlines()[0] + "\n{cut")
    found = {diagnostic.text: diagnostic for diagnostic in report_run(run).diagnostics}
    unfinished = found["The run is unfinished: 1 of 3 epochs are done."]
    assert unfinished.level == "warning"
    assert unfinished.advice.startswith(f"sgc train {run}/spec.yaml -o {run} --resume goes on")


def test_the_advised_command_goes_on_from_any_folder(
    place: Path, measured: RunReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All settings are in the run's own spec.yaml, also those that --set gave, and the run knows where its data are."""
    shutil.copytree(place / "run", tmp_path / "a run")
    monkeypatch.chdir(tmp_path)
    advised = resuming(replace(measured.facts, run="a run"), 4)
    assert advised == "sgc train 'a run/spec.yaml' -o 'a run' --resume --set train.epochs=4"
    assert "epochs     4" in call(*shlex.split(advised)[1:]).out
    called = resuming(replace(measured.facts, data="arrays"), 4)
    assert f"sgc.train(sgc.load('{place}/run/spec.yaml', ['train.epochs=4']), data, output='{place}/run'" in called
    assert command("evaluate", replace(measured.facts, trust=True)) == f"sgc evaluate {place}/run --trust"


def test_rows_without_finite_scores_are_named(tmp_path: Path) -> None:
    arrays = small_arrays(labels=60)
    arrays["x"][3] = 1e30
    run = trained(tmp_path, small(data=changed(NPZ, split={"test": 30, "seed": 0})), **arrays)
    out = call("report", run, "-o", tmp_path / "report.html")
    if "no finite scores" in out.out:
        assert out.status == 1
    assert (tmp_path / "report.html").exists()


# ---- the command


def test_the_command_writes_a_page_and_says_what_to_do(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = call("report", place / "run", "-o", page)
    assert said.status == 0
    assert said.out.startswith(f"{page}: {place / 'run'} (best, epoch ")
    assert page.read_text().startswith("<!DOCTYPE html>")
    plain = json.loads(call("report", place / "run", "--json", "--samples", "3", "--seed", "4").out)
    assert (plain["samples"], plain["seed"], plain["file"]) == (3, 4, None)
    assert plain["maps"][0]["node"] == "z"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "run"], "where to? -o report.html writes the page, --json prints what it shows"),
        (["report", "run", "-o", "report.pdf"], "report.pdf: cannot write '.pdf': .html"),
        (["report", "gone", "-o", "r.html"], "gone: is not a run folder: it holds no spec.yaml"),
        (["report", "run", "-o", "r.html", "--split", "train"], "unknown split 'train': test or validation"),
    ],
)
def test_wrong_use_is_told(words: list[str], told: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "gone").mkdir(exist_ok=True)
    assert refused(*words) == told


def test_every_guide_that_is_named_is_there() -> None:
    from sgc.run_report.diagnostic import GUIDES

    docs = Path(__file__).resolve().parent.parent / "docs" / "guides"
    assert [page for page in GUIDES.values() if not (docs / f"{page}.md").exists()] == []
