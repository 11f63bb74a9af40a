"""Turning a node of a row: what q infers of the row, which nodes follow the turned one, and what p generates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from sgc.derivation.graph import Graphs, Role
from sgc.runtime.model import Model
from sgc.runtime.steps import apart, join, nodes_of


def followers(graphs: Graphs, turned: Collection[str], shown: Sequence[str]) -> list[tuple[str, Role]]:
    """List the nodes that change when others are turned, in the order to compute them, each with the role it uses.

    The rule, features seen through, until nothing more changes:

    1. A node whose recognition reads no observed node, and reads one that has changed, is proposed anew from q: all
       that was inferred of it came from such nodes. With q(s | i, l), turning l changes the shading s.
    2. Any other ancestor of what is shown that depends in p on a changed node is generated anew from p: with p(z | y),
       turning y changes z.
    3. Everything else stays as inferred, such as z in M2, whose q reads x and whose p has no parents.

    turned: nodes and inputs. shown: the node, or its steps, that is generated in the end; it is not a follower.
    """
    nodes, changed = graphs.nodes, set(turned)
    observed = {*shown, *(name for name, node in nodes.items() if node.supervision == "full" or node.dropped)}
    needed = graphs.ancestors(shown, "generative")
    order: list[tuple[str, Role]] = []

    def follow(name: str, role: Role) -> None:
        changed.add(name)
        order.append((name, role))

    before = -1
    while before < len(order):
        before = len(order)
        for name in graphs.order("recognition"):
            if name in nodes and name not in changed and name not in observed:
                read = graphs.sources(graphs.parents(name, "recognition"))
                if read & changed and not read & observed:
                    follow(name, "recognition")
        for name in graphs.order("generative"):
            may_follow = name in nodes and name in needed and name not in changed and name not in shown
            if may_follow and graphs.sources(graphs.parents(name, "generative")) & changed:
                follow(name, "generative")
    return order


def reaches(graphs: Graphs, turned: str, shown: Sequence[str]) -> bool:
    """Tell whether turning a node can change what is shown."""
    changed = {turned, *(name for name, _ in followers(graphs, [turned], shown))}
    return turned not in shown and bool(changed & graphs.ancestors(shown, "generative"))


def center(model: Model, name: str, role: Role, values: Mapping[str, Tensor]) -> Tensor:
    """Give the mean of a conditional at given parents, [B, *event]; the most probable category, the nearest integer."""
    family = model.outline.variables[name].family
    return family.support.nearest(family.mean(model.conditional(name, role, values)))


def posterior_means(model: Model, observed: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Give the means of the weighted posterior of the unobserved nodes, [B, *event]; probabilities for categories.

    Dropped nodes are left out: nothing is generated from them.
    """
    outline, nodes = model.outline, model.inference(observed, samples, "posterior").checked().nodes
    steps = {n: v for name, posterior in nodes.items() for n, v in apart(outline, name, posterior.mean).items()}
    return {name: mean for name, mean in steps.items() if not outline.variables[name].dropped}


def infer_centers(model: Model, observed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add to observed values, [B, *event], the center of q of each other node, in the order of the recognition graph.

    Nothing is drawn: the same rows give the same values.
    """
    values = dict(observed)
    for name in model.outline.graphs.order("recognition"):
        if name in model.outline.recognition and name not in values:
            values[name] = center(model, name, "recognition", values)
    return values


def turn(model: Model, values: Mapping[str, Tensor], new: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """Give rows other values of some nodes and inputs; their followers change with them, and the others stay.

    values, new: [B, *event], by node. Returns all values; for what is shown, by its outer name, the mean of p.
    """
    turned = {**values, **new}
    for name, role in followers(model.outline.graphs, new, nodes_of(model.outline, shown)):
        turned[name] = center(model, name, role, turned)
    return with_generated(model, turned, shown)


def with_generated(model: Model, values: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """Replace what is shown by the mean of p given the other values."""
    steps = nodes_of(model.outline, shown)
    return {**{n: v for n, v in values.items() if n not in steps}, shown: generated_mean(model, values, shown)}


def generated_mean(model: Model, values: Mapping[str, Tensor], shown: str) -> Tensor:
    """Give the mean of p of a node, by its outer name with all steps, given the values of its parents: [B, *event]."""
    means: dict[str, Tensor] = {}
    for node in nodes_of(model.outline, shown):
        variable = model.outline.variables[node]
        mean = variable.family.mean(model.conditional(node, "generative", values))
        means[node] = mean.reshape(-1, *variable.event)
    return join(model.outline, means)[shown]
