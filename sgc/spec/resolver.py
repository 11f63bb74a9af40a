"""Resolving a spec into its outline, piece by piece: families, events, estimators, networks and their shapes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sgc.derivation.graph import GraphNode, Graphs, Role
from sgc.distributions.families import FAMILIES
from sgc.distributions.family import Family
from sgc.distributions.own_family import OwnFamily
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.distributions.supports import REAL, SUPPORTS, Bound
from sgc.errors import OutlineFault, UsageError, suggest
from sgc.networks.entry import Entry, Wanted
from sgc.networks.layer import Shape, ShapeFault, shape_text
from sgc.networks.repeat_entries import Exists, Zeros
from sgc.networks.stack import Stack, stack
from sgc.objectives import estimators
from sgc.objectives.estimator import Estimator
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.own_objectives import OwnEstimator
from sgc.objectives.pathwise import PATHWISE
from sgc.objectives.plain_draw import PlainDraw
from sgc.own_code import OwnCode
from sgc.schedules import Schedule
from sgc.spec.conditionals import Conditional, Generative, Recognition
from sgc.spec.expert_rules import check_experts, experts_of
from sgc.spec.fixed_parameters import Constant as Constant
from sgc.spec.fixed_parameters import check_name, check_order, check_precision, fix, fix_without_event, with_options
from sgc.spec.outline import Density, FeatureOutline, InputOutline, Outline, Stepped, Variable
from sgc.spec.pieces import Feature, Node
from sgc.spec.spec import Spec
from sgc.spec.value_ranges import ValueRanges
from sgc.spec.written_nodes import innermost, total_of


class Resolver:
    """Resolves a spec piece by piece; each method raises OutlineFault where its piece cannot be resolved."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._families: dict[str, Family] = {}
        self._features: dict[str, FeatureOutline] = {}
        self._ranges = ValueRanges(spec, self.variable, self.feature, self.input)

    def family(self, name: str) -> Family:
        """Resolve a node's family with its options."""
        if name not in self._families:
            choice = self.spec.nodes[name].distribution
            if isinstance(choice, OwnFamily):
                if SUPPORTS[choice.support].wants_upper and choice.upper is None:
                    message = f"missing key 'upper': the largest value of the support '{choice.support}'"
                    raise OutlineFault(("distribution",), message, at="key", missing="upper")
                self._families[name] = choice.family(self.own_code(choice.python))
                return self._families[name]
            place = ("distribution", choice.name)
            if choice.name not in FAMILIES:
                raise OutlineFault(place, f"unknown family '{choice.name}'", suggest(choice.name, FAMILIES), at="key")
            self._families[name] = with_options(place, FAMILIES[choice.name], choice.options)
        return self._families[name]

    def event(self, name: str) -> Shape:
        """Infer the event of a node."""
        node = self.spec.nodes[name]
        family = self.family(name)
        if family.support.categorical:
            if node.categories is not None and node.values is not None:
                raise OutlineFault(
                    ("categories", "values"), "'categories' beside 'values': give one of them", at="later"
                )
            if node.category_count is None:
                message = f"missing key 'categories' (or 'values'): {family.name} needs it"
                raise OutlineFault((), message, at="key", missing="categories")
        else:
            for key in ("categories", "values"):
                if getattr(node, key) is not None:
                    raise OutlineFault((key,), f"forbidden: only Categorical has '{key}'", at="key")
            if len(node.shape) < family.event_dim:
                message = f"missing key 'shape': a value of {family.name} is a vector"
                raise OutlineFault((), message, at="key", missing="shape")
        return family.event_shape(node.shape, node.category_count)

    def variable(self, name: str) -> Variable:
        """Resolve a node without its conditionals."""
        node = self.spec.nodes[name]
        family, event = self.family(name), self.event(name)
        return Variable(
            name=name,
            family=family,
            support=family.support.moved(self._fixed(name)),
            shape=node.shape,
            event=event,
            view=family.view_shape(event, flagged=self.dropped(name)),
            categories=node.category_count,
            values=node.values,
            supervision=node.supervision,
            estimator=self.estimator(name, node),
            dropped=self.dropped(name),
            total=self.total(name),
        )

    def total(self, name: str) -> str:
        """Return what gives the rows of a node their total_count, see `Variable`, and check an input's shape and range.

        Raises: OutlineFault.
        """
        family, choice = self.family(name), self.spec.nodes[name].distribution
        if TOTAL not in family.taken or isinstance(choice, OwnFamily):
            return ""
        total: str = total_of(choice.as_written)
        _, place = innermost(choice.as_written)
        if total != OWN_SUM and place is not None:
            self._check_taken((*place, TOTAL), name, TOTAL, family, self.event(name), total)
        return total

    def _fixed(self, name: str) -> dict[str, Bound]:
        """Return the parameters of p that are numbers; for one with a schedule, the end that gives the wider range."""
        conditional = self.spec.nodes[name].generative
        standard = self.family(name).standard if not self.family(name).heads else None
        fixed: dict[str, Bound] = {}
        for key, value in {**(standard or {}), **(conditional.parameters if conditional is not None else {})}.items():
            if isinstance(value, Schedule):
                fixed[key] = (min if key == "low" else max)(float(value.start), float(value.to))
            elif isinstance(value, int | float | tuple):
                fixed[key] = value
        return fixed

    def dropped(self, name: str) -> bool:
        """Say whether a name is that of a node with `missing: drop`, whose networks also read a flag."""
        return name in self.spec.nodes and self.spec.nodes[name].missing is not None

    def estimator(self, name: str, node: Node, event: Shape | None = None) -> Estimator | None:
        """Choose the estimator of a proposed node: as written, or the family's default; for its own event if None."""
        if node.supervision == "full" or node.recognition is None:
            return None
        family = self.family(name)
        if family.multiplies and node.recognition.mixes:
            from sgc.distributions.normal_mixture import normal_mixture

            family = normal_mixture(family)
        event = self.event(name) if event is None else event
        written: Estimator | OwnEstimator | None = node.recognition.estimator
        chosen = self.own_estimator(written) if isinstance(written, OwnEstimator) else written
        if chosen is not None:
            refusal = chosen.refuse(family, event)
            if refusal:
                allowed = estimators.possible(family, event)
                hint = "allowed: " + ", ".join(allowed) if allowed else ""
                message = f"'{family.name}' cannot have the estimator '{chosen.name}': {refusal}"
                raise OutlineFault(("recognition", "estimator"), message, hint)
        else:
            chosen = estimators.default(family, event)
        option, message, hint = chosen.refuse_samples(self.spec.objective.samples)
        if message:
            place = ("recognition", "estimator", *((chosen.name, option) if option else ()))
            raise OutlineFault(place, message, hint)
        chosen = chosen.at_samples(self.spec.objective.samples)
        return GRADIENTS[self.spec.objective.gradient].estimator(chosen)

    def own_estimator(self, written: OwnEstimator) -> Estimator:
        """Import an estimator of the user's own; without trust, which is reported elsewhere, return a plain draw."""
        if not self.spec.trusted:
            return PlainDraw()
        try:
            return written.load(self.own_code(written.python), estimators.ESTIMATORS)
        except UsageError as problem:
            raise OutlineFault(("recognition", "estimator", "python"), str(problem)) from None

    def input(self, name: str) -> InputOutline:
        """Resolve an input."""
        entry = self.spec.inputs[name]
        kinds = [key for key in ("values", "categories", "shape") if getattr(entry, key) is not None]
        if len(kinds) > 1:
            raise OutlineFault(tuple(kinds), f"'{kinds[0]}' beside '{kinds[1]}': give one of them", at="later")
        count = len(entry.values) if entry.values is not None else entry.categories
        if count and entry.support is not None:
            raise OutlineFault(("support",), "forbidden: a category is no number", at="key")
        support = SUPPORTS[entry.support] if entry.support is not None else REAL
        return InputOutline(name, (count,) if count else (entry.shape or ()), count, entry.values, support)

    def look(self, name: str) -> Shape:
        """Infer the shape of what a network reads of a name."""
        if name in self.spec.features:
            return self.feature(name).stack.output
        if name in self.spec.inputs:
            return self.input(name).shape
        return self.family(name).view_shape(self.event(name), flagged=self.dropped(name))

    def entries(self, network: Any) -> tuple[tuple[Entry, ...], str]:  # Any: a union made at run time
        """Resolve a network: its entries, and its name where it is shared."""
        if network is None:
            return (), ""
        if isinstance(network, str):
            shared = self.spec.networks[network]
            return self.entries(shared)[0], network
        return (network if isinstance(network, tuple) else (network,)), ""

    def own_code(self, path: str) -> OwnCode:
        """Return own code by its import path, with the spec's folder and trust."""
        return OwnCode(path, self.spec.folder, self.spec.trusted)

    def stack(
        self,
        owner: str,
        place: tuple[str, ...],
        parents: tuple[str, ...],
        entries: tuple[Entry, ...],
        wanted: Wanted | None = None,
    ) -> Stack:
        """Lay a network on its parents. wanted: what it has to give, None for a feature."""
        try:
            incoming = [(self.spec.unrolled.word(parent), self.look(parent)) for parent in parents]
            return stack(entries, incoming, wanted, self.own_code)
        except ShapeFault as problem:
            raise OutlineFault((*place, "network"), f"{self.spec.unrolled.word(owner)}: {problem}") from None

    def feature(self, name: str) -> FeatureOutline:
        """Resolve a feature after what it reads: a long chain must not become a deep recursion."""
        waiting = [name]
        while waiting:
            needed = needs(self.spec.features[waiting[-1]])
            above = [name for name in needed if name in self.spec.features and name not in self._features]
            if above:
                waiting += above
            else:
                self._feature(waiting.pop())
        return self._features[name]

    def _feature(self, name: str) -> FeatureOutline:
        if name not in self._features:
            feature = self.spec.features[name]
            entries, trunk = self.entries(feature.network)
            if feature.weight_decay is not None and trunk:
                raise OutlineFault(("weight_decay",), f"forbidden: the weights of '{trunk}' are shared", at="key")
            match entries:
                case (Zeros() as zeros,):
                    shape = (zeros.width,) if zeros.width is not None else self.look(zeros.of)
                    laid = Stack((), None, (), shape, 0)
                case (Exists(),):
                    laid = Stack((), None, (), (1,), 0)
                case _:
                    laid = self.stack(name, (), feature.parents, entries)
            self._features[name] = FeatureOutline(name, feature.parents, entries, trunk, laid, feature.weight_decay)
        return self._features[name]

    def conditional(self, name: str, role: Role, expert: str = "") -> Conditional | None:
        """Return one conditional of a node as written, or that of an expert of its q."""
        node = self.spec.nodes[name]
        if not expert:
            return node.generative if role == "generative" else node.recognition
        assert node.recognition is not None
        assert node.recognition.experts is not None
        written = node.recognition.experts[expert]
        return Recognition.model_construct(
            parents=written.reads(expert),
            network=written.network,
            parameters=written.parameters,
            weight_decay=written.weight_decay,
        )

    @staticmethod
    def place(role: Role, conditional: Conditional | None, expert: str = "") -> tuple[str, ...]:
        """Return the keys of a conditional below its node."""
        return () if conditional is None else (role, "experts", expert) if expert else (role,)

    def free_parameters(self, name: str, role: Role, expert: str = "") -> list[str]:
        """Name the parameters that no constant fixes, by the keys that are written, whatever they hold."""
        family, conditional = self.family(name), self.conditional(name, role, expert)
        place = self.place(role, conditional, expert)
        cond = conditional if conditional is not None else Generative.model_construct()
        fixed = {family.alternatives.get(key, key) for key in cond.parameters}
        fixed |= {*family.heads[-1:]} if fixed - {*family.constraints} else set()  # an unknown one is its own fault
        free = [head for head in family.heads if head not in fixed]
        learn = isinstance(cond, Generative) and cond.learn
        if role == "recognition" and name in self.spec.derived:
            self._check_derived(name, cond, free)
        if free and cond.parents and cond.network is None:
            message = f"missing key 'network': it gives {', '.join(free)} from the parents"
            raise OutlineFault(place, message, at="key", missing="network")
        if cond.network is not None and not cond.parents:
            hint = "give parents, or 'recognition: auto' at the top level" if role == "recognition" else "give parents"
            raise OutlineFault((*place, "network"), "a network needs parents, and there are none", hint, at="key")
        if cond.weight_decay is not None and cond.network is None:
            raise OutlineFault((*place, "weight_decay"), "forbidden: no network whose weights it draws to 0", at="key")
        if not free and (cond.parents or cond.network is not None):
            key = "network" if cond.network is not None else "parents"
            raise OutlineFault(
                (*place, key), f"forbidden: every parameter of {self.spec.unrolled.word(name)} is fixed", at="key"
            )
        if learn and not family.heads:
            raise OutlineFault((*place, "learn"), f"forbidden: {family.name} has nothing to learn", at="key")
        if learn and not free:
            raise OutlineFault(
                (*place, "learn"), f"forbidden: every parameter of {self.spec.unrolled.word(name)} is fixed", at="key"
            )
        if learn and cond.parents:
            raise OutlineFault((*place, "learn"), "forbidden beside parents: it frees a standard prior", at="key")
        if free and not cond.parents and family.standard is None and not learn and role == "generative":
            message = f"{family.name} has no standard prior: give parents and a network, parameters, or learn: true"
            raise OutlineFault(place, message, at="key", missing="parents" if place else role)
        return free

    def _check_derived(self, name: str, cond: Conditional, free: list[str]) -> None:
        """Check a recognition as written against the parents that were derived for it. Raises: OutlineFault."""
        place, parents = ("recognition",), " and ".join(f"'{parent}'" for parent in cond.parents)
        if cond.parents and not free:
            message = f"every parameter of '{name}' is fixed, and 'recognition: auto' lets it read {parents}"
            raise OutlineFault(place, message)
        if cond.parents and cond.network is None:
            message = (
                f"missing key 'network': it gives {', '.join(free)} from {parents}, as 'recognition: auto' derives"
            )
            hint = "or give one for all: recognition: {parents: auto, network: …}"
            raise OutlineFault(place, message, hint, at="key", missing="network")
        if cond.network is not None and not cond.parents:
            why = f"'recognition: auto' derives none: nothing that is observed depends on '{name}'"
            message = f"a network needs parents, and {why}"
            raise OutlineFault((*place, "network"), message, at="key")

    def experts(self, name: str) -> Density:
        """Resolve the q of a node that experts make up together."""
        written = self.spec.nodes[name].recognition
        assert written is not None
        assert written.experts is not None
        self.check_experts(name)
        densities = tuple(self.density(name, "recognition", expert) for expert in written.experts)
        experts = experts_of(self.spec, written, densities)
        behind = [source for member in experts.members for sources in member.needs for source in sources]
        parents = tuple(dict.fromkeys([*(p for member in experts.members for p in member.parents), *behind]))
        count = sum(density.parameters for density in densities)
        return Density(
            name, "recognition", parents, parents, (), "", None, {}, {}, count, experts=experts, of_experts=densities
        )

    def check_experts(self, name: str) -> None:
        """Check what experts need of their node and of its p. Raises: OutlineFault."""
        check_experts(self.spec, name, self.family(name))

    def density(self, name: str, role: Role, expert: str = "") -> Density:
        """Resolve one conditional of a node, or that of an expert of its q."""
        node, family, event = self.spec.nodes[name], self.family(name), self.event(name)
        if role == "recognition" and not expert and node.recognition is not None and node.recognition.experts:
            return self.experts(name)
        conditional = self.conditional(name, role, expert)
        cond = conditional if conditional is not None else Generative.model_construct()
        place = self.place(role, conditional, expert)
        wanted = self.free_parameters(name, role, expert)
        constants = {key: self.constant(name, role, key, event, expert) for key in cond.parameters}
        total = self.total(name)
        if total and total != OWN_SUM:
            constants[TOTAL] = Constant(total, False)
        if not family.heads:
            for key, start in (family.standard or {}).items():
                constants.setdefault(key, Constant(start, False))
            low, high = (constants[key].value if key in constants else 0 for key in ("low", "high"))
            if isinstance(low, float | Schedule) and isinstance(high, float | Schedule):
                check_order((*place, "parameters"), low, high)
        parents = cond.parents
        if not parents:
            free = role == "recognition" or (isinstance(cond, Generative) and cond.learn)
            for head in wanted:
                neutral = family.constraints[head].neutral(event)
                constants[head] = Constant((family.standard or {}).get(head, neutral), free)
            wanted = []
        entries, trunk = self.entries(cond.network)
        shapes = family.head_shapes(event)
        heads = {head: shapes[head] for head in wanted}
        laid = self.stack(name, place, parents, entries, Wanted(node.shape, heads)) if parents else None
        count = sum(math.prod(shapes.get(k, event)) for k, c in constants.items() if c.learn)
        if laid is not None:
            width = sum(math.prod(shape) for shape in heads.values())
            linear = width * (math.prod(laid.output) + 1)
            count += linear if laid.heads is None else laid.heads.parameter_count(laid.output)
            count += 0 if trunk else laid.parameters
        taken = tuple(c.value for c in constants.values() if isinstance(c.value, str) and c.value not in parents)
        decay, reads = cond.weight_decay, (*parents, *taken)
        return Density(name, role, parents, reads, entries, trunk, laid, heads, constants, count, weight_decay=decay)

    def constant(self, name: str, role: Role, key: str, event: Shape | None, expert: str = "") -> Constant:
        """Resolve a parameter that the spec fixes; without an event, as far as possible."""
        conditional, family = self.conditional(name, role, expert), self.family(name)
        assert conditional is not None
        place = (*self.place(role, conditional, expert), "parameters", key)
        check_name(place, family, key, list(conditional.parameters))
        value = conditional.parameters[key]
        if expert and isinstance(value, str):
            message = (
                f"'{key}' of an expert takes no value of {self.spec.unrolled.word(value)}: it is a number or learned"
            )
            raise OutlineFault(place, message, "let its network read it")
        if event is None:
            return fix_without_event(place, self.spec.unrolled.word(name), family, key, value)
        if not isinstance(value, str):
            constant = fix(place, self.spec.unrolled.word(name), family, key, value, event)
            check_precision(place, family, key, constant, 64 if self.spec.train.precision == "64-true" else 32)
            return constant
        self._check_taken(place, name, key, family, event, value)
        return Constant(value, False)

    def _check_taken(
        self, place: tuple[str, ...], name: str, key: str, family: Family, event: Shape, taken: str
    ) -> None:
        """Check a name against the parameter that takes its value from it. Raises: OutlineFault."""
        word = self.spec.unrolled.word
        takes = f"'{key}' of {word(name)} takes {word(taken)}"
        if self.dropped(taken):
            message = f"{takes}, which may be missing (missing: drop)"
            raise OutlineFault(place, message, "let a network read it: it gets zero and a flag")
        shape, wanted = self.look(taken), family.parameter_shape(key, event)
        if shape != wanted and (math.prod(shape) != 1 or len(wanted) > len(event)):
            raise OutlineFault(place, f"{takes} of shape {shape_text(shape)}, wanted {shape_text(wanted)}")
        self._ranges.check(place, takes, family.constraints[key], taken)

    def outline(self) -> Outline:
        """Resolve everything."""
        spec = self.spec
        variables = {name: self.variable(name) for name in spec.nodes}
        generative = {name: self.density(name, "generative") for name in spec.nodes}
        recognition = {
            name: self.density(name, "recognition") for name, node in spec.nodes.items() if node.recognition is not None
        }
        nodes = {
            name: GraphNode(
                name=name,
                supervision=variable.supervision,
                generative=generative[name].reads,
                recognition=recognition[name].reads if name in recognition else None,
                estimator=variable.estimator or PATHWISE,
                closed_kl=variable.family.closed_kl,
                support=variable.family.support_size(variable.event) or 0,
                dropped=variable.dropped,
                exists=spec.unrolled.exists.get(name, ()),
                step=spec.unrolled.ids.get(name),
                experts=recognition[name].experts if name in recognition else None,
            )
            for name, variable in variables.items()
        }
        features = {name: self.feature(name) for name in spec.features}
        graphs = Graphs(nodes, {name: f.parents for name, f in features.items()}, tuple(spec.inputs))
        inputs = {name: replace(self.input(name), support=self._ranges.of_input(name)) for name in spec.inputs}
        unrolled = spec.unrolled
        stepped = {name: Stepped(name, unrolled.sizes[name], nodes) for name, nodes in unrolled.nodes.items()}
        return Outline(spec, variables, features, inputs, generative, recognition, graphs, stepped)


def outline(spec: Spec) -> Outline:
    """Resolve a valid spec."""
    return Resolver(spec).outline()


def needs(feature: Feature) -> tuple[str, ...]:
    """Name what must be resolved before a feature: its parents; for zeros, the name whose shape they have."""
    zeros = feature.network if isinstance(feature.network, Zeros) else None
    return feature.parents if zeros is None or zeros.width is not None else (zeros.of,)
