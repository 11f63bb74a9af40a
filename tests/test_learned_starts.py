"""A learned constant starts where the spec says: at one number, or at one for each element."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import torch

import sgc
from sgc.errors import SpecError
from sgc.report.json_schema import json_schema

Raw = dict[str, Any]


def spec(kind: Raw, key: str, start: Any) -> Raw:
    node = {**kind, "supervision": "full", "generative": {"parameters": {key: {"start": start, "learn": True}}}}
    return {"version": 1, "nodes": {"x": node}}


BITS: Raw = {"distribution": "Bernoulli", "shape": [2]}
CLASS: Raw = {"distribution": "Categorical", "categories": 3}
GRID: Raw = {"distribution": "Normal", "shape": [2, 2]}
PAIR: Raw = {"distribution": "MultivariateNormal", "shape": [2]}


@pytest.mark.parametrize(
    ("kind", "key", "start"),
    [
        (BITS, "probs", [0.7, 0.4]),
        (BITS, "probs", 0.7),
        (CLASS, "probs", [0.5, 0.3, 0.2]),
        (CLASS, "logits", [0.0, -1.0, 2.0]),
        (GRID, "loc", [[1.0, 2.0], [3.0, 4.0]]),
        (GRID, "scale", [[0.5, 1.0], [2.0, 4.0]]),
        (PAIR, "scale_tril", [[1.0, 0.0], [0.5, 2.0]]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learned_constant_starts_at_what_is_written(kind: Raw, key: str, start: Any, dtype: torch.dtype) -> None:
    loaded = sgc.load(spec(kind, key, start))
    assert sgc.load(loaded.plain()) == loaded
    model = sgc.compile(loaded).to(dtype)
    found = model.conditional("x", "generative", {})
    element = getattr(found, "base_dist", found)
    wanted = torch.tensor(start, dtype=dtype)
    got = getattr(element, key)
    got = got - got.mean(-1, keepdim=True) + wanted.mean() if key == "logits" else got  # torch normalises them
    torch.testing.assert_close(got.detach().squeeze(0), wanted.expand(got.shape).squeeze(0), rtol=2e-6, atol=2e-6)
    (learned,) = [each for name, each in model.named_parameters() if f"constants.{key}" in name]
    model.log_prob("x", "generative", {"x": found.sample()}).sum().backward()
    assert learned.grad is not None
    assert learned.numel() == learned.grad.count_nonzero() or key == "scale_tril"


AT = "spec: nodes.x.generative.parameters"
TRIL = "'scale_tril' of MultivariateNormal must be lower triangular with a positive diagonal"
END = "'probs' of Bernoulli cannot be learned from 1, the end of its range"


@pytest.mark.parametrize(
    ("kind", "key", "start", "message"),
    [
        (BITS, "probs", [0.7], f"{AT}.probs.start: 'probs' of 'x' got shape [1], wanted [2]"),
        (BITS, "probs", [0.7, 1.4], f"{AT}.probs.start: 'probs' of Bernoulli must be from 0 to 1, got 1.4"),
        (BITS, "probs", [0.7, 1], f"{AT}.probs.start: {END}"),
        (BITS, "probs", [0.7, "b"], f"{AT}.probs.start: expected finite numbers in evenly nested lists"),
        (CLASS, "probs", [0.7, 0.2, 0.2], f"{AT}.probs.start: 'probs' must sum to 1, got 1.1"),
        (CLASS, "probs", 0.5, f"{AT}.probs.start: 'probs' needs one number for each category, that sum to 1"),
        (GRID, "scale", [[1, 1], [1, 0]], f"{AT}.scale.start: 'scale' of Normal must be greater than 0, got 0"),
        (PAIR, "scale_tril", [[1, 1], [0, 1]],
         f"{AT}.scale_tril.start: {TRIL}"),
    ],
)  # fmt: skip
def test_a_start_that_no_constant_can_have_is_refused(kind: Raw, key: str, start: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        sgc.load(spec(kind, key, start))
    assert str(caught.value) == message


def test_the_schema_takes_both_forms() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    for start in (0.7, [0.7, 0.4]):
        assert validator.is_valid(spec(BITS, "probs", start))
    assert not validator.is_valid(spec(BITS, "probs", "half"))
