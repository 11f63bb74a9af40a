"""Settings for every test: one thread, checked arguments, and where real data may lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sgc.runtime.model import Model

ROOT = Path(__file__).resolve().parent.parent


def real_data() -> Path | None:
    """Find the folder of real data: $SGC_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("SGC_DATA")
    found = Path(named) if named else ROOT.parent / "shared" / "data"
    return found if found.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs real data where there is none, and say so."""
    if real_data() is None:
        skip = pytest.mark.skip(reason="needs real data: set SGC_DATA to the folder that holds mnist/")
        for item in items:
            if "real" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _careful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and every distribution checks its arguments."""
    monkeypatch.setattr(Model, "validate_args", True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
