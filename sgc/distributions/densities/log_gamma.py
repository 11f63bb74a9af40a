"""Two parts of log-gammas, for formulas where these nearly cancel; each part is right in any precision.

log Γ(x+1) is x log x − x, which is huge, less a small `log_peak(x)`. A density with several log-gammas is a sum of such
peaks and of a `deviance` from its mean, in which the huge parts have cancelled before anything is rounded. Source:
Loader 2000, "Fast and accurate computation of binomial probabilities", whose stirlerr and bd0 these are up to a log.

Both define their derivatives, for speed: torch would keep every step of both branches for its backward pass, and rows
of counts have thousands of elements.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def log_peak(x: Tensor) -> Tensor:
    """Give log(x^x e^{−x} / Γ(x+1)), of an integer the log-probability of x under the Poisson of mean x.

    x: nonnegative, any shape -> the same. About −½ log 2πx; 0 at 0.
    """
    return _functions()[0].apply(x)  # type: ignore[no-any-return]


def log_peak_slope(x: Tensor) -> Tensor:
    """Differentiate `log_peak`: log x − ψ(x+1), x positive."""
    import torch

    far = _stirling_from(x)
    small, large = x.clamp(max=far), x.clamp(min=far)
    inverse = large.reciprocal()
    return torch.where(x < far, small.log() - torch.digamma(small + 1), inverse * (inverse / 12 - 0.5))


def deviance(x: Tensor, log_mean: Tensor, mean: Tensor | None = None) -> Tensor:
    """Give x log(x / m) + m − x, which is at least 0, and m where x is 0.

    x: nonnegative, log_mean: log m; they broadcast. mean: m itself, where it is known to more digits than its log has.
    """
    return _functions()[1].apply(x, log_mean, mean)  # type: ignore[no-any-return]


def log_gamma_kernel(shape: Tensor, log_x: Tensor, x: Tensor | None = None) -> Tensor:
    """Give a log x − x − log Γ(a): the log-density of log x where x is Gamma(a, 1).

    x: itself, where it is known to more digits than its log has.
    """
    return shape.log() + log_peak(shape) - deviance(shape, log_x, x)


def log_beta_kernel(
    a: Tensor, b: Tensor, log_p: Tensor, log_q: Tensor, p: Tensor | None = None, q: Tensor | None = None
) -> Tensor:
    """Give a log p + b log q − log B(a, b), where p + q = 1: the log-density of logit p where p is Beta(a, b).

    p, q: themselves, where they are known to more digits than their logs have.
    """
    total = a + b
    log_total = total.log()
    peaks = log_peak(a) + log_peak(b) - log_peak(total)
    apart = deviance(a, log_total + log_p, None if p is None else total * p)
    apart = apart + deviance(b, log_total + log_q, None if q is None else total * q)
    return (a * b).log() - log_total + peaks - apart


def gamma_shape_kl(a: Tensor, c: Tensor) -> Tensor:
    """Give KL(Gamma(a)‖Gamma(c)) less the `deviance` of c from a's mean.

    log(a/c) + c/a − 1 + g(a) + (c − a) g'(a) − g(c), where g is `log_peak`.
    """
    ratio = c / a
    return ratio - 1 - ratio.log() + log_peak(a) - log_peak(c) + (c - a) * log_peak_slope(a)


def _stirling_from(x: Tensor) -> float:
    """Give the number from which two terms of Stirling's series are more precise than a log-gamma."""
    import torch

    return 1e5 if x.dtype == torch.float64 else 20.0


@functools.cache
def _functions() -> Any:  # Any: two classes of torch's, which is not imported before it is needed
    """Define both as functions with a derivative. They work in place: a new tensor costs more time than a sum."""
    import torch
    from torch.autograd.function import once_differentiable

    class LogPeak(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            other = (x + 1).lgamma_()
            peak = torch.xlogy(x, x).sub_(x).sub_(other)
            series = torch.log(x, out=other).add_(LOG_2PI).mul_(-0.5).sub_(x.reciprocal(), alpha=1 / 12)
            return torch.where(x < _stirling_from(x), peak, series, out=peak)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            other = (x + 1).digamma_()
            slope, inverse = x.log().sub_(other), x.reciprocal()
            series = torch.div(inverse, 12, out=other).sub_(0.5).mul_(inverse)
            return torch.where(x < _stirling_from(x), slope, series, out=slope).mul_(gradient)

    class Deviance(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, log_mean: Tensor, mean: Tensor | None) -> Tensor:
            ctx.by_log, ctx.mean_shape = mean is None, None if mean is None else mean.shape
            gap = (log_mean.exp() if mean is None else mean) - x
            ctx.save_for_backward(x, log_mean, gap)
            x = x.expand_as(gap)
            near = gap / x  # any number where x is 0, and not taken
            other = near.abs()
            inside = other < 0.5
            near.clamp_(-0.5, 0.5)
            near.sub_(torch.log1p(near, out=other)).mul_(x)
            far = torch.xlogy(x, x, out=other).addcmul_(x, log_mean, value=-1).add_(gap)
            return torch.where(inside, near, far, out=near).where(x != 0, gap)  # 0 · log m is 0, of m = 0 too

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
            x, log_mean, gap = ctx.saved_tensors
            by_x = by_log_mean = by_mean = None
            if ctx.needs_input_grad[0]:
                near = gap / x
                other = near.abs()
                inside = other < 0.5
                near.clamp_(-0.5, 0.5).log1p_().neg_()
                far = torch.clamp(x.expand_as(gap), min=torch.finfo(x.dtype).tiny, out=other).log_().sub_(log_mean)
                by_x = torch.where(inside, near, far, out=near).mul_(gradient).sum_to_size(x.shape)
            if ctx.needs_input_grad[1]:
                by_log_mean = gradient * gap if ctx.by_log else (gradient * x).neg_()
                by_log_mean = by_log_mean.sum_to_size(log_mean.shape)
            if ctx.needs_input_grad[2]:
                by_mean = gradient.sum_to_size(ctx.mean_shape)
            return by_x, by_log_mean, by_mean

    return LogPeak, Deviance
