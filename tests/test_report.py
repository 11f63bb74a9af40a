"""The report: pinned whole for two models, and true of its own data; nothing here needs torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from sgc.derivation.styled_letters import plain, style
from sgc.report.json_report import inspect_json
from sgc.report.printed_lines import fold
from sgc.report.products import product
from sgc.report.text_report import inspect_text
from sgc.report.warning_notes import warnings
from sgc.spec.document import parse
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

M2 = """
version: 1
name: m2
description: Digit and style
nodes:
  x: {distribution: Bernoulli, shape: [4], supervision: full, generative: {parents: [y, z], network: {mlp: [8, 8]}}}
  y: {distribution: Categorical, categories: 3, supervision: partial,
      recognition: {parents: [x], network: {mlp: [8]}, estimator: enumerate}}
  z: {distribution: Normal, shape: [2], supervision: none, recognition: {parents: [x, y], network: {mlp: [8]}}}
objective: {alpha: 50}
"""
Z_THEN_Y = """
version: 1
name: z-then-y
inputs: {site: {values: [A, B]}}
features: {h: {parents: [x, site], network: base}}
networks: {base: [{mlp: [8], norm: batch, dropout: 0.5}, {layers: [{Linear: 4}, Tanh]}]}
nodes:
  x: {distribution: Bernoulli, shape: [4], supervision: full, generative: {parents: [y, z], network: {mlp: []}}}
  z: {distribution: Normal, shape: [2], supervision: none, recognition: {parents: [h], network: {mlp: [8]}}}
  y: {distribution: Categorical, values: [cat, dog, owl], supervision: partial, generative: {learn: true},
      recognition: {parents: [h, z], network: {mlp: [8], activation: tanh}, estimator: enumerate}}
objective: {alpha: {from: 1, to: 5, epochs: 10}, supervision_rate: 0.25}
"""

# ruff: noqa: E501 - lines of the report are not folded
M2_TEXT = """\
m2: Digit and style

nodes
  node   distribution   supervision   generative       recognition   parameters
  ─────────────────────────────────────────────────────────────────────────────
  x      Bernoulli      full          y, z                                p 156
         [4]                          mlp 8-8 relu

  y      Categorical    partial       logits 0         x                   q 67
         3 categories                                  mlp 8 relu
                                                       enumerate

  z      Normal         none          loc 0, scale 1   x, y               q 100
         [2]                                           mlp 8 relu
                                                       pathwise

products
  p(x, y, z) = p(x | y, z) p(y) p(z)
  q(y, z | x) = q(y | x) q(z | x, y)

rows without labels
  clamped   x
  proposed  q(y | x)     enumerate, 3 values
            q(z | x, y)  pathwise
  r =       q(y | x) q(z | x, y)
  w =       1
  p =       p(x | y, z) p(y) p(z)
  bound     L = E_r[ log p(x | y, z) + log p(y) - log q(y | x) - KL(q(z | x, y) || p(z)) ]    (Eq. (8), Siddharth et al. 2017)
  terms     log p(x | y, z)           sampled
            log p(y)                  enumerated
            -log q(y | x)             enumerated
            -KL(q(z | x, y) || p(z))  enumerated (closed form)
  cost      sums out y; largest intermediate 3 numbers a row, 4 touched in all; z is drawn 3 times a sample

rows with y labelled
  clamped   x, y
  proposed  q(z | x, y)  pathwise
  r =       q(z | x, y)
  w =       q(y | x)     constant: cancels in w/Z
  p =       p(x | y, z) p(y) p(z)
  bound     L = E_r[ log p(x | y, z) + log p(y) - KL(q(z | x, y) || p(z)) ]    (Eq. (8), Siddharth et al. 2017)
                + α log q(y | x)
  terms     log p(x | y, z)           sampled
            log p(y)                  exact
            -KL(q(z | x, y) || p(z))  exact (closed form)
            log q(y | x)              exact (label)
  cost      1 particle a row, nothing enumerated

objective
  bound    elbo: Eq. (8), Siddharth et al. 2017
  samples  1 for each row
  weights  normalized: importance weights divided by their mean, w/Z
  labels   mean_log: log q averaged over the samples
  alpha    α = 50: what log q(label) weighs in the bound of a labelled row, times γ = 1 in the loss
  gamma    γ = 1: what a row with a label weighs in the loss, where one without weighs 1
  loss     -Σ g·bound / B over a batch of B rows, g = 1 for rows with a label, else 1

parameters
  p(x)   156
  q(y)    67
  q(z)   100
  total  323

no warnings"""
Z_THEN_Y_TEXT = """\
z-then-y

nodes
  node   distribution                  supervision   generative         recognition   parameters
  ──────────────────────────────────────────────────────────────────────────────────────────────
  x      Bernoulli                     full          y, z                                   p 24
         [4]                                         linear

  z      Normal                        none          loc 0, scale 1     h                   q 76
         [2]                                                            mlp 8 relu
                                                                        pathwise

  y      Categorical                   partial       logits 0 learned   h, z                 p 3
         3 categories: cat, dog, owl                                    mlp 8 tanh          q 83
                                                                        enumerate

features
  h  [4]  of x, site  base (mlp 8 batch-norm relu dropout 0.5, Linear 4, Tanh)

inputs
  site  2 categories: A, B

networks
  base  mlp 8 batch-norm relu dropout 0.5, Linear 4, Tanh  used by h

products
  p(x, z, y) = p(x | y, z) p(z) p(y)
  q(z, y | x, site) = q(z | h) q(y | h, z)
  with h = base (mlp 8 batch-norm relu dropout 0.5, Linear 4, Tanh) of x, site

rows without labels
  clamped   x
  proposed  q(z | h)     pathwise
            q(y | h, z)  enumerate, 3 values
  r =       q(z | h) q(y | h, z)
  w =       1
  p =       p(x | y, z) p(z) p(y)
  bound     L = E_r[ log p(x | y, z) - KL(q(z | h) || p(z)) + log p(y) - log q(y | h, z) ]    (Eq. (8), Siddharth et al. 2017)
  terms     log p(x | y, z)        sampled
            -KL(q(z | h) || p(z))  exact (closed form)
            log p(y)               enumerated
            -log q(y | h, z)       sampled
  cost      sums out y; largest intermediate 3 numbers a row, 4 touched in all

rows with y labelled
  clamped   x, y
  proposed  q(z | h)     pathwise
  r =       q(z | h)
  w =       q(y | h, z)  varies: reads z
  p =       p(x | y, z) p(z) p(y)
  bound     L = E_r[ (w/Z) (log p(x | y, z) + log p(z) - log q(z | h) + log p(y) - log q(y | h, z)) ]    (Eq. (8), Siddharth et al. 2017)
                with Z = E_r[ w ]
                + (1 + α) E_r[ log q(y | h, z) ]
  terms     log p(x | y, z)  sampled
            log p(z)         sampled (the label of y depends on it in q)
            -log q(z | h)    sampled (the label of y depends on it in q)
            log p(y)         exact
            log q(y | h, z)  sampled (label)
  cost      1 particle a row, nothing enumerated
  warning   rows with y labelled: the weight q(y | h, z) varies with z, but with 1 sample the normalised weights are all 1 and do nothing: set objective.samples above 1

objective
  bound    elbo: Eq. (8), Siddharth et al. 2017
  samples  1 for each row
  weights  normalized: importance weights divided by their mean, w/Z
  labels   mean_log: log q averaged over the samples
  alpha    α = from 1 to 5 over 10 epochs: what log q(label) weighs in the bound of a labelled row, times γ in the loss
  rate     ρ = 0.25: the share of labelled rows in the loss; γ = ρN/((1-ρ)M) for N rows without a label and M with one
  loss     -Σ g·bound / B over a batch of B rows, g = γ for rows with a label, else 1

parameters
  p(x)           24
  p(y)            3
  q(z)           76
  q(y)           83
  network base  108
  total         294

warnings
  rows with y labelled: the weight q(y | h, z) varies with z, but with 1 sample the normalised weights are all 1 and do nothing: set objective.samples above 1"""


def made(text: str) -> Outline:
    return outline(load(parse(text).data))


def many(count: int, **objective: Any) -> Outline:
    """Make a model with many labels that one latent explains."""
    labels = {
        f"y{i}": {
            "distribution": "Normal",
            "supervision": "partial",
            "generative": {"parents": ["z"], "network": {"mlp": []}},
            "recognition": {"parents": ["x", "z"], "network": {"mlp": []}},
        }
        for i in range(count)
    }
    z = {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["x"], "network": {"mlp": []}}}
    x = {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["z"], "network": {"mlp": []}}}
    return outline(load({"version": 1, "nodes": {"x": x, "z": z, **labels}, "objective": objective}))


@pytest.mark.parametrize(("spec", "text"), [(M2, M2_TEXT), (Z_THEN_Y, Z_THEN_Y_TEXT)], ids=["m2", "z-then-y"])
def test_the_report_reads_so(spec: str, text: str) -> None:
    assert inspect_text(made(spec)) == text


def test_folded_and_coloured_it_says_the_same() -> None:
    model = made(Z_THEN_Y)
    narrow = inspect_text(model, width=80)
    assert max(map(len, narrow.split("\n"))) <= 80
    plain = [line for line in inspect_text(model).split("\n") if not line.startswith("  node ") and "─" not in line]
    tail = plain[plain.index("products") :]
    assert re.sub(r"\s+", " ", narrow).endswith(re.sub(r"\s+", " ", "\n".join(tail)))
    coloured = inspect_text(model, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == inspect_text(model)


def test_a_fold_keeps_factors_whole() -> None:
    joint, *factors = (style(each, "generative") for each in ("p(x, y)", "p(x | y, z, a)", "p(y | z)"))
    text = f"{joint} = {' '.join(factors)}"
    assert list(map(plain, fold(text, 28, "  "))) == ["p(x, y) = p(x | y, z, a)", "  p(y | z)"]
    assert " ".join(plain(line).strip() for line in fold(text, 12)) == plain(text)


def test_plain_data_tell_what_the_text_tells() -> None:
    found = inspect_json(made(Z_THEN_Y))
    assert json.loads(json.dumps(found)) == found
    assert [node["name"] for node in found["nodes"]] == ["x", "z", "y"]
    assert found["products"]["recognition"]["text"] == "q(z, y | x, site) = q(z | h) q(y | h, z)"
    assert found["products"]["recognition"]["latex"].startswith(r"q(z, y \mid x, \mathrm{site}) = q(z \mid h)")
    labelled = found["patterns"][1]
    assert labelled["observed"] == ["y"]
    assert labelled["weights"] == [{"factor": "q(y | h, z)", "varies": True, "carriers": ["z"]}]
    assert {"text": "log q(y | h, z)", "tag": "sampled", "why": "label"} in labelled["terms"]
    assert labelled["bound"]["latex"].startswith(r"\begin{aligned}")
    assert found["parameters"]["total"] == sum(found["parameters"]["parts"].values())
    assert found["objective"]["alpha"] == {"from": 1.0, "to": 5.0, "epochs": 10, "curve": "linear"}
    assert found["warnings"] == warnings(made(Z_THEN_Y)) != []


def test_of_many_patterns_some_are_shown_and_the_rest_counted() -> None:
    assert inspect_json(many(3))["patterns_left_out"] == 0
    found = inspect_json(many(5))
    assert [len(plan["observed"]) for plan in found["patterns"]] == [0, 1, 1, 1, 1, 1, 5]
    assert found["patterns_left_out"] == 25
    assert "\nand 25 more observation patterns, derived in the same way\n" in inspect_text(many(5))


def test_a_warning_of_many_patterns_is_told_once() -> None:
    found = warnings(many(3))
    assert len(found) == len(set(found)) == 3
    assert found[0] == (
        "rows with y0 labelled and 3 other patterns: the weight q(y0 | x, z) varies with z, but with 1 sample the "
        "normalised weights are all 1 and do nothing: set objective.samples above 1"
    )
    assert warnings(many(3, samples=2)) == []


def test_what_does_nothing_is_noted() -> None:
    spec = parse(
        """
        version: 1
        inputs: {site: {categories: 2}, used: {shape: [2]}}
        features:
          h: {parents: [x, g], network: {mlp: [4]}}
          g: {parents: [x, used], network: {mlp: [4]}}
        networks: {spare: {mlp: [4]}}
        nodes:
          x: {distribution: Normal, supervision: full, generative: {parents: [z], network: {mlp: []}}}
          w: {distribution: Normal, supervision: full, generative: {parents: [z], network: {mlp: []}}}
          z: {distribution: Normal, supervision: none, recognition: {parents: [x], network: {mlp: []}}}
          a: {distribution: Normal, supervision: none, recognition: {}}
        objective: {alpha: 3}
        """
    ).data
    assert warnings(outline(load(spec))) == [
        "no node reads the feature 'h': it does nothing",
        "no node reads the feature 'g': it does nothing",
        "no node reads the input 'site': it does nothing",
        "no node reads the input 'used': it does nothing",
        "no node or feature uses the network 'spare': it does nothing",
        "q(a) reads no node: it proposes the same for every row",
        "nothing observed depends on 'a', and q needs it for no other node: p of the observed nodes is the same without it",
        "q never reads 'w', though every row has it",
        "objective.alpha does nothing: no node is partially supervised",
    ]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({"alpha": {"over_rate": 0.1}, "supervision_rate": 0.5}, "α = 0.1/ρ: "),
        ({"alpha": {"y0": 2, "y1": 3}}, "α_y0 = 2, α_y1 = 3: "),
        ({"bound": "iwae", "gamma": 2}, "times γ = 2 in the loss"),
        ({"gamma": {"from": 2, "to": 0, "epochs": 4}}, "γ = from 2 to 0 over 4 epochs: what"),
        ({"gamma": {"from": 2, "to": 0, "epochs": 4}}, "g = γ for rows with a label"),
        ({"supervision_rate": {"from": 0.5, "to": 0.1, "epochs": 4}}, "ρ = from 0.5 to 0.1 over 4 epochs: the share"),
        ({"alpha": {"over_rate": {"from": 1, "to": 0.1, "epochs": 9}}}, "α = (from 1 to 0.1 over 9 epochs)/ρ: "),
        ({"kl_weight": {"from": 0, "to": 1, "epochs": 5, "curve": "cosine"}}, "from 0 to 1 over 5 epochs, cosine: "),
        ({"kl": "sampled"}, "kl       sampled"),
        ({"bound": "density"}, "bound    density: Eq. (4)"),
    ],
)
def test_the_objective_is_said_in_words(objective: dict[str, Any], words: str) -> None:
    assert words in inspect_text(many(2, **objective))


def test_p_goes_from_children_to_parents_and_q_the_other_way() -> None:
    model = many(2)
    assert product(model, "generative") == "p(x, z, y0, y1) = p(x | z) p(y0 | z) p(y1 | z) p(z)"
    assert product(model, "recognition") == "q(z, y0, y1 | x) = q(z | x) q(y0 | x, z) q(y1 | x, z)"


def test_none_of_the_shell_s_quick_answers_imports_torch() -> None:
    code = (
        "import sys; from sgc.spec.loader import load; from sgc.spec.resolver import outline\n"
        "from sgc.report.json_report import inspect_json\n"
        "from sgc.report.text_report import inspect_text\n"
        "import sgc.report.pictures.graph_pictures, sgc.report.json_schema, sgc.starter.starting_spec\n"
        "from sgc.spec.document import parse; model = outline(load(parse(sgc.starter.starting_spec.starting_spec('m')).data))\n"
        "inspect_text(model, width=80, color=True); inspect_json(model); sgc.report.json_schema.json_schema()\n"
        "print([m for m in ('torch', 'matplotlib', 'numpy', 'sklearn') if m in sys.modules])\n"
        "sgc.report.pictures.graph_pictures.dot_text(model); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[:2] == ["[]", "False"]
