"""The split: parts are disjoint and whole, of the sizes asked for, in proportion, and true to groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data_files import opened
from hypothesis import given, settings
from hypothesis import strategies as st

from sgc.data.columns import SourceColumn
from sgc.data.dataset import DataSet
from sgc.data.label_fields import Split
from sgc.data.split import Division, apportion, divide_rows
from sgc.data.variables import Variable
from sgc.errors import DataError

QUICK = settings(max_examples=40, deadline=None)


def check_whole(division: Division, size: int) -> None:
    parts = (division.train, division.validation, division.test)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(size))
    assert all((np.diff(part) > 0).all() for part in parts)


@QUICK
@given(size=st.integers(10, 200), test=st.floats(0.1, 0.4), validation=st.integers(0, 4), seed=st.integers(0, 99))
def test_parts_are_disjoint_whole_and_of_size(size: int, test: float, validation: int, seed: int) -> None:
    division = divide_rows(size, Split(test=test, validation=validation, seed=seed), None)
    check_whole(division, size)
    assert len(division.validation) == validation
    assert abs(len(division.test) - test * size) <= 0.5
    again = divide_rows(size, Split(test=test, validation=validation, seed=seed), None)
    np.testing.assert_array_equal(division.test, again.test)


def test_another_seed_is_another_split() -> None:
    one, other = (divide_rows(100, Split(test=20, seed=seed), None) for seed in (0, 1))
    assert one.test.tolist() != other.test.tolist()


@QUICK
@given(kinds=st.lists(st.integers(0, 4), min_size=30, max_size=120), seed=st.integers(0, 9))
def test_strata_keep_their_proportions(kinds: list[int], seed: int) -> None:
    column = SourceColumn("c", np.array(kinds))
    division = divide_rows(len(kinds), Split(test=0.25, validation=0.2, stratify="c", seed=seed), column)
    check_whole(division, len(kinds))
    assert abs(len(division.test) - 0.25 * len(kinds)) <= 0.5
    for part, share in ((division.test, 0.25), (division.validation, 0.2)):
        exact = len(part) / len(kinds)
        assert abs(exact - share) < 0.02
        for kind in set(kinds):
            assert abs((column.values[part] == kind).sum() - exact * kinds.count(kind)) < 1


@QUICK
@given(groups=st.lists(st.integers(0, 12), min_size=40, max_size=120), seed=st.integers(0, 9))
def test_no_group_stands_in_two_parts(groups: list[int], seed: int) -> None:
    if len(set(groups)) < 3:
        return
    column = SourceColumn("c", np.array(groups))
    division = divide_rows(len(groups), Split(test=0.2, validation=0.1, group="c", seed=seed), column)
    check_whole(division, len(groups))
    sides = [set(column.values[part].tolist()) for part in (division.train, division.validation, division.test)]
    assert all(sides)
    assert sum(len(side) for side in sides) == len(set(groups))


def test_groups_of_even_size_meet_the_share() -> None:
    column = SourceColumn("c", np.repeat([f"person {each}" for each in range(50)], 4))
    division = divide_rows(200, Split(test=0.2, validation=20, group="c"), column)
    assert (len(division.test), len(division.validation)) == (40, 20)


@QUICK
@given(weights=st.lists(st.integers(1, 50), min_size=1, max_size=8), share=st.floats(0, 1))
def test_an_apportionment_sums_to_its_total_within_room(weights: list[int], share: float) -> None:
    sizes = np.array(weights)
    total = int(share * sizes.sum())
    shares = apportion(total, sizes, sizes)
    assert shares.sum() == total
    assert ((shares >= 0) & (shares <= sizes)).all()


@pytest.mark.parametrize(
    ("split", "values", "message"),
    [
        ({"test": 8, "validation": 2}, [0] * 10,
         "split: found 10 rows, wanted 8 for test and 2 for validation, and some for training"),
        ({"test": 0.01}, [0] * 10, "split: found 10 rows, of which 0.01 for test is none"),
        ({"test": 2, "stratify": "c"}, np.arange(10.0),
         "split: 'stratify' found 10 different values in 10 rows, wanted categories"),
        ({"test": 2, "group": "c"}, [0] * 10, "split: found 1 groups, wanted at least 2, one for each part"),
        ({"test": 2, "group": "c"}, [0, np.nan], "row 1: split: no value in column 'c', which names each row's group"),
        ({"test": 2, "group": "c"}, np.zeros((10, 2)), "split: column 'c' has the shape [2] a row, wanted one value"),
    ],
)  # fmt: skip
def test_a_split_that_cannot_be(split: dict[str, Any], values: Any, message: str) -> None:
    column = SourceColumn("c", np.array(values))
    with pytest.raises(DataError) as caught:
        divide_rows(10, Split(**split), column if len(split) > 1 and "validation" not in split else None)
    assert str(caught.value) == message


def test_a_split_may_name_a_column_that_no_node_takes() -> None:
    text = "{columns: {x: {column: a}, y: {column: b}}, split: {test: 0.5, group: who}}"
    variables = (Variable("x"), Variable("y"))
    arrays: dict[str, Any] = {"x": np.arange(6), "y": np.arange(6), "who": list("aabbcc")}

    def sides(data: DataSet) -> None:
        who = np.array(arrays["who"])
        assert not set(who[data.train.rows]) & set(who[data.test.rows])

    sides(opened(text, *variables, arrays=arrays))
    by_node = opened(text.replace("group: who", "stratify: b"), *variables, arrays={"x": [0] * 6, "y": [0, 1] * 3})
    assert len(by_node.test) == 3
    with pytest.raises(DataError) as caught:
        opened(text, *variables, arrays={"x": np.arange(6), "y": np.arange(6)})
    assert str(caught.value) == "no column named 'who'; allowed: x, y"
