"""What the trackers of a run were told, in trackers/told.json, so that a run that goes on tells them nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sgc.data.record import Count, Record, Versioned
from sgc.errors import UsageError

FOLDER = "trackers"  # of their files, in that of the run
NAME = "told.json"


class Told(Record):
    """What one tracker was told. version: that it gave the run. epoch: the last one. best: whose pictures it has."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]  # it becomes part of addresses and of paths
    epoch: Count = 0
    best: Count = 0


class ToldTrackers(Versioned):
    """told.json: what each tracker was told, by its name."""

    trackers: dict[str, Told]


def remove_trackers(run: Path) -> None:
    """Remove the files of the trackers of a run; of a link the link alone."""
    folder = run / FOLDER
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)


def check_trackers_folder(run: Path) -> None:
    """Check that trackers would write into the run folder. Raises: UsageError for a link, which may lead out of it."""
    folder = run / FOLDER
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: is no folder of its own, wanted one for the files of trackers: remove it")
