"""Draws as functions of standard noise, which an exported graph takes as an input.

What torch draws in a block is replaced by a function of standard normals or uniforms. Numbers that Python reads from
tensors meanwhile are remembered, for a graph that is traced once can only repeat them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sgc.errors import ParameterError

Law: TypeAlias = Literal["normal", "uniform"]
NEAREST = 2.0**-24  # how near to 0 and 1 a uniform counts: at the ends some draws are infinite


@dataclass(frozen=True)
class Draw:
    """Standard noise behind one call of torch's: its law, its shape in one row, and what it is for, where known."""

    law: Law
    shape: tuple[int, ...]
    of: str = ""

    @property
    def short(self) -> tuple[int, ...]:
        """The shape without the axes of size 1 that the runtime lays rows out in."""
        return tuple(size for size in self.shape if size != 1)

    def sample(self, like: Tensor) -> Tensor:
        """Draw it for one row, of the type and on the device of a tensor."""
        make = torch.randn if self.law == "normal" else torch.rand
        return make(self.shape, dtype=like.dtype, device=like.device)


class DrawnFromNoise(TorchDispatchMode):
    """Replace what torch draws by functions of noise: `given`, in the order of the draws, or else noise drawn now.

    After the block, `draws` are the draws, `taken` their noise, and `read` the numbers that Python read from tensors.
    answers: given for such numbers, in their order, in place of the tensors' own.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in sgc.randomness

    def __init__(
        self, like: Tensor, given: Sequence[Tensor] | None = None, answers: Sequence[bool | float] | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.like = like
        self.given = None if given is None else list(given)
        self.answers = None if answers is None else list(answers)
        self.of = ""  # what the next draws are for
        self.draws: list[Draw] = []
        self.taken: list[Tensor] = []
        self.read: list[bool | float] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Any: as torch calls it
        kwargs = dict(kwargs or {})
        if function is torch.ops.aten._local_scalar_dense.default:
            answer = function(*args, **kwargs) if self.answers is None else self.answers.pop(0)
            self.read.append(answer)
            return answer
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **kwargs)
        packet = function.overloadpacket.__name__
        call = _CALLS.get(packet)
        if call is None:
            raise ParameterError(f"torch draws it by '{packet}', which is no function of noise of a fixed size")
        return call(self, args, kwargs)

    def noise(self, law: Law, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Give the next noise."""
        draw = Draw(law, tuple(shape), self.of)
        self.draws.append(draw)
        given = draw.sample(self.like) if self.given is None else self.given.pop(0)
        self.taken.append(given)
        value = given.to(dtype)
        return value.clamp(NEAREST, 1 - NEAREST) if law == "uniform" else value


Call: TypeAlias = Callable[[DrawnFromNoise, Any, dict[str, Any]], Tensor]  # Any: as torch calls it


def _filled(law: Law, made: Callable[[Tensor, Sequence[float]], Tensor]) -> Call:
    """Fill a tensor in place. made: of the noise and the call's numbers."""

    def call(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
        tensor: Tensor = args[0]
        return tensor.copy_(made(mode.noise(law, tensor.shape, tensor.dtype), args[1:]))

    return call


def _made_like(law: Law) -> Call:
    def call(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
        if isinstance(args[0], Tensor):
            return mode.noise(law, args[0].shape, kwargs.get("dtype") or args[0].dtype)
        return mode.noise(law, args[0], kwargs.get("dtype") or mode.like.dtype)

    return call


def _normal(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
    mean: Tensor
    mean, deviation = args[0], args[1] if len(args) > 1 else 1.0
    shape = torch.broadcast_shapes(*(value.shape for value in (mean, deviation) if isinstance(value, Tensor)))
    dtype = next(value.dtype for value in (mean, deviation) if isinstance(value, Tensor))
    return mean + deviation * mode.noise("normal", shape, dtype)


def _bernoulli(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
    tensor: Tensor = args[0]
    share: Tensor = args[1] if len(args) > 1 else kwargs.get("p", tensor)
    return (mode.noise("uniform", tensor.shape, tensor.dtype) < share).to(tensor.dtype)


def _bernoulli_(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
    tensor: Tensor = args[0]
    share: Tensor = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    return tensor.copy_(mode.noise("uniform", tensor.shape, tensor.dtype) < share)


def _multinomial(mode: DrawnFromNoise, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """Draw places by the inverse of their cumulated shares."""
    shares: Tensor = args[0]
    count: int = args[1]
    if count > 1 and not (args[2] if len(args) > 2 else kwargs.get("replacement", False)):
        raise ParameterError("torch draws it by 'multinomial' without replacement, which is no function of noise")
    uniform = mode.noise("uniform", (*shares.shape[:-1], count), shares.dtype)
    below = shares.cumsum(-1).unsqueeze(-2) <= (uniform * shares.sum(-1, keepdim=True)).unsqueeze(-1)
    return below.sum(-1).clamp(max=shares.shape[-1] - 1)


def _scaled(noise: Tensor, more: Sequence[float]) -> Tensor:
    """Move and scale noise: of no numbers, a location, or a location and a scale."""
    location, scale = (*more, *(0, 1)[len(more) :])[:2]
    return location + noise * scale


def _between(noise: Tensor, more: Sequence[float]) -> Tensor:
    low, high = (*more, *(0, 1)[len(more) :])[:2]
    return low + noise * (high - low)


def _waiting(noise: Tensor, more: Sequence[float]) -> Tensor:
    return -(-noise).log1p() / (more[0] if more else 1)


_CALLS: dict[str, Call] = {
    "normal_": _filled("normal", _scaled),
    "uniform_": _filled("uniform", _between),
    "exponential_": _filled("uniform", _waiting),
    "cauchy_": _filled("uniform", lambda noise, more: _scaled((math.pi * (noise - 0.5)).tan(), more)),
    "normal": _normal,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli_,
    "multinomial": _multinomial,
    "rand": _made_like("uniform"),
    "rand_like": _made_like("uniform"),
    "randn": _made_like("normal"),
    "randn_like": _made_like("normal"),
}
