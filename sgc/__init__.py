"""sgc: a semi-supervised deep generative model written as YAML, its objective derived, trained and explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgc.errors import DataError, Fault, RunError, SpecError, UsageError
from sgc.version import __version__

if TYPE_CHECKING:
    from sgc.language.loading import load
    from sgc.running.advice import open_advised as open
    from sgc.running.evaluation import evaluate_run as evaluate
    from sgc.running.training import train
    from sgc.runtime.compiling import compile_spec as compile

__all__ = [
    "DataError",
    "Fault",
    "RunError",
    "SpecError",
    "UsageError",
    "__version__",
    "compile",
    "evaluate",
    "load",
    "open",
    "train",
]

_WHERE = {
    "load": ("sgc.language.loading", "load"),
    "compile": ("sgc.runtime.compiling", "compile_spec"),
    "train": ("sgc.running.training", "train"),
    "evaluate": ("sgc.running.evaluation", "evaluate_run"),
    "open": ("sgc.running.advice", "open_advised"),
}


def __getattr__(name: str) -> object:
    """Import what needs time (pydantic, networkx, torch) only once it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module 'sgc' has no attribute '{name}'")
    from importlib import import_module

    module, thing = _WHERE[name]
    return getattr(import_module(module), thing)
