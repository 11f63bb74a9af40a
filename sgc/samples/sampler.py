"""What a trained model makes: samples, reconstructions, each category, and rows of which one node is turned.

Pixels are the means of their distributions. Without a picture among its observed nodes, a model gives numbers (.npz).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.outputs import check_output, write_output
from sgc.distributions.row_totals import OWN_SUM
from sgc.errors import UsageError, option, suggest
from sgc.randomness import Generators, drawing_from
from sgc.runs.file_formats import npz_bytes
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.model import Model
from sgc.runtime.steps import steps_of
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.samples.overview import Overview, generated
from sgc.samples.panels import draw_panels, whole_picture
from sgc.samples.shown_rows import HeldOut
from sgc.samples.traversal_rows import Turner
from sgc.trained.prediction_table import cell_text
from sgc.trained.run_evaluation import run_data

ENDINGS = (".png", ".npz")


def sample_run(
    run: Path,
    output: Path,
    *,
    checkpoint: str = "best",
    count: int = 40,
    seed: int | None = None,
    given: Mapping[str, Any] | None = None,  # Any: values as a spec may hold them
    analogies: str | None = None,
    traverse: str | None = None,
    arrays: Any = None,  # Any: a mapping to arrays, or a data frame
    trust: bool = False,
) -> dict[str, Any]:
    """Write pictures (`.png`) or numbers (`.npz`) that a trained model makes.

    Without `analogies` and `traverse`, a picture holds samples; for each node with categories a row for every one (ten
    of them where there are more), all else alike down a column; and held-out rows above their reconstructions.

    `analogies: y` turns y through its categories (ten, evenly spaced, where there are more), in held-out rows.
    `traverse: l`, of a node of numbers with labels, turns it through values that held-out rows have: evenly spaced
    quantiles, of vectors along their first principal axis. `traverse: z`, of a node that is never observed, moves one
    dimension at a time from -3 to 3 in one row. What q says of the row stays, but for what follows the node that is
    turned (the rule stands at `sgc.samples.traversal.followers`): a node whose recognition reads nothing observed, only
    nodes of which one has changed, is proposed anew; one that depends in p on what has changed is generated anew.
    Which rows are taken: see `sgc.samples.shown_rows`.

    given: nodes and inputs that are held, beside what is turned too. seed: of draws and of the choice of rows.
    trust: allow own code that the run's spec names.

    Returns: the file, the panels or arrays in it, which held-out rows were taken, and under `failures` what of it is
    not finite, which is missing. Raises: SpecError, UsageError, DataError; RunError where nothing is finite. Any: what
    JSON can say.
    """
    check_output(output, ENDINGS)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    check_output(output, ENDINGS, folder.inputs(model.spec))
    start = model.spec.train.seed if seed is None else seed
    with drawing_from(Generators(seed_for(start, VALIDATION, 3))), torch.no_grad():
        held = _known(model, given or {})
        if analogies is None and traverse is None:
            _want_inputs(model, held)
            if output.suffix == ".npz":
                failures: list[str] = []
                made = generated(model, count, held, failures)
                numbers = {name: _as_in_data(model, name, each) for name, each in made.items()}
                return _write_numbers(output, numbers) | _failed(failures)
        node = _shown_node(model, output.suffix)

        def held_out() -> HeldOut:
            return HeldOut(run_data(folder, model, arrays), model, start)

        more: dict[str, Any] = {}
        if analogies is None and traverse is None:
            maker = Overview(model, node, held)
            panels = [maker.samples(count), *maker.categories(), *maker.reconstructions(held_out)]
            more = maker.taken | ({"left_out": maker.left_out} if maker.left_out else {}) | _failed(maker.failures)
        else:
            turner = Turner(model, node, held, held_out)
            found = turner.analogies(analogies) if analogies is not None else turner.traverse(traverse or "")
            more = turner.held_out.taken() | _failed([*turner.held_out.failures, *found.failures(model, node)])
            if output.suffix == ".npz":
                numbers = {name: each.cpu().numpy() for name, each in found.arrays(model, node).items()}
                return _write_numbers(output, numbers) | more
            panels = [found.panel(model, node)]
    draw_panels(panels, output, f"{model.spec.name}, epoch {model.epoch:g}")
    return {"file": str(output), "node": node, "panels": [panel.title for panel in panels], **more}


def _failed(failures: list[str]) -> dict[str, Any]:  # Any: what JSON can say
    return {"failures": list(dict.fromkeys(failures))} if failures else {}


def _as_in_data(model: Model, name: str, value: Tensor) -> np.ndarray:
    """Give categories by the names that they have in data; −1, or no text, where one is missing."""
    owner = model.outline.outer.get(name) or model.outline.inputs[name]
    places: np.ndarray = value.cpu().numpy()
    if owner.values is None:
        return places
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in owner.values)
    names = np.array([*owner.values, -1] if numbers else [*map(cell_text, owner.values), ""])
    found: np.ndarray = names[places]  # the last one is that of −1
    return found


def _want_inputs(model: Model, held: Mapping[str, Any]) -> None:  # Any: as above
    missing = inputs_wanted(model.outline, held)
    if missing:
        how = option("given", f"{missing[0]}=VALUE", python=f"given={{'{missing[0]}': VALUE}}")
        raise UsageError(f"the input '{missing[0]}' must be given: {how}")


def _known(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:  # Any: values as a spec may hold them
    known = [*model.outline.outer, *model.outline.inputs]
    for name in given:
        if name not in known and name not in model.outline.outer_name:
            raise UsageError(f"{option('given')}: no node or input named '{name}' ({suggest(name, known)})")
    return dict(given)


def _write_numbers(output: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:  # Any: what JSON can say
    write_output(output, npz_bytes(arrays))
    return {"file": str(output), "arrays": {name: list(value.shape) for name, value in arrays.items()}}


def _shown_node(model: Model, ending: str) -> str:
    """Choose the node that is shown: a picture, an observed one first; in numbers, else the first observed node."""
    variables = model.outline.outer
    observed = [name for name, each in variables.items() if each.supervision != "none" and each.categories is None]
    shown = [name for name in observed if whole_picture(variables[name].event, steps_of(model.outline, name))]
    if not shown and ending == ".png":
        own = [name for name, each in model.outline.variables.items() if each.total == OWN_SUM]
        known = f", and give '{own[0]}': its total is its own sum" if own else ""
        raise UsageError(f"no observed node is a picture: write numbers with -o FILE.npz{known}")
    shown = shown or observed
    if not shown:
        raise UsageError("every observed node is a category: there are no numbers to be shown")
    return next((name for name in shown if variables[name].supervision == "full"), shown[0])
