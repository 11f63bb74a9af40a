"""What the README shows is true: its spec is valid and is that of the digits, its results hold no blanks."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from sgc.derivation.derive import derive
from sgc.spec.loader import load
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_spec_of_the_readme_is_that_of_the_digits() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    shown, whole = load(yaml.safe_load(block)), load(ROOT / "specs" / "digits.yaml")
    assert (shown.nodes, shown.objective) == (whole.nodes, whole.objective)


def test_the_derivation_of_the_readme_is_what_inspect_prints() -> None:
    made = outline(load(ROOT / "specs" / "digits.yaml"))
    text = derive(made.graphs, {"y"}, made.words).text()
    shown = README[README.index("rows with y labelled") :].split("```")[0].rstrip()
    assert text.startswith(shown)


def test_the_results_have_no_blanks() -> None:
    assert not re.findall(r"RESULTS_\w+", (ROOT / "specs" / "RESULTS.md").read_text(encoding="utf-8"))
