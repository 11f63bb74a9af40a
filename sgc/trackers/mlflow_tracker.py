"""MLflow: a run in a database of its own, in one that is named, or on a server."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sgc.errors import UsageError
from sgc.piece import Maybe
from sgc.trackers.tracker import Logger, Setting, TrackedRun, Tracker, allowed

try:
    import fcntl
except ImportError:  # only Unix has it
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient

FILE = "sqlite:///"  # how the address of a database in a file begins
AT_A_TIME = 100  # settings in one request
LONGEST = 6000  # letters of a setting
PATIENCE = {  # training waits as long, and standard output is for results
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def _check_address(address: str) -> str:
    if not re.match(r"(https?://|sqlite:///)[^/]", address.replace("sqlite:////", "sqlite:///")):
        raise PydanticCustomError(
            "address", "expected http://…, https://… or sqlite:///FILE, got '{found}'", {"found": address}
        )
    return address


Address = Annotated[str, AfterValidator(_check_address)]


@final
class MLflow(Tracker):
    """A run of MLflow: in a database `RUN/trackers/mlflow/mlflow.db`, or where `uri` or the environment says."""

    name: ClassVar[str] = "mlflow"
    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"

    experiment: Maybe[Annotated[str, Field(min_length=1)]] = Field(
        None,
        description="The experiment, which is made if there is none; absent: the name of the spec.",
        examples=["digits"],
    )
    uri: Maybe[Address] = Field(
        None,
        description=(
            "A server, `http://…`, or a database in a file, `sqlite:///FILE`; absent: `$MLFLOW_TRACKING_URI`, or a "
            "database in the folder of the run."
        ),
        examples=["sqlite:///runs/mlflow.db"],
    )

    @property
    def address(self) -> str:
        """Where the run is kept, if it is said here or in the environment; '' if not."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI", "")

    @property
    def elsewhere(self) -> str:
        """The server, without a password that stands in its address; '' for a file of this machine."""
        parts = urlsplit(self.address)
        port = parts.netloc.rpartition(":")[2] if re.search(r":\d+$", parts.netloc) else ""
        return f"{parts.scheme}://{parts.hostname}{port and ':' + port}" if parts.hostname else ""

    @property
    def place(self) -> str:
        """The server or the file, and the experiment."""
        return " ".join(filter(None, [self.elsewhere or self.address, self.experiment]))

    def open(self, run: TrackedRun) -> Logger:
        """Find or make the experiment, and make a run in it or go on with the one of a version."""
        from mlflow import MlflowClient  # which sets its logging up

        with _patient():
            uri, name = self.address or _own_address(run.folder / self.name), self.experiment or run.model
            with _alone(uri):
                client = MlflowClient(tracking_uri=uri)
                experiment = _experiment(client, uri, name)
            if not run.version:
                made = client.create_run(experiment, tags=dict(run.tags), run_name=run.name)
                return ClientRun(client, run.name, made.info.run_id)
            client.update_run(run.version, status="RUNNING")
            opened = ClientRun(client, run.name, run.version, _last_epoch(client, run.version))
            if not self.address:
                opened.check_pictures(run.folder / self.name)
            return opened


def _own_address(folder: Path) -> str:
    """Give the address of a database in a folder, which is made. Raises: UsageError where it would lead elsewhere."""
    for letter in "?%":
        if letter in str(folder.absolute()):
            where = "name another folder for the run, or give mlflow a uri"
            raise UsageError(f"the address of a database takes no '{letter}', as in the path of the run: {where}")
    folder.mkdir(parents=True, exist_ok=True)
    return f"{FILE}{folder.absolute()}/mlflow.db"


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Find or make an experiment; MLflow would keep the pictures of a database in ./mlruns, wherever that is."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    beside = Path(uri.removeprefix(FILE)).absolute().parent / "mlartifacts"
    return str(client.create_experiment(name, beside.as_uri() if uri.startswith(FILE) else None))


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let no other process make the tables of a database in a file in the block; a lock file stays beside it."""
    if fcntl is None or not uri.startswith(FILE):
        yield
        return
    path = Path(uri.removeprefix(FILE).partition("?")[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("ab") as file:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)  # which the system releases when the file is closed
        yield


def _last_epoch(client: MlflowClient, run: str) -> int:
    """Give the last epoch that a run of MLflow has, 0 where it has none."""
    return max((metric.step for metric in client.get_metric_history(run, "epoch")), default=0)


@contextmanager
def _patient() -> Iterator[None]:
    """Have MLflow give up after some seconds and log nothing, unless the environment says otherwise."""
    before = {name: os.environ.get(name) for name in PATIENCE}
    logger = logging.getLogger("mlflow")
    level = logger.level
    try:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a library about itself
            yield
    finally:
        logger.setLevel(level)
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)


@final
class ClientRun:
    """Tells a run of MLflow. last: the last epoch that it has: MLflow keeps what is told twice twice.

    remark: what a user should know of it; '' for nothing.
    """

    remark = ""

    def __init__(self, client: MlflowClient, name: str, version: str, last: int = 0) -> None:
        self.client, self.name, self.version, self.last = client, name, version, last

    def log_hyperparams(self, params: Mapping[str, Setting]) -> None:
        """Note settings, which cannot be changed later."""
        from mlflow.entities import Param

        written = [Param(allowed(name, "/._- "), str(value)[:LONGEST]) for name, value in params.items()]
        with _patient():
            for start in range(0, len(written), AT_A_TIME):
                self.client.log_batch(self.version, params=written[start : start + AT_A_TIME], synchronous=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Note the numbers of an epoch, unless the run has them."""
        from mlflow.entities import Metric

        if step is not None and step <= self.last:
            return
        now, at = int(1000 * time.time()), step or 0
        written = [Metric(allowed(name, "/._- "), value, now, at) for name, value in metrics.items()]
        with _patient():
            self.client.log_batch(self.version, metrics=written, synchronous=True)

    def check_pictures(self, folder: Path) -> None:
        """Keep no pictures from now on if their place, which MLflow never changes, is not in the folder of the run."""
        place = urlsplit(self.client.get_run(self.version).info.artifact_uri)
        if place.scheme == "file":
            path = Path(url2pathname(place.path))
            if not path.resolve().is_relative_to(folder.resolve()):
                self.remark = f"the run was moved, and gets no more pictures: their place is still {path}"

    def log_image(self, key: str, images: Sequence[np.ndarray], step: int | None = None) -> None:
        """Note pictures [height, width, 3], where they have a place."""
        if self.remark:
            return
        with _patient():
            for array in images:
                self.client.log_image(self.version, array, key=key, step=step, synchronous=True)

    def finalize(self, status: str) -> None:
        """Say how the run ended."""
        with _patient():
            self.client.set_terminated(self.version, "FINISHED" if status == "success" else "FAILED")
