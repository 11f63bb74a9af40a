"""sgc: a semi-supervised deep generative model written as YAML, its objective derived, trained and explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgc.errors import DataError, Fault, RunError, SpecError, UsageError
from sgc.version import __version__

if TYPE_CHECKING:
    from sgc.run_report.report_page import write_report
    from sgc.runtime.compiler import compile_spec as compile
    from sgc.spec.loader import load
    from sgc.trained.answer_advice import open_advised as open
    from sgc.trained.run_evaluation import evaluate_run as evaluate
    from sgc.training.trainer import train

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
    "write_report",
]

_WHERE = {
    "load": ("sgc.spec.loader", "load"),
    "compile": ("sgc.runtime.compiler", "compile_spec"),
    "train": ("sgc.training.trainer", "train"),
    "evaluate": ("sgc.trained.run_evaluation", "evaluate_run"),
    "write_report": ("sgc.run_report.report_page", "write_report"),
    "open": ("sgc.trained.answer_advice", "open_advised"),
}


def __getattr__(name: str) -> object:
    """Import what needs time (pydantic, networkx, torch) only once it is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module 'sgc' has no attribute '{name}'")
    from importlib import import_module

    module, thing = _WHERE[name]
    return getattr(import_module(module), thing)
