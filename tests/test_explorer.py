"""The explorer's model side: what follows is what `sgc sample` draws, and values are in units of the data."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import changed, face_arrays, faces, small, small_arrays

import sgc
from sgc.errors import DataError, UsageError
from sgc.explorer.controls import KnownValues, controls_of
from sgc.explorer.opening import open_exploration
from sgc.explorer.page_answers import PageAnswers
from sgc.explorer.page_requests import Asked, Traverse, Walk, read_request
from sgc.explorer.shown_values import picture
from sgc.samples.panels import shades
from sgc.trained.sampler import sample_run

ROW = {"rows": "test", "place": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small faces."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("faces")
    np.savez(folder / "rows.npz", **face_arrays())
    sgc.train(sgc.load(faces()), output=folder / "run", beside=folder)
    return folder / "run"


@pytest.fixture(scope="module")
def answers(run: Path) -> PageAnswers:
    return PageAnswers(open_exploration(run))


def show(answers: PageAnswers, row: Any = ROW, **asked: Any) -> dict[str, Any]:
    told = answers.show(read_request(Asked, json.dumps({"row": row, **asked}).encode()))
    json.dumps(told, allow_nan=False)
    return told


def turned(value: Any) -> dict[str, Any]:
    return {"state": "turned", "value": value}


# ---- what follows


def test_a_turned_row_is_the_one_that_sample_draws(answers: PageAnswers, run: Path, tmp_path: Path) -> None:
    sample_run(run, tmp_path / "light.npz", analogies="i")
    drawn = np.load(tmp_path / "light.npz")
    categories = drawn["i"][0]
    rows = answers.rows.splits["test"].row_ids.tolist()
    for number, pictures in zip(drawn["x.row"][:3], drawn["x"][:3], strict=True):
        row = {"rows": "test", "place": rows.index(number)}
        for category, pixels in zip(categories, pictures, strict=True):
            told = show(answers, row, nodes={"i": turned([int(category)])})
            variable = answers.model.outline.outer["x"]
            assert told["shown"]["x"] == picture(shades(pixels[None], variable, 1)[0, 0])


def test_who_follows_and_who_stays(answers: PageAnswers) -> None:
    before = show(answers)
    lit = show(answers, nodes={"l": turned([99, 130, 101])})
    assert lit["anew"] == [["s", "recognition"]]
    assert lit["values"]["s"]["how"] == "q anew"
    assert lit["values"]["s"]["value"] != before["values"]["s"]["value"]
    assert lit["values"]["r"] == before["values"]["r"]
    held = show(answers, nodes={"l": turned([99, 130, 101]), "s": {"state": "held"}})
    assert held["anew"] == []
    assert held["values"]["s"] == {**before["values"]["s"], "how": "held"}
    still = show(answers, nodes={name: {"state": "held"} for name in ("i", "l", "s", "r")})
    assert still["shown"] == before["shown"]


def test_evidence_is_read_by_q(answers: PageAnswers) -> None:
    labels = show(answers)["start"]["labels"]
    told = show(answers, nodes={"l": {"state": "evidence", "value": None}})
    np.testing.assert_allclose(told["values"]["l"]["value"], labels["l"], rtol=1e-5)
    model, row = answers.model, answers.rows.row("test", 5)
    i = torch.eye(12, dtype=torch.float64)[[told["values"]["i"]["value"][0]]]
    wanted = model.conditional("s", "recognition", {"i": i, "l": row.labels["l"]}).mean
    np.testing.assert_allclose(told["values"]["s"]["value"], wanted[0].detach().numpy(), rtol=1e-5)
    assert "l" not in answers.posterior(asked(nodes={"l": {"state": "evidence"}}))["nodes"]


def asked(**more: Any) -> Asked:
    return read_request(Asked, json.dumps({"row": ROW, **more}).encode())


def test_the_posterior_is_that_of_infer(answers: PageAnswers) -> None:
    found = answers.posterior(asked())["nodes"]
    assert {name: set(node) for name, node in found.items()} == {
        "i": {"shares"}, "l": {"mean", "sd"}, "s": {"mean", "sd"}, "r": {"mean", "sd"}
    }  # fmt: skip
    assert sum(found["i"]["shares"][0]) == pytest.approx(1, abs=1e-3)
    x = answers.rows.row("test", 5).observed["x"]
    light = answers.model.conditional("l", "recognition", {"x": x})
    cells = answers.exploration.encoders["l"].decode(light.mean.detach().numpy())[0]
    np.testing.assert_allclose(found["l"]["mean"], cells, rtol=1e-5)


def test_without_a_row_children_are_at_the_centers_of_p(answers: PageAnswers) -> None:
    told = show(answers, {}, nodes={"i": turned([3])})
    assert told["values"]["s"] == {"value": [0.0, 0.0], "how": "p"}
    model = answers.model
    zeros = {"l": torch.zeros(1, 3), "s": torch.zeros(1, 2), "r": torch.zeros(1, 2), "i": torch.eye(12)[[3]]}
    mean = model.conditional("x", "generative", zeros).mean.detach().numpy()
    assert told["shown"]["x"] == picture(shades(mean, model.outline.outer["x"], 1)[0, 0])


def test_draws_are_of_a_seed_and_turn_one_at_a_time(answers: PageAnswers) -> None:
    one, again = show(answers, {}, taken="draws", seed=3), show(answers, {}, taken="draws", seed=3)
    other = show(answers, {}, taken="draws", seed=4)
    assert one["values"] == again["values"]
    assert one["values"]["r"] != other["values"]["r"]
    moved = show(answers, {}, taken="draws", seed=3, nodes={"s": turned([1.0, 0.0])})
    assert moved["values"]["r"] == one["values"]["r"]
    assert show(answers, taken="all")["shown"] != show(answers)["shown"]


def test_a_traversal_goes_through_the_range(answers: PageAnswers) -> None:
    body = {"row": ROW, "node": "l", "element": 1, "nodes": {"s": {"state": "held"}}}
    traversed = answers.traverse(read_request(Traverse, json.dumps(body).encode()))
    assert len(traversed["at"]) == len(traversed["shown"]["x"]) == 9
    now = show(answers)["values"]["l"]["value"]
    for place, shown in zip(traversed["at"], traversed["shown"]["x"], strict=True):
        at = [now[0], place, now[2]]
        assert shown == show(answers, nodes={"l": turned(at), "s": {"state": "held"}})["shown"]["x"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"row": {"rows": "tset"}}, "no rows named 'tset'"),
        ({"row": {"rows": "test", "place": 999}}, "the test rows end at 39"),
        ({"row": ROW, "nodes": {"q": turned([1])}}, "no node or input named 'q' can be turned"),
        ({"row": ROW, "nodes": {"i": turned([12])}}, "'i': wanted places from 0 to 11"),
        ({"row": ROW, "nodes": {"i": turned([0.5])}}, "'i': wanted places from 0 to 11"),
        ({"row": ROW, "nodes": {"r": turned([0.5])}}, "'r': found 1 elements, wanted 2"),
        ({"row": ROW, "nodes": {"r": {"state": "evidence"}}}, "'r' is no node with labels, and cannot be told to q"),
        ({"row": ROW, "node": 1}, "the page asked for something else: node: "),
        ({"nodes": {"i": {"state": "evidence", "value": [1]}}}, "'i' is told to q, which reads a row: choose one"),
    ],
)
def test_what_cannot_be_is_told_in_words(answers: PageAnswers, body: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        answers.show(read_request(Asked, json.dumps(body).encode()))
    assert str(caught.value).startswith(words)


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError):
        read_request(Asked, b'{"nodes": {"r": {"state": "turned", "value": [NaN, "1"]}}}')


# ---- rows


def test_rows_are_found_by_number_step_and_label(answers: PageAnswers) -> None:
    ids = answers.rows.splits["test"].row_ids.tolist()

    def walk(way: str, value: int = 0, node: str = "", place: int = 5) -> int:
        body = {"row": {"rows": "test", "place": place}, "way": way, "value": value, "node": node}
        return int(answers.walk(read_request(Walk, json.dumps(body).encode()))["place"])

    assert walk("step", -6) == len(ids) - 1
    assert walk("number", ids[7]) == 7
    assert 0 <= walk("random") < len(ids)
    place = walk("label", 4, "i")
    assert face_arrays()["i"][ids[place]] == 4
    assert walk("label", 4, "i", place) != place
    with pytest.raises(UsageError, match="no test row has the number 10000"):
        walk("number", 10_000)


def content(**arrays: np.ndarray) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return base64.b64encode(buffer.getvalue()).decode()


def test_rows_can_be_brought(answers: PageAnswers) -> None:
    arrays = face_arrays()
    name = answers.rows.bring("mine.npz", content(**{n: v[:3] for n, v in arrays.items()}))
    assert name == "mine.npz (1)"
    told = show(answers, {"rows": name, "place": 1})
    assert told["start"]["row"]["count"] == 3
    assert told["start"]["labels"]["i"] == [1]
    with pytest.raises(DataError, match=r"^mine\.npz: no column named 'x'"):
        answers.rows.bring("mine.npz", content(y=np.zeros(3)))
    with pytest.raises(UsageError, match=r"^cannot read '\.exe'"):
        answers.rows.bring("../../mine.exe", "")
    with pytest.raises(UsageError, match="not in base64"):
        answers.rows.bring("mine.npz", "é")


def test_a_picture_can_be_brought(answers: PageAnswers) -> None:
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    shade = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    image.fromarray(shade).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    one, other = (answers.rows.bring("a.png", text, inverted=inverted) for inverted in (False, True))
    values = [answers.rows.row(name, 0).observed["x"] for name in (one, other)]
    low, high = face_arrays()["x"].min(), face_arrays()["x"].max()
    assert values[0].flatten()[0] < values[0].flatten()[-1]
    torch.testing.assert_close(values[0] + values[1], torch.full((1, 1, 4, 4), low + high).double(), atol=0.05, rtol=0)


# ---- other models


def test_a_run_without_its_data_has_latents_and_labels(tmp_path: Path) -> None:
    sgc.train(sgc.load(small()), data=small_arrays(), output=tmp_path / "run")
    answers = PageAnswers(open_exploration(tmp_path / "run"))
    plain = answers.plain()
    assert plain["rows"]["splits"] == []
    assert "was trained on arrays from Python" in plain["rows"]["missing"]
    told = show(answers, {}, nodes={"y": turned([2]), "z": turned([1.0, -1.0])})
    assert len(told["shown"]["x"]["rows"][0]) == 3


def test_values_are_in_units_of_the_data_and_edits_are_inferred_from(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    turn = draw.uniform(0, 360, 120)
    grade = np.array(["low", "mid", "high"])[draw.integers(0, 3, 120)]
    np.savez(tmp_path / "more.npz", size=turn * 2 + 5, angle=turn, grade=grade)
    partial = {
        "distribution": "Normal",
        "supervision": "partial",
        "recognition": {"parents": ["x"], "network": {"mlp": [4]}},
    }
    raw = changed(
        small(),
        nodes__x__shape=[1],
        nodes__a={**partial, "shape": [2]},
        nodes__g=partial,
        data={
            "source": "npz",
            "file": "more.npz",
            "columns": {
                "x": {"column": "size", "transforms": ["standardize"]},
                "y": {"column": "grade", "transforms": [{"one_of": ["low", "mid", "high"]}]},
                "a": {"column": "angle", "transforms": [{"angle": "degrees"}]},
                "g": {"column": "grade", "transforms": [{"one_of": ["low", "mid", "high"]}]},
            },
            "split": {"test": 20, "seed": 0},
        },
    )
    raw["nodes"]["x"]["generative"]["parents"] = ["y", "z", "a", "g"]
    sgc.train(sgc.load(raw), output=tmp_path / "run", beside=tmp_path)
    answers = PageAnswers(open_exploration(tmp_path / "run"))
    controls = {control["name"]: control for control in answers.plain()["controls"]}
    assert controls["y"]["categories"] == controls["g"]["categories"] == ("low", "mid", "high")
    (angle,) = controls["a"]["elements"]
    assert (angle["low"], angle["high"], angle["unit"]) == (0, 360, "°")
    (size,) = controls["x"]["elements"]
    assert size["low"] <= 6 <= 720 <= size["high"]
    told = show(answers, nodes={"a": turned([270]), "g": turned([2])})
    assert told["values"]["a"]["value"] == pytest.approx([270], abs=1e-3)
    assert told["values"]["g"]["value"] == [2]
    assert told["values"]["x"]["value"] == pytest.approx([turn[told["start"]["row"]["number"]] * 2 + 5], rel=1e-4)
    edited = show(answers, nodes={"x": turned([400.0])})
    assert edited["values"]["x"]["value"] == pytest.approx([400.0], rel=1e-4)
    assert edited["values"]["a"]["value"] != show(answers)["values"]["a"]["value"]
    assert edited["start"]["before"] == show(answers)["start"]["before"]
    body = {"row": ROW, "node": "x", "element": 0}
    traversed = answers.traverse(read_request(Traverse, json.dumps(body).encode()))
    assert {name: len(rows) for name, rows in traversed["labels"].items()} == {"y": 9, "a": 9, "g": 9}


def test_a_modality_is_hidden_from_q(tmp_path: Path) -> None:
    half = {"distribution": "Normal", "supervision": "partial", "missing": "drop"}
    half["generative"] = {"parents": ["z"], "network": {"mlp": [4]}}  # type: ignore[assignment]
    spec = {
        "version": 1,
        "name": "two",
        "nodes": {
            "a": {**half, "shape": [2]},
            "b": {**half, "shape": [5, 5]},
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["a", "b"], "network": {"mlp": [4]}},
            },
        },
        "train": {"epochs": 1},
    }
    draw = np.random.default_rng(0)
    arrays = {"a": draw.normal(size=(40, 2)), "b": draw.normal(size=(40, 5, 5))}
    sgc.train(sgc.load(spec), data=arrays, output=tmp_path / "run")
    answers = PageAnswers(open_exploration(tmp_path / "run"))
    assert {name: control.hideable for name, control in answers.controls.items()} == {"z": False, "a": True, "b": True}
    whole = {"rows": answers.rows.bring("both.npz", content(**arrays)), "place": 3}
    arrays["b"][3] = np.nan
    lacking = {"rows": answers.rows.bring("one.npz", content(**arrays)), "place": 3}
    hidden = show(answers, whole, nodes={"b": {"state": "hidden"}})
    assert hidden["shown"] == show(answers, lacking)["shown"] != show(answers, whole)["shown"]
    assert hidden["values"]["z"] == show(answers, lacking)["values"]["z"]
    with pytest.raises(UsageError, match="'z' cannot be hidden from q"):
        show(answers, whole, nodes={"z": {"state": "hidden"}})


def test_steps_are_turned_one_by_one(tmp_path: Path) -> None:
    linear = {"mlp": []}
    nodes = {
        "s": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "generative": {"parents": ["prev.s"], "network": linear},
            "recognition": {"parents": ["x"], "network": linear},
        },
        "x": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["s"], "network": linear},
        },
    }
    columns = {"t.x": {"column": "x"}, "t.s": {"column": "s"}}
    spec = sgc.load(
        {
            "version": 1,
            "name": "steps",
            "data": {"source": "npz", "file": "rows.npz", "columns": columns, "split": {"test": 10}},
            "repeat": {"t": {"count": 4, "nodes": nodes}},
            "train": {"epochs": 1},
        }
    )
    draw = np.random.default_rng(0)
    kinds = draw.integers(0, 3, (60, 4))
    np.savez(tmp_path / "rows.npz", x=kinds[..., None] + draw.normal(size=(60, 4, 2)) / 9, s=kinds)
    sgc.train(spec, output=tmp_path / "run", beside=tmp_path)
    answers = PageAnswers(open_exploration(tmp_path / "run"))
    control = next(control for control in answers.plain()["controls"] if control["name"] == "t.s")
    assert control["nodes"] == ("t.s@1", "t.s@2", "t.s@3", "t.s@4")
    before, told = show(answers), show(answers, nodes={"t.s@2": turned([2])})
    assert [node for node, _ in told["anew"]] == ["t.s@3", "t.s@4"]
    assert told["shown"]["t.x"]["rows"][0] == before["shown"]["t.x"]["rows"][0]
    assert len(told["shown"]["t.x"]["rows"]) == 4
    assert set(answers.posterior(asked())["nodes"]) == set(control["nodes"])


def test_controls_of_models_that_are_not_trained() -> None:
    model = sgc.compile(small(nodes__z__distribution="LogNormal"))
    controls = controls_of(model, {}, KnownValues({}, {}))
    assert [(name, control.part) for name, control in controls.items()] == [
        ("z", "latent"), ("y", "label"), ("x", "observed")
    ]  # fmt: skip
    assert all(element.low > 0 for element in controls["z"].elements)


def test_the_others_make_room_for_the_element_that_is_moved() -> None:
    model = sgc.compile(small(nodes__z__distribution="Dirichlet", nodes__z__shape=[3]))
    shares = controls_of(model, {}, KnownValues({}, {}))["z"]
    assert shares.balanced([0.6, 0.2, 0.3], 0) == pytest.approx([0.6, 0.16, 0.24])
    assert shares.balanced([1.0, 0.0, 0.0], 0) == pytest.approx([1, 0, 0])
    assert shares.balanced([0.4, 0.0, 0.0], 0) == pytest.approx([0.4, 0.3, 0.3])
    plain = controls_of(model, {}, KnownValues({}, {}))["y"]
    assert plain.balanced([2], 0) == [2]
    way = np.random.default_rng(0).normal(size=(20, 3))
    light = small(nodes__y={**small()["nodes"]["z"], "supervision": "partial", "shape": [3]})
    light["nodes"]["y"]["recognition"]["parents"] = ["x"]
    known = KnownValues({"y": way / np.linalg.norm(way, axis=1, keepdims=True)}, {})
    direction = controls_of(sgc.compile(light), {}, known)["y"]
    assert direction.balanced([0.6, 0.0, -1.0], 0) == pytest.approx([0.6, 0, -0.8])
