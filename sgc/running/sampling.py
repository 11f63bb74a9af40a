"""Pictures from a trained model: samples, reconstructions, a row for each category, analogies and traversals.

Pixels are the means of their distributions. A model whose observed nodes are no pictures gives numbers instead (.npz).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import DataError, UsageError, suggest
from sgc.language.outline import Variable
from sgc.running.evaluation import run_data
from sgc.running.folder import RunFolder, npz_bytes, open_run, write_whole
from sgc.running.predicting import check_ending
from sgc.runtime.layout import reseed
from sgc.runtime.model import Model
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for

ENDINGS = (".png", ".npz")
LINE = ("real", "real_vector", "circle")  # supports that any number lies in
WIDE = 10  # pictures in a row where nothing else says how many


@dataclass(frozen=True)
class Panel:
    """A titled grid of pictures, [rows, columns, height, width] or [..., 3] with colours, and words for its rows."""

    title: str
    pictures: np.ndarray
    rows: tuple[str, ...] = ()


def sample_run(
    run: Path,
    output: Path,
    *,
    checkpoint: str = "best",
    count: int = 40,
    seed: int | None = None,
    given: Mapping[str, Any] | None = None,  # Any: values as a spec may hold them
    analogies: str | None = None,
    traverse: str | None = None,
    arrays: Any = None,  # Any: a mapping to arrays, or a data frame
    trust: bool = False,
) -> dict[str, Any]:
    """Write pictures (`.png`) or numbers (`.npz`) that a trained model makes.

    Without `analogies` and `traverse`, a picture holds samples, reconstructions of held-out rows, and for each node
    with categories a row for every one, all else alike down a column. `analogies: y` keeps all that is inferred from a
    held-out row and turns y through its categories; `traverse: z` moves one dimension of z at a time from -3 to 3.

    trust: allow own code that the run's spec names.

    Returns: the file, and the panels or arrays in it. Raises: SpecError, UsageError, DataError. Any: what JSON can say.
    """
    check_ending(output, ENDINGS)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    with torch.random.fork_rng(), torch.no_grad():
        reseed(seed_for(model.spec.train.seed if seed is None else seed, VALIDATION, 3), model.like.device)
        held = _held(model, given or {})
        if output.suffix == ".npz":
            return _numbers(model, output, count, held)
        node = _picture_node(model)
        maker = _Maker(model, node, folder, arrays)
        if analogies is not None:
            panels = [maker.analogies(analogies)]
        elif traverse is not None:
            panels = [maker.traverse(traverse)]
        else:
            panels = [maker.samples(count, held), *maker.categories(held), *maker.reconstructions()]
    draw_panels(panels, output, f"{model.spec.name}, epoch {model.epoch:g}")
    left_out = {"left_out": maker.left_out} if maker.left_out else {}
    return {"file": str(output), "node": node, "panels": [panel.title for panel in panels], **left_out}


def _held(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:  # Any: values as a spec may hold them
    known = [*model.outline.variables, *model.outline.inputs]
    for name in given:
        if name not in known:
            raise UsageError(f"--given: no node or input named '{name}' ({suggest(name, known)})")
    missing = [name for name in model.outline.inputs if name not in given]
    if missing:
        raise UsageError(f"the input '{missing[0]}' must be given: --given {missing[0]}=VALUE")
    return dict(given)


def _generate(model: Model, count: int, given: Mapping[str, Any], **words: Any) -> dict[str, Tensor]:  # Any: as above
    try:
        return model.generate(count, given, **words)
    except (ValueError, KeyError) as problem:
        raise UsageError(f"--given: {problem.args[0]}") from None


def _numbers(model: Model, output: Path, count: int, held: Mapping[str, Any]) -> dict[str, Any]:  # Any: as above
    drawn = {name: value.cpu().numpy() for name, value in _generate(model, count, held).items()}
    write_whole(output, npz_bytes(drawn))
    return {"file": str(output), "arrays": {name: list(value.shape) for name, value in drawn.items()}}


def picture_shape(event: Sequence[int]) -> tuple[int, ...] | None:
    """Read an event as a picture: [H, W], [1, H, W], [3, H, W], or a vector that is a square; None: it is none.

    >>> picture_shape([1, 28, 28]), picture_shape([784]), picture_shape([5])
    ((28, 28), (28, 28), None)
    """
    shape = tuple(event)
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= 4:
        return shape
    if len(shape) == 2 and min(shape) >= 4:
        return shape
    side = isqrt(prod(shape)) if len(shape) == 1 else 0
    return (side, side) if side >= 4 and side * side == shape[0] else None


def _picture_node(model: Model) -> str:
    shown = [
        n for n, v in model.outline.variables.items() if v.supervision != "none" and picture_shape(v.event) is not None
    ]
    full = [name for name in shown if model.outline.variables[name].supervision == "full"]
    if not shown:
        raise UsageError("no observed node is a picture: write numbers with -o FILE.npz")
    return (full or shown)[0]


class _Maker:
    """Makes the panels of one model."""

    def __init__(self, model: Model, node: str, folder: RunFolder, arrays: Any) -> None:  # Any: as above
        self.model, self.node, self.folder, self.arrays = model, node, folder, arrays
        self.variable = model.outline.variables[node]
        self.left_out = ""  # why there are no reconstructions

    def pictures(self, values: Tensor, rows: int) -> np.ndarray:
        """Lay values out as a grid of so many rows, grey in [0, 1]."""
        shape = picture_shape(self.variable.event)
        assert shape is not None
        array = np.nan_to_num(values.detach().cpu().double().numpy().reshape(-1, *shape))  # what is missing is dark
        if len(shape) == 3:
            array = array.transpose(0, 2, 3, 1)
        family = self.variable.family
        if family.support == "integer_interval":
            array = array / (family.upper or 1)
        elif family.support not in ("boolean", "unit_interval"):
            low, high = np.quantile(array, 0.005), np.quantile(array, 0.995)
            array = (array - low) / max(high - low, 1e-12)
        grid: np.ndarray = np.clip(array, 0, 1).reshape(rows, -1, *array.shape[1:])
        return grid

    def samples(self, count: int, held: Mapping[str, Any]) -> Panel:  # Any: as above
        wide = min(WIDE, count)
        whole = max(wide, count // wide * wide)
        drawn = _generate(self.model, whole, held, means=[self.node])
        return Panel("samples", self.pictures(drawn[self.node], whole // wide))

    def categories(self, held: Mapping[str, Any]) -> list[Panel]:  # Any: as above
        """A row for every category of each node that has some, everything else alike down a column."""
        panels = []
        for name, variable in self.model.outline.variables.items():
            if variable.categories is None or len(variable.event) > 1 or name in held or name == self.node:
                continue
            if name not in self.model.outline.graphs.ancestors([self.node], "generative"):
                continue
            roots = self._style(name, held)
            given = {k: v.repeat_interleave(variable.categories, 0) for k, v in roots.items()}
            turned = torch.arange(variable.categories).repeat(WIDE)
            made = _generate(self.model, WIDE * variable.categories, {**held, **given, name: turned}, means=[self.node])
            grid = made[self.node].reshape(WIDE, variable.categories, *self.variable.event).transpose(0, 1)
            rows = tuple(f"{name} = {each}" for each in variable.values or range(variable.categories))
            panels.append(
                Panel(f"each {name}, the rest alike down a column", self.pictures(grid, variable.categories), rows)
            )
        return panels

    def _style(self, name: str, held: Mapping[str, Any]) -> dict[str, Tensor]:  # Any: as above
        """Draw what does not depend on a node in p and is not the picture: it stays when the node is turned."""
        graphs = self.model.outline.graphs
        drawn = _generate(self.model, WIDE, held)
        above = {n for n in graphs.nodes if name in graphs.ancestors([n], "generative")}
        return {
            n: v for n, v in drawn.items() if n in graphs.nodes and n not in above and n != self.node and n not in held
        }

    def _some_rows(self, count: int) -> dict[str, Tensor]:
        """Take held-out rows, spread over the categories of the first labelled node."""
        dataset = run_data(self.folder, self.model, self.arrays)
        chosen = next((part for part in (dataset.test, dataset.validation, dataset.train) if len(part)), dataset.train)
        rows = TensorRows(chosen, self.model.outline, self.model.like).drawn_once(self.model.spec.train.seed)
        usable = np.arange(rows.count)
        if self.variable.dropped:  # rows that have a picture, or part of one
            usable = np.flatnonzero(rows.present(self.node, whole=False))
            if not len(usable):
                raise DataError(f"no held-out row has a value of '{self.node}'")
        index = usable[:count]
        for name in rows.partial:
            if rows.categories(name) is not None and rows.values[name].dim() == 1 and rows.present(name).any():
                labels = rows.values[name].numpy()[usable]
                firsts = [usable[np.flatnonzero(labels == label)[:1]] for label in np.unique(labels[labels >= 0])]
                found = np.concatenate([usable[:0], *firsts])
                more = np.setdiff1d(usable, found)[: max(0, count - len(found))]
                index = np.concatenate([found, more])[:count]
                break
        return dict(rows.part(index, frozenset()).values)

    def reconstructions(self) -> list[Panel]:
        """Held-out rows above their reconstructions; none where the data cannot be opened, and `left_out` says why."""
        try:
            batch = self._some_rows(WIDE)
        except (UsageError, DataError) as problem:
            self.left_out = f"no reconstructions: {problem}"
            return []
        if self.node not in batch:  # it is inferred itself
            self.left_out = f"no reconstructions: '{self.node}' is not observed in every row"
            return []
        inputs = {n: v for n, v in batch.items() if n in self.model.outline.inputs}
        latent = self._inferred(batch)
        count = len(batch[self.node])
        made = self.model.generate(count, {**inputs, **latent}, means=[self.node])[self.node]
        both = torch.cat([batch[self.node], made])
        return [Panel("held-out rows, and their reconstructions", self.pictures(both, 2), ("data", "model"))]

    def _inferred(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Infer what is not observed: the most probable category, the mean of the rest."""
        found = self.model.infer(batch, samples=16)
        latent = {}
        for name, posterior in found.items():
            variable: Variable = self.model.outline.variables[name]
            if variable.dropped:  # a leaf: nothing is made of it
                continue
            if variable.categories is not None:
                latent[name] = posterior.mean.argmax(-1)
            elif variable.family.integer:
                latent[name] = posterior.mean.round()
            else:
                latent[name] = posterior.mean
        return latent

    def analogies(self, name: str) -> Panel:
        """Turn one node through its categories, all else as inferred from a held-out row."""
        variable = self.model.outline.variables.get(name)
        turnable = [n for n, v in self.model.outline.variables.items() if v.categories and len(v.event) == 1]
        if variable is None or name not in turnable:
            raise UsageError(f"--analogies: '{name}' is no node with categories ({suggest(name, turnable)})")
        assert variable.categories is not None
        batch = self._some_rows(WIDE)
        count = len(batch[self.node])
        latent = {n: v for n, v in self._inferred(batch).items() if n != name}
        inputs = {n: v for n, v in batch.items() if n in self.model.outline.inputs}
        graphs = self.model.outline.graphs
        kept = {n: v for n, v in latent.items() if name not in graphs.ancestors([n], "generative")}
        columns = []
        for category in range(variable.categories):
            turned = torch.full((count,), category)
            columns.append(self.model.generate(count, {**inputs, **kept, name: turned}, means=[self.node])[self.node])
        grid = torch.stack([batch[self.node], *columns], 1)
        words = ", ".join(str(each) for each in variable.values or range(variable.categories))
        return Panel(f"data, then {name} = {words}", self.pictures(grid, count))

    def traverse(self, name: str) -> Panel:
        """Move each dimension of a latent node from -3 to 3, the others at what one held-out row says."""
        variable = self.model.outline.variables.get(name)
        variables = self.model.outline.variables
        movable = [n for n, v in variables.items() if v.supervision == "none" and v.family.support in LINE]
        if variable is None or name not in movable:
            raise UsageError(f"--traverse: '{name}' is no latent node of real numbers ({suggest(name, movable)})")
        batch = {n: v[:1] for n, v in self._some_rows(1).items()}
        inputs = {n: v for n, v in batch.items() if n in self.model.outline.inputs}
        latent = self._inferred(batch)
        size = prod(variable.event)
        shown = min(size, 20)
        steps = torch.linspace(-3, 3, 9).to(latent[name])
        moved = latent[name].reshape(1, 1, size).repeat(shown, len(steps), 1)
        for i in range(shown):
            moved[i, :, i] = steps
        count = shown * len(steps)
        others = {n: v.expand(count, *v.shape[1:]) for n, v in {**inputs, **latent}.items() if n != name}
        value = moved.reshape(count, *variable.event)
        made = self.model.generate(count, {**others, name: value}, means=[self.node])[self.node]
        title = f"each dimension of {name} from -3 to 3" + (f" (the first {shown} of {size})" if shown < size else "")
        return Panel(title, self.pictures(made, shown), tuple(f"{name}[{i}]" for i in range(shown)))


def draw_panels(panels: Sequence[Panel], output: Path, title: str) -> None:
    """Draw panels below each other into a png. Raises: UsageError where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures need matplotlib: pip install 'sgc[plots]'") from None
    columns = max(panel.pictures.shape[1] for panel in panels)
    cell = 0.62
    heights = [
        panel.pictures.shape[0] * cell * panel.pictures.shape[2] / panel.pictures.shape[3] + 0.35 for panel in panels
    ]
    left = 0.9 if any(panel.rows for panel in panels) else 0.15
    width = max(columns * cell + left + 0.15, 4.5)
    total = sum(heights) + 0.4
    figure = Figure(figsize=(width, total), dpi=120)
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.22 / total, title, ha="center", va="center", fontsize=10)
    top = total - 0.4
    for panel, height in zip(panels, heights, strict=True):
        rows, wide = panel.pictures.shape[:2]
        body = height - 0.35
        axes = figure.add_axes((left / width, (top - height + 0.05) / total, wide * cell / width, body / total))
        axes.imshow(_tile(panel.pictures), cmap="gray_r" if panel.pictures.ndim == 4 else None, vmin=0, vmax=1)
        axes.set_title(panel.title, fontsize=8, loc="left", pad=3)
        axes.set_axis_off()
        for i, word in enumerate(panel.rows):
            axes.text(
                -0.01, 1 - (i + 0.5) / rows, word, fontsize=6.5, ha="right", va="center", transform=axes.transAxes
            )
        top -= height
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(output, buffer.getvalue())


def _tile(pictures: np.ndarray) -> np.ndarray:
    """Join a grid [rows, columns, H, W, ...] into one picture with lines of half ink between."""
    rows, columns, high, wide = pictures.shape[:4]
    whole = np.full((rows * (high + 1) - 1, columns * (wide + 1) - 1, *pictures.shape[4:]), 0.25)
    for i in range(rows):
        for j in range(columns):
            whole[i * (high + 1) : i * (high + 1) + high, j * (wide + 1) : j * (wide + 1) + wide] = pictures[i, j]
    return whole
