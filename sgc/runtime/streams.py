"""Rows as tensors, and the two streams that training takes its batches from (the *streams* scheme).

Each step takes B_u unlabelled and B_l labelled rows, uniformly, without replacement within a pass; passes are joined,
so that no batch is short. What a step takes follows from the seed and the step alone: a resumed run goes on as it would
have.

Rows count w_i, and those with labels γ v_i, where v_i is w_i times the weight of the row's category; both are 1 where
nothing is said. With W = Σ w_i over the N unlabelled rows, V = Σ v_i over the M labelled ones and T = W + γ V,

    J / T = (1/T) [ Σ_unlabelled w_i L̂_i + γ Σ_labelled v_i L̂_sup,i ]

is what is maximised, nats per effective row. ρ = γ V / T is the labelled rows' share of T. A step's loss

    −[ (1−ρ)/B_u Σ (w_i N/W) L̂_i + ρ/B_l Σ (v_i M/V) L̂_sup,i ]

has the mean −J/T for any B_u, B_l >= 1, since a uniformly taken row has the mean weight W/N, or V/M.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from sgc.data.block_order import BlockOrder
from sgc.data.dataset import Rows
from sgc.data.encoder import Encoder
from sgc.data.large_columns import EncodedColumn
from sgc.derivation.existence import counts_of
from sgc.runtime import steps
from sgc.runtime.batch import PatternRows, one_hot, patterns_of, share_rows
from sgc.runtime.binarization import FixedDraws, binarized
from sgc.runtime.counts import filled, known_counts, resolve_labels
from sgc.runtime.training_weights import RowWeights
from sgc.schedules import Number, ends, value_at
from sgc.shared_rows import Sharing, rows_in
from sgc.spec.outline import Outline

UNLABELLED, LABELLED, NOISE, VALIDATION, BINARIZE, PROBE, PREDICTION = 1, 2, 3, 4, 5, 6, 7  # what a seed is for


class TensorRows:
    """The rows of one split as tensors, and which of their labels are present.

    Of a node that is too large for memory, tensors are made of the rows that are taken. `encoders`, by node, made these
    values from the data and can undo this.
    """

    def __init__(
        self,
        rows: Rows,
        outline: Outline,
        like: Tensor,
        encoders: Mapping[str, Encoder] | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """Hold rows. sharing: over which processes the rows of a part are shared out; None: this one has them all."""
        self.outline, self.like, self.encoders, self.sharing = outline, like, encoders or {}, sharing
        self.count = len(rows)
        self.row_ids = rows.rows
        self.weights = rows.weights  # [N]; None: one each
        self.store = rows.store  # of the blocks that values are read from; None: nothing is
        self.dynamic = rows.dynamic
        self.names = list(rows.values)  # as data know them: all steps of a node by one
        self.values: dict[str, Tensor] = {}  # of the nodes that fit into memory
        self.columns: dict[str, EncodedColumn] = {}  # of the others
        self.draws: dict[str, FixedDraws] = {}
        for name, value in rows.values.items():
            if isinstance(value, EncodedColumn):
                self.columns[name] = value
            else:
                self.values[name] = self._tensor(name, value)
        known = {node for name in self.names for node in steps.nodes_of(outline, name)}
        self.partial = [name for name in outline.graphs.partial if name in known]  # each step by itself
        self.labels = np.zeros((self.count, len(self.partial)), dtype=bool)  # which of them each row carries
        place = {name: i for i, name in enumerate(self.partial)}
        for name in steps.outer_names(outline, self.partial):
            nodes = steps.nodes_of(outline, name)
            self.labels[:, [place[node] for node in nodes]] = self._present(name, whole=True, apart=len(nodes))
        counts = [name for name in counts_of(outline.graphs) if name in known]
        numbers = known_counts(outline, {name: self.take(name, np.arange(self.count)) for name in counts})
        # what rows are treated as carrying makes their patterns
        self.labels, self.carried = resolve_labels(outline, self.partial, self.labels, numbers)

    @property
    def labelled_names(self) -> tuple[str, ...]:
        """The nodes that rows may carry labels of, all steps of one by its outer name."""
        return steps.outer_names(self.outline, self.partial)

    def labels_of(self, name: str) -> np.ndarray:
        """Tell for each row and step of a node, in the order of its steps, whether the row carries it: [N, steps]."""
        return self.labels[:, [self.partial.index(node) for node in steps.nodes_of(self.outline, name)]]

    def categories(self, name: str) -> int | None:
        return steps.owner_of(self.outline, name).categories

    def _tensor(self, name: str, value: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        return tensor if self.categories(name) is not None else tensor.to(self.like.dtype)

    def take(self, name: str, index: np.ndarray) -> Tensor:
        """Take the values of one node in the rows at these places: [n, *event], categories as integers.

        Of a node of a repeat, [n, *steps, *event] by its outer name, or [n, *event] of one step.
        """
        if name in self.outline.outer_name:
            outer = self.outline.outer_name[name]
            if outer in self.values:
                held = steps.apart(self.outline, outer, self.values[outer])[name]
                return held.index_select(0, torch.from_numpy(index))
            return steps.apart(self.outline, outer, self.take(outer, index))[name]
        if name in self.values:
            return self.values[name].index_select(0, torch.from_numpy(index))
        value = self._tensor(name, self.columns[name].take(index))
        return self.draws[name].of(index, value) if name in self.draws else value

    def present(self, name: str, *, whole: bool = True) -> np.ndarray:
        """Tell for each row whether it carries the value of a partial node (not `whole`: any of it): [N] booleans."""
        if name not in self.outline.outer_name:
            return self._present(name, whole=whole, apart=1)[:, 0]
        outer = self.outline.outer_name[name]
        nodes = steps.nodes_of(self.outline, outer)
        return self._present(outer, whole=whole, apart=len(nodes))[:, nodes.index(name)]

    def _present(self, name: str, *, whole: bool, apart: int) -> np.ndarray:
        """Tell the same for each of `apart` equal parts of the value: [N, apart]."""
        if name in self.columns:
            chunks = (self._tensor(name, chunk) for chunk in self.columns[name].chunks())
            return np.concatenate([self._there(name, value, whole, apart) for value in chunks])
        return self._there(name, self.values[name], whole, apart)

    def _there(self, name: str, value: Tensor, whole: bool, apart: int) -> np.ndarray:
        flat = value.reshape(len(value), apart, prod(value.shape[1:]) // apart)
        known = flat != -1 if self.categories(name) is not None else ~torch.isnan(flat)
        return np.asarray((known.all(2) if whole else known.any(2)).numpy())

    def drawn_once(self, seed: int, block: int = 0) -> TensorRows:
        """Draw dynamic values once and for all, by this seed alone: those that rows are measured on.

        block: which of many blocks of rows these are, each of which draws its own.
        """
        generator = torch.Generator().manual_seed(seed_for(seed, BINARIZE, block))
        for name in sorted(self.dynamic):
            if name in self.columns:
                self.draws[name] = FixedDraws(self.columns[name].shape, self.like, generator)
            else:
                self.values[name] = binarized(self.values[name], generator)
        self.dynamic = frozenset()
        return self

    def part(
        self,
        index: np.ndarray,
        observed: frozenset[str],
        places: Tensor | None = None,
        labelled: Mapping[str, np.ndarray] | None = None,
    ) -> PatternRows:
        """Take rows as one pattern, their other labels left out; dynamic values are drawn from torch's generator.

        A label among `observed` that a row does not carry is NaN. labelled: which rows carry those labels that
        some of them do. Where rows are shared out, this process takes its own.
        """
        share = None if self.sharing is None else self.sharing.of(len(index))
        carried = {n: torch.from_numpy(mask).to(self.like.device) for n, mask in (labelled or {}).items()}
        of_all = {} if share is None else carried
        if share is not None:
            own = torch.from_numpy(share.places)
            index, places = index[share.places], own if places is None else places[own]
            carried = {name: mask[own.to(mask.device)] for name, mask in carried.items()}
        hidden = set(self.partial) - observed - carried.keys()
        with rows_in((len(index),), share):
            values = filled(self.outline, self._by_node(index, hidden))
        values |= {name: values[name].nan_to_num(0) for name in carried}
        return PatternRows(observed, len(index), places, values, carried, share, of_all)

    def _by_node(
        self, index: np.ndarray, hidden: Collection[str], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Lay the values of rows out by node, each step by itself, but for the nodes that are hidden."""
        values: dict[str, Tensor] = {}
        for name in self.names if names is None else names:
            wanted = [node for node in steps.nodes_of(self.outline, name) if node not in hidden]
            if wanted:
                by_step = steps.apart(self.outline, name, self._laid_out(name, self.take(name, index)))
                values |= {node: by_step[node] for node in wanted}
        return values

    def _laid_out(self, name: str, value: Tensor) -> Tensor:
        count = self.categories(name)
        if count is not None:
            value = one_hot(value, count, self.like.dtype)
        value = value.to(self.like.device, self.like.dtype, non_blocking=True)
        return binarized(value) if name in self.dynamic else value

    def labelled(self, part: PatternRows, index: np.ndarray) -> list[PatternRows]:
        """Give those rows of a part that carry labels with them, by pattern; the part's own values stay as they are.

        part: of the rows at `index`, without labels.
        """
        parts = []
        kinds, kind = patterns_of(self.carried[index])
        for i, carried in enumerate(kinds):
            if not carried.any():
                continue
            places = torch.from_numpy(np.flatnonzero(kind == i))
            observed = frozenset(name for name, has_label in zip(self.partial, carried, strict=True) if has_label)
            values = {name: value.index_select(0, places.to(value.device)) for name, value in part.values.items()}
            names = steps.outer_names(self.outline, sorted(observed))
            values |= self._by_node(index[places.numpy()], set(self.partial) - observed, names)
            parts.append(PatternRows(observed, len(places), places, filled(self.outline, values)))
        return parts

    def parts(self, index: np.ndarray) -> list[PatternRows]:
        """Take rows by the patterns of the labels they carry, those together that share a plan."""
        parts = []
        carried = self.carried[index]
        if bool((carried == carried[0]).all()):  # as often: there is nothing to part
            observed = frozenset(name for name, has_label in zip(self.partial, carried[0], strict=True) if has_label)
            return [self.part(index, observed)]
        for share in share_rows(self.outline.merging, self.partial, carried):
            places = None if len(share.places) == len(index) else torch.from_numpy(share.places)
            parts.append(self.part(index[share.places], share.observed, places, share.labelled))
        return parts

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """Give all rows in order, so many at a time."""
        for start in range(0, self.count, size):
            yield np.arange(start, min(start + size, self.count))


@dataclass(frozen=True)
class Stream:
    """Rows in an endless sequence of passes, each a new permutation that follows from the seed.

    Rows that stay in their files are permuted block by block, by `order`.
    """

    rows: np.ndarray  # places in the training rows
    size: int  # rows a step
    seed: int
    purpose: int
    order: BlockOrder | None = None

    def take(self, step: int) -> np.ndarray:
        """Give the rows of one step, counted from 0."""
        count = len(self.rows)
        start, stop = step * self.size, (step + 1) * self.size
        taken = []
        for number in range(start // count, (stop - 1) // count + 1):
            low, high = max(start - number * count, 0), min(stop - number * count, count)
            if self.order is not None:
                taken.append(self.order.take(number, low, high))
            else:
                taken.append(self.rows[_permutation(self.seed, self.purpose, number, count)[low:high]])
        return np.concatenate(taken)


@lru_cache(maxsize=8)
def _permutation(seed: int, purpose: int, number: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, purpose, number]).permutation(count)


@dataclass(frozen=True)
class Rates:
    """How labelled rows weigh: γ of each, and ρ = γV / (W + γV), their share of the effective rows."""

    gamma: float
    rate: float


def rates(unlabelled: float, labelled: float, gamma: float | None, rate: float | None) -> Rates:
    """Work out γ and ρ from the one that is given, once the data are known.

    unlabelled, labelled: how many rows, or what they count together, W and V.

    Raises: ValueError where a rate is given and one of the streams has no rows.

    >>> rates(900, 100, 1.0, None).rate
    0.1
    """
    if rate is not None:
        if not labelled:
            raise ValueError(f"objective.supervision_rate is {rate:g}, but no row carries a label")
        if not unlabelled:
            raise ValueError(f"objective.supervision_rate is {rate:g}, but every row carries a label: leave it out")
        return Rates(rate * unlabelled / ((1 - rate) * labelled), rate)
    weight = 1.0 if gamma is None else gamma
    total = unlabelled + weight * labelled
    if total == 0:
        raise ValueError("no row counts: there are no unlabelled rows, and gamma is 0 or there are no labelled ones")
    return Rates(weight, weight * labelled / total)


class Streams:
    """The batches of a run: for each step the parts of both streams and what a row of each part counts."""

    def __init__(
        self,
        rows: TensorRows,
        *,
        batch: tuple[int, int],
        gamma: Number | None,
        rate: Number | None,
        seed: int,
        also_unlabelled: bool = False,
        supervised: bool = False,
        weights: RowWeights | None = None,
    ) -> None:
        self.data, self.seed, self.weights = rows, seed, weights
        with_label = rows.labels.any(1)
        in_bare = np.ones(rows.count, dtype=bool) if also_unlabelled else ~with_label
        if weights is not None:  # rows that weigh nothing are left out
            any_label = bool(with_label.any())
            in_bare, with_label = in_bare & (weights.bare > 0), with_label & (weights.labelled > 0)
            if any_label and not with_label.any():
                raise ValueError(
                    "every row with a label has the weight 0, by train.weight or train.category_weights: leave such "
                    "labels out (data.labels), or give some of them a weight"
                )
        unlabelled, labelled = np.flatnonzero(in_bare), np.flatnonzero(with_label)
        if supervised:  # labelled rows alone count, whatever weight the spec gives them
            gamma, rate = 1.0, None
        self.gamma, self.rate = gamma, rate
        self.counts = (len(unlabelled), len(labelled))
        self.totals = (float(len(unlabelled)), float(len(labelled)))  # W and V
        if weights is not None:
            self.totals = (float(weights.bare[unlabelled].sum()), float(weights.labelled[labelled].sum()))
        self.rates = self.rates_at(0.0)
        sizes = (batch[0], batch[1])
        extremes = [rates(*self.totals, g, r) for g in _ends(gamma) for r in _ends(rate)]  # between them lie the others
        use_bare = any(end.rate < 1 for end in extremes) and len(unlabelled) > 0 and not supervised
        use_labelled = any(end.rate > 0 for end in extremes) and len(labelled) > 0
        if supervised and not len(labelled):
            raise ValueError("the supervised bound needs labelled rows, and no row carries a label")
        self.unlabelled = self._stream(unlabelled, sizes[0], UNLABELLED) if use_bare else None
        self.labelled = self._stream(labelled, sizes[1], LABELLED) if use_labelled or supervised else None
        self.supervised = supervised
        longest = len(unlabelled) / sizes[0] if len(unlabelled) else len(labelled) / sizes[1]
        self.steps = max(1, int(np.ceil(longest)))  # an epoch is one pass over the unlabelled rows

    def _stream(self, rows: np.ndarray, size: int, purpose: int) -> Stream:
        """Make a stream; rows that are in memory, or kept there, are permuted as a whole."""
        store, ids = self.data.store, self.data.row_ids
        if store is None or store.fill(ids[rows]):
            return Stream(rows, size, self.seed, purpose)
        return Stream(rows, size, self.seed, purpose, BlockOrder(rows, ids, store, (self.seed, purpose)))

    def rates_at(self, epoch: float) -> Rates:
        """Give γ and ρ at an epoch of their schedules."""
        gamma, rate = (None if schedule is None else value_at(schedule, epoch) for schedule in (self.gamma, self.rate))
        return rates(*self.totals, gamma, rate)

    def take(self, step: int, epoch: float | None = None) -> tuple[list[PatternRows], list[float | Tensor]]:
        """Give the parts of one step and the weight of a row in each; loss = −Σ weight · bound.

        A weight is a number where the rows of a part count alike, else [B].

        epoch: of the schedules of γ and ρ, the step's own if None. Rows that weigh nothing are left out.
        """
        parts: list[PatternRows] = []
        weights: list[float | Tensor] = []
        rate = 1.0 if self.supervised else self.rates_at(step / self.steps if epoch is None else epoch).rate
        if self.unlabelled is not None and rate < 1:
            index = self.unlabelled.take(step)
            parts.append(self.data.part(index, frozenset()))
            own = None if self.weights is None else self.weights.bare[index]
            weights.append(self._weigh(parts[-1], own, (1 - rate) / len(index), self.totals[0] / self.counts[0]))
        if self.labelled is not None and rate > 0:
            index = self.labelled.take(step)
            own = None if self.weights is None else self.weights.labelled[index]
            for part in self.data.parts(index):
                parts.append(part)
                weights.append(self._weigh(part, own, rate / len(index), self.totals[1] / self.counts[1]))
        return parts, weights

    def _weigh(self, part: PatternRows, own: np.ndarray | None, share: float, mean: float) -> float | Tensor:
        """Weigh the rows of a part by their share of the loss, and by what each counts beside the mean of its stream.

        own: what the rows of the batch count, [B].
        """
        like = self.data.like
        if own is None and part.share is None:
            return share
        if own is None:
            weights = torch.full((part.size,), share, dtype=like.dtype, device=like.device)
        else:
            weights = torch.from_numpy(own * (share / mean)).to(like.device, like.dtype)
            weights = weights if part.rows is None else weights.index_select(0, part.rows.to(like.device))
        if part.share is None:
            return weights
        return weights * torch.from_numpy(part.share.counting).to(weights)  # copies of rows count nothing


def _ends(number: Number | None) -> tuple[float | None, ...]:
    return (None,) if number is None else ends(number)


def seed_for(seed: int, purpose: int, number: int = 0) -> int:
    """Give the seed of torch's generator for one step of one purpose."""
    return int(np.random.SeedSequence([seed, purpose, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def batch_sizes(batch_size: object) -> tuple[int, int]:
    """Read rows a step of the unlabelled and the labelled stream; one number is for both."""
    if isinstance(batch_size, int):
        return batch_size, batch_size
    unlabelled, labelled = getattr(batch_size, "unlabelled", None), getattr(batch_size, "labelled", None)
    assert isinstance(unlabelled, int)
    assert isinstance(labelled, int)
    return unlabelled, labelled
