"""The model: a torch module that holds every network of a spec and executes its plans."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from sgc.arguments import names_in, one_of, truth, whole_number
from sgc.data.annotated import is_annotated
from sgc.data.arrays import is_frame
from sgc.data.encoder import Encoder
from sgc.derivation.graph import Role
from sgc.errors import DataError, suggest
from sgc.notebook import Shown
from sgc.randomness import drawing_from
from sgc.runtime import generation as ancestral
from sgc.runtime import single_conditional, steps
from sgc.runtime.batch import PatternRows, prepare
from sgc.runtime.charges import surrogate_bound
from sgc.runtime.density_modules import AnyDensity
from sgc.runtime.finiteness import rows_words
from sgc.runtime.generation import Generated
from sgc.runtime.given_values import encode, row_weights
from sgc.runtime.inference import ANSWERS, Answer, Inference, infer, warn
from sgc.runtime.modes import evaluating, on_the_cpu, outside_inference_mode
from sgc.runtime.outcome import Outcome, merge
from sgc.runtime.plan_runner import PlanRunner, bound_named
from sgc.runtime.posterior import NodePosterior
from sgc.runtime.single_conditional import LaidValues
from sgc.runtime.sums import Sums
from sgc.schedules import value_at
from sgc.spec.outline import Outline


class Model(PlanRunner, Shown):
    """A compiled spec. `objective` trains it; `conditional`, `log_prob`, `infer` and `generate` use it."""

    notebook_view: ClassVar[str] = "sgc.report.pages.notebook_views:model_html"

    def __init__(
        self, outline: Outline, *, dtype: torch.dtype | None = None, numbers: torch.dtype | None = None
    ) -> None:
        """Build the networks, in torch's default type if no other is said, and the spec's own numbers, see `built_in`.

        Raises: UsageError, as `PlanRunner`.
        """
        super().__init__(outline, dtype=dtype, numbers=numbers)
        self.adviser: Callable[[Model, int], str] | None = None  # of a run: see `advice`
        self._advised: dict[int, str] = {}
        self.read_encoders: Callable[[], Mapping[str, Encoder]] | None = None  # of the run whose model this is

    def __repr__(self) -> str:
        """Say what it is in a few lines; `model.generative` and `model.recognition` list the layers of p and q."""
        outline, kind = self.outline, str(self.like.dtype).removeprefix("torch.")
        rows = outline.parameter_table()
        widest = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name:<{widest}}  {count:>12,}" for name, count in rows]
        head = f"Model({outline.spec.name!r}: {outline.parameter_count():,} parameters, {kind} on {self.like.device}"
        return "\n".join([head, *lines]) + ")"

    # the objective

    @on_the_cpu()
    def objective(
        self,
        batch: Mapping[str, Any],
        weights: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
        exact: bool = False,
        bound: str | None = None,
    ) -> Outcome:  # Any: whatever torch.as_tensor takes
        """Compute the derived objective of each row, for its own pattern of labels.

        loss = −Σ g·bound/B, with g = γ for rows with a label and 1 for the others, or g = `weights` [B].

        batch: by node or input, [B, *event], or [B] integer categories; missing in a row: NaN, or −1. A tensor holds
        the node's own values, after transforms, categories by place; anything else than a tensor has categories by the
        names of the spec; what a data frame holds is encoded. samples, bound: in place of the spec's. generator: where
        draws come from; the global one if None. exact: enumerate or draw the nodes that are relaxed or averaged while
        training.

        Raises: ValueError or KeyError for a batch that does not fit the model.
        """
        samples = None if samples is None else whole_number("samples", samples)
        truth("exact", exact)
        parts, size = prepare(self.outline, self._by_node(batch), self.like)
        weight_of_row = None if weights is None else row_weights(weights, size, self.like)
        with drawing_from(generator, self.like.device):
            sums = self.sums(parts, samples=samples, exact=exact, bound=bound_named(self.outline.words.bound, bound))
        settings = self.settings()
        run = list(zip(parts, sums, strict=True))
        with self.running_means.still(settings.kl_weight != 1.0):  # only what is minimised moves them
            bounds = [(part, surrogate_bound(s)) for part, s in run]
        bound_of_rows = merge(bounds, size, bounds[0][1])
        weighted = bound_of_rows
        if settings.kl_weight != 1.0:
            weighted = merge([(part, surrogate_bound(s, settings.kl_weight)) for part, s in run], size, bound_of_rows)
        if weight_of_row is None:
            weight_of_row = merge(
                [(p, self.like.new_full((p.size,), self.row_weight(p))) for p in parts], size, bound_of_rows
            )
        loss = -(weight_of_row * weighted).sum() / size
        return Outcome(loss, bound_of_rows, run, self.outline)

    def prepare(self, batch: Mapping[str, Any]) -> tuple[list[PatternRows], list[float]]:  # Any: as for objective
        """Check a batch and part it by its labels, once: `model(*model.prepare(batch))[0]` is the loss of `objective`.

        What is left of a step is then a function that torch.func can take gradients of.

        Raises: ValueError or KeyError for a batch that does not fit the model.
        """
        parts, size = prepare(self.outline, self._by_node(batch), self.like)
        return parts, [self.row_weight(part) / size for part in parts]

    def row_weight(self, part: PatternRows) -> float:
        """Return γ for rows with a label, 1 for the others."""
        gamma = self.spec.objective.gamma
        return value_at(gamma, self.epoch) if part.has_labels and gamma is not None else 1.0

    def forward(self, parts: Sequence[PatternRows], weights: Sequence[float | Tensor]) -> tuple[Tensor, list[Sums]]:
        """Compute the loss of one training step: −Σ_k Σ_i weight_ki · bound_ki, over the rows i of each part k.

        parts: prepared rows, one entry a pattern. weights: by part what a row counts, or each of its rows, [B].
        """
        sums = self.sums(parts)
        return self.loss(sums, weights), sums

    def loss(self, sums: Sequence[Sums], weights: Sequence[float | Tensor]) -> Tensor:
        """Add up the loss of a training step from the sums of its parts, see `forward`."""
        kl_weight = self.settings().kl_weight
        counts: list[Tensor] = []
        for part_sums, weight in zip(sums, weights, strict=True):
            bound = part_sums.last_bound = surrogate_bound(part_sums, kl_weight)
            counts.append(torch.as_tensor(weight, dtype=bound.dtype, device=bound.device).expand(bound.shape))
        return -(torch.cat(counts) * torch.cat([part_sums.last_bound for part_sums in sums])).sum()

    def encode(self, data: Any) -> dict[str, Tensor]:  # Any: a mapping to whatever numpy reads, or a data frame
        """Turn data as `sgc.train` takes them into a batch: categories by name, empty cells, transforms.

        data: arrays by node, or a data frame by column (by node where the spec has no data section). Columns of partial
        nodes may be absent. What transforms learned is the run's; a model that was only compiled has nothing learned.

        Raises: DataError, as for training; or a transform that learns, of a model that is not a run's.
        """
        return encode(self.outline, None if self.read_encoders is None else self.read_encoders(), data)

    def _by_node(self, batch: Any) -> Mapping[str, Any]:  # Any: as for objective, or a data frame
        """Give a batch by node, a data frame or an AnnData as `encode` reads it. Raises: ValueError."""
        if not is_frame(batch) and not is_annotated(batch):
            by_node: Mapping[str, Any] = batch
            return by_node
        try:
            return self.encode(batch)
        except DataError as problem:
            raise ValueError(str(problem)) from None

    # one conditional

    @on_the_cpu()
    def conditional(self, node: str, role: Role, values: Mapping[str, Any]) -> Distribution:  # Any: as for objective
        """Give p(node | parents) or q(node | parents) at given values: batch shape [B], event the node's.

        Features are computed from the values. Raises: KeyError or ValueError for what is unknown or missing.
        """
        return single_conditional.conditional(self, self.density(node, role), self._by_node(values))

    @on_the_cpu()
    def laid_out(self, values: Mapping[str, Any]) -> LaidValues:  # Any: as for objective
        """Lay values out once for several conditionals, see `conditional`. Raises: KeyError or ValueError."""
        return single_conditional.LaidValues(self, self._by_node(values))

    @on_the_cpu()
    def log_prob(self, node: str, role: Role, values: Mapping[str, Any]) -> Tensor:  # Any: as for objective
        """Score the node's own value under one of its conditionals: [B] nats, differentiable.

        values: the node's value and its parents'. Raises: KeyError or ValueError for what is unknown or missing.
        """
        return single_conditional.log_prob(self, self.density(node, role), self._by_node(values))

    # inference, and new rows

    @torch.no_grad()
    def infer(
        self,
        batch: Mapping[str, Any],
        *,
        samples: int = 64,
        from_: Answer = "posterior",
        generator: torch.Generator | None = None,
    ) -> dict[str, NodePosterior]:  # Any: as for objective
        """Infer every node that is not observed in a row: what is in the batch is evidence.

        from_: `posterior`, the model's, for which samples of q are weighed by p/r; or `q`, what q says given the
        labels. The mean of a step of a repeat is its mean given that it exists, and NaN where it does not.

        batch: as for `objective`. Returns, by node, `.mean` and `.sd` [B, *event] (categories as probabilities),
        `.samples` [S, B, *event] and their normalised `.weights` [S, B]. In rows where a partial node is observed, its
        mean and samples are what was observed; so are the elements that are there of a node that drops the missing
        ones, and these are filled in by p(node | parents). Of a node of a repeat all steps come by its outer name,
        [B, *steps, *event], where any of them is hidden in some row.

        Warns where rows rest on fewer than 10 effective samples, 1 / Σ_s weights², and says which answer is better by
        the validation rows of the model's run (measured once); and of rows whose scores are not finite, all NaN.

        Raises: ValueError or KeyError for a batch that does not fit the model; RunError where no row has finite scores.
        """
        with drawing_from(generator, self.like.device):
            inference = self.inference(batch, samples, from_).checked()
        warn(inference, samples, self.advice(samples) if bool(inference.few.any()) else "")
        return dict(inference.nodes)

    @torch.no_grad()
    def inference(self, batch: Mapping[str, Any], samples: int, from_: Answer) -> Inference:  # Any: as for objective
        """Infer as `infer` does; report few effective samples and rows without finite scores instead of warning."""
        samples = whole_number("samples", samples)
        one_of("from_", from_, ANSWERS)
        with on_the_cpu(), outside_inference_mode(), evaluating(self):
            return infer(self, self._by_node(batch), samples, from_)

    def advice(self, samples: int) -> str:
        """Say which answer is better by validation, q's or that of so many weighed samples; measured once."""
        if self.adviser is None:
            return "take more samples, or compare from_='q': sgc.evaluate(RUN, split='validation') measures both"
        if samples not in self._advised:
            self._advised[samples] = self.adviser(self, samples)
        return self._advised[samples]

    @torch.no_grad()
    def generate(
        self,
        count: int,
        given: Mapping[str, Any] | None = None,
        *,
        means: Collection[str] = (),
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:  # Any: a category, a number, an event or [count, *event]
        """Sample rows from the generative model, with some nodes intervened on: ancestral sampling.

        given: by node or input (those that p reads must be given): a category (by its name where the spec has
        `values`), a number, one event, or one for each row; of a node of a repeat, by its outer name, with the steps
        first or the same for each, or one of its steps. means: nodes that are given by their mean instead of a draw.
        Returns tensors [count, *event] by name, [count, *steps, *event] by outer name; categories as integers [count].
        Of a step that does not exist there is NaN, or −1; so too of rows that are not finite, of which it warns.

        Raises: ValueError or KeyError for what is unknown or does not fit; RunError where no row is finite.
        """
        with drawing_from(generator, self.like.device):
            rows = self.generation(count, given, means)
        if rows.broken:
            warnings.warn(f"not finite: {rows_words(rows.broken)}", stacklevel=3)
        return rows.values

    @torch.no_grad()
    def generation(
        self, count: int, given: Mapping[str, Any] | None = None, means: Collection[str] = ()
    ) -> Generated:  # Any: as for generate
        """Sample rows as `generate` does; report those that are not finite instead of warning."""
        count = whole_number("count", count)
        with on_the_cpu(), outside_inference_mode(), evaluating(self):
            return ancestral.generate(self, count, {} if given is None else given, names_in("means", means))

    def density(self, node: str, role: Role) -> AnyDensity:
        """Give the module of one conditional. Raises: KeyError or ValueError for one that the model has not."""
        if role not in ("generative", "recognition"):
            raise ValueError(f"role is 'generative' or 'recognition', got '{role}'")
        (node,) = names_in("node", [node])
        if node in self.outline.stepped:
            nodes = self.outline.stepped[node].nodes
            raise KeyError(f"'{node}' is a node of a repeat, with a conditional for each step: {steps.listed(nodes)}")
        if node not in self.outline.variables:
            raise KeyError(f"no node named '{node}'; {suggest(node, self.outline.variables)}")
        if role == "recognition" and node not in self.outline.recognition:
            dropped = self.outline.variables[node].dropped
            why = "where it is missing it is left out" if dropped else "it is observed in every row"
            raise KeyError(f"'{node}' has no recognition model, {why}")
        return self.machine.generative[node] if role == "generative" else self.machine.recognition[node]
