"""The bounds that specs name."""

from __future__ import annotations

from sgc.objectives.bound import Bound
from sgc.objectives.density_bound import Density
from sgc.objectives.elbo import Elbo
from sgc.objectives.iwae import Iwae
from sgc.objectives.supervised import Supervised

ELBO, IWAE = Elbo(), Iwae()
BOUNDS: dict[str, Bound] = {bound.name: bound for bound in (ELBO, IWAE, Density(), Supervised())}
