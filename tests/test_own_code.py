"""Own code: named in a spec, imported only under trust, and used as torch's own families are.

The own family is a logistic written as a torch distribution; its oracle is the formula of its density.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_runs import StopsAfterAnEpoch, changed, finished_files, small_arrays
from test_cli import call, refused

import sgc
from sgc.errors import SpecError, UsageError
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.spec.loader import load
from sgc.spec.resolver import outline

MODULE = """\
import pathlib
pathlib.Path(__file__).with_name("imported").touch()

import torch
from torch.distributions import Bernoulli, Distribution, Normal, TransformedDistribution, Uniform, constraints
from torch.distributions.transforms import AffineTransform, SigmoidTransform


class Logistic(TransformedDistribution):
    "With a constructor of its own and no expand, as people write them."

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        zero = torch.zeros_like(self.loc)
        moved = AffineTransform(self.loc, self.scale)
        super().__init__(Uniform(zero, zero + 1, validate_args=False), [SigmoidTransform().inv, moved], validate_args)

    @property
    def mean(self):
        return self.loc


class Remade(Logistic):
    def log_prob(self, value):
        return Logistic.log_prob(type(self)(self.loc, self.scale), value)


class Meanless(Logistic):
    mean = Distribution.mean


class Coin(Distribution):
    "Drawn without a path, and of no validate_args."

    arg_constraints = {"weight": constraints.unit_interval}
    support = constraints.boolean

    def __init__(self, weight):
        self.weight = weight
        super().__init__(weight.shape, validate_args=False)

    def log_prob(self, value):
        return Bernoulli(self.weight).log_prob(value)

    def sample(self, sample_shape=()):
        return Bernoulli(self.weight).sample(sample_shape)

    @property
    def mean(self):
        return self.weight


class Ball(Normal):
    "A vector whose last dimension is one event."

    def __init__(self, loc, scale, validate_args=None):
        super().__init__(loc, scale, validate_args)
        Distribution.__init__(self, self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    def rsample(self, sample_shape=()):
        noise = torch.randn(*sample_shape, *self.loc.shape, dtype=self.loc.dtype)
        return self.loc + self.scale * noise

    def log_prob(self, value):
        return Normal(self.loc, self.scale).log_prob(value).sum(-1)


class Fails(Logistic):
    def log_prob(self, value):
        if value.numel() > 9:
            raise KeyError("nothing here")
        return super().log_prob(value)


class NoDraw(Logistic):
    has_rsample = False


class Wide(Logistic):
    def log_prob(self, value):
        return super().log_prob(value).sum()


class Silent(Logistic):
    def rsample(self, sample_shape=()):
        raise NotImplementedError


class Detached(Logistic):
    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).detach()


class NoFamily:
    pass


def logistic(loc, scale):
    return Logistic(loc, scale)
"""
LOGISTIC = {
    "python": "mine:Logistic",
    "parameters": {"loc": "real", "scale": "positive"},
    "support": "real",
    "draws": "pathwise",
}
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "own",
    "data": {
        "source": "npz",
        "file": "rows.npz",
        "columns": {"x": {"column": "x"}, "y": {"column": "y"}},
        "split": {"validation": 10, "test": 10},
        "labels": {"y": {"count": 20}},
    },
    "nodes": {
        "x": {
            "distribution": LOGISTIC,
            "shape": [3],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [4]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [4]}},
        },
        "z": {
            "distribution": LOGISTIC,
            "shape": [2],
            "supervision": "none",
            "generative": {"parameters": {"loc": 0, "scale": {"start": 1}}},
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [4]}},
        },
    },
    "train": {"epochs": 1, "batch_size": 20},
    "evaluate": {"samples": 3},
}
REFUSED = "own code: it would import 'mine:Logistic'"
HINT = "allowed with --trust"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a spec, its module and its data, and no other module of its name imported."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(changed(SPEC), sort_keys=False))
    arrays = small_arrays(rows=60, labels=60)
    np.savez(tmp_path / "rows.npz", **arrays)
    np.savez(tmp_path / "new.npz", x=arrays["x"][:4])
    return tmp_path


def imported(place: Path) -> bool:
    return (place / "imported").exists()


def own(place: Path, name: str, **changes: Any) -> sgc.spec.spec.Spec:  # type: ignore[name-defined]
    """Load the spec with another class of the module for z."""
    distribution = {**LOGISTIC, "python": f"mine:{name}", **changes}
    plain = changed(SPEC, nodes__z__distribution=distribution)
    return load(plain, trust=True).stands_in(place, trusted=True)


# ---- what is imported, and when


def test_without_trust_every_way_in_is_refused_with_what_it_would_import(place: Path) -> None:
    spec, run = place / "spec.yaml", place / "run"
    for words in (["check"], ["check", "--data"], ["inspect"], ["train"], ["train", "--dry-run"]):
        done = call(words[0], spec, *words[1:])
        assert (done.status, done.out) == (2, "")
        places = [line for line in done.told.splitlines() if line.startswith(str(spec))]
        assert [line.split(": ", 1)[1] for line in places] == [
            f"nodes.{name}.distribution.python: {REFUSED}" for name in ("x", "z")
        ]
        assert done.told.count(HINT) == 2
    for enter in (sgc.load, sgc.compile, sgc.train):
        with pytest.raises(SpecError, match=REFUSED):
            enter(spec)
    assert not run.exists()
    assert not imported(place)


def test_reading_under_trust_imports_nothing(place: Path) -> None:
    spec = sgc.load(place / "spec.yaml", trust=True)
    made = outline(spec)
    assert inspect_json(made)["nodes"][2]["distribution"] == "mine:Logistic"
    assert "mine:Logistic" in inspect_text(made)
    for words in (
        ["check"],
        ["check", "--data"],
        ["inspect"],
        ["inspect", "--json"],
        ["inspect", "-o", place / "a.dot"],
    ):
        assert call(words[0], place / "spec.yaml", *words[1:], "--trust").status == 0
    assert not imported(place)
    code = (
        "import sys\nfrom sgc.cli import app\n"
        f"sys.argv = ['sgc', 'check', {str(place / 'spec.yaml')!r}, '--trust']\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'mine'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_spec_that_nobody_loaded_is_trusted_by_nobody(place: Path) -> None:
    bare = sgc.spec.spec.Spec.model_validate(changed(SPEC))  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=f"^node 'x': {REFUSED}, allowed with trust=True"):
        sgc.compile(bare)
    assert not imported(place)


def test_no_run_remembers_it(place: Path) -> None:
    trusted, data = sgc.load(place / "spec.yaml", trust=True), small_arrays(labels=60)
    assert trusted.plain() == load(trusted.plain(), trust=True).plain()
    assert "trust" not in json.dumps(trusted.plain())
    run = sgc.train(trusted, data=data, output=place / "run")
    text = b"".join(file.read_bytes() for file in run.folder.iterdir() if file.suffix in (".yaml", ".json"))
    assert b"trust" not in text
    for refuse in (sgc.open, sgc.evaluate):
        with pytest.raises(SpecError, match=REFUSED):
            refuse(run.folder)


# ---- a whole run


def test_a_run_of_an_own_family_from_the_shell(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Trained in one folder and used from another: the module is looked for beside the spec."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    run, spec = place / "run", place / "spec.yaml"
    done = call("train", spec, "-o", run, "--trust")
    assert (done.status, done.told.split("  ")[0]) == (0, "own: epoch 1/1")
    assert imported(place)
    longer = ["train", spec, "-o", run, "--resume", "--set", "train.seed=2"]
    assert "differs at train.seed" in refused(*longer, "--trust")
    commands = (
        ["evaluate", run, "--classifier"],
        ["predict", run, place / "new.npz", "-o", "new.csv"],
        ["sample", run, "-o", "samples.npz"],
    )
    for words in commands:
        without = call(*words)
        assert (without.status, without.out) == (2, "")
        assert f"spec.yaml:29:15: nodes.x.distribution.python: {REFUSED}" in without.told
        assert f"nodes.z.distribution.python: {REFUSED}" in without.told
        with_trust = call(*words, "--trust")
        assert with_trust.status == 0, with_trust.told
    lines = Path("new.csv").read_text().splitlines()
    assert len(lines) == 5
    assert "z.sd[1]" in lines[0]


def test_a_resumed_run_is_that_of_one_go(place: Path) -> None:
    for epochs, name in ((2, "whole"), (2, "parts")):
        spec = sgc.load(place / "spec.yaml", [f"train.epochs={epochs}"], trust=True)
        if name == "parts":
            with pytest.raises(InterruptedError):
                sgc.train(spec, output=place / name, watcher=StopsAfterAnEpoch())
            with pytest.raises(SpecError, match=REFUSED):
                sgc.train(place / "spec.yaml", output=place / name, resume=True)
        sgc.train(spec, output=place / name, resume=name == "parts")
    assert finished_files(place / "whole") == finished_files(place / "parts")


def test_two_specs_have_a_module_of_one_name_each(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "mine.py").write_text(MODULE.replace("return self.loc", "return self.loc + 7"))
    (other / "spec.yaml").write_text((place / "spec.yaml").read_text())
    for folder, more in ((place, 0), (other, 7), (place, 0)):
        model = sgc.compile(folder / "spec.yaml", trust=True)
        q = model.conditional("z", "recognition", {"x": torch.zeros(1, 3), "y": torch.tensor([1])})
        torch.testing.assert_close(q.mean, q.base_dist.loc + more)  # type: ignore[attr-defined]


# ---- what a model makes of it


def test_the_conditional_is_the_users_distribution_and_scores_as_its_density(place: Path) -> None:
    model = sgc.compile(sgc.load(place / "spec.yaml", trust=True)).double()
    batch = {"x": torch.randn(4, 3).double(), "y": torch.tensor([0, 1, 2, 0]), "z": torch.randn(4, 2).double()}
    p = model.conditional("x", "generative", batch)
    element = p.base_dist  # type: ignore[attr-defined]
    assert isinstance(element, sys.modules["mine"].Logistic)
    assert (p.batch_shape, p.event_shape) == ((4,), (3,))
    standard = (batch["x"] - element.loc) / element.scale
    wanted = (-standard - 2 * (-standard).exp().log1p() - element.scale.log()).sum(-1)
    torch.testing.assert_close(model.log_prob("x", "generative", batch), wanted)


def test_a_family_of_torchs_taken_as_an_own_one_gives_the_same_bound_and_gradients() -> None:
    folder = Path(__file__).parent
    plain = changed(SPEC, data=None)
    for node in ("x", "z"):
        plain["nodes"][node]["distribution"] = {**LOGISTIC, "python": "torch.distributions:Normal"}
    torch.manual_seed(0)
    mine = sgc.compile(load(plain, trust=True).stands_in(folder, trusted=True)).double()
    for node in ("x", "z"):
        plain["nodes"][node]["distribution"] = "Normal"
    torch.manual_seed(0)
    theirs = sgc.compile(load(changed(plain, objective={"kl": "sampled"}))).double()
    batch = {"x": torch.randn(6, 3).double(), "y": torch.tensor([0, 1, 2, 0, -1, -1])}
    found = []
    for model in (mine, theirs):
        torch.manual_seed(1)
        out = model.objective(batch)
        out.loss.backward()
        found.append([out.bound, *(p.grad for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_class_may_make_others_of_its_kind(place: Path) -> None:
    model = sgc.compile(own(place, "Remade"))
    assert model.spec.own_code() == ["mine:Logistic", "mine:Remade"]
    assert model.objective({"x": torch.zeros(2, 3)}).bound.isfinite().all()


def test_the_standard_prior_is_neutral(place: Path) -> None:
    plain = changed(SPEC, nodes__z__generative=None)
    model = sgc.compile(load(plain, trust=True).stands_in(place, trusted=True))
    prior = model.conditional("z", "generative", {}).base_dist  # type: ignore[attr-defined]
    assert (prior.loc.unique().tolist(), prior.scale.unique().tolist()) == ([0.0], [1.0])


def test_draws_are_independent_for_every_sample_and_row_even_of_constants(place: Path) -> None:
    model = sgc.compile(own(place, "Logistic"))
    drawn = model.generate(1000)["z"]
    assert len(drawn.unique(dim=0)) == 1000
    assert abs(drawn.std().item() - math.pi / math.sqrt(3)) < 6 * 0.9 * 1.9 / math.sqrt(2000)  # kurtosis 4.2


def test_a_coin_of_two_values_is_enumerated(place: Path) -> None:
    distribution = {"python": "mine:Coin", "parameters": {"weight": "unit_interval"}, "support": "boolean"}
    plain = changed(SPEC, nodes__z__distribution={**distribution, "draws": "sampled"})
    plain["nodes"]["z"]["generative"] = {"parameters": {"weight": 0.25}}
    plain["nodes"]["z"]["recognition"] = {}
    model = sgc.compile(load(plain, trust=True).stands_in(place, trusted=True)).double()
    variable = model.outline.variables["z"]
    assert (variable.estimator.name, variable.family.support_size((2,))) == ("enumerate", 4)  # type: ignore[union-attr]
    batch = {"x": torch.randn(2, 3).double(), "y": torch.tensor([0, 1])}
    log_p = [
        model.log_prob("x", "generative", {**batch, "z": torch.tensor([[a, b]] * 2)})
        + math.log(0.25 if a else 0.75)
        + math.log(0.25 if b else 0.75)
        - math.log(3)
        for a in (0, 1)
        for b in (0, 1)
    ]
    posterior = model.infer(batch)["z"].mean
    weights = torch.stack(log_p).softmax(0)
    torch.testing.assert_close(posterior, torch.stack([weights[2:].sum(0), weights[1] + weights[3]], -1))
    assert set(model.generate(50)["z"].unique().tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match=r"'z': found 0.5 in row 0 at \[0\], wanted an integer from 0 to 1"):
        model.log_prob("z", "generative", {"z": torch.full((1, 2), 0.5)})


def test_a_class_of_vectors_says_so(place: Path) -> None:
    model = sgc.compile(own(place, "Ball", event_dim=1))
    q = model.conditional("z", "recognition", {"x": torch.zeros(4, 3), "y": torch.tensor([0, 1, 2, 0])})
    assert (q.batch_shape, q.event_shape) == ((4,), (2,))
    assert model.objective({"x": torch.randn(4, 3)}, samples=3).bound.isfinite().all()
    with pytest.raises(UsageError, match=r"its batch_shape is \[\], wanted \[3\] for parameters of shape \[3\]"):
        sgc.compile(own(place, "Ball"))


def test_values_outside_the_declared_support_are_refused(place: Path) -> None:
    plain = changed(SPEC, nodes__x__distribution={**LOGISTIC, "support": "positive"})
    (place / "spec.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    assert "rows.npz: row " in refused("check", place / "spec.yaml", "--data", "--trust")
    assert not imported(place)


# ---- classes that cannot be used


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere:Logistic", "cannot be imported: no module 'nowhere' in PLACE, ELSEWHERE"),
        ("mine.families:Logistic", "cannot be imported: no module 'mine.families' in PLACE, ELSEWHERE"),
        ("mine:Logistc", "no 'Logistc' in PLACE/mine.py (did you mean 'Logistic'?)"),
        ("mine:NoFamily", "'NoFamily' in PLACE/mine.py is not a class derived from torch.distributions.distribution"
         ".Distribution"),
        ("mine:logistic", "'logistic' in PLACE/mine.py is not a class derived from torch.distributions.distribution"
         ".Distribution"),
        ("os:system", "'system' in OS is not a class derived from torch.distributions.distribution.Distribution"),
        ("broken:Logistic", "cannot be imported: ZeroDivisionError: division by zero (PLACE/broken.py, line 2)"),
        ("leaves:Logistic", "cannot be imported: SystemExit: 3 (PLACE/leaves.py, line 1)"),
        ("lacking:Logistic", "cannot be imported: ModuleNotFoundError: No module named 'nowhere' (PLACE/lacking.py, "
         "line 1)"),
        ("unfinished:Logistic", "cannot be imported: SyntaxError: '(' was never closed (unfinished.py, line 1)"),
        ("mine:Coin", "takes no parameter 'loc'; it takes weight"),
        ("mine:NoDraw", "declared with draws: pathwise, and its has_rsample is False"),
        ("mine:Detached", "declared with draws: pathwise, and its rsample has no gradient"),
        ("torch.distributions:Exponential", "takes no parameter 'loc'; it takes rate, validate_args"),
        ("mine:Silent", "tried rsample: NotImplementedError"),
        ("mine:Wide", "its log_prob is [], wanted [3] for parameters of shape [3] and event_dim 0"),
    ],
    ids=lambda text: text if text.isidentifier() else None,
)  # fmt: skip
def test_a_class_that_cannot_be_used_is_told_before_training(place: Path, path: str, message: str) -> None:
    (place / "broken.py").write_text("x = 1\nx / 0\n")
    (place / "leaves.py").write_text("raise SystemExit(3)\n")
    (place / "lacking.py").write_text("import nowhere\n")
    (place / "unfinished.py").write_text("x = (\n")
    before = list(sys.path)
    plain = changed(SPEC, nodes__z__distribution={**LOGISTIC, "python": path}, nodes__x__distribution="Normal")
    (place / "spec.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    told = refused("train", place / "spec.yaml", "-o", place / "run", "--trust")
    elsewhere = "on Python's path or in the current folder"
    wanted = message.replace("PLACE", str(place)).replace("OS", os.__file__).replace("ELSEWHERE", elsewhere)
    assert told == f"node 'z': '{path}'{':' if not message.startswith('cannot') else ''} {wanted}"
    assert sys.path == before
    assert not (place / "run").exists()


def test_parameters_are_declared_as_the_class_wants_them(place: Path) -> None:
    with pytest.raises(UsageError) as caught:
        sgc.compile(own(place, "Logistic", parameters={"loc": "real", "scale": "real"}))
    wanted = "'scale' is declared as real, and the class wants GreaterThan(lower_bound=0.0)"
    assert str(caught.value) == f"node 'z': 'mine:Logistic': {wanted}"


def test_own_code_that_fails_while_running_is_told_without_a_traceback(place: Path) -> None:
    plain = changed(SPEC, nodes__x__distribution={**LOGISTIC, "python": "mine:Fails"})
    (place / "spec.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    told = refused("train", place / "spec.yaml", "-o", place / "run", "--trust", status=1)
    line = MODULE[: MODULE.index("nothing here")].count("\n") + 1
    assert told == f"own code failed: KeyError: 'nothing here' ({place / 'mine.py'}, line {line})"


def test_a_mean_is_asked_for_only_where_it_is_needed(place: Path) -> None:
    model = sgc.compile(own(place, "Meanless"))
    assert model.infer({"x": torch.zeros(2, 3)})["z"].mean.isfinite().all()
    with pytest.raises(UsageError, match=r"^'mine:Meanless' has no mean, which is needed here$"):
        model.generate(2, means=["z"])
    plain = changed(own(place, "Meanless").plain(), nodes__z__supervision="partial", data=None)
    with pytest.raises(UsageError, match=r"^node 'z': 'mine:Meanless' has no mean, which is needed here$"):
        sgc.compile(load(plain, trust=True).stands_in(place, trusted=True))
