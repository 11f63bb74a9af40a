"""Notes on q: each independence that it claims and the posterior lacks, in words, and the edges that would mend it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sgc.derivation.dependence import Dependence
from sgc.derivation.inversion import LeftOut, left_out
from sgc.errors import LISTED
from sgc.report.plates import Plated, Relative, StepSets, plated
from sgc.report.step_ranges import where
from sgc.spec.outline import Outline

Words = Callable[[str], Relative]  # what a node is called
EXPLAINED = 3  # of so many missing parents each is explained, of more the first


def notes(outline: Outline) -> list[str]:
    """Write a line for each node whose recognition parents leave out what its posterior depends on.

    None where q alone is trained (`bound: supervised`): it is then no approximation of p's posterior. Of a node of a
    repeat, what holds at several of its steps is said once; other steps are called earlier or later.
    """
    if not outline.spec.maximised.generative:
        return []
    graph, view = Dependence(outline.graphs), plated(outline)
    steps = StepSets(view.names, graph.names)
    by_name: dict[str, dict[tuple[Relative, ...], list[LeftOut]]] = {}  # by name in the file and what it lacks there
    for missing in left_out(outline.graphs):
        name = view.names.of(missing.node)
        lacking = tuple(steps.placed(missing.node, missing.lacks)) if view.names.plates(name) else ()
        by_name.setdefault(name, {}).setdefault(lacking, []).append(missing)
    writing = _Notes(view, graph, steps)
    return [line for name, kinds in by_name.items() for line in writing.at_steps(name, list(kinds.values()))]


@dataclass(frozen=True)
class _Notes:
    """Writes what q leaves out: in a model with each repeat once, by the dependences of p."""

    view: Plated
    graph: Dependence
    steps: StepSets

    def at_steps(self, name: str, kinds: Sequence[Sequence[LeftOut]]) -> Iterator[str]:
        """Write the notes on a node, with their steps where different ones lack different things."""
        plates, index = self.view.names.plates(name), self.view.names.index
        common = sorted(kinds, key=len, reverse=True)
        for alike in common[:EXPLAINED]:
            reads: dict[Relative, int] = {}
            for missing in alike:
                reads |= self.steps.placed(missing.node, missing.reads)
            condition = f"given {_and(reads)}, " if reads else ""
            at = f"at {where(plates, (index(missing.node) for missing in alike))}: " if len(kinds) > 1 else ""
            yield f"{at}{condition}{self.note(alike[0])}"
        more = [index(missing.node) for alike in common[EXPLAINED:] for missing in alike]
        if more:
            yield f"at {where(plates, more)}: q({name}) leaves out still others"

    def note(self, missing: LeftOut) -> str:
        """Say what q makes independent, why p does not, and what would mend it."""
        placed = self.steps.placed(missing.node, missing.lacks)
        words = {next(iter(self.graph.named(steps & -steps))): word for word, steps in placed.items()}  # of the first
        node, lacking, parents = self.view.names.of(missing.node), list(words.values()), list(words)
        counts = self.view.names.unrolled.exists
        counted = [p for p in parents if any(missing.node == count for count, _ in counts.get(p, ()))]
        others = [words[parent] for parent in parents if parent not in counted]
        mends = [self.read_count(missing, counted)] if counted else []
        mends += [_mend(node, others)] if others else []
        mend = ", and ".join(mends)
        if len(parents) == 1:
            return f"q makes {lacking[0]} and {node} independent, but {self.why(missing, parents, alone=True)}: {mend}"
        few = len(parents) <= EXPLAINED
        why = ("" if few else "for one, ") + self.why(missing, parents if few else parents[:1], alone=False)
        return f"q makes {node} independent of {_and(lacking)}, but {why}: {mend}"

    def read_count(self, missing: LeftOut, counted: Sequence[str]) -> str:
        """Say what mends a count that lacks what it counts: that is there by the count and has to be read after it."""
        words = self.words(missing)
        able = [f"q({words(parent)})" for parent in counted if parent in self.view.flat.recognition]
        if able:
            return f"let {_and(able)} read {words(missing.node)}"
        return f"q({words(missing.node)}) cannot read what is there by its count"

    def words(self, missing: LeftOut) -> Words:
        """Give the words for the nodes around the one that lacks something."""
        return lambda flat: self.view.names.placed(missing.node, flat)

    def why(self, missing: LeftOut, parents: Sequence[str], *, alone: bool) -> str:
        """Say what joins a node and parents that it lacks, by the shortest trail to each through p.

        alone: it lacks nothing else.
        """
        words, graph = self.words(missing), self.graph
        both = {missing.node, *parents} if alone else None
        facts: dict[tuple[str, str], list[str]] = {}  # what depends, and through what, on which
        others: list[str] = []
        for parent in parents:
            trail = graph.active_trail(missing.node, parent, missing.conditioned_on(parent))
            down = [graph.reads(b, a) for a, b in itertools.pairwise(trail)]
            inner = trail[1:-1]
            if all(down) or not any(down):
                first, last = (missing.node, parent) if all(down) else (parent, missing.node)
                through = f" through {_and(map(words, inner if all(down) else inner[::-1]))}" if inner else ""
                facts.setdefault((last, through), []).append(first)
            elif len(inner) == 1 and down[0]:
                conditioned = graph.nearest_below(inner[0], missing.conditioned_on(parent))
                facts.setdefault((conditioned, ""), []).extend((missing.node, parent))
            elif len(inner) == 1:
                pair = "both" if both else f"{words(missing.node)} and {words(parent)}"
                others.append(f"{pair} depend on {words(inner[0])}")
            else:
                steps = [
                    f"{'->' if along else '<-'} {words(name)}" for along, name in zip(down, trail[1:], strict=True)
                ]
                if len(steps) > LISTED:
                    steps[LISTED // 2 : -LISTED // 2] = ["..."]
                others.append(f"p joins them: {words(missing.node)} {' '.join(steps)}")
        sentences = [
            f"{words(name)} depends on {'both' if set(on) == both else _and(dict.fromkeys(map(words, on)))}{through}"
            for (name, through), on in facts.items()
        ]
        return ", and ".join([*sentences, *others])


def _mend(node: str, lacking: Sequence[Relative]) -> str:
    """Say how q could read what it lacks: another step's value comes by `prev` or by a carry."""
    own, steps = (
        [relative for relative in lacking if not relative.shift],
        [relative for relative in lacking if relative.shift],
    )
    mends = [f"add {_and(own)} to the recognition parents of {node}"] if own else []
    if steps:
        ways = ["prev or a carry"] if any(relative.shift < 0 for relative in steps) else []
        ways += ["a backward carry"] if any(relative.shift > 0 for relative in steps) else []
        mends.append(f"let q({node}) read {_and(steps)}, by {' and '.join(ways)}")
    return ", and ".join(mends)


def _and(names: Iterable[str | Relative]) -> str:
    """List names, of very many the first and how many more there are."""
    listed = list(map(str, names))
    if len(listed) > LISTED + 1:
        listed[LISTED:] = [f"{len(listed) - LISTED} others"]
    *first, last = listed
    return f"{', '.join(first)} and {last}" if first else last
