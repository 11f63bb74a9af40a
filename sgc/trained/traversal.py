"""Turning a node of a row: what q says of the row, which nodes follow when one is turned, and what p then makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from sgc.derivation.graph import Graphs, Role
from sgc.runtime.model import Model
from sgc.runtime.steps import apart, join, nodes_of
from sgc.spec.outline import Variable


def followers(graphs: Graphs, turned: Collection[str], shown: str | Sequence[str]) -> list[tuple[str, Role]]:
    """Say which nodes do not stay as inferred when others are turned, in the order to compute them, and from what.

    The rule, features seen through, until nothing more changes:

    1. A node whose recognition reads nothing observed, and reads one that has changed, is proposed anew from q: all
       that was inferred of it came from such nodes. With q(s | i, l), turning l changes the shading s.
    2. Any other node on the way to what is shown that depends in p on one that has changed is generated anew from p:
       with p(z | y), turning y changes z.
    3. Everything else keeps what was inferred, as z of M2 does, whose q reads x and whose p reads nothing.

    turned: nodes and inputs. shown: the node, or the steps of one, that is made in the end, itself no follower.
    """
    nodes, changed = graphs.nodes, set(turned)
    made = [shown] if isinstance(shown, str) else shown
    observed = {*made, *(name for name, node in nodes.items() if node.supervision == "full" or node.dropped)}
    needed = graphs.ancestors(made, "generative")
    found: list[tuple[str, Role]] = []

    def follow(name: str, role: Role) -> None:
        changed.add(name)
        found.append((name, role))

    before = -1
    while before < len(found):
        before = len(found)
        for name in graphs.order("recognition"):
            if name in nodes and name not in changed and name not in observed:
                read = graphs.sources(graphs.parents(name, "recognition"))
                if read & changed and not read & observed:
                    follow(name, "recognition")
        for name in graphs.order("generative"):
            below = name in nodes and name in needed and name not in changed and name not in made
            if below and graphs.sources(graphs.parents(name, "generative")) & changed:
                follow(name, "generative")
    return found


def reaches(graphs: Graphs, turned: str, shown: str | Sequence[str]) -> bool:
    """Tell whether turning a node can change what is shown."""
    changed = {turned, *(name for name, _ in followers(graphs, [turned], shown))}
    made = [shown] if isinstance(shown, str) else shown
    return turned not in made and bool(changed & graphs.ancestors(made, "generative"))


def center(model: Model, name: str, role: Role, values: Mapping[str, Tensor]) -> Tensor:
    """Give the mean of a conditional at given parents, [B, *event]; the most probable category, the nearest integer."""
    variable = model.outline.variables[name]
    return settled(variable, variable.family.mean(model.conditional(name, role, values)))


def settled(variable: Variable, mean: Tensor) -> Tensor:
    """Make a mean a value that the node may have: [*leading, *event], categories as one-hot."""
    return variable.family.support.nearest(mean)


def weighed(model: Model, observed: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Give the means of the weighted posterior of what is not observed, by node, [B, *event]; of categories shares.

    Of a leaf that drops what is missing nothing is given: nothing is made of it.
    """
    outline, found = model.outline, model.inference(observed, samples, "posterior").checked().nodes
    steps = {n: v for name, each in found.items() for n, v in apart(outline, name, each.mean).items()}
    return {name: mean for name, mean in steps.items() if not outline.variables[name].dropped}


def inferred(model: Model, observed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add to what rows have observed, [B, *event], what q says of the rest: each node's center, from those before it.

    Nothing is drawn: the same rows give the same values.
    """
    values = dict(observed)
    for name in model.outline.graphs.order("recognition"):
        if name in model.outline.recognition and name not in values:
            values[name] = center(model, name, "recognition", values)
    return values


def turned(model: Model, values: Mapping[str, Tensor], new: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """Give rows other values of some nodes and inputs: those that follow change with them, the others stay as they are.

    values, new: [B, *event], by node. Returns the values of everything; of what is shown, by its outer name, the mean
    that p makes of them.
    """
    found = {**values, **new}
    for name, role in followers(model.outline.graphs, new, nodes_of(model.outline, shown)):
        found[name] = center(model, name, role, found)
    return with_made(model, found, shown)


def with_made(model: Model, values: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """Put what p makes of values in the place of what is shown."""
    steps = nodes_of(model.outline, shown)
    return {**{n: v for n, v in values.items() if n not in steps}, shown: made(model, values, shown)}


def made(model: Model, values: Mapping[str, Tensor], shown: str) -> Tensor:
    """Give the mean of what p makes of its parents' values: [B, *event], by an outer name all steps of it."""
    found: dict[str, Tensor] = {}
    for node in nodes_of(model.outline, shown):
        mean = model.outline.variables[node].family.mean(model.conditional(node, "generative", values))
        found[node] = mean.reshape(-1, *model.outline.variables[node].event)
    return join(model.outline, found)[shown]
