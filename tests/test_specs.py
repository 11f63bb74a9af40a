"""Every spec that is shipped is valid, says the same when it is written out and read again, and compiles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import sgc
from sgc.spec.loader import load
from sgc.spec.resolver import outline

pytestmark = pytest.mark.filterwarnings("ignore:.*its weights are drawn at random")  # a part's run is not shipped

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_a_shipped_spec_is_valid_and_survives_being_written_out(path: Path) -> None:
    spec = load(path)
    again = load(yaml.safe_load(yaml.safe_dump(spec.plain(), sort_keys=False)))
    assert again == spec


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_a_shipped_spec_compiles_with_as_many_parameters_as_inspect_says(path: Path) -> None:
    model = sgc.compile(load(path))
    assert sum(parameter.numel() for parameter in model.parameters()) == outline(model.spec).parameter_count()


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_pattern_of_a_shipped_spec_takes_a_step(path: Path) -> None:
    model = sgc.compile(load(path))
    inputs = model.outline.inputs.items()
    given = {name: 0 if entry.categories else torch.tensor(entry.support.legal(entry.shape)) for name, entry in inputs}
    drawn = model.generate(3, given=given)
    full = {n: drawn[n] for n, v in model.outline.outer.items() if v.supervision == "full"}
    partial = {n: drawn[n] for n, v in model.outline.outer.items() if v.supervision == "partial"}
    dropped = {n: torch.full(partial[n].shape, torch.nan) for n in model.outline.graphs.dropped}
    held = {name: drawn[name] for name in given}
    for batch in ({**full, **held, **dropped}, {**full, **held, **partial}):
        out = model.objective(batch)
        assert torch.isfinite(out.bound).all()
        model.zero_grad()
        out.loss.backward()
        known = any(bool(value.isfinite().any()) for name, value in batch.items() if name not in held)
        silent = any(q.experts is not None and q.experts.may_be_silent for q in model.outline.recognition.values())
        assert (silent and not known) or any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
