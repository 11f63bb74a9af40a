"""Exported graphs: they compute what the model computes, in other programs, or the model is refused by name."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from data_files import opened
from small_runs import NPZ, changed, small, small_arrays
from test_cli import call

import sgc
from sgc.data.variables import Variable
from sgc.errors import UsageError
from sgc.export.exporting import TORCH, Export, _cause, _keep_apart, export_run, exported, onnx_bytes
from sgc.export.hub_folder import STAGE, export_folder, placeless
from sgc.export.model_card import source_of
from sgc.export.noise import DrawnFromNoise
from sgc.export.preprocessing import Cells
from sgc.export.traced import CLOSE, _difference
from sgc.networks.layers import LAYERS

FOUND = tuple(map(int, torch.__version__.split("+")[0].split(".")[:2]))
pytestmark = pytest.mark.skipif(FOUND < TORCH, reason="this torch exports no model")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose columns are standardised, and whose label has names."""
    folder = tmp_path_factory.mktemp("export")
    arrays = small_arrays(labels=60)
    names: dict[str, Any] = {"nodes__y__values": ["a", "b", "c"], "nodes__y__categories": None}
    spec = changed(small(data=NPZ), **names, data__file=str(folder / "rows.npz"), train__epochs=1)
    spec["data"]["columns"]["x"]["transforms"] = [{"divide": 2}, "standardize"]
    named = np.array(["a", "b", "c"])[arrays["y"]]
    np.savez(folder / "rows.npz", x=arrays["x"] * 40 + 7, y=named)
    sgc.train(sgc.load(spec), output=folder / "run")
    return folder / "run"


def facts_and_program(path: Path) -> tuple[dict[str, Any], torch.export.ExportedProgram]:
    """Read what `sgc export` has written."""
    extra = {"sgc.json": ""}
    program = torch.export.load(path, extra_files=extra)
    return json.loads(extra["sgc.json"]), program


def test_predictions_of_a_file_are_those_of_the_model_and_need_no_sgc(run: Path, tmp_path: Path) -> None:
    written = export_run(run, tmp_path / "model.pt2", samples=2)
    facts, program = facts_and_program(tmp_path / "model.pt2")
    assert facts["outputs"]["y.probability"]["names"] == ["a", "b", "c"]
    assert {**facts, "file": written["file"]} == written
    model = sgc.open(run)
    for rows in (1, 9):  # any number of rows
        cells = np.random.default_rng(rows).normal(50, 40, (rows, 3)).astype(np.float32)
        found = program.module()({"x": torch.from_numpy(cells)})
        wanted = model.infer(model.encode({"x": cells}), from_="q", samples=2)
        torch.testing.assert_close(found["y.probability"], wanted["y"].mean)
        torch.testing.assert_close(found["z"], wanted["z"].mean)
        torch.testing.assert_close(found["z.sd"], wanted["z"].sd)
    for kind in (torch.float64, torch.int32):  # of any type, and no rows at all: a failure within would stay in torch
        assert program.module()({"x": torch.ones(0, 3, dtype=kind)})["z"].shape == (0, 2)
    code = (  # in a process in which sgc cannot be imported
        "import sys; sys.modules['sgc'] = None\nimport torch\n"
        f"found = torch.export.load({str(tmp_path / 'model.pt2')!r}).module()({{'x': torch.ones(6, 3)}})\n"
        "print(float(found['y.probability'].sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert float(done.stdout) == pytest.approx(6)


def test_generation_of_a_file_is_that_of_the_model(run: Path) -> None:
    model = sgc.open(run)
    program = exported(model, "generate", ["y"]).program
    noise = {"noise_z": torch.randn(4, 2), "noise_x": torch.randn(4, 3)}
    found = program.exported.module()({"y": torch.tensor([2, 0, 1, 1]), **noise})
    torch.testing.assert_close(found["z"], noise["noise_z"])  # the prior is standard
    p = model.conditional("x", "generative", {"z": found["z"], "y": torch.tensor([2, 0, 1, 1])})
    encoder = model.read_encoders()["x"]  # type: ignore[misc]
    for name, value in (("x.mean", p.mean), ("x", p.mean + p.stddev * noise["noise_x"])):
        np.testing.assert_allclose(found[name], encoder.decode(value.detach().numpy()), rtol=1e-4)


def test_cells_may_be_empty_where_the_spec_drops_them() -> None:
    network: dict[str, Any] = {"parents": ["z"], "network": {"mlp": [3]}}
    dropped = {"supervision": "partial", "missing": "drop", "generative": network}
    spec = small()
    spec["nodes"] |= {
        "x": {"distribution": "Normal", "shape": [3], **dropped},
        "c": {"distribution": "Categorical", "categories": 3, **dropped},
    }
    for name, parents in (("y", ["x", "c"]), ("z", ["x", "c", "y"])):  # which read values and flags, joined
        spec["nodes"][name]["recognition"]["parents"] = parents
    model = sgc.compile(spec)
    export = exported(model, samples=1)
    assert {name: export.facts["inputs"][name]["empty"] for name in ("x", "c")} == {"x": "NaN", "c": -1}
    x, c = torch.randn(6, 3), torch.tensor([0, -1, 2, 1, -1, 0])
    x[0], x[1, 1] = torch.nan, torch.nan
    noise = {name: torch.randn(6, *draw.short) for name, draw in export.program.noise.items()}
    found = export.program.exported.module()({"x": x, "c": c, **noise})
    wanted = model.infer({"x": x, "c": c}, from_="q", samples=1)
    torch.testing.assert_close(found["y.probability"], wanted["y"].mean)
    torch.testing.assert_close(found["z"], wanted["z"].mean)
    assert len(found["y.probability"].unique(dim=0)) > 4


@pytest.mark.parametrize("graph", ["predict", "generate"])
def test_onnx_runs_in_another_runtime(graph: Any, run: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="ONNX is tried where onnxruntime and onnxscript are there")
    pytest.importorskip("onnxscript")
    export = exported(sgc.open(run), graph, samples=2)
    session = runtime.InferenceSession(onnx_bytes(export))
    example = {name: tensor.numpy() for name, tensor in export.program.example.items()}
    found = session.run(export.program.outputs, example)
    for name, value in zip(export.program.outputs, found, strict=True):
        np.testing.assert_allclose(value, export.program.expected[name], rtol=1e-4, atol=1e-5)
    facts = json.loads(session.get_modelmeta().custom_metadata_map["sgc"])
    assert list(facts["inputs"]) == [entry.name for entry in session.get_inputs()]


def renamed(spec: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Rename the nodes of a spec."""
    spec = {**spec, "nodes": {names[name]: entry for name, entry in spec["nodes"].items()}}
    for entry in spec["nodes"].values():
        for role in ("generative", "recognition"):
            if role in entry:
                entry[role]["parents"] = [names[name] for name in entry[role]["parents"]]
    return spec


@pytest.mark.parametrize("graph", ["predict", "generate"])
@pytest.mark.parametrize("names", [("sum_1", "sub", "add_1"), ("softplus", "relu", "mean"), ("view_1", "t", "val_1")])
def test_nodes_may_be_called_as_operations_of_a_graph(names: tuple[str, ...], graph: Any) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX is tried where onnxruntime and onnxscript are there")
    pytest.importorskip("onnxscript")
    check_onnx_of(exported(sgc.compile(renamed(small(), dict(zip("xyz", names, strict=True)))), graph))


def test_noise_is_called_as_no_node() -> None:
    names = {"x": "noise_z", "y": "noise_noise_z", "z": "z"}
    export = exported(sgc.compile(renamed(small(), names)), "generate")
    taken, given = list(export.facts["inputs"]), list(export.facts["outputs"])
    assert len({*taken, *given}) == len(taken) + len(given)


def test_values_within_a_graph_are_called_as_nothing_that_it_takes_or_gives() -> None:
    x, z, same, made, kept = (SimpleNamespace(name=name) for name in ("sum_1", "z", "sum_1", "z", "sum_1_"))
    nodes = [SimpleNamespace(outputs=[made, kept]), SimpleNamespace(outputs=[z])]
    graph = SimpleNamespace(inputs=[x], outputs=[z], initializers={"sum_1": same}, all_nodes=lambda: nodes)
    _keep_apart(graph)
    assert [value.name for value in (x, z, same, made, kept)] == ["sum_1", "z", "sum_1__", "z_", "sum_1_"]


def test_a_folder_for_the_hub_opens_and_names_no_place_and_no_row(run: Path, tmp_path: Path) -> None:
    made = export_folder(run, tmp_path / "hub", license="mit")
    folder = tmp_path / "hub"
    assert made["files"] == ["README.md", "best.safetensors", "columns.json", "metrics.jsonl", "run.json", "spec.yaml"]
    assert sorted(path.name for path in folder.iterdir()) == made["files"]
    assert not [path.name for path in folder.iterdir() if str(run.parent).encode() in path.read_bytes()]
    model, opened_again = sgc.open(run), sgc.open(folder)
    rows = model.encode({"x": np.full((2, 3), 50.0)})
    torch.testing.assert_close(
        opened_again.infer(rows, from_="q")["y"].mean, model.infer(rows, from_="q")["y"].mean, rtol=0, atol=0
    )
    text = (folder / "README.md").read_text()
    matter = yaml.safe_load(text.split("---\n")[1])
    assert (matter["license"], matter["library_name"]) == ("mit", "sgc")
    (result,) = matter["model-index"][0]["results"]
    best = sgc.evaluate(run, split="validation", samples=2)
    (error,) = [metric["value"] for metric in result["metrics"] if metric["name"] == "error of y"]
    assert error == pytest.approx(best.evaluation.from_q["y"].value)
    assert (result["dataset"]["name"], result["dataset"]["split"]) == ("rows.npz", "validation")
    (folder / ".git").mkdir()
    with pytest.raises(UsageError, match=r"is there and not empty.*; force=True replaces"):
        export_folder(run, folder)
    (folder / "predict.pt2").write_bytes(b"of an earlier export")
    again = export_folder(folder, tmp_path / "again", license="mit")  # of what was exported
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == again["files"]
    assert (tmp_path / "again" / "README.md").read_text() == text
    export_folder(run, folder, force=True)
    assert sorted(path.name for path in folder.iterdir()) == [".git", *made["files"]]
    with pytest.raises(UsageError, match=r"run: is there and not empty, wanted a new or empty folder$"):
        export_folder(folder, run, force=True)


def test_a_folder_of_the_last_weights_says_so(run: Path, tmp_path: Path) -> None:
    for checkpoint in ("best", "last"):
        export_folder(run, tmp_path / checkpoint, checkpoint=checkpoint)
        text = (tmp_path / checkpoint / "README.md").read_text()
        assert "Measured on validation rows" in text
        assert (", by which the epoch was chosen:" in text) == (checkpoint == "best")
        weights = (tmp_path / checkpoint / "best.safetensors").read_bytes()
        assert weights == (run / f"{checkpoint}.safetensors").read_bytes()
        with pytest.raises(UsageError, match=r"last\.safetensors: no such file, it was exported with one set$"):
            sgc.open(tmp_path / checkpoint, checkpoint="last")


def test_commands_take_an_exported_folder_or_say_what_is_not_in_it(run: Path, tmp_path: Path) -> None:
    hub, rows = tmp_path / "hub", tmp_path / "new.npz"
    export_folder(run, hub)
    np.savez(rows, x=np.full((2, 3), 50.0))
    for words in (
        ("predict", hub, rows, "-o", tmp_path / "p.csv"),
        ("sample", hub, "-o", tmp_path / "s.npz"),
        ("compare", hub, run),
        ("export", hub, "-o", tmp_path / "m.pt2"),
    ):
        assert call(*words).status == 0, words
    told = f"error: {hub}: was exported, and does not know the rows that it was trained on: use the run that it was"
    for refused in (("evaluate", hub), ("report", hub, "-o", tmp_path / "r.html")):
        done = call(*refused)
        assert (done.status, done.told.startswith(told)) == (2, True), done
    done = call("train", hub / "spec.yaml", "-o", hub, "--resume")
    assert (done.status, "was exported, without the state of training" in done.told) == (2, True), done


def test_a_spec_for_the_hub_keeps_what_is_no_place_and_tells_no_secret(tmp_path: Path) -> None:
    data = {
        "source": "table",
        "file": "https://b/me/rows.csv?token=hunter2",
        "missing_values": ["./.", "/"],
        "separator": "/",
    }
    spec = {"version": 1, "name": "s", "nodes": {"x": {"distribution": "Normal", "shape": [1], "supervision": "full"}}}
    made = placeless(sgc.load({**spec, "data": {**data, "columns": {"x": {"column": "a/b"}}}})).plain()["data"]
    wanted = {**data, "file": "rows.csv", "columns": {"x": {"column": "a/b", "transforms": []}}}
    assert {key: made[key] for key in wanted} == wanted
    (tmp_path / "rows.py").write_text("class Rows:\n    def read(self, columns):\n        return {}\n")
    options = {"password": "hunter2", "path": "/home/me"}
    own = {"source": "python", "python": "rows.py:Rows", "options": options, "columns": {"x": {"column": "x"}}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**spec, "data": own}))
    assert placeless(sgc.load(tmp_path / "spec.yaml", trust=True)).plain()["data"]["options"] == {}


@pytest.mark.parametrize(("where", "license", "words"), [
    ("hub", "", "found '', wanted a name of the Hub's"),
    ("run/hub", None, "lies in the run, wanted a folder elsewhere"),
])  # fmt: skip
def test_a_folder_that_cannot_be_is_refused(where: str, license: str | None, words: str, run: Path) -> None:
    folder = run / "hub" if where == "run/hub" else run.parent / where
    with pytest.raises(UsageError, match=words):
        export_folder(run, folder, license=license)


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder, hidden ones too, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.exists() else {}


@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_is_whole_or_as_before_whichever_write_fails(
    earlier: bool, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, left = tmp_path / "hub", 0
    if earlier:
        export_folder(run, folder, license="mit")
    before, whole = contents(folder), os.fsync

    def failing(file: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file)

    monkeypatch.setattr(os, "fsync", failing)
    for count in range(6):
        left = count
        with pytest.raises(OSError, match="No space left on device"):
            export_folder(run, folder, force=earlier)
        assert (folder.exists(), contents(folder)) == (earlier, before)
    left = 6
    made = export_folder(run, folder, force=earlier)
    assert sorted(contents(folder)) == made["files"]
    assert "license" not in contents(folder)["README.md"].decode().split("---")[1]


def test_a_stopped_export_is_replaced_and_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "hub", tmp_path / "elsewhere.md"
    elsewhere.write_text("kept")
    (folder / STAGE).mkdir(parents=True)
    (folder / STAGE / "spec.yaml").write_text("half")
    made = export_folder(run, folder)
    assert sorted(path.name for path in folder.iterdir()) == made["files"]
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(elsewhere)  # as in a snapshot of the Hub
    (folder / "run.json").unlink()
    (folder / STAGE).mkdir()  # killed while files were put in their places
    assert export_folder(run, folder, force=True) == made
    assert (elsewhere.read_text(), (folder / "README.md").is_symlink()) == ("kept", False)


def test_a_folder_is_not_made_of_a_run_that_is_broken_or_in_a_place_that_is_none(run: Path, tmp_path: Path) -> None:
    for name in ("spec.yaml", "run.json", "columns.json", "best.safetensors"):
        for half in (False, True):
            broken = tmp_path / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(run, broken)
            whole = (broken / name).read_bytes()
            (broken / name).unlink()
            if half:
                (broken / name).write_bytes(whole[: len(whole) // 3])
            done = call("export", broken, "--folder", tmp_path / "hub")
            assert (done.status, (tmp_path / "hub").exists()) == (2, False), (name, half, done)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("loop", "dangling"):
        done = call("export", run, "--folder", tmp_path / name)
        assert (done.status, "is no folder, wanted a new or empty one" in done.told) == (2, True), done


def test_what_a_graph_of_draws_does_not_ask_for_is_refused(run: Path, tmp_path: Path) -> None:
    for words in (("--from", "posterior"), ("--samples", "3")):
        done = call("export", run, "-o", tmp_path / "m.pt2", "--graph", "generate", *words)
        assert (done.status, f"{words[0]} " in done.told) == (2, True), done
    assert not list(tmp_path.iterdir())


def test_a_card_shows_a_file_of_any_name_as_code(run: Path, tmp_path: Path) -> None:
    markdown = pytest.importorskip("markdown_it", reason="cards are rendered where markdown-it-py is there")
    name = "a`b|``<b>`.npz"
    shutil.copytree(run, tmp_path / "run")
    spec = yaml.safe_load((run / "spec.yaml").read_text())
    spec["data"]["file"] = name
    (tmp_path / "run" / "spec.yaml").write_text(yaml.safe_dump(spec))
    export_folder(tmp_path / "run", tmp_path / "hub")
    _, matter, body = (tmp_path / "hub" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(matter)["model-index"][0]["results"][0]["dataset"]["name"] == name
    codes = [token.content for block in markdown.MarkdownIt().parse(body) for token in block.children or []]
    assert source_of(sgc.load(spec)) in codes


def test_the_hub_reads_the_card(run: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="cards are read where huggingface_hub is there")
    export_folder(run, tmp_path / "hub")
    card = hub.ModelCard.load(tmp_path / "hub" / "README.md")
    assert [result.metric_name for result in card.data.eval_results] == [
        "error of y",
        "bound without labels, nats a row",
    ]
    assert card.data.license is None


@pytest.mark.parametrize(
    ("steps", "shape", "event"),
    [
        ([{"mu_law": 100}, "standardize"], (4,), (4,)),
        (["log1p"], (4,), (4,)),
        ([{"divide": 16}, {"binarize": 0.5}, "flatten"], (2, 3), (6,)),
        ([{"crop": [2, 2]}, "flatten"], (4, 5), (4,)),
        ([{"angle": "degrees"}], (2,), (2, 2)),
        ([{"direction": "radians"}], (2,), (3,)),
    ],
)
def test_preprocessing_in_a_graph_is_that_of_the_data(steps: list[Any], shape: Any, event: Any) -> None:
    raw = np.random.default_rng(0).uniform(0, 6, (8, *shape)).astype(np.float32)
    columns = {"columns": {"x": {"column": "c", "transforms": steps}}}
    encoder = opened(json.dumps(columns), Variable("x", event), arrays={"x": raw}).encoders["x"]
    cells = Cells("x", event, None, encoder)
    assert cells.shape == shape
    like = torch.zeros(())
    for row, value in zip(raw, encoder.encode(raw), strict=True):
        read = cells.read(torch.from_numpy(row)[None], like)
        np.testing.assert_allclose(read[0], value, rtol=1e-5, atol=1e-6)
        back = cells.write(torch.from_numpy(value)[None])
        np.testing.assert_allclose(back[0], encoder.decode(value[None])[0], rtol=1e-4, atol=1e-4)


def test_a_graph_says_the_names_of_the_elements_that_it_takes_in_order(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="names of elements are tried with a frame, where pandas is there")
    arrays = small_arrays()
    frame = pandas.DataFrame(arrays["x"], columns=["CD3E", "CD19", "LYZ"])
    sgc.train(small(train__epochs=1), {**arrays, "x": frame}, output=tmp_path / "run")
    for graph in ("predict", "generate"):
        facts = export_run(tmp_path / "run", tmp_path / "model.pt2", graph=graph)
        assert facts["elements"] == {"x": ["CD3E", "CD19", "LYZ"]}


def test_a_graph_says_the_columns_of_a_table_in_order(tmp_path: Path) -> None:
    arrays, names = small_arrays(), ["b", "a", "c"]
    lines = [",".join([*names, "y"]), *(",".join(map(str, [*x, y])) for x, y in zip(*arrays.values(), strict=True))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    columns = {"x": {"column": ["a", "c", "b"]}, "y": {"column": "y"}}
    data = {"source": "table", "file": str(tmp_path / "rows.csv"), "columns": columns, "split": {"validation": 12}}
    sgc.train(sgc.load(small(data=data, train__epochs=1)), output=tmp_path / "run")
    assert export_run(tmp_path / "run", tmp_path / "m.pt2")["elements"] == {"x": ["a", "c", "b"]}


def test_few_whole_numbers_may_round_to_the_one_beside_and_other_numbers_may_not() -> None:
    drawn = torch.arange(4000.0)
    few, many = drawn.clone(), drawn.clone()
    few[7] += 1
    many[:40] += 1
    assert _difference({"x": few}, {"x": drawn}, {"x"}) == 0
    assert _difference({"x": few}, {"x": drawn}) > CLOSE
    assert _difference({"x": many}, {"x": drawn}, {"x"}) > CLOSE
    assert _difference({"x": few[:20]}, {"x": drawn[:20]}, {"x"}) > CLOSE  # of few numbers, none


def test_a_difference_is_one_of_the_scale_of_an_element() -> None:
    wanted = torch.tensor([[1e5, 1e-3], [3.0, 1.0]])  # a number near zero of an element that is large elsewhere
    found = wanted.clone()
    found[1, 0] += 0.02
    assert _difference({"x": found}, {"x": wanted}) < CLOSE
    found[1, 1] += 0.02
    assert _difference({"x": found}, {"x": wanted}) > CLOSE


def test_a_graph_without_a_form_says_which_operation_is_missing() -> None:
    problem, cause = RuntimeError("\x1b[96mstep 3/3\x1b[0m"), ValueError("step")
    cause.__cause__ = KeyError("No ONNX function found for <OpOverload(op='prims.lgamma', overload='default')>.")
    assert _cause(problem) == "step 3/3"
    problem.__cause__ = cause
    assert _cause(problem) == "it has no operation 'lgamma'"


def test_cells_far_from_zero_keep_their_digits_in_a_graph() -> None:
    raw = np.random.default_rng(0).normal(1.6e9, 10, (8, 2))
    columns = {"columns": {"x": {"column": "c", "transforms": ["standardize"]}}}
    encoder = opened(json.dumps(columns), Variable("x", (2,)), arrays={"x": raw}).encoders["x"]
    cells = Cells("x", (2,), None, encoder)
    assert cells.dtype == torch.float64
    value = cells.read(torch.from_numpy(raw[:1]), torch.zeros(()))
    np.testing.assert_allclose(value, encoder.encode(raw[:1]), rtol=1e-4)
    np.testing.assert_allclose(cells.write(value), raw[:1], rtol=0, atol=1e-4)


def test_what_cannot_be_exported_is_refused_by_name() -> None:
    spec = small(nodes__z={"distribution": "Gamma", "shape": [2], "supervision": "none"})
    spec["nodes"]["z"]["recognition"] = {"parents": ["x", "y"], "network": {"mlp": [6]}}
    with pytest.raises(UsageError, match=r"p\(z\): torch draws it by '_standard_gamma'"):
        exported(sgc.compile(spec), "generate")
    with pytest.raises(UsageError, match="'q' is no partially labelled node"):
        exported(sgc.compile(small()), given=["q"])
    with pytest.raises(UsageError, match="nothing is left for a graph to compute"):
        exported(sgc.compile(small()), "generate", ["x", "y", "z"])


@pytest.mark.parametrize(
    ("call", "mean"),
    [
        (lambda: torch.empty(20000).exponential_(2.0), 0.5),
        (lambda: torch.multinomial(torch.tensor([0.0, 3.0, 1.0]).expand(20000, 3), 1).float(), 1.25),
        (lambda: torch.bernoulli(torch.full((20000,), 0.3)), 0.3),
        (lambda: torch.empty(20000).uniform_(1, 3), 2.0),
        (lambda: torch.normal(torch.full((20000,), 4.0), torch.ones(20000)), 4.0),
    ],
)
def test_draws_from_noise_have_their_law(call: Any, mean: float) -> None:
    torch.manual_seed(0)
    with DrawnFromNoise(torch.zeros(())) as mode:
        drawn = call()
    assert drawn.mean() == pytest.approx(mean, abs=0.03)
    with DrawnFromNoise(torch.zeros(()), given=mode.taken):
        assert torch.equal(call(), drawn)


CHAIN: tuple[Any, ...] = (  # every layer, one behind the other, from a picture [3, 8, 8] to a vector
    {"Conv2d": {"out_channels": 4, "kernel_size": 3}},
    *("BatchNorm2d", "InstanceNorm2d", {"GroupNorm": {"num_groups": 2}}, "Dropout2d", "ReLU"),
    *({"PixelShuffle": {"upscale_factor": 2}}, {"MaxPool2d": {"kernel_size": 2}}, {"Upsample": {"scale_factor": 2}}),
    *({"ConvTranspose2d": {"out_channels": 2, "kernel_size": 2}}, {"AvgPool2d": {"kernel_size": 2}}),
    *({"AdaptiveMaxPool2d": {"output_size": 5}}, {"AdaptiveAvgPool2d": {"output_size": 4}}, "Flatten"),
    *({"Unflatten": {"sizes": [2, 16]}}, {"Conv1d": {"out_channels": 3, "kernel_size": 3}}, "BatchNorm1d"),
    *({"ConvTranspose1d": {"out_channels": 2, "kernel_size": 3}}, {"MaxPool1d": {"kernel_size": 2}}, "LayerNorm"),
    *({"AvgPool1d": {"kernel_size": 2}}, {"AdaptiveAvgPool1d": {"output_size": 3}}, "Flatten"),
    *({"BatchNorm1d": {"affine": False}}, {"LayerNorm": {"elementwise_affine": False}}),
    *({"Linear": {"out_features": 4}}, "Dropout", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Hardswish"),
    *("PReLU", "Log1p", "LogNormalize", "Tanh", "Exp", "Softplus", "Sigmoid", "Softmax"),
)


def test_every_layer_is_in_graphs_for_any_number_of_rows() -> None:
    picture = {"distribution": "Normal", "shape": [3, 8, 8], "supervision": "full"}
    picture["generative"] = {"parents": ["z"], "network": {"mlp": [2]}}
    latent: dict[str, Any] = {"distribution": "Normal", "shape": [2], "supervision": "none"}
    latent["recognition"] = {"parents": ["x"], "network": [{"layers": list(CHAIN)}]}
    assert {next(iter(layer)) if isinstance(layer, dict) else layer for layer in CHAIN} == set(LAYERS)
    model = sgc.compile({"version": 1, "nodes": {"x": picture, "z": latent}})
    export = exported(model, samples=1)
    for count in (1, 7, 0):
        x = torch.randn(count, 3, 8, 8)
        found = export.program.exported.module()({"x": x})["z"]
        wanted = model.infer({"x": x}, from_="q")["z"].mean if count else torch.zeros(0, 2)
        torch.testing.assert_close(found, wanted)


def test_a_picture_is_cut_out_in_graphs_for_any_number_of_rows() -> None:
    nodes: dict[str, Any] = {
        name: {"distribution": "Normal", "shape": shape, "supervision": "full"}
        for name, shape in {"x": [1, 6, 6], "size": [1], "at": [2], "z": [2]}.items()
    }
    nodes["z"] |= {"supervision": "none", "recognition": {"parents": ["glimpse"], "network": {"mlp": [3]}}}
    glimpse = {"parents": ["x", "size", "at"], "network": {"affine": {"crop": [1, 3, 4]}}}
    model = sgc.compile({"version": 1, "features": {"glimpse": glimpse}, "nodes": nodes})
    program = exported(model, samples=1).program.exported.module()
    rows = {"x": torch.randn(4, 1, 6, 6), "size": torch.rand(4, 1) + 0.2, "at": torch.randn(4, 2)}
    torch.testing.assert_close(program(rows)["z"], model.infer(rows, from_="q")["z"].mean)


SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.yaml"))
REFUSED = {"multi-mnist": "'k' says how many steps", "multi-mnist-count": "'k' says how many steps"}


@pytest.mark.filterwarnings("ignore:.*its weights are drawn at random")
@pytest.mark.parametrize("graph", ["predict", "generate"])
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_shipped_spec_is_exported_or_refused_by_name(path: Path, graph: Any) -> None:
    """All of them take minutes, so that without onnxruntime, as in continuous integration, one is tried."""
    whole = find_spec("onnxruntime") is not None and find_spec("onnxscript") is not None
    if not whole and (path.stem, graph) != ("two-modalities", "predict"):
        pytest.skip("shipped specs are tried where onnxruntime and onnxscript are there")
    model = sgc.compile(sgc.load(path, overrides=["repeat.t.count=4"] if path.stem == "hmm" else []))
    if path.stem in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[path.stem]):
            exported(model, graph, samples=2)
        return
    export = exported(model, graph, samples=2)
    program = export.program
    if graph == "predict" and not program.noise:
        wanted = model.infer(program.example, from_="q", samples=2)
        for name, value in program.expected.items():
            node, _, what = name.rpartition(".")
            answer = wanted[node].sd if what == "sd" else wanted[node if what == "probability" else name].mean
            torch.testing.assert_close(value, answer, rtol=1e-4, atol=1e-5)
    if whole:
        check_onnx_of(export)


def check_onnx_of(export: Export) -> None:
    """Check that onnxruntime computes what the model does; a draw of whole numbers may round to the one beside it."""
    session = pytest.importorskip("onnxruntime").InferenceSession(onnx_bytes(export))
    program = export.program
    found = session.run(program.outputs, {name: tensor.numpy() for name, tensor in program.example.items()})
    for name, value in zip(program.outputs, found, strict=True):
        apart = np.abs(value - program.expected[name].numpy().astype(float))
        close = apart <= 1e-5 + 1e-4 * np.abs(value)
        whole = name in export.facts["outputs"] and export.facts["outputs"][name]["is"] == "draw"
        assert (close | (whole & (apart <= 1) & (value == np.round(value)))).all(), name
