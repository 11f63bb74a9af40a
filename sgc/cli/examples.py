"""Examples at the end of each `--help`, which work in this order in an empty folder; `tests/test_help.py` runs them.

`flowers.csv` stands for data of the user's own, `new.npz` for new rows, `labels.yaml` for a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping

ALL = ("sgc init digits", "sgc inspect digits.yaml", "sgc train digits.yaml", "sgc evaluate runs/digits")

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "list": ("sgc list", "sgc list families"),
    "init": ("sgc init digits", "sgc init flowers --data flowers.csv"),
    "schema": ("sgc schema > sgc.schema.json",),
    "check": ("sgc check digits.yaml --data",),
    "inspect": (
        "sgc inspect digits.yaml",
        "sgc inspect digits.yaml -o model.html",
        "sgc inspect digits.yaml -o digits.svg",
    ),
    "prove": ("sgc prove digits.yaml",),
    "train": ("sgc train digits.yaml --dry-run", "sgc train digits.yaml --set train.epochs=200 -o runs/digits"),
    "evaluate": ("sgc evaluate runs/digits", "sgc evaluate runs/digits --classifier --json > digits.json"),
    "predict": ("sgc predict runs/digits new.npz -o answers.csv",),
    "sample": (
        "sgc sample runs/digits -o digits.png",
        "sgc sample runs/digits -o styles.png --traverse z --given y=3",
    ),
    "explore": ("sgc explore runs/digits",),
    "export": ("sgc export runs/digits -o digits.pt2",),
    "report": ("sgc report runs/digits -o report.html",),
    "compare": (
        "sgc train digits.yaml --set train.epochs=2 --set objective.alpha=3 -o runs/alpha-3",
        "sgc compare runs/digits runs/alpha-3 -o compare.html",
    ),
    "sweep": ("sgc sweep digits.yaml labels.yaml --jobs 2",),
    "data": ("sgc data multi-mnist --digits digits -o multi-mnist",),
}


def epilog(command: str) -> str:
    """Write the examples of a command as the end of its help; an empty text where there are none."""
    lines = ALL if not command else EXAMPLES.get(command, ())
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(("\b", head, *(f"  {line}" for line in lines))) if lines else ""
