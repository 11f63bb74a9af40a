"""What a source whose rows may stay in their files says of memory, of shuffling, and of reading ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from sgc.data.sources.source import Source
from sgc.piece import Maybe

if TYPE_CHECKING:
    from sgc.data.blocks import Room


class InBlocks(Source):
    """A source whose rows stay in their files where they are too many for memory."""

    memory: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        2048,
        description=(
            "MiB that rows may take in memory: all of them if they fit into half of it; else half for the blocks that "
            "were read last, a quarter for narrow columns, a quarter for rows with a label and of validation."
        ),
        examples=[512],
    )
    window: Maybe[Annotated[int, Field(ge=1)]] = Field(
        None,
        description=(
            "How many blocks of rows are shuffled together, of data larger than memory. Absent: as many as a quarter "
            "of `memory` holds."
        ),
        examples=[8],
    )
    prefetch: Annotated[int, Field(ge=0, le=64)] = Field(
        0,
        description="Threads that read the blocks that come next. 0: none.",
        examples=[2],
    )

    def room(self) -> Room:
        """Give the room that its rows have in memory."""
        from sgc.data.blocks import Room

        return Room(self.memory << 20, self.window, self.prefetch)
