"""The record of an encoder in a run: the node as data see it, its columns, its transforms and what these learned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.record import Count, Record, fault_text
from sgc.data.transforms.transform import FiniteNumbers
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.variables import Variable
from sgc.distributions.category_names import Categories
from sgc.distributions.supports import SUPPORTS, Support
from sgc.piece import Many, Maybe

Size = Annotated[int, Field(ge=1, lt=2**31)]


class SupportRecord(Record):
    """A `Support`: its word, and the bounds that are its own."""

    word: str
    low: Maybe[FiniteNumbers] = None
    high: Maybe[FiniteNumbers] = None
    total: Maybe[float] = None

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, value: Any) -> Any:  # Any: whatever a file can say
        """In a file without a version, it is a word."""
        return {"word": value} if isinstance(value, str) else value

    @field_validator("word")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in SUPPORTS:
            raise PydanticCustomError("support", "no support of a distribution has this name")
        return value

    def support(self) -> Support:
        """Give the support."""
        return Support.read(self.model_dump(exclude_none=True))


class VariableRecord(Record):
    """A `Variable`, without `exists` and `total`, which columns and the spec give."""

    name: str
    shape: Many[Size] = ()
    categories: Annotated[int, Field(ge=2)] | None = None
    values: Categories | None = None
    support: SupportRecord = SupportRecord(word="real")
    upper: float | None = None  # of integers, in a file without a version
    supervision: Literal["full", "partial", "input"] = "full"
    whole: bool = False
    dropped: bool = False
    steps: Many[Size] = ()

    def variable(self) -> Variable:
        """Give the variable."""
        facts = {name: getattr(self, name) for name in type(self).model_fields if name not in ("support", "upper")}
        return Variable(**facts, support=self.support.support().up_to(self.upper))


class EncoderRecord(Record):
    """An `Encoder`, with what each of its transforms learned."""

    variable: VariableRecord
    columns: Annotated[Many[str], Field(min_length=1)]
    transforms: Many[AnyTransform]
    fitted: Many[dict[str, Any]]  # Any: of the transform in the same place
    inner_shape: Many[Size]
    seed: Count
    elements: Maybe[Many[str]] = None  # names of the numbers of a row; older versions did not write them

    @model_validator(mode="after")
    def _fitted_by_its_transform(self) -> EncoderRecord:
        if len(self.fitted) != len(self.transforms):
            text = f"'fitted' has {len(self.fitted)} entries and 'transforms' {len(self.transforms)}"
            raise PydanticCustomError("lengths", "{text}", {"text": text})
        for place, (transform, learned) in enumerate(zip(self.transforms, self.fitted, strict=True)):
            try:
                transform.learned.model_validate(learned)
            except ValidationError as problem:
                text = f"'fitted[{place}]', of the transform '{transform.name}': {fault_text(problem)}"
                raise PydanticCustomError("fitted", "{text}", {"text": text}) from None
        return self
