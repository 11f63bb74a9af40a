"""Networks whose weights are shared out over the processes, by torch's FSDP2: each keeps its rows of every weight.

A layer's weights are gathered when it computes, forward and back, and let go after it; its gradient is the sum over all
processes, of which each keeps the rows that it has. So a network may be larger than a device: the largest layer has to
fit. What the optimiser keeps for a weight is shared out with it. Small things stay whole in every process: batch norms,
learned constants, recurrent layers, whose weights torch reads past their modules.

Source: Zhao et al. 2023, PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as torch_processes
from torch import Tensor, nn

from sgc.errors import ProcessLost, UsageError
from sgc.runtime.density_modules import DensityModule
from sgc.runtime.model import Model
from sgc.runtime.network_modules import ParentMaps, Trunk
from sgc.runtime.weight_files import own_state
from sgc.training.parameter_groups import moved_by
from sgc.training.processes import Processes


@dataclass(frozen=True)
class Shard:
    """The rows of a weight that a process has.

    whole: the weight, of which torch gathers all rows. own: (rows here, ...), which the optimiser moves. count: of all
    rows.
    """

    whole: nn.Parameter
    own: nn.Parameter
    count: int


class WeightShards:
    """The weights of a model's networks, each in the process that has its rows."""

    def __init__(
        self, model: Model, processes: Processes, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]
    ) -> None:
        """Share out the weights of a model that is the same in all processes, and what an optimiser keeps for them.

        In the optimiser, and in `parameters`, the rows that are here take the place of their weights.

        Raises: UsageError where torch cannot.
        """
        self.model, self.processes = model, processes
        before = dict(model.named_parameters())
        _share_out(model, processes.size)
        self.by_name: dict[str, Shard] = {}
        here: dict[int, nn.Parameter] = {}  # what is moved in place of a weight, by the identity of that one
        for name, whole in model.named_parameters():
            if whole is before[name]:
                continue
            rows: Tensor = whole.to_local()  # type: ignore[attr-defined]
            own = nn.Parameter(rows.detach(), requires_grad=whole.requires_grad)
            self.by_name[name] = Shard(whole, own, len(before[name]))
            if not whole.requires_grad:
                continue
            here[id(before[name])] = own
            state = optimizer.state.pop(before[name], {})
            if state:
                optimizer.state[own] = {
                    key: self.rows_here(value).to(own.device, copy=True) if _is_of(value, before[name]) else value
                    for key, value in state.items()
                }
        for moved in (parameters, *(group["params"] for group in optimizer.param_groups)):
            moved[:] = [here.get(id(parameter), parameter) for parameter in moved]

    # ---- gradients

    def take_gradients(self) -> None:
        """Lay the gradients that torch has summed at the rows which the optimiser moves."""
        for shard in self.by_name.values():
            gradient = shard.whole.grad
            shard.own.grad = None if gradient is None else gradient.to_local()  # type: ignore[attr-defined]
            shard.whole.grad = None

    def norm(self, others: Tensor) -> Tensor:
        """Give the norm of all gradients together. others: of those that are whole in every process."""
        own = [shard.own.grad for shard in self.by_name.values() if shard.own.grad is not None]
        squares = torch.zeros((), dtype=torch.float64, device=others.device)
        for gradient in own:
            squares += torch.linalg.vector_norm(gradient, dtype=torch.float64) ** 2
        return (self.processes.sum(squares) + others.double() ** 2).sqrt().to(others.dtype)

    # ---- weights

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors of the model that are whole here, by name, and this process's rows of the others."""
        return {
            name: self.by_name[name].own.detach() if name in self.by_name else tensor
            for name, tensor in self.model.state_dict().items()
        }

    def whole_tensors(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """Give the tensors that are whole in every process: of the model, and what an optimiser keeps for them."""
        whole = [tensor for tensor in self.model.state_dict().values() if not _is_shared_out(tensor)]
        shards = {id(shard.own) for shard in self.by_name.values()}
        states = (state.values() for weight, state in optimizer.state.items() if id(weight) not in shards)
        return [*whole, *(tensor for state in states for tensor in state if isinstance(tensor, Tensor))]

    @torch.no_grad()
    def gather_into(self, model: Model) -> None:
        """Put all weights into a model of the leader's; all processes call it together."""
        given = self.model.state_dict()
        for name, tensor in own_state(model).items():
            tensor.copy_(
                self._gathered(self.by_name[name].own, self.by_name[name]) if name in self.by_name else given[name]
            )

    @torch.no_grad()
    def gather_state(self, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:  # Any: torch's
        """Give what an optimiser keeps for each weight, whole, by place; all processes call it together."""
        shards = {id(shard.own): shard for shard in self.by_name.values()}
        states: dict[int, dict[str, Any]] = {}  # Any: torch's
        for place, parameter in enumerate(moved_by(optimizer)):
            shard, state = shards.get(id(parameter)), optimizer.state.get(parameter, {})
            if state:
                states[place] = {
                    key: self._gathered(value, shard).cpu() if shard is not None and _is_of(value, parameter) else value
                    for key, value in state.items()
                }
        return states

    def rows_here(self, whole: Tensor) -> Tensor:
        """Give this process's rows of what has a number for each number of a weight that is shared out."""
        rows = -(-len(whole) // self.processes.size)
        return whole[rows * self.processes.rank : rows * (self.processes.rank + 1)]

    def _gathered(self, own: Tensor, shard: Shard) -> Tensor:
        rows = -(-shard.count // self.processes.size)
        padded = own.new_zeros((rows, *own.shape[1:]))
        padded[: len(own)] = own.detach()
        every = [torch.empty_like(padded) for _ in range(self.processes.size)]
        try:
            torch_processes.all_gather(every, padded)
        except RuntimeError as problem:
            raise ProcessLost(str(problem)) from None
        return torch.cat(every)[: shard.count]


def _is_of(value: object, parameter: Tensor) -> bool:
    """Tell whether an optimiser's tensor has a number for each number of a weight."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape == parameter.shape


def _is_shared_out(tensor: Tensor) -> bool:
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def move_but_networks(model: Model, device: torch.device) -> None:
    """Move a model to a device, but for the weights that are shared out later, which may be too many for it.

    Raises: UsageError where they cannot be shared out.
    """
    try:
        from torch.distributed.fsdp import FSDPModule

        FSDPModule.set_force_sum_reduction_for_comms  # noqa: B018 - torch has it, or not
    except (ImportError, AttributeError):
        words = f"train.shard: torch {torch.__version__} cannot sum the gradients of shards on every device"
        raise UsageError(f"{words}: take 2.9 or later, or leave it out") from None
    model.computes_like = torch.zeros((), dtype=model.like.dtype, device=device)
    later = {id(module) for unit in _units(model) for module in unit.modules()}
    for module in model.modules():
        if id(module) not in later:
            module._apply(lambda tensor: tensor.to(device), recurse=False)


def _share_out(model: Model, size: int) -> None:
    """Let torch share out the weights of all networks, a layer at a time."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(model.like.device.type, (size,))
    for unit in _units(model):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)  # each is a root, which torch would keep whole
        unit.set_gradient_divide_factor(1.0)  # type: ignore[operator]
        unit.set_force_sum_reduction_for_comms(True)  # type: ignore[operator]  # gloo has no means


def _units(model: Model) -> Iterator[nn.Module]:
    """List the layers whose weights are shared out, each once. Raises: UsageError where two have the same weight."""
    seen: set[int] = set()
    layers: set[int] = set()
    for module in model.modules():
        networks: list[nn.Module] = [module] if isinstance(module, Trunk) else []
        if isinstance(module, DensityModule) and module.heads is not None:
            networks.append(module.heads)
        for network in networks:
            for layer in _layers(network):
                parameters = {id(parameter) for parameter in layer.parameters()}
                if id(layer) in layers:
                    continue
                if parameters & seen:
                    words = f"a layer '{type(layer).__name__}' has a weight that another layer has, too"
                    raise UsageError(f"train.shard: {words}: share the layer, or leave train.shard out")
                layers.add(id(layer))
                seen |= parameters
                yield layer


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """List the modules in one that compute with weights of their own, where torch calls them as modules."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.RNNBase | nn.RNNCellBase):
        return
    own_code = type(module).__module__.partition(".")[0] not in ("torch", "sgc")  # which may read what lies in it
    if own_code or isinstance(module, ParentMaps) or next(module.parameters(recurse=False), None) is not None:
        shapes = [parameter.shape for parameter in module.parameters()]
        if shapes and all(map(len, shapes)):
            yield module
        return
    for child in module.children():
        yield from _layers(child)
