"""The page of the explorer as a person uses it: by mouse and by keyboard, at two widths, light and dark."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import DESK, PHONE, Visit, visit
from small_runs import NPZ, small
from test_page_documents import HOSTILE

import sgc
from sgc.explorer.page_server import PageServer, serving
from sgc.explorer.serving_run import opens_by_itself, server_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits that has hardly learned anything."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("digits") / "run"
    sgc.train(sgc.load(ROOT / "specs" / "digits.yaml", overrides=["train.epochs=2"]), output=folder)
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[PageServer]:
    with serving(server_of(run, port=0)) as running:
        yield running


def pixels(visited: Visit, caption: str = "now") -> str:
    """Give what a picture shows."""
    shown = visited.page.locator("figure.view", has=visited.page.get_by_text(caption, exact=True)).locator("canvas")
    return str(shown.evaluate("canvas => canvas.toDataURL()"))


def until(visited: Visit, holds: Callable[[], bool]) -> None:
    """Wait until something holds; at most ten seconds."""
    for _ in range(200):
        if holds():
            return
        visited.page.wait_for_timeout(50)
    assert holds()


def ready(visited: Visit) -> None:
    visited.page.wait_for_selector("#shown canvas")
    visited.page.wait_for_selector(".category[style*='--share']")


def states(visited: Visit, node: str) -> list[str]:
    return [str(each.get_attribute("data-state")) for each in visited.page.locator(f"[data-node={node}]").all()]


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_a_slider_turns_a_latent_by_keyboard(chromium: Any, server: PageServer, width: int, dark: bool) -> None:
    with visit(chromium, server.address, width=width, dark=dark) as visited:
        ready(visited)
        before = pixels(visited)
        assert before == pixels(visited, "as inferred")
        visited.page.locator(".rail input").first.focus()
        for _ in range(5):
            visited.page.keyboard.press("PageUp")
        until(visited, lambda: pixels(visited) != before)
        assert pixels(visited, "as inferred") == before
        assert states(visited, "z") == ["turned", "turned"]
        visited.page.wait_for_selector("#traversal canvas")
        assert visited.page.locator("#traversal canvas").count() == 9
        until(
            visited, lambda: visited.page.locator("#words").inner_text().endswith("z turned, the rest as q infers it.")
        )
        visited.assert_clean()
        visited.assert_accessible()
        visited.page.get_by_role("button", name="Let all go").click()
        until(visited, lambda: pixels(visited) == before)


def test_a_number_far_beyond_the_slider_is_not_taken_and_the_page_says_what_is(
    chromium: Any, server: PageServer
) -> None:
    with visit(chromium, server.address) as visited:
        ready(visited)
        box = visited.page.locator("input[aria-label='z[0], as a number']").first
        held = box.input_value()
        for number in ("1e300", "-1e9"):
            box.fill(number)
            box.press("Enter")
            assert box.input_value() == held
            assert visited.page.locator(".told").all_inner_texts().count("") < visited.page.locator(".told").count()
        box.fill("9.5")  # beyond the slider, and yet a number to try
        box.press("Enter")
        until(visited, lambda: states(visited, "z") == ["turned", "turned"])
        assert set(visited.page.locator(".told").all_inner_texts()) == {""}


def test_both_graphs_say_what_is_held_and_what_is_turned(chromium: Any, server: PageServer) -> None:
    with visit(chromium, server.address) as visited:
        ready(visited)
        node = visited.page.locator(".panel.generative [data-node=y]")
        for state in ("held", "turned", "evidence", "free"):
            node.click()
            until(visited, lambda state=state: states(visited, "y") == [state, state])  # type: ignore[misc]
            assert visited.page.locator(f"#node-y input[value={state}]").is_checked()
        visited.page.locator(".panel.recognition [data-node=z]").focus()
        visited.page.keyboard.press("Enter")
        until(visited, lambda: states(visited, "z") == ["held", "held"])
        assert visited.page.locator("[data-node=x]").first.get_attribute("aria-disabled") == "true"
        visited.assert_clean()


def test_labels_are_turned_and_rows_are_chosen(chromium: Any, server: PageServer) -> None:
    with visit(chromium, server.address) as visited:
        ready(visited)
        first, own = pixels(visited), pixels(visited, "the row")
        visited.page.locator("#node-y .category").nth(4).click()
        until(visited, lambda: pixels(visited) != first)
        assert pixels(visited, "the row") == own
        visited.page.get_by_label("Next row with the label").select_option(label="y = 7")
        until(visited, lambda: pixels(visited, "the row") != own)
        assert visited.page.locator(".labels").inner_text() == "labelled y = 7"
        assert states(visited, "y") == ["turned", "turned"]  # what is turned stays so in another row
        visited.page.get_by_label("Number of the row").fill("100000")
        visited.page.keyboard.press("Enter")
        visited.page.get_by_role("alert").filter(has_text="no test row has the number 100000").wait_for()
        visited.page.get_by_label("Begin with").select_option("")
        visited.page.locator("figure.view", has_text="at first").wait_for()
        visited.page.get_by_label("Values of free nodes").select_option("draws")
        visited.page.get_by_role("button", name="Draw again").wait_for()
        visited.assert_clean()


def test_rows_are_brought_as_a_file(chromium: Any, server: PageServer, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", image=np.full((2, 8, 8), 8))
    with visit(chromium, server.address) as visited:
        ready(visited)
        own = pixels(visited, "the row")
        visited.page.get_by_text("Bring rows").click()
        visited.page.get_by_label("A file of rows, or a picture").set_input_files(tmp_path / "mine.npz")
        until(visited, lambda: pixels(visited, "the row") != own)
        assert "mine.npz (1): 2 rows" in visited.page.get_by_label("Begin with").inner_text()
        visited.page.get_by_label("Rows as csv").fill("a,b\n1,2\n")
        visited.page.get_by_role("button", name="Take them").click()
        visited.page.get_by_role("alert").filter(has_text="pasted.csv: no column named 'image'").wait_for()
        visited.assert_clean()
        visited.assert_accessible()


def test_two_windows_do_not_meet(chromium: Any, server: PageServer) -> None:
    with visit(chromium, server.address) as one, visit(chromium, server.address) as other:
        ready(one)
        ready(other)
        before = pixels(other)
        one.page.locator("#node-y .category").nth(4).click()
        until(one, lambda: pixels(one) != before)
        assert pixels(other) == before
        other.page.locator("#node-y .category").nth(4).click()
        until(other, lambda: pixels(other) == pixels(one))


def test_names_of_a_stranger_stay_text(chromium: Any, tmp_path: Path) -> None:
    raw = small(data=NPZ, nodes__y__values=[HOSTILE, "b", "c"])
    del raw["nodes"]["y"]["categories"]
    draw = np.random.default_rng(0)
    np.savez(
        tmp_path / "none.npz", x=draw.normal(size=(60, 3)), y=np.array([HOSTILE, "b", "c"])[draw.integers(0, 3, 60)]
    )
    sgc.train(sgc.load(raw), output=tmp_path / "run", beside=tmp_path)
    with serving(server_of(tmp_path / "run", port=0)) as running, visit(chromium, running.address) as visited:
        visited.page.wait_for_selector("#shown table")
        assert visited.page.locator(".category .word").first.inner_text() == HOSTILE
        assert visited.page.title() != "mine"
        visited.assert_clean()


def test_a_page_says_that_its_server_has_stopped(chromium: Any, run: Path) -> None:
    with serving(server_of(run, port=0)) as running, visit(chromium, running.address) as visited:
        ready(visited)
        running.key = "another"  # as after another start
        visited.page.locator("#node-y .category").nth(4).click()
        visited.page.get_by_role("alert").filter(has_text="the explorer was started anew").wait_for()


# ---- the command


def test_the_command_says_its_address_and_stops(run: Path) -> None:
    words = [sys.executable, "-m", "sgc", "explore", str(run), "--port", "0", "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    host, port = address.removeprefix("http://").partition("/")[0].split(":")
    assert host == "127.0.0.1"
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", address.partition(port)[2])
    answer = connection.getresponse()
    assert answer.status == 200
    assert b"sgc explore" in answer.read()
    taken = subprocess.run([*words[:-2], port, "--no-open"], capture_output=True, text=True, check=False)
    assert taken.returncode == 2
    assert taken.stderr.startswith(f"error: port {port} is taken")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "stop it with Ctrl-C\nstopped\n")


def test_a_browser_opens_on_a_desktop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSH_CONNECTION", "SSH_TTY", "CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert not opens_by_itself()
    monkeypatch.setenv("DISPLAY", ":0")
    assert opens_by_itself()
    monkeypatch.setenv("SSH_CONNECTION", "1 2 3 4")
    assert not opens_by_itself()
    assert os.environ["DISPLAY"] == ":0"
