"""Does the book read on paper: numbered chapters, sheets of one page, tables that go on over the page?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bytebill import data
from bytebill.site import browser, printed

HTML = data.REPOSITORY / "_build" / "html"
PAPER_PX = {
    "width": round((210 - 2 * 14) / 25.4 * 96),
    "height": round((297 - 2 * 16) / 25.4 * 96),
}  # A4 in its margins
pytestmark = [
    pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(not (HTML / "slides").is_dir(), reason="no rendered book: make render"),
]
HEIGHTS = """() => [...document.querySelectorAll('.bb-sheet')].map(each => each.closest('section'))
    .map(each => [getComputedStyle(each).breakBefore, each.getBoundingClientRect().height])"""
HEADINGS = (
    "() => [...document.querySelectorAll('h1')].filter(each => each.checkVisibility()).map(each => each.innerText)"
)
WHOLE = """() => [...document.querySelectorAll('.bd-article table')].map(each => getComputedStyle(each).breakInside)
    .filter(each => each != 'auto')"""


@pytest.fixture(scope="module")
def paper() -> Iterator[Any]:
    """A page of Chromium as wide as the paper, showing what would be printed."""
    from playwright.sync_api import sync_playwright

    with browser.hosted(HTML) as base, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        page = chromium.new_page(viewport=PAPER_PX, base_url=base, reduced_motion="reduce")
        page.emulate_media(media="print")
        yield page
        chromium.close()


def test_card_worksheet_and_key_are_a_page_each(paper: Any) -> None:
    paper.goto("notebooks/twenty_numbers.html")
    sheets = paper.evaluate(HEIGHTS)
    assert len(sheets) == 3
    assert all(begins == "page" and height <= PAPER_PX["height"] for begins, height in sheets), sheets


@pytest.mark.parametrize("name", ["01_decode_moves_the_model", "10_deepseek_reanalysed"])
def test_a_chapter_keeps_its_number_on_paper(paper: Any, name: str) -> None:
    paper.goto(f"notebooks/{name}.html")
    (heading,) = paper.evaluate(HEADINGS)
    assert heading.startswith(f"{int(name[:2])}. ")


@pytest.mark.parametrize("name", ["book/index", "notebooks/ledger", "book/teaching", "notebooks/20_price_your_own"])
def test_a_table_goes_on_over_the_page(paper: Any, name: str) -> None:
    paper.goto(f"{name}.html")
    assert paper.evaluate(WHOLE) == []


def test_all_pages_are_printed_the_decks_last() -> None:
    found = printed.printable(HTML)
    assert found[-3:] == [f"slides/{name}.html" for name in ("an-hour", "half-day", "two-days")]
    assert {"book/index.html", "notebooks/ledger.html", "book/solutions.html"} <= set(found)
    assert not {"index.html", "search.html", "genindex.html"} & set(found), "a redirect and lists have no prose"
