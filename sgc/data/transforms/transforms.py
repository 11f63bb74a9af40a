"""Transforms of a column of the data, before a model sees it, and the way back, in predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, final

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.transforms.angle_transforms import Angle, Direction
from sgc.data.transforms.image_transforms import Crop, Resize
from sgc.data.transforms.transform import FiniteNumbers, Fitted, Learned, Learner, Learning, Transform, Uniforms
from sgc.distributions.category_names import Categories, CategoryName
from sgc.piece import Named, tagged

if TYPE_CHECKING:
    from sgc.data.transforms.transform import Numbers


@final
class Divide(Transform):
    """`{divide: 255}`: divide by a number, and multiply by it in predictions."""

    name: ClassVar[str] = "divide"
    divide: Annotated[float, Field(gt=0)] = Field(
        description="What values are divided by.",
        examples=[255],
    )

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        values /= self.divide
        return values

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        scaled: Numbers = values * self.divide
        return scaled


@final
class MuLaw(Transform):
    """`{mu_law: 100}`: sgn(x) log(1 + μ|x|) / log(1 + μ), and back in predictions (ITU-T G.711).

    Brings [-1, 1] onto itself, grey values in [0, 1] onto [0, 1], and equal ratios above 1/μ near equal differences:
    in a picture, contrasts in the shade count as much as those in the light.
    """

    name: ClassVar[str] = "mu_law"
    mu_law: Annotated[float, Field(gt=0)] = Field(
        description="μ: how far small values are spread.",
        examples=[100],
    )

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        mu = values.dtype.type(self.mu_law)  # in one precision, so that 1 becomes 1 and no more
        return np.asarray(np.sign(values) * (np.log1p(mu * np.abs(values)) / np.log1p(mu)))

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        return np.asarray(np.sign(values) * np.expm1(np.abs(values) * np.log1p(self.mu_law)) / self.mu_law)


def _binarize_form(value: object) -> str:
    return "<word>" if isinstance(value, str) else "<threshold>"


@final
class Binarize(Transform):
    """`{binarize: dynamic}`, `{binarize: static}` or `{binarize: 0.5}`: turn grey values into 0 and 1.

    `dynamic` takes each grey value in [0, 1] as a probability and draws anew at every use (Salakhutdinov and
    Murray 2008); `static` draws once, by row and seed; a number is a threshold: at or above it is 1.
    """

    name: ClassVar[str] = "binarize"
    binarize: Annotated[
        Annotated[Literal["dynamic", "static"], Tag("<word>")] | Annotated[float, Tag("<threshold>")],
        Discriminator(_binarize_form),
    ] = Field(
        description="Draw anew at every use, draw once, or compare with a threshold.",
        examples=["dynamic", 0.5],
    )

    @property
    def wants_grey(self) -> bool:
        return isinstance(self.binarize, str)

    @property
    def draws_anew(self) -> bool:
        return self.binarize == "dynamic"

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if self.binarize == "dynamic":
            return values
        if self.binarize == "static":
            ones = uniforms(values.shape[1:]) < values
        else:
            ones = values >= self.binarize
        np.copyto(values, ones, where=~np.isnan(values))
        return values


class RowShape(Learned):
    """The shape of a row before it is flattened."""

    shape: Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(min_length=1)]


@final
class Flatten(Named, Transform):
    """`flatten`: make one axis of all: `(N, *event) -> (N, D)`; undone in predictions."""

    name: ClassVar[str] = "flatten"
    learned: ClassVar[type[Learned]] = RowShape
    fits_categories: ClassVar[bool] = True

    def fit(self, values: Numbers) -> Fitted:
        return {"shape": list(values.shape[1:])}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import math

        return values.reshape(len(values), math.prod(values.shape[1:]))

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        return values.reshape(len(values), *fitted["shape"])


class Moments(Learned):
    """The mean and the deviation of each element of a row."""

    mean: FiniteNumbers
    deviation: FiniteNumbers

    @model_validator(mode="after")
    def _of_one_shape(self) -> Moments:
        import numpy as np

        if np.shape(self.mean) != np.shape(self.deviation) or not (np.asarray(self.deviation) > 0).all():
            raise PydanticCustomError("deviation", "expected a deviation above 0 for each mean")
        return self


LEAST_DEVIATION = 1e-150  # the square of a smaller one loses digits, down to 0


@final
class Standardize(Named, Learner):
    """`standardize`: subtract each element's mean and divide by its deviation, both of the training rows.

    An element that is constant in training has the deviation 1. Undone in predictions.
    """

    name: ClassVar[str] = "standardize"
    learned: ClassVar[type[Learned]] = Moments

    def learning(self) -> Learning:
        """Join the means and squared distances of chunks by Eq. (2.1) of Chan, Golub and LeVeque (1979), in float64."""
        import numpy as np

        count, mean, squares = np.array(0), np.array(0.0), np.array(0.0)
        low, high = np.array(np.nan), np.array(np.nan)
        while (values := (yield)) is not None:
            low, high = np.fmin(low, np.fmin.reduce(values, axis=0)), np.fmax(high, np.fmax.reduce(values, axis=0))
            there = ~np.isnan(values)
            known = values if there.all() else np.where(there, values, 0)
            present = there.sum(axis=0)
            own = np.sum(known, axis=0, dtype=np.float64) / np.maximum(present, 1)
            distance = (known - own) * there
            share = present / np.maximum(count + present, 1)
            shift = own - mean
            squares = squares + np.sum(np.square(distance, out=distance), axis=0) + shift**2 * count * share
            mean, count = mean + shift * share, count + present
        deviation = np.sqrt(squares / count)
        if not np.isfinite(deviation[count > 0]).all():
            raise ValueError(
                "the numbers are so large that 'standardize' cannot square them: put {divide: …} before it"
            )
        if bool(((deviation < LEAST_DEVIATION) & (low != high)).any()):
            raise ValueError(
                "the numbers differ by so little that 'standardize' cannot square it: put {divide: …} before it"
            )
        return {"mean": mean.tolist(), "deviation": np.where(low == high, 1.0, deviation).tolist()}

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if values.shape[1:] != np.shape(fitted["mean"]):
            fitted_shape, shape = list(np.shape(fitted["mean"])), list(values.shape[1:])
            raise ValueError(f"'standardize' was fitted on rows of the shape {fitted_shape}, found the shape {shape}")
        values -= np.asarray(fitted["mean"], dtype=values.dtype)
        values /= np.asarray(fitted["deviation"], dtype=values.dtype)
        return values

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        return np.asarray(values * np.asarray(fitted["deviation"]) + np.asarray(fitted["mean"]))


@final
class OneOf(Transform):
    """`{one_of: [mild, moderate, severe]}`: read the names of a column as 0, 1, 2, …; other names are a fault.

    It is the first transform, of a node without `values`: a Categorical with `categories`, or numbers whose order means
    something (Bernoulli, Binomial, Poisson, Normal). In predictions a category comes back by its name, a number by the
    name nearest to its mean.
    """

    name: ClassVar[str] = "one_of"
    fits_categories: ClassVar[bool] = True
    one_of: Categories = Field(
        description="The names in their order.",
        examples=[["none", "mild", "severe"]],
    )

    @property
    def reads_names(self) -> tuple[CategoryName, ...]:
        return self.one_of

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        return values  # read so already


@final
class Sum(Named, Transform):
    """`sum`: the sum of all elements of a row, as its library size is that of its counts: `(N, *event) -> (N,)`."""

    name: ClassVar[str] = "sum"

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        total = values.sum(axis=tuple(range(1, values.ndim)), dtype=np.float64)
        return np.asarray(total.astype(values.dtype))


@final
class LogOnePlus(Named, Transform):
    """`log1p`: log(1 + x), of numbers above −1; undone in predictions."""

    name: ClassVar[str] = "log1p"

    def apply(self, values: Numbers, fitted: Fitted, uniforms: Uniforms) -> Numbers:
        import numpy as np

        if bool((values <= -1).any()):
            raise ValueError(f"'log1p' takes numbers above -1, found {np.nanmin(values):g}")
        return np.asarray(np.log1p(values, out=values))

    def undo(self, values: Numbers, fitted: Fitted) -> Numbers:
        import numpy as np

        return np.asarray(np.expm1(values))


TRANSFORMS: dict[str, type[Transform]] = {
    "divide": Divide,
    "mu_law": MuLaw,
    "binarize": Binarize,
    "resize": Resize,
    "crop": Crop,
    "flatten": Flatten,
    "standardize": Standardize,
    "sum": Sum,
    "log1p": LogOnePlus,
    "angle": Angle,
    "direction": Direction,
    "one_of": OneOf,
}


def _kind(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, Transform):
        return value.name
    words = value if isinstance(value, dict) else [value] if isinstance(value, str) else []
    return next((word for word in words if word in TRANSFORMS), None)


if TYPE_CHECKING:
    AnyTransform: TypeAlias = (
        Divide | MuLaw | Binarize | Resize | Crop | Flatten | Standardize | Sum | LogOnePlus | Angle | Direction | OneOf
    )
else:
    AnyTransform = tagged(TRANSFORMS, "transform", _kind)
