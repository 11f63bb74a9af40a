"""Sources: where the data of a spec come from, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import AfterValidator, ConfigDict, Discriminator, Tag
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from sgc.data.sources.built_sources import MultiMnist
from sgc.data.sources.cell_source import H5ad
from sgc.data.sources.digits_source import Digits
from sgc.data.sources.fetched_sources import FashionMnist, Mnist, Svhn
from sgc.data.sources.file_sources import Idx, Images, Mat, Npz, Table
from sgc.data.sources.hub_source import HubDatasets
from sgc.data.sources.own_source import OwnSource
from sgc.data.sources.shard_sources import Parquet, Tar
from sgc.data.sources.source import Section, Source
from sgc.piece import branch_of

SOURCES: dict[str, type[Source]] = {
    "digits": Digits,
    "idx": Idx,
    "npz": Npz,
    "mat": Mat,
    "h5ad": H5ad,
    "images": Images,
    "table": Table,
    "parquet": Parquet,
    "tar": Tar,
    "datasets": HubDatasets,
    "mnist": Mnist,
    "fashion-mnist": FashionMnist,
    "svhn": Svhn,
    "multi-mnist": MultiMnist,
    "python": OwnSource,
}


def _refuse_source(name: str) -> str:
    raise PydanticCustomError("unknown_name", "no source named '{name}'", {"name": name, "allowed": list(SOURCES)})


class UnknownSource(Section):
    """A section with an unknown source; it never validates. The fields that all sources share are still checked."""

    model_config = ConfigDict(extra="ignore")
    source: Annotated[str, AfterValidator(_refuse_source)]


def _source_tag(value: Any) -> str:  # Any: whatever the file holds
    if isinstance(value, Source):
        return next(f"<{name}>" for name, kind in SOURCES.items() if isinstance(value, kind))
    name = value.get("source", "digits") if isinstance(value, dict) else "digits"
    return f"<{name}>" if isinstance(name, str) and name in SOURCES else "<unknown>"


if TYPE_CHECKING:
    DataSection: TypeAlias = Source
else:
    known = tuple(branch_of(kind, f"<{name}>") for name, kind in SOURCES.items())
    unknown = SkipJsonSchema[Annotated[UnknownSource, Tag("<unknown>")]]
    DataSection = Annotated[Union[(*known, unknown)], Discriminator(_source_tag)]
