"""matplotlib under its own defaults: pictures are the same whatever the settings of whoever draws them say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sgc.errors import UsageError


@contextmanager
def own_defaults(settings: Any = ()) -> Iterator[None]:  # Any: matplotlib's own keys
    """Draw with matplotlib's defaults while inside, but for these settings; the user's own, and its backend, rest.

    Raises:
        UsageError: matplotlib is not installed, or cannot be imported with the user's settings.
    """
    first = "matplotlib" not in sys.modules
    backend = os.environ.pop("MPLBACKEND", None)  # one that it does not know ends its import; none is used here
    try:
        import matplotlib
    except ImportError:
        raise UsageError("drawing pictures needs matplotlib: pip install 'sgc[plots]'") from None
    except Exception as problem:  # its settings file may be anything
        raise UsageError(f"matplotlib does not start, see its file of settings, matplotlibrc: {problem}") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if first and backend is not None:
        with suppress(ValueError):  # one that it does not know
            matplotlib.rcParams["backend"] = backend
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
