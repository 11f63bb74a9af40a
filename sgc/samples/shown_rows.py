"""Choosing what pictures show: held-out rows, categories, and values of a labelled node.

Rows come from the test split, or else from the validation or the training split. Their labels choose and name them,
but are not shown to the model. The seed chooses one row for each category of the first labelled node with categories,
or for as many categories, evenly spaced, as there is room for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.dataset import DataSet
from sgc.data.encoder import Encoder
from sgc.errors import DataError, RunError
from sgc.runtime.finiteness import is_about_rows, rows_words
from sgc.runtime.model import Model
from sgc.runtime.steps import owner_of
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for
from sgc.samples.traversal import infer_centers

SPLITS = ("test", "validation", "train")
WIDE = 10  # pictures in a row, and rows or categories, by default
SEARCHED = 200  # rows that are tried if not all are suitable
FEW = 4  # elements of a value that are written out at most


@dataclass(frozen=True)
class Chosen:
    """Rows that pictures show: their split, their ids, what is observed of them, and a label for each."""

    split: str
    ids: tuple[int, ...]
    batch: dict[str, Tensor]  # [B, *event]
    words: tuple[str, ...]
    places: tuple[int, ...] = ()  # in the split

    @property
    def kind(self) -> str:
        """What they are called above a picture: rows of a spec that keeps none back are those of training."""
        return "training rows" if self.split == "train" else "held-out rows"

    def __len__(self) -> int:
        return len(self.ids)


def spread(count: int, size: int) -> np.ndarray:
    """Choose at most so many places of a sequence, evenly spaced and with both ends.

    >>> spread(4, 10).tolist(), spread(4, 3).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.linspace(0, size - 1, min(count, size)).round().astype(np.int64)


def along_axis(values: np.ndarray, count: int) -> np.ndarray:
    """Choose at most so many of the values [N, *event] in order: evenly spaced quantiles, each a value that occurs.

    Vectors are ordered by their scores on their first principal axis, whose largest element is positive. Equal values
    are chosen once. Returns places in `values`.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    score = flat[:, 0]
    if flat.shape[1] > 1:
        centred = flat - flat.mean(0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        score = centred @ (axis * np.sign(axis[np.abs(axis).argmax()]))
    order = np.argsort(score, kind="stable")
    taken = order[spread(count, len(order))]
    _, first = np.unique(flat[taken], axis=0, return_index=True)
    return np.asarray(taken[np.sort(first)])


def value_words(encoder: Encoder, values: np.ndarray) -> tuple[str, ...]:
    """Write values [C, *event] as in the data, a line for each element; of long values, their place in the order."""
    if values[0].size > FEW:
        return tuple(f"{round(100 * i / max(len(values) - 1, 1))} %" for i in range(len(values)))
    cells = encoder.decode(values).reshape(len(values), -1)
    if encoder.names is not None:
        return tuple("\n".join(map(str, row)) for row in encoder.named(cells))
    tiny = 1e-6 * max(float(np.abs(cells).max()), 1e-300)
    return tuple("\n".join(f"{0.0 if abs(cell) < tiny else cell:.3g}" for cell in row) for row in cells)


class HeldOut:
    """The held-out rows that pictures may show, with the labels that choose and name them."""

    def __init__(self, dataset: DataSet, model: Model, seed: int, splits: Sequence[str] = SPLITS) -> None:
        """Take the first of the splits that has rows."""
        self.dataset, self.model = dataset, model
        self.split = next((name for name in splits if len(getattr(dataset, name))), "train")
        self.rows = self._tensors(self.split)
        self.draw = np.random.default_rng(seed_for(seed, VALIDATION, 4))
        self.chosen: Chosen | None = None  # the last rows that were chosen
        self.failures: list[str] = []  # chosen rows that cannot be shown

    def _tensors(self, split: str) -> TensorRows:
        rows = TensorRows(getattr(self.dataset, split), self.model.outline, self.model.like)
        return rows.drawn_once(self.model.spec.train.seed)

    def taken(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give the chosen rows as plain data, if there are any."""
        chosen = self.chosen
        return {} if chosen is None else {"held_out": {"split": chosen.split, "rows": list(chosen.ids)}}

    def choose(self, shown: str, count: int, fit: Callable[[dict[str, Tensor]], np.ndarray] | None = None) -> Chosen:
        """Choose rows that have a value of the shown node, or a part of one, and for which q is finite.

        fit: tells which rows are suitable, from what is observed of them, [B, *event], and raises if none is; it gets
        some rows if there are many. Raises: DataError if no row has a value; RunError if q is finite for none.
        """
        usable = np.arange(self.rows.count)
        if self.model.outline.outer[shown].dropped:
            usable = np.flatnonzero(self.rows.present(shown, whole=False))
        if not len(usable):
            raise DataError(f"no held-out row has a value of '{shown}'")
        usable = self.draw.permutation(usable)
        if fit is not None:
            usable = usable[:SEARCHED]
            usable = usable[fit(dict(self.rows.part(usable, frozenset()).values))]
        name = self._label(usable)
        if name is None:
            index = usable[:count]
        else:
            labels = self.rows.take(name, np.arange(self.rows.count)).numpy()
            kinds, first = np.unique(labels[usable], return_index=True)
            first = first[kinds >= 0]
            taken = usable[first[spread(count, len(first))]]
            more = usable[~np.isin(usable, taken)][: count - len(taken)]
            index = np.concatenate([taken, more])
            index = index[np.lexsort((labels[index], labels[index] < 0))]  # those without a label come last
        index = self._inferable(index)
        ids = tuple(int(row_id) for row_id in self.rows.row_ids[index])
        batch = dict(self.rows.part(index, frozenset()).values)
        words = tuple(self._word(name, int(i)) for i in index)
        self.chosen = Chosen(self.split, ids, batch, words, tuple(index.tolist()))
        return self.chosen

    def _inferable(self, index: np.ndarray) -> np.ndarray:
        """Leave out the rows for which q is not finite, and report them. Raises: RunError if all are left out."""
        broken: dict[int, str] = {}
        for place in index:
            try:
                centers = infer_centers(self.model, self.rows.part(np.array([place]), frozenset()).values)
                wrong = [n for n in self.model.outline.recognition if not bool(torch.isfinite(centers[n]).all())]
                problem = f"node '{wrong[0]}': its prediction by q is not finite" if wrong else ""
            except (ValueError, RuntimeError, RunError) as failure:  # torch refuses with many kinds of errors
                if not is_about_rows(failure):
                    raise
                problem = str(failure).splitlines()[0]
            if problem:
                broken[int(place)] = problem
        problems = rows_words({int(self.rows.row_ids[place]): problem for place, problem in sorted(broken.items())})
        if len(broken) == len(index):
            raise RunError(f"no chosen row of the {self.split} split can be shown: {problems}")
        if broken:
            self.failures.append(f"left out of the {self.split} rows: {problems}")
        return index[[int(place) not in broken for place in index]]

    def labels(self, node: str, chosen: Chosen) -> Tensor | None:
        """Give the labels of a node of numbers in chosen rows, [B, *event], NaN if missing; None if it has no labels.

        node: for a node of a repeat, that of one step; a step that does not exist has no label.
        """
        if node not in self.rows.partial:
            return None
        index = np.array(chosen.places)
        value = self.rows.take(node, index)
        labelled = torch.from_numpy(self.rows.labels[index, self.rows.partial.index(node)])
        return value.masked_fill(~labelled.reshape(-1, *(1,) * (value.dim() - 1)), torch.nan).to(self.model.like)

    def _label(self, usable: np.ndarray) -> str | None:
        """Name the first node that has one category per row and a label in some of the rows."""
        for name, variable in self.model.outline.outer.items():
            by_category = variable.categories is not None and len(variable.event) == 1 and name in self.rows.names
            if by_category and bool(self.rows.present(name)[usable].any()):
                return name
        return None

    def _word(self, name: str | None, place: int) -> str:
        category = -1 if name is None else int(self.rows.take(name, np.array([place])))
        if name is None or category < 0:
            return f"row {self.rows.row_ids[place]}"
        return f"{name} = {category_word(self.model, name, category)}"

    def range_of(self, name: str, count: int) -> tuple[Tensor, tuple[str, ...], str]:
        """Give values of a labelled node in the held-out rows, [C, *event], a label for each, and where they are from.

        They are ordered as in `along_axis`. If the split that is shown has no label of the node, the next split is
        used. Raises: DataError if none has.
        """
        for split in SPLITS[SPLITS.index(self.split) :]:
            rows = self.rows if split == self.split else self._tensors(split)
            labelled = rows.present(name) if rows.count else np.zeros(0, dtype=bool)
            if labelled.any():
                labels = rows.take(name, np.flatnonzero(labelled)).numpy()
                taken = labels[along_axis(labels, count)]
                outer = self.model.outline.outer_name.get(name, name)
                words = value_words(self.dataset.encoders[outer].of_step(), taken)
                axis = "" if taken[0].size == 1 else ", along their first principal axis"
                return torch.from_numpy(taken).to(self.model.like), words, f"{split} rows{axis}"
        raise DataError(f"no row has a label of '{name}' to turn it through")


def category_word(model: Model, name: str, place: int) -> str:
    """Write a category as in the data."""
    values = owner_of(model.outline, name).values
    return str(place if values is None else values[place])


def share_word(shown: int, size: int, word: str = "") -> str:
    """Say how many of how many are shown; nothing if all are.

    >>> share_word(10, 38), share_word(10, 10)
    (' (10 of 38)', '')
    """
    return f" ({word}{shown} of {size})" if shown < size else ""
