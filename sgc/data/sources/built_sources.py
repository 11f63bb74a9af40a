"""Sources that `sgc data` builds from published digits."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field, model_validator

from sgc.data.file_search import look_for
from sgc.data.sources.source import Source, refuse_second_test
from sgc.errors import DataError

if TYPE_CHECKING:
    from sgc.data.columns import Opened


@final
class MultiMnist(Source):
    """`source: multi-mnist`: canvases of one to three digits, as `sgc data multi-mnist` writes them.

    Columns canvas `(N, 1, 64, 64)` of bytes, count, and by step, the digits from left to right, size `(N, 3, 1)`, at
    `(N, 3, 2)`, digits `(N, 3, 1, h, w)` of bytes and classes `(N, 3)`.
    """

    files: ClassVar[tuple[str, str]] = ("train.npz", "test.npz")

    source: Literal["multi-mnist"]
    root: str = Field(
        "multi-mnist",
        description="The folder of its two files, looked for under `$SGC_DATA`, then beside the spec.",
        examples=["multi-mnist"],
    )

    _exclude = model_validator(mode="before")(refuse_second_test)

    def inputs(self, beside: Path) -> list[Path]:
        return [path for name in self.files if (path := look_for((name,), self.root, beside)) is not None]

    def needs(self) -> str:
        return f"{self.root}/{self.files[0]} and {self.files[1]}, which 'sgc data multi-mnist' writes from MNIST"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened
        from sgc.data.numpy_files import read_npz

        paths = self.inputs(beside)
        if len(paths) < len(self.files):
            absent = next(name for name in self.files if look_for((name,), self.root, beside) is None)
            message = f"no such file: 'sgc data multi-mnist' writes it into $SGC_DATA/{self.root}, or -o FOLDER"
            raise DataError(message, file=str(Path(self.root, absent)))
        return Opened(*(read_npz(path, columns) for path in paths))
