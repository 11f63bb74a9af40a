"""Rows of which one node is turned, through its categories, its labels' range or a latent's dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import UsageError, option, suggest
from sgc.runtime.counts import absent_rows
from sgc.runtime.generation import intervened_nodes
from sgc.runtime.model import Model
from sgc.runtime.steps import join, listed, nodes_of, owner_of, steps_of
from sgc.samples.overview import made_failures
from sgc.samples.panels import Panel, shades
from sgc.samples.shown_rows import WIDE, Chosen, HeldOut, category_word, share_word, spread
from sgc.samples.traversal import followers, infer_centers, reaches, turn, with_generated

STEPS = 9  # values that a node of numbers is turned through
TALL = 20  # dimensions of a latent node that are shown


@dataclass(frozen=True)
class Turned:
    """Rows of which one node was turned: everything's values [R, C, *event], and what each row was before."""

    title: str
    values: dict[str, Tensor]
    before: dict[str, Tensor]  # [R, *event], inferred, and of what is shown what the model makes of it
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    ids: tuple[int, ...]  # of each row
    own: Tensor | None = None  # the rows' own pictures, [R, *event]; None: they are not shown

    def panel(self, model: Model, node: str) -> Panel:
        """Show each row: its own picture where it has one, what the model makes of it, then what was turned."""
        first = [] if self.own is None else [self.own.unsqueeze(1), self.before[node].unsqueeze(1)]
        words = ("data", "from q")[: len(first)]
        grid = torch.cat([*first, self.values[node]], 1).cpu().numpy()
        pictures = shades(grid, model.outline.outer[node], len(grid), steps_of(model.outline, node))
        return Panel(self.title, pictures, self.rows, (*words, *self.columns), len(first))

    def failures(self, model: Model, node: str) -> list[str]:
        """Say of which rows what the model makes is not finite."""
        texts = [f"row {row}" for row in self.ids]
        whole = join(model.outline, self.values, axis=2)[node]
        return made_failures(model, node, whole, "pictures", texts)

    def arrays(self, model: Model, node: str) -> dict[str, Tensor]:
        """Give all values by outer name, categories as integers; NODE.row, NODE.data and NODE.model are what a row is.

        [R, C, *event], of a node of a repeat [R, C, *steps, *event].
        """
        found: dict[str, Tensor] = {}
        for name, value in join(model.outline, self.values, axis=2).items():
            found[name] = value if owner_of(model.outline, name).categories is None else value.argmax(-1)
        found[f"{node}.row"] = torch.tensor(self.ids)
        if self.own is not None:
            found[f"{node}.data"] = self.own
        return {**found, f"{node}.model": self.before[node]}


class Turner:
    """Turns nodes of one model's held-out rows; `held` are nodes and inputs that are given, in all of them."""

    def __init__(self, model: Model, node: str, held: Mapping[str, Any], opened: Callable[[], HeldOut]) -> None:
        # Any: values as a spec may hold them
        self.model, self.node, self.held, self._opened = model, node, held, opened

    @cached_property
    def held_out(self) -> HeldOut:
        """The rows, opened once it is known that they are wanted."""
        return self._opened()

    def analogies(self, name: str) -> Turned:
        """Turn one node through its categories in held-out rows, each row a picture's."""
        variables = self.model.outline.variables
        self._want_step(name, "analogies")
        turnable = [n for n, v in variables.items() if v.categories and len(v.event) == 1]
        if name in variables and variables[name].categories and name not in turnable:
            raise UsageError(
                f"{option('analogies')}: '{name}' has several categories in a row, and one alone can be turned"
            )
        if name not in turnable:
            raise UsageError(f"{option('analogies')}: '{name}' is no node with categories ({suggest(name, turnable)})")
        self._check(name, "analogies")
        count = variables[name].categories
        assert count is not None
        chosen = self._choose(name, WIDE, "analogies")
        places = torch.from_numpy(spread(WIDE, count))
        values = torch.eye(count, dtype=self.model.like.dtype, device=self.model.like.device)[places]
        words = tuple(f"{name} = {category_word(self.model, name, place)}" for place in places.tolist())
        title = f"{name} turned through its categories{share_word(len(places), count)}"
        return self._turn(name, values.expand(len(chosen), *values.shape), chosen, title, words)

    def traverse(self, name: str) -> Turned:
        """Turn one node of numbers through its range: what the data have, or for a latent each dimension by itself."""
        variables, shown = self.model.outline.variables, nodes_of(self.model.outline, self.node)
        self._want_step(name, "traverse")
        latent = [n for n, v in variables.items() if v.supervision == "none" and not v.family.support.bounded]
        labelled = [n for n, v in variables.items() if v.supervision != "none" and v.categories is None]
        movable = [n for n in [*latent, *labelled] if n not in shown and not variables[n].dropped]
        if name not in movable:
            hint = suggest(name, movable)
            if name in variables and variables[name].categories:
                hint = f"{option('analogies', name)} turns its categories"
            raise UsageError(f"{option('traverse')}: '{name}' is no node of numbers to be turned ({hint})")
        self._check(name, "traverse")
        if name in latent:
            return self._dimensions(name)
        span = self.held_out.range_of(name, STEPS)
        chosen = self._choose(name, WIDE, "traverse")
        values = span.values.expand(len(chosen), *span.values.shape)
        title = f"{name} turned through its values in the {span.origin}"
        return self._turn(name, values, chosen, title, span.words)

    def _dimensions(self, name: str) -> Turned:
        """Move each dimension of a latent node from -3 to 3, in one row."""
        size = prod(self.model.outline.variables[name].event)
        shown = min(size, TALL)
        chosen = self._choose(name, 1, "traverse")
        start = infer_centers(self.model, chosen.batch)[name]
        steps = torch.linspace(-3, 3, STEPS).to(start)
        moved = start.reshape(1, 1, size).repeat(shown, len(steps), 1)
        for i in range(shown):
            moved[i, :, i] = steps
        values = moved.reshape(shown, len(steps), *start.shape[1:])
        title = f"each dimension of {name} from -3 to 3{share_word(shown, size, 'the first ')}"
        rows = tuple(f"{name}[{i}]" for i in range(shown))
        return self._turn(name, values, chosen, title, tuple(f"{step:.3g}" for step in steps.tolist()), rows)

    def _choose(self, name: str, count: int, flag: str) -> Chosen:
        """Choose rows; where a step is turned, those that have it by what is inferred of them, and by what is held."""
        if not self.model.outline.graphs.nodes[name].exists:
            return self.held_out.choose(self.node, count)

        def fit(batch: dict[str, Tensor]) -> np.ndarray:
            rows = len(next(iter(batch.values())))
            gone = absent_rows(self.model.outline, name, {**infer_centers(self.model, batch), **self._hold(rows)})
            there = np.ones(rows, dtype=bool) if gone is None else ~gone.reshape(rows).cpu().numpy()
            if not there.any():
                raise UsageError(
                    f"{option(flag)}: none of {rows} held-out rows has '{name}' by what is inferred of them: "
                    f"hold its count with {option('given')}"
                )
            return there

        return self.held_out.choose(self.node, count, fit)

    def _want_step(self, name: str, flag: str) -> None:
        stepped = self.model.outline.stepped
        if name in stepped:
            steps = listed(stepped[name].nodes)
            raise UsageError(
                f"{option(flag)}: '{name}' is a node of a repeat, and one step alone can be turned: {steps}"
            )

    def _check(self, name: str, flag: str) -> None:
        outline = self.model.outline
        if name in self.held or outline.outer_name.get(name) in self.held:
            raise UsageError(f"{option('given')} {name} beside {option(flag)} {name}: a node is held or turned")
        if any(each in self.held for each in (self.node, *nodes_of(outline, self.node))):
            raise UsageError(
                f"{option('given')} {self.node}: it is what is shown, and cannot be held beside {option(flag)}"
            )
        if not reaches(outline.graphs, name, nodes_of(outline, self.node)):
            raise UsageError(
                f"{option(flag)}: '{self.node}' does not depend on '{name}': its pictures would all be the same"
            )

    def _turn(
        self,
        name: str,
        values: Tensor,
        chosen: Chosen,
        title: str,
        columns: tuple[str, ...],
        rows: tuple[str, ...] = (),
    ) -> Turned:
        """Give rows the values of a node, [R, C, *event], and what is held.

        rows: words for these, where one chosen row stands for all R; its own picture is then not shown.
        """
        model, (count, wide) = self.model, values.shape[:2]
        before = infer_centers(model, chosen.batch)
        before = {n: v.expand(count, *v.shape[1:]) for n, v in before.items()}
        new = {name: values.flatten(0, 1), **self._hold(count * wide)}
        spread_out = {n: v.repeat_interleave(wide, 0) for n, v in before.items()}
        found = turn(model, spread_out, new, self.node)
        ways = {"recognition": "proposed", "generative": "generated"}
        shown = nodes_of(model.outline, self.node)
        anew = [f"{n} {ways[role]} anew" for n, role in followers(model.outline.graphs, new, shown)]
        given = [f"{n} = {value}" for n, value in self.held.items()]
        return Turned(
            "; ".join([title, ", ".join([*given, *anew, "the rest as inferred"])]),
            {n: v.reshape(count, wide, *v.shape[1:]) for n, v in found.items()},
            with_generated(model, before, self.node),
            rows or chosen.words,
            columns,
            chosen.ids * (count // len(chosen)),
            None if rows else join(model.outline, chosen.batch).get(self.node),
        )

    def _hold(self, count: int) -> dict[str, Tensor]:
        try:
            return intervened_nodes(self.model.outline, self.held, count, self.model.like)
        except ValueError as problem:
            raise UsageError(f"{option('given')}: {problem.args[0]}") from None
