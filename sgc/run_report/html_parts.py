"""Parts of a report's page: tables, tiles, findings, figures; all text of others is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from sgc.report.pages.charts import chart
from sgc.report.pages.html_document import escaped
from sgc.run_report.chart_parts import Spec
from sgc.run_report.diagnostic import Diagnostic, Level

MARKS: dict[Level, tuple[str, str]] = {
    "bad": ("bad", "✗ wrong"),
    "warning": ("warning-mark", "▲ mend"),
    "note": ("note-mark", "● note"),
    "good": ("good", "✓ good"),
}


class Figures:
    """Numbers the charts of a page, and says whether it has any."""

    def __init__(self) -> None:
        self.count = 0

    def chart(self, spec: Spec | None, caption: str, alternative: str) -> str:
        """Write a chart; nothing where there is nothing to draw."""
        if spec is None:
            return ""
        self.count += 1
        return chart(f"chart-{self.count}", spec, caption=caption, alternative=alternative)


def section(name: str, title: str, *parts: str) -> str:
    """Write a section with its heading; nothing where it has no content."""
    content = "\n".join(part for part in parts if part)
    if not content:
        return ""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escaped(title)}</h2>\n{content}\n</section>'


def contents(sections: Iterable[tuple[str, str, str]]) -> str:
    """Write links to sections that have content: name, title, content."""
    links = " ".join(f'<a href="#{name}">{escaped(title)}</a>' for name, title, content in sections if content)
    return f'<nav class="contents" aria-label="Contents">{links}</nav>'


def paragraph(text: str, kind: str = "") -> str:
    """Write plain text as a paragraph."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def heading(text: str) -> str:
    """Write plain text as a heading inside a section."""
    return f"<h3>{escaped(text)}</h3>"


def grid(kind: str, *parts: str) -> str:
    """Put parts side by side where there is room."""
    content = "".join(part for part in parts if part)
    return f'<div class="{kind}">{content}</div>' if content else ""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """Write a table of plain text: the first cell of a row is its heading. numbers: align the others to the right."""
    kind = ' class="number"' if numbers else ""
    cells = [
        f'<tr><th scope="row">{escaped(first)}</th>{"".join(f"<td{kind}>{escaped(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    ]
    if not cells:
        return ""
    first, *others = head
    titles = f'<th scope="col">{escaped(first)}</th>' + "".join(
        f'<th scope="col"{kind}>{escaped(title)}</th>' for title in others
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{titles}</tr></thead><tbody>{''.join(cells)}</tbody></table></div>"
    )


def folded(title: str, *parts: str) -> str:
    """Write parts that open at a click; nothing where there are none."""
    content = "".join(part for part in parts if part)
    return f"<details><summary>{escaped(title)}</summary>{content}</details>" if content else ""


def tiles(entries: Iterable[tuple[str, str, str]]) -> str:
    """Write numbers at a glance: what it is, the number, and a word below it."""
    written = "".join(
        f"<div><dt>{escaped(title)}</dt><dd>{escaped(value)}{_small(more)}</dd></div>" for title, value, more in entries
    )
    return f'<dl class="tiles">{written}</dl>'


def _small(text: str) -> str:
    return f"<small>{escaped(text)}</small>" if text else ""


def findings(diagnostics: Sequence[Diagnostic]) -> str:
    """Write what was found, and what to do."""
    items = []
    for diagnostic in diagnostics:
        kind, mark = MARKS[diagnostic.level]
        advice = diagnostic.advice + (f" Guide: {diagnostic.guide}." if diagnostic.guide else "")
        below = f'<p class="advice">{escaped(advice.strip())}</p>' if advice.strip() else ""
        items.append(
            f'<li><span class="mark {kind}">{mark}</span><div><p>{escaped(diagnostic.text)}</p>{below}</div></li>'
        )
    return f'<ul class="findings">{"".join(items)}</ul>' if items else ""


def picture(png: bytes, caption: str, alternative: str) -> str:
    """Write a picture that stands in the page."""
    data = base64.b64encode(png).decode()
    return (
        f'<figure><div class="picture"><img src="data:image/png;base64,{data}" alt="{escaped(alternative)}"></div>'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
    )


def code_block(text: str, label: str) -> str:
    """Write code as it is, in a block that scrolls."""
    return f'<pre class="spec" tabindex="0" role="region" aria-label="{escaped(label)}">{escaped(text)}</pre>'
