"""Does a cited work stand beside the paragraph, once a section, in its place, and does the list lead back to it?"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from pybtex.database import parse_file

from bytebill import data
from bytebill.site import browser
from bytebill.site.aids import citations, margin_notes
from bytebill.site.tried import margin_trial

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
WORKS = parse_file(str(ROOT / "book" / "references.bib")).entries
ROOFLINE, GPTQ = "williams2009roofline", "frantar2023gptq"
in_chromium = pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
rendered = pytest.mark.skipif(not (HTML / "book" / "references.html").is_file(), reason="no rendered book: make render")


def cited(*keys: str) -> nodes.inline:
    links = [nodes.reference("", key, refuri=f"r.html#{key}", reftitle=f"All of {key}.") for key in keys]
    return nodes.inline("", "", *links, classes=[margin_notes.CITATION])


def placed(*sections: tuple[str, list[nodes.Element]]) -> nodes.document:
    """A page of sections, after the notes were put there."""
    document = new_document("page")
    document += [nodes.section("", nodes.title("", id), *blocks, ids=[id]) for id, blocks in sections]
    works = [SimpleNamespace(citation_id=key, key=key) for key in (ROOFLINE, GPTQ)]
    domain = SimpleNamespace(bibdata=SimpleNamespace(data=SimpleNamespace(entries=WORKS)), citations=works)
    app: Any = SimpleNamespace(builder=SimpleNamespace(format="html"), env=SimpleNamespace(get_domain=lambda _: domain))
    margin_notes.place_notes(app, document, "page")
    return document


def notes_of(node: nodes.Element) -> list[str]:
    return re.findall(r'data-of="(\w+)"', "".join(raw.astext() for raw in node.findall(nodes.raw)))


def test_a_work_stands_once_a_section_before_the_block_that_cites_it_first() -> None:
    deep = nodes.bullet_list("", nodes.list_item("", nodes.paragraph("", "", cited(GPTQ, ROOFLINE))))
    page = placed(
        ("a", [nodes.paragraph("", "none"), nodes.paragraph("", "", cited(ROOFLINE), cited(ROOFLINE)), deep]),
        ("b", [nodes.paragraph("", "", cited(ROOFLINE))]),
    )
    first, second = page.children
    assert [notes_of(each) for each in (first, second)] == [[ROOFLINE, GPTQ], [ROOFLINE]]
    kinds = [type(each).__name__ for each in first.children]
    assert kinds == ["title", "paragraph", "container", "paragraph", "container", "bullet_list"]
    assert first.children[2]["classes"] == ["bb-notes", margin_notes.IN_MARGIN]


@pytest.mark.parametrize("name", sorted(margin_notes.LISTS))
def test_a_list_of_sources_has_no_notes_and_its_cards_have_the_caution(name: str) -> None:
    page = placed((name, [nodes.paragraph("", "", cited(ROOFLINE, GPTQ))]))
    assert notes_of(page) == []
    told = [link["reftitle"] for link in page.findall(nodes.reference)]
    assert told == [f"All of {ROOFLINE}.", f"All of {GPTQ}. {margin_notes.caution(GPTQ)}."]


def test_a_caution_counts_the_rows_that_have_one() -> None:
    rows = [row for name in data.names() for row in data.rows(name) if row.get("source_id") == "recasens2025gap"]
    n_marked = sum(bool(row["caution"]) for row in rows)
    assert 0 < n_marked < len(rows)
    assert margin_notes.caution("recasens2025gap").endswith(f"{n_marked} of {len(rows)} rows of data from it")
    assert margin_notes.caution(GPTQ).endswith("all rows of data from it")
    assert margin_notes.caution(None) == ""


def test_every_work_has_a_readable_note() -> None:
    for key, entry in WORKS.items():
        note = BeautifulSoup(margin_notes.note_html(entry, id="r"), "html.parser")
        title = note.a or note.cite
        assert title and title.get_text() and not re.search(r"[\\{}$]", note.get_text()), key
        assert (note.a is None) == (not margin_notes.url_of(entry)), key


@rendered
def test_notes_and_cards_are_of_one_work_and_references_lead_to_every_section_that_cites() -> None:
    listed = BeautifulSoup((HTML / f"{citations.REFERENCES}.html").read_text(encoding="utf-8"), "html.parser")
    cited = {entry["id"]: [link["href"] for link in entry.select(".bb-cited a")] for entry in listed.select("[id]")}
    n_notes = 0
    for path in sorted((HTML / "notebooks").glob("*.html")):
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        cards = {link["href"].partition("#")[2]: link["title"] for link in page.select(".bibtex-citation a")}
        for note in page.select(".bb-note"):
            card, title = cards[note["data-of"]], (note.a or note.find("cite")).get_text()
            n_notes += 1
            assert title.lower() in card.lower(), (path.name, title)
            assert note.a is None or note.a["href"].rstrip("/") in card or "doi.org" in note.a["href"]
        citations_of = {
            id(section): {each["id"] for each in section.select(".bibtex-citation[id]")}
            for section in page.select("section")
        }
        for citation in page.select(".bibtex-citation[id]"):
            beside = citations_of[id(citation.find_parent("section"))]
            for link in citation.select("a[href]"):
                back = [href for href in cited[link["href"].partition("#")[2]] if f"/{path.name}#" in href]
                assert beside & {href.partition("#")[2] for href in back}, (path.name, citation["id"])
    assert n_notes > 80


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{css} body {{ margin: 0 }}
article {{ width: 700px }} .bd-sidebar-secondary {{ position: fixed; top: 0; left: 720px; width: 260px; height: 90px }}
.hide {{ height: 10px }} p {{ margin: 0 }}</style></head><body><div class="bd-sidebar-secondary {hide}"></div>
<article class="bd-article"><section><div style="height: 1500px"></div>{body}<div style="height: 1500px"></div>
</section></article></body></html>"""
NOTES = """<div class="bb-notes container"><p class="bb-note">A note</p><p class="bb-note" style="{}">Another</p></div>
<p>P</p>"""
PLANTED = {
    "well": ("", "hide", 1440, ""),
    "over each other": ("margin-top: -40px", "hide", 1440, "A note: over Another"),
    "over the text": ("margin: -40px 0 0 -400px", "hide", 1440, "Another: over P"),
    "beyond the screen": ("margin-left: 900px", "hide", 1440, "Another: beyond the screen"),
    "under the contents": ("", "long", 1440, "A note: under the contents"),
    "none on a narrow screen": ("margin-top: -40px", "long", 1100, ""),
}


@in_chromium
@pytest.mark.parametrize("name", PLANTED)
def test_a_note_out_of_its_place_is_found(name: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    style, hide, width, wanted = PLANTED[name]
    css = (ROOT / "book" / "assets" / "aids.css").read_text(encoding="utf-8")
    css += ".long { height: 100vh !important }" if hide == "long" else ""
    page_text = PAGE.format(css=css, hide=hide, body=NOTES.format(style))
    (tmp_path / "a.html").write_text(page_text, encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=browser.flags())
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.goto((tmp_path / "a.html").as_uri())
        found = list(margin_trial.crowded(page))
        assert any(wanted in each for each in found) if wanted else not found
        chromium.close()


@in_chromium
def test_a_citation_marks_its_note_and_shows_its_card_where_no_note_is(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    assets = ROOT / "book" / "assets"
    css, script = ((assets / f"aids.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    body = (
        '<section><div class="bb-notes container"><p class="bb-note" data-of="r">B</p></div>'
        '<p><span class="bibtex-citation"><a href="x.html#r" title="All of B.">B</a></span></p></section>'
    )
    head = f'<meta charset="utf-8"><style>{css} article {{ width: 600px }}</style>'
    text = f'{head}<article class="bd-article">{body}</article><script>{script}</script>'
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=browser.flags())
        for width, beside in ((1440, True), (800, False)):
            page = chromium.new_page(viewport={"width": width, "height": 600})
            page.goto((tmp_path / "a.html").as_uri())
            page.focus(".bibtex-citation a")
            assert page.is_visible("#bb-card") != beside
            assert (page.locator(".bb-meant").count() == 1) == beside
            page.keyboard.press("Escape")
            assert not page.is_visible("#bb-card") and page.locator(".bb-meant").count() == 0
        chromium.close()
