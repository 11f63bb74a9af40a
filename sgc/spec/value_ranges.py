"""The ranges of values that parameters are taken from: derived for features and nodes, required of inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from sgc.distributions.constraints import Constraint, Matrix
from sgc.distributions.supports import INTERVAL, ONE_HOT, UNIT_INTERVAL, Support
from sgc.errors import OutlineFault
from sgc.networks.repeat_entries import Exists, Zeros
from sgc.networks.stack import range_of
from sgc.spec.outline import FeatureOutline, InputOutline, Variable
from sgc.spec.spec import Spec

Place = tuple[str | int, ...]


@final
class ValueRanges:
    """Derives the range of every name's value, and checks it against the parameters that are taken from it."""

    def __init__(
        self,
        spec: Spec,
        variable: Callable[[str], Variable],
        feature: Callable[[str], FeatureOutline],
        input_outline: Callable[[str], InputOutline],
    ) -> None:
        self.spec, self.variable, self.feature, self.input = spec, variable, feature, input_outline
        self._features: dict[str, Support] = {}
        self._required: dict[str, Support] = {}

    def check(self, place: Place, takes: str, constraint: Constraint, name: str) -> None:
        """Check that the value a parameter is taken from lies in the parameter's set, before any is computed.

        takes: the beginning of the message. The numbers of an input are checked when they are read, see `of_input`.

        Raises: OutlineFault.
        """
        if isinstance(constraint, Matrix):
            kind = constraint.word.replace("_", " ")
            raise OutlineFault(place, f"{takes}, and a {kind} matrix cannot be taken from a name")
        wanted = constraint.elements
        if name in self.spec.inputs and self.input(name).categories is None:
            self._required[name] = self.of_input(name).met(wanted)
            return
        support = self.of_value(name)
        if wanted.contains(support):
            return
        ends = " or ".join(f"{{layers: [{layer}]}}" for layer in constraint.layers)
        hint = f"end its network with {ends}" if ends else ""
        if wanted.total is not None:
            raise OutlineFault(place, f"{takes}, whose numbers may not sum to {wanted.total:g}", hint)
        hint = hint if name in self.spec.features else ""
        raise OutlineFault(place, f"{takes}, which may be {support.range}: wanted {wanted.range}", hint)

    def of_input(self, name: str) -> Support:
        """Return an input's range: its own, within those of the parameters checked so far that are taken from it."""
        return self._required.get(name, self.input(name).support)

    def of_value(self, name: str) -> Support:
        """Return the range of a node's own value, of a feature, or of an input."""
        if name in self.spec.nodes:
            return self.variable(name).support
        if name in self.spec.inputs:
            return ONE_HOT if self.input(name).categories is not None else self.of_input(name)
        waiting = [] if name in self._features else [name]
        while waiting:  # a long chain must not become a deep recursion
            feature = self.feature(waiting[-1])
            above = [name for name in feature.parents if name in self.spec.features and name not in self._features]
            if above:
                waiting += above
            else:
                self._features[waiting.pop()] = self._of_feature(feature)
        return self._features[name]

    def _of_feature(self, feature: FeatureOutline) -> Support:
        match feature.entries:
            case (Zeros(),):
                return INTERVAL.within(0.0, 0.0)
            case (Exists(),):
                return UNIT_INTERVAL
            case _:
                return range_of(feature.stack, [self._read(parent) for parent in feature.parents])

    def _read(self, name: str) -> Support:
        """Return the range of what a network reads of a name."""
        if name not in self.spec.nodes:
            return self.of_value(name)
        variable = self.variable(name)
        return variable.family.view_range(variable.support, flagged=variable.dropped)
