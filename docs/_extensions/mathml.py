"""Formulas as MathML, which browsers draw by themselves: no script, and none from another machine."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def markup(formula: str, *, display: bool = False) -> str:
    """Turn LaTeX into a <math> element. Raises: docutils.utils.math.MathError for what is not understood."""
    return NAME.sub(_apart, tex2mathml(formula, as_block=display))


NAME = re.compile(r"(<m(?:sub|sup|subsup|under|over)>\s*)?<mi>(log|exp|max|min)</mi>")


def _apart(match: re.Match[str]) -> str:
    """Put a thin space behind the name of a function, which browsers do not; not where it carries an index."""
    return match[0] if match[1] else f'{match[0]}<mspace width="0.17em"></mspace>'


def _inline(writer: object, node: nodes.Element) -> None:
    writer.body.append(markup(node.astext()))  # type: ignore[attr-defined]
    raise nodes.SkipNode


def _block(writer: object, node: nodes.Element) -> None:
    formula = node.astext().strip()
    writer.body.append(f'<div class="formula">{markup(formula, display=True)}</div>\n')  # type: ignore[attr-defined]
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Offer the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
