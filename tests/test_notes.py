"""Notes on a written q: in words, one line a node, where it claims what the posterior lacks; none where it does not.

That they are true and mend q is tested beside the inversion; here is what a user reads.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from small_runs import Raw, shell, small

from sgc.report.independence_notes import notes
from sgc.spec.loader import load
from sgc.spec.resolver import outline

MLP = {"mlp": [6]}


def noted(spec: Raw) -> list[str]:
    return notes(outline(load(spec)))


def model(**nodes: str) -> Raw:
    """Write a model of Normals in short: `status | parents in p : parents in q`."""
    made = {}
    for name, text in nodes.items():
        p, _, q = text.partition(":")
        status, _, above = (part.strip() for part in p.partition("|"))
        node: Raw = {"distribution": "Normal", "supervision": status}
        for role, reads in (("generative", above.split()), ("recognition", q.split())):
            if role == "generative" or status != "full":
                node[role] = {"parents": reads, "network": MLP} if reads else {}
        made[name] = node
    return {"version": 1, "nodes": made}


NOTED = [
    (
        "a common child that is observed",
        model(x="full | y z", y="partial : x", z="none : x"),
        ["given x, q makes y and z independent, but x depends on both: add y to the recognition parents of z"],
    ),
    (
        "one observed further below, through a node that comes later",
        model(x="full | c", c="none | a b : a b x", a="none : x", b="none : x"),
        ["given x, q makes a and b independent, but x depends on both: add a to the recognition parents of b"],
    ),
    (
        "what depends on it in p, and on what it depends",
        model(x="full | a", w="full | a", a="none | b : x", b="none : x a"),
        ["given x, q makes w and a independent, but w depends on a: add w to the recognition parents of a"],
    ),
    (
        "through a node that comes later",
        model(x="full | b", b="none | a : a x", a="none :"),
        ["q makes x and a independent, but x depends on a through b: add x to the recognition parents of a"],
    ),
    (
        "a common cause that comes later",
        model(x="full | a", y="partial | a : x", z="none | a : x", a="none : x y z"),
        ["given x, q makes y and z independent, but both depend on a: add y to the recognition parents of z"],
    ),
    (
        "a long way",
        model(x="full | a b", y="none | a : x", z="none | b : x", a="none : x y b", b="none : x y z"),
        [
            "given x, q makes y and z independent, but p joins them: z <- b -> x <- a -> y: "
            "add y to the recognition parents of z"
        ],
    ),
    (
        "several, each told why",
        model(x="full | a b c", a="none : x", b="none : x", c="none | a : x"),
        [
            "given x, q makes a and b independent, but x depends on both: add a to the recognition parents of b",
            "given x, q makes c independent of a and b, but c depends on a, and x depends on c and b: "
            "add a and b to the recognition parents of c",
        ],
    ),
    (
        "many, all named and one told why",
        model(x="full | a b c d e", a="none :", b="none : x a", c="none : x a b", d="none : x a b c", e="none :"),
        [
            "q makes x and a independent, but x depends on a: add x to the recognition parents of a",
            "q makes e independent of x, a, b, c and d, but for one, x depends on e: "
            "add x, a, b, c and d to the recognition parents of e",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), [case[1:] for case in NOTED], ids=[case[0] for case in NOTED])
def test_what_q_claims_and_the_posterior_lacks_is_noted(spec: Raw, wanted: list[str]) -> None:
    assert noted(spec) == wanted


def test_features_are_seen_through_in_q_and_an_input_is_missed() -> None:
    look = {"h": {"parents": ["x"], "network": MLP}}
    assert noted(small(features=look, nodes__y__recognition={"parents": ["h"], "network": MLP})) == []
    sited = small(
        inputs={"site": {"categories": 2}}, nodes__x__generative={"parents": ["y", "z", "site"], "network": MLP}
    )
    assert noted(sited) == [
        "given x, q makes site and y independent, but x depends on both: add site to the recognition parents of y",
        "given x and y, q makes site and z independent, but x depends on both: "
        "add site to the recognition parents of z",
    ]


SPECS = sorted((Path(__file__).parent.parent / "specs").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_nothing_is_noted_of_the_shipped_specs(path: Path) -> None:
    """But of the faces, whose q is the paper's: q(l | x) reads no i, q(s | i, l) no x and r, q(r | x) no i and l.

    And of the canvases: q of a digit reads neither the count nor what other digits look like.
    """
    canvas = ["k", "carry", "carry", "carry"]
    expected = {"faces": ["l", "s", "r"], "multi-mnist": canvas, "multi-mnist-count": canvas}
    found = notes(outline(load(path)))
    assert [note.rsplit(" ", 1)[1] for note in found] == expected.get(path.stem, [])


def test_nothing_is_noted_where_q_alone_is_trained() -> None:
    spec = NOTED[0][1]
    assert noted({**spec, "objective": {"bound": "supervised"}}) == []


def test_a_note_is_no_fault_and_stands_in_every_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.yaml"
    spec, (line,) = NOTED[0][1:]
    file.write_text(yaml.safe_dump(spec))

    def told(*words: str) -> tuple[int | None, str, str]:
        with pytest.raises(SystemExit) as end:
            shell(words)
        return (end.value.code, *capsys.readouterr())  # type: ignore[return-value]

    status, _, errors = told("check", str(file))
    assert (status, errors) == (0, f"note: {line}\n")
    assert told("inspect", str(file))[1].replace("\n    ", " ").endswith(f"\nno warnings\n\nnotes\n  {line}\n")
    assert json.loads(told("inspect", str(file), "--json")[1])["notes"] == [line]
