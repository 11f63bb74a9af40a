"""Tapes: a recorded computation, with what is alike done at once and its results laid out in memory, to the bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sgc.tape.memory import Store
from sgc.tape.memory_views import View, one_after_the_other, side_by_side
from sgc.tape.operations import ELEMENTWISE, UNEVEN, aten, writing_form
from sgc.tape.recording import not_recordable, recording
from sgc.tape.tape import Tape, tape_of


def run_of(function: Any, *inputs: Tensor, moving: Sequence[Tensor] = ()) -> tuple[Any, int]:
    """Record a function of tensors, and give it as a tape's function, with the number of its operations."""
    with recording(inputs) as recorder:
        outputs = function(*inputs)
    assert not recorder.refusal
    tape = tape_of(recorder, outputs, moving)
    return tape.function(), len(tape.calls)


WEIGHT = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def product(x: Tensor) -> list[Tensor]:
    return [x.reshape(2, 1, 4).expand(2, 5, 4).reshape(-1, 4) @ WEIGHT.t(), (x.view(2, 4) @ WEIGHT.t()).neg()]


def twice(x: Tensor) -> list[Tensor]:
    return [x.exp() + x.exp(), torch.cat([x]) * 2]


def in_place(x: Tensor) -> list[Tensor]:
    made = torch.zeros_like(x)
    made[0].add_(x[1])
    made.view(-1)[1].mul_(3).add_(1)
    return [made + x, torch.zeros_like(x)]


def unused_draw(x: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    torch.empty(3).normal_(generator=generator)
    return [x + torch.empty_like(x).normal_(generator=generator)]


def tiles(x: Tensor) -> list[Tensor]:
    y = x.exp()
    (a, b), (c, d) = y.split(1), y.t().split(2)
    return [torch.cat([a, b]), torch.cat([b, a]), torch.cat([a, b], 1), torch.cat([c, d]), torch.cat([a, b, a])]


@pytest.mark.parametrize("function", [product, twice, in_place, unused_draw, tiles])
def test_a_tape_gives_what_its_function_gives(function: Any) -> None:
    one, other = torch.randn(2, 4), torch.randn(2, 4)
    run, _ = run_of(function, one)
    for each in (one, other):
        with torch.inference_mode():
            found = run(each, torch.Generator().manual_seed(0))
        assert all(torch.equal(a, b) for a, b in zip(found, function(each), strict=True))


def test_what_is_done_twice_or_for_nothing_is_left_out() -> None:
    assert run_of(twice, torch.randn(2, 4))[1] == 3  # exp, add, mul
    assert run_of(lambda x: [x.t().t().view(-1).view(2, 4).exp()], torch.randn(2, 4))[1] == 1
    assert run_of(lambda x: [x + WEIGHT.t()[0, 0], x.sin().cos()][:1], torch.randn(2, 4))[1] == 1
    assert run_of(lambda x: [torch.cat([x.exp()[:1], x.exp()[1:]]).log()], torch.randn(2, 4))[1] == 2
    assert run_of(lambda x: [(x - torch.zeros(4)) / torch.ones(2, 4) * WEIGHT.exp()[0]], torch.randn(2, 4))[1] == 1


def test_weights_that_move_in_place_are_read_as_they_are_now() -> None:
    weight, x = torch.randn(3, 4), torch.randn(2, 4)
    run, _ = run_of(lambda x: [x @ weight.t()], x, moving=[weight])
    weight.mul_(2)
    assert torch.equal(run(x, None)[0], x @ weight.t())


def test_outputs_are_memory_of_their_own() -> None:
    x = torch.randn(2, 4)
    run, _ = run_of(lambda x: [x.sum(0), x.sum(0), x, WEIGHT, x.exp()[0], x.exp()[1]], x)
    found = run(x, None)
    before = [each.clone() for each in found]
    for i, each in enumerate(found):
        each.mul_(2)
        assert all(torch.equal(a, b) for a, b in zip(found[i + 1 :], before[i + 1 :], strict=True))
    assert torch.equal(run(x, None)[3], WEIGHT)


def test_what_is_read_is_a_guard() -> None:
    x = torch.tensor([1.0, 2.0])
    with recording([x]) as recorder:
        y = x * 2 if bool((x > 0).all()) else x
    tape = tape_of(recorder, [y])
    assert [value for _, value in tape.guards] == [1]
    assert tape.function()(-x, None)[1].tolist() == [False]


def test_what_is_no_list_of_operations_is_refused() -> None:
    x = torch.tensor([1.0, 2.0])
    with recording([x]) as recorder:
        float(x.sum())
    assert recorder.refusal == "a number is read"
    with recording([x]) as recorder:
        torch.rand(2)
    assert "draws from no generator" in recorder.refusal
    with recording([x]) as recorder:
        not_recordable("a reason")
    assert recorder.refusal == "a reason"


# ---- views


def strided(rng: random.Random) -> Tensor:
    """Draw a tensor that sees memory in some way: cut, turned, repeated."""
    tensor = torch.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)
    for _ in range(rng.randint(0, 3)):
        dim = rng.randrange(tensor.dim())
        way = rng.randrange(4)
        if way == 0:
            tensor = tensor.transpose(dim, rng.randrange(tensor.dim()))
        elif way == 1 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 1, tensor.shape[dim] - 1)
        elif way == 2:
            tensor = tensor.unsqueeze(dim)
        else:
            tensor = tensor.narrow(dim, 0, 1).expand([3 if i == dim else -1 for i in range(tensor.dim())])
    return tensor


def of(view: View, memory: Tensor) -> Tensor:
    return memory.as_strided(view.shape, view.stride, view.offset)


def test_views_see_what_tensors_see() -> None:
    rng = random.Random(0)
    fitted = 0
    for _ in range(400):
        tensor = strided(rng)
        view = View.of(0, tensor)
        sizes = list(tensor.shape)
        cut = rng.randrange(len(sizes))
        wanted = (tensor[..., :1].numel() if cut == 0 else -1, *sizes[cut:]) if cut else tuple(sizes)
        shape = tuple(torch.empty(sizes).reshape(wanted).shape)
        try:
            expected = tensor.view(shape)
        except RuntimeError:
            assert view.reshaped(shape) is None
            continue
        found = view.reshaped(shape)
        assert found is not None
        assert torch.equal(of(found, tensor), expected)
        small = found.unexpanded()
        assert torch.equal(of(small, tensor).expand(shape), expected)
        fitted += 1
    assert fitted > 200


def test_pieces_are_seen_as_one_where_they_lie_so() -> None:
    rng = random.Random(1)
    memory = torch.arange(240.0)
    found = 0
    for _ in range(400):
        width, gap, start = rng.choice([1, 3]), rng.choice([0, 0, 2]), rng.randrange(4)
        counts = [rng.randint(1, 4) for _ in range(rng.randint(2, 3))]
        pieces, offset = list[View](), start
        for count in counts:
            shape, stride = (
                ((count, width), (width + gap, 1)) if rng.random() < 0.7 else ((1, count, width), (0, width + gap, 1))
            )
            pieces.append(View(0, shape, stride, offset))
            offset += count * (width + gap) + (rng.random() < 0.1)
        tensors = [of(piece, memory) for piece in pieces]
        for joined, expected in (
            (one_after_the_other([[piece] for piece in pieces]), torch.cat([each.flatten() for each in tensors])),
            (side_by_side([[piece] for piece in pieces]), torch.cat([each.flatten() for each in tensors])),
        ):
            if joined is not None:
                found += 1
                assert torch.equal(of(joined[0], memory).flatten(), expected)
    assert found > 300


# ---- operations


def arguments(function: Any, size: int) -> tuple[list[Tensor], list[Any]]:
    """Draw the tensors and numbers that an operation takes."""
    schema = function._schema.arguments
    count = sum(str(argument.type) == "Tensor" for argument in schema)
    tensors = [torch.rand(size) * 0.98 + 0.01 for _ in range(count)]
    if not any(word in str(function) for word in ("sqrt", "log", "gamma")):
        tensors = [3 * torch.randn(size), *tensors[1:]]
    if function is aten.where.self or function is aten.masked_fill.Scalar:
        tensors = [each > 0 if each is tensors[0 if function is aten.where.self else 1] else each for each in tensors]
    if function is aten.masked_fill.Scalar:
        tensors = [torch.randn(size), torch.rand(size) > 0.5]
    if "logical" in str(function) or "bitwise" in str(function):
        tensors = [each > 0.5 for each in tensors]
    numbers = {"min": -0.5, "max": 0.5, "other": 0.7, "exponent": 2, "threshold": 0, "beta": 1, "value": 0.3}
    wanted = [a for a in schema[len(tensors) :] if not a.kwarg_only and (not a.has_default_value() or a.name == "min")]
    return tensors, [numbers[argument.name] for argument in wanted]


@pytest.mark.parametrize("function", sorted(ELEMENTWISE, key=str), ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_element_comes_out_the_same_however_many_stand_beside_it(function: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size = 64 * 200
    tensors, numbers = arguments(function, size)
    tensors = [each.to(dtype) if each.is_floating_point() else each for each in tensors]
    whole = function(*tensors, *numbers)
    for width in (3, 7, 17, 33, 50):
        for start in range(0, size - width, 640):
            piece = function(*(each[start : start + width].clone() for each in tensors), *numbers)
            assert torch.equal(piece, whole[start : start + width])


@pytest.mark.parametrize("function", sorted(ELEMENTWISE | UNEVEN, key=str), ids=str)
def test_what_an_operation_writes_is_what_it_gives(function: Any) -> None:
    torch.manual_seed(0)
    tensors, numbers = arguments(function, 50)
    form = writing_form(function)
    if form is None:
        return
    expected = function(*tensors, *numbers)
    into = torch.empty_like(expected)
    call = form.function if function is not aten.mul.Scalar else torch.mul
    call(*tensors, *numbers, *form.more, **{form.name: into})
    assert torch.equal(into, expected)


# ---- random computations, of parts that go through networks together

ROWWISE: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, noise: x * noise + x,
    lambda x, noise: functional.softplus(x) + 1e-3,
    lambda x, noise: x.log_softmax(-1),
    lambda x, noise: (x.clamp(-3, 3) - x.logsumexp(-1, keepdim=True)).exp(),
    lambda x, noise: torch.where(x > 0, x, 0.1 * x),
    lambda x, noise: torch.addcmul(noise, x, x, value=-1),
    lambda x, noise: x / (1 + x * x) - 0.5,
    lambda x, noise: x.sigmoid() * x.softmax(-1),
    lambda x, noise: (x.abs() + 1).log() - x.mean(-1, keepdim=True),
]


class Computation:
    """Parts of rows, some for several particles, through two products with operations between, and the gradient."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.generator = torch.Generator()
        width = rng.choice([3, 5, 16])
        self.leads = [rng.choice([(), (1,), (2,), (3,)]) for _ in range(rng.randint(2, 3))]
        if rng.random() < 0.5:
            self.leads = self.leads[:1] * len(self.leads)
        self.rows = [rng.choice([1, 2, 7]) for _ in self.leads] if rng.random() < 0.5 else [4] * len(self.leads)
        self.weights = [torch.randn(width, width, requires_grad=True) for _ in range(2)]
        self.bias = torch.randn(width, requires_grad=True)
        self.steps = [rng.choice(ROWWISE) for _ in range(rng.randint(1, 4))]
        self.later = [rng.choice(ROWWISE) for _ in range(rng.randint(1, 3))]
        self.width, self.noisy, self.halves = width, rng.random() < 0.7, rng.random() < 0.5

    def inputs(self) -> list[Tensor]:
        return [torch.randn(rows, self.width) for rows in self.rows]

    def _noise(self, like: Tensor) -> Tensor:
        return torch.empty_like(like).normal_(generator=self.generator) if self.noisy else torch.ones_like(like)

    def _product(self, parts: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
        flat = [part.reshape(-1, self.width) for part in parts]
        out = torch.addmm(self.bias, torch.cat(flat), weight.t()).relu()
        pieces = out.split([len(each) for each in flat])
        return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        parts = [x.expand(*lead, *x.shape) for x, lead in zip(inputs, self.leads, strict=True)]
        parts = self._product(parts, self.weights[0])
        for step in self.steps:
            parts = [step(part, self._noise(part)) for part in parts]
        second = self._product(parts, self.weights[1])
        for step in self.later:
            second = [step(part, self._noise(part)) for part in second]
        bounds = [(a * b).sum(-1) for a, b in zip(parts, second, strict=True)]
        bounds = [bound.reshape(-1, bound.shape[-1]).logsumexp(0) if self.halves else bound.sum() for bound in bounds]
        loss = torch.stack([bound.sum() for bound in bounds]).sum()
        return [loss, *bounds, *torch.autograd.grad(loss, [*self.weights, self.bias], allow_unused=True)]

    def tape(self, store: Store) -> Tape:
        inputs = self.inputs()
        self.generator.manual_seed(0)
        with recording(inputs) as recorder:
            outputs = self(*inputs)
        assert not recorder.refusal
        return tape_of(recorder, outputs, [*self.weights, self.bias], store)


@pytest.mark.parametrize("seed", range(60))
def test_a_tape_of_a_random_computation_gives_the_same_bits(seed: int) -> None:
    torch.manual_seed(seed)
    store = Store()  # which both share
    computations = [Computation(seed), Computation(seed + 1000)]
    runs = [computation.tape(store).function() for computation in computations]
    for turn in range(3):
        for computation, run in zip(computations, runs, strict=True):
            inputs = computation.inputs()
            computation.generator.manual_seed(turn)
            expected = computation(*inputs)
            generator = torch.Generator().manual_seed(turn)
            with torch.inference_mode():
                found = run(*inputs, generator)
            for one, other in zip(found, expected, strict=True):
                assert one.shape == other.shape
                assert torch.equal(one, other)
            assert torch.equal(generator.get_state(), computation.generator.get_state())
            with torch.no_grad():
                for weight in computation.weights:
                    weight.mul_(0.9)


def test_what_is_alike_is_done_at_once() -> None:
    """The same operations for four parts as for three."""

    def operations(parts: int) -> int:
        weight = torch.randn(5, 5, requires_grad=True)

        def step(counts: Tensor, *inputs: Tensor) -> list[Tensor]:
            out = (torch.cat(inputs) @ weight.t()).split([len(each) for each in inputs])
            bounds = [(part.exp() * part.log_softmax(-1) - (part + 1).abs().log()).sum(-1) for part in out]
            loss = (torch.cat(bounds) * counts).sum()
            return [loss, *torch.autograd.grad(loss, [weight])]

        rows = [torch.randn(count, 5) for count in range(2, 2 + parts)]
        return run_of(step, torch.rand(sum(map(len, rows))), *rows, moving=[weight])[1]

    assert operations(4) == operations(3)


def test_results_live_in_memory_that_is_there_and_shared_in_turn() -> None:
    x = torch.randn(1000)

    def steps(x: Tensor) -> list[Tensor]:
        for _ in range(50):
            x = x.exp().neg()
        return [x]

    store = Store()
    with recording([x]) as recorder:
        outputs = steps(x)
    tape = tape_of(recorder, outputs, store=store)
    (memory,) = store.memory[x.device]
    assert memory.numel() <= 3 * x.numel() * x.element_size()
    assert not any(call.function is aten.as_strided.default for call in tape.calls)
