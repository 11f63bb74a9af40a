"""The generator of draws and the type of new tensors, set for a block of code and for its thread only.

torch's distributions, layers and initialisations know only torch's global generator and default type, which any other
code of the process may change. Here both are set for a block: `drawing_from` names the generator, and code that draws
does so under `draws`, which passes it on; `built_in` names the type of new tensors. Neither changes torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Generators:
    """A generator for each device that draws are made on, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._by_device: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Give the generator of a device."""
        import torch

        if device not in self._by_device:
            self._by_device[device] = torch.Generator(device).manual_seed(self.seed)
        return self._by_device[device]


Source: TypeAlias = "torch.Generator | Generators"

_source: ContextVar[Source | None] = ContextVar("source", default=None)
_type: ContextVar[torch.dtype | None] = ContextVar("type", default=None)
_number_type: ContextVar[torch.dtype | None] = ContextVar("number_type", default=None)


@contextmanager
def drawing_from(source: Source | None, device: torch.device | None = None) -> Iterator[None]:
    """Draw from this in the block; None: from the source of the code around it, or else torch's global generator.

    device: where values are drawn. Raises: ValueError for what is no generator, or one of another device.
    """
    if source is None:
        yield
        return
    _check(source, device)
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def _check(source: object, device: torch.device | None) -> None:
    import torch

    if isinstance(source, Generators):
        return
    if not isinstance(source, torch.Generator):
        raise ValueError(f"generator is of the type '{type(source).__name__}', wanted a torch.Generator")
    if device is not None and source.device.type != device.type:
        raise ValueError(f"generator is one of the device '{source.device}', and the model computes on '{device}'")


def generator_on(device: torch.device) -> torch.Generator | None:
    """Give the generator of draws on a device in this block; None: torch's global one."""
    source = _source.get()
    return source.on(device) if isinstance(source, Generators) else source


def draws() -> AbstractContextManager[Any]:  # Any: its value is not used
    """Pass the generator on to all that torch draws in the block, in the user's own distributions and layers too."""
    return nullcontext() if _source.get() is None else _drawing()()


@contextmanager
def built_in(dtype: torch.dtype, numbers: torch.dtype | None = None) -> Iterator[None]:
    """Give new tensors this floating-point type in the block, unless a call names another.

    numbers: the type of tensors that hold a number of the spec, which is never drawn; the same if None.
    """
    tokens = _type.set(dtype), _number_type.set(numbers)
    try:
        with _building()():
            yield
    finally:
        _type.reset(tokens[0])
        _number_type.reset(tokens[1])


def default_type() -> torch.dtype:
    """Give the floating-point type of new tensors in this block."""
    import torch

    return _type.get() or torch.get_default_dtype()


def number_type() -> torch.dtype:
    """Give the floating-point type of new tensors that hold a number of the spec."""
    return _number_type.get() or default_type()


@cache
def _drawing() -> type[AbstractContextManager[Any]]:
    """Give the mode in which every operation that torch marks as drawing takes the generator."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from sgc.shared_draws import shared_draw
    from sgc.shared_rows import current_layout, rows_not_shared

    aten, draws_numbers = torch.ops.aten, torch.Tag.nondeterministic_seeded

    class Drawing(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # torch imports torch._dynamo to keep it out, which takes as long as all of torch

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            device = None if draws_numbers not in function.tags else _device(args, kwargs)
            if device is None or device.type == "meta":  # where nothing has values
                return function(*args, **kwargs)
            generator = generator_on(device)
            packet, layout = function.overloadpacket, current_layout()
            if layout is not None:
                with rows_not_shared():  # in a block inside another one, a draw comes by twice
                    return shared_draw(function, args, kwargs, generator, layout)
            if packet in (aten.rand_like, aten.randn_like):
                empty = torch.empty_like(*args, **kwargs)
                fill = empty.uniform_ if packet is aten.rand_like else empty.normal_
                return fill(generator=generator)
            if packet is aten.native_dropout:
                return _dropped(generator, *args)
            names = [argument.name for argument in function._schema.arguments]
            if "generator" not in names:
                name = {"default": "generator", "low": "low_generator"}.get(function._overloadname, "")
                if name not in packet.overloads():  # fused attention, which draws where it drops, has no other way
                    return function(*args, **kwargs)
                function = getattr(packet, name)
                names = [argument.name for argument in function._schema.arguments]
            place = names.index("generator")
            if len(args) > place:
                args = (*args[:place], args[place] or generator, *args[place + 1 :])
            elif kwargs.get("generator") is None:
                kwargs["generator"] = generator
            return function(*args, **kwargs)

    def _dropped(
        generator: torch.Generator | None, value: Tensor, p: float, train: bool | None
    ) -> tuple[Tensor, Tensor]:
        """Give what dropout leaves and what it kept, as torch's fused form does, which takes no generator."""
        if train is False or p == 0:
            return value.clone(), torch.ones_like(value, dtype=torch.bool)
        mask = torch.empty_like(value).bernoulli_(1 - p, generator=generator)
        return value * mask * (1 / (1 - p) if p < 1 else 0.0), mask.bool()

    return Drawing


@cache
def _building() -> type[AbstractContextManager[Any]]:
    """Give the mode in which new tensors have the type of the block."""
    import torch
    from torch.overrides import TorchFunctionMode

    makers = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye, torch.linspace}

    class Building(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if kwargs.get("dtype") is None and (function in makers or _is_real(function, args, kwargs)):
                kwargs["dtype"] = default_type()
            return function(*args, **kwargs)

    def _is_real(function: Any, args: Any, kwargs: Any) -> bool:
        return function in (torch.tensor, torch.full) and bool(function(*args, **kwargs).is_floating_point())

    return Building


def _device(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Find the device on which a call draws: that of its tensors, or the one it names."""
    import torch

    device = next(
        (argument.device for argument in (*args, *kwargs.values()) if isinstance(argument, torch.Tensor)), None
    )
    return device or torch.device(kwargs.get("device") or torch.get_default_device())
