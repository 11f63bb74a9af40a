"""Docstrings of this package as reStructuredText: `name: …` of a parameter becomes an entry of a list, Raises another.

They are one imperative line, then prose in which a sentence that begins with a parameter's name explains it.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def rewrite(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:  # Any: Sphinx's
    """Rewrite the lines of a docstring in place."""
    text = "\n".join(lines)
    parameters: list[str] = []
    if callable(thing):
        try:
            parameters = [name for name in inspect.signature(thing).parameters if name != "self"]
        except (TypeError, ValueError):
            parameters = []
    lines[:] = restructured(text, parameters).splitlines()


def restructured(text: str, parameters: list[str]) -> str:
    """Give a docstring with its parameters and what it raises as fields."""
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"(?<![`\w])(\[[^\]`\n]*\*[^\]`\n]*\])", r"``\1``", text)
    prose, fields = [], []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        flat = re.sub(r"\s*\n\s*", " ", paragraph).strip()
        if number and parameters and not paragraph.lstrip().startswith(">>>"):
            names = "|".join(map(re.escape, parameters))
            pieces = re.split(rf"(?:^|(?<=[.;)] ))((?:{names})(?:, (?:{names}))*): ", flat)
            flat = pieces[0].strip()
            for who, about in zip(pieces[1::2], pieces[2::2], strict=True):
                about, *more = re.split(r"(?<=\. )(?=Returns|Raises: )", about)
                fields += [f":param {name}: {about.strip()}" for name in who.split(", ")]
                flat = " ".join([flat, *more]).strip()
        before, raises, after = flat.partition("Raises: ")
        if number and raises:
            flat = before.strip()
            fields.append(f":raises: {after.strip()}")
        if flat:
            prose.append(paragraph if paragraph.lstrip().startswith(">>>") else flat)
    return "\n\n".join([*prose, "\n".join(fields)]) + "\n"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Rewrite what autodoc reads."""
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
