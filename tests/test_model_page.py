"""The page of a model: its formulas are the plan's, everybody can read and steer it, what a spec says stays text."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import DESK, PHONE, visit
from drawn_specs import Specs
from test_cli import call
from test_expanding import EVERYTHING, VARIANTS, model

from sgc.report.pages.formula_mathml import Factors
from sgc.report.pages.graph_svg import node_names
from sgc.report.pages.model_page import model_page
from sgc.report.pages.pattern_sections import patterns_of
from sgc.report.plated_plan import PlatedPlan
from sgc.report.plates import plated
from sgc.report.products import product
from sgc.report.shown_patterns import shown
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
HOSTILE = "</script><script>document.title='mine'</script><img src=x onerror=\"document.title='mine'\"><!--"
VOID = {"meta", "link", "br", "img", "input", "hr"}


def shipped(name: str) -> Outline:
    return outline(load(ROOT / "specs" / f"{name}.yaml"))


def drawn(seed: int) -> Outline:
    return outline(load(Specs(random.Random(seed)).draw().spec))


# the shipped specs, one that has everything in many ways, and drawn ones
KINDS: dict[str, Callable[[], Outline]] = {
    **{path.stem: partial(shipped, path.stem) for path in SPECS},
    **{f"variant {i}": partial(model, EVERYTHING, *variant) for i, variant in enumerate(VARIANTS)},
    **{f"drawn {seed}": partial(drawn, seed) for seed in range(12)},
}


# ---- formulas


def linear(each: ET.Element) -> str:
    """Write MathML, and the HTML around it, in a line as the text report does."""
    parts = [linear(child) + (child.tail or "") for child in each]
    if each.get("class") == "tag":
        return ""
    if each.tag == "mfrac":
        return f"({parts[0]}/{parts[1]})"
    if each.tag == "msub":
        return f"{parts[0]}_{parts[1]}"
    if each.tag == "msup":
        return f"{parts[0]}{parts[1]}" if parts[1] == "*" else f"{parts[0]}^{parts[1]}"
    if each.tag == "munderover":
        below, above = parts[1], parts[2]
        once = below.endswith(f"={above}")
        return f"{ {'∑': 'sum', '∏': 'prod'}[parts[0]] }_{{{below if once else f'{below}..{above}'}}}"
    return (each.text or "") + "".join(parts)


def text_of(html: str) -> str:
    text = linear(ET.fromstring(f"<p>{html}</p>"))
    for sign, plain in (("ℒ", "L"), ("𝔼", "E"), ("∣", "|"), ("∥", "||"), ("−", "-"), ("\u2061", ""), ("E_r", "E_r")):
        text = text.replace(sign, plain)
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("of", KINDS)
def test_formulas_of_the_page_are_those_of_the_text(of: str) -> None:
    made = KINDS[of]()
    view = plated(made)
    for pattern in patterns_of(view, shown(view.outline)[0]):
        writer = pattern.writer
        bound = writer.exact_bound() if isinstance(writer, PlatedPlan) else writer.bound()
        source = f"({writer.words.bound.source})"
        expected = [re.sub(r"\s", "", line.replace(source, "")) for line in bound]
        assert [text_of(line) for line in pattern.bound.lines()] == expected
        terms = [*map(writer.term, writer.plan.terms), *map(writer.label_term, writer.plan.weights)]
        assert [text_of("".join(map(str, pattern.pieces(row)))) for row in pattern.rows] == [
            re.sub(r"\s", "", term) for term in terms
        ]
        tags = [piece.tag for piece in (*writer.plan.terms, *writer.plan.weights)]
        assert [row.target.tag for row in pattern.rows] == tags
    for role in ("generative", "recognition"):
        assert text_of("".join(Factors(view).joint(role))) == re.sub(r"\s", "", product(made, role))


# ---- what a browser takes for valid


class Structure(HTMLParser):
    """Keeps the ids and links of a page, and what is not closed as it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.links += [named["href"] or ""] if "href" in named else []
        if len(named) < len(attrs):
            self.faults.append(f"an attribute twice: {attrs}")
        if tag == "a" and "a" in self.open:
            self.faults.append(f"a link within a link: {attrs}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> in {self.open[-3:]}")
        else:
            self.open.pop()


@pytest.mark.parametrize("of", KINDS)
def test_pages_are_well_formed_and_their_links_lead_somewhere(of: str) -> None:
    made = KINDS[of]()
    page = model_page(made)
    found = Structure()
    found.feed(page)
    assert not found.faults
    assert not found.open
    assert len(set(found.ids)) == len(found.ids)
    wanted = {link.removeprefix("#") for link in found.links if link.startswith("#")}
    assert wanted <= set(found.ids)
    assert {link for link in found.links if not link.startswith("#")} == {"data:,"}
    assert set(found.ids) >= {f"node-{name}" for name in node_names(made)}
    assert not re.search("https?://", page)


def test_a_card_says_who_reads_a_node_in_each_graph() -> None:
    card = re.search('id="node-l".*?</article>', model_page(shipped("faces")))
    assert card is not None
    readers = dict(re.findall("<dt>read in ([pq]) by</dt><dd>(.*?)</dd>", card[0]))
    named = {letter: re.findall('data-node="([^"]+)"', chips) for letter, chips in readers.items()}
    assert named == {"p": ["light"], "q": ["s"]}


def test_the_page_of_a_small_model_is_small() -> None:
    assert len(model_page(shipped("digits")).encode()) < 150_000


def test_the_page_needs_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sgc.spec.loader import load\n"
        "from sgc.spec.resolver import outline\n"
        "from sgc.report.pages.model_page import write_model_page\n"
        f"write_model_page(outline(load(Path({str(ROOT / 'specs' / 'digits.yaml')!r}))), Path('page.html'))\n"
        "print([name for name in ('torch', 'matplotlib', 'networkx', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


# ---- the shell


def test_the_shell_writes_the_page_of_the_model_or_with_its_computation_unfolded(tmp_path: Path) -> None:
    spec, page = ROOT / "specs" / "digits.yaml", tmp_path / "page.html"
    done = call("inspect", spec, "-o", page)
    assert (done.status, done.out) == (0, f"{page}\n")
    folded = page.read_text(encoding="utf-8")
    assert 'id="expand">' in folded
    assert folded.count('class="pattern"') == 2
    assert folded.count('<svg class="graph"') == 4
    done = call("inspect", spec, "--expand", "--pattern", "y", "-o", page)
    assert done.status == 0
    unfolded = page.read_text(encoding="utf-8")
    assert 'id="expand" open>' in unfolded
    assert unfolded.count('class="pattern"') == 1
    assert ">rows with y labelled</h3>" in unfolded
    done = call("inspect", spec, "--expand", "--pattern", "z", "-o", page)
    assert done.told == "error: --pattern z: 'z' is not partially supervised; allowed: none, y\n"


def test_a_large_computation_is_listed_and_a_huge_one_counted() -> None:
    page = model_page(shipped("hmm"))
    assert page.count('class="steps"') == 2
    assert page.count('<svg class="graph"') == 2
    longer = outline(load(ROOT / "specs" / "hmm.yaml", overrides=["repeat.t.count=150"]))
    page = model_page(longer)
    assert 'class="steps"' not in page
    assert page.count("903 steps: <code>sgc inspect SPEC --expand</code> lists them.") == 2


# ---- strangers


def test_what_a_spec_says_stays_text(chromium: Any, tmp_path: Path) -> None:
    spec = yaml.safe_load(EVERYTHING)
    spec["description"] = HOSTILE
    spec["inputs"]["site"]["values"] = [HOSTILE, "B"]
    page = model_page(outline(load(spec)))
    assert HOSTILE not in page
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with visit(chromium, path) as visited:
        assert visited.page.title() == "everything: the model"
        assert visited.page.locator("header p").first.inner_text() == HOSTILE
        assert visited.page.locator("#node-site").inner_text().count(HOSTILE) == 1
        assert visited.page.locator("img").count() == 0
        visited.assert_clean()


def test_formulas_with_very_long_names_scroll_on_a_phone(chromium: Any, tmp_path: Path) -> None:
    path, name = tmp_path / "page.html", "weight_of_" * 12
    path.write_text(model_page(outline(load(yaml.safe_load(EVERYTHING.replace("site", name))))), encoding="utf-8")
    with visit(chromium, path, width=PHONE) as visited:
        visited.assert_clean()
        cut = visited.page.evaluate(
            """[...document.querySelectorAll("math")].filter((each) => {
              for (let box = each; box; box = box.parentElement) {
                const style = getComputedStyle(box);
                if (/auto|scroll/.test(style.overflowX)) return false;
                if (style.overflowX !== "visible" && box.scrollWidth > box.clientWidth + 1) return true;
              }
              return false;
            }).map((each) => each.textContent.slice(0, 40))"""
        )
        assert cut == []
        visited.assert_accessible()


# ---- by everybody


@pytest.mark.parametrize("i", range(len(SPECS)))
def test_every_shipped_page_is_clean_and_accessible(chromium: Any, tmp_path: Path, i: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(model_page(outline(load(SPECS[i]))), encoding="utf-8")
    ways = list(itertools.product((PHONE, DESK), (False, True)))
    for width, dark in ways if SPECS[i].stem in ("digits", "multi-mnist-count") else [ways[i % 4]]:
        with visit(chromium, path, width=width, dark=dark) as visited:
            visited.page.wait_for_selector("[data-page=ready]")
            visited.assert_clean()
            visited.assert_accessible()
            visited.page.locator("summary").last.click()
            visited.page.locator("svg.graph .node").nth(1).hover()
            visited.assert_clean()
            visited.assert_accessible()


@pytest.mark.parametrize("seed", [12, 13])
def test_pages_of_drawn_specs_are_clean_and_accessible(chromium: Any, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "page.html"
    path.write_text(model_page(drawn(seed)), encoding="utf-8")
    with visit(chromium, path, width=(PHONE, DESK)[seed % 2], dark=seed % 3 == 0) as visited:
        visited.page.wait_for_selector("[data-page=ready]")
        visited.assert_clean()
        visited.assert_accessible()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(model_page(shipped("digits")), encoding="utf-8")
    return path


def shown_card(page: Any) -> str | None:
    """Give the title of the card that is open."""
    return page.evaluate("card.hidden ? null : card.querySelector('h3').firstChild.data.trim()")


def lit(page: Any, selector: str) -> set[str]:
    return set(page.evaluate(f"[...document.querySelectorAll('{selector}.lit')].map(e => e.dataset.node || e.id)"))


def test_the_keyboard_alone_opens_every_card(chromium: Any, digits: Path) -> None:
    with visit(chromium, digits) as visited:
        page, names = visited.page, []
        for _ in range(40):
            page.keyboard.press("Tab")
            name = page.evaluate("document.activeElement.closest('.node')?.dataset.node")
            if name:
                names.append(name)
                assert shown_card(page) == name
        assert sorted(names) == ["x", "x", "y", "y", "z", "z"]
        page.locator(".recognition .node[data-node=z]").focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "card"
        assert page.url.endswith("page.html")  # it has not jumped away
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("card.contains(document.activeElement)")
        page.keyboard.press("Escape")
        assert shown_card(page) is None
        assert page.evaluate("document.activeElement.dataset.node") == "z"
        assert page.evaluate("document.activeElement.closest('.panel').className") == "panel recognition"


def test_nodes_light_their_terms_and_terms_their_nodes(chromium: Any, digits: Path) -> None:
    with visit(chromium, digits) as visited:
        page = visited.page
        page.locator(".generative .node[data-node=z]").hover()
        assert shown_card(page) == "z"
        assert lit(page, "tr") == {"term-0-0", "term-0-3", "term-1-0", "term-1-2"}
        page.locator(".bound a[href='#term-1-3']").focus()
        assert lit(page, ".generative .node") == {"x", "y"}
        assert lit(page, "tr") == {"term-1-3"}
        page.keyboard.press("Enter")
        assert page.url.endswith("#term-1-3")
        row = page.locator("#term-1-3").bounding_box()
        strip = page.locator(".overview").bounding_box()
        assert row["y"] >= strip["y"] + strip["height"]  # not below the graphs that stay in view
        page.mouse.move(5, 5)
        page.evaluate("document.activeElement.blur()")
        page.locator("h1").hover()
        assert lit(page, ".node") == set()


def test_a_tap_opens_a_card_and_the_next_tap_beside_closes_it(chromium: Any, digits: Path) -> None:
    context = chromium.new_context(viewport={"width": PHONE, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(digits.as_uri())
    page.locator(".recognition .node[data-node=y]").tap()
    page.locator("#card").wait_for(state="visible")
    assert shown_card(page) == "y"
    box = page.locator("#card").bounding_box()
    assert box["width"] == PHONE
    assert box["y"] + box["height"] == 800
    page.locator("h1").scroll_into_view_if_needed()
    page.locator("h1").tap()
    page.locator("#card").wait_for(state="hidden")
    context.close()


def test_without_scripts_a_node_leads_to_its_card(chromium: Any, digits: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(digits.as_uri())
    page.locator(".generative .node[data-node=y]").click()
    assert page.url.endswith("#node-y")
    assert page.locator("#node-y").is_visible()
    assert "19,210" in page.locator("#node-y").inner_text()
    page.locator("#node-y a.term").first.click()
    assert page.url.endswith("#term-0-0")
    context.close()


def test_on_paper_everything_is_there(chromium: Any, digits: Path) -> None:
    with visit(chromium, digits, dark=True) as visited:
        page = visited.page
        page.locator(".generative .node[data-node=y]").hover()
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(card).display") == "none"
        for inside in page.locator("details > :not(summary)").all():
            assert inside.bounding_box()["height"] > 5
        assert page.locator("nav").first.is_hidden()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0
        visited.assert_clean()
