"""`sgc list`: all that the tables hold, in a line each, as wide as a terminal, and as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sgc.distributions.constraints import CONSTRAINTS
from sgc.distributions.families import FAMILIES
from sgc.distributions.supports import SUPPORTS
from sgc.errors import UsageError
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimators import ESTIMATORS, default, possible
from sgc.report.ascii_forms import ascii_form
from sgc.report.listed_kinds import (
    KINDS,
    Kind,
    kind_json,
    kind_named,
    kind_text,
    overview_json,
    overview_text,
)

EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


@EVERY
def test_a_line_for_each_of_a_kind_where_nothing_is_folded(kind: Kind) -> None:
    lines = kind_text(kind, None).split("\n")
    assert [line.split()[0] for line in lines] == list(kind.table())
    assert all(len(line.split()) > 2 and line == line.rstrip() for line in lines)


@EVERY
@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_terminal_is_filled_and_not_overrun(kind: Kind, width: int) -> None:
    text = kind_text(kind, width)
    assert max(map(len, text.split("\n"))) <= width
    assert text.startswith(kind.name.upper())
    folded = " ".join(text.split())
    for each in kind_json(kind):
        assert each["name"] in folded
        assert " ".join(str(each.get("description", "")).removesuffix(".").split()) in folded


@EVERY
def test_what_is_listed_has_an_ascii_form(kind: Kind) -> None:
    text = kind_text(kind, None).replace("ø", "o")  # of a name in specs
    assert "\\" not in ascii_form(text)


def test_a_family_is_listed_with_what_the_package_knows_of_it() -> None:
    for each in kind_json(KINDS["families"]):
        family = FAMILIES[each["name"]]
        assert each["support"] in SUPPORTS
        assert set(each["parameters"].values()) <= set(CONSTRAINTS)
        assert set(each["network_gives"]) <= set(each["parameters"])
        event = (3,) if family.event_dim or family.support.vector else ()
        estimators = possible(family.with_options(dict.fromkeys(family.options, 4)), event)
        assert each["pathwise"] == ("pathwise" in estimators), each["name"]
        assert each["enumerable"] == ("enumerate" in estimators), each["name"]
    lines = kind_text(KINDS["families"], None).split("\n")
    (line,) = [line for line in lines if line.startswith("Binomial ")]
    wanted = "Binomial  enumerable  integer_interval  log(1 + value)  probs: unit_interval, logits*: real"
    assert " ".join(line.split()) == " ".join(f"{wanted}, [total_count: an int ≥ 1]".split())
    assert default(FAMILIES["Normal"], ()).name == "pathwise"


def test_keys_are_listed_with_their_defaults() -> None:
    (mlp, *_) = kind_json(KINDS["networks"])
    assert mlp["keys"]["activation"] == {"default": "relu"}
    assert mlp["keys"]["mlp"] == {"required": True}
    estimators = {each["name"]: each for each in kind_json(KINDS["estimators"])}
    assert list(estimators) == list(ESTIMATORS)
    assert estimators["gumbel_softmax"]["keys"]["temperature"] == {
        "default": ESTIMATORS["gumbel_softmax"]().temperature
    }
    assert "Keys: temperature (0.66), density (linear)." in kind_text(KINDS["estimators"], None)
    sources = kind_text(KINDS["sources"], None)
    assert "separator (,), missing_values ([''])" in sources
    assert "labels (" not in sources
    assert [each["source"] for each in kind_json(KINDS["bounds"])] == [bound.source for bound in BOUNDS.values()]


def test_without_a_kind_all_are_named() -> None:
    lines = overview_text(None).split("\n")
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert "'bound:' of the objective: elbo, iwae, density, supervised" in overview_text(None)
    assert max(map(len, overview_text(80).split("\n"))) <= 80
    assert overview_json()["bounds"] == {"about": "'bound:' of the objective", "names": list(BOUNDS)}


def test_a_wrong_kind_is_told_with_the_right_ones() -> None:
    with pytest.raises(UsageError) as problem:
        kind_named("famlies")
    assert str(problem.value) == "no kind named 'famlies' to list: did you mean 'families'?"
    with pytest.raises(UsageError) as problem:
        kind_named("Normal")
    assert str(problem.value) == "'Normal' is one of the families: 'sgc list families' lists them"
    with pytest.raises(UsageError, match="no kind named 'zzz' to list: allowed: bounds, estimators, families"):
        kind_named("zzz")


def test_the_command_prints_all_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from sgc import cli

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sgc", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        return capsys.readouterr().out

    assert run("list").rstrip("\n") == overview_text(None)
    assert json.loads(run("list", "--json")) == overview_json()
    for name, kind in KINDS.items():
        assert run("list", name).rstrip("\n") == kind_text(kind, None)
        assert json.loads(run("list", name, "--json")) == kind_json(kind)
        assert name in run("list", "--help")


def test_every_shipped_spec_is_listed() -> None:
    root = Path(__file__).resolve().parent.parent
    assert list(KINDS["specs"].table()) == sorted(path.stem for path in (root / "specs").glob("*.yaml"))
    assert {"multi-mnist": ["mnist-m2"]}.items() <= {e["name"]: e["parts"] for e in kind_json(KINDS["specs"])}.items()
