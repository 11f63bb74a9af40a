"""Every transform of the table: undone in predictions, rebuilt from JSON, and what is missing stays missing."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from data_files import opened
from test_cli import call

import sgc
from sgc.data.encoder import Encoder
from sgc.data.transforms.transforms import TRANSFORMS
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError
from sgc.evaluation.prediction_scores import Score
from sgc.metrics.metrics import METRICS
from sgc.runtime.data_variables import open_data
from sgc.runtime.posterior import NodePosterior
from sgc.samples.shown_rows import value_words
from sgc.spec.resolver import outline
from sgc.trained.block_answers import spread_in_units
from sgc.trained.run_evaluation import held_out

DRAW = np.random.default_rng(11)
NAN = float("nan")
PAIN = ("none", "mild", "severe")


def column(transforms: str) -> str:
    return f"{{columns: {{x: {{column: c, transforms: {transforms}}}}}}}"


def encoder(transforms: str, variable: Variable, raw: Any) -> Encoder:
    """Fit the encoder of a node 'x' on these cells."""
    return opened(column(transforms), variable, arrays={"x": raw}).encoders["x"]


def fault(transforms: str, variable: Variable, raw: Any) -> str:
    with pytest.raises(DataError) as caught:
        encoder(transforms, variable, raw)
    return str(caught.value)


GREY = DRAW.random((20, 4, 6))
AROUND = DRAW.uniform(0, 360, 20)
SIGNED = DRAW.uniform(-180, 180, (20, 3))
LIGHT = np.stack([DRAW.uniform(-180, 180, 20), DRAW.uniform(-90, 90, 20)], axis=1)
EAST = np.stack([DRAW.uniform(0, 360, 20), DRAW.uniform(-90, 90, 20)], axis=1)
# the transform it is about, how it is written, the node, its cells, and whether all of them come back
CASES: list[tuple[str, str, Variable, Any, bool]] = [
    ("divide", "[{divide: 4}]", Variable("x", (4, 6)), GREY, True),
    ("mu_law", "[{divide: 4}, {mu_law: 100}]", Variable("x", (4, 6)), GREY, True),
    ("binarize", "[{binarize: static}]", Variable("x", (4, 6), support=SUPPORTS["grey"]), GREY, False),
    ("binarize", "[{binarize: dynamic}]", Variable("x", (4, 6), support=SUPPORTS["grey"]), GREY, False),
    ("resize", "[{resize: [2, 3]}]", Variable("x", (2, 3)), GREY, False),
    ("crop", "[{crop: [4, 6]}]", Variable("x", (4, 6)), GREY, True),
    ("crop", "[{crop: [2, 3]}, flatten]", Variable("x", (6,)), GREY, False),
    ("crop", "[standardize, {crop: {size: [3, 1], from: [1, 5]}}]", Variable("x", (3,)), GREY, False),
    ("crop", "[{divide: 2}, {crop: [4, 4]}, {resize: [2, 2]}, standardize]", Variable("x", (2, 2)), GREY, False),
    ("flatten", "[flatten]", Variable("x", (24,)), GREY, True),
    ("standardize", "[standardize]", Variable("x", (4, 6)), GREY, True),
    ("sum", "[sum]", Variable("x"), GREY, False),
    ("log1p", "[log1p]", Variable("x", (4, 6)), GREY, True),
    ("angle", "[{angle: degrees}]", Variable("x", (2,)), AROUND, True),
    ("angle", "[{angle: degrees}, flatten]", Variable("x", (6,)), SIGNED, True),
    ("angle", "[{angle: radians}]", Variable("x", (3, 2)), SIGNED * np.pi / 180, True),
    ("angle", "[{divide: 2}, {angle: degrees}]", Variable("x", (2,)), AROUND * 2, True),
    ("direction", "[{direction: degrees}]", Variable("x", (3,)), LIGHT, True),
    ("direction", "[{direction: degrees}, standardize]", Variable("x", (3,)), EAST, True),
    ("direction", "[{direction: radians}]", Variable("x", (3,)), LIGHT * np.pi / 180, True),
    ("one_of", "[{one_of: [none, mild, severe]}]", Variable("x"), DRAW.choice(PAIN, 20), True),
    ("one_of", "[{one_of: [none, mild, severe]}, standardize]", Variable("x"), DRAW.choice(PAIN, 20), True),
    ("one_of", "[{one_of: [none, mild, severe]}]", Variable("x", (), 3), DRAW.choice(PAIN, 20), True),
    ("one_of", "[{one_of: [1, 2.5, 7]}, flatten]", Variable("x", (6,), 3), DRAW.choice([1, 2.5, 7], (20, 2, 3)), True),
]
IDS = [f"{case[1]} {list(case[2].shape)}" for case in CASES]


def test_every_transform_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(TRANSFORMS)


@pytest.mark.parametrize(("name", "text", "variable", "raw", "back"), CASES, ids=IDS)
def test_it_is_undone_and_rebuilt_from_json(name: str, text: str, variable: Variable, raw: Any, back: bool) -> None:
    made = encoder(text, variable, raw)
    values = made.encode(raw)
    assert values.shape == (20, *variable.shape)
    assert Encoder.from_state(json.loads(json.dumps(made.state()))) == made
    cells = made.named(made.decode(values))
    if made.names is not None:
        np.testing.assert_array_equal(cells, np.reshape(raw, cells.shape))
    elif back:
        np.testing.assert_allclose(cells, raw, rtol=1e-4, atol=1e-4)
    else:
        there = ~np.isnan(cells)
        again = made.encode(np.where(there, cells, 0)) if cells.shape == raw.shape else made.encode(raw)
        np.testing.assert_allclose(again, values, atol=1e-6)


@pytest.mark.parametrize(("name", "text", "variable", "raw", "back"), CASES, ids=IDS)
def test_what_is_missing_stays_missing(name: str, text: str, variable: Variable, raw: Any, back: bool) -> None:
    made = encoder(text, replace(variable, supervision="partial", whole=True), raw)
    holed = np.array(raw, dtype=object)
    holed[3] = None
    values, whole = made.encode(holed), made.encode(raw)
    gone = values == -1 if variable.categories is not None else np.isnan(values)
    assert gone[3].all()
    assert not np.delete(gone, 3, axis=0).any()
    np.testing.assert_array_equal(np.delete(values, 3, axis=0), np.delete(whole, 3, axis=0))
    cells = made.named(made.decode(values))
    assert all(cell is None or cell != cell for cell in np.ravel(cells[3]).tolist())  # NaN is not itself


# ---- what each of the new ones is


def test_crop_takes_the_middle_or_a_place() -> None:
    raw = np.arange(2 * 3 * 7 * 6).reshape(2, 3, 7, 6)
    values = encoder("[{crop: [4, 2]}]", Variable("x", (3, 4, 2)), raw).encode(raw)
    np.testing.assert_array_equal(values, raw[:, :, 1:5, 2:4])
    made = encoder("[{crop: {size: [4, 2], from: [3, 0]}}]", Variable("x", (3, 4, 2)), raw)
    np.testing.assert_array_equal(made.encode(raw), raw[:, :, 3:, :2])
    cells = made.decode(made.encode(raw))
    np.testing.assert_array_equal(cells[:, :, 3:, :2], raw[:, :, 3:, :2])
    assert np.isnan(cells).sum() == raw.size - 2 * 3 * 4 * 2  # what was cut away is not known
    middle = encoder("[{crop: {size: [4, 2]}}]", Variable("x", (3, 4, 2)), raw)
    np.testing.assert_array_equal(middle.encode(raw), raw[:, :, 1:5, 2:4])


def test_a_crop_that_is_resized_comes_back_in_its_size_and_scale() -> None:
    raw = DRAW.random((20, 8, 8)) * 255
    made = encoder("[{divide: 255}, {crop: [4, 4]}, {resize: [2, 2]}, standardize]", Variable("x", (2, 2)), raw)
    means = raw[:, 2:6, 2:6].reshape(20, 2, 2, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(made.decode(made.encode(raw)), means, rtol=1e-5)


def test_an_angle_has_no_jump_and_comes_back_in_its_range() -> None:
    made = encoder("[{angle: degrees}]", Variable("x", (2,)), [0, 90, 359])
    np.testing.assert_allclose(made.encode([0, 90, 180, 270]), [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-7)
    assert np.linalg.norm(made.encode([359.5]) - made.encode([0.5])) < 0.02
    np.testing.assert_allclose(made.decode(np.array([[0, -2], [3, 0]])), [270, 0])
    late = encoder("[{angle: degrees}]", Variable("x", (2,)), [*np.zeros(5000), 200])  # one row is enough
    np.testing.assert_allclose(late.decode(np.array([[0, -2]])), [270])
    signed = encoder("[{angle: degrees}]", Variable("x", (2,)), [-10, 90])
    np.testing.assert_allclose(signed.decode(np.array([[0, -2]])), [-90])


def test_a_direction_is_in_the_axes_of_an_image() -> None:
    made = encoder("[{direction: degrees}]", Variable("x", (3,)), [[0, 0]])
    corners = [[0, 0], [90, 0], [0, 90], [-90, 0], [180, 0], [0, -90]]
    axes = [[0, 0, 1], [-1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, -1], [0, -1, 0]]
    np.testing.assert_allclose(made.encode(corners), axes, atol=1e-7)
    np.testing.assert_allclose(made.decode(made.encode(corners)), corners, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(made.encode(LIGHT), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(made.decode(7 * made.encode(LIGHT)), LIGHT, atol=1e-3)  # of any length


def test_a_spread_of_angles_goes_the_shorter_way() -> None:
    made = encoder("[{angle: degrees}]", Variable("x", (2,)), [0, 359])
    draws = torch.tensor(made.encode([350, 20])).double().unsqueeze(1)
    weights = torch.tensor([[0.75], [0.25]], dtype=torch.float64)
    mean = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    spread = spread_in_units(NodePosterior(mean, draws, weights, mean), made)
    np.testing.assert_allclose(spread, [np.sqrt(0.75 * 10**2 + 0.25 * 20**2)], rtol=1e-5)
    light = encoder("[{direction: degrees}]", Variable("x", (3,)), [[0, 0]])
    draws = torch.tensor(light.encode([[170, 0], [-170, 0]])).double().unsqueeze(1)
    mean = torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64)
    spread = spread_in_units(NodePosterior(mean, draws, torch.full((2, 1), 0.5).double(), mean), light)
    np.testing.assert_allclose(spread, [[10, 0]], atol=1e-4)


def test_a_number_is_called_by_the_nearest_name() -> None:
    made = encoder("[{one_of: [none, mild, severe]}]", Variable("x"), ["none", "mild"])
    np.testing.assert_array_equal(made.encode(["severe", "none"]), [2, 0])
    assert made.named(np.array([0.4, 0.6, 1.7, 9, -3, NAN])).tolist() == [
        "none",
        "mild",
        "severe",
        "severe",
        "none",
        None,
    ]


def test_pictures_call_a_number_by_its_name() -> None:
    made = encoder("[{one_of: [none, mild, severe]}]", Variable("x"), ["none", "mild"])
    assert value_words(made, made.encode(["severe", "none"])) == ("severe", "none")


@pytest.mark.parametrize(
    ("text", "variable", "raw", "message"),
    [
        ("[{crop: [2, 2]}]", Variable("x", (2, 2)), np.zeros((2, 6)),
         "node 'x': 'crop' wants rows and columns, found the shape [6]"),
        ("[{crop: [5, 2]}]", Variable("x", (2, 2)), GREY,
         "node 'x': 'crop' to [5, 2] does not fit into the shape [4, 6]"),
        ("[{crop: {size: [4, 2], from: [1, 0]}}]", Variable("x", (2, 2)), GREY,
         "node 'x': 'crop' to [4, 2] from [1, 0] does not fit into the shape [4, 6]"),
        ("[{direction: degrees}]", Variable("x", (3,)), AROUND,
         "node 'x': 'direction' wants two columns, azimuth and elevation, found the shape []"),
        ("[{direction: degrees}]", Variable("x", (3,)), SIGNED,
         "node 'x': 'direction' wants two columns, azimuth and elevation, found the shape [3]"),
        ("[{angle: degrees}]", Variable("x"), AROUND,
         "node 'x': found rows of the shape [2], wanted []; "
         "the transform 'angle' makes vectors: give the node the shape [2]"),
        ("[{angle: degrees}]", Variable("x", (), 3), [0, 1, 2],
         "node 'x': the transform 'angle' is for numbers, and this node's values are categories"),
        ("[{angle: degrees}]", Variable("x", (2,), supervision="partial"), [NAN, NAN],
         "node 'x': no training row has a value for 'angle' to be fitted on"),
        ("[{one_of: [a, b]}]", Variable("x"), ["a", "c"],
         "row 1: node 'x': found 'c', wanted one of 'a', 'b', or -1 where it is missing"),
        (f"[{{one_of: [{', '.join('abcdefghijklm')}]}}]", Variable("x"), ["a", "z"],
         "row 1: node 'x': found 'z', wanted one of the 13 categories under 'one_of', or -1 where it is missing"),
        ("[{one_of: [a, b]}]", Variable("x", (), 3), ["a"],
         "node 'x': 'one_of' names 2 categories, and the node has 3"),
        ("[{one_of: [a, b]}]", Variable("x", (), 2, ("a", "b")), ["a"],
         "node 'x': 'one_of' beside the node's own 'values', which already name the categories in the data: "
         "leave it out"),
        ("[{one_of: [a, b, c]}]", Variable("x", support=SUPPORTS["grey"]), ["a"],
         "node 'x': 'one_of' gives 0 to 2, and the node wants a number from 0 to 1"),
        ("[{one_of: [a, b]}]", Variable("x"), ["a", ""],
         "row 1: node 'x': found no value (NaN or empty): a node with supervision 'full' has a value in every row; "
         "with 'supervision: partial' and 'missing: drop' cells may be empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(text: str, variable: Variable, raw: Any, message: str) -> None:
    assert fault(text, variable, raw) == message


# ---- from a table to predictions

SPEC = yaml.safe_load(
    """
    version: 1
    name: wards
    nodes:
      x: {distribution: Normal, supervision: full, generative: {parents: [ill, pain, wind], network: {mlp: [4]}}}
      ill: {distribution: Bernoulli, supervision: partial, recognition: {parents: [x], network: {mlp: [4]}}}
      pain: {distribution: {Binomial: {total_count: 2}}, supervision: partial,
             recognition: {parents: [x], network: {mlp: [4]}}}
      wind: {distribution: Normal, shape: [2], supervision: partial,
             recognition: {parents: [x], network: {mlp: [4]}}}
    data:
      source: table
      file: wards.csv
      columns:
        x: {column: x, transforms: [standardize]}
        ill: {column: ill, transforms: [{one_of: ['no', 'yes']}]}
        pain: {column: pain, transforms: [{one_of: [none, mild, severe]}]}
        wind: {column: wind, transforms: [{angle: degrees}]}
      split: {test: 20}
    train: {epochs: 2}
    evaluate: {samples: 5, metrics: {wind: angle}}
    """
)


def test_predictions_are_in_the_words_and_angles_of_the_table(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = ["x,ill,pain,wind"]
    for row in range(60):
        number, ill, pain = draw.normal(), draw.choice(["no", "yes"]), draw.choice(PAIN)
        lines.append(f"{number:.3f},{ill},{pain if row % 3 else ''},{draw.uniform(0, 360):.1f}")
    (tmp_path / "wards.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    run = tmp_path / "run"
    assert call("train", tmp_path / "spec.yaml", "-o", run).status == 0
    (tmp_path / "new.csv").write_text("x,ill,wind\n0.5,,\n-1,yes,\n2,no,350\n0,,\n")
    known = ("--given", "ill", "--given", "wind")
    assert call("predict", run, tmp_path / "new.csv", "-o", tmp_path / "p.csv", *known).status == 0
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ["ill", "ill.mean", "ill.sd", "pain", "pain.mean", "pain.sd", "wind", "wind.sd"]
    assert list(rows[0]) == ["row", "given", *columns]
    assert [row["given"] for row in rows] == ["", "ill", "ill wind", ""]
    for row in rows:
        assert row["ill"] == ("yes" if float(row["ill.mean"]) > 0.5 else "no")
        assert row["pain"] == PAIN[round(float(row["pain.mean"]))]
        assert 0 <= float(row["wind"]) <= 360
        assert 0 <= float(row["wind.sd"]) <= 180
    assert [(row["ill"], row["ill.mean"], row["ill.sd"]) for row in rows[1:3]] == [("yes", "1", "0"), ("no", "0", "0")]
    assert (float(rows[2]["wind"]), float(rows[2]["wind.sd"])) == pytest.approx((350, 0), abs=1e-3)
    assert call("predict", run, tmp_path / "new.csv", "-o", tmp_path / "p.npz", *known).status == 0
    with np.load(tmp_path / "p.npz") as arrays:
        assert arrays["pain"].tolist() == [row["pain"] for row in rows]
    found = call("evaluate", run, "--json").json
    assert set(found["q"]["wind"]) == {"angle", "share_of_180", "standard_error", "rows"}
    assert 0 <= found["q"]["ill"]["error"] <= 1
    assert 0 <= found["q"]["pain"]["rmse"] <= 2


def test_errors_of_angles_go_the_shorter_way(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    truth, wrong = draw.uniform(0, 360, 200), draw.normal(0, 40, 200)
    arrays = {"x": draw.normal(size=200), "wind": truth}
    plain = yaml.safe_load(yaml.safe_dump(SPEC))
    for name in ("ill", "pain"):
        del plain["nodes"][name], plain["data"]["columns"][name]
    plain["nodes"]["x"]["generative"]["parents"] = ["wind"]
    spec = sgc.load(plain)
    model = sgc.compile(spec)
    rows = held_out(model, open_data(outline(spec), tmp_path, arrays), "test")
    apart = wrong[rows.row_ids]
    guess = (truth + wrong)[rows.row_ids] * np.pi / 180
    vectors = torch.tensor(np.stack([np.cos(guess), np.sin(guess)], axis=1))
    wanted = {"rmse": np.sqrt(np.mean(apart**2)), "mae": np.abs(apart).mean(), "angle": np.abs(apart).mean()}
    for kind, value in wanted.items():
        score = Score(model, "wind", rows, METRICS[kind])
        score.add(np.arange(rows.count), 0.3 * vectors)
        found = score.error()
        assert found is not None
        assert found.value == pytest.approx(value, rel=1e-4)
