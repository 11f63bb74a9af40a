"""What is passed from Python is held to what is wanted, and refused in a sentence; nothing is silently replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small, small_arrays

import sgc
from sgc.errors import DataError, SpecError, UsageError
from sgc.runtime.model import Model

NAN = float("nan")
X = torch.zeros(3, 3)
BATCH = {"x": X, "y": torch.tensor([0, 2, -1])}
WORDS = "'elbo', 'iwae', 'density' or 'supervised'"


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return sgc.compile(small())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    sgc.train(small(train__epochs=1), small_arrays(), output=folder)
    return folder


REFUSED: list[tuple[Callable[[Model], Any], str]] = [
    (lambda m: m.objective(BATCH, bound="IWAE"), f"bound is 'IWAE', wanted {WORDS}; did you mean 'iwae'?"),
    (lambda m: m.objective(BATCH, bound="x"), f"bound is 'x', wanted {WORDS}"),
    (lambda m: m.objective(BATCH, bound=""), f"bound is '', wanted {WORDS}"),
    (lambda m: m.plan({"y"}, bound="ELBO"), f"bound is 'ELBO', wanted {WORDS}; did you mean 'elbo'?"),
    (lambda m: m.plan({"y"}, samples=0), "samples is 0, wanted at least 1"),
    (lambda m: m.plan([1]), "observed holds 1, wanted names of nodes"),
    (lambda m: m.objective(BATCH, samples=0), "samples is 0, wanted at least 1"),
    (lambda m: m.objective(BATCH, samples=2.5), "samples is 2.5, wanted a whole number from 1 up"),
    (lambda m: m.objective(BATCH, samples=True), "samples is True, wanted a whole number from 1 up"),
    (lambda m: m.infer(BATCH, samples=None), "samples is None, wanted a whole number from 1 up"),
    (lambda m: m.infer(BATCH, samples="3"), "samples is '3', wanted a whole number from 1 up"),
    (lambda m: m.infer(BATCH, from_="Q"), "from_ is 'Q', wanted 'posterior' or 'q'; did you mean 'q'?"),
    (lambda m: m.generate(10**30), f"count is {10**30}, wanted at most 2147483647"),
    (lambda m: m.generate(2, means=[1]), "means holds 1, wanted names of nodes"),
    (lambda m: m.generate(2, given=X), "found a batch of the type 'Tensor', wanted a mapping by node, or a data frame"),
    (lambda m: m.objective(BATCH, weights=torch.ones(3, 1)), "weights have shape [3, 1], wanted [3]"),
    (lambda m: m.objective(BATCH, weights=torch.ones(2)), "weights have shape [2], wanted [3]"),
    (lambda m: m.objective(BATCH, weights=[1, None, 1]), "weights: found nan in row 1, wanted a finite number"),
    (lambda m: m.objective(BATCH, weights=np.ma.array([1.0, 2.0, 3.0], mask=[0, 0, 1])),
     "weights: found nan in row 2, wanted a finite number"),
    (lambda m: m.objective(BATCH, weights=torch.ones(3, dtype=torch.complex64)),
     "'weights' has values of the type complex64, wanted numbers"),
    (lambda m: m.objective(BATCH, weights="a"), "'weights': found a single value, wanted an array with the rows first"),
    (lambda m: m.objective(BATCH, generator=3), "generator is of the type 'int', wanted a torch.Generator"),
    (lambda m: m.infer(BATCH, generator=np.random.default_rng(0)),
     "generator is of the type 'Generator', wanted a torch.Generator"),
    (lambda m: m.objective({1: X}), "found the key 1 of the type 'int', wanted the name of a node or input"),
    (lambda m: m.objective([X]), "found a batch of the type 'list', wanted a mapping by node, or a data frame"),
    (lambda m: m.objective({"x": None}), "'x': found a single value, wanted an array with the rows first"),
    (lambda m: m.objective({"x": "much"}), "'x': found a single value, wanted an array with the rows first"),
    (lambda m: m.objective({"x": X.to_sparse()}), "'x' is a sparse, nested or quantised tensor, wanted a dense one"),
    (lambda m: m.objective({"x": X + 1j}), "'x' has values of the type complex64, wanted numbers"),
    (lambda m: m.objective({"x": X.numpy() + 1j}), "node 'x': found values of the type complex64, wanted numbers"),
    (lambda m: m.infer({"x": np.ma.array(X.numpy(), mask=True)}),
     "'x' is missing in row 0, it must be there in every row"),
    (lambda m: m.conditional("y", "Recognition", BATCH),  # type: ignore[arg-type]
     "role is 'generative' or 'recognition', got 'Recognition'"),
    (lambda m: m.conditional(None, "recognition", BATCH),  # type: ignore[arg-type]
     "node holds None, wanted names of nodes"),
    (lambda m: m.objective(BATCH, exact="no"),  # type: ignore[arg-type]
     "exact is 'no', wanted True or False"),
    (lambda m: m.objective({"x": X.to("meta")}), "'x' is a tensor on the device 'meta', which has no values"),
    (lambda m: m.objective(BATCH, weights=torch.ones(2, device="meta")),
     "'weights' is a tensor on the device 'meta', which has no values"),
    (lambda m: m.objective({"x": np.full((2, 3), np.longdouble("1e4000"))}),
     "'x': found inf in row 0 at [0], wanted a number (Normal)"),
    (lambda m: m.plan({"y"}, exact="no"),  # type: ignore[arg-type]
     "exact is 'no', wanted True or False"),
    (lambda m: m.plan(torch.tensor(1)), "observed holds tensor(1), wanted names of nodes"),
    (lambda m: m.generate(2, means=np.array(1)), "means holds array(1), wanted names of nodes"),
    (lambda m: m.generate(2, given={"y": 10**20}), f"'y' has no category '{10**20}'; it has 0 to 2"),
    (lambda m: m.objective({"x": X, "y": torch.tensor([0, 1, 1e30], dtype=torch.float64)}),
     "'y' has the category 1e+30, wanted integers from 0 to 2"),
    (lambda m: m.objective({"x": np.array([[1, 1, 1], [1, -1e300, 1]])}),
     "'x': found -1e+300 in row 1 at [1], wanted a number that 32 bits hold, up to 3.4e+38"),
    (lambda m: m.generate(2, given={"z": 1e300}),
     "'z': found 1e+300 in row 0 at [0], wanted a number that 32 bits hold, up to 3.4e+38"),
    *((lambda m, kind=kind: sgc.compile(small()).to(kind).objective(BATCH),
       f"the model's weights are of the type {str(kind).removeprefix('torch.')}, wanted float32 or float64")
      for kind in (torch.float16, torch.bfloat16)),
    (lambda m: sgc.compile(small()).to("meta").infer(BATCH), "the model is on the device 'meta', which has no values"),
    (lambda m: setattr(m, "epoch", NAN), "epoch is nan, wanted a finite number"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_model_is_asked_is_held_to_what_is_wanted(
    call: Callable[[Model], Any], message: str, model: Model
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message follows
        call(model)
    assert str(caught.value) == message


def test_whole_numbers_of_any_type_count(model: Model) -> None:
    samples = model.infer({"x": X}, samples=np.int64(2))["z"].samples
    assert samples.shape[0] == 2
    assert len(model.generate(np.uint8(4))["x"]) == 4


@pytest.mark.parametrize("kind", [">f8", ">f4", ">i2", "g", "f2", "u2", "u8", "?"])
def test_numbers_of_any_type_and_byte_order_are_numbers(kind: str, model: Model) -> None:
    numbers = np.arange(6).reshape(2, 3) % 2

    def bound(x: Any) -> torch.Tensor:
        return model.objective({"x": x}, generator=torch.Generator().manual_seed(0)).bound

    assert torch.equal(bound(numbers.astype(kind)), bound(torch.as_tensor(numbers, dtype=torch.float32)))


RUNS: list[tuple[Callable[[Path], Any], type[Exception], str]] = [
    (lambda run: sgc.evaluate(run, samples=0, data=small_arrays()), UsageError, "samples is 0, wanted at least 1"),
    (lambda run: sgc.evaluate(run, samples=2.0, data=small_arrays()), UsageError,
     "samples is 2.0, wanted a whole number from 1 up"),
    (lambda run: sgc.evaluate(None), UsageError, "path is None, wanted a path"),
    (lambda run: sgc.open(3), UsageError, "path is 3, wanted a path"),
    (lambda run: sgc.open(run, "first"), UsageError, "unknown checkpoint 'first': best or last"),
    (lambda run: sgc.load(b"a.yaml"), UsageError, "path is b'a.yaml', wanted a path"),
    (lambda run: sgc.load(small(), overrides=[3]), UsageError, "overrides holds 3, wanted texts"),
    (lambda run: sgc.train(small(), small_arrays(), output=3), UsageError, "output is 3, wanted a path"),
    (lambda run: sgc.train(small(), {1: X.numpy()}, output=run.parent / "new"), DataError,
     "found the key 1 of the type 'int', wanted the name of a node"),
    (lambda run: sgc.train(small(), small_arrays(), output="a\0"), UsageError, "output is 'a\\x00', wanted a path"),
    (lambda run: sgc.train(small(), small_arrays(), output=run, force="no"),  # type: ignore[arg-type]
     UsageError, "force is 'no', wanted True or False"),
    (lambda run: sgc.train(small(), small_arrays(), output=run, resume=True, force=True), UsageError,
     "resume=True beside force=True: go on, or start over"),
    (lambda run: sgc.train(small(), small_arrays(), output=run.parent / "new", watcher=3),  # type: ignore[arg-type]
     UsageError, "watcher is of the type 'int', wanted one with the methods note, begin, step, epoch"),
    (lambda run: sgc.evaluate(run, watch=3),  # type: ignore[arg-type]
     UsageError, "watch is 3, wanted a function"),
    (lambda run: sgc.load(small(), overrides=np.array(3)),  # type: ignore[arg-type]
     UsageError, "overrides holds array(3), wanted texts"),
    (lambda run: sgc.evaluate(run, classifier="no"),  # type: ignore[arg-type]
     UsageError, "classifier is 'no', wanted True or False"),
    *((lambda run, door=door: door(run), UsageError, "trust is 'no', wanted True or False") for door in (
        lambda run: sgc.load(small(), trust="no"),  # type: ignore[arg-type]
        lambda run: sgc.compile(sgc.load(small()), trust="no"),  # type: ignore[arg-type]
        lambda run: sgc.train(sgc.load(small()), small_arrays(), output=run, trust="no"),  # type: ignore[arg-type]
        lambda run: sgc.evaluate(run, trust="no"),  # type: ignore[arg-type]
        lambda run: sgc.open(run, trust="no"),  # type: ignore[arg-type]
    )),
    (lambda run: sgc.load({1: 2}), SpecError,
     "spec: missing key 'version'\nspec: missing key 'nodes'\nspec: expected a string as key, got integer 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), RUNS, ids=[message for _, _, message in RUNS])
def test_what_is_asked_of_runs_is_held_to_what_is_wanted(
    call: Callable[[Path], Any], kind: type[Exception], message: str, run: Path
) -> None:
    with pytest.raises(kind) as caught:
        call(run)
    assert str(caught.value) == message


def test_one_override_may_stand_without_a_list() -> None:
    assert sgc.load(small(), overrides="train.epochs=3").train.epochs == 3
