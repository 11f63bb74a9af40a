"""Where the values lie that parameters are taken from: proved of features and nodes, asked of inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from sgc.distributions.constraints import Constraint, Matrix
from sgc.distributions.supports import INTERVAL, ONE_HOT, REAL, UNIT_INTERVAL, Support
from sgc.errors import OutlineFault
from sgc.networks.repeat_entries import Exists, Zeros
from sgc.networks.stack import range_of
from sgc.spec.outline import FeatureOutline, InputOutline, Variable
from sgc.spec.spec import Spec

Place = tuple[str | int, ...]


@final
class ValueRanges:
    """Says where every number of a name's value lies, and holds parameters that are taken from it to that."""

    def __init__(
        self,
        spec: Spec,
        variable: Callable[[str], Variable],
        feature: Callable[[str], FeatureOutline],
        given: Callable[[str], InputOutline],
    ) -> None:
        self.spec, self.variable, self.feature, self.input = spec, variable, feature, given
        self._features: dict[str, Support] = {}
        self._asked: dict[str, Support] = {}

    def check(self, place: Place, takes: str, constraint: Constraint, name: str) -> None:
        """Hold what a parameter is taken from to the parameter's set, before any number is computed.

        takes: the beginning of the message. The numbers of an input are held to the set where they are read, see
        `of_input`.

        Raises: OutlineFault.
        """
        if isinstance(constraint, Matrix):
            kind = constraint.word.replace("_", " ")
            raise OutlineFault(place, f"{takes}, and a {kind} matrix cannot be taken from a name")
        wanted = constraint.elements
        if name in self.spec.inputs and self.input(name).categories is None:
            self._asked[name] = self.of_input(name).met(wanted)
            return
        made = self.of_value(name)
        if wanted.contains(made):
            return
        ends = " or ".join(f"{{layers: [{layer}]}}" for layer in constraint.layers)
        hint = f"end its network with {ends}" if ends else ""
        if wanted.total is not None:
            raise OutlineFault(place, f"{takes}, whose numbers may not sum to {wanted.total:g}", hint)
        hint = hint if name in self.spec.features else ""
        raise OutlineFault(place, f"{takes}, which may be {made.range}: wanted {wanted.range}", hint)

    def of_input(self, name: str) -> Support:
        """Say where the numbers of an input have to lie, for the parameters seen so far that are taken from it."""
        return self._asked.get(name, REAL)

    def of_value(self, name: str) -> Support:
        """Say where every number lies of a node's own value, of a feature, or of an input's category."""
        if name in self.spec.nodes:
            return self.variable(name).support
        if name in self.spec.inputs:
            return ONE_HOT if self.input(name).categories is not None else self.of_input(name)
        waiting = [] if name in self._features else [name]
        while waiting:  # a long chain must not become a deep recursion
            made = self.feature(waiting[-1])
            above = [each for each in made.parents if each in self.spec.features and each not in self._features]
            if above:
                waiting += above
            else:
                self._features[waiting.pop()] = self._of_feature(made)
        return self._features[name]

    def _of_feature(self, made: FeatureOutline) -> Support:
        match made.entries:
            case (Zeros(),):
                return INTERVAL.within(0.0, 0.0)
            case (Exists(),):
                return UNIT_INTERVAL
            case _:
                return range_of(made.stack, [self._read(parent) for parent in made.parents])

    def _read(self, name: str) -> Support:
        """Say where every number lies that a network reads of a name."""
        if name not in self.spec.nodes:
            return self.of_value(name)
        variable = self.variable(name)
        return variable.family.view_range(variable.support, flagged=variable.dropped)
