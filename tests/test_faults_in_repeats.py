"""In and beside repeats, with every kind of network: what is right is taken and runs, each mistake is told where it is.

Drawn as for `make fuzz`, see `fuzz/repeats.py`; below, each kind that the drawings found, its messages whole.
"""

from __future__ import annotations

import pytest
import torch
from drawn_networks import ENTRIES, KINDS
from drawn_specs import draw
from repeats import draw_case, wrong_of, wrong_of_drawn

from sgc.errors import SpecError
from sgc.networks import entries, layers
from sgc.spec.document import parse
from sgc.spec.loader import validate

DRAWN, PLANTED, RUN = 20, 110, 4  # specs that are right, with mistakes, and run; `make fuzz` takes 2,000


def test_every_layer_and_every_entry_is_drawn() -> None:
    assert set(KINDS) - set(ENTRIES) == set(layers.LAYERS)
    inside = [site.kind for seed in range(3 * len(KINDS)) for site in draw(seed, trusted=True).sites if site.repeats]
    assert set(KINDS) == set(inside)
    mapped = {"linear": "mlp", "residual images": "residual", "crop": "affine", "paste": "affine", "over": "combine"}
    assert {mapped.get(kind, kind) for kind in ENTRIES} - {"shared"} == {*entries.ENTRIES} - {"layers"}


def test_what_is_right_is_taken() -> None:
    problems = [wrong_of_drawn(draw(seed, trusted=True), seed, run=False) for seed in range(DRAWN)]
    assert list(filter(None, problems)) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_is_taken_runs(dtype: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert list(filter(None, (wrong_of_drawn(draw(seed), seed, run=True) for seed in range(RUN)))) == []
    finally:
        torch.set_default_dtype(before)


def test_each_mistake_is_told_once_and_where_it_was_made() -> None:
    """Of two in one spec both are told, and nothing that nobody wrote is named."""
    assert list(filter(None, (wrong_of(draw_case(seed)) for seed in range(PLANTED)))) == []


# each kind of what the drawings found

SPEC = """\
version: 1
networks:
  trunk: {mlp: [3]}
nodes:
  k: {distribution: Categorical, values: [1, 2], supervision: full}
  o: {distribution: Normal, supervision: none, recognition: {parents: [t.a], network: trunk}}
  v: {distribution: Normal, shape: [2, 2], supervision: full, generative: {parents: [t.a], network: {mlp: [3]}}}
  u: {distribution: Normal, supervision: none, recognition: {parents: [v], network: trunk}}
repeat:
  t:
    count: k
    carry:
      b: {parents: [a, prev.b], network: [{mlp: [3]}], direction: backward}
      c: {parents: [a], network: [{mlp: [3]}, {gru: 3}]}
    nodes:
      a: {distribution: Normal, shape: [2], supervision: full}
      s: {distribution: Bernoulli, supervision: partial, recognition: {parents: [b, c], network: {mlp: [3]}}}
"""
PLAIN = SPEC.replace("network: trunk", "network: {mlp: [3]}")


def faults(text: str, *edits: tuple[str, str]) -> list[str]:
    """List what is wrong with a text after some edits: place, path, message and hint, without the line."""
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    try:
        validate(parse(text, "spec.yaml"))
    except SpecError as problem:
        return [f"{str(each).splitlines()[0]} ({each.hint})".replace(" ()", "") for each in problem.faults]
    return []


def test_what_a_carry_is_made_of_is_called_by_the_name_of_the_carry() -> None:
    assert faults(PLAIN) == []
    edits = (("[{mlp: [3]}], dir", "[{gru: 3}, {mlp: [3]}], dir"), ("{mlp: [3]}, {gru: 3}]", "{gru: 4}, {gru: 3}]"))
    assert faults(PLAIN, *edits) == [
        "spec.yaml:13:42: repeat.t.carry.b.network: 't.b': gru reads a sequence [steps, *features], got [2], [3]",
        "spec.yaml:14:34: repeat.t.carry.c.network: 't.c': gru reads a sequence [steps, *features], got [2]",
    ]


def test_what_says_which_steps_exist_is_told_in_words() -> None:
    edit = (
        "generative: {parents: [t.a], network: {mlp: [3]}}",
        "generative: {parents: [t.a], network: {layers: [Tanh]}}",
    )
    assert faults(PLAIN, edit) == [
        "spec.yaml:7:101: nodes.v.generative.network: 'v': Tanh takes one input, got 't.a' [2, 2], whether each step "
        "of 't' exists [2, 1]: begin with Flatten and Linear, where parents add"
    ]


@pytest.mark.parametrize("count", ["nobody", "0"])
def test_of_a_wrong_count_nothing_follows_in_the_shapes_of_what_it_counts(count: str) -> None:
    """All steps of `t.a` and the node `v` are [2, 2], which the shared network is held to."""
    assert faults(SPEC, ("count: k", "count: 2")) == []
    (fault,) = faults(SPEC, ("count: k", f"count: {count}"))
    assert fault.startswith("spec.yaml:11:12: repeat.t.count: ")


def test_nor_of_a_wrong_count_by_a_node() -> None:
    edits = (("values: [1, 2]", "values: 2"), ("[t.a], network: trunk", "[t.a], network: {gru: 3}"))
    assert faults(SPEC, *edits) == ["spec.yaml:5:42: nodes.k.values: expected a list, got integer 2"]


def test_two_faults_of_one_entry_take_out_that_network_alone() -> None:
    """An option that is unknown, and the one that is missing for it, of a network in a list."""
    edits = (("[v], network: trunk", "[v], network: [{mlp: [4]}, {layers: [{Linear: {out_feature: 3}}]}]"),)
    (fault,) = faults(SPEC, ("count: k", "count: 2"), *edits)
    assert fault.startswith("spec.yaml:8:118: nodes.u.recognition.network[1].layers[0].Linear.out_feature: unknown key")


def test_a_broken_part_or_name_hides_no_unknown_parent() -> None:
    part = "{spec: {version: 1, nodes: {y: {distribution: Norml, supervision: full}}}, bind: {y: nobody}}"
    text = PLAIN.replace("    nodes:\n", "    nodes:\n      9a: {distribution: Normal, supervision: full}\n")
    text = text.replace("[b, c]", "[nowhere, p.y]") + f"    use:\n      p: {part}\n"
    text = text.replace("[v], network", "[nowhere], network")
    assert faults(text) == [
        "spec.yaml:8:72: nodes.u.recognition.parents[0]: no node, feature or input named 'nowhere' "
        "(allowed: k, o, t.a, t.b, t.c, t.s, v)",
        "spec.yaml:16:7: repeat.t.nodes.9a: '9a' is not a name: a letter, then letters, digits, '_' or '-'",
        "spec.yaml:18:82: repeat.t.nodes.s.recognition.parents[0]: no node, feature or input named 'nowhere' "
        "(allowed: a, b, c, k, o, prev.a, prev.b, prev.c, prev.s, u, v)",
        "spec.yaml:20:56: repeat.t.use.p.spec.nodes.y.distribution: unknown family 'Norml' (did you mean 'Normal'?)",
        "spec.yaml:20:95: repeat.t.use.p.bind.y: no node, feature or input named 'nobody' (allowed: a, b, c, s)",
    ]


def test_a_name_like_one_that_is_none_is_not_told_besides() -> None:
    assert faults(PLAIN, ("      a: {", "      9a: {")) == [
        "spec.yaml:16:7: repeat.t.nodes.9a: '9a' is not a name: a letter, then letters, digits, '_' or '-'"
    ]


DERIVED = """\
version: 1
recognition: {parents: auto, network: {mlp: [3]}}
objective: {bound: iwae, gradient: stl, sampels: 3, alpha: {x: 2}}
nodes:
  x: {distribution: Normal, supervision: full, generative: {parents: [nowhere, z], network: {mlp: [3]}}}
  y: {distribution: Normal}
  z: {distribution: Normal, supervision: none, recognition: {estimator: enumerate}}
"""


def test_what_hangs_on_nothing_that_is_wrong_is_told_beside_it() -> None:
    """An estimator beside a graph that is not known, a weight beside a node without a status, a gradient."""
    assert faults(DERIVED) == [
        "spec.yaml:3:36: objective.gradient: 'stl' leaves out a score whose mean is 0 in the elbo bound, not in iwae "
        "(allowed: total)",
        "spec.yaml:3:41: objective.sampels: unknown key 'sampels' (did you mean 'samples'?)",
        "spec.yaml:3:61: objective.alpha.x: 'x' is not partially supervised",
        "spec.yaml:5:71: nodes.x.generative.parents[0]: no node, feature or input named 'nowhere' (allowed: y)",
        "spec.yaml:6:3: nodes.y: missing key 'supervision'",
        "spec.yaml:7:73: nodes.z.recognition.estimator: 'Normal' cannot have the estimator 'enumerate': the support of "
        "Normal is not finite (allowed: pathwise, score_function, mean)",
    ]


def test_a_node_that_is_wrong_in_itself_does_not_differ_from_the_one_that_it_is_bound_to_besides() -> None:
    part = "{version: 1, nodes: {y: {distribution: Normal, shape: [2], supervision: full}}}"
    text = PLAIN + f"    use: {{p: {{spec: {part}, bind: {{y: a}}}}}}\n"
    assert faults(text) == []
    assert faults(text, ("a: {distribution: Normal, ", "a: {distribution: Normal, categories: 3, ")) == [
        "spec.yaml:16:33: repeat.t.nodes.a.categories: forbidden: only Categorical has 'categories'"
    ]
    assert faults(text, ("a: {distribution: Normal, shape: [2]", "a: {distribution: Normal, shape: 2")) == [
        "spec.yaml:16:40: repeat.t.nodes.a.shape: expected a list, got integer 2"
    ]


def test_own_code_in_a_repeat_is_told_beside_another_fault_of_its_piece() -> None:
    edits = (("network: [{mlp: [3]}], dir", "network: [{python: mine:Net, output: [0]}], dir"),)
    assert faults(PLAIN, *edits) == [
        "spec.yaml:13:52: repeat.t.carry.b.network[0].python: own code: it would import 'mine:Net' "
        "(allowed with trust=True)",
        "spec.yaml:13:71: repeat.t.carry.b.network[0].output[0]: expected an integer at least 1, got integer 0",
    ]


def test_what_a_broken_part_gives_is_not_missed_besides() -> None:
    """Beta has no standard prior: it is the part that gives p."""
    part = "{version: 1, nodes: {y: {distribution: Beta, supervision: full, generative: {learn: true}}}}"
    text = f"{PLAIN}      e: {{distribution: Beta, supervision: full}}\n"
    text += f"    use: {{p: {{spec: {part}, bind: {{y: e}}}}}}\n"
    assert faults(text) == []
    assert faults(text, ("learn: true}}}}", "larn: true}}}}")) == [
        "spec.yaml:19:98: repeat.t.use.p.spec.nodes.y.generative.larn: unknown key 'larn' (did you mean 'learn'?)"
    ]
    assert faults(text, ("bind: {y: e}", "bind: {y: nobody}")) == [
        "spec.yaml:19:125: repeat.t.use.p.bind.y: no node, feature or input named 'nobody' (allowed: a, b, c, e, s)"
    ]


def test_an_expert_whose_parents_are_wrong_is_not_taken_to_be_named_after_one() -> None:
    q = "recognition: {experts: {e: {parents: {a: 1}, network: {mlp: [3]}}, t.a: {network: {mlp: [3]}}}}"
    edit = ("recognition: {parents: [t.a], network: {mlp: [3]}}", q)
    assert faults(PLAIN, edit) == [
        "spec.yaml:6:85: nodes.o.recognition.experts.e.parents: expected a list, got a mapping"
    ]
