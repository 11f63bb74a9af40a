"""Sources: where the data of a spec come from, by name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

from pydantic import AfterValidator, ConfigDict, Discriminator, Tag
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from sgc.data.sources.built import MultiMnist
from sgc.data.sources.fetched import FashionMnist, Mnist, Svhn
from sgc.data.sources.files import Idx, Images, Mat, Npz, Table
from sgc.data.sources.own import OwnSource
from sgc.data.sources.source import Section, Source

if TYPE_CHECKING:
    from sgc.data.columns import Opened


@final
class Digits(Source):
    """`source: digits`: scikit-learn's 1797 handwritten digits; columns image `(N, 8, 8)` of 0 to 16, and label."""

    source: Literal["digits"] = "digits"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened, SourceColumn
        from sgc.data.finding import known_columns
        from sgc.errors import DataError

        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError("the source 'digits' needs scikit-learn: pip install 'sgc[digits]'") from error
        known_columns(columns, ("image", "label"), file="digits")
        loaded = load_digits()
        values = {"image": loaded.images.astype("uint8"), "label": loaded.target.astype("int64")}
        return Opened({name: SourceColumn(name, values[name], "digits") for name in columns})


SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "idx": Idx,
    "npz": Npz,
    "mat": Mat,
    "images": Images,
    "table": Table,
    "mnist": Mnist,
    "fashion-mnist": FashionMnist,
    "svhn": Svhn,
    "multi-mnist": MultiMnist,
    "python": OwnSource,
}


def _refuse_source(name: str) -> str:
    raise PydanticCustomError("unknown_name", "no source named '{name}'", {"name": name, "allowed": list(SOURCES)})


class UnknownSource(Section):
    """A section with a source nobody knows; it never validates. The fields that all sources share are still read."""

    model_config = ConfigDict(extra="ignore")
    source: Annotated[str, AfterValidator(_refuse_source)]


def _source_tag(value: Any) -> str:  # any: whatever stands in the file
    if isinstance(value, Source):
        return next(f"<{name}>" for name, kind in SOURCES.items() if isinstance(value, kind))
    name = value.get("source", "digits") if isinstance(value, dict) else "digits"
    return f"<{name}>" if isinstance(name, str) and name in SOURCES else "<unknown>"


if TYPE_CHECKING:
    DataSection: TypeAlias = (
        Digits | Idx | Npz | Mat | Images | Table | Mnist | FashionMnist | Svhn | MultiMnist | OwnSource
    )
else:
    DataSection = Annotated[
        Annotated[Digits, Tag("<digits>")]
        | Annotated[Idx, Tag("<idx>")]
        | Annotated[Npz, Tag("<npz>")]
        | Annotated[Mat, Tag("<mat>")]
        | Annotated[Images, Tag("<images>")]
        | Annotated[Table, Tag("<table>")]
        | Annotated[Mnist, Tag("<mnist>")]
        | Annotated[FashionMnist, Tag("<fashion-mnist>")]
        | Annotated[Svhn, Tag("<svhn>")]
        | Annotated[MultiMnist, Tag("<multi-mnist>")]
        | Annotated[OwnSource, Tag("<python>")]
        | SkipJsonSchema[Annotated[UnknownSource, Tag("<unknown>")]],
        Discriminator(_source_tag),
    ]
