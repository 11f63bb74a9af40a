"""A table of text is laid out as rich lays it out, letter by letter."""

from __future__ import annotations

import io
import random
import subprocess
import sys

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from sgc.report.text_table import text_table

TITLES = ("node", "distribution", "supervision", "generative", "recognition", "parameters")
WORDS = ["x", "mlp", "512-512", "relu", "probs_of_all", "logits", "0.5", "batch-norm", "α", "größe", "数字", "ÿ", "é"]
WORDS += ["a_name_that_is_longer_than_any_column_that_it_could_stand_in", "長い名前は折り返される" * 3, "👩‍🔬"]


def by_rich(rows: list[list[str]], width: int) -> list[str]:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, leading=1, header_style="")
    for title in TITLES[:-1]:
        table.add_column(title, overflow="fold")
    table.add_column(TITLES[-1], justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().rstrip().split("\n")]


def drawn(rng: random.Random, words: list[str]) -> list[list[str]]:
    def cell() -> str:
        return "\n".join(" ".join(rng.choices(words, k=rng.randrange(1, 7))) for _ in range(rng.randrange(1, 4)))

    return [[cell() if rng.random() < 0.9 else "" for _ in TITLES] for _ in range(rng.randrange(1, 5))]


@pytest.mark.parametrize("width", [40, 41, 47, 60, 80, 118, 200, 1000])
@pytest.mark.parametrize("words", [[word for word in WORDS if word.isascii()], WORDS], ids=["ascii", "wide letters"])
def test_a_table_is_that_of_rich(width: int, words: list[str]) -> None:
    rng = random.Random(width)
    for _ in range(60):
        rows = drawn(rng, words)
        rows[-1][-1] = rows[-1][-1] or "0"  # the last line of rich's is stripped of more than spaces to the right
        assert text_table(TITLES, rows, width=width, right=["parameters"]) == by_rich(rows, width)


def test_plain_letters_need_no_rich() -> None:
    code = (
        "import sys\nfrom sgc.report.text_table import text_table\n"
        "print(*text_table(['a', 'b'], [['one two three', 'four']], width=12), sep='\\n')\n"
        "assert 'rich' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a       b\n────────────\none     four\ntwo\nthree\n"
