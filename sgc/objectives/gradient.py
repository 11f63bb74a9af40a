"""Where the gradient of a bound comes from: one class a way, and the table of those that specs name."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, final

from sgc.objectives.bound import Bound
from sgc.objectives.estimator import Estimator
from sgc.objectives.plain_draw import PlainDraw


class Gradient(ABC):
    """A way to the gradient of the expected bound."""

    name: ClassVar[str]  # as specs write it
    source: ClassVar[str] = ""
    meaning: ClassVar[str] = ""  # in a few words, for reports
    constant_weights: ClassVar[bool] = False  # whether log q of labels must not vary over the particles
    reparameterised: ClassVar[bool] = False  # whether all that is drawn has to be so by its value alone
    stops_score: ClassVar[bool] = False  # whether q's parameters are held fixed where it scores its own draws
    weighs_paths: ClassVar[bool] = False  # whether the gradient into a draw is multiplied by its normalised weight
    wakes: ClassVar[bool] = False  # whether q is trained by Σ ŵ log r in place of the bound
    same_expectation: ClassVar[bool] = True  # whether its mean is the gradient of the expected bound

    def refuse(self, bound: Bound) -> str:
        """Say why a bound cannot have it; an empty string where it can."""
        return ""

    def estimator(self, own: Estimator) -> Estimator:
        """Give the estimator that a node is proposed by, where it is `own` without this gradient."""
        return own


@final
class Total(Gradient):
    """The bound's own, through draws and scores alike."""

    name: ClassVar[str] = "total"


@final
class StickingTheLanding(Gradient):
    """Without the score of q, whose mean is 0 (Roeder et al. 2017)."""

    name: ClassVar[str] = "stl"
    source: ClassVar[str] = "Roeder et al. 2017"
    meaning: ClassVar[str] = "without the score of q, whose mean is 0"
    constant_weights: ClassVar[bool] = True
    stops_score: ClassVar[bool] = True

    def refuse(self, bound: Bound) -> str:
        """Say why a bound cannot have it: the score's mean is 0 outside logarithms alone."""
        if bound.without_score:
            return ""
        return f"leaves out a score whose mean is 0 in the elbo bound, not in {bound.name}"


@final
class DoublyReparameterised(Gradient):
    """q's gradient through draws alone, Σ_s ŵ_s² ∂ log(p/r)_s/∂z_s · ∂z_s/∂φ; p's is the bound's own.

    Unbiased, and its signal does not fade with the number of samples. Source: Tucker et al. 2019, Eq. 7.
    """

    name: ClassVar[str] = "dreg"
    source: ClassVar[str] = "Tucker et al. 2019"
    meaning: ClassVar[str] = "q learns through its draws alone, each weighed by its squared weight"
    reparameterised: ClassVar[bool] = True
    stops_score: ClassVar[bool] = True
    weighs_paths: ClassVar[bool] = True

    def refuse(self, bound: Bound) -> str:
        """Say why a bound cannot have it: it is that of log E_r[p/r]."""
        return "" if bound.importance_weighted else f"is a gradient of the iwae bound, not of {bound.name}"


@final
class ReweightedWakeSleep(Gradient):
    """Reweighted wake-sleep: p learns the bound, q by Σ ŵ ∇ log r at draws that nothing runs back through.

    It needs no reparameterised draws, and minimises KL(p(l | c) ‖ r) with weighted samples: not the bound's gradient.
    Sources: Bornschein and Bengio 2015, Eqs. 7 and 8; Le et al. 2019, Section 3.
    """

    name: ClassVar[str] = "rws"
    source: ClassVar[str] = "Bornschein and Bengio 2015; Le et al. 2019"
    meaning: ClassVar[str] = "p learns the bound, q the weighted log-likelihood of its draws"
    constant_weights: ClassVar[bool] = True
    stops_score: ClassVar[bool] = True
    wakes: ClassVar[bool] = True
    same_expectation: ClassVar[bool] = False

    def refuse(self, bound: Bound) -> str:
        """Say why a bound cannot have it: its weights are those of log E_r[p/r]."""
        return "" if bound.importance_weighted else f"takes the weights of the iwae bound, not of {bound.name}"

    def estimator(self, own: Estimator) -> Estimator:
        """Draw what is not enumerated, whatever its own gradient would be."""
        return own if own.enumerates or own.tag == "biased" else PlainDraw()


TOTAL = Total()
GRADIENTS: dict[str, Gradient] = {
    gradient.name: gradient
    for gradient in (TOTAL, StickingTheLanding(), DoublyReparameterised(), ReweightedWakeSleep())
}
