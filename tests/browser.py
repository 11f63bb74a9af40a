"""Pages opened as a person opens them: in headless Chromium, at two widths, light and dark, offline, and by keyboard.

Needs Debian's `chromium` (or one that $CHROMIUM names) and playwright, which drives it. Where they are not there, tests
that take the fixture `chromium` are skipped, and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PHONE, DESK = 390, 1280  # CSS pixels wide
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str | None:
    """Find Chromium: $CHROMIUM, or one on the path."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:  # Any: playwright's browser, which may not be installed
    """Start Chromium once for all tests of a process; skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pages are tested where sgc[browser] is installed")
    path = chromium_path()
    if path is None:
        pytest.skip("pages are tested where Chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what went wrong on it."""

    page: Any  # playwright's page
    errors: list[str] = field(default_factory=list)  # of the console, and exceptions
    requests: list[str] = field(default_factory=list)  # addresses other than the page's own server or file

    def assert_clean(self) -> None:
        """Assert that nothing was asked of a network, that the console has no error, and that nothing overflows."""
        assert not self.requests, self.requests
        assert not self.errors, self.errors
        wide, room = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room, f"the page is {wide} pixels wide, the window {room}"

    def assert_accessible(self, *, but: Sequence[str] = ()) -> None:
        """Assert axe-core's rules, of contrast among them. but: the ids of rules left out."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        rules = {name: {"enabled": False} for name in but}
        found = axe.run(self.page, options={"rules": rules}).response["violations"]
        assert not found, "\n".join(
            f"{rule['id']}: {rule['help']}: {[node['html'][:120] for node in rule['nodes'][:4]]}" for rule in found
        )


@contextmanager
def visit(browser: Any, address: Path | str, *, width: int = DESK, dark: bool = False) -> Iterator[Visit]:
    """Open a file, or a page of a server on this machine, in a window of its own."""
    url = address.resolve().as_uri() if isinstance(address, Path) else address
    home = "file://" if isinstance(address, Path) else "/".join(url.split("/")[:3])
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        has_touch=width == PHONE,
    )
    visited = Visit(context.new_page())
    visited.page.on("console", lambda said: visited.errors.append(said.text) if said.type == "error" else None)
    visited.page.on("pageerror", lambda problem: visited.errors.append(str(problem)))
    visited.page.on(
        "request",
        lambda asked: None if asked.url.startswith((home, "data:", "blob:")) else visited.requests.append(asked.url),
    )
    try:
        visited.page.goto(url)
        yield visited
    finally:
        context.close()
