"""Families, shapes, parameters and estimators of a spec, and the networks between them.

A piece is resolved once everything that it reads has been; what reads a wrong piece is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sgc.derivation.graph import Role
from sgc.errors import OutlineFault, Path
from sgc.networks.layer import Shape, shape_text
from sgc.networks.stack import Stack
from sgc.spec.check_graphs import ROLES
from sgc.spec.check_names import Names
from sgc.spec.conditionals import Conditional, Recognition
from sgc.spec.findings import Findings
from sgc.spec.pieces import Feature
from sgc.spec.resolver import Resolver, needs
from sgc.spec.spec import Spec

EVENT_KEYS = ("distribution", "shape", "categories", "values")
CONDITIONAL_KEYS = ("parents", "network", "parameters", "learn")
EXPERT_KEYS = ("experts", "combine", "prior")
T = TypeVar("T")
Use = tuple[str, Path, str, Stack]  # of a shared network: its user, the place, its name, its layers


def check_shapes(spec: Spec, findings: Findings, names: Names) -> None:
    """Find what cannot be resolved, piece by piece."""
    _Shapes(spec, findings, names).check()


class _Shapes:
    def __init__(self, spec: Spec, findings: Findings, names: Names) -> None:
        self.spec, self.findings, self.names = spec, findings, names
        self.resolver = Resolver(spec)
        self.known: set[str] = set()  # names whose shapes are known

    def check(self) -> None:
        for name in self.spec.inputs:
            if (
                self.names.section.get(name)
                and not self.findings.hurt("inputs", name)
                and self.attempt(("inputs", name), self.resolver.input, name)
            ):
                self.known.add(name)
        for name in self.spec.nodes:
            self.event(name)
        uses = [*self.features(), *self.densities()]
        self.shared(sorted(uses, key=lambda use: self.findings.document.order(use[1])))

    def attempt(self, path: Path, resolve: Callable[..., T], *arguments: object) -> list[T]:
        """Resolve one piece: return it in a list, or add its fault and return an empty list."""
        try:
            return [resolve(*arguments)]
        except OutlineFault as problem:
            place, at = (*path, *problem.below), problem.at
            if at == "later":
                written = self.findings.keys(*path)
                place, at = (*path, max(problem.below, key=lambda key: written.index(str(key)))), "key"
            while not self.findings.document.has(place):  # a family may be written as a bare name
                place, at = place[:-1], "key" if place[:-1] == path else "value"
            about = (*place, problem.missing) if problem.missing else place
            self.findings.add(place, problem.message, problem.hint, at=at, about=about)
            return []

    def event(self, name: str) -> None:
        path, node = ("nodes", name), self.spec.nodes[name]
        if not self.names.section.get(name) or self.findings.hurt(*path, "distribution"):
            return
        if not self.attempt(path, self.resolver.family, name):
            return
        wrong = [key for key in EVENT_KEYS if self.findings.hurt(*path, key)]
        unknown = self.findings.hurt(*path, "recognition", "estimator")
        chosen = None if node.recognition is None or unknown else node.recognition
        if not {"categories", "values"} & set(wrong) and self.attempt(path, self.resolver.event, name) and not wrong:
            if self.attempt(path, self.resolver.total, name):
                self.known.add(name)
            if chosen is not None:
                self.attempt(path, self.resolver.estimator, name, node)
        elif chosen is not None and chosen.estimator is not None:  # it may be wrong for any event
            self.attempt(path, self.resolver.estimator, name, node, self.smallest(name))

    def features(self) -> Iterable[Use]:
        """Resolve features after their parents; those on a cycle are left out."""
        waiting = {name: set(needs(feature)) - self.known for name, feature in self.spec.features.items()}
        readers: dict[str, list[str]] = {}
        for name, parents in waiting.items():
            for parent in parents:
                readers.setdefault(parent, []).append(name)
        ready = [name for name, parents in waiting.items() if not parents]
        while ready:
            name = ready.pop()
            path = ("features", name)
            if not self.names.section.get(name) or not self.sound(path, self.spec.features[name]):
                continue
            for feature in self.attempt(path, self.resolver.feature, name):
                self.known.add(name)
                if feature.trunk:
                    yield name, (*path, "network"), feature.trunk, feature.stack
                for reader in readers.get(name, ()):
                    waiting[reader].discard(name)
                    if not waiting[reader]:
                        ready.append(reader)

    def densities(self) -> Iterable[Use]:
        for name, node in self.spec.nodes.items():
            for role in ROLES:
                cond = node.generative if role == "generative" else node.recognition
                if (cond is None and role == "recognition") or self.findings.hurt("nodes", name, "distribution"):
                    continue
                if isinstance(cond, Recognition) and any(
                    key in EXPERT_KEYS for key in self.findings.keys("nodes", name, role)
                ):
                    yield from self.experts(name, cond)
                    continue
                complete = self.fully_read(("nodes", name, role), cond)
                if complete and not self.attempt(("nodes", name), self.resolver.free_parameters, name, role):
                    continue
                right = self.constants(name, role, cond.parameters if cond is not None else {}) and complete
                if right and name in self.known and self.sound(("nodes", name, role), cond):
                    for density in self.attempt(("nodes", name), self.resolver.density, name, role):
                        if density.trunk and density.stack is not None:
                            place: Path = ("nodes", name, role, "network")
                            default = not self.findings.document.has(place)  # the top-level one, of derived parents
                            yield name, (role, "network") if default else place, density.trunk, density.stack

    def experts(self, name: str, written: Recognition) -> Iterable[Use]:
        """Resolve the experts of a q, each by itself, once what they have to do with each other is right."""
        path: Path = ("nodes", name, "recognition")
        if any(self.findings.hurt(*path, key) for key in ("combine", "prior")) or self.findings.lost(*path, "experts"):
            return
        if not self.findings.hurt(*path, "experts") and not self.attempt(
            ("nodes", name), self.resolver.check_experts, name
        ):
            return
        for expert in written.experts or ():
            place = (*path, "experts", expert)
            cond = self.resolver.conditional(name, "recognition", expert)
            if self.findings.hurt(*place):
                continue
            if not self.attempt(("nodes", name), self.resolver.free_parameters, name, "recognition", expert):
                continue
            parameters = cond.parameters if cond is not None else {}
            right = self.constants(name, "recognition", parameters, expert)
            if right and name in self.known and self.sound(place, cond):
                for density in self.attempt(("nodes", name), self.resolver.density, name, "recognition", expert):
                    if density.trunk and density.stack is not None:
                        yield name, (*place, "network"), density.trunk, density.stack

    def constants(self, name: str, role: Role, parameters: Mapping[str, object], expert: str = "") -> bool:
        """Resolve the parameters that the spec fixes, one by one; return whether all are right.

        If the event of the node is wrong, only what is wrong for any event is reported.
        """
        path, right = ("nodes", name), True
        for key, value in parameters.items():
            is_known = name in self.known and (not isinstance(value, str) or value in self.known)
            event = self.resolver.event(name) if is_known else None
            right &= bool(self.attempt(path, self.resolver.constant, name, role, key, event, expert)) and is_known
        return right

    def smallest(self, name: str) -> Shape:
        """Return the smallest event that the family of a node may have."""
        return (2,) * self.resolver.family(name).event_dim

    def fully_read(self, path: Path, cond: Conditional | None) -> bool:
        """Say whether every key that is written of a conditional has been read."""
        read = cond.model_fields_set if cond is not None else set()
        written = {key for key in CONDITIONAL_KEYS if self.findings.document.has((*path, key))}
        lost = any(self.findings.hurt(*path, key) for key in CONDITIONAL_KEYS)
        return not lost and written <= read  # `recognition: auto` gives more than is written

    def sound(self, path: Path, piece: Feature | Conditional | None) -> bool:
        """Say whether everything that a feature or a conditional reads is known, and nothing in it is wrong."""
        if piece is None:
            return not self.findings.hurt(*path)
        fixed = [] if isinstance(piece, Feature) else [v for v in piece.parameters.values() if isinstance(v, str)]
        wrong = any(self.findings.hurt(*path, key) for key in CONDITIONAL_KEYS)
        if isinstance(piece.network, str) and self.findings.hurt("networks", piece.network):
            return False
        return not wrong and all(name in self.known for name in (*piece.parents, *fixed))

    def shared(self, uses: Iterable[Use]) -> None:
        """Find users of a shared network whose shapes differ from those of its first user in the file."""
        first: dict[str, tuple[str, Stack]] = {}
        for owner, path, trunk, stack in uses:
            model, wanted = first.setdefault(trunk, (owner, stack))
            shared = f"{self.names.word(owner)}: the shared network '{trunk}'"
            if stack.parents != wanted.parents:
                shapes, wanted_shapes = (", ".join(map(shape_text, user.parents)) for user in (stack, wanted))
                self.findings.add(
                    path, f"{shared} got inputs {shapes}, wanted {wanted_shapes} as for {self.names.word(model)}"
                )
            elif (stack.first, stack.rest) != (wanted.first, wanted.rest):  # a deconv of another event
                shapes, wanted_shapes = shape_text(stack.output), shape_text(wanted.output)
                message = f"{shared} has other layers than for {self.names.word(model)}: {shapes} before the heads"
                self.findings.add(path, f"{message}, wanted {wanted_shapes}")
