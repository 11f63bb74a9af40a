"""How an object shows itself in a notebook: its view is written on a floor above, and found by its name."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from importlib import import_module
from typing import ClassVar


class Shown(ABC):
    """Shows itself as HTML; abstract. A class names the function that writes its view, as module:function.

    A view reads an object, and never the other way round: so the name is one that is imported when a notebook asks.
    """

    notebook_view: ClassVar[str]

    def _repr_html_(self) -> str:
        module, _, function = self.notebook_view.partition(":")
        view: str = getattr(import_module(module), function)(self)
        return view


class ShownFormula(Shown):
    """Shows itself as a formula too, to what reads LaTeX; abstract."""

    @abstractmethod
    def latex(self) -> str:
        """Write the formula in LaTeX."""

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex()}\n$$"


def in_notebook() -> bool:
    """Tell whether this runs in a kernel of Jupyter, whose output a browser or an editor shows."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")
