"""The source of cells in AnnData's files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from sgc.data.sources.file_sources import Mark
from sgc.data.sources.source import FileSource
from sgc.piece import Many

if TYPE_CHECKING:
    from sgc.data.columns import SourceColumns

ENDING = ".h5ad"


@final
class H5ad(FileSource):
    """`source: h5ad`: AnnData's file of cells.

    Columns are `X`, `raw`, `layers/NAME`, `obsm/NAME`, `obs/NAME` and `obs_names`, or NAME alone where one part has it.

    Sparse counts stay sparse: rows are made dense when they are taken. A category of `obs` that is NaN is missing, and
    so is one that `missing_values` names.
    """

    endings: ClassVar = (ENDING,)

    source: Literal["h5ad"]
    missing_values: Many[Mark] = Field(
        ("",),
        description="The marks of missing annotations, as text or as numbers.",
        examples=[["", "unassigned"]],
    )

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        from sgc.data.annotated import annotated_columns, read_h5ad

        return annotated_columns(read_h5ad(path), columns, optional, file=str(path), marks=self.missing_values)
