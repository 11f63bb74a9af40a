"""Pictures from a trained model: samples, reconstructions, each category, and rows in which one node is turned.

Pixels are the means of their distributions. A model without a picture among its observed nodes gives numbers (.npz).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.data.outputs import check_output, write_output
from sgc.errors import UsageError, option, suggest
from sgc.randomness import Generators, drawing_from
from sgc.runs.file_formats import npz_bytes
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.model import Model
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.samples.overview import Overview, generated, shown_node
from sgc.samples.panels import draw_panels
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

    Without `analogies` and `traverse`, a picture has samples; for each node with categories a row for each of them (ten
    if there are more), with everything else the same in a column; and held-out rows above their reconstructions.

    `analogies: y` turns y through its categories (ten, evenly spaced, if there are more), in held-out rows.
    `traverse: l`, for a labelled node of numbers, turns it through values in the held-out rows: evenly spaced
    quantiles, for vectors along their first principal axis. `traverse: z`, for a node that is never observed, moves one
    dimension at a time from -3 to 3 in one row. The rest stays as q infers it, except the nodes that follow the turned
    one (`sgc.samples.traversal.followers` has the rule): a node whose recognition reads no observed node, but one that
    has changed, is proposed anew; a node that depends in p on a changed one is generated anew. For the choice of rows,
    see `sgc.samples.shown_rows`.

    given: values of nodes and inputs to hold, also while another node is turned. seed: of draws and of the choice of
    rows. trust: allow own code that the run's spec names.

    Returns: the file, its panels or arrays, the held-out rows that are shown, and under `failures` what is missing
    because it is not finite. Any: what JSON can say. Raises: SpecError, UsageError, DataError; RunError if nothing is
    finite.
    """
    check_output(output, ENDINGS)
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    check_output(output, ENDINGS, folder.inputs(model.spec))
    start = model.spec.train.seed if seed is None else seed
    with drawing_from(Generators(seed_for(start, VALIDATION, 3))), torch.no_grad():
        held = _known(model, given or {})
        if analogies is None and traverse is None:
            _check_inputs(model, held)
            if output.suffix == ".npz":
                failures: list[str] = []
                drawn = generated(model, count, held, failures)
                numbers = {name: _as_in_data(model, name, value) for name, value in drawn.items()}
                return _write_numbers(output, numbers) | _failed(failures)
        node = shown_node(model, output.suffix)

        def held_out() -> HeldOut:
            return HeldOut(run_data(folder, model, arrays), model, start)

        more: dict[str, Any] = {}
        if analogies is None and traverse is None:
            overview = Overview(model, node, held)
            panels = [overview.samples(count), *overview.categories(), *overview.reconstructions(held_out)]
            left_out = {"left_out": overview.left_out} if overview.left_out else {}
            more = overview.taken | left_out | _failed(overview.failures)
        else:
            turner = Turner(model, node, held, held_out)
            turned = turner.analogies(analogies) if analogies is not None else turner.traverse(traverse or "")
            more = turner.held_out.taken() | _failed([*turner.held_out.failures, *turned.failures(model, node)])
            if output.suffix == ".npz":
                numbers = {name: value.cpu().numpy() for name, value in turned.arrays(model, node).items()}
                return _write_numbers(output, numbers) | more
            panels = [turned.panel(model, node)]
    draw_panels(panels, output, f"{model.spec.name}, epoch {model.epoch:g}")
    return {"file": str(output), "node": node, "panels": [panel.title for panel in panels], **more}


def _failed(failures: list[str]) -> dict[str, Any]:  # Any: what JSON can say
    return {"failures": list(dict.fromkeys(failures))} if failures else {}


def _as_in_data(model: Model, name: str, value: Tensor) -> np.ndarray:
    """Give categories by their names in the data; −1, or empty text, if one is missing."""
    owner = model.outline.outer.get(name) or model.outline.inputs[name]
    places: np.ndarray = value.cpu().numpy()
    if owner.values is None:
        return places
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in owner.values)
    names = np.array([*owner.values, -1] if numbers else [*map(cell_text, owner.values), ""])
    return np.asarray(names[places])  # −1 is the place of the last


def _check_inputs(model: Model, held: Mapping[str, Any]) -> None:  # Any: as above
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
