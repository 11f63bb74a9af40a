"""Windows on a picture: features that crop it or paste into it, by a size and a place; and their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sgc.derivation.existence import Steps, absent
from sgc.networks.layer import Shape
from sgc.networks.spatial_transformer import Affine, image_place, window
from sgc.runtime.counts import counted
from sgc.runtime.model import Model
from sgc.runtime.single_conditional import lay_values
from sgc.samples.panels import picture_shape
from sgc.spec.outline import FeatureOutline, Outline


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
        there = torch.ones(len(like), len(self.exists), dtype=torch.bool, device=like.device)
        for place, steps in enumerate(self.exists):
            gone = absent(steps, {c: counted(outline.variables[c], values[c]).reshape(len(like)) for c, _ in steps})
            if gone is not None:
                there[:, place] = ~gone
        return there

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
    found: dict[bool, dict[tuple[tuple[str, ...], ...], Window]] = {True: {}, False: {}}
    unrolled = outline.spec.unrolled
    for flat in outline.features:
        name = unrolled.id(flat).name
        steps = [outline.features[each] for each in unrolled.features.get(name, (flat,))]
        affine = steps[0].stack.first
        if flat != steps[0].name or not isinstance(affine, Affine):
            continue
        pastes, shapes = affine.way == "paste", steps[0].stack.parents
        which = image_place(shapes)
        shape = shapes[which] if pastes else affine.output
        seen = tuple(step.parents[which] for step in steps)
        if affine.canvas(shapes) != picture[-2:] or picture_shape(shape) is None:
            continue
        if pastes and steps[0].name not in outline.graphs.ancestors([shown], "generative"):
            continue
        if not pastes and (steps[0].stack.rest or shown not in outline.graphs.sources(seen[:1])):
            continue
        numbers = tuple(tuple(p for i, p in enumerate(step.parents) if i != which) for step in steps)
        images = seen if pastes else tuple(step.name for step in steps)
        exists = _exists(outline, name, steps)
        found[pastes].setdefault(numbers, Window(name, images, numbers, exists, shape, affine.canvas(shapes)))
    return [*found[True].values(), *(each for key, each in found[False].items() if key not in found[True])]


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
    there = {name: group.values[name] for name in names}  # [1, B or 1, *event]: one particle
    return {name: value.reshape(value.shape[1], -1).expand(group.layout.rows, -1) for name, value in there.items()}
