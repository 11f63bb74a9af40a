"""Take the predictions that are sure enough to be right, and leave the others to a person.

`sort_out.py FOLDER [ACCURACY]` holds the predictions for the test pictures, `test_said.csv`, against their labels, and
looks for the lowest probability above which that share of them is right (0.98 unless given). Predictions for the new
pictures, `new_said.csv`, that are above it go to `accepted.csv`, the others to `look_at.csv`, the most doubtful first.
Where there is an `answers.csv`, it tells how many of each are right.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

LEVELS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
Said = dict[str, tuple[str, float]]  # by picture: its most probable label, and the probability


def main(folder: Path, accuracy: float = 0.98) -> None:
    """Print what probabilities are worth, and sort the new pictures."""
    said, labels = read_said(folder, "test"), read_labels(folder / "test.csv")
    print("probability    test pictures    said    right")
    chosen = 1.0
    for level in reversed(LEVELS):
        above = [path for path, (_, probability) in said.items() if probability > level]
        if not above:
            continue
        mean = sum(said[path][1] for path in above) / len(above)
        right = sum(said[path][0] == labels[path] for path in above) / len(above)
        print(f"above {level:<5}    {len(above):4} = {len(above) / len(said):4.0%}    {mean:6.1%}   {right:6.1%}")
        if right >= accuracy:
            chosen = level

    said = read_said(folder, "new")
    accepted = sorted(path for path, (_, probability) in said.items() if probability > chosen)
    doubtful = sorted(said.keys() - set(accepted), key=lambda path: said[path][1])
    for name, paths in (("accepted", accepted), ("look_at", doubtful)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = [(path, said[path][0], f"{said[path][1]:.4f}") for path in paths]
            csv.writer(file, lineterminator="\n").writerows([("path", "label", "probability"), *rows])
    print(f"\n{len(said)} new pictures: {len(accepted)} accepted, above {chosen}; {len(doubtful)} to look at")
    if (folder / "answers.csv").exists():
        answers = read_labels(folder / "answers.csv")
        for name, paths in (("accepted", accepted), ("to look at", doubtful)):
            right = sum(said[path][0] == answers[path] for path in paths)
            print(f"of the {len(paths)} {name}, {right} are right" + (f": {right / len(paths):.1%}" if paths else ""))


def read_said(folder: Path, part: str) -> Said:
    """Read the predictions for a folder of pictures: by path, the most probable label and its probability."""
    with (folder / f"{part}_said.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = [max(float(cell) for name, cell in row.items() if name.startswith("y.prob")) for row in rows]
    return {f"{part}/{row['path']}": (row["y"], sure) for row, sure in zip(rows, probabilities, strict=True)}


def read_labels(path: Path) -> dict[str, str]:
    """Read a table of paths and labels."""
    with path.open(newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: sort_out.py FOLDER [ACCURACY]")
    try:
        main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
    except (FileNotFoundError, ValueError) as problem:  # predictions come first, as README.md says
        sys.exit(f"sort_out.py: {problem}")
