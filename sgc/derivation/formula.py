"""The expression of a bound as text and as LaTeX, and rows of formulas set in columns.

How a factor is written is left open: the writer of a plan writes each by itself, that of a model with repeats puts the
sum or product over their steps before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sgc.derivation.styled_letters import style
from sgc.objectives.expressions import (
    Constant,
    Expression,
    LabelScore,
    LogMean,
    Mean,
    Part,
    Product,
    Scale,
    Score,
    Value,
)
from sgc.objectives.objective_words import ObjectiveWords

Cells = tuple[str, ...]  # of a row


class Writer(ABC):
    """Writes the pieces of a formula, as text or as LaTeX."""

    latex: bool
    styled: bool  # whether factors and tags are in styled letters

    def mark(self, text: str, role: str) -> str:
        """Give a piece of text its role, where the writer styles."""
        return style(text, role) if self.styled else text

    @property
    @abstractmethod
    def words(self) -> ObjectiveWords:
        """The words of the objective."""

    @property
    @abstractmethod
    def proposes(self) -> bool:
        """Whether anything is proposed, so that there is an expectation."""

    @abstractmethod
    def score(self, score: Score) -> str:
        """Write a term as it is inside the expectation: `log p(x | z)`, `-KL(q(z | x) || p(z))`."""

    @abstractmethod
    def label(self, label: LabelScore) -> str:
        """Write the factor of a label: `q(y | x)`."""

    @abstractmethod
    def name(self, node: str) -> str:
        """Write the name of a node."""

    @property
    def log(self) -> str:
        return r"\log " if self.latex else "log "

    def before(self, signs: str, word: str) -> str:
        """Write what comes before a factor: the signs of a sum, which are kept with it, and a word such as `log`."""
        return self.mark(signs + word, "kept") if signs else word

    @abstractmethod
    def log_label(self, label: LabelScore) -> str:
        """Write the log of a label's factor: `log q(y | x)`."""

    def mean(self, text: str) -> str:
        """Write an expectation under the proposal, where there is one."""
        if not self.proposes:
            return text
        return rf"\mathbb{{E}}_{{r}}\left[ {text} \right]" if self.latex else f"E_r[ {text} ]"

    def alpha(self, node: str) -> str:
        """Write the weight of a label."""
        letter = r"\alpha" if self.latex else "α"
        if not self.words.alpha_by_node:
            return letter
        name = self.name(node)
        return rf"{letter}_{{{symbol(name)}}}" if self.latex else f"{letter}_{name}"

    def scale(self, scale: Scale) -> str:
        """Write what a part is multiplied by; nothing for 1."""
        if not scale.alpha:
            return "" if scale.constant == 1 else f"{scale.constant:g}"
        alpha = self.alpha(scale.alpha)
        return f"({scale.constant:g} + {alpha})" if scale.constant else alpha

    def product(self, product: Product) -> str:
        """Write a product by its symbol, else by its factors."""
        text = product.symbol or " ".join(self.label(log) for log in product.logs if isinstance(log, LabelScore))
        if product.power == 1:
            return text
        return f"({text})^{{{product.power:g}}}" if self.latex else f"({text})^{product.power:g}"

    def log_product(self, product: Product) -> str:
        """Write the log of a product; that of one factor as a term."""
        only = product.logs[0] if len(product.logs) == 1 and not product.symbol and product.power == 1 else None
        return self.log_label(only) if isinstance(only, LabelScore) else f"{self.log}{self.product(product)}"

    def value(self, value: Value) -> str:
        """Write one addend of a mean, with its sign."""
        if isinstance(value.log, Score):
            text = self.score(value.log)
        elif isinstance(value.log, Product):
            text = self.log_product(value.log)
        else:
            text = self.log_label(value.log)
        if value.sign > 0:
            return text
        return text[1:] if text.startswith("-") else f"-{text}"

    def sum(self, values: Iterable[Value]) -> str:
        """Write a sum with its signs; 0 where nothing is added."""
        first, *others = [*map(self.value, values)] or ["0"]
        return first + "".join(f" - {text[1:]}" if text.startswith("-") else f" + {text}" for text in others)

    def part(self, part: Part) -> str:
        """Write a part without its scale."""
        if isinstance(part, Constant):
            return self.log_product(part.product)
        if isinstance(part, LogMean):
            text = self.log_mean(part.numerator)
            return f"({text} - {self.log_mean(part.before)})" if part.before.logs else text
        inner, weight = self.sum(part.values), part.weight
        if not weight.logs:
            return self.mean(inner)
        ratio = (r"\frac{w}{Z}" if self.latex else "(w/Z)") if part.normalised else self.product(weight)
        return self.mean(f"{ratio} ({inner})")

    def log_mean(self, product: Product) -> str:
        """Write the log of the mean of a product."""
        return f"{self.log}{self.mean(self.product(product))}" if self.proposes else self.log_product(product)

    def bound_lines(self, expression: Expression) -> Iterator[str]:
        """Write a bound, a line for each part."""
        equals, more = (r"\mathcal{L} &= ", r"&\quad ") if self.latex else ("L = ", "    ")
        if not expression.parts:
            yield f"{equals}0"
            return
        first, *others = (
            f"{self.scale(scaled.scale)} {self.part(scaled.part)}".lstrip() for scaled in expression.parts
        )
        yield f"{equals}{first}{'' if self.latex else f'    ({self.words.bound.source})'}"
        leading, weight = expression.parts[0].part, expression.weights
        if isinstance(leading, Mean) and leading.normalised and weight.logs:
            yield f"{more}{'' if self.latex else 'with '}Z = {self.mean(self.product(weight))}"
        for line in others:
            yield f"{more}+ {line}"


def symbol(name: str) -> str:
    """Write a node's name for LaTeX: a letter as it is, a word upright."""
    safe = name.replace("_", r"\_")
    return safe if len(name) == 1 else rf"\mathrm{{{safe}}}"


def aligned(title: str, blocks: Mapping[str, Sequence[Cells]], together: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write blocks of rows, each below its label. together: labels of blocks whose columns have one width.

    >>> print(*aligned("rows", {"a": [("x", "1"), ("yy", "2")], "b": [("no column",)]}, []), sep="\\n")
    rows
      a         x   1
                yy  2
      b         no column
    """
    wide = {label: max((len(row[0]) for row in rows if len(row) > 1), default=0) for label, rows in blocks.items()}
    for labels in together:
        wide |= dict.fromkeys(labels, max(wide[label] for label in labels))
    yield title
    for label, rows in blocks.items():
        for i, (first, *rest) in enumerate(rows):
            text = "  ".join([f"{first:<{wide[label]}}", *rest]) if rest else first
            yield f"  {'' if i else label:<10}{text}".rstrip()
