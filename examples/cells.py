"""scANVI on real cells: `specs/scanvi.yaml` beside logistic regression, neighbours, label spreading and scvi-tools.

    python examples/cells.py [--draws 5] [--scvi-tools]

The cells are the 700 of scanpy's `pbmc68k_reduced` (Zheng et al. 2017), which its package brings: blood, ten types.
Their counts are recovered from its log-normalised values. In each draw a tenth of the cells is for validation, 30 % for
testing, and ten cells of each type (fewer where it has fewer) keep their label. All settings were chosen on validation
cells of other draws.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import sgc

ROOT = Path(__file__).resolve().parent.parent
PER_TYPE, VALIDATION, TEST = 10, 70, 210


def counted_cells() -> tuple[np.ndarray, np.ndarray]:
    """Give counts (cells, genes) and the type of each cell. Exit in words where scanpy or its file is not there."""
    try:
        import scanpy
    except ImportError:
        sys.exit("examples/cells.py needs the cells that scanpy brings: pip install scanpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = scanpy.datasets.pbmc68k_reduced()
    raw = cells.raw.X
    normalised = np.expm1(np.asarray(raw.toarray() if hasattr(raw, "toarray") else raw, dtype=np.float64))
    counts = normalised * cells.obs["n_counts"].to_numpy()[:, None] / 1e4  # they were scaled to 10,000 a cell
    whole = np.rint(counts)
    if np.abs(counts - whole).max() > 0.25:
        sys.exit("the values of pbmc68k_reduced are no scaled counts in this version of scanpy")
    return whole, cells.obs["bulk_labels"].astype(str).to_numpy()


def divide(types: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw training, validation and test cells, each type in its share, and the training cells that keep a label."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(types)), test_size=TEST, stratify=types, random_state=seed)
    train, validation = train_test_split(rest, test_size=VALIDATION, stratify=types[rest], random_state=seed)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(train[types[train] == kind])[:PER_TYPE] for kind in np.unique(types)]
    return train, validation, test, np.concatenate(kept)


def measures(probabilities: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """Give the error, the balanced error and the expected calibration error (Naeini et al. 2015), in %."""
    answer, surest = probabilities.argmax(1), probabilities.max(1)
    wrong = answer != right
    balanced = float(np.mean([wrong[right == kind].mean() for kind in np.unique(right)]))
    bins = np.minimum((surest * 10).astype(int), 9)
    gaps = [abs(surest[bins == i].mean() - (~wrong[bins == i]).mean()) * (bins == i).mean() for i in np.unique(bins)]
    return 100 * float(wrong.mean()), 100 * balanced, 100 * float(sum(gaps))


def baselines(
    counts: np.ndarray, places: np.ndarray, train: np.ndarray, kept: np.ndarray, asked: np.ndarray
) -> dict[str, np.ndarray]:
    """Answer by scikit-learn's methods, on log counts of cells scaled to one size, each gene standardised."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.semi_supervised import LabelSpreading

    size = counts.sum(1, keepdims=True)
    logs = np.log1p(counts / size * np.median(size))
    scaled = np.clip((logs - logs[train].mean(0)) / (logs[train].std(0) + 1e-6), -10, 10)
    components = PCA(30, random_state=0).fit(scaled[train]).transform(scaled)
    some = np.full(len(places), -1)
    some[kept] = places[kept]
    models = {
        "logistic regression": (LogisticRegression(C=0.01, max_iter=2000), scaled, kept, places),
        "5 neighbours, PCA": (KNeighborsClassifier(5), components, kept, places),
        "label spreading": (LabelSpreading(kernel="knn", n_neighbors=7, max_iter=200), components, train, some),
    }
    return {
        name: model.fit(rows[used], labels[used]).predict_proba(rows[asked])
        for name, (model, rows, used, labels) in models.items()
    }


def by_sgc(
    counts: np.ndarray,
    places: np.ndarray,
    train: np.ndarray,
    kept: np.ndarray,
    asked: np.ndarray,
    seed: int,
    more: tuple[str, ...] = (),
) -> np.ndarray:
    """Train `specs/scanvi.yaml` with these genes and types, and give q(type | z1), averaged over draws of z1."""
    import torch

    genes, kinds = counts.shape[1], int(places.max()) + 1
    overrides = [
        f"nodes.counts.shape=[{genes}]",
        f"features.profile.network={{layers: [{{Linear: {genes}}}, Softmax]}}",
        f"nodes.type.values={list(range(kinds))}",
        f"train.seed={seed}",
        *more,
    ]

    def cells(rows: np.ndarray) -> dict[str, Any]:  # Any: arrays of numbers and of names
        own = counts[rows]
        return {"counts": own, "library": own.sum(1), "batch": np.full(len(rows), "a")}

    some = np.full(len(places), -1)
    some[kept] = places[kept]
    spec = sgc.load(ROOT / "specs" / "scanvi.yaml", overrides=overrides)
    with tempfile.TemporaryDirectory() as folder:
        run = sgc.train(spec, data={**cells(train), "type": some[train]}, output=Path(folder) / "run")
        model = sgc.open(run.folder)
    model.eval()
    given, answer = cells(asked), torch.zeros(len(asked), kinds)
    with torch.no_grad():
        state = model.conditional("z1", "recognition", given)
        torch.manual_seed(seed)
        for _ in range(50):
            answer += model.conditional("type", "recognition", {**given, "z1": state.sample()}).probs / 50
    return answer.numpy()


def by_scvi_tools(
    counts: np.ndarray, types: np.ndarray, train: np.ndarray, kept: np.ndarray, asked: np.ndarray, seed: int
) -> np.ndarray:
    """Train scVI and then SCANVI as scvi-tools' tutorials do, with its own settings; types in alphabetical order."""
    import anndata
    import scvi

    scvi.settings.seed = seed
    some = np.full(len(types), "unknown", dtype=object)
    some[kept] = types[kept]

    def cells(rows: np.ndarray) -> Any:  # Any: an AnnData
        return anndata.AnnData(counts[rows].astype(np.float32), obs={"type": some[rows]})

    own = cells(train)
    scvi.model.SCVI.setup_anndata(own, labels_key="type")
    first = scvi.model.SCVI(own, n_layers=2, n_latent=30, gene_likelihood="nb")
    quiet = {"enable_progress_bar": False, "logger": False}
    first.train(max_epochs=400, **quiet)
    model = scvi.model.SCANVI.from_scvi_model(first, labels_key="type", unlabeled_category="unknown")
    model.train(max_epochs=20, n_samples_per_label=PER_TYPE, **quiet)
    answer = model.predict(cells(asked), soft=True)
    return np.asarray(answer[np.unique(types)].to_numpy())


def main() -> None:
    """Print a table: mean and standard deviation over the draws, in %."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--scvi-tools", action="store_true", help="also train scvi-tools' SCANVI, minutes a draw")
    asked_for = parser.parse_args()
    counts, types = counted_cells()
    places = np.searchsorted(np.unique(types), types)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(asked_for.draws):
        train, _, test, kept = divide(types, seed)
        answers = baselines(counts, places, train, kept, test)
        if asked_for.scvi_tools:
            answers["scvi-tools SCANVI"] = by_scvi_tools(counts, types, train, kept, test, seed)
        alone = ("objective.bound=supervised", "objective.kl_weight=1")
        answers["its classifier alone"] = by_sgc(counts, places, train, kept, test, seed, alone)
        answers["sgc, scanvi.yaml"] = by_sgc(counts, places, train, kept, test, seed)
        for name, answer in answers.items():
            found.setdefault(name, []).append(measures(answer, places[test]))
            print(f"draw {seed}  {name:20}  error {found[name][-1][0]:.1f} %", file=sys.stderr, flush=True)
    print(f"{'%':20}  {'error':>12}  {'balanced':>12}  {'calibration':>12}")
    for name, rows in found.items():
        cells = [f"{np.mean(c):.1f} ± {np.std(c):.1f}" for c in zip(*rows, strict=True)]
        print(f"{name:20}  " + "  ".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
