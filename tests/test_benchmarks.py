"""`make bench` at tiny sizes: contenders start from the same loss, the table says what was measured and what not."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sgc
from benchmarks import bench, channels_last, gpu, growth, growth_point, growth_specs, problem
from benchmarks.chain_by_hand import ChainByHand
from benchmarks.contender import make
from benchmarks.contenders import ENTRIES
from benchmarks.contenders.sgc_step import SgcStep
from benchmarks.resident import Lost, Resident
from benchmarks.results import Measured, disagreement, disagreements, ratios, table
from sgc.spec.resolver import outline


def test_contenders_take_the_same_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pixyz has no way to take A1, and is not there where `make test` alone has set things up."""
    kept, names = tmp_path / "kept.json", ("sgc", "plain", "tuned", "pixyz")
    words = ["--quick", "--steps", "tiny A1,tiny A3", "--contenders", ",".join(names)]
    status = bench.main([*words, "--rounds", "2", "--turn", "2", "--draws", "24", "--json", str(kept)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "The losses at the start agree." in printed
    assert str(tmp_path) not in printed
    steps = json.loads(kept.read_text())["steps"]
    assert list(steps) == ["tiny A1", "tiny A3"]
    for name, step in steps.items():
        for who in ("sgc", "plain", "tuned"):
            found = step[who]
            assert not found["lost"]
            assert len(found["losses"]) == 24
            assert len(set(found["losses"])) > 1
            assert len(found["cpu"]) == len(found["wall"]) == 2
            assert min(found["peak"], found["operators"], found["setup"], *found["cpu"]) > 0
            assert found["later"] != found["losses"][0]
            assert f"| {name} | {ENTRIES[who].title} " in printed
        assert step["sgc"]["operators"] < step["plain"]["operators"]
    label = steps["tiny A1"]["plain"]["exact"]["label"]
    assert steps["tiny A1"]["sgc"]["exact"]["label"] == pytest.approx(label, rel=1e-5)
    assert steps["tiny A1"]["pixyz"]["lost"].partition(":")[0] in ("cannot", "failed")


def test_a_process_says_what_went_wrong_and_goes_on() -> None:
    given = problem.plain_data(problem.tiny(problem.read("A2")))
    process = Resident("plain", 1)
    try:
        with pytest.raises(Lost, match="failed: AssertionError: asked before it was prepared"):
            process.ask("loss", draws=1)
        assert process.ask("prepare", problem=given) == {}
        assert len(process.ask("loss", draws=2)["losses"]) == 2
        process.process.kill()
        with pytest.raises(Lost, match="ended with status -9"):
            process.ask("loss", draws=1)
    finally:
        process.stop()


def measured(losses: list[float], label: float = -2.0, cpu: float = 1.0, lost: str = "") -> Measured:
    return Measured("one", lost, losses, {"label": label}, [cpu, 2 * cpu], [cpu, cpu])


def test_losses_that_differ_are_told() -> None:
    """Standard errors: 0.1 of each, so that 5 of the difference are 0.71."""
    first = measured([9.9, 10.1])
    assert not disagreement(measured([10.4, 10.6]), first)
    assert disagreement(measured([10.8, 11.0]), first).startswith("loss 10.9000 for 10.0000, allowed ±0.70")
    assert disagreement(measured([9.9, 10.1], label=-2.001), first) == "label -2.001000 for -2.000000"
    assert disagreement(measured([float("nan")] * 2), first)
    steps = {"A1": {"sgc": first, "plain": measured([10.8, 11.0]), "tuned": measured([], lost="cannot: so")}}
    assert len(disagreements(steps)) == 1
    assert " differs |" in table(steps)


def test_the_table_has_paired_ratios_and_says_what_cannot_be() -> None:
    steps = {"A1": {"sgc": measured([1.0, 1.0], cpu=0.5), "plain": measured([1.0, 1.0])}}
    steps["A1"]["plain"].cpu = [1.0, 4.0]
    steps["A1"]["pixyz"] = Measured("Pixyz", "cannot: no enumeration of y")
    assert ratios(steps["A1"]["sgc"], steps["A1"]["plain"]) == [0.5, 0.25]
    head, rule, own, plain, pixyz, _, reason = table(steps).splitlines()
    assert len({len(line) for line in (head, rule, own, plain, pixyz)}) == 1
    assert [cell.strip() for cell in plain.split("|")[5:7]] == ["0.38", "0.25–0.50"]
    assert [cell.strip() for cell in pixyz.split("|")[2:5]] == ["Pixyz", "cannot", ""]
    assert reason == "- A1: Pixyz cannot: no enumeration of y."


@pytest.mark.parametrize("name", bench.STEPS)
def test_a_problem_is_what_its_spec_says(name: str) -> None:
    given = bench.problem_of(name, None)
    spec = sgc.load(given.spec, given.overrides())
    assert name.startswith(bench.TINY) or spec.nodes == sgc.load(given.spec).nodes
    assert tuple(spec.nodes["z"].shape) == (given.latent,)
    assert (spec.objective.samples, spec.objective.alpha) == (given.samples, given.alpha)
    assert spec.train.optimizer.lr == given.rate


def test_a_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(bench.README.read_text(encoding="utf-8"), encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    bench.write(page, "first")
    bench.write(page, "second")
    after = page.read_text(encoding="utf-8")
    assert "first" not in after.partition(bench.BEGIN)[2].partition(bench.END)[0]
    assert f"{bench.BEGIN}\n\nsecond\n\n{bench.END}" in after
    assert after.partition(bench.BEGIN)[0] == before.partition(bench.BEGIN)[0]
    assert after.partition(bench.END)[2] == before.partition(bench.END)[2]


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.options(["--contenders", "sgc,pyr"])
    assert ended.value.code == 2
    assert "--contenders: 'pyr' is none of sgc, plain, tuned" in capsys.readouterr().err


# ---- what a step costs, without a clock


@pytest.mark.parametrize("name", problem.STEPS)
def test_a_step_takes_no_more_operators_than_one_tuned_by_hand(name: str) -> None:
    given = problem.tiny(problem.read(name))
    operators: dict[str, int | None] = {}
    for who in ("sgc", "tuned"):
        contender = make(who, given)
        for _ in range(contender.settles):
            contender.step()
        operators[who] = contender.operators()
    own, tuned = operators["sgc"], operators["tuned"]
    assert own is not None
    assert tuned is not None
    assert own <= 1.05 * tuned


def test_steps_leave_nothing_behind() -> None:
    """What a step allocates is gone after it, and its results lie in memory that is there."""
    contender = make("sgc", problem.tiny(problem.read("A3")))
    assert isinstance(contender, SgcStep)
    store = contender.trainer.steps._store

    def held(steps: int) -> tuple[int, int]:
        for _ in range(steps):
            contender.step()
        gc.collect()
        return len(gc.get_objects()), sum(each.numel() for memory in store.memory.values() for each in memory)

    held(40)
    (objects, memory), (later, memory_later) = held(40), held(160)
    assert memory == memory_later > 0
    assert later <= objects + 20


@pytest.mark.parametrize(("name", "tallest"), [("A1", 11), ("A2", 2), ("A3", 16)])
def test_what_does_not_vary_is_multiplied_once(name: str, tallest: int) -> None:
    """Both batches of x in one product, not once more for each category or draw. tallest: batches in a product."""
    given = replace(problem.tiny(problem.read(name)), pixels=9)
    products: set[tuple[int, int]] = set()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
                rows, inner = args[function is torch.ops.aten.addmm.default].shape
                products.add((rows, inner))
            return function(*args, **kwargs or {})

    contender = make("sgc", given)
    with Products():
        contender.loss()
    assert {rows for rows, inner in products if inner == given.pixels} == {2 * given.batch}
    assert max(rows for rows, _ in products) == tallest * given.batch


# ---- how things grow


def test_growth_is_measured_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    assert growth.main(["--quick", "--series", "graph,chain", "--most", "10", "--json", str(kept)]) == 0
    printed = capsys.readouterr().out
    assert f"**{growth.SERIES['chain'].heading}**" in printed
    assert str(tmp_path) not in printed.replace(str(kept), "")
    series = json.loads(kept.read_text())["series"]
    assert list(series["graph"]) == ["10"]
    (numbers,) = series["chain"].values()
    assert numbers.keys() > {"set-up", "computed", "terms", "recorded", "replayed", "loop", "stacked", "replayed peak"}
    assert numbers["operators"] < numbers["loop operators"]


@pytest.mark.parametrize("name", growth.SERIES)
def test_what_grows_is_a_spec_with_as_much_of_it_as_asked_for(name: str) -> None:
    for size in growth.SERIES[name].quick:
        if name == "graph":
            model = growth_specs.graph(size)
            assert len(sgc.load(model.spec).nodes) == size
        elif name in growth_point.STEP_SERIES:
            made = outline(sgc.load(growth_point.STEP_SERIES[name](size).spec))
            steps = [size for stepped in made.stepped.values() for size in stepped.steps]
            categories = made.variables["y"].categories if "y" in made.variables else None
            assert size in {"samples": [made.words.samples], "categories": [categories]}.get(name, steps)
        else:
            model = growth_specs.patterns(size, enumerated=name == "enumerated-labels")
            labels = np.stack([np.isnan(model.arrays[f"y{i}"]) for i in range(growth_specs.LABELS)], 1)
            assert len(np.unique(labels, axis=0)) == size


def test_the_chain_by_hand_is_the_same_stacked() -> None:
    x = torch.from_numpy(growth_specs.chain(4).arrays["x"])
    bounds = []
    for stacked in (False, True):
        by_hand = ChainByHand(4, x, stacked=stacked)
        torch.manual_seed(1)
        bounds.append(by_hand.bound(x))
    torch.testing.assert_close(*bounds)


def test_tables_and_picture_of_growth(tmp_path: Path) -> None:
    keys = ("set-up", "computed", "terms", "recorded", "replayed", "loop", "stacked", "operators", "stacked operators")
    numbers = dict.fromkeys((*keys, "computed peak", "recording peak", "replayed peak"), 0.25)
    measured = {"chain": {5: numbers, 20: numbers}, "hmm": {50: numbers}}
    head, rule, first, second = growth.table(growth.SERIES["chain"], measured["chain"]).splitlines()
    assert len({len(line) for line in (head, rule, first, second)}) == 1
    assert [cell.strip() for cell in first.split("|")[1:3]] == ["5", "50"]
    growth.picture(measured, tmp_path / "growth.svg")
    assert 1000 < (tmp_path / "growth.svg").stat().st_size < 200_000


# ---- the script for a GPU, without one


def test_the_script_for_a_gpu_measures_and_checks_on_the_cpu(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    rows = gpu.Rows(gpu.options(["--device", "cpu", "--quick", "--json", str(kept)]))
    given = problem.tiny(problem.read("A2"))
    rows.check("A2", lambda: gpu.compare("A2", given, rows.device))
    rows.check("hmm", lambda: gpu.compare_hmm(rows.device))
    assert all(check.agrees and not check.loss and not check.gradient for check in rows.checks), rows.checks
    rows.row(gpu.Row("A2", 4, "tuned"), lambda: gpu.to_device(gpu.TunedTorch(given), rows.device).step)
    rows.sgc(gpu.Row("A2", 4, "sgc"), given)
    rows.sgc(gpu.Row("A2", 4, "sgc", "8-mixed"), given)
    tuned, own, wrong = json.loads(kept.read_text())["rows"]
    assert min(tuned["ms"], own["ms"]) > 0
    assert not own["why"]
    assert wrong["why"].startswith("SpecError")
    assert gpu.table(rows.rows).count("cannot") == 1


def test_a_difference_from_the_cpu_is_one() -> None:
    assert not gpu.Check("A1", 2e-4, 0.0).agrees
    assert not gpu.Check("A1", 0.0, float("nan")).agrees
    assert gpu.Check("A1", 1e-6, 1e-5).agrees


def test_draws_for_the_check_are_those_of_a_seed() -> None:
    found = []
    for _ in range(2):
        with gpu.DrawnOnCpu():
            found.append((torch.randn(3), torch.empty(3).uniform_(), torch.rand(2)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_channels_last_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    channels_last.main(["--rounds", "1"])
    assert capsys.readouterr().out.count("|") == 20
