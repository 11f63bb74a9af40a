"""Values: shapes and types, arrays and data frames in place of a source, and each bad value's message."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from data_files import CLASS, IMAGE, opened

from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError

NAN = float("nan")


def fails(text: str | None, *variables: Variable, arrays: Any) -> str:
    with pytest.raises(DataError) as caught:
        opened(text, *variables, arrays=arrays)
    return str(caught.value)


def values(variable: Variable, array: Any, text: str | None = None) -> np.ndarray:
    return opened(text, variable, arrays={variable.name: array}).train.values[variable.name]


NAMES = ("rest", "walk", "run")
CATEGORIES = Variable("y", (), 3, NAMES, supervision="partial")


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((5, 28, 28), (1, 28, 28)), ((5, 64), (64,)), ((5, 1, 3), (3,)), ((5, 1), ()), ((5,), (1,)), ((5, 2, 1), (1, 2))],
)
def test_shapes_fit_up_to_axes_of_size_one(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    read = values(Variable("x", wanted), array)
    assert read.shape == (5, *wanted)
    np.testing.assert_array_equal(read.ravel(), array.ravel().astype(np.float32))


def test_flatten_takes_any_shape_and_others_do_not_fit() -> None:
    text = "{columns: {x: {column: x, transforms: [flatten]}}}"
    assert values(Variable("x", (24,)), np.zeros((5, 2, 3, 4)), text).shape == (5, 24)
    array = np.zeros((5, 2, 12))
    message = fails(None, Variable("x", (24,)), arrays={"x": array})
    assert message == "node 'x': found rows of the shape [2, 12], wanted [24]; is the transform flatten missing?"
    message = fails(None, Variable("x", (3, 8)), arrays={"x": array})
    assert message == "node 'x': found rows of the shape [2, 12], wanted [3, 8]"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (["walk", "rest", ""], [1, 0, -1]),
        (["walk", "-1", "run"], [1, -1, 2]),
        (np.array(["run", None, NAN], dtype=object), [2, -1, -1]),
        (np.array([b"run", b"rest"]), [2, 0]),
        (["run", NAN, "rest"], [2, -1, 0]),
    ],
)
def test_categories_by_name(raw: Any, expected: list[int]) -> None:
    read = values(CATEGORIES, raw)
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("names", "raw", "expected"),
    [
        (None, np.array([2, 0, -1], dtype=np.int8), [2, 0, -1]),
        (None, [2.0, NAN, 1.0], [2, -1, 1]),
        (None, ["2", "0", "1.0"], [2, 0, 1]),
        ((10, 1, 2), np.array([10, 1, -1]), [0, 1, -1]),
        ((-1, 0, 1), [-1, 0, 1], [0, 1, 2]),
        (("10", "1", "2"), [10, 2, -1], [0, 2, -1]),
        ((0.5, 1.5, 2.5), ["1.5", "2.50"], [1, 2]),
        ((False, True), [True, False], [1, 0]),
        ((False, True), ["true", "False"], [1, 0]),
        (("False", "True"), [True, False], [1, 0]),
        (("False", "True"), ["TRUE", "false"], [1, 0]),
        (("á", "b"), np.array(["b", "á"]).astype(object), [1, 0]),
        (("á", "b"), np.char.encode(["b", "á"], "utf-8"), [1, 0]),
    ],
)
def test_categories_by_number_or_truth(names: Any, raw: Any, expected: list[int]) -> None:
    size = len(names) if names else 3
    np.testing.assert_array_equal(values(Variable("y", (), size, names, supervision="partial"), raw), expected)


def test_categories_of_steps_may_be_known_in_part() -> None:
    read = values(Variable("y", (2,), 3, NAMES, supervision="partial"), [["walk", "-1"], ["rest", "run"]])
    np.testing.assert_array_equal(read, [[1, -1], [0, 2]])


@pytest.mark.parametrize(
    ("variable", "raw", "message"),
    [
        (CLASS, [3, 10], "row 1: node 'y': found 10, wanted a category from 0 to 9, or -1 where it is missing"),
        (CLASS, [3, -2], "row 1: node 'y': found -2, wanted a category from 0 to 9, or -1 where it is missing"),
        (CLASS, [3, 2.5], "row 1: node 'y': found 2.5, wanted a category from 0 to 9, or -1 where it is missing"),
        (
            CATEGORIES,
            ["walk", "fly"],
            "row 1: node 'y': found 'fly', wanted one of 'rest', 'walk', 'run', or -1 where it is missing",
        ),
        (
            Variable("y", (), 13, tuple("abcdefghijklm"), supervision="partial"),
            ["z"],
            "row 0: node 'y': found 'z', wanted one of the 13 categories under 'values', or -1 where it is missing",
        ),
        (
            Variable("y", (), 3),
            [0, 1, -1],
            "row 2: node 'y': found no value (-1 or empty): a node with supervision 'full' has a value in every row; "
            "with 'supervision: partial' and 'missing: drop' cells may be empty",
        ),
        (
            Variable("u", (), 3, supervision="input"),
            [0, -1],
            "row 1: node 'u': found no value (-1 or empty): an input has a value in every row",
        ),
        (CLASS, [3, np.inf], "row 1: node 'y': found inf, wanted a category from 0 to 9, or -1 where it is missing"),
        (CLASS, [3, -np.inf], "row 1: node 'y': found -inf, wanted a category from 0 to 9, or -1 where it is missing"),
        (CLASS, np.array([b"3", b"\xff"]), "row 1: node 'y': found b'\\xff', wanted text in UTF-8"),
        (Variable("x"), np.array([b"3", b"\xff"]), "row 1: node 'x': found b'\\xff', wanted text in UTF-8"),
        (CLASS, np.zeros(2, dtype="datetime64[s]"),
         "node 'y': found values of the type datetime64[s], wanted categories"),
        (
            Variable("x", (2,)),
            [[0, 1], [NAN, 1]],
            "row 1: node 'x': found no value (NaN or empty) at [0]: "
            "a node with supervision 'full' has a value in every row; "
            "with 'supervision: partial' and 'missing: drop' cells may be empty",
        ),
        (
            Variable("x", (2,), support=SUPPORTS["grey"]),
            [[0, 1], [1, 255]],
            "row 1: node 'x': found 255 at [1], wanted a number from 0 to 1; is the transform {divide: 255} missing?",
        ),
        (
            Variable("x", support=SUPPORTS["unit_interval"]),
            [0.5, 16],
            "row 1: node 'x': found 16, wanted a number from 0 to 1; is the transform {divide: 16} missing?",
        ),
        (
            Variable("x", support=SUPPORTS["grey"]),
            [0, -0.5],
            "row 1: node 'x': found -0.5, wanted a number from 0 to 1",
        ),
        (Variable("x"), [1, float("inf")], "row 1: node 'x': found inf, wanted a number"),
        (Variable("x", support=SUPPORTS["positive"]), [1, 0], "row 1: node 'x': found 0, wanted a number above 0"),
        (
            Variable("x", support=SUPPORTS["nonnegative"]),
            [0, -1],
            "row 1: node 'x': found -1, wanted a number from 0 up",
        ),
        (
            Variable("x", support=SUPPORTS["nonnegative_integer"]),
            [3, 0.5],
            "row 1: node 'x': found 0.5, wanted an integer from 0 up",
        ),
        (
            Variable("x", support=SUPPORTS["integer_interval"].up_to(255)),
            [255, 256],
            "row 1: node 'x': found 256, wanted an integer from 0 to 255",
        ),
        (
            Variable("x", (2,), support=SUPPORTS["simplex"]),
            [[0.5, 0.5], [0.5, 0.25]],
            "row 1: node 'x': found a sum of 0.75, wanted values that sum to 1",
        ),
        (
            Variable("x", (2,), support=SUPPORTS["multinomial"].up_to(4)),
            [[1, 3], [1, 4]],
            "row 1: node 'x': found a sum of 5, wanted values that sum to 4",
        ),
        (Variable("x"), ["1", "two"], "row 1: node 'x': found 'two', wanted a number; "
         "is it a mark for an empty cell (missing_values)?"),
        (Variable("x"), ["1", "12_3"], "row 1: node 'x': found '12_3', wanted a number; "
         "is it a mark for an empty cell (missing_values)?"),
        (CLASS, ["1", "0_3"],
         "row 1: node 'y': found '0_3', wanted a category from 0 to 9, or -1 where it is missing"),
        (Variable("x"), [1, {}], "'x': found a value of the type 'dict', wanted numbers or text"),
        (Variable("x"), 3, "'x': found a single value, wanted an array with the rows first"),
        (Variable("x"), [], "found no rows"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_row(variable: Variable, raw: Any, message: str) -> None:
    assert fails(None, variable, arrays={variable.name: raw}) == message


def test_an_offender_far_down_is_found_by_its_own_row() -> None:
    array = np.zeros((10000, 2))
    array[9000, 1] = 7
    message = fails(None, Variable("x", (2,), support=SUPPORTS["grey"]), arrays={"x": array})
    assert message.startswith("row 9000: node 'x': found 7 at [1], wanted a number from 0 to 1")


def test_rows_are_named_as_in_the_source_after_a_split() -> None:
    array = np.zeros(100)
    array[37] = 7
    text = "{columns: {x: {column: c}}, split: {validation: 0.5}}"
    message = fails(text, Variable("x", support=SUPPORTS["grey"]), arrays={"x": array})
    assert message.startswith("row 37: node 'x': found 7")


def test_a_missing_value_of_a_partial_node_stays_missing() -> None:
    read = values(Variable("x", (2,), support=SUPPORTS["positive"], supervision="partial"), [[NAN, NAN], [1, 2]])
    np.testing.assert_array_equal(read, [[NAN, NAN], [1, 2]])


def test_one_is_not_minus_one_for_numbers() -> None:
    np.testing.assert_array_equal(values(Variable("x", supervision="partial"), [-1, 1]), [-1, 1])


def test_a_partial_node_without_a_column_is_unlabelled() -> None:
    data = opened(None, IMAGE, CLASS, arrays={"x": np.zeros((3, 4, 4))})
    np.testing.assert_array_equal(data.train.values["y"], [-1, -1, -1])
    assert len(data.labelled_rows["y"]) == 0


@pytest.mark.parametrize(
    ("text", "arrays", "message"),
    [
        (None, {"y": [1]}, "no data for the node 'x', which has a value in every row"),
        (
            None,
            {"x": np.zeros((1, 4, 4)), "yy": [1]},
            "'yy' is not an observed node or input of the model; did you mean 'y'?",
        ),
        (None, {"x": np.zeros((2, 4, 4)), "y": [1]}, "column 'y': found 1 rows, wanted 2, as in column 'x'"),
        (None, None, "no data: the spec has no 'data' section, and no arrays were given"),
        (
            "{columns: {z: {column: image}}}",
            {"x": np.zeros((2, 4, 4))},
            "columns: 'z' is not an observed node or input of the model; allowed: x, y",
        ),
        (
            "{columns: {x: {column: image}, y: {column: label, transforms: [standardize]}}}",
            {"x": np.zeros((2, 4, 4)), "y": [1, 2]},
            "node 'y': the transform 'standardize' is for numbers, and this node's values are categories",
        ),
    ],
)
def test_arrays_that_do_not_fit_the_model(text: str | None, arrays: Any, message: str) -> None:
    assert fails(text, IMAGE, CLASS, arrays=arrays) == message


def test_arrays_take_the_place_of_the_source_and_stay_as_they_were() -> None:
    text = "{columns: {x: {column: image, transforms: [{divide: 255}]}, y: {column: label}}, labels: {y: {count: 1}}}"
    arrays = {"x": np.full((9, 4, 4), 51.0, dtype=np.float32), "y": np.arange(9)}
    data = opened(text, IMAGE, CLASS, arrays=arrays)
    np.testing.assert_allclose(data.train.values["x"], 0.2)
    assert (data.train.values["y"] >= 0).sum() == 1
    assert (arrays["x"] == 51).all()
    np.testing.assert_array_equal(arrays["y"], np.arange(9))


def test_data_frames_give_columns_or_nodes_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [0.5, 1.5, 2.5],
            "kind": ["run", None, "walk"],
            "n": pandas.array([1, None, 3], dtype="Int64"),
        },
        index=[7, 8, 9],
    )
    text = "{columns: {v: {column: [a, b]}, y: {column: kind}}}"
    data = opened(text, Variable("v", (2,)), CATEGORIES, arrays=frame)
    np.testing.assert_array_equal(data.train.values["v"], [[1, 0.5], [2, 1.5], [3, 2.5]])
    np.testing.assert_array_equal(data.train.values["y"], [2, -1, 1])
    np.testing.assert_array_equal(data.train.rows, [0, 1, 2])
    data = opened(None, Variable("b"), Variable("n", supervision="partial"), arrays=frame)
    np.testing.assert_array_equal(data.train.values["n"], [1, NAN, 3])
    message = fails("{columns: {v: {column: [a, c]}}}", Variable("v", (2,)), arrays=frame)
    assert message == "no column named 'c'; allowed: a, b, kind, n"


def test_other_columns_of_a_data_frame_may_be_anything() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "day": pandas.Timestamp("2020-01-01"), "b": [3, 4], 5: [{}, []]})
    data = opened("{columns: {v: {column: [b, a]}}}", Variable("v", (2,)), arrays=frame)
    np.testing.assert_array_equal(data.train.values["v"], [[3, 1], [4, 2]])
    twice = pandas.concat([frame, frame[["day"]]], axis=1)
    assert opened(None, Variable("b"), arrays=twice).train.values["b"].tolist() == [3, 4]
    assert fails(None, Variable("day"), arrays=twice) == "found 2 columns named 'day', wanted one"
    wanted = "'day': found a value of the type 'Timestamp', wanted numbers or text"
    assert fails(None, Variable("day"), arrays=frame) == wanted


@pytest.mark.parametrize("dtype", [np.float64, np.int16, object])
def test_masked_cells_are_missing(dtype: Any) -> None:
    masked = np.ma.masked_array(np.array([3, 1, 2], dtype=dtype), mask=[False, True, False])
    np.testing.assert_array_equal(values(Variable("n", supervision="partial"), masked), [3, NAN, 2])
    np.testing.assert_array_equal(values(CLASS, masked), [3, -1, 2])


@pytest.mark.parametrize("arrays", [np.zeros((3, 2)), [[0.0], [1.0]]])
def test_data_that_are_no_mapping(arrays: Any) -> None:
    message = f"found data of the type '{type(arrays).__name__}', wanted a mapping by node, or a data frame"
    assert fails(None, Variable("x", (2,)), arrays=arrays) == message


def test_a_list_of_columns_names_the_one_at_fault() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [1, -2]})
    message = fails("{columns: {v: {column: [a, b]}}}", Variable("v", (2,), support=SUPPORTS["positive"]), arrays=frame)
    assert message == "row 1: node 'v', column 'b': found -2, wanted a number above 0"


@pytest.mark.parametrize("module", ["sgc.data", "sgc.data.sources.source_section"])
def test_importing_takes_no_torch(module: str) -> None:
    allowed = "numpy" if module == "sgc.data.sources.source_section" else "torch"
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or '{allowed}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
