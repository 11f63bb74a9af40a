"""A starting spec from arrays, an npz archive's or a MATLAB file's, or from a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.errors import DataError
from sgc.starter.file_contents import gallery
from sgc.starter.spec_text import FEW, LABELS, ROWS, Label, Observed, compose, file_text, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = (32, 32)  # rows and columns that pictures of different sizes are brought to


def arrays_spec(
    name: str, path: Path, file: str, kind: str, arrays: dict[str, NDArray[Any]], skipped: list[str]
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
    source = [f"source: {kind}", f"file: {file_text(file)}    # looked for under $SGC_DATA, then beside this file"]
    return compose(name, head, source, [_npz_node(main, numeric[main])], label)


def _npz_node(key: str, array: NDArray[Any]) -> Observed:
    """Guess a distribution: bytes and numbers from 0 to 1 are grey values, others are standardized."""
    import numpy as np

    shape = f"shape: [{', '.join(map(str, array.shape[1:]))}]"
    shape_lines = (shape,) if array.ndim > 1 else ()
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    holes = bool(array.dtype.kind == "f" and np.isnan(array).any())
    column = f"column: {quoted(key)}"
    grey = "distribution: Bernoulli    # a guess: grey values from 0 to 1, scored by cross-entropy"
    if low >= 0 and high <= 1:
        return Observed("x", f"{{{column}}}", (grey, *shape_lines), holes=holes)
    if array.dtype == np.uint8:
        return Observed("x", f"{{{column}, transforms: [{{divide: 255}}]}}", (grey, *shape_lines))
    lines = ("distribution: Normal", *shape_lines)
    return Observed("x", f"{{{column}, transforms: [standardize]}}", lines, holes=holes)


def _npz_label(key: str, array: NDArray[Any], *, by_name: bool) -> Label | None:
    """Guess a label: few different values are categories, more numbers a target; None: text with many values."""
    import numpy as np

    why = "by its name" if by_name else "the last array with one value a row"
    if array.dtype.kind in "US":
        texts = [str(text) for text in np.unique(array.astype(str)) if str(text)]
        empty = int((array.astype(str) == "").sum())
        return Label(key, tuple(map(quoted, texts)), empty, why) if 2 <= len(texts) <= 1000 else None
    missing = np.isnan(array) if array.dtype.kind == "f" else array == -1
    there = np.unique(array[~missing])
    if 2 <= len(there) <= max(FEW, 200 * (array.dtype.kind in "iub")) and all(
        float(each).is_integer() for each in there
    ):
        return Label(key, tuple(str(int(each)) for each in there), int(missing.sum()), why)
    return Label(key, None, int(missing.sum()) if array.dtype.kind == "f" else 0, why)


def gallery_spec(name: str, folder: Path, root: str) -> str:
    found = gallery(folder, ROWS)
    mode, channels = ("colour", 3) if found.colour else ("grey", 1)
    rows, columns = found.size or SIZE
    source = ["source: images", f"root: {file_text(root)}    # looked for under $SGC_DATA, then beside this file"]
    source.append(f"mode: {mode}")
    if found.size is None:
        source.append(f"size: [{rows}, {columns}]    # they are of different sizes: all are brought to this one")
    label = None
    if len(found.labels) > 1:
        label = Label("label", tuple(map(quoted, found.labels)), 0, "the names of the folders")
    grey = "distribution: Bernoulli    # a guess: grey values from 0 to 1, scored by cross-entropy"
    shape = f"shape: [{channels}, {rows}, {columns}]    # channels, rows, columns"
    image = Observed("x", "{column: image, transforms: [{divide: 255}]}", (grey, shape))
    head = [f"A starting spec for the {found.count:,} pictures of {folder.name or folder}: read it, and mend it."]
    return compose(name, head, source, [image], label)
