"""The pictures of `sgc sample` for a page: an overview of the model, and its latent nodes moved, as PNG in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sgc.errors import DataError, RunError, UsageError
from sgc.randomness import Generators, drawing_from
from sgc.run_report.shell_commands import flag
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.model import Model
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.samples.overview import Overview, shown_node
from sgc.samples.panels import Panel, panels_png
from sgc.samples.shown_rows import HeldOut
from sgc.samples.traversal_rows import Turner

COUNT = 40  # samples, as `sgc sample` draws
MOVED = 3  # latent nodes that are moved at most
ROOM = 1_200_000  # bytes of all pictures together
SMALLEST = 0.4  # of its size, to which a picture is scaled at most to fit
COLOURS = 128  # of a picture that is not grey


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of a PNG, with a caption."""

    png: bytes
    caption: str
    alternative: str


@dataclass(frozen=True)
class Pictures:
    """The pictures of a model, and what is left out, in words."""

    pictures: tuple[Picture, ...] = ()
    left_out: tuple[str, ...] = ()


def pictures_of(model: Model, opened: Callable[[], HeldOut] | None, seed: int, sampling: str) -> Pictures:
    """Draw what `sgc sample` does.

    opened: opens the held-out rows; None where the data are not at hand. sampling: the command that writes samples.
    """
    if not model.spec.maximised.generative:
        return Pictures(left_out=("no pictures: a classifier alone generates nothing",))
    try:
        node = shown_node(model, ".png")
    except UsageError as problem:
        return Pictures(left_out=(f"no pictures: {str(problem).partition(':')[0]}",))
    if inputs_wanted(model.outline, {}):
        wanted = inputs_wanted(model.outline, {})
        given = " ".join(flag("given", f"{name}=VALUE") for name in wanted)
        return Pictures(left_out=(f"no pictures: the model reads {', '.join(wanted)}: {sampling} {given}",))
    pictures: list[Picture] = []
    left_out: list[str] = []
    with drawing_from(Generators(seed_for(seed, VALIDATION, 3))), torch.no_grad():
        overview = Overview(model, node, {})
        try:
            panels = [overview.samples(COUNT), *overview.categories()]
            if opened is not None:
                panels += overview.reconstructions(opened)
            whole = _drawn(panels, f"What the model makes of {node}, as `sgc sample` draws it.")
            if whole is None:
                left_out.append(f"no overview of pictures, which is large: {sampling}")
            else:
                pictures.append(whole)
        except (RunError, UsageError, DataError) as problem:
            return Pictures(left_out=(f"no pictures: {problem}",))
        left_out += [overview.left_out] if overview.left_out else []
        left_out += overview.failures
        latent = [n for n, v in model.outline.variables.items() if v.supervision == "none"]
        for name in latent:
            if opened is None or len(pictures) > MOVED:
                break
            try:
                turner = Turner(model, node, {}, opened)
                panel = turner.traverse(name).panel(model, node)
            except (RunError, UsageError, DataError):
                continue  # a category, a bounded node, a step of a repeat, or one that the picture does not depend on
            caption = f"Each row moves one dimension of {name}, as `sgc sample --traverse {name}` does."
            room = ROOM - sum(len(picture.png) for picture in pictures)
            moved = _drawn([panel], caption, room)
            if moved is None:
                left_out.append(f"no picture of {name} moved, which is large: {sampling} {flag('traverse', name)}")
            else:
                pictures.append(moved)
    return Pictures(tuple(pictures), tuple(left_out))


def _drawn(panels: Sequence[Panel], caption: str, room: int = ROOM) -> Picture | None:
    """Draw panels as a picture that fits, smaller if need be; None where it would be too small to be seen."""
    png = compact(panels_png(panels, ""), room)
    return None if png is None else Picture(png, caption, "; ".join(panel.title for panel in panels))


def compact(png: bytes, room: int) -> bytes | None:
    """Write a picture in few bytes, grey or in few colours, scaled down until it fits; None where it does not."""
    from PIL import Image

    whole = Image.open(io.BytesIO(png)).convert("RGB")
    grey = whole.convert("L")
    plain = bool(np.array_equal(np.asarray(whole), np.repeat(np.asarray(grey)[..., None], 3, 2)))
    scale = 1.0
    while scale >= SMALLEST:
        size = (round(whole.width * scale), round(whole.height * scale))
        picture = (grey if plain else whole).resize(size, Image.Resampling.LANCZOS) if scale < 1 else whole
        picture = picture.convert("L") if plain else picture.quantize(COLOURS)
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG", optimize=True)
        if len(buffer.getvalue()) <= room:
            return buffer.getvalue()
        scale *= 0.8
    return None
