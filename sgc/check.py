"""What must hold between the parts of a spec: names, graphs, statuses, shapes, estimators, objective and data.

Every fault is found in one go. A piece already known to be wrong gives no second fault, and none to its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import networkx as nx

from sgc.document import Document
from sgc.errors import Fault, FaultList, Path, suggest
from sgc.graph import Role, find_cycle
from sgc.kinds.families import FAMILIES
from sgc.kinds.layers import shape_text
from sgc.outline import OutlineFault, Resolver
from sgc.spec import Spec

SECTIONS = ("inputs", "features", "nodes")
ROLES: tuple[Role, Role] = ("generative", "recognition")


def check(spec: Spec, document: Document, known: FaultList) -> list[Fault]:
    """Find what is wrong between the parts of a spec, beside the faults already `known`."""
    checker = _Checker(spec, document, known)
    checker.names()
    checker.statuses()
    checker.graphs()
    checker.resolve()
    checker.objective()
    checker.data()
    return checker.faults


class _Checker:
    def __init__(self, spec: Spec, document: Document, known: FaultList) -> None:
        self.spec, self.document, self.known = spec, document, known
        self.faults: list[Fault] = []
        self.section: dict[str, str] = {}  # every name that is written, broken pieces included
        for section in reversed(SECTIONS):
            for name in self.written((section,)):
                self.section[name] = section

    def written(self, path: Path) -> list[str]:
        try:
            found = self.document.get(path)
        except KeyError:
            return []
        return [key for key in found if isinstance(key, str)] if isinstance(found, dict) else []

    def add(self, path: Path, message: str, hint: str = "", *, at: str = "value") -> None:
        self.faults.append(self.document.fault(path, message, hint, at=at))
        self.known.taint(path)

    def tainted(self, *path: str | int) -> bool:
        return self.known.is_tainted(tuple(path))

    # names

    def names(self) -> None:
        from re import fullmatch

        from sgc.spec import NAME

        for section in (*SECTIONS, "networks"):
            for name in self.written((section,)):
                if not fullmatch(NAME, name):
                    message = f"'{name}' is not a name: a letter, then letters, digits, '_' or '-'"
                    self.add((section, name), message, at="key")
        seen: dict[str, str] = {}
        place = {s: self.document.keys.get((s,)) for s in SECTIONS}
        for section in sorted(SECTIONS, key=lambda s: (m.line, m.column) if (m := place[s]) else (0, 0)):
            for name in self.written((section,)):
                if name in seen:
                    self.add((section, name), f"'{name}' is already the name of one of the {seen[name]}", at="key")
                seen.setdefault(name, section)

    def lists(self) -> Iterable[tuple[str, Path, Sequence[str], Role | None]]:
        """Give every list of parents: whose, where, what, and of which graph (None: a feature's, of both)."""
        for name, feature in self.spec.features.items():
            yield name, ("features", name, "parents"), feature.parents, None
        for name, node in self.spec.nodes.items():
            for role in ROLES:
                cond = getattr(node, role)
                if cond is not None:
                    yield name, ("nodes", name, role, "parents"), cond.parents, role

    # statuses

    def statuses(self) -> None:
        for name, node in self.spec.nodes.items():
            path = ("nodes", name)
            has = "recognition" in self.written(path)
            if node.supervision == "full" and has:
                message = f"forbidden: '{name}' is observed in every row (supervision: full), q never proposes it"
                self.add((*path, "recognition"), message, at="key")
            if node.supervision != "full" and not has:
                where = "in the rows without its label" if node.supervision == "partial" else "in every row"
                self.add(path, f"missing key 'recognition': q proposes '{name}' {where}", at="key")
        written = self.written(("nodes",))
        if not any(node.supervision != "none" for node in self.spec.nodes.values()):
            whole = all(name in self.spec.nodes for name in written) and not self.tainted("nodes")
            if whole:
                self.add(("nodes",), "no node is observed: at least one must be full or partial", at="key")

    # graphs

    def graphs(self) -> None:
        parents: dict[Role, dict[str, list[str]]] = {"generative": {}, "recognition": {}}
        for name, path, given, role in self.lists():
            for graph in ROLES if role is None else (role,):
                parents[graph].setdefault(name, [])
            for i, parent in enumerate(given):
                if parent not in self.section:
                    self.unknown_parent(name, (*path, i), parent, given, role)
                elif parent in given[:i]:
                    self.add((*path, i), f"duplicate parent '{parent}'")
                else:
                    for graph in ROLES if role is None else (role,):
                        parents[graph][name].append(parent)
        for name, node in self.spec.nodes.items():
            for role in ROLES:
                cond = getattr(node, role)
                for key, value in (cond.parameters if cond is not None else {}).items():
                    if isinstance(value, str):
                        self.parameter_name(name, role, key, value, parents[role].setdefault(name, []))
            for role in ROLES:
                cond = getattr(node, role)
                network = None if cond is None else cond.network
                self.network_name(("nodes", name, role, "network"), network)
        for name, feature in self.spec.features.items():
            self.network_name(("features", name, "network"), feature.network)
        reported: set[frozenset[str]] = set()
        for role in ROLES:
            self.cycles(role, parents[role], reported)

    def unknown_parent(self, name: str, path: Path, parent: str, given: Sequence[str], role: Role | None) -> None:
        below = self.below(name, role)
        valid = [n for n in self.section if n != name and n not in given and n not in below]
        self.add(path, f"no node, feature or input named '{parent}'", suggest(parent, valid))

    def below(self, name: str, role: Role | None) -> set[str]:
        """Name what may not be a parent, because it depends on `name`."""
        graph = nx.DiGraph()
        graph.add_node(name)
        for child, _, given, of in self.lists():
            if of is None or role is None or of == role:
                graph.add_edges_from((parent, child) for parent in given)
        return set(nx.descendants(graph, name))

    def parameter_name(self, name: str, role: Role, key: str, value: str, parents: list[str]) -> None:
        path = ("nodes", name, role, "parameters", key)
        if value not in self.section:
            valid = [n for n in self.section if n != name]
            self.add(path, f"no node, feature or input named '{value}'", suggest(value, valid))
        elif value not in parents:
            parents.append(value)

    def network_name(self, path: Path, network: Any) -> None:  # Any: a union made at run time
        if isinstance(network, str) and network not in self.written(("networks",)):
            valid = self.written(("networks",))
            self.add(path, f"no network named '{network}' under 'networks'", suggest(network, valid))

    def cycles(self, role: Role, parents: dict[str, list[str]], reported: set[frozenset[str]]) -> None:
        graph = nx.DiGraph()
        graph.add_edges_from((parent, name) for name, above in parents.items() for parent in above)
        for component in nx.strongly_connected_components(graph):
            inside = {n: [p for p in parents.get(n, []) if p in component] for n in component}
            cycle = find_cycle({n: inside[n] for n in sorted(component, key=list(self.section).index)})
            if not cycle or frozenset(cycle) in reported:
                continue
            reported.add(frozenset(cycle))
            entries: list[tuple[tuple[int, int], Path]] = []
            for parent, child in zip(cycle, cycle[1:], strict=False):
                entries += self.entries(parent, child, role)
            path = min(entries)[1]
            arrows = " -> ".join(cycle)
            self.add(path, f"cycle in the {role} graph: {arrows}")
            self.known.taint(("cycle",))

    def entries(self, parent: str, child: str, role: Role) -> list[tuple[tuple[int, int], Path]]:
        """Find where a parent is written among a child's parents."""
        found: list[tuple[tuple[int, int], Path]] = []
        for name, path, given, of in self.lists():
            if name == child and of in (None, role):
                found += [((0, 0), (*path, i)) for i, each in enumerate(given) if each == parent]
        cond = getattr(self.spec.nodes.get(child), role, None)
        for key, value in (cond.parameters if cond is not None else {}).items():
            if value == parent:
                found.append(((0, 0), ("nodes", child, role, "parameters", key)))
        marks = self.document.values
        placed = [((marks[p].line, marks[p].column) if p in marks else (0, 0), p) for _, p in found]
        return placed

    # shapes, families, estimators

    def resolve(self) -> None:
        if self.tainted("cycle"):
            return
        resolver = Resolver(self.spec)
        bad = {name for section in SECTIONS for name in self.written((section,)) if self.tainted(section, name)}
        bad |= {
            name for section in SECTIONS for name in self.section if name not in getattr(self.spec, self.section[name])
        }
        for name in self.spec.inputs:
            if name not in bad:
                self.attempt(("inputs", name), lambda name=name: resolver.input(name), bad)
        for name in self.spec.nodes:
            path = ("nodes", name)
            if not self.attempt(path, lambda name=name: resolver.family(name), bad, only=(*path, "distribution")):
                continue
            if any(self.tainted(*path, key) for key in ("shape", "categories", "values")):
                bad.add(name)
            elif self.attempt(path, lambda name=name: resolver.event(name), bad):
                estimator = (*path, "recognition", "estimator")
                node = self.spec.nodes[name]
                if not self.known_at(estimator):
                    self.attempt(path, lambda n=name, node=node: resolver.estimator(n, node), bad, keep=True)
        for name in self.spec.features:
            if not self.depends_on(name, bad):
                self.attempt(("features", name), lambda name=name: resolver.feature(name), bad)
        trunks: dict[str, tuple[str, Any]] = {}  # Any: shapes
        for name, path, owner_role in self.networks():
            if owner_role is None:
                if name not in bad:
                    self.shared(trunks, path, name, resolver.feature(name))
                continue
            cond = getattr(self.spec.nodes[name], owner_role)
            reads = (
                [] if cond is None else [*cond.parents, *(v for v in cond.parameters.values() if isinstance(v, str))]
            )
            if self.known_below(("nodes", name, owner_role)) or self.known_at(("nodes", name, "distribution")):
                continue
            if any(n in bad or n not in self.section or self.depends_on(n, bad) for n in [name, *reads]):
                continue
            found = self.attempt(
                ("nodes", name), lambda n=name, r=owner_role: resolver.density(n, r), set(), give=True, keep=True
            )
            if found not in (None, False):
                self.shared(trunks, path, name, found)

    def networks(self) -> Iterable[tuple[str, Path, Role | None]]:
        for name in self.spec.features:
            yield name, ("features", name, "network"), None
        for name, node in self.spec.nodes.items():
            for role in ROLES:
                if role == "generative" or node.recognition is not None:
                    yield name, ("nodes", name, role, "network"), role

    def shared(self, trunks: dict[str, tuple[str, Any]], path: Path, owner: str, found: Any) -> None:
        """Hold the users of a shared network to the same shapes of inputs. Any: a feature or a density."""
        if not found.trunk or found.stack is None:
            return
        first = trunks.setdefault(found.trunk, (owner, found.stack.parents))
        if first[1] != found.stack.parents:
            got = ", ".join(map(shape_text, found.stack.parents))
            wanted = ", ".join(map(shape_text, first[1]))
            message = (
                f"'{owner}': the shared network '{found.trunk}' got inputs {got}, wanted {wanted} as for '{first[0]}'"
            )
            self.add(path, message)

    def depends_on(self, name: str, bad: set[str]) -> bool:
        if name in bad:
            return True
        feature = self.spec.features.get(name)
        return feature is not None and any(p not in self.section or self.depends_on(p, bad) for p in feature.parents)

    def known_at(self, path: Path) -> bool:
        return any(path[: len(each)] == each and len(each) > 2 for each in self.known.tainted)

    def known_below(self, path: Path) -> bool:
        return any(each[: len(path)] == path for each in self.known.tainted)

    def attempt(
        self,
        path: Path,
        resolve: Any,  # Any: a method of the resolver with its arguments
        bad: set[str],
        *,
        only: Path | None = None,
        give: bool = False,
        keep: bool = False,
    ) -> Any:
        """Resolve one piece; a fault is added once, and its name is bad from then on (unless `keep`)."""
        name = str(path[1])
        if only is not None and self.known_at(only):
            bad.add(name)
            return False
        try:
            found = resolve()
        except OutlineFault as problem:
            hint, at, place = problem.hint, problem.at, (*path, *problem.below)
            if problem.hint == "?family":
                hint = suggest(self.spec.nodes[name].distribution.name, FAMILIES)
            if problem.hint == "?parameter":
                family = FAMILIES[self.spec.nodes[name].distribution.name]
                hint = suggest(str(problem.below[-1]), family.constraints)
            if at == "later":
                order = self.written(path)
                place, at = (*path, max(problem.below, key=lambda k: order.index(str(k)))), "key"
            if problem.hint == "?family" and not place_known(self.document, place):
                place, at = place[:-1], "value"  # written as a bare name
            if not place_known(self.document, place) and len(place) > 2:
                place, at = path, "key"
            self.add(place, problem.message, hint, at=at)
            if not keep:
                bad.add(name)
            return False
        return found if give else True

    # objective and evaluation

    def objective(self) -> None:
        objective = self.spec.objective
        partial = [n for n, node in self.spec.nodes.items() if node.supervision == "partial"]
        if isinstance(objective.alpha, Mapping):
            for name in objective.alpha:
                if name not in partial and not self.tainted("nodes", name):
                    message = self.not_partial(name)
                    self.add(("objective", "alpha", name), message, suggest(name, partial), at="key")
        written = self.written(("objective",))
        if objective.bound == "density" and "alpha" in written:
            self.add(("objective", "alpha"), "forbidden: the density bound has no alpha", at="key")
        if objective.bound in ("iwae", "density") and objective.kl_weight != 1.0:
            message = f"forbidden: the {objective.bound} bound has no kl_weight"
            self.add(("objective", "kl_weight"), message, at="key")
        for key, usual in (("weights", "normalized"), ("label_term", "mean_log")):
            if objective.bound != "elbo" and getattr(objective, key) != usual:
                message = f"forbidden: it changes the elbo bound, and the bound is {objective.bound}"
                self.add(("objective", key), message, at="key")
        if objective.bound == "supervised" and not partial and not self.tainted("nodes"):
            self.add(
                ("objective", "bound"), "the supervised bound needs a partially supervised node, and there is none"
            )
        for name in self.spec.evaluate.metrics:
            path = ("evaluate", "metrics", name)
            if name not in self.section or self.section[name] != "nodes":
                self.add(path, f"no node named '{name}'", suggest(name, self.spec.nodes), at="key")
        optimizer = self.spec.train.optimizer
        adams = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")
        if optimizer.betas is not None and optimizer.name not in adams:
            self.add(("train", "optimizer", "betas"), f"forbidden: {optimizer.name} has no betas", at="key")
        if optimizer.momentum is not None and optimizer.name in adams:
            self.add(("train", "optimizer", "momentum"), f"forbidden: {optimizer.name} has no momentum", at="key")
        if optimizer.eps is not None and optimizer.name == "SGD":
            self.add(("train", "optimizer", "eps"), "forbidden: SGD has no eps", at="key")

    def not_partial(self, name: str) -> str:
        if name in self.section and self.section[name] == "nodes":
            return f"'{name}' is not partially supervised, only labels of such nodes have a weight"
        return f"no node named '{name}'"

    # data

    def data(self) -> None:
        data = self.spec.data
        if data is None:
            return
        wanted = [n for n, node in self.spec.nodes.items() if node.supervision != "none"] + list(self.spec.inputs)
        columns = self.written(("data", "columns"))
        for name in columns:
            path = ("data", "columns", name)
            if name not in self.section or self.section[name] == "features":
                what = f"'{name}' is a feature, features have no column" if name in self.section else ""
                self.add(path, what or f"no node or input named '{name}'", suggest(name, wanted), at="key")
            elif self.section[name] == "nodes" and name in self.spec.nodes and name not in wanted:
                self.add(path, f"'{name}' is never observed (supervision: none), it has no column", at="key")
        if not self.known_at_exactly(("data", "columns")) and not self.known_at_exactly(("data",)):
            for name in wanted:
                if name not in columns:
                    status = self.section[name]
                    text = f"supervision: {self.spec.nodes[name].supervision}" if status == "nodes" else "an input"
                    message = f"'{name}' has no column under data.columns ({text})"
                    self.add((status, name), message, at="key")
        partial = [n for n, node in self.spec.nodes.items() if node.supervision == "partial"]
        for name in self.written(("data", "labels")):
            path = ("data", "labels", name)
            if name not in self.section or self.section[name] != "nodes":
                self.add(path, f"no node named '{name}'", suggest(name, partial), at="key")
            elif name in self.spec.nodes and name not in partial:
                status = self.spec.nodes[name].supervision
                self.add(path, f"'{name}' is not partially supervised (supervision: {status})", at="key")
        for name, rule in data.labels.items():
            other = rule.same_rows_as
            if other is not None:
                self.same_rows(name, other, partial)

    def same_rows(self, name: str, other: str, partial: list[str]) -> None:
        assert self.spec.data is not None
        path = ("data", "labels", name, "same_rows_as")
        if other not in partial:
            self.add(
                path, f"no partially supervised node named '{other}'", suggest(other, [p for p in partial if p != name])
            )
            return
        chain, here = [name], other
        while here not in chain:
            chain.append(here)
            rule = self.spec.data.labels.get(here)
            if rule is None or rule.same_rows_as is None:
                return
            here = rule.same_rows_as
        self.add(path, f"cycle of same_rows_as: {' -> '.join([*chain, here])}")

    def known_at_exactly(self, path: Path) -> bool:
        return path in self.known.tainted


def place_known(document: Document, path: Path) -> bool:
    """Tell whether something is written at `path`."""
    try:
        document.get(path)
    except KeyError:
        return False
    return True
