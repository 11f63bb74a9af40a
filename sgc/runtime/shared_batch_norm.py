"""Batch norms over the rows of all processes: mean, variance and their gradients are those of one process.

Source: Ioffe and Szegedy 2015; the variance is summed around the mean of all rows, so that nothing cancels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sgc.errors import UsageError
from sgc.runtime.collectives import summed
from sgc.shared_rows import RowLayout, current_layout


class SharedBatchNorm(_BatchNorm):
    """A batch norm whose rows several processes share out; alone, the one that it stands for."""

    def __init__(self, own: _BatchNorm) -> None:
        """Take the weights, the means and the variances of a batch norm, as they are."""
        super().__init__(own.num_features, own.eps, own.momentum, own.affine, own.track_running_stats, device="meta")
        self._parameters, self._buffers = own._parameters, own._buffers
        self._check_input_dim = own._check_input_dim  # type: ignore[method-assign]
        self.training = own.training

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        """Normalise [R, channels, ...] over the rows of all processes, [R, channels, ...]."""
        layout = current_layout()
        if layout is None or not (self.training or self.running_mean is None):
            result: Tensor = super().forward(input)
            return result
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        counting, count = _counting(layout, input)
        dims = [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        rows = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        mean = summed((rows * counting).sum(dims)) / count
        apart = rows - mean.reshape(shape)
        variance = summed((apart**2 * counting).sum(dims)) / count
        self._learn(mean.detach(), variance.detach(), count)
        scale = (variance + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        normal = apart * scale.reshape(shape)
        normal = normal if self.bias is None else normal + self.bias.reshape(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _learn(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running mean and variance, that of the rows without bias."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.momentum is None:
            raise UsageError(
                "a batch norm without a momentum averages over all steps: give it one for several processes"
            )
        self.running_mean.mul_(1 - self.momentum).add_(mean, alpha=self.momentum)
        self.running_var.mul_(1 - self.momentum).add_(variance, alpha=self.momentum * count / (count - 1))


def _counting(layout: RowLayout, rows: Tensor) -> tuple[Tensor, int]:
    """Give what each row here counts, to be multiplied with [R, channels, ...], and how many numbers are normalised."""
    found = layout.find(rows.shape)
    if found is None or found.axis or len(found.here) != 1:
        raise UsageError(
            f"a batch norm has an input of the shape {list(rows.shape)}: with several processes rows come first, "
            f"{list(layout.here)} and what is more"
        )
    each = rows.shape[0] // layout.here[0]  # of own layers, which make several rows of one
    counting = layout.counting.to(rows.device, torch.float32 if rows.dtype.itemsize < 4 else rows.dtype)
    counting = counting if each == 1 else counting.repeat_interleave(each)
    count = each * layout.whole[0] * math.prod(rows.shape[2:])
    if count == 1:
        raise UsageError("a batch norm needs more than one row to train on: set train.batch_size")
    return counting.reshape(-1, *(1,) * (rows.dim() - 1)), count


def share_batch_norms(model: nn.Module) -> None:
    """Put batch norms over the rows of all processes in place of a model's own."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
                setattr(module, name, SharedBatchNorm(child))
