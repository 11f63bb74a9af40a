"""The expression of a bound as text and as LaTeX.

How a factor is written is left to a writer: that of a plan writes each by itself, one of a model with repeats puts the
sum or product over their steps before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

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


class Writer(ABC):
    """Writes the pieces of a formula, as text or as LaTeX."""

    latex: bool

    @abstractmethod
    def score(self, score: Score) -> str:
        """Write a term as it stands inside the expectation: `log p(x | z)`, `-KL(q(z | x) || p(z))`."""

    @abstractmethod
    def label(self, label: LabelScore) -> str:
        """Write the factor of a label: `q(y | x)`."""

    @abstractmethod
    def name(self, node: str) -> str:
        """Write the name of a node."""

    @property
    def log(self) -> str:
        return r"\log " if self.latex else "log "

    @abstractmethod
    def log_label(self, label: LabelScore) -> str:
        """Write the log of a label's factor: `log q(y | x)`."""

    def mean(self, text: str) -> str:
        """Write an expectation under the proposal."""
        return rf"\mathbb{{E}}_{{r}}\left[ {text} \right]" if self.latex else f"E_r[ {text} ]"

    def alpha(self, node: str, words: ObjectiveWords) -> str:
        """Write the weight of a label."""
        letter = r"\alpha" if self.latex else "α"
        if not words.alpha_by_node:
            return letter
        name = self.name(node)
        return rf"{letter}_{{{symbol(name)}}}" if self.latex else f"{letter}_{name}"

    def scale(self, scale: Scale, words: ObjectiveWords) -> str:
        """Write what a part is multiplied by; nothing for 1."""
        if not scale.alpha:
            return "" if scale.constant == 1 else f"{scale.constant:g}"
        alpha = self.alpha(scale.alpha, words)
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
        text = ""
        for value in values:
            each = self.value(value)
            if not text:
                text = each
            else:
                text += f" - {each[1:]}" if each.startswith("-") else f" + {each}"
        return text or "0"


def bound_lines(expression: Expression, words: ObjectiveWords, writer: Writer, *, proposed: bool) -> list[str]:
    """Write a bound, a line for each part. proposed: whether anything is, so that there is an expectation."""
    return list(_Lines(words, writer, proposed).of(expression))


class _Lines:
    def __init__(self, words: ObjectiveWords, writer: Writer, proposed: bool) -> None:
        self.words, self.writer, self.proposed = words, writer, proposed

    def of(self, expression: Expression) -> Iterator[str]:
        latex = self.writer.latex
        equals, more = (r"\mathcal{L} &= ", r"&\quad ") if latex else ("L = ", "    ")
        if not expression.parts:
            yield f"{equals}0"
            return
        first, *others = expression.parts
        source = "" if latex else f"    ({self.words.bound.source})"
        yield f"{equals}{self.scaled(first.scale, self.part(first.part))}{source}"
        weight = expression.weights
        if isinstance(first.part, Mean) and first.part.normalised and weight.logs:
            total = self.expect(self.writer.product(weight))
            yield f"{more}Z = {total}" if latex else f"{more}with Z = {total}"
        for each in others:
            yield f"{more}+ {self.scaled(each.scale, self.part(each.part))}"

    def scaled(self, scale: Scale, text: str) -> str:
        return f"{self.writer.scale(scale, self.words)} {text}".lstrip()

    def part(self, part: Part) -> str:
        writer = self.writer
        if isinstance(part, Constant):
            return writer.log_product(part.product)
        if isinstance(part, LogMean):
            text = self.log_mean(part.whole)
            return f"({text} - {self.log_mean(part.before)})" if part.before.logs else text
        inner, weight = writer.sum(part.values), part.weight
        if not weight.logs:
            return self.expect(inner)
        ratio = (r"\frac{w}{Z}" if writer.latex else "(w/Z)") if part.normalised else writer.product(weight)
        return self.expect(f"{ratio} ({inner})")

    def log_mean(self, product: Product) -> str:
        writer = self.writer
        return f"{writer.log}{writer.mean(writer.product(product))}" if self.proposed else writer.log_product(product)

    def expect(self, text: str) -> str:
        return self.writer.mean(text) if self.proposed else text


def symbol(name: str) -> str:
    """Write a node's name for LaTeX: a letter stays one, a word stands upright."""
    safe = name.replace("_", r"\_")
    return safe if len(name) == 1 else rf"\mathrm{{{safe}}}"
