"""The labels of an estimator: classes or numbers, of which some rows have none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_array, column_or_1d

from sgc.data.columns import Array
from sgc.data.empty_cells import number_of
from sgc.data.variables import Variable

Classes = Array
Codes = NDArray[np.int64]


def labelled_classes(y: Any, rows: int) -> tuple[Classes, Codes]:  # Any: whatever numpy reads as (N,) labels
    """Give the classes in order, and of each row the place of its own, −1 where it has none.

    A label of −1, NaN or None is none; text is a class, whatever it says.

    Raises: ValueError for as many labels as there are no rows, for none at all, or for one class alone.
    """
    labels = _one_a_row(y, rows)
    missing = _missing(labels, minus_one=True)
    known = labels[~missing]
    if not len(known):
        raise ValueError("y holds no label: every row has −1, NaN or None; wanted some of two classes or more")
    known = _plain(known)
    check_classification_targets(known)
    classes, places = np.unique(known, return_inverse=True)
    _check_words(classes)
    if len(classes) < 2:
        raise ValueError(f"y holds one class alone, {classes.tolist()[0]!r}: wanted labels of two classes or more")
    codes = np.full(rows, -1, dtype=np.int64)
    codes[~missing] = places
    return classes, codes


def class_codes(variable: Variable, classes: Classes, codes: Codes) -> tuple[Classes, Array]:
    """Match classes with the categories of a spec's node: the classes in the node's order, and the cells of its column.

    Categories with names have these; those without are 0, 1, …, or any classes of the same number in their order.

    Raises: ValueError for a class that is no category.
    """
    size = variable.categories or 0
    if variable.values is not None:
        cells = np.array([*classes.tolist(), None], dtype=object)[codes]
        strange = [name for name in classes.tolist() if name not in variable.values]
        if strange:
            names = ", ".join(map(repr, variable.values))
            raise ValueError(f"y holds {strange[0]!r}, wanted the categories of node '{variable.name}': {names}")
        return np.array(list(variable.values)), cells
    if _whole(classes) and classes.min() >= 0 and classes.max() < size:
        return np.arange(size).astype(classes.dtype), np.array([*classes.astype(np.int64).tolist(), -1])[codes]
    if len(classes) != size:
        raise ValueError(f"y holds {len(classes)} classes, wanted the {size} categories of node '{variable.name}'")
    return classes, codes


def number_labels(y: Any, rows: int) -> NDArray[np.float64]:  # Any: whatever numpy reads as (N,) numbers
    """Give the number of each row, NaN where it has none.

    Raises: ValueError for as many labels as there are no rows, for none at all, or for what is no finite number.
    """
    labels = _one_a_row(y, rows)
    if labels.dtype.kind in "mM":
        raise ValueError("y holds dates or times, wanted numbers")
    missing = _missing(labels, minus_one=False)
    filled = np.where(missing, np.nan, labels) if labels.dtype.kind in "Of" else labels
    try:
        numbers: NDArray[np.float64] = filled.astype(np.float64)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"y holds what is no number: {problem}") from None
    assert_all_finite(numbers, allow_nan=True, input_name="y")
    if np.isnan(numbers).all():
        raise ValueError("y holds no label: every row has NaN or None")
    return numbers


def is_classes(y: Any) -> bool:  # Any: as above
    """Tell whether labels are classes: text, or whole numbers; those that are missing do not count."""
    labels = column_or_1d(np.asarray(_unmixed(y)), warn=False)
    known = labels[~_missing(labels, minus_one=True)]
    return len(known) == 0 or not type_of_target(_plain(known)).startswith("continuous")


def _one_a_row(y: Any, rows: int) -> Array:  # Any: as above
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    labels = check_array(_unmixed(y), ensure_2d=False, dtype=None, ensure_all_finite=False, input_name="y")
    labels = column_or_1d(labels, warn=True)
    if len(labels) != rows:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{rows}, {len(labels)}]")
    if labels.dtype.kind == "c":
        raise ValueError("Complex data not supported")
    if labels.dtype.kind == "f":
        assert_all_finite(labels, allow_nan=True, input_name="y")
    return np.asarray(labels)


def _unmixed(y: Any) -> Any:  # Any: as above
    """Keep the cells of a list that mixes text with other values as they are: numpy makes text of all of them.

    So are whole numbers and booleans of pandas that may be missing, of which numpy makes floats where one is.
    """
    if hasattr(y, "dtype") and hasattr(y.dtype, "na_value") and getattr(y.dtype, "kind", "O") in "iub":
        return y.to_numpy(dtype=object, na_value=None)
    if isinstance(y, list | tuple) and 0 < sum(isinstance(cell, str) for cell in y) < len(y):
        cells = np.empty(len(y), dtype=object)
        cells[:] = y
        return cells
    return y


def _check_words(classes: Classes) -> None:
    """Refuse the text that numpy makes of −1 or NaN beside names: it would be a class of its own.

    Raises: ValueError.
    """
    if classes.dtype.kind != "U":
        return
    made = [str(name) for name in classes if name in ("-1", "nan")]
    if made and any(number_of(str(name)) is None for name in classes):
        raise ValueError(
            f"y holds the text '{made[0]}' beside names, which numpy makes of a number beside text: in a row without a "
            "label write None, as np.where(hidden, None, names) does; or make y an array of objects, if it is a class"
        )


def _whole(classes: Classes) -> bool:
    """Tell whether classes are whole numbers, or booleans: beside NaN they come as floats."""
    return classes.dtype.kind in "iub" or (classes.dtype.kind == "f" and bool((classes == np.floor(classes)).all()))


def _missing(labels: Array, *, minus_one: bool) -> NDArray[np.bool_]:
    """Mark the labels that are none: `(N,)`."""
    if labels.dtype.kind == "O":
        return np.array([_is_none(cell, minus_one) for cell in labels], dtype=bool)
    missing = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), dtype=bool)
    return missing | (labels == -1) if minus_one and labels.dtype.kind in "if" else missing


def _is_none(cell: object, minus_one: bool) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    number = isinstance(cell, int | float | np.number) and not isinstance(cell, bool)
    return number and (bool(cell != cell) or (minus_one and cell == -1))


def _plain(known: Array) -> Array:
    """Give labels that came as objects as numbers or text, as they are. Raises: ValueError for text beside others."""
    if known.dtype.kind == "f" and (known == np.floor(known)).all():
        return known
    if known.dtype.kind != "O":
        return known
    texts = [isinstance(cell, str) for cell in known]
    if all(texts):
        return known
    if any(texts):
        one, other = known[texts.index(True)], known[texts.index(False)]
        raise ValueError(f"y mixes text with other labels, as {one!r} and {other!r}: wanted classes of one kind")
    return np.array(known.tolist())
