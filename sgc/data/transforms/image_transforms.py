"""Transforms of pictures, whose last two axes are rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, final

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.transforms.transform import Fitted, Learned, Transform, Uniforms
from sgc.piece import Many, Maybe, Piece

if TYPE_CHECKING:
    from sgc.data.transforms.transform import Numbers

Pair = Annotated[Many[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
Place = Annotated[Many[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


@final
class Resize(Transform):
    """`{resize: [48, 42]}`: average the last two axes over areas, to this many rows and columns.

    What is missing counts for nothing; a cell is missing where all of its area is.
    """

    name: ClassVar[str] = "resize"
    resize: Pair = Field(
        description="Rows and columns.",
        examples=[[48, 42]],
    )

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if values.ndim < 3:
            raise ValueError(f"'resize' wants rows and columns, found the shape {list(values.shape[1:])}")
        down = _overlap(values.shape[-2], self.resize[0]).astype(values.dtype)
        across = _overlap(values.shape[-1], self.resize[1]).astype(values.dtype).T
        if not len(values):
            return np.zeros((0, *values.shape[1:-2], *self.resize), dtype=values.dtype)
        resized = np.stack([down @ picture @ across for picture in values])
        missing = np.isnan(values)
        if missing.any():
            filled, share = np.where(missing, 0, values), (~missing).astype(values.dtype)
            for i in np.flatnonzero(missing.reshape(len(values), -1).any(axis=1)):
                covered = down @ share[i] @ across
                resized[i] = np.where(covered > 1e-6, down @ filled[i] @ across / np.maximum(covered, 1e-6), np.nan)
        return resized


def _overlap(before: int, after: int) -> Numbers:
    """Give the share of each cell before in each cell after: `(after, before)`; each row sums to 1."""
    import numpy as np

    edges = np.arange(after + 1) * (before / after)
    start, end = edges[:-1, None], edges[1:, None]
    cell = np.arange(before)[None, :]
    shared: Numbers = np.clip(np.minimum(end, cell + 1) - np.maximum(start, cell), 0, None)
    return shared * (after / before)


@final
class Window(Piece):
    """`{size: [20, 20], from: [4, 0]}`: so many rows and columns, from this row and column on (both count from 0)."""

    size: Pair = Field(
        description="Rows and columns of the window.",
        examples=[[20, 20]],
    )
    start: Maybe[Place] = Field(
        None,
        alias="from",
        description="Its first row and column, counted from 0. Absent: that of the middle.",
        examples=[[4, 4]],
    )


def _crop_form(value: object) -> str:
    return "<list>" if isinstance(value, (list, tuple)) else "<window>"


class PictureShape(Learned):
    """The rows and columns of a picture before it is cropped."""

    shape: Annotated[list[Annotated[int, Field(ge=1, le=2**26)]], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _of_a_picture(self) -> PictureShape:
        if self.shape[0] * self.shape[1] > 2**26:  # predictions are given back in this size
            raise PydanticCustomError("picture", "expected the rows and columns of a picture of at most 2^26 pixels")
        return self


@final
class Crop(Transform):
    """`{crop: [20, 20]}`: keep so many rows and columns of the middle; `{crop: {size: [20, 20], from: [4, 0]}}`: there.

    Where an odd number is left over, one more is cut from the bottom or the right. Undone in predictions: what stood
    around it is not known there, NaN. What is resized afterwards stays as it is, since there is no going back to where
    it was cut from.
    """

    name: ClassVar[str] = "crop"
    learned: ClassVar[type[Learned]] = PictureShape
    crop: Annotated[Annotated[Pair, Tag("<list>")] | Annotated[Window, Tag("<window>")], Discriminator(_crop_form)] = (
        Field(
            description="Rows and columns of the middle, or `{size: …, from: …}`.",
            examples=[[20, 20]],
        )
    )

    def fit(self, values: Numbers) -> Fitted:
        return {"shape": list(values.shape[-2:])}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        shape = values.shape[1:]
        if len(shape) < 2:
            raise ValueError(f"'crop' wants rows and columns, found the shape {list(shape)}")
        (rows, columns), (top, left) = self.window(values.shape[-2], values.shape[-1])
        if top < 0 or left < 0 or top + rows > shape[-2] or left + columns > shape[-1]:
            place = f" from {[top, left]}" if isinstance(self.crop, Window) and self.crop.start is not None else ""
            raise ValueError(f"'crop' to {[rows, columns]}{place} does not fit into the shape {list(shape)}")
        return values[..., top : top + rows, left : left + columns]

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        (rows, columns), (top, left) = self.window(*fitted["shape"])
        if values.shape[-2:] != (rows, columns):
            return values
        uncropped: Numbers = np.full((*values.shape[:-2], *fitted["shape"]), np.nan, dtype=values.dtype)
        uncropped[..., top : top + rows, left : left + columns] = values
        return uncropped

    def window(self, height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Give the size and the first row and column, of rows of this height and width."""
        size, start = (self.crop.size, self.crop.start) if isinstance(self.crop, Window) else (self.crop, None)
        return size, ((height - size[0]) // 2, (width - size[1]) // 2) if start is None else start
