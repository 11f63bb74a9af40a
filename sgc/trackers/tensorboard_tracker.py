"""TensorBoard: event files in the folder of the run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

from sgc.trackers.tracker import Logger, Setting, TrackedRun, Tracker

if TYPE_CHECKING:
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter


@final
class TensorBoard(Tracker):
    """Event files in `RUN/trackers/tensorboard`, for `tensorboard --logdir RUN`, or for a folder of runs."""

    name: ClassVar[str] = "tensorboard"
    package: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "tensorboard"

    def open(self, run: TrackedRun) -> Logger:
        """Write on, after the last epoch that was told: what may stand behind it is marked as dropped."""
        from torch.utils.tensorboard import SummaryWriter

        folder = str(run.folder / self.name)
        purged = run.told + 1 if run.version else None
        return EventFiles(SummaryWriter(folder, purge_step=purged), run)


@final
class EventFiles:
    """Writes event files."""

    version = "1"  # a run has one

    def __init__(self, writer: SummaryWriter, run: TrackedRun) -> None:
        self.writer, self.run = writer, run
        self.name = run.name

    def log_hyperparams(self, params: Mapping[str, Setting]) -> None:
        """Write settings, and by which measures runs are compared, for the page of hyper-parameters."""
        from torch.utils.tensorboard.summary import hparams

        settings = dict(params) | {f"tags.{key}": value for key, value in self.run.tags.items()}
        for summary in hparams(settings, dict.fromkeys(self.run.goals, 0.0)):
            self._file.add_summary(summary, 0)
        self.writer.flush()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int | None = None) -> None:
        """Write pictures [height, width, 3]."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        for array in images:
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, format="PNG")
            high, wide, colours = array.shape
            picture = Summary.Image(height=high, width=wide, colorspace=colours, encoded_image_string=buffer.getvalue())
            self._file.add_summary(Summary(value=[Summary.Value(tag=key, image=picture)]), step)
        self.writer.flush()

    def finalize(self, status: str) -> None:
        """Close the file."""
        self.writer.close()

    @property
    def _file(self) -> Any:  # Any: of a library without types
        return self.writer._get_file_writer()
