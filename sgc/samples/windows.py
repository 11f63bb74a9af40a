"""Windows of a picture: features that crop it, or paste into it, by a size and a place, and the boxes they are."""

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
    """An `affine` feature with all its steps, in their order; one that stands in no repeat has one step.

    name: as it stands in the file. images: what is seen in the window, the image that is pasted or the crop; numbers:
    the size and the place that it reads; exists: as of `GraphNode`. shape: of an image, canvas: height and width.
    """

    name: str
    images: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    exists: tuple[Steps, ...]
    shape: Shape
    canvas: tuple[int, int]

    def boxes(self, values: Mapping[str, Tensor]) -> Tensor:
        """Give the edges of the boxes as shares of the canvas's sides: left, top, right, bottom, [B, steps, 4].

        values: of the numbers, [B, *event]; a box of which one is NaN has NaN.
        """
        found = []
        for names in self.numbers:
            joined = torch.cat([values[name].reshape(len(values[name]), -1) for name in names], 1)
            size, middle = window(joined, self.canvas)
            found.append(torch.cat([(middle - size + 1) / 2, (middle + size + 1) / 2], 1))
        return torch.stack(found, 1)

    def there(self, outline: Outline, values: Mapping[str, Tensor]) -> Tensor:
        """Tell which steps exist by the counts among values: [B, steps] booleans."""
        rows, like = next((len(each), each) for each in values.values())
        found = torch.ones(rows, len(self.exists), dtype=torch.bool, device=like.device)
        for place, steps in enumerate(self.exists):
            gone = absent(steps, {c: counted(outline.variables[c], values[c]).reshape(rows) for c, _ in steps})
            if gone is not None:
                found[:, place] = ~gone
        return found

    @property
    def count(self) -> str | None:
        """The one node that counts the steps; None where there is none, or more than one."""
        counts = {count for step in self.exists for count, _ in step}
        return counts.pop() if len(counts) == 1 else None


def windows_on(outline: Outline, shown: str) -> list[Window]:
    """Find the windows on the picture that a node is: what is pasted on the way to it, and crops of it.

    A crop by the same numbers as a paste is left out, and so is what is followed by more layers and shows no picture.
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
        made = Window(name, images, numbers, _exists(outline, name, steps), shape, affine.canvas(shapes))
        found[pastes].setdefault(numbers, made)
    return [*found[True].values(), *(each for key, each in found[False].items() if key not in found[True])]


def _exists(outline: Outline, name: str, steps: list[FeatureOutline]) -> tuple[Steps, ...]:
    """Give what each step of a feature needs to exist: the same as the nodes of its repeat."""
    unrolled = outline.spec.unrolled
    around = unrolled.around.get(name, ())
    beside = next((nodes for node, nodes in unrolled.nodes.items() if unrolled.around[node] == around), None)
    if beside is None or not around:
        return ((),) * len(steps)
    return tuple(unrolled.exists.get(node, ()) for node in beside)


def read(model: Model, values: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Read nodes and features at values of nodes, [B, *event]: [B, elements] of each."""
    group = lay_values(model, values, names)
    return {name: _of_rows(group.values[name], group.layout.rows) for name in names}


def _of_rows(value: Tensor, rows: int) -> Tensor:
    """Take the particles out of a value of one particle, [..., B or 1, *event]: [B, elements]."""
    return value.reshape(value.shape[1], -1).expand(rows, -1)
