"""README and the pages of the documentation are true: each command and each block runs, each link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import make_pages
import pytest
from key_examples import place_of, placed
from page_blocks import NOT_RUN, ROOT, Block, blocks, commands, in_order, matches, merged, page_run, shape

from sgc.data.sources.source import Section, Source
from sgc.errors import Fault, SpecError
from sgc.spec.loader import load

DOCS = ROOT / "docs"
GUIDES_OF_THEIR_OWN = "adding-a"  # tests/test_extending_pages.py runs these pages
INCLUDED = {"contributing.md", "results.md", "changelog.md"}  # pages that hold a file of the root
FEW = 15  # blocks that no test runs
WORDS = 6  # of a paragraph that may not stand twice


def written_pages() -> list[Path]:
    """List the pages that are written by hand or committed: README and those under docs/."""
    pages = (page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
    return [ROOT / "README.md", *sorted(page for page in pages if not generated(page))]


def generated(page: Path) -> bool:
    """Tell whether a page is made anew with each build, from specs/."""
    return page.parent.name == "gallery" and page.name != "index.md"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUN = [page for page in written_pages() if not page.name.startswith(GUIDES_OF_THEIR_OWN) and page.name not in INCLUDED]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_what_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list(blocks(page.read_text(encoding="utf-8")))
    if not shown:
        return
    with page_run(name_of(page), tmp_path, monkeypatch) as run:
        for block in shown:
            run.run(block)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left = [
        f"{name_of(page)}:{block.line}: {NOT_RUN[block.not_run]}"
        for page in RUN
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.not_run
    ]
    print("\n".join(left))
    assert len(left) <= FEW, "\n".join(left)


# ---- the guard itself


def test_blocks_are_found_with_their_files_and_marks() -> None:
    page = (
        "```yaml spec.yaml\na: 1\n```\n- a list\n\n  ```console not-run-gpu\n  $ torchrun x\n  ```\n"
        "```{code-block} python\n:caption: mine.py\n:class: not-run-theirs\n\nimport pyro\n```\n"
        "````{note}\n```text\nhello\n```\n````\n```{toctree}\na\n```\n"
    )
    found = list(blocks(page))
    assert [(block.language, block.file, block.not_run) for block in found] == [
        ("yaml", "spec.yaml", ""),
        ("console", "", "not-run-gpu"),
        ("python", "mine.py", "not-run-theirs"),
        ("text", "", ""),
    ]
    assert [block.text for block in found] == ["a: 1\n", "$ torchrun x\n", "import pyro\n", "hello\n"]
    assert list(commands("$ a \\\n  b\nout\n\n$ c\n")) == [("a  b", ["out"]), ("c", [])]


def test_what_is_printed_is_compared() -> None:
    assert matches(["a", "…", "d 4"], ["a", "b", "c", "d 4"])
    assert not matches(["a", "c"], ["a", "b", "c"])
    assert matches(["a … c"], ["a b c"])
    assert shape("error   -12.5 ± 0.3 %  ----") == shape("error -7 ± 1,000 % ------")
    assert in_order(["error 3 %", "…", "end"], ["x", "error 12.5 %", "y", "end"]) is None
    assert in_order(["end", "error 3 %"], ["error 12.5 %", "end"]) == "error 3 %"
    assert in_order(["warning: none"], ["error 12.5 %"]) is None
    values = ["rows   1,200: −0.251 … ± 3.0e-05 nats"]
    assert in_order(values, ["rows 1,200: −0.2514 of x ± 3.04e-05 nats"], by_value=True) is None
    for stale in ("1,201: −0.251", "1,200: −0.254", "1,200: 0.251"):
        assert in_order(values, [f"rows {stale} of x ± 3.0e-05 nats"], by_value=True) == values[0]
    assert in_order(["in 2.0 s"], ["in 31.5 s"], by_value=True) is None
    spec = {"data": {"a": 1}, "nodes": {"y": {"network": {"mlp": []}, "shape": 2}, "z": 1}, "train": {"epochs": 2}}
    piece = {"data": {"b": 2}, "nodes": {"y": {"network": {"conv": 1}}}, "train": {"seed": 0}}
    assert merged(spec, piece) == {
        "data": {"b": 2},
        "nodes": {"y": {"network": {"conv": 1}, "shape": 2}, "z": 1},
        "train": {"epochs": 2, "seed": 0},
    }


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (Block(1, "console", (), "$ sgc check specs/digits.yaml\nspecs/digits.yaml: no\n"), "prints:\nspecs/digits"),
        (Block(1, "console", (), "$ sgc check specs/none.yaml\n"), "ended with 2, not 0"),
        (Block(1, "console", (), "$ rm -r specs\n"), "no rule for 'rm'"),
        (Block(1, "text", (), "hello\n"), "nothing printed this line:\nhello"),
        (Block(1, "yaml", (), "parents: [x]\n"), "say where it belongs"),
        (Block(1, "cobol", (), "x\n"), "no rule for a block of 'cobol'"),
        (Block(1, "pycon", (), ">>> 1 + 1\n3\n"), "Expected:\n    3\nGot:\n    2"),
    ],
    ids=["output", "status", "program", "text", "piece", "language", "doctest"],
)
def test_what_is_not_true_is_told(block: Block, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page_run("page.md", tmp_path, monkeypatch) as run, pytest.raises(AssertionError) as wrong:
        run.run(block)
    assert re.match(r"page.md, line 1: ", str(wrong.value))
    assert told in str(wrong.value)


# ---- what is generated


def test_what_pages_take_from_the_code_is_what_the_code_says() -> None:
    """`python docs/make_pages.py` writes it anew."""
    stale = [page for page in make_pages.pages() if make_pages.written(text := page.read_text("utf-8")) != text]
    assert [name_of(page) for page in stale] == []


def test_every_key_is_described_and_has_an_example() -> None:
    without = [
        f"{name}.{field}"
        for name, kind in make_pages.PIECES.items()
        for field, info in kind.model_fields.items()
        if field != "source" and not (info.description and info.examples)
    ]
    assert without == []


def test_the_examples_of_keys_are_taken_by_the_loader() -> None:
    """Each in a whole spec, where its key belongs; what is wrong with the spec elsewhere does not matter here."""
    refused, taken = [], 0
    for name, kind in make_pages.PIECES.items():
        shared = Section.model_fields if issubclass(kind, Source) else {}
        for field, info in kind.model_fields.items():
            key = info.alias or field
            if key in shared or (name, key) in ELSEWHERE:
                continue
            for value in info.examples or ():
                spec, path = placed(place_of(name, kind, key), key, value)
                refused += [(path, value, fault.message) for fault in faults(spec) if fault.path[: len(path)] == path]
                taken += 1
    assert refused == []
    assert taken > 150


ELSEWHERE = {("OwnObject", "python"), ("OwnObject", "options"), ("Part", "spec")}  # they name files of a user's


def faults(spec: dict[str, Any]) -> tuple[Fault, ...]:
    try:
        load(spec, trust=True)
    except SpecError as wrong:
        return tuple(wrong.faults)
    return ()


@pytest.mark.parametrize("page", written_pages(), ids=name_of)
def test_rows_of_tables_have_as_many_cells_as_their_heads(page: Path) -> None:
    """A bar within a cell is written with a backslash before it, in code too."""
    wide, uneven = 0, []
    for line in page.read_text(encoding="utf-8").splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        if bars and wide and bars != wide:
            uneven.append(line)
        wide = (wide or bars) if bars else 0
    assert uneven == []


# ---- links

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?(?: \"[^\"]*\")?\)")
HOLD = [*written_pages(), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "specs/RESULTS.md"))]


def anchors(page: Path) -> set[str]:
    """Name what links of a page may lead to: its headings as a forge names them, and the names that it gives."""
    text = page.read_text(encoding="utf-8")
    if included := re.search(r"```\{include\} (\S+)", text):
        text += (page.parent / included[1]).read_text(encoding="utf-8")
    outside = re.sub(r"^(`{3,}|:{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    names = set(re.findall(r"^\(([\w-]+)\)=$", outside, flags=re.MULTILINE))
    seen: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} (.+)$", outside, flags=re.MULTILINE):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        names.add(slug if slug not in seen else f"{slug}-{seen[slug]}")
        seen[slug] = seen.get(slug, 0) + 1
    return names


@pytest.mark.parametrize("page", HOLD, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for link, heading in LINK.findall(text):
        goal = (page.parent / link).resolve() if link else page
        if generated(goal) and (ROOT / "specs" / f"{goal.stem}.yaml").exists():
            continue
        if not goal.exists() or (heading and heading not in anchors(goal)):
            lost.append(f"{link}#{heading}" if heading else link)
    assert lost == []


def test_no_page_is_a_promise() -> None:
    short = [page for page in RUN if len(page.read_text(encoding="utf-8").split()) < 60]
    assert [name_of(page) for page in short] == []


def test_no_paragraph_stands_twice() -> None:
    """A page that needs it again has a link; what is made from the code says of each kind what it is."""
    places: dict[str, list[str]] = {}
    for page in RUN:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<!-- begin .*?<!-- end -->|^(`{3,}).*?^\1$", "\n\n", text, flags=re.MULTILINE | re.DOTALL)
        for paragraph in re.split(r"\n\s*\n|\n(?=- )", text):
            words = paragraph.split()
            if len(words) >= WORDS:
                places.setdefault(" ".join(words), []).append(name_of(page))
    assert {start[:80]: pages for start, pages in places.items() if len(pages) > 1} == {}


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            entries = [line for line in tree.splitlines() if line.strip() and not line.startswith(":")]
            listed |= {(page.parent / f"{entry.strip()}.md").resolve() for entry in entries if "*" not in entry}
    assert [name_of(page) for page in written_pages()[1:] if page not in listed] == []


# ---- the pages as Sphinx makes them


@pytest.mark.filterwarnings("ignore")  # of MyST about Sphinx to come
def test_the_pages_are_made_without_a_warning_and_ask_no_other_machine(tmp_path: Path) -> None:
    build = pytest.importorskip("sphinx.cmd.build", reason="needs Sphinx: pip install 'sgc[docs]'")
    pytest.importorskip("myst_parser", reason="needs MyST: pip install 'sgc[docs]'")
    pytest.importorskip("furo", reason="needs Furo: pip install 'sgc[docs]'")
    arguments = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    assert build.main([*arguments, str(DOCS), str(tmp_path / "html")]) == 0
    asked = set()
    for page in (tmp_path / "html").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            asked |= {address for address in re.findall(r"""(?:src|href)=["']([^"']+)""", tag) if "//" in address}
    for sheet in (tmp_path / "html").rglob("*.css"):
        asked |= set(re.findall(r"""url\(["']?(https?:[^)"']+)""", sheet.read_text(encoding="utf-8")))
    assert asked == set()
