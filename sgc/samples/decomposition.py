"""Held-out pictures decomposed by the windows on them: boxes, the picture that p generates, and each window's image.

A window is a feature that crops a picture or pastes into it, by a size and a place. The panels show the posterior given
the observed nodes, without labels: particles weighed by p/r. Counts are at their most probable values, other nodes at
their means; the mean of a step is conditioned on its existence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sgc.derivation.existence import Steps, absent
from sgc.networks.layer import Shape
from sgc.networks.spatial_transformer import Affine, image_place, window
from sgc.runtime.counts import counted, filled
from sgc.runtime.model import Model
from sgc.runtime.single_conditional import lay_values
from sgc.runtime.steps import join
from sgc.samples.panels import Box, Panel, color_of, picture_shape, shades, stretched
from sgc.samples.shown_rows import Chosen, HeldOut, category_word
from sgc.samples.traversal import generated_mean, posterior_means
from sgc.spec.outline import FeatureOutline, Outline

SAMPLES = 64  # of the posterior
CELL = 0.85  # the width of a picture in inches
TALL = 20  # steps that are shown at most
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the edges of a whole picture


@dataclass(frozen=True)
class Window:
    """An `affine` feature with all its steps in order; outside repeats it has one step.

    name: as in the file. images: of each step, the pasted image or the crop. numbers: of each step, the nodes that give
    size and place. exists: as in `GraphNode`. shape: of an image. canvas: its height and width.
    """

    name: str
    images: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    exists: tuple[Steps, ...]
    shape: Shape
    canvas: tuple[int, int]

    def boxes(self, values: Mapping[str, Tensor]) -> Tensor:
        """Give the edges of the boxes as shares of the canvas's sides: left, top, right, bottom, [B, steps, 4].

        values: of the numbers, [B, *event]; a box with a NaN among its numbers is NaN.
        """
        boxes = []
        for names in self.numbers:
            joined = torch.cat([values[name].reshape(len(values[name]), -1) for name in names], 1)
            size, middle = window(joined, self.canvas)
            boxes.append(torch.cat([(middle - size + 1) / 2, (middle + size + 1) / 2], 1))
        return torch.stack(boxes, 1)

    def there(self, outline: Outline, values: Mapping[str, Tensor]) -> Tensor:
        """Tell which steps exist by the counts among values: [B, steps] booleans."""
        like = next(iter(values.values()))
        exists = torch.ones(len(like), len(self.exists), dtype=torch.bool, device=like.device)
        for place, steps in enumerate(self.exists):
            gone = absent(steps, {c: counted(outline.variables[c], values[c]).reshape(len(like)) for c, _ in steps})
            if gone is not None:
                exists[:, place] = ~gone
        return exists

    @property
    def count(self) -> str | None:
        """The one node that counts the steps; None without or with more than one."""
        counts = {count for step in self.exists for count, _ in step}
        return counts.pop() if len(counts) == 1 else None


def windows_on(outline: Outline, shown: str) -> list[Window]:
    """Find the windows on the picture of a node: images that are pasted on the way to it, and crops of it.

    A crop by the same numbers as a paste is left out, and so is a crop that is followed by more layers.
    """
    picture = picture_shape(outline.outer[shown].event) if shown in outline.variables else None
    if picture is None:
        return []
    windows: dict[bool, dict[tuple[tuple[str, ...], ...], Window]] = {True: {}, False: {}}
    unrolled = outline.spec.unrolled
    for flat in outline.features:
        name = unrolled.id(flat).name
        steps = [outline.features[node] for node in unrolled.features.get(name, (flat,))]
        affine = steps[0].stack.first
        if flat != steps[0].name or not isinstance(affine, Affine):
            continue
        pastes, shapes = affine.way == "paste", steps[0].stack.parents
        image_index = image_place(shapes)
        shape = shapes[image_index] if pastes else affine.output
        read_names = tuple(step.parents[image_index] for step in steps)
        if affine.canvas(shapes) != picture[-2:] or picture_shape(shape) is None:
            continue
        if pastes and steps[0].name not in outline.graphs.ancestors([shown], "generative"):
            continue
        if not pastes and (steps[0].stack.rest or shown not in outline.graphs.sources(read_names[:1])):
            continue
        numbers = tuple(tuple(p for i, p in enumerate(step.parents) if i != image_index) for step in steps)
        images = read_names if pastes else tuple(step.name for step in steps)
        exists = _exists(outline, name, steps)
        windows[pastes].setdefault(numbers, Window(name, images, numbers, exists, shape, affine.canvas(shapes)))
    return [*windows[True].values(), *(window for key, window in windows[False].items() if key not in windows[True])]


def _exists(outline: Outline, name: str, steps: list[FeatureOutline]) -> tuple[Steps, ...]:
    """Give the counts that each step of a feature needs to exist: those of the nodes of its repeat."""
    unrolled = outline.spec.unrolled
    around = unrolled.around.get(name, ())
    beside = next((nodes for node, nodes in unrolled.nodes.items() if unrolled.around[node] == around), None)
    if beside is None or not around:
        return ((),) * len(steps)
    return tuple(unrolled.exists.get(node, ()) for node in beside)


def read(model: Model, values: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Give nodes and features at values of nodes, [B, *event]: [B, elements] each."""
    group = lay_values(model, values, names)
    node_values = {name: group.values[name] for name in names}  # [1, B or 1, *event]: one particle
    return {
        name: value.reshape(value.shape[1], -1).expand(group.layout.rows, -1) for name, value in node_values.items()
    }


def decompositions(model: Model, shown: str, held_out: HeldOut, chosen: Chosen) -> list[Panel]:
    """Decompose chosen rows in a panel for each window on the picture that is shown; there may be none."""
    windows = windows_on(model.outline, shown)
    if not windows:
        return []
    inference = _Inference(model, shown, chosen)
    return [_panel(inference, window, held_out) for window in windows]


class _Inference:
    """The posterior of chosen rows, and the picture that p generates from it."""

    def __init__(self, model: Model, shown: str, chosen: Chosen) -> None:
        self.model, self.shown, self.chosen = model, shown, chosen
        variables = model.outline.variables
        self.means = posterior_means(model, chosen.batch, SAMPLES)
        single = {name: variables[name].family.support.nearest(mean) for name, mean in self.means.items()}
        self.values = filled(model.outline, {**chosen.batch, **single})
        self.generated = generated_mean(model, self.values, shown)

    def pictures(self) -> np.ndarray:
        """Give the rows' own and their generated pictures: [2, B, height, width] or [..., 3], in [0, 1]."""
        data = join(self.model.outline, self.chosen.batch)[self.shown]
        return shades(_array(torch.cat([data, self.generated])), self.model.outline.variables[self.shown], 2)

    def images(self, window: Window, steps: int) -> np.ndarray:
        """Give the image in each step's window, [steps, B, height, width] or [..., 3], in [0, 1].

        Images from networks are shown unscaled if they lie in [0, 1]; others, and nodes, are scaled like data.
        """
        names, outline = window.images[:steps], self.model.outline
        if names[0] in outline.variables:
            means = {n: torch.where(m.isnan(), self.values[n], m) for n, m in self.means.items() if n in names}
            nodes = torch.cat([means.get(name, self.values[name]) for name in names])
            return shades(_array(nodes), outline.variables[names[0]], steps)
        features = read(self.model, self.values, names)
        array = _array(torch.stack([features[name] for name in names])).reshape(steps, -1, *window.shape)
        array = array[:, :, 0] if window.shape[0] == 1 else np.moveaxis(array, 2, -1)
        return array if array.min() >= 0 and array.max() <= 1 else np.clip(stretched(array), 0, 1)

    def steps_words(self, window: Window) -> tuple[list[list[str]], str]:
        """Name each step of each row, [B][steps], by the category of a node in its repeat, or else by its number.

        Returns also the name of that node, or an empty string.
        """
        outline, unrolled = self.model.outline, self.model.spec.unrolled
        around = unrolled.around.get(window.name)
        for name, nodes in unrolled.nodes.items():
            first = outline.variables[nodes[0]]
            by_category = first.categories is not None and len(first.event) == 1 and len(nodes) == len(window.images)
            if by_category and unrolled.around[name] == around and all(node in self.values for node in nodes):
                places = torch.stack([self.values[node].argmax(-1) for node in nodes], 1).tolist()
                words = [[category_word(self.model, n, k) for n, k in zip(nodes, row, strict=True)] for row in places]
                return words, name
        numbers = [unrolled.id(name).step for name in window.images]
        return [numbers] * len(self.chosen), ""


def _panel(inference: _Inference, window: Window, held_out: HeldOut) -> Panel:
    """Arrange a column for each held-out row: its picture with boxes, the generated picture, and each window."""
    outline, chosen = inference.model.outline, inference.chosen
    steps = min(len(window.images), TALL)
    exists = window.there(outline, inference.values).tolist()
    pictures, inner = inference.pictures(), inference.images(window, steps)
    grid = np.full((2 + steps, *pictures.shape[1:]), np.nan)
    grid[:2] = pictures
    words, named = inference.steps_words(window)
    truth = _labelled_boxes(window, held_out, chosen)
    numbers = tuple(name for names in window.numbers for name in names)
    edges = window.boxes(read(inference.model, inference.values, numbers)).tolist()
    boxes: list[Box] = []
    for row in range(len(chosen)):
        for step in range(steps):
            color = color_of(step)
            label = None if truth is None else truth[row, step]
            if label is not None and not bool(label.isnan().any()):
                boxes.append(Box(0, row, label.tolist(), color, dashed=True))
            if exists[row][step]:
                word = words[row][step]
                grid[2 + step, row] = _fitted(inner[step, row], window.canvas)
                boxes.append(Box(0, row, edges[row][step], color, word))
                boxes.append(Box(2 + step, row, WHOLE, color, word if named else ""))
    rows = ("data", "posterior", *window.images[:steps])
    title = _title(chosen.kind, window, named, steps, truth is not None)
    return Panel(title, grid, rows, _columns(inference, window), boxes=tuple(boxes), cell=CELL)


def _title(kind: str, window: Window, named: str, steps: int, labelled: bool) -> str:
    """Describe what a panel shows."""
    repeat = window.name.rpartition(".")[0]
    subject = f"each {repeat}" if repeat else window.name
    words = [f"{named or 'the step'} beside it"] if named or len(window.images) > 1 else []
    words += ["dashed: where the labels say it is"] if labelled else []
    counts = f"{window.count} at its most probable value, the rest at its mean" if window.count else "at its mean"
    shown = f", the first {steps} of {len(window.images)} steps" if steps < len(window.images) else ""
    return (
        f"{kind} decomposed{shown}: the inferred box of {subject} ({'; '.join(words)}), the picture generated "
        f"from the posterior ({SAMPLES} weighted samples; {counts}), and {subject} by itself"
    ).replace(" ()", "")


def _columns(inference: _Inference, window: Window) -> tuple[str, ...]:
    """Label the held-out rows, with the number of inferred steps unless their count is observed."""
    count, words = window.count, inference.chosen.words
    if count is None or count in inference.chosen.batch:
        return words
    numbers = counted(inference.model.outline.variables[count], inference.values[count]).reshape(-1).tolist()
    return tuple(
        f"{word}\ninferred {number:g}" if word.startswith(f"{count} = ") else f"{word}\n{count} = {number:g}"
        for word, number in zip(words, numbers, strict=True)
    )


def _labelled_boxes(window: Window, held_out: HeldOut, chosen: Chosen) -> Tensor | None:
    """Give the boxes by labels, [B, steps, 4], NaN for missing labels; None if one of the nodes has no labels."""
    values: dict[str, Tensor] = {}
    for name in {name for names in window.numbers for name in names}:
        labels = held_out.labels(name, chosen)
        if labels is None:
            return None
        values[name] = labels
    return window.boxes(values)


def _array(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture to another height and width, by the nearest pixels."""
    sizes = zip(size, picture.shape, strict=False)
    return picture[np.ix_(*[((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in sizes])]
