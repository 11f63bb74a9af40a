"""Formulas of a page: MathML from factors and from the expression tree of a bound, each term an element of its own.

Between the pieces of a bound a line may break, so that it fits a phone; every term names the nodes that it reads, and
says below itself how it is computed, in words and by colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sgc.derivation.factors import Factor
from sgc.derivation.graph import Role
from sgc.derivation.plan import EachNode, Plan
from sgc.objectives.expressions import (
    Constant,
    LabelScore,
    Log,
    LogMean,
    Mean,
    Part,
    Product,
    Scale,
    Score,
    Value,
)
from sgc.report.pages.html_document import escaped
from sgc.report.plated_plan import PlatedPlan
from sgc.report.plates import Plated
from sgc.report.products import joint_of
from sgc.report.step_ranges import Around, limits

LABEL = "label"  # the role of a label's term, beside those of scores
MINUS, PLUS = "−", "+"
FEW = 5  # names of a density between which no line breaks
COMMA = '<mo separator="true">,</mo>'
SPACE = '<mspace width="0.25em"/>'
EXPECTED = "<msub><mi>𝔼</mi><mi>r</mi></msub>"
LOG = '<mi>log</mi><mo>&#x2061;</mo><mspace width="0.2em"/>'


@dataclass(frozen=True)
class Target:
    """Where a term of a pattern is told of: the id of its row, how it is computed, and the nodes that it reads."""

    id: str
    tag: str
    nodes: tuple[str, ...]


def math(content: str) -> str:
    """Make a formula of MathML."""
    return f'<math displaystyle="true"><mrow>{content}</mrow></math>'


def broken(pieces: Iterable[str]) -> str:
    """Make a formula of pieces between which a line may break."""
    return " ".join(map(math, pieces))


def around(before: str, pieces: Sequence[str], after: str = "") -> list[str]:
    """Put MathML before the first and behind the last of some pieces."""
    first, *others = pieces
    whole = [before + first, *others]
    whole[-1] += after
    return whole


def sign(text: str, form: str = "infix") -> str:
    """Write an operator."""
    return f'<mo form="{form}">{escaped(text)}</mo>'


def fence(text: str) -> str:
    """Write a bracket as high as its line."""
    return f'<mo stretchy="false">{escaped(text)}</mo>'


def word(text: str) -> str:
    """Write a name: a letter slanted, a word upright."""
    return f"<mi>{escaped(text)}</mi>"


def number(value: str) -> str:
    """Write a number, or the name of one."""
    return f"<mn>{escaped(value)}</mn>" if value.isdigit() else word(value)


class Factors:
    """Writes factors as MathML by names of the file, each name with its node in `data-node`.

    by_step: by the names of single steps instead, where no formula over repeats is the same.
    """

    def __init__(self, view: Plated, *, by_step: bool = False) -> None:
        self.view, self.names, self.by_step = view, view.names, by_step

    def nodes(self, factors: Iterable[Factor]) -> tuple[str, ...]:
        """List the nodes, features and inputs that factors are of and read, each once."""
        found: dict[str, None] = {}
        for factor in factors:
            found[self.names.of(factor.node)] = None
            found |= dict.fromkeys(read.name for read in self.names.relatives(factor.node, factor.parents))
        return tuple(found)

    def variable(self, text: str, node: str) -> str:
        """Write the name of a node."""
        return f'<mi data-node="{escaped(node)}">{escaped(text)}</mi>'

    def factor(self, factor: Factor) -> list[str]:
        """Write a conditional, `p(x | y, z)`, in pieces of few names."""
        node = self.names.of(factor.node)
        left = self.variable(factor.node if self.by_step else node, node)
        above = f"{left}{sign('>')}{_count(factor.above)}" if factor.above else ""
        parents = [*self._parents(factor), *([above] if above and not factor.tail else [])]
        letter = "p" if factor.role == "generative" else "q"
        return self.density(factor.role, letter, [above if factor.tail else left], parents)

    def _parents(self, factor: Factor) -> list[str]:
        if self.by_step:
            return [self.variable(parent, self.names.of(parent)) for parent in factor.parents]
        reader = self.names.of(factor.node)
        reads = self.names.relatives(factor.node, factor.parents)
        return [self.variable(self.names.written(reader, read), read.name) for read in reads]

    def density(self, role: Role, letter: str, before: Sequence[str], behind: Sequence[str]) -> list[str]:
        """Write a density of some names, given others, in pieces of few names."""
        names = [f"{name}{COMMA}" for name in before[:-1]] + [f"{before[-1]}{sign('∣') if behind else ''}"]
        names += [f"{name}{COMMA}" for name in behind[:-1]] + [*behind[-1:]]
        pieces = ["".join(names[i : i + FEW]) for i in range(0, len(names), FEW)]
        return around(f'<mi class="letter {role}">{letter}</mi>{fence("(")}', pieces, fence(")"))

    def product(self, items: Sequence[tuple[Factor, Around]], depth: int = 0) -> list[str]:
        """Write a product in pieces, each factor over the steps of its repeats; those of one repeat share its sign."""
        groups: dict[object, list[tuple[Factor, Around]]] = {}
        for i, item in enumerate(items):
            groups.setdefault(item[1][depth : depth + 1] or i, []).append(item)
        pieces: list[str] = []
        for group in groups.values():
            factor, steps = group[0]
            if len(steps) <= depth:
                pieces += self.factor(factor)
                continue
            opened, closed = (fence("["), fence("]")) if len(group) > 1 else ("", "")
            pieces += around(f"{over('∏', steps, depth)}{opened}", self.product(group, depth + 1), closed)
        return pieces

    def joint(self, role: Role) -> list[str]:
        """Write p or q as the product of its factors, in pieces."""
        joint, letter = joint_of(self.view, role), "p" if role == "generative" else "q"
        if not joint.factors:
            return [f"{word(letter)}{sign('=')}<mn>1</mn>"]
        flat = self.view.flat.generative if role == "generative" else self.view.flat.recognition
        items: list[tuple[Factor, Around]] = []
        for factor, steps in joint.factors:
            step = self.names.middle(factor.node)
            items.append((Factor(step, role, flat[step].reads), steps))
        before, behind = ([self.variable(name, name) for name in names] for names in (joint.nodes, joint.given))
        return [*around("", self.density(role, letter, before, behind), sign("=")), *self.product(items)]


def over(operator: str, steps: Around, depth: int) -> str:
    """Write the sign of a sum or product over the steps of a repeat."""
    name, first, last = limits(steps, depth)
    below = f"{word(name)}{sign('=')}{number(first)}"
    return f"<munderover>{sign(operator, 'prefix')}<mrow>{below}</mrow>{number(last)}</munderover>"


def _count(above: str) -> str:
    """Write the number of a step: a digit, or `i*` for the last labelled one."""
    return f"<msup>{word(above[:-1])}<mo>*</mo></msup>" if above.endswith("*") else number(above)


class BoundHtml:
    """Writes the bound of a plan, a line for each part, as pieces of MathML between which a line may break."""

    def __init__(
        self, view: Plated, writer: EachNode | PlatedPlan, target: Callable[[str, str], Target | None]
    ) -> None:
        """Take what writes a plan, and what says where a term is told of, by its node and role."""
        self.view, self.writer, self.target = view, writer, target
        self.interlaced = isinstance(writer, PlatedPlan) and writer.interlaced
        self.plan: Plan = writer.flat if self.interlaced else writer.plan
        self.factors = Factors(view, by_step=self.interlaced)

    def lines(self) -> Iterator[str]:
        """Write the lines, from the one with the bound's name."""
        expression = self.plan.expression
        name = f'<mi class="bound-name">ℒ</mi>{sign("=")}'
        if not expression.parts:
            yield math(f"{name}<mn>0</mn>")
            return
        for i, scaled in enumerate(expression.parts):
            before = name if i == 0 else f"{sign(PLUS)}{SPACE}"
            yield math(f"{before}{self.scale(scaled.scale)}") + self.part(scaled.part)
            if i == 0 and isinstance(scaled.part, Mean) and scaled.part.normalised and expression.weights.logs:
                inside = self.mean(math(self.product(expression.weights)))
                yield f"<span>with </span>{math(word('Z') + sign('='))}{inside}"

    def part(self, part: Part) -> str:
        """Write a part without its scale."""
        if isinstance(part, Constant):
            return self.log_product(part.product)
        if isinstance(part, LogMean):
            top = self.log_mean(part.numerator)
            if not part.before.logs:
                return top
            return f"{math(fence('('))}{top}{math(sign(MINUS))}{self.log_mean(part.before)}{math(fence(')'))}"
        inner = self.sum(part.values)
        if not part.weight.logs:
            return self.mean(inner)
        ratio = f"<mfrac>{word('w')}{word('Z')}</mfrac>" if part.normalised else self.product(part.weight)
        return self.mean(f"{math(ratio + fence('('))}{inner}{math(fence(')'))}")

    def mean(self, inner: str) -> str:
        """Write an expectation under the proposal, where there is one."""
        if not self.writer.proposes:
            return inner
        return f"{math(EXPECTED + fence('['))}{inner}{math(fence(']'))}"

    def sum(self, values: Sequence[Value]) -> str:
        """Write a sum, each addend with its sign; 0 where nothing is added."""
        if not values:
            return math("<mn>0</mn>")
        return "".join(self.value(value, first=i == 0) for i, value in enumerate(values))

    def value(self, value: Value, *, first: bool) -> str:
        """Write one addend with its sign."""
        log = value.log
        positive = value.sign > 0
        if isinstance(log, Score) and log.role != "generative":
            positive = not positive
        operator = (sign(PLUS) if positive else sign(MINUS)) if not first else "" if positive else sign(MINUS, "prefix")
        text = self.log_product(log) if isinstance(log, Product) else self.term(log)
        return f'<span class="addend">{math(operator) if operator else ""}{text}</span> '

    def term(self, log: Log) -> str:
        """Write one term, without its sign, as a link to where it is told of."""
        score = self.score(log) if isinstance(log, Score) else self.log_label(log)
        target = self.target(log.node, log.role if isinstance(log, Score) else LABEL)
        return linked(target, score) if target is not None else broken(score)

    def score(self, score: Score) -> list[str]:
        """Write a term as it is inside the expectation, without its sign, in pieces."""
        signs, plan = self.signs("∑", score.node), self.writer.flat
        if score.role == "generative":
            return around(f"{signs}{LOG}", self.factors.factor(plan.scored[score.node]))
        q = self.factors.factor(plan.proposed[score.node].factor)
        if score.role == "recognition":
            return around(f"{signs}{LOG}", q)
        p = self.factors.factor(plan.scored[score.node])
        return [*around(f"{signs}<mi>KL</mi>{fence('(')}", q), *around(sign("∥"), p, fence(")"))]

    def label(self, label: LabelScore) -> list[str]:
        """Write the factor of a label, in pieces."""
        return around(self.signs("∏", label.node, label=True), self.weighed(label))

    def log_label(self, label: LabelScore) -> list[str]:
        """Write the log of a label's factor, in pieces."""
        return around(f"{self.signs('∑', label.node, label=True)}{LOG}", self.weighed(label))

    def weighed(self, label: LabelScore) -> list[str]:
        """Write a factor of the weight, without signs, in pieces."""
        return self.factors.factor(self.writer.flat.weighed[label.node].factor)

    def signs(self, operator: str, node: str, *, label: bool = False) -> str:
        """Write the signs of a sum or product over the steps of a node."""
        if self.interlaced or not isinstance(self.writer, PlatedPlan):
            return ""
        steps = self.writer.groups.of(node, label=label).around
        return "".join(over(operator, steps, i) for i in range(len(steps)))

    def product(self, product: Product) -> str:
        """Write a product by its symbol, else by its factors."""
        if product.symbol:
            text = _symbol(product.symbol)
        else:
            text = "".join("".join(self.label(log)) for log in product.logs if isinstance(log, LabelScore))
        if product.power == 1:
            return f"<mrow>{text}</mrow>"
        return f"<msup><mrow>{fence('(')}{text}{fence(')')}</mrow><mn>{product.power:g}</mn></msup>"

    def log_product(self, product: Product) -> str:
        """Write the log of a product; that of one factor as a term."""
        only = product.logs[0] if len(product.logs) == 1 and not product.symbol and product.power == 1 else None
        return self.term(only) if isinstance(only, LabelScore) else math(f"{LOG}{self.product(product)}")

    def log_mean(self, product: Product) -> str:
        """Write the log of the mean of a product."""
        if not self.writer.proposes:
            return self.log_product(product)
        return f"{math(LOG)}{self.mean(math(self.product(product)))}"

    def scale(self, scale: Scale) -> str:
        """Write what a part is multiplied by; nothing for 1."""
        if not scale.alpha:
            return "" if scale.constant == 1 else f"<mn>{scale.constant:g}</mn>"
        alpha = word("α")
        if self.writer.words.alpha_by_node:
            alpha = f"<msub>{alpha}{word(self.writer.name(scale.alpha))}</msub>"
        if not scale.constant:
            return alpha
        return f"<mrow>{fence('(')}<mn>{scale.constant:g}</mn>{sign(PLUS)}{alpha}{fence(')')}</mrow>"


def linked(target: Target, pieces: Sequence[str]) -> str:
    """Write a term, in pieces, as a link to its row, with how it is computed below it."""
    nodes = escaped(" ".join(target.nodes))
    return (
        f'<a class="term {target.tag}" href="#{target.id}" data-nodes="{nodes}">{broken(pieces)}'
        f'<span class="tag">{target.tag}</span></a>'
    )


def _symbol(symbol: str) -> str:
    """Write the symbol of a product: `w`, or a ratio as `p / r`."""
    return f'<mi class="symbol">{escaped(symbol)}</mi>'
