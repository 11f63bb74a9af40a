"""Weights & Biases: a run that is kept in files until `wandb sync`, or sent at once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

from pydantic import Field

from sgc.piece import Maybe
from sgc.trackers.tracker import Logger, Setting, TrackedRun, Tracker, allowed

if TYPE_CHECKING:
    import numpy as np
    from wandb import Run, Settings

LONGEST_TAG = 64  # letters
SETTINGS = {  # standard output is for results, and what a spec does not say stays on this machine
    "console": "off",
    "silent": True,
    "disable_code": True,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "host": "-",
}


@final
class Wandb(Tracker):
    """A run of Weights & Biases, whose files are in `RUN/trackers/wandb`."""

    name: ClassVar[str] = "wandb"
    package: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"
    late: ClassVar[bool] = True

    project: Maybe[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        None,
        description="The project; absent: the name of the spec.",
        examples=["digits"],
    )
    entity: Maybe[Annotated[str, Field(min_length=1)]] = Field(
        None,
        description="The user or team; absent: your own.",
        examples=["our-team"],
    )
    mode: Literal["offline", "online"] = Field(
        "offline",
        description="`offline`: nothing leaves this machine before `wandb sync`. `online`: sent while it trains.",
        examples=["online"],
    )

    @property
    def elsewhere(self) -> str:
        """The service, where measures are sent to it."""
        return "Weights & Biases" if self.mode == "online" else ""

    @property
    def place(self) -> str:
        """The user or team, and the project."""
        return "/".join(filter(None, [self.entity, self.project]))

    def open(self, run: TrackedRun) -> Logger:
        """Begin a run, or go on with that of a version. Raises: what wandb raises without a key, where none can ask."""
        import wandb

        version = run.version or secrets.token_hex(4)
        run.folder.mkdir(parents=True, exist_ok=True)
        begun = wandb.init(
            project=allowed(self.project or run.model, " ._-"),
            entity=self.entity,
            dir=str(run.folder),
            id=version,
            name=run.name,
            group=run.tags.get("sweep"),
            tags=[f"{key}={value}"[:LONGEST_TAG] for key, value in run.tags.items()],
            mode=self.mode,
            resume="allow",
            reinit="create_new",
            settings=_settings(),
        )
        begun.define_metric("*", step_metric="epoch")
        return WandbRun(begun, run.name, version, max(run.told, begun.step - 1))


def _settings() -> Settings:
    """Give the settings of this file that the installed version knows."""
    import wandb

    usual = wandb.Settings()
    return wandb.Settings(**{key: value for key, value in SETTINGS.items() if hasattr(usual, key)})


@final
class WandbRun:
    """Tells a run of Weights & Biases. told: the last epoch that it has: it takes nothing for an epoch before that."""

    def __init__(self, run: Run, name: str, version: str, told: int) -> None:
        self.run, self.name, self.version, self.told = run, name, version, told

    def log_hyperparams(self, params: Mapping[str, Setting]) -> None:
        """Note settings."""
        self.run.config.update(dict(params), allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Note the numbers of an epoch, which is then complete, unless the run has them."""
        at = self.told + 1 if step is None else step
        if at > self.told:
            self.run.log(dict(metrics), step=at, commit=True)
            self.told = at

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int | None = None) -> None:
        """Note pictures [height, width, 3]: beside the numbers of an epoch to come, or in the summary of the run."""
        import wandb

        pictures: list[Any] = [wandb.Image(array) for array in images]  # Any: of wandb
        if step is not None and step > self.told:
            self.run.log({key: pictures}, step=step, commit=False)
        else:
            self.run.summary.update({key: pictures[0]})

    def finalize(self, status: str) -> None:
        """Say how the run ended."""
        self.run.finish(exit_code=0 if status == "success" else 1)
