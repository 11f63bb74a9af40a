"""Homes: who knows a bound, estimator, metric, support, constraint or family by its name; and the guard can fail.

A comparison is ==, != or `in` with a name that is written out, directly or by a constant of a module, a case of a
`match`, a dictionary of such names that something is looked up in, or how a text begins.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sgc.distributions.constraints import CONSTRAINTS
from sgc.distributions.families import FAMILIES
from sgc.distributions.supports import SUPPORTS
from sgc.metrics.metrics import METRICS
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimators import ESTIMATORS

ROOT = Path(__file__).resolve().parent.parent / "sgc"
NAMES = {*BOUNDS, *ESTIMATORS, *METRICS, *SUPPORTS, *CONSTRAINTS, *FAMILIES}
HOMES = ("objectives", "metrics", "distributions")
APART = "proof"  # which keeps its own words, so that it does not share what it checks
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in (*HOMES, APART)]
OTHER_WORDS = {  # of specs, which read like a name and are none
    ("data/transforms/transforms.py", "word in TRANSFORMS"): "`angle` is a transform too",
    ("export/noise.py", "_CALLS.get(packet)"): "`multinomial` is an operation of torch too",
    ("spec/grammar.py", "value in ('angle', 'direction')"): "the same transform, written without its unit",
    ("run_report/chart_parts.py", "SHAPES[i % len(SHAPES)]"): "shapes of points, a circle among them",
    ("networks/combination.py", "way == 'mean'"): "a way of combining what all steps gave",
}

Constants = Mapping[str, ast.expr]


def constants_of(tree: ast.Module) -> dict[str, ast.expr]:
    """List what a module gives a name for good."""
    found: dict[str, ast.expr] = {}
    for line in tree.body:
        if isinstance(line, ast.Assign):
            found |= {target.id: line.value for target in line.targets if isinstance(target, ast.Name)}
        elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
            found[line.target.id] = line.value
    return found


def written(node: ast.expr, known: Constants) -> Iterator[str]:
    """List the texts that an expression is, or is made of."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from written(element, known)
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            if key is not None:
                yield from written(key, known)
    elif isinstance(node, ast.Starred):
        yield from written(node.value, known)
    elif (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("frozenset", "set", "tuple")
    ):
        for each in node.args:
            yield from written(each, known)
    elif isinstance(node, ast.Name) and node.id in known:
        yield from written(known[node.id], {name: value for name, value in known.items() if name != node.id})


def operands(node: ast.AST) -> list[ast.expr]:
    """List what a comparison compares; nothing of what is none."""
    match node:
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
        case ast.MatchValue(value=value) | ast.Call(func=ast.Attribute(attr="get", value=value)):
            return [value]
        case ast.Subscript(value=table, slice=key) if not isinstance(key, ast.Constant):
            return [table]
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith"), args=arguments):
            return arguments
        case _:
            return []


def compared(tree: ast.Module, elsewhere: Mapping[str, Constants]) -> Iterator[tuple[str, int]]:
    """Name what in a module knows one of the names, and its line. elsewhere: constants, by module."""
    known = constants_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in elsewhere:
            theirs = elsewhere[node.module]
            known |= {each.asname or each.name: theirs[each.name] for each in node.names if each.name in theirs}
    for node in ast.walk(tree):
        if any(text in NAMES for operand in operands(node) for text in written(operand, known)):
            yield ast.unparse(node), getattr(node, "lineno", 0)


def module_name(path: Path) -> str:
    return ".".join(("sgc", *path.relative_to(ROOT).with_suffix("").parts))


def comparisons() -> list[tuple[str, str, int]]:
    """List every comparison outside the homes: its file, what is written, and the line."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    constants = {module_name(path): constants_of(tree) for path, tree in trees.items()}
    return [(path.relative_to(ROOT).as_posix(), *found) for path in FILES for found in compared(trees[path], constants)]


def test_nobody_outside_its_home_knows_one_of_a_kind_by_its_name() -> None:
    found = comparisons()
    assert [f"{file}:{line}: {text}" for file, text, line in found if (file, text) not in OTHER_WORDS] == []
    assert {(file, text) for file, text, _ in found} == {*OTHER_WORDS}  # and no excuse outlives its reason


def lines(source: str, **constants: str) -> list[str]:
    elsewhere = {"sgc.words": {name: ast.parse(text, mode="eval").body for name, text in constants.items()}}
    return [text for text, _ in compared(ast.parse(source), elsewhere)]


@pytest.mark.parametrize(
    "source",
    [
        "bound == 'iwae'",
        "'elbo' != plan.bound.name",
        "name in ('Normal', 'MultivariateNormal')",
        "name not in {'score_function'}",
        "word in (*OTHERS, 'simplex')",
        "'enumerate' in words",
        "POSITIVE = ('positive', 'positive_vector')\nif word in POSITIVE: pass",
        "SAME: frozenset[str] = frozenset({'grey'})\nok = word in (*SAME,)",
        "from sgc.words import DRAWN\nfit = [kind for kind in kinds if kind in DRAWN]",
        "match word:\n    case 'real' | 'zzz': pass",
        "match entry:\n    case {'name': 'pathwise'}: pass",
        "{'pathwise': 1, 'zzz': 2}[word]",
        "{'zzz': 1, 'density': 2}.get(word, 0)",
        "ENDS = {'open_simplex': 1}\ndef end(word):\n    return ENDS[word]",
        "text.startswith(('supervised', 'zzz'))",
    ],
)
def test_the_guard_sees_every_way_to_compare(source: str) -> None:
    assert len(lines(source, DRAWN="['gumbel_softmax']")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "bound.weighted",
        "word == other",
        "key == 'zzz'",
        "SUPPORTS['real'].contains(made)",
        "table = {'Normal': Normal()}",
        "print('elbo')",
        "found['elbo']",
        "text = f'{name}: iwae'",
    ],
)
def test_the_guard_lets_names_be_said(source: str) -> None:
    assert lines(source) == []
