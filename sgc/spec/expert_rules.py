"""What experts need of their node, of its p and of each other; and which parents each of them has to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from re import fullmatch

from sgc.derivation.experts import Expert, Experts
from sgc.distributions.family import Family
from sgc.errors import OutlineFault
from sgc.spec.conditionals import Generative, LearnedConstant, Recognition
from sgc.spec.outline import Density
from sgc.spec.scopes import NAME, NO_NAME
from sgc.spec.spec import Spec

MOST_PRODUCTS = 255  # in a mixture of products: those of eight experts
PLACE = ("recognition",)


def check_experts(spec: Spec, name: str, family: Family) -> None:
    """Check the experts of a node's q against its family, its p, and the keys beside them. Raises: OutlineFault."""
    written, word = spec.nodes[name].recognition, spec.unrolled.word(name)
    assert written is not None
    if written.experts is None:
        for key in ("combine", "prior"):
            if getattr(written, key) is not None:
                raise OutlineFault((*PLACE, key), "forbidden without 'experts'", at="key")
        return
    for key in ("parents", "network", "parameters", "weight_decay"):
        if getattr(written, key) not in (None, (), {}):
            message = f"'{key}' beside 'experts': each expert has its own, give one of them"
            raise OutlineFault((*PLACE, key), message, at="key")
    if not family.multiplies:
        message = (
            f"forbidden: {word} is {family.name}, and only densities of Normal nodes are multiplied in closed form"
        )
        raise OutlineFault((*PLACE, "experts"), message, "give it 'parents' and one 'network'", at="key")
    for expert, piece in written.experts.items():
        if piece.parents is not None and not all(fullmatch(NAME, part) for part in expert.split(".")):
            raise OutlineFault((*PLACE, "experts", expert), f"'{expert}' {NO_NAME}", at="key")
    if written.combine == "mixture_of_products" and 2 ** len(written.experts) - 1 > MOST_PRODUCTS:
        message = (
            f"{len(written.experts)} experts have {2 ** len(written.experts) - 1} products, at most {MOST_PRODUCTS}"
        )
        raise OutlineFault((*PLACE, "combine"), message, "allowed: product, mixture")
    _check_prior(spec, name, written)


def _check_prior(spec: Spec, name: str, written: Recognition) -> None:
    """Check that p is fixed, and has no parents, where it is a factor of q, or all of q in rows without any expert."""
    assert written.experts is not None
    p, word = spec.nodes[name].generative or Generative.model_construct(), spec.unrolled.word(name)
    why = ""
    if p.parents or any(isinstance(value, str) for value in p.parameters.values()):
        why = "has parents"
    elif p.learn or any(isinstance(value, LearnedConstant) and value.learn for value in p.parameters.values()):
        why = "is learned"
    if not why:
        return
    if has_prior(written):
        hint = "set prior: false; what p says, an expert can say that reads its parents, or nothing (parents: [])"
        place, at = ("prior", "value") if written.prior is not None else ("experts", "key")
        raise OutlineFault((*PLACE, place), f"p of {word} is a factor of q (prior: true), but it {why}", hint, at=at)
    needs = [_needs(spec, piece.reads(expert)) for expert, piece in written.experts.items()]
    if all(needs):
        absent = " and ".join(spec.unrolled.word(source) for source in dict.fromkeys(_sources(needs)))
        message = f"no expert is left in rows without {absent}, where q is p of {word}, but that {why}"
        hint = "give an expert whose parents are always there, or one without any (parents: [])"
        raise OutlineFault((*PLACE, "experts"), message, hint, at="key")


def has_prior(written: Recognition) -> bool:
    """Say whether p is a factor of each product: as it is written, or as the source of the combination has it."""
    return written.prior if written.prior is not None else not written.mixes


def _sources(needs: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    return [source for parents in needs for sources in parents for source in sources]


def experts_of(spec: Spec, written: Recognition, densities: Sequence[Density]) -> Experts:
    """Give the experts of a q, with what each of them needs. densities: of each of them."""
    assert written.experts is not None
    members = tuple(
        Expert(expert, density.parents, _needs(spec, density.parents))
        for expert, density in zip(written.experts, densities, strict=True)
    )
    return Experts(members, written.combine or "product", has_prior(written))


def _needs(spec: Spec, parents: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """List, for each parent that may be missing, the nodes behind it that drop what is missing.

    The steps of a name that are read one by one are one parent.
    """
    behind: dict[str, dict[str, None]] = {}
    known: dict[str, frozenset[str]] = {}
    for parent in parents:
        dropped = _dropped(spec, parent, known)
        if dropped:
            in_order = [name for name in spec.nodes if name in dropped]
            behind.setdefault(spec.unrolled.id(parent).name, {}).update(dict.fromkeys(in_order))
    return tuple(tuple(sources) for sources in behind.values())


def _dropped(spec: Spec, name: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
    """See through features: the nodes that drop what is missing and that a name is, or is made of."""
    waiting, opened = [name], set[str]()
    while waiting:  # a long chain must not become a deep recursion
        top = waiting[-1]
        features: Mapping[str, object] = spec.features
        above = spec.features[top].parents if top in features else ()
        unknown = [parent for parent in above if parent not in known]
        if unknown and top not in opened:  # those in a cycle, which is told elsewhere, are opened once
            opened.add(top)
            waiting += unknown
            continue
        own = frozenset({top} if top in spec.nodes and spec.nodes[top].missing is not None else ())
        known[top] = own.union(*(known[parent] for parent in above if parent in known))
        waiting.pop()
    return known[name]
