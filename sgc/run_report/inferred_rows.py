"""What q says of held-out rows, at most some 2,000: its means of latent nodes, and its predictions of labelled ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sgc.evaluation.measurement import chunk_rows
from sgc.objectives.bounds import ELBO
from sgc.randomness import Generators, drawing_from
from sgc.runtime.finiteness import sums_without_failures
from sgc.runtime.inference import mean_of, share_below
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for

Numbers: TypeAlias = NDArray[np.float64]

ROWS = 2000  # at most
SAMPLES = 16  # of what q draws between the data and a node


@dataclass(frozen=True)
class InferredRows:
    """Rows, and what q says of them without their labels, by outer name.

    index [n]: their places in the split, ascending, of `total` rows; seed: of their choice, where not all are there.
    latents, predictions [n, *steps, *event]: q's means of nodes that are never observed, and of those with labels;
    NaN for a step that cannot exist. categories [n, *steps, *event, categories]: q's probabilities of nodes with
    categories that are never observed. below: q's probability of a value below the label, where it is known.
    """

    rows: TensorRows
    index: NDArray[np.int64]
    total: int
    seed: int
    latents: Mapping[str, Numbers]
    predictions: Mapping[str, Numbers]
    below: Mapping[str, Numbers]
    categories: Mapping[str, Numbers] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Say which rows they are."""
        if len(self.index) == self.total:
            return f"all {self.total} rows"
        return f"{len(self.index)} of {self.total} rows, drawn with the seed {self.seed}"


@torch.no_grad()
def infer_rows(model: Model, rows: TensorRows, seed: int) -> InferredRows:
    """Infer latent and labelled nodes of some rows, without showing their labels.

    Rows for which something is not finite are left out.
    """
    outline = model.outline
    generative = model.spec.maximised.generative
    latent = [n for n, v in outline.outer.items() if v.supervision == "none" and generative]
    labelled = list(rows.labelled_names)
    below_of = [name for name in labelled if outline.outer[name].categories is None]
    draw = np.random.default_rng(seed_for(seed, VALIDATION, 6))
    index = np.sort(draw.permutation(rows.count)[:ROWS]).astype(np.int64)
    means: dict[str, list[np.ndarray]] = {}
    below: dict[str, list[np.ndarray] | None] = {name: [] for name in below_of}
    kept: list[NDArray[np.int64]] = []
    size = chunk_rows(model, SAMPLES)
    with drawing_from(Generators(seed_for(seed, VALIDATION, 7))):
        for start in range(0, len(index), size):
            chunk = index[start : start + size]
            finished, _ = sums_without_failures(
                lambda group: model.sums(group, samples=SAMPLES, exact=True, bound=ELBO),
                [rows.part(chunk, frozenset())],
            )
            for part, sums in finished:
                places, posterior = chunk[part.places], Posterior(sums, outline)
                values = {n: _numbers(mean_of(posterior, n, weighted=False)) for n in [*latent, *labelled]}
                sound = posterior.sound_rows(weighted=False).cpu().numpy()
                for name, value in values.items():
                    means.setdefault(name, []).append(value[sound])
                kept.append(places[sound])
                for name in below_of:
                    shares = share_below(posterior, name, rows.take(name, places).to(rows.like))
                    so_far = below[name]
                    if shares is None or so_far is None:
                        below[name] = None
                    else:
                        so_far.append(_numbers(shares)[sound])
    joined = {name: np.concatenate(parts) for name, parts in means.items()}
    return InferredRows(
        rows=rows,
        index=np.concatenate(kept) if kept else index[:0],
        total=rows.count,
        seed=seed,
        latents={n: joined[n] for n in latent if n in joined and outline.outer[n].categories is None},
        predictions={name: joined[name] for name in labelled if name in joined},
        below={name: np.concatenate(parts) for name, parts in below.items() if parts},
        categories={n: joined[n] for n in latent if n in joined and outline.outer[n].categories is not None},
    )


def _numbers(value: torch.Tensor) -> Numbers:
    return np.asarray(value.double().cpu().numpy())
