"""The search finds claims, printed numbers and both spellings; code is not text, and cells do not run together."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.utils import new_document

from bytebill.site import browser
from bytebill.site.aids import search
from bytebill.site.tried import search_trial

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = """<article><section id="batching"><h1>3. Batching<a class="headerlink">#</a></h1><p>Answer.</p>
<section id="found"><h2>Found</h2><div class="cell"><div class="cell_input"><pre>secret = 12.5</pre></div>
<div class="cell_output"><table><tr><td>33.8</td><td>5</td></tr></table></div></div></section>
<div id="claim-c13"><p>C13</p><p class="bb-claim">Static batching gave 81 tokens/s.</p></div></section></article>"""
LEDGER = """<article><section id="the-ledger"><h1>The ledger</h1><ul>
<li id="C13" data-word="x"><a>C13</a><p class="bb-claim">Static batching gave 81 tokens/s.</p><svg>9</svg></li></ul>
<dl><dt id="term-queue">queue</dt><dd>Requests that wait, colourful and grey.</dd></dl></section></article>"""


def found(html: str, address: str = "a.html") -> dict[str, search.Findable]:
    return {each.address: each for each in search.entries(html, address=address)}


def test_a_section_has_what_its_cells_printed_and_not_their_code() -> None:
    entries = found(CHAPTER)
    assert entries["a.html#found"].text == "33.8 5"  # and not 33.85
    assert entries["a.html#batching"].text == "Answer." and entries["a.html#batching"].title == "3. Batching"
    assert "secret" not in json.dumps([each.text for each in entries.values()])


def test_claims_and_terms_are_entries_of_their_own() -> None:
    assert found(CHAPTER)["a.html#claim-c13"].title == "C13: Static batching gave 81 tokens/s."
    entries = found(LEDGER)
    assert {each.kind for each in entries.values()} == {"page", "ledger", "term"}
    assert entries["a.html#C13"].kind == "ledger" and "9" not in entries["a.html#C13"].text
    assert entries["a.html#term-queue"].text.startswith("Requests that wait")


def test_a_table_is_called_by_its_title_and_what_is_filled_in_is_no_text() -> None:
    card = (
        '<article><div class="bb-table-card" id="table-a"><p><strong><code>data/a.csv</code></strong> Rents</p></div>'
        '<section id="s"><h1>S</h1><form><option>H100</option></form></section></article>'
    )
    entries = found(card)
    assert (entries["a.html#table-a"].title, entries["a.html#table-a"].kind) == ("Rents (data/a.csv)", "table")
    assert entries["a.html#s"].text == ""


def test_sphinx_indexes_no_text_and_the_search_page_alone_loads_ours() -> None:
    fed, loaded = [], []
    app = SimpleNamespace(
        builder=SimpleNamespace(index_page=lambda *given: fed.append(given)),
        add_js_file=lambda name, **_: loaded.append(name),
    )
    search.leave_own_index_empty(app)
    document = new_document("")
    document += search.nodes.paragraph(text="words")
    app.builder.index_page("a", document, "A")
    assert fed[0][0] == "a" and not fed[0][1].astext()
    search.load_script(app, "a", "page.html", {}, None)
    assert not loaded
    search.load_script(app, "ledger", "page.html", {"body": '<div class="bb-ledger">'}, None)
    assert loaded == ["words.js"]
    search.load_script(app, "search", "search.html", {}, None)
    assert loaded[1:] == ["words.js", search.ENTRIES, "search.js"]


def site(folder: Path) -> None:
    """A search page over two small pages, with a stand-in for Sphinx's own script."""
    pages = {"b.html": CHAPTER, "ledger.html": LEDGER}
    entries = [asdict(each) for name, html in pages.items() for each in search.entries(html, address=name)]
    script = "".join((ROOT / "book/assets" / name).read_text(encoding="utf-8") for name in ("words.js", "search.js"))
    (folder / "search.html").write_text(
        f"<meta charset='utf-8'><div id='search-results'></div><script>const Search = {{}};</script>"
        f"<script>window.bbEntries = {json.dumps(entries)};</script><script>{script}</script>",
        encoding="utf-8",
    )


WANTED = {
    "c13": ["ledger.html#C13", "b.html#claim-c13"],
    "claim 13": ["ledger.html#C13", "b.html#claim-c13"],
    "claims 13 and 14": ["ledger.html#C13", "b.html#claim-c13"],
    "81x": ["ledger.html#C13", "b.html#claim-c13"],  # by its number, where nothing is so many times
    "33.8": ["b.html#found"],
    "secret": [],
    "gray": ["ledger.html#term-queue"],
    "colorful": ["ledger.html#term-queue"],
    "queues": ["ledger.html#term-queue"],
    "nothing at all": [],
}


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_queries_in_a_browser_with_and_without_a_server(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    site(tmp_path)
    with browser.hosted(tmp_path) as base, sync_playwright() as playwright:
        program = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        for start in (base, f"{tmp_path.as_uri()}/"):
            page = program.new_page()
            page.goto(start + "search.html")
            hits = {query: search_trial.hit_addresses(page, query) for query in WANTED}
            assert hits == WANTED
            assert list(
                search_trial.search_faults(page)
            )  # a book without its chapters fails the trial of the built site
        program.close()
