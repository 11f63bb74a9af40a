"""Named special cases, written by hand from their published formulas in plain torch: M2, VAE, IWAE and ADGM.

The compiled weights are copied into `nn.Linear` layers on concatenated inputs; the loss and its gradient must be the
same to 1e-9. The noise is replayed from the generator: one standard normal draw, [*enumerated, S, B, *event].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from oracle import Raw, assert_same, with_objective
from torch import Tensor, nn
from torch.nn import functional

import sgc
from sgc.runtime.model import Model

SPECS = Path(__file__).parents[1] / "specs"


pytestmark = pytest.mark.usefixtures("double_precision")


# ---- plain networks -------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """A conditional of a compiled model as a stack of `nn.Linear`, ReLU between, on its parents side by side."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        named = dict(compiled.named_parameters())
        first = "trunk.first." if "trunk.first.bias" in named else "heads."
        split = [named[name] for name in named if name.startswith(f"{first}weights.")]
        self.origins: list[tuple[list[nn.Parameter], nn.Parameter]] = [(split, named[f"{first}bias"])]
        rest = sorted(
            {name.rsplit(".", 1)[0] for name in named if not name.startswith(first)},
            key=lambda name: (name.startswith("heads"), name),
        )
        self.origins += [([named[f"{name}.weight"]], named[f"{name}.bias"]) for name in rest]
        self.layers = nn.ModuleList()
        for weights, bias in self.origins:
            joined = torch.cat(list(weights), 1)
            layer = nn.Linear(joined.shape[1], joined.shape[0])
            with torch.no_grad():
                layer.weight.copy_(joined)
                layer.bias.copy_(bias)
            self.layers.append(layer)

    def forward(self, *parents: Tensor) -> Tensor:
        value = torch.cat(parents, -1)
        for i, layer in enumerate(self.layers):
            value = layer(value if i == 0 else torch.relu(value))
        return value

    def normal(self, *parents: Tensor) -> tuple[Tensor, Tensor]:
        """Give location and scale, softplus of the second half."""
        location, raw = self(*parents).chunk(2, -1)
        return location, functional.softplus(raw)

    def assert_same_gradients(self, tolerance: float = 1e-9) -> None:
        for (weights, bias), layer in zip(self.origins, self.layers, strict=True):
            assert isinstance(layer, nn.Linear)
            joined = torch.cat([_grad(weight) for weight in weights], 1)
            scale = max(1.0, float(_grad(layer.weight).abs().max()))
            assert float((joined - _grad(layer.weight)).abs().max()) <= tolerance * scale
            assert float((_grad(bias) - _grad(layer.bias)).abs().max()) <= tolerance * scale


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def part(model: Model, role: str, name: str) -> Plain:
    module = getattr(model, role)[f"{name}_"]
    assert isinstance(module, nn.Module)
    return Plain(module)


def log_bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of bits, summed over the last axis."""
    return -functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def log_normal(value: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    terms = -0.5 * ((value - location) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
    return terms.sum(-1)


def kl_to_standard(location: Tensor, scale: Tensor) -> Tensor:
    """Kingma and Welling 2014, appendix B: −½ Σ (1 + log σ² − μ² − σ²)."""
    return -0.5 * (1 + (scale**2).log() - location**2 - scale**2).sum(-1)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.normal(torch.zeros(shape), torch.ones(shape), generator=torch.Generator().manual_seed(seed))


def made(spec: Raw | Path, seed: int = 0, spread: float | None = 0.8) -> Model:
    model = sgc.compile(sgc.load(spec))
    generator = torch.Generator().manual_seed(seed)
    if spread is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def bits(seed: int, *shape: int) -> Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(torch.get_default_dtype())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- M2 -------------------------------------------------------------------------------------------------------------

CLASSES = 5
M2: Raw = {
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [1, 4, 4],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [7, 6]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": CLASSES,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [6]}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [3],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [6]}},
        },
    },
}


class HandWrittenM2:
    """Kingma et al. 2014, Eqs. 6 to 9: L(x, y), U(x), J and J^α, as they stand in the paper, with a uniform p(y)."""

    def __init__(self, model: Model, classes: int) -> None:
        self.decoder = part(model, "generative", "x")
        self.classifier = part(model, "recognition", "y")
        self.encoder = part(model, "recognition", "z")
        self.classes = classes
        self.parts = (self.decoder, self.classifier, self.encoder)

    def labelled(self, x: Tensor, y: Tensor, epsilon: Tensor) -> Tensor:
        """Eq. 6: −L(x, y) = E_q(z|x,y) [log p(x|y,z) + log p(y)] − KL(q(z|x,y) ‖ p(z)). epsilon: [S, B, Z] -> [B]."""
        location, scale = self.encoder.normal(x, y)
        z = location + scale * epsilon
        log_x = log_bernoulli(self.decoder(y.expand(*z.shape[:-1], -1), z), x)
        return -(log_x.mean(0) - math.log(self.classes) - kl_to_standard(location, scale))

    def unlabelled(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """Eq. 7: −U(x) = Σ_y q(y|x) (−L(x, y)) + H(q(y|x)). epsilon: [K, S, B, Z] -> [B]."""
        log_q = torch.log_softmax(self.classifier(x), -1)
        total = torch.zeros(len(x))
        for k in range(self.classes):
            y = functional.one_hot(torch.full((len(x),), k), self.classes).to(x.dtype)
            total = total + log_q[:, k].exp() * (-self.labelled(x, y, epsilon[k]) - log_q[:, k])
        return -total

    def classification(self, x: Tensor, y: Tensor) -> Tensor:
        """The last term of Eq. 9: −log q(y|x)."""
        return -(torch.log_softmax(self.classifier(x), -1) * y).sum(-1)


def check_m2(model: Model, shape: Sequence[int], classes: int, latent: int, alpha: float, samples: int) -> None:
    rows = 4
    x_u, x_l = bits(1, rows, *shape), bits(2, rows, *shape)
    labels = torch.arange(rows) % classes
    got_u = model.objective({"x": x_u}, samples=samples, generator=seeded(5))
    got_l = model.objective({"x": x_l, "y": labels}, samples=samples, generator=seeded(6))
    byhand = HandWrittenM2(model, classes)
    y = functional.one_hot(labels, classes).to(x_l.dtype)
    u = byhand.unlabelled(x_u.flatten(1), noise(5, classes, samples, rows, latent))
    l_rows = byhand.labelled(x_l.flatten(1), y, noise(6, samples, rows, latent))
    l_alpha = l_rows + alpha * byhand.classification(x_l.flatten(1), y)
    assert_same(got_u.bound, -u)
    assert_same(got_l.bound, -l_alpha)
    model.zero_grad()
    (got_u.loss * rows + got_l.loss * rows).backward()  # Eq. 9: J^α = Σ L + Σ U + α Σ −log q(y|x), all of γ = 1
    (l_alpha.sum() + u.sum()).backward()
    for each in byhand.parts:
        each.assert_same_gradients()


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 50.0])
def test_m2_is_kingmas_objective(alpha: float, samples: int) -> None:
    check_m2(made(with_objective(M2, alpha=alpha)), (1, 4, 4), CLASSES, 3, alpha, samples)


@pytest.mark.parametrize("words", [{"label_term": "log_mean"}, {"weights": "none"}])
def test_m2_has_no_varying_weight_so_that_words_about_it_change_nothing(words: Raw) -> None:
    check_m2(made(with_objective(M2, alpha=2.0, **words)), (1, 4, 4), CLASSES, 3, 2.0, 2)


def test_m2_in_one_mixed_batch_with_gamma() -> None:
    """Rows with and without y in one batch, at a q(z|x,y) so narrow that the noise does not show: 1e-6."""
    spec = with_objective(M2, alpha=3.0, gamma=2.5, kl="auto")
    z = spec["nodes"]["z"]
    z = {**z, "recognition": {**z["recognition"], "parameters": {"scale": 1e-9}}}
    model = made({**spec, "nodes": {**spec["nodes"], "z": z}})
    byhand = HandWrittenM2(model, CLASSES)
    location = byhand.encoder.forward
    byhand.encoder.normal = lambda *parents: (  # type: ignore[method-assign]
        location(*parents),
        torch.full_like(location(*parents), 1e-9),
    )
    x = bits(3, 6, 1, 4, 4)
    labels = torch.tensor([2, -1, 0, -1, -1, 4])
    has = labels >= 0
    y = functional.one_hot(labels[has], CLASSES).to(x.dtype)
    wanted = torch.zeros(6)
    flat = x.flatten(1)
    nothing = torch.zeros(1, 1, 3)
    wanted[has] = -byhand.labelled(flat[has], y, nothing) - 3.0 * byhand.classification(flat[has], y)
    wanted[~has] = -byhand.unlabelled(flat[~has], nothing.expand(CLASSES, 1, 1, 3))
    out = model.objective({"x": x, "y": labels})
    assert_same(out.bound, wanted, 1e-6)
    assert_same(out.loss, -(torch.where(has, 2.5, 1.0) * wanted).sum() / 6, 1e-6)


def test_the_m2_of_the_specs_is_kingmas_at_full_size() -> None:
    spec = yaml.safe_load((SPECS / "mnist-m2.yaml").read_text(encoding="utf-8"))
    for node in spec["nodes"].values():
        for conditional in ("generative", "recognition"):
            node.get(conditional, {}).get("network", {}).pop("norm", None)  # by hand there are linear layers alone
    [latent] = spec["nodes"]["z"]["shape"]
    model = made({**spec, "objective": {**spec["objective"], "kl_weight": 1}}, spread=None).eval()  # without dropout
    check_m2(model, (1, 28, 28), 10, latent, spec["objective"]["alpha"], 1)  # its rate leaves γ at 1 here


# ---- VAE and IWAE ---------------------------------------------------------------------------------------------------

VAE: Raw = {
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [9],
            "supervision": "full",
            "generative": {"parents": ["z"], "network": {"mlp": [6]}},
        },
        "z": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["x"], "network": {"mlp": [6]}},
        },
    },
}


def check(model: Model, loss: Tensor, wanted: Tensor, parts: Sequence[Plain]) -> None:
    assert_same(loss, wanted)
    model.zero_grad()
    loss.backward()
    wanted.backward()
    for each in parts:
        each.assert_same_gradients()


@pytest.mark.parametrize("samples", [1, 4])
def test_a_vae_is_kingma_and_wellings(samples: int) -> None:
    """Kingma and Welling 2014, Eq. 7: −KL(q(z|x)‖p(z)) + (1/L) Σ log p(x|z)."""
    model = made(VAE)
    x = bits(1, 6, 9)
    out = model.objective({"x": x}, samples=samples, generator=seeded(2))
    decoder, encoder = part(model, "generative", "x"), part(model, "recognition", "z")
    location, scale = encoder.normal(x)
    z = location + scale * noise(2, samples, 6, 2)
    bound = log_bernoulli(decoder(z), x).mean(0) - kl_to_standard(location, scale)
    assert_same(out.bound, bound)
    check(model, out.loss, -bound.mean(), (decoder, encoder))


@pytest.mark.parametrize("samples", [1, 7])
def test_an_iwae_is_burdas(samples: int) -> None:
    """Burda et al. 2016, Eq. 8: log (1/k) Σ p(x, z_i) / q(z_i | x)."""
    model = made(with_objective(VAE, bound="iwae"))
    x = bits(1, 6, 9)
    out = model.objective({"x": x}, samples=samples, generator=seeded(2))
    decoder, encoder = part(model, "generative", "x"), part(model, "recognition", "z")
    location, scale = encoder.normal(x)
    z = location + scale * noise(2, samples, 6, 2)
    zero, one = torch.zeros(()), torch.ones(())
    log_ratio = log_bernoulli(decoder(z), x) + log_normal(z, zero, one) - log_normal(z, location, scale)
    bound = log_ratio.logsumexp(0) - math.log(samples)
    assert_same(out.bound, bound)
    check(model, out.loss, -bound.mean(), (decoder, encoder))


def test_one_importance_sample_is_a_vae_without_the_closed_form() -> None:
    vae, iwae = made(with_objective(VAE, kl="sampled")), made(with_objective(VAE, bound="iwae"))
    x = bits(1, 6, 9)
    bounds = [model.objective({"x": x}, generator=seeded(2)).bound for model in (vae, iwae)]
    assert_same(bounds[0], bounds[1])


# ---- ADGM -----------------------------------------------------------------------------------------------------------

ADGM: Raw = {
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [9],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [6]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 4,
            "supervision": "partial",
            "recognition": {"parents": ["x", "a"], "network": {"mlp": [6]}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [3],
            "supervision": "none",
            "recognition": {"parents": ["x", "y", "a"], "network": {"mlp": [6]}},
        },
        "a": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "generative": {"parents": ["x", "y", "z"], "network": {"mlp": [6]}},
            "recognition": {"parents": ["x"], "network": {"mlp": [6]}},
        },
    },
}


class HandWrittenADGM:
    """Maaløe et al. 2016, Eqs. 8 to 12, every term by the draws: q(a|x) q(y|a,x) q(z|a,y,x), p(a|x,y,z) p(x|y,z)."""

    def __init__(self, model: Model) -> None:
        self.decoder, self.auxiliary = part(model, "generative", "x"), part(model, "generative", "a")
        self.classifier, self.encoder = part(model, "recognition", "y"), part(model, "recognition", "z")
        self.proposal = part(model, "recognition", "a")
        self.parts = (self.decoder, self.auxiliary, self.classifier, self.encoder, self.proposal)

    def draw_a(self, x: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        location, scale = self.proposal.normal(x)
        a = location + scale * epsilon
        return a, log_normal(a, location, scale)

    def log_ratio(self, x: Tensor, y: Tensor, a: Tensor, epsilon: Tensor) -> Tensor:
        """log p(x, y, z, a) − log q(z | a, y, x), [S, B]."""
        lead = a.shape[:-1]
        x, y = x.expand(*lead, -1), y.expand(*lead, -1)
        location, scale = self.encoder.normal(x, y, a)
        z = location + scale * epsilon
        log_p = log_bernoulli(self.decoder(y, z), x) - math.log(y.shape[-1])
        log_p = log_p + log_normal(z, torch.zeros(()), torch.ones(()))
        log_p = log_p + log_normal(a, *self.auxiliary.normal(x, y, z))
        return log_p - log_normal(z, location, scale)

    def log_q(self, x: Tensor, a: Tensor) -> Tensor:
        return torch.log_softmax(self.classifier(x.expand(*a.shape[:-1], -1), a), -1)


SPREAD = 0.3  # of the parameters: a scale near 0 would be all rounding
PUBLISHED: dict[str, Any] = {"weights": "none", "label_term": "log_mean", "kl": "sampled"}  # Any: plain data


def generator_noise(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.normal(torch.zeros(shape), torch.ones(shape), generator=generator) for shape in shapes]


@pytest.mark.parametrize("samples", [1, 4])
def test_adgm_without_labels(samples: int) -> None:
    """−U(x) = E_q(a|x) [ Σ_y q(y|a,x) (log p(x,y,z,a) − log q(z|a,y,x) − log q(y|a,x)) − log q(a|x) ]."""
    model = made(with_objective(ADGM, **PUBLISHED), spread=SPREAD)
    x = bits(1, 5, 9)
    out = model.objective({"x": x}, samples=samples, generator=seeded(2))
    byhand = HandWrittenADGM(model)
    for_a, for_z = generator_noise(2, (samples, 5, 2), (4, samples, 5, 3))
    a, log_a = byhand.draw_a(x, for_a)
    log_q = byhand.log_q(x, a)
    total = -log_a
    for k in range(4):
        y = functional.one_hot(torch.full((5,), k), 4).to(x.dtype)
        total = total + log_q[..., k].exp() * (byhand.log_ratio(x, y, a, for_z[k]) - log_q[..., k])
    assert_same(out.bound, total.mean(0))
    check(model, out.loss, -total.mean(0).mean(), byhand.parts)


@pytest.mark.parametrize("samples", [1, 4])
def test_adgm_with_labels(samples: int) -> None:
    """−L(x, y) + α log E_q(a|x) q(y|a,x): the posterior's weight is left out, as published."""
    model = made(with_objective(ADGM, **PUBLISHED, alpha=7.0), spread=SPREAD)
    x, labels = bits(1, 5, 9), torch.arange(5) % 4
    out = model.objective({"x": x, "y": labels}, samples=samples, generator=seeded(2))
    byhand = HandWrittenADGM(model)
    for_a, for_z = generator_noise(2, (samples, 5, 2), (samples, 5, 3))
    a, log_a = byhand.draw_a(x, for_a)
    y = functional.one_hot(labels, 4).to(x.dtype)
    lower = (byhand.log_ratio(x, y, a, for_z) - log_a).mean(0)
    chosen = (byhand.log_q(x, a) * y).sum(-1)
    bound = lower + 7.0 * (chosen.logsumexp(0) - math.log(samples))
    assert_same(out.bound, bound)
    check(model, out.loss, -bound.mean(), byhand.parts)


def test_adgm_by_eq_8_weighs_its_draws() -> None:
    """The default on the same graph: Σ ŵ (log p/r − log w) + (1 + α) E log w with w = q(y|a,x), 4 draws of a."""
    model = made(with_objective(ADGM, kl="sampled", alpha=0.5), spread=SPREAD)
    x, labels = bits(1, 5, 9), torch.arange(5) % 4
    out = model.objective({"x": x, "y": labels}, samples=4, generator=seeded(2))
    byhand = HandWrittenADGM(model)
    for_a, for_z = generator_noise(2, (4, 5, 2), (4, 5, 3))
    a, log_a = byhand.draw_a(x, for_a)
    y = functional.one_hot(labels, 4).to(x.dtype)
    log_w = (byhand.log_q(x, a) * y).sum(-1)
    f = byhand.log_ratio(x, y, a, for_z) - log_a - log_w
    bound = (torch.softmax(log_w, 0) * f).sum(0) + 1.5 * log_w.mean(0)
    assert_same(out.bound, bound)
    assert_same(out.ess, log_w.exp().sum(0) ** 2 / (2 * log_w).exp().sum(0))
    check(model, out.loss, -bound.mean(), byhand.parts)
