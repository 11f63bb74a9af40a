"""Values of a node as the page draws them: a picture, lines over steps, bars with names, probabilities."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgc.data.encoder import Encoder
from sgc.explorer.control_values import units_of
from sgc.explorer.controls import columns_of, element_names
from sgc.runtime.model import Model
from sgc.runtime.steps import nodes_of, steps_of
from sgc.samples.panels import shades, whole_picture

MANY = 24  # numbers from which on they are drawn as lines
CHANNELS = 8  # lines in one drawing


class Drawing:
    """How the values of one node, by its outer name, are drawn."""

    def __init__(self, model: Model, name: str, encoder: Encoder | None) -> None:
        self.name, self.variable = name, model.outline.outer[name]
        self.steps, self.encoder = steps_of(model.outline, name), encoder
        node = model.outline.variables[nodes_of(model.outline, name)[0]]
        self.units = units_of(name, node, encoder.of_step() if encoder is not None and self.steps else encoder)
        self.names = element_names(name, self.units, model.spec.data)
        listed = len(self.variable.event) == 1 and len(columns_of(name, model.spec.data)) > 1
        whole = None if self.variable.categories is not None else whole_picture(self.variable.event, self.steps)
        self.picture = None if listed or self.units.nominal else whole

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Describe it for the page."""
        kind = "picture" if self.picture else "shares" if self.variable.categories is not None else "numbers"
        names: Sequence[str] = self.units.names if kind == "shares" else [] if self.picture else self.names
        return {"name": self.name, "kind": kind, "names": names, "steps": self.steps, "lines": self._lines()}

    def _lines(self) -> bool:
        """Tell whether numbers are drawn as lines, over the first axis."""
        return bool(self.steps) or (self.units.size > MANY and not self.picture)

    def values(self, value: np.ndarray) -> dict[str, Any]:  # Any: what JSON can say
        """Give one value, [*steps, *event], for the page."""
        if self.picture:
            return picture(shades(value[None], self.variable, 1, self.steps)[0, 0])
        if self.variable.categories is not None:  # probabilities, a row for each element
            rows = value.reshape(-1, self.variable.categories)
            return {"rows": [[_number(share) for share in row] for row in rows.tolist()]}
        flat = value.reshape(-1, *self.units.event)
        cells = self.units.decoded(flat).reshape(len(flat), -1)
        if self.steps or not self._lines():
            return {"rows": [[_number(number) for number in row] for row in cells.tolist()]}
        channels = cells.reshape(self.units.cells) if len(self.units.cells) == 2 else cells.reshape(-1, 1)
        if channels.shape[1] > CHANNELS:
            channels = cells.reshape(-1, 1)
        return {"rows": [[_number(number) for number in row] for row in channels.tolist()]}


def picture(array: np.ndarray) -> dict[str, Any]:  # Any: what JSON can say
    """Give a picture, [H, W] or [H, W, 3] in [0, 1], as bytes in base64."""
    pixels = np.round(array * 255).astype(np.uint8)
    return {
        "high": pixels.shape[0],
        "wide": pixels.shape[1],
        "channels": 3 if pixels.ndim == 3 else 1,
        "pixels": base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode(),
    }


def _number(number: float) -> float | None:
    """Keep five digits; None for what is missing or not finite."""
    return float(f"{number:.5g}") if np.isfinite(number) else None
