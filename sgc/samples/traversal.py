"""Turning a node of a row: what q infers of the row, which nodes follow the turned one, and what p generates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor
from torch.distributions import Distribution

from sgc.derivation.graph import Graphs, Role
from sgc.runtime.model import Model
from sgc.runtime.steps import apart, join, nodes_of
from sgc.spec.outline import Variable

ValueOf: TypeAlias = Callable[[Variable, Distribution], Tensor]
"""Takes a value from a conditional, [B, *event]: `center`, `mean` or `drawn`."""


def followers(
    graphs: Graphs, turned: Collection[str], shown: Sequence[str], kept: Collection[str] = ()
) -> list[tuple[str, Role]]:
    """List the nodes that change when others are turned, in the order to compute them, each with the role it uses.

    The rule, features seen through, until nothing more changes:

    1. A node whose recognition reads no observed node, and reads one that has changed, is proposed anew from q: all
       that was inferred of it came from such nodes. With q(s | i, l), turning l changes the shading s.
    2. Any other ancestor of what is shown that depends in p on a changed node is generated anew from p: with p(z | y),
       turning y changes z.
    3. Everything else stays as inferred, such as z in M2, whose q reads x and whose p has no parents.

    turned: nodes and inputs. shown: the node, or its steps, that is generated in the end; it is not a follower. kept:
    nodes that do not follow, and have not changed either.
    """
    nodes, changed, still = graphs.nodes, set(turned), {*turned, *kept}
    observed = {*shown, *(name for name, node in nodes.items() if node.supervision == "full" or node.dropped)}
    needed = graphs.ancestors(shown, "generative")
    order: list[tuple[str, Role]] = []

    def follow(name: str, role: Role) -> None:
        changed.add(name)
        still.add(name)
        order.append((name, role))

    before = -1
    while before < len(order):
        before = len(order)
        for name in graphs.order("recognition"):
            if name in nodes and name not in still and name not in observed:
                read = graphs.sources(graphs.parents(name, "recognition"))
                if read & changed and not read & observed:
                    follow(name, "recognition")
        for name in graphs.order("generative"):
            may_follow = name in nodes and name in needed and name not in still and name not in shown
            if may_follow and graphs.sources(graphs.parents(name, "generative")) & changed:
                follow(name, "generative")
    return order


def reaches(graphs: Graphs, turned: str, shown: Sequence[str]) -> bool:
    """Tell whether turning a node can change what is shown."""
    changed = {turned, *(name for name, _ in followers(graphs, [turned], shown))}
    return turned not in shown and bool(changed & graphs.ancestors(shown, "generative"))


def center(variable: Variable, conditional: Distribution) -> Tensor:
    """Give the mean of a conditional, [B, *event]; the most probable category, the nearest integer."""
    return variable.family.support.nearest(variable.family.mean(conditional))


def mean(variable: Variable, conditional: Distribution) -> Tensor:
    """Give the mean of a conditional, [B, *event]; probabilities for categories."""
    return variable.family.mean(conditional).reshape(-1, *variable.event)


def drawn(variable: Variable, conditional: Distribution) -> Tensor:
    """Draw from a conditional, [B, *event]."""
    return variable.family.draw(conditional, tuple(conditional.batch_shape)).value


def posterior_means(model: Model, observed: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Give the means of the weighted posterior of the unobserved nodes, [B, *event]; probabilities for categories.

    Dropped nodes are left out: nothing is generated from them.
    """
    outline, nodes = model.outline, model.inference(observed, samples, "posterior").checked().nodes
    steps = {n: v for name, posterior in nodes.items() for n, v in apart(outline, name, posterior.mean).items()}
    return {name: mean for name, mean in steps.items() if not outline.variables[name].dropped}


def infer_centers(model: Model, observed: Mapping[str, Tensor], value_of: ValueOf = center) -> dict[str, Tensor]:
    """Add to observed values, [B, *event], the center of q of each other node, in the order of the recognition graph.

    Nothing is drawn, unless `value_of` draws: the same rows give the same values.
    """
    graphs, variables = model.outline.graphs, model.outline.recognition
    wanted = [name for name in graphs.order("recognition") if name in variables and name not in observed]
    return _filled_in(model, observed, [(name, "recognition") for name in wanted], value_of)


def generate_centers(model: Model, given: Mapping[str, Tensor], value_of: ValueOf = center) -> dict[str, Tensor]:
    """Add to given values, [B, *event], the center of p of each other node, in the order of the generative graph.

    Nothing is drawn, unless `value_of` draws. If nothing is given, there is one row.
    """
    graphs, variables = model.outline.graphs, model.outline.variables
    wanted = [name for name in graphs.order("generative") if name in variables and name not in given]
    return _filled_in(model, given, [(name, "generative") for name in wanted], value_of)


def _filled_in(
    model: Model, values: Mapping[str, Tensor], wanted: Sequence[tuple[str, Role]], value_of: ValueOf
) -> dict[str, Tensor]:
    """Give nodes values by their conditionals, one after the other."""
    filled, laid = dict(values), model.laid_out(values)
    for name, role in wanted:
        filled[name] = value_of(model.outline.variables[name], laid.conditional(model.density(name, role)))
        laid.put(name, filled[name])
    return filled


def turn(
    model: Model,
    values: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    shown: str,
    *,
    kept: Collection[str] = (),
    value_of: ValueOf = center,
    shown_as: ValueOf = mean,
) -> dict[str, Tensor]:
    """Give rows other values of some nodes and inputs; their followers change with them, and the others stay.

    values, new: [B, *event], by node. kept: nodes that do not follow. value_of: of followers. shown_as: of what is
    shown. Returns all values; for what is shown, by its outer name, the mean of p.
    """
    following = followers(model.outline.graphs, new, nodes_of(model.outline, shown), kept)
    return with_generated(model, _filled_in(model, {**values, **new}, following, value_of), shown, shown_as)


def with_generated(
    model: Model, values: Mapping[str, Tensor], shown: str, shown_as: ValueOf = mean
) -> dict[str, Tensor]:
    """Replace what is shown by the mean of p given the other values."""
    steps = nodes_of(model.outline, shown)
    others = {n: v for n, v in values.items() if n not in steps}
    return {**others, shown: generated_mean(model, values, shown, shown_as)}


def generated_mean(model: Model, values: Mapping[str, Tensor], shown: str, shown_as: ValueOf = mean) -> Tensor:
    """Give the mean of p of a node, by its outer name with all steps, given the values of its parents: [B, *event]."""
    laid, means = model.laid_out(values), {}
    for node in nodes_of(model.outline, shown):
        means[node] = shown_as(model.outline.variables[node], laid.conditional(model.density(node, "generative")))
    return join(model.outline, means)[shown]
