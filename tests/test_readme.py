"""README is short and true: its numbers are those of the results, its picture is drawn from the spec of the digits."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import yaml

from sgc.spec.loader import load
from sgc.version import __version__

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
RESULTS = (ROOT / "specs" / "RESULTS.md").read_text(encoding="utf-8")
PICTURE = runpy.run_path(str(ROOT / "examples" / "overview_picture.py"))


def test_it_is_read_in_a_few_minutes() -> None:
    """Every word counts but those of code."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"\w[\w'.-]*", re.sub(r"\]\([^)]*\)", "]", prose))) <= 900
    assert len(re.findall("stochastic graph compiler", README)) == 1


def test_its_table_has_the_numbers_of_the_results() -> None:
    """Of counts the results say what is right, and README what is wrong."""
    rows = [line for line in README.splitlines() if re.match(r"\| .*specs/[\w-]+\.yaml", line)]
    assert len(rows) == 6
    for row in rows:
        cells = [cell.strip(" *") for cell in row.strip("|").split("|")]
        (name,) = re.findall(r"specs/([\w-]+)\.yaml", cells[0])
        assert (ROOT / "specs" / f"{name}.yaml").is_file()
        part = next(part for part in re.split(r"^## ", RESULTS, flags=re.MULTILINE) if f"specs/{name}.yaml" in part)
        for mean, spread in re.findall(r"([\d.]+) ± ([\d.]+)", f"{cells[3]} {cells[4]}"):
            right = f"{100 - float(mean):.2f} ± {spread}"
            assert f"{mean} ± {spread}" in part or (name == "multi-mnist-count" and right in part), (name, mean)


def test_its_picture_shows_the_spec_of_the_digits() -> None:
    shown = load({"version": 1, **yaml.safe_load("\n".join(PICTURE["shown_lines"]()))})
    whole = load(ROOT / "specs" / "digits.yaml")
    assert (shown.nodes, shown.objective) == (whole.nodes, whole.objective)
    errors = [value for _, value, _ in PICTURE["results"]()]
    (alt,) = re.findall(r"!\[(.*?)\]\(examples/pictures/overview\.svg\)", README)
    assert [error for error in errors if error not in alt] == []


def test_its_picture_can_be_drawn(tmp_path: Path) -> None:
    PICTURE["draw"](tmp_path / "overview.svg")
    assert (tmp_path / "overview.svg").stat().st_size > 10_000


def test_the_results_have_no_blanks() -> None:
    assert not re.findall(r"RESULTS_\w+", RESULTS)


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    (paper,) = citation["references"]
    assert paper["title"] in README
    assert [author["family-names"] for author in paper["authors"] if author["family-names"] not in README] == []
