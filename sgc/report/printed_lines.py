"""Lines of a page as data, and the one place that folds and colours them."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from sgc.derivation.styled_letters import PLANE, plain, runs
from sgc.report.standard_streams import visible

STYLES = {
    "title": "bold",
    "warning": "yellow",
    "generative": "blue",
    "recognition": "dark_orange",
    "exact": "green",
    "enumerated": "cyan",
    "sampled": "yellow",
    "biased": "red",
    "varies": "bold yellow",
}


@dataclass(frozen=True)
class Line:
    """A line of a page: its text, which may hold styled letters, the role of the rest, and whether it may be folded."""

    text: str
    role: str = ""
    foldable: bool = True


def unstyled(texts: Iterable[str], role: str = "") -> list[Line]:
    """Make lines of texts without styled letters; whatever else they hold is shown as its escape."""
    return [Line(visible(text), role) for text in texts]


def printed(lines: Iterable[Line], *, width: int | None, indent: str, color: bool) -> str:
    """Write lines, folded at so many characters (None: never), in colour with ANSI escapes or without."""
    folded = [
        (text, line.role)
        for line in lines
        for text in (fold(line.text, width, indent) if width is not None and line.foldable else [line.text])
    ]
    if not color:
        return "\n".join(visible(plain(text)) for text, _ in folded)
    from rich.console import Console
    from rich.text import Text

    page = Text()
    for i, (text, role) in enumerate(folded):
        page.append("\n" if i else "")
        for letters, run in runs(text):
            page.append(visible(run), STYLES.get(letters or role, ""))
    file = io.StringIO()
    widest = max(1, *(len(line) for line in page.plain.split("\n")))
    console = Console(file=file, force_terminal=True, color_system="256", width=widest, no_color=False)
    console.print(page, soft_wrap=True)
    return file.getvalue().removesuffix("\n")


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """Fold a line that is too long at its spaces, but not at those in styled letters where these fit a line."""
    if len(text) <= width:
        return [text]
    pieces = []
    for styled, letters in itertools.groupby(text, key=lambda letter: ord(letter) >= PLANE):
        piece = "".join(letters)
        too_long = styled and len(piece) > width - len(indent)
        pieces.append("".join(" " if plain(c) == " " else c for c in piece) if too_long else piece)
    return textwrap.wrap(
        "".join(pieces),
        max(width, 20),
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
