"""Corners of tapes: computations that join, place or see memory in ways that could cost a bit, or a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from sgc.tape.recording import recording
from sgc.tape.tape import tape_of

Function = Callable[..., Sequence[Tensor]]

generator = torch.Generator().manual_seed(0)
MATRIX = torch.randn(13, 13, generator=generator)
COLUMN = torch.randn(13, 1, generator=generator)
NUMBERS = torch.randn(6, generator=generator)


def alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether tensors are the same to the bit, the sign of 0 too."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) and bool((one.signbit() == other.signbit()).all())


def holds(function: Function, *kinds: tuple[tuple[int, ...], torch.dtype], moving: Sequence[Tensor] = ()) -> None:
    """Hold a tape to its function. kinds: shapes and types of the inputs."""
    torch.manual_seed(0)

    def inputs() -> list[Tensor]:
        return [torch.randn(shape, dtype=torch.float64).to(kind) for shape, kind in kinds]

    first = inputs()
    with recording(first) as recorder:
        outputs = function(*first)
    assert not recorder.refusal
    tape = tape_of(recorder, outputs, moving)
    run, answers = tape.function(), [answers for _, answers in tape.guards_together()]
    for _ in range(6):
        values = inputs()
        expected = function(*values)
        with torch.inference_mode():
            results = run(*values, None)
        guards = results[len(expected) :]
        assert all(map(torch.equal, guards, answers))
        assert all(alike(one, other) for one, other in zip(results[: len(expected)], expected, strict=True))


def of(*shape: int, kind: torch.dtype = torch.float32) -> tuple[tuple[int, ...], torch.dtype]:
    return shape, kind


DOUBLE, SHORT = torch.float64, torch.bfloat16


def a_number_for_each(x: Tensor, numbers: Tensor) -> list[Tensor]:
    scaled = numbers.exp()
    return [torch.cat([row * scaled[i] for i, row in enumerate(x.exp().split(1))])]


def products_of_pieces(x: Tensor, y: Tensor) -> list[Tensor]:
    pieces = (torch.cat([x, y]) @ MATRIX).relu().split([len(x), len(y)])
    results = [piece.exp().neg() for piece in pieces]
    return [result @ matrix for result in results for matrix in (MATRIX, COLUMN)]


def products_of_parts(x: Tensor, y: Tensor) -> list[Tensor]:
    one, other = x @ MATRIX, y @ MATRIX
    return [torch.cat([one, other]).exp(), one @ COLUMN, other @ COLUMN]


def parts_in_columns(x: Tensor, y: Tensor) -> list[Tensor]:
    one, other = x.exp() - 1, y.exp()
    return [torch.cat([one, other], 1) * 2, one.sigmoid(), one.sum(), one.std(), other @ other.t()]


def one_row_in_columns(x: Tensor, y: Tensor) -> list[Tensor]:
    one, other = x @ MATRIX, y @ MATRIX
    return [torch.cat([one, other], 1).exp(), one @ MATRIX, one.t() @ other]


def one_column(x: Tensor, z: Tensor) -> list[Tensor]:
    out = (x @ COLUMN).tanh()
    return [out.t() @ x, x.t() @ out, out.view(1, -1).exp() @ x, z @ out.view(-1, 1).exp()]


def guarded(x: Tensor) -> list[Tensor]:
    answers = x.abs() > -1
    return [x * 2 if bool(answers[0, 0]) and bool(answers[1, 0]) else x]


def pieces_of_constants(x: Tensor) -> list[Tensor]:
    column = NUMBERS.view(2, 3).t()[1, :].exp()
    rows = torch.cat([row * NUMBERS[i] for i, row in enumerate(x.split(1))])
    return [x * NUMBERS[1:3], x + NUMBERS[4], rows, x * NUMBERS[::3], x * column]


def unsafe_pieces(x: Tensor) -> list[Tensor]:
    one, other = torch.unsafe_split(x @ x.t(), 2)
    return [(x.exp().neg() * 3).tanh(), one * other, (x * 5).cos().exp()]


def turned_in_place(x: Tensor) -> list[Tensor]:
    y = x.exp()
    z = y + 1
    one = y.unsqueeze_(0).exp()
    other = y.transpose_(1, 2).contiguous()
    return [one, z, other, y * 2, y.squeeze_(0) + z.t()]


def written_elsewhere(x: Tensor) -> list[Tensor]:
    there = torch.zeros_like(x)
    torch.add(x, x.exp(), out=there)
    return [there * 2, torch.exp(there, out=there).neg()]


def powers(x: Tensor) -> list[Tensor]:
    pieces = (x @ x.t()).split([3, len(x) - 3])
    return [torch.cat([piece.abs() ** 1.5 for piece in pieces]), torch.cat([x.abs() ** 2.7, x.exp() ** 2.7], 1)]


CORNERS: dict[str, tuple[Function, list[tuple[tuple[int, ...], torch.dtype]]]] = {
    "one part": (lambda x: [torch.cat([x[:1, ::2]]) * 2, torch.cat([x.exp()[:1, ::2]])], [of(4, 8)]),
    "no rows": (lambda x: [torch.cat([part.exp() * 2 for part in x.exp().split([0, 2, 2])])], [of(4, 3)]),
    "pieces of no rows": (
        lambda x, y: [torch.cat([y, x]).exp().split([3, 0])[1] * 2 + y[:0, :1]],
        [of(0, 8), of(3, 8)],
    ),
    "less -0": (lambda x: [x * 0 - torch.tensor([-0.0, -0.0])], [of(4, 2)]),
    "numbers of another type": (a_number_for_each, [of(2, 5), of(2, kind=DOUBLE)]),
    "numbers of a longer type": (a_number_for_each, [of(2, 5, kind=SHORT), of(2)]),
    "a number of another type chosen": (
        lambda x, number: [torch.where(x > 0, x[:1, :1].expand(4, 3), number), number > x[:1, :1].expand(4, 3)],
        [of(4, 3), of(kind=DOUBLE)],
    ),
    "parts of two types": (lambda x, y: [torch.cat([x, y]) * 2, x.exp()], [of(2, 3), of(2, 3, kind=DOUBLE)]),
    "products of pieces": (products_of_pieces, [of(3, 13), of(50, 13)]),
    "products of parts": (products_of_parts, [of(3, 13), of(50, 13)]),
    "products of inputs": (lambda x, y: [torch.cat([x, y]).exp(), x @ COLUMN, y @ COLUMN], [of(3, 13), of(50, 13)]),
    "parts in columns": (parts_in_columns, [of(37, 5), of(37, 3)]),
    "one row in columns": (one_row_in_columns, [of(1, 13), of(1, 13)]),
    "one column": (one_column, [of(50, 13), of(100, 50)]),
    "guards on pieces": (guarded, [of(4, 3)]),
    "pieces of constants": (pieces_of_constants, [of(6, 2)]),
    "unsafe pieces": (unsafe_pieces, [of(4, 4)]),
    "turned in place": (turned_in_place, [of(3, 4)]),
    "written elsewhere": (written_elsewhere, [of(3, 4)]),
    "powers": (powers, [of(8, 11)]),
    "in place, of another type": (lambda x: [(x > 0).float().logical_and_(x < 1) - 0.5], [of(3, 4)]),
}


@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS.keys())
def test_a_tape_holds_in_corners(corner: tuple[Function, list[tuple[tuple[int, ...], torch.dtype]]]) -> None:
    function, kinds = corner
    holds(function, *kinds)


def test_recurrent_networks_are_recorded() -> None:
    torch.manual_seed(0)
    network, cell = nn.GRU(5, 7, batch_first=True), nn.GRUCell(5, 7)

    def steps(x: Tensor) -> list[Tensor]:
        out, last = network(x)
        state = torch.zeros(len(x), 7)
        for step in x.unbind(1):
            state = cell(step, state)
        loss = out.sum() + last.exp().sum() + state.exp().sum()
        return [loss, *torch.autograd.grad(loss, [*network.parameters(), *cell.parameters()])]

    holds(steps, of(3, 6, 5), moving=[*network.parameters(), *cell.parameters()])


@pytest.mark.parametrize(
    "function", [lambda x: [x[x > 0].sum()], lambda x: [x.masked_select(x > 0)], lambda x: [(x > 0).nonzero()]]
)
def test_what_has_a_shape_that_follows_from_values_is_refused(function: Function) -> None:
    with recording([x := torch.randn(40)]) as recorder:
        function(x)
    assert "a shape that follows from values" in recorder.refusal


def test_an_index_of_numbers_is_recorded() -> None:
    holds(lambda x: [x[torch.tensor([2, 0, 2])] * 2, x[:, torch.tensor([1])]], of(4, 3))


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_come_out_the_same_in_several_threads(threads: int) -> None:
    """Rows of a gradient of softmax, and long ones that are summed, as torch shares them between threads."""

    def long_sums(x: Tensor) -> list[Tensor]:
        return [torch.cat([part.sum(-1) for part in x.sin().split(1)])]

    def gradients(x: Tensor) -> list[Tensor]:
        leaf = x.detach().requires_grad_()
        parts = (leaf * 3).split(1)
        loss = torch.cat([(part.softmax(-1) * part.sin()).sum(-1) for part in parts]).sum()
        return list(torch.autograd.grad(loss, [leaf]))

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        holds(long_sums, of(2, 40_000))
        holds(gradients, of(30, 33))
    finally:
        torch.set_num_threads(before)
