"""ASCII forms: how what we write in symbols is spelled where a stream's encoding has no such symbol."""

from __future__ import annotations

import re
import unicodedata

SYMBOLS = {
    "Σ": "sum",
    "∏": "prod",
    "∫": "int",
    "±": "+-",
    "−": "-",
    "–": "-",
    "·": "*",
    "×": "x",
    "°": " degrees",
    "½": "1/2",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "≠": "!=",
    "∝": "~",
    "∞": "inf",
    "√": "sqrt",
    "∇": "grad",
    "𝔼": "E",
    "ℒ": "L",
    "∑": "sum",
    "∥": "||",
    "∣": "|",
    "✓": "+",
    "✗": "x",
    "▲": "^",
    "●": "*",
    "—": "-",
    "\N{COMBINING TILDE}": "~",
    "‖": "||",
    "→": "->",
    "←": "<-",
    "‹": "<",
    "›": ">",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
RAISED = {"<super>": "^", "<sub>": "_"}


def ascii_form(text: str) -> str:
    """Spell a text in ASCII: our symbols as one would type them, what else there is by its escape.

    >>> print(ascii_form("α ‖ x₁₂² ─│┼ ø"))
    alpha || x_12^2 -|+ \\xf8
    """
    spelled, before = "", ""
    for letter in text:
        mark, _, code = unicodedata.decomposition(letter).partition(" ")
        if letter.isascii():
            form = letter
        elif mark in RAISED:
            form = chr(int(code, 16))
            form = (RAISED[mark] if mark != before else "") + (form if form.isascii() else ascii_form(form))
        else:
            form = SYMBOLS.get(letter) or _by_name(letter)
        spelled += form
        before = mark
    return spelled


def _by_name(letter: str) -> str:
    """Spell a Greek letter by its name, a rule by its direction, and any other letter by its escape."""
    name = unicodedata.name(letter, "")
    if greek := GREEK.fullmatch(name):
        return greek[2].lower() if greek[1] == "SMALL" else greek[2].capitalize()
    if name.startswith("BOX DRAWINGS"):
        return "+" if " AND " in name else "-" if "HORIZONTAL" in name else "|"
    return letter.encode("ascii", "backslashreplace").decode()
