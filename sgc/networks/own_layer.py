"""A module of the user's as a layer: built and tried if trusted; it must give the shape that the spec declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sgc.errors import UsageError
from sgc.networks.layer import Joining, Shape, shape_text
from sgc.own_code import OwnCode, raised
from sgc.randomness import Generators, drawing_from, draws

if TYPE_CHECKING:
    from torch import nn

TRIED = 2  # rows that it is tried on before training


class OwnLayer(Joining):
    """What a class of the user's makes of its inputs; only the class knows how many parameters it has."""

    name: ClassVar[str] = "python"
    code: OwnCode
    args: dict[str, Any]  # Any: plain data
    output: Shape

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        return self.output or (1,)  # what follows reads a scalar as a vector of one

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        """Build it and try it on rows of zeros. What it gives in another precision is brought to the model's.

        Raises: UsageError if it is not trusted, cannot be imported or built, or gives another shape than declared or
        anything but floating-point numbers.
        """
        import torch
        from torch import Tensor, nn

        path, output = self.code.path, tuple(self.output)
        own = self.code.load(nn.Module)

        class Own(nn.Module):
            def __init__(self, inner: nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, *inputs: Tensor) -> Tensor:
                result = self.inner(*inputs)
                if not isinstance(result, Tensor):
                    raise UsageError(f"'{path}': gives a {type(result).__name__}, wanted a tensor")
                if result.shape != (len(inputs[0]), *output):
                    came = f"[rows, {', '.join(map(str, result.shape[1:]))}]" if result.dim() else "a number"
                    raise UsageError(f"'{path}': gives {came}, and the spec says output: {shape_text(output)}")
                if not result.is_floating_point():
                    raise UsageError(f"'{path}': gives {result.dtype}, wanted floating-point numbers")
                if not torch.is_autocast_enabled(result.device.type):  # which mixes precisions, and knows what it does
                    result = result.to(inputs[0].dtype)
                return result.reshape(len(result), *(output or (1,)))

        step = f"{path.partition(':')[2]}({', '.join(self.args)})"
        try:
            module = Own(own(**self.args))
            step = f"a call with {', '.join('[rows' + ''.join(f', {n}' for n in shape) + ']' for shape in shapes)}"
            training = module.training
            with drawing_from(Generators(0)), draws(), torch.no_grad():
                module.eval()(*(torch.zeros(TRIED, *shape) for shape in shapes))
            return module.train(training)
        except UsageError:
            raise
        except (Exception, SystemExit) as problem:  # whatever the user's class may raise
            raise UsageError(f"'{path}': tried {step}: {raised(problem)}") from None
