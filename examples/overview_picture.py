"""Draw the picture at the head of README: a spec, what is derived from it, and what the trained model draws.

`python examples/overview_picture.py` writes examples/pictures/overview.svg from specs/digits.yaml, its plans, and
examples/pictures/digits-samples.png, which `make demo` has made. Text becomes outlines, so that it looks the same
wherever it is shown, and everything stands on cards of its own colour, which light and dark pages both suit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import sgc
from sgc.derivation.derive import derive
from sgc.spec.resolver import outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "specs" / "digits.yaml"
SAMPLES = ROOT / "examples" / "pictures" / "digits-samples.png"
GOAL = ROOT / "examples" / "pictures" / "overview.svg"
PANEL = (138, 458, 968, 1289)  # of the samples: one row a digit, one style a column; left, top, right, bottom in pixels

INK, FAINT, CARD, EDGE = "#1f2328", "#656d76", "#ffffff", "#d0d7de"
BLUE, ORANGE, GREEN = "#1f5fa8", "#b35900", "#1a7f37"
MONO, SANS = "DejaVu Sans Mono", "DejaVu Sans"
WIDTH, HEIGHT = 11.7, 4.95  # inches


def shown_lines() -> list[str]:
    """List the lines that are shown: the nodes of the spec without comments, and its objective in one line."""
    text = SPEC.read_text(encoding="utf-8")
    part = text[text.index("nodes:") : text.index("objective:")]
    lines = [re.sub(r"\s+#.*", "", line) for line in part.splitlines()]
    split = [broken(line) for line in lines if line.strip()]
    options = sgc.load(SPEC).objective.model_dump(exclude_defaults=True)
    objective = ", ".join(f"{name}: {value:g}" for name, value in options.items())
    return [*"\n".join(split).splitlines(), f"objective: {{{objective}}}"]


def broken(line: str) -> str:
    """Break a line that is wider than its card."""
    at = line.rfind(", estimator:") if ", estimator:" in line else line.rfind(", network:")
    return line if len(line) < 58 else f"{line[: at + 1]}\n{' ' * (line.index('{') + 1)}{line[at + 2 :]}"


def formulas(labels: set[str]) -> list[str]:
    """List the rows of the derived objective of rows with these labels, as formulas that matplotlib sets."""
    made = outline(sgc.load(SPEC))
    latex = derive(made.graphs, labels, made.words).latex()
    rows = [row for row in latex.splitlines() if not row.startswith((r"\begin", r"\end"))]
    cleaned = []
    for row in rows:
        row = row.removesuffix(r"\\").replace("&", "").replace(r"\quad", r"\ \ \ ").strip()
        for word, plain in ((r"\left", ""), (r"\right", ""), (r"\|", r"\Vert")):
            row = row.replace(word, plain)
        cleaned.append(f"${row}$")
    cleaned[:2] = [rf"{cleaned[0][:-1]} \qquad {cleaned[1][1:]}"]  # r and w side by side
    return [piece for row in cleaned for piece in wrapped(row)]


def wrapped(row: str) -> list[str]:
    """Break a long formula before its divergence."""
    before, sign, after = row.partition(r" - \mathrm{KL}")
    return [row] if len(row) < 100 or not sign else [f"{before}$", rf"$\ \ \ \ \ \ -\ \mathrm{{KL}}{after}"]


def draw(goal: Path = GOAL) -> None:
    """Draw the picture."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "sgc", "mathtext.fontset": "cm", "font.family": SANS})
    figure = plt.figure(figsize=(WIDTH, HEIGHT), facecolor="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.axis("off")
    cards = ((0.02, 4.36, "You write"), (4.42, 3.98, "sgc derives"), (8.44, 3.22, "and the model draws"))
    for left, width, title in cards:
        card(axes, left, width, title)
    write_spec(axes, 0.24)
    write_formulas(axes, 4.66)
    place_samples(axes, 8.66)
    figure.savefig(goal, format="svg", transparent=True, metadata={"Date": None})


def card(axes: Axes, left: float, width: float, title: str) -> None:
    """Draw one card with its title."""
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch((left + 0.05, 0.08), width - 0.1, HEIGHT - 0.16, boxstyle="round,pad=0,rounding_size=0.12")
    box.set(facecolor=CARD, edgecolor=EDGE, linewidth=1.2)
    axes.add_patch(box)
    axes.text(left + 0.2, 0.42, title, fontsize=13, fontweight="bold", color=INK, va="center")


def write_spec(axes: Axes, left: float) -> None:
    """Write the lines of the spec, keys in blue and statuses in orange."""
    size, advance = 8.3, 8.3 * 0.6021 / 72
    for number, line in enumerate(shown_lines()):
        top = 0.82 + number * 0.205
        for piece in re.finditer(r"\w+(?=:)|(?:full|partial|none|auto|elbo|enumerate)\b|\S|\s+", line):
            if piece[0].isspace():
                continue
            color = BLUE if line[piece.end() : piece.end() + 1] == ":" and piece[0].isidentifier() else INK
            color = ORANGE if piece[0] in ("full", "partial", "none") else color
            axes.text(
                left + piece.start() * advance, top, piece[0], fontsize=size, family=MONO, color=color, va="center"
            )


def write_formulas(axes: Axes, left: float) -> None:
    """Write the derived objective of rows without and with a label."""
    top = 0.9
    for title, labels in (("rows without a label", set()), ("rows with y labelled", {"y"})):
        axes.text(left, top, title, fontsize=10.5, color=FAINT, va="center")
        top += 0.42
        for row in formulas(labels):
            axes.text(left, top, row, fontsize=12.5, color=INK, va="center")
            top += 0.43
        top += 0.3


def place_samples(axes: Axes, left: float) -> None:
    """Lay the samples down: a row for each digit, a column for each style."""
    from PIL import Image

    with Image.open(SAMPLES) as whole:
        panel = whole.convert("L").crop(PANEL)
    side = 2.7
    low = 0.98
    axes.imshow(
        panel,
        extent=(left, left + side, low + side, low),
        cmap="gray",
        interpolation="nearest",
        aspect="auto",
        zorder=3,
    )
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.text(left, low - 0.18, "rows: digit y, columns: style z", fontsize=10.5, color=FAINT, va="center")
    for number, (name, value, color) in enumerate(results()):
        top = low + side + 0.3 + number * 0.3
        axes.text(left, top, name, fontsize=10.5, color=color, va="center")
        axes.text(left + side, top, value, fontsize=11.5, fontweight="bold", color=color, va="center", ha="right")
    axes.text(left, low + side + 0.3 + 0.62, "test error, 50 labels", fontsize=9.5, color=FAINT, va="center")


def results() -> list[tuple[str, str, str]]:
    """Read the two errors that the picture names from the table of results."""
    text = (ROOT / "specs" / "RESULTS.md").read_text(encoding="utf-8")
    part = text[text.index("scikit-learn's digits, 50 labels") :]
    found = re.search(r"q\(y \| x\) ([\d.]+) ± .*?classifier alone ([\d.]+) ±", part, flags=re.DOTALL)
    assert found is not None
    return [
        ("classifier alone", f"{float(found[2]):.1f} %", FAINT),
        ("with p, by sgc", f"{float(found[1]):.1f} %", GREEN),
    ]


if __name__ == "__main__":
    draw()
    print(GOAL.relative_to(ROOT))
