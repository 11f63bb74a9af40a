"""A starting spec from arrays, an npz archive's or a MATLAB file's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.errors import DataError
from sgc.starter.spec_text import FEW, GREY, LABELS, DataFiles, Label, Observed, compose, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray


def npz_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read the arrays that have rows; name those that hold Python objects, which are never loaded."""
    from sgc.data.numpy_files import PythonObjects, members_of, opened, read_member

    arrays: dict[str, NDArray[Any]] = {}
    skipped: list[str] = []
    with opened(path) as archive:
        for key, member in members_of(archive).items():
            try:
                array = read_member(archive, member, path)
            except PythonObjects:
                skipped.append(f"{key} (Python objects, which are never loaded)")
                continue
            except ValueError as problem:
                raise DataError(f"column '{key}': {problem}", file=str(path)) from problem
            if array.ndim:
                arrays[key] = array
            else:
                skipped.append(f"{key} (a single value)")
    if not arrays:
        raise DataError("the archive holds no arrays with rows", file=str(path))
    return arrays, skipped


def matlab_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read the arrays of a MATLAB file, rows first; name what is none. Raises: DataError."""
    from sgc.data.mat import PLAIN, read_mat, variables

    classes = variables(path)
    arrays = {name: read_mat(path, [name])[name].values for name, kind in classes.items() if kind in PLAIN}
    if not arrays:
        raise DataError("the file holds no arrays of numbers or text", file=str(path))
    return arrays, [f"{name} (a MATLAB {kind})" for name, kind in classes.items() if kind not in PLAIN]


def arrays_spec(
    name: str, path: Path, files: DataFiles, kind: str, arrays: dict[str, NDArray[Any]], skipped: list[str]
) -> str:
    rows = max((len(array) for array in arrays.values()), key=[len(a) for a in arrays.values()].count, default=0)
    usable = {key: array for key, array in arrays.items() if len(array) == rows and rows > 1}
    numeric = {key: array for key, array in usable.items() if array.dtype.kind in "biuf" and array[0].size > 0}
    flat = [key for key, array in usable.items() if array.ndim == 1 and array.dtype.kind in "biufUS"]
    named = [key for key in flat if key.lower() in LABELS]
    chosen = named[-1] if named else flat[-1] if flat else None
    inputs = [key for key in numeric if key != chosen]
    if not inputs:
        raise DataError("no array of numbers to model, with the rows first", file=str(path))
    main = max(inputs, key=lambda key: numeric[key][0].size)
    label = None if chosen is None else _npz_label(chosen, usable[chosen], by_name=bool(named))
    if chosen is not None and label is None:
        skipped.append(f"{chosen} (text with many different values)")
    skipped += [f"{key} (one array is modelled)" for key in inputs if key != main]
    skipped += [f"{key} (not {rows} rows of numbers)" for key in arrays if key not in numeric and key != chosen]
    head = [
        f"A starting spec for {path.name}, {rows:,} rows, guessed from its arrays: read it, and mend what is wrong."
    ]
    head += [f"Left out: {', '.join(skipped)}."] if skipped else []
    source = [f"source: {kind}", files.line]
    node = _npz_node(main, numeric[main])
    return compose(name, head, source, [node], label, own_test=files.test is not None)


def _npz_node(key: str, array: NDArray[Any]) -> Observed:
    """Guess a distribution: bytes and numbers from 0 to 1 are grey values, others are standardized."""
    import numpy as np

    shape = f"shape: [{', '.join(map(str, array.shape[1:]))}]"
    shape_lines = (shape,) if array.ndim > 1 else ()
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    holes = bool(array.dtype.kind == "f" and np.isnan(array).any())
    column = f"column: {quoted(key)}"
    if low >= 0 and high <= 1:
        return Observed("x", f"{{{column}}}", (GREY, *shape_lines), holes=holes)
    if array.dtype == np.uint8:
        return Observed("x", f"{{{column}, transforms: [{{divide: 255}}]}}", (GREY, *shape_lines))
    lines = ("distribution: Normal", *shape_lines)
    return Observed("x", f"{{{column}, transforms: [standardize]}}", lines, holes=holes)


def _npz_label(key: str, array: NDArray[Any], *, by_name: bool) -> Label | None:
    """Guess a label: few different values are categories, more numbers a target; None: text with many values."""
    import numpy as np

    why = "by its name" if by_name else "the last array with one value a row"
    if array.dtype.kind in "US":
        texts = [str(text) for text in np.unique(array.astype(str)) if str(text)]
        empty = int((array.astype(str) == "").sum())
        named = Label(key, tuple(map(quoted, texts)), empty, why, known=len(array) - empty)
        return named if 2 <= len(texts) <= 1000 else None
    missing = np.isnan(array) if array.dtype.kind == "f" else array == -1
    distinct = np.unique(array[~missing])
    if 2 <= len(distinct) <= max(FEW, 200 * (array.dtype.kind in "iub")) and all(
        float(value).is_integer() for value in distinct
    ):
        empty = int(missing.sum())
        return Label(key, tuple(str(int(value)) for value in distinct), empty, why, known=len(array) - empty)
    empty = int(missing.sum()) if array.dtype.kind == "f" else 0
    return Label(key, None, empty, why, known=len(array) - empty)
