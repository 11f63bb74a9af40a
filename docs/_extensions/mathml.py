"""Formulas as MathML, which browsers draw by themselves: no script, and none from another machine."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def markup(formula: str, *, display: bool = False) -> str:
    """Turn LaTeX into a <math> element. Raises: docutils.utils.math.MathError for what is not understood."""
    return tex2mathml(formula, as_block=display)


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
