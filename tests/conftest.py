"""Settings for every test: one thread, checked arguments, real data only where there are some."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in the processes of tests

import pytest
import torch
from browser import chromium
from data_files import REAL_DATA
from fault_tables import pytest_addoption

from sgc.runtime.model import Model

__all__ = ["chromium", "pytest_addoption"]  # a fixture and a hook, which pytest looks for here


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs real data where there is none, and say so."""
    if not (REAL_DATA / "mnist").is_dir():
        skip = pytest.mark.skip(reason="needs real data: set SGC_DATA to the folder that holds mnist/")
        for item in items:
            if item.get_closest_marker("real") is not None:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _careful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and every distribution checks its arguments."""
    monkeypatch.setattr(Model, "validate_args", True)
    torch.distributions.Distribution.set_default_validate_args(True)  # torch._dynamo, once imported, turns it off
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def double_precision() -> Iterator[None]:
    """Compute in float64, where the oracle is exact to 1e-9; for `usefixtures`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def seeded_draws() -> None:
    """Start torch's generator from the same place in every test, so that none passes or fails by luck."""
    torch.manual_seed(0)
