"""The pictures of `sgc sample` as an array for trackers, of a model that is being trained or has been."""

from __future__ import annotations

import io

import numpy as np
import torch

from sgc.data.dataset import DataSet
from sgc.errors import UsageError
from sgc.randomness import Generators, drawing_from
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.model import Model
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.samples.overview import Overview, shown_node
from sgc.samples.panels import panels_png
from sgc.samples.shown_rows import HeldOut

COUNT = 40  # samples, as `sgc sample` draws
SPLITS = ("validation", "train")  # test rows are not looked at while a model is trained


def has_pictures(model: Model) -> bool:
    """Tell whether a model generates pictures without being given anything."""
    if not model.spec.maximised.generative or inputs_wanted(model.outline, {}):
        return False
    try:
        shown_node(model, ".png")
    except UsageError:
        return False
    return True


def overview_array(model: Model, dataset: DataSet) -> np.ndarray:
    """Draw samples, a row for each category, and reconstructions, as bytes [height, width, 3].

    The draws are the same every time, and training goes on as if there had been none. Raises: UsageError without
    matplotlib; RunError where nothing is finite.
    """
    seed, training = model.spec.train.seed, model.training
    model.eval()
    try:
        with drawing_from(Generators(seed_for(seed, VALIDATION, 3))), torch.no_grad():
            overview = Overview(model, shown_node(model, ".png"), {})
            panels = [overview.samples(COUNT), *overview.categories()]
            panels += overview.reconstructions(lambda: HeldOut(dataset, model, seed, SPLITS))
            png = panels_png(panels, f"{model.spec.name}, epoch {model.epoch:g}")
    finally:
        model.train(training)
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
