"""Categories, by their names in the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sgc.piece import Many, tagged


def _category_tag(value: Any) -> str | None:  # Any: whatever YAML can say
    return next((word for word, kind in CATEGORIES.items() if type(value) is kind), None)


CATEGORIES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
# A category by its name in the data.
if TYPE_CHECKING:
    CategoryName = str | int | float | bool
else:
    CategoryName = tagged(CATEGORIES, "category", _category_tag)
Categories = Annotated[Many[CategoryName], Field(min_length=2)]
