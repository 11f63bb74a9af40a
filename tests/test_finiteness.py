"""Rows whose scores are no finite numbers are found and told by their term, and by nothing of the other rows."""

from __future__ import annotations

import math

import pytest
import torch
from oracle import compiled
from small_runs import small

from sgc.runtime.batch import prepare
from sgc.runtime.finiteness import explain_rows, sums_without_failures
from sgc.runtime.group import Group
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.sums import Sums


def broken_rows(model: Model, x: torch.Tensor) -> tuple[dict[int, str], list[Group]]:
    parts, _ = prepare(model.outline, {"x": x}, model.like)
    torch.manual_seed(0)
    done, found = sums_without_failures(lambda some: model.sums(some, samples=5, exact=True, bound="iwae"), parts)
    for part, sums in done:
        here = explain_rows(sums.group, ~torch.isfinite(Posterior(sums, model.outline).log_evidence))
        found |= {part.places[place]: reason for place, reason in here.items()}
    return found, [sums.group for _, sums in done]


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_is_broken_by_its_own_numbers_alone(
    dtype: torch.dtype, validate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", validate)
    model = compiled(small(), 0, 0.4).to(dtype)
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert broken_rows(model, x)[0] == {}
    x[2] = 1e25 if dtype == torch.float32 else 1e200  # its square is beyond the largest number
    x[7, 1] = torch.finfo(dtype).max  # beyond it after the first layer: torch refuses q's parameters, NaN
    found, _ = broken_rows(model, x)
    assert sorted(found) == [2, 7]
    for row in range(9):
        alone, _ = broken_rows(model, x[[row]])
        assert list(alone.values()) == ([found[row]] if row in found else [])
    assert found[2] == "node 'x': log p is not finite"
    assert found[7].startswith("node '")


def test_what_is_no_fault_of_a_row_is_raised() -> None:
    model = compiled(small(), 0, 0.4)
    parts, _ = prepare(model.outline, {"x": torch.zeros(4, 3)}, model.like)

    def run(_: object) -> list[Sums]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        sums_without_failures(run, parts)


def test_a_value_that_is_impossible_in_some_particles_breaks_no_row() -> None:
    model = compiled(small(), 0, 0.4)
    _, (group,) = broken_rows(model, torch.zeros(3, 3))
    score = group.scores["z", "recognition"].tensor
    assert score.shape[-2:] == (5, 3)
    nothing = torch.zeros(3, dtype=torch.bool)
    assert explain_rows(group, nothing) == {}
    score[..., :4, 0] = -math.inf  # the fifth particle is left
    score[..., 1] = -math.inf
    score[..., 2, 2] = math.nan
    assert explain_rows(group, ~nothing) == {
        0: "the scores of all particles together are not finite, though each term is",
        1: "node 'z': log q is not finite",
        2: "node 'z': log q is not finite",
    }
