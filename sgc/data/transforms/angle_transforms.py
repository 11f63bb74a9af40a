"""Transforms of angles: to unit vectors, which have no jump from 359° to 0°, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from sgc.data.transforms.transform import Fitted, Learned, Learner, Learning, Uniforms

if TYPE_CHECKING:
    from sgc.data.transforms.transform import Numbers

Unit = Literal["degrees", "radians"]


class AngleRange(Learned):
    """Whether angles go from 0 to a whole turn, and not from minus to plus half a turn."""

    positive: bool


@final
class Angle(Learner):
    """`{angle: degrees}` or `{angle: radians}`: turn each angle into [cos, sin], a last axis of two.

    Undone in predictions, as the angle of the vector: from 0 to 360° where a training row is above 180°, else from
    -180° to 180°. Its standard deviation is that of the shorter way around.
    """

    name: ClassVar[str] = "angle"
    learned: ClassVar[type[Learned]] = AngleRange
    points: ClassVar[bool] = True
    angle: Unit = Field(
        description="The unit of the column.",
        examples=["degrees"],
    )

    @property
    def turns(self) -> tuple[float, ...]:
        return (2 * _half(self.angle),)

    def learning(self) -> Learning:
        positive = False
        while (values := (yield)) is not None:
            positive = _goes_beyond_half(values, self.angle) or positive
        return {"positive": positive}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        angle = _radians(values, self.angle)
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        return _in_unit(np.arctan2(values[..., 1], values[..., 0]), self.angle, positive=fitted["positive"])

    def nearest(self, values: Numbers, about: Numbers) -> Numbers:
        return _nearest_turn(values, about, self.angle)


@final
class Direction(Learner):
    """`{direction: degrees}` or `{direction: radians}`: turn two columns, azimuth and elevation, into a unit vector.

    The axes are those of an image: x to its right, y up, z towards the camera; x = -sin(azimuth) cos(elevation),
    y = sin(elevation), z = cos(azimuth) cos(elevation), since a positive azimuth is to the right of the person in the
    picture, which is the picture's left (Georghiades et al. 2001). Undone in predictions as `angle` is; the elevation
    comes back from -90° to 90°. A direction of which one angle is missing is missing.
    """

    name: ClassVar[str] = "direction"
    learned: ClassVar[type[Learned]] = AngleRange
    points: ClassVar[bool] = True
    direction: Unit = Field(
        description="The unit of both columns.",
        examples=["degrees"],
    )

    @property
    def turns(self) -> tuple[float, ...]:
        return (2 * _half(self.direction), 0.0)

    def learning(self) -> Learning:
        positive = False
        while (values := (yield)) is not None:
            positive = _goes_beyond_half(values[..., :1], self.direction) or positive
        return {"positive": positive}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if values.shape[-1] != 2 or values.ndim < 2:
            raise ValueError(
                f"'direction' wants two columns, azimuth and elevation, found the shape {list(values.shape[1:])}"
            )
        angles = _radians(values, self.direction)
        azimuth, elevation = angles[..., 0], angles[..., 1]
        level = np.cos(elevation)
        vectors = np.stack([-np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], axis=-1)
        vectors[np.isnan(angles).any(axis=-1)] = np.nan
        return vectors

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        x, y, z = values[..., 0], values[..., 1], values[..., 2]
        azimuth = _in_unit(np.arctan2(-x, z), self.direction, positive=fitted["positive"])
        elevation = _in_unit(np.arctan2(y, np.hypot(x, z)), self.direction, positive=False)
        return np.stack([azimuth, elevation], axis=-1)

    def nearest(self, values: Numbers, about: Numbers) -> Numbers:
        import numpy as np

        azimuth = _nearest_turn(values[..., 0], about[..., 0], self.direction)
        return np.stack([azimuth, values[..., 1]], axis=-1)


def _half(unit: Unit) -> float:
    return 180.0 if unit == "degrees" else math.pi


def _goes_beyond_half(values: Numbers, unit: Unit) -> bool:
    return bool((values > _half(unit)).any())  # NaN is above nothing


def _radians(values: Numbers, unit: Unit) -> Numbers:
    """Give angles in radians, in float64: the cosine of 90° in float32 is below 0, and turns a pole around."""
    import numpy as np

    fine = values.astype(np.float64)
    return np.deg2rad(fine) if unit == "degrees" else fine


def _in_unit(radians: Numbers, unit: Unit, *, positive: bool) -> Numbers:
    import numpy as np

    angle: Numbers = np.rad2deg(radians) if unit == "degrees" else radians
    return np.where(angle < 0, angle + 2 * _half(unit), angle) if positive else angle


def _nearest_turn(values: Numbers, about: Numbers, unit: Unit) -> Numbers:
    """Add whole turns to `values` until they are at most half a turn from `about`."""
    import numpy as np

    turn = 2 * _half(unit)
    return np.asarray(values - turn * np.round((values - about) / turn))
