"""A self-contained page: its head, style, scripts and data in one HTML file, closed to the network and to foreign code.

What a stranger's spec or data say reaches a page as text: `escaped` for HTML, `data_block` for what scripts read. The
policy in the head allows the scripts that stand in the page by their hash, and no other source of any kind.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

escaped = html.escape

LAYOUT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="sgc">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
{body}
{data}
{scripts}
</body>
</html>
"""


def document(
    title: str,
    body: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,  # Any: JSON
    connect: str = "'none'",
) -> str:
    """Write a whole page.

    title: plain text. body: HTML, with one element `main` whose id is "main". styles, scripts: the text of style
    sheets, after the common one, and of scripts, in their order. data: what scripts read, by the id of its block.
    connect: whom scripts may ask, nobody or "'self'", the server of the page.
    """
    policy = [
        "default-src 'none'",
        "img-src data:",
        "font-src data:",
        "style-src 'unsafe-inline'",
        f"script-src {' '.join(_hash(script) for script in scripts) or chr(39) + 'none' + chr(39)}",
        f"connect-src {connect}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return LAYOUT.format(
        policy="; ".join(policy),
        title=escaped(title),
        style="\n".join((page_file("page.css"), *styles)),
        body=body,
        data="\n".join(data_block(name, value) for name, value in (data or {}).items()),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def data_block(name: str, value: Any) -> str:  # Any: JSON
    """Write data as a block that a script reads by its id and no browser runs, whatever text is in them."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":  # an end of the block, or the beginning of a comment, inside a string
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escaped(name)}">{text}</script>'


@cache
def page_file(name: str) -> str:
    """Read a style sheet or a script that stands beside this file."""
    return (files("sgc.report.pages") / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
