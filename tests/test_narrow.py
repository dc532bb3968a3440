"""What is too wide for a phone: does it wrap, shrink or open, so that nothing but code is scrolled?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bytebill.display import table
from bytebill.site import browser
from bytebill.site.look import whole
from bytebill.site.tried import access

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} 90" width="{0}" height="90"><path d="M0 0h9"/></svg>'
FIGURE = '<figure><img class="bb-by-day" src="{0}.svg" alt="a line"><figcaption>It rises.</figcaption></figure>'
WIDE = table("here", *(f"quantity number {n} [ms]" for n in range(7)), rows=[("one", *(0.001 * n for n in range(7)))])
FORMULA = '<div class="math"><math display="block"><mrow><mi>A</mi><mo>=</mo><mtext>{}</mtext></mrow></math></div>'
in_chromium = pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")


def built(folder: Path, body: str, *, script: str = "narrow.js") -> Path:
    """A page with these parts, its links put in as the book's build does."""
    css = "".join((ASSETS / f"{name}.css").read_text(encoding="utf-8") for name in ("bytebill", "narrow"))
    loaded = f"<script>{(ASSETS / script).read_text(encoding='utf-8')}</script>" if script else ""
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f'<!doctype html><html lang="en">{meta}<style>{css}</style>'
    for px in (360, 613):
        (folder / f"{px}.svg").write_text(SVG.format(px), encoding="utf-8")
    (folder / "a.html").write_text(f'{head}<article class="bd-article">{body}</article>{loaded}', encoding="utf-8")
    app: Any = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=folder)
    whole.link_figures(app, None)
    return folder / "a.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser.executable(), args=browser.flags())
        yield program
        program.close()


def opened(chromium: Any, path: Path, *, width: int = 375) -> Any:
    page = chromium.new_page(viewport={"width": width, "height": 812})
    page.goto(path.as_uri())
    page.wait_for_timeout(100)  # sizes are observed
    return page


def test_only_a_figure_that_is_wider_than_a_phone_has_a_link(tmp_path: Path) -> None:
    page = built(tmp_path, FIGURE.format(360) + FIGURE.format(613)).read_text(encoding="utf-8")
    assert page.count('class="bb-open-figure"') == 1 and 'class="bb-open-figure" href="613.svg"' in page


@in_chromium
def test_a_table_that_does_not_fit_becomes_entries_and_one_that_fits_stays(tmp_path: Path, chromium: Any) -> None:
    small = table("", "a", rows=[("x", 1)])
    path = built(tmp_path, WIDE.html + small.html)
    page = opened(chromium, path)
    assert page.locator("table.bb-entries").count() == 1
    cell = page.locator("table.bb-entries tbody td").nth(2)
    assert cell.get_attribute("data-head") == "quantity number 2" and cell.get_attribute("data-unit").strip() == "ms"
    assert page.evaluate(access.CUT_EDGES, True) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    page.wait_for_timeout(100)
    assert page.locator("table.bb-entries").count() == 0


@in_chromium
def test_a_formula_is_set_smaller_and_not_scrolled(tmp_path: Path, chromium: Any) -> None:
    page = opened(chromium, built(tmp_path, FORMULA.format("a long name of it " * 3)))
    assert page.evaluate("document.querySelector('.math').style.fontSize")
    assert page.evaluate(access.CUT_EDGES, True) == []


@in_chromium
@pytest.mark.parametrize("body", [WIDE.html, FORMULA.format("a long name of it " * 3)])
def test_what_is_not_fitted_is_found_on_a_phone(body: str, tmp_path: Path, chromium: Any) -> None:
    page = opened(chromium, built(tmp_path, body, script=""))
    assert page.evaluate(access.CUT_EDGES, True)


@in_chromium
def test_code_may_scroll_on_a_phone_but_not_at_a_desk(tmp_path: Path, chromium: Any) -> None:
    page = opened(chromium, built(tmp_path, f'<pre style="overflow-x: auto">{"x" * 400}</pre>'))
    assert page.evaluate(access.CUT_EDGES, True) == [] != page.evaluate(access.CUT_EDGES, False)


@in_chromium
def test_what_is_folded_is_looked_at_and_folded_again(tmp_path: Path, chromium: Any) -> None:
    page = opened(chromium, built(tmp_path, f"<details><summary>S</summary>{WIDE.html}</details>", script=""))
    assert page.evaluate(access.CUT_EDGES, True)
    assert page.locator("details[open]").count() == 0


@in_chromium
def test_a_figure_opens_by_key_and_tap_and_gives_the_focus_back(tmp_path: Path, chromium: Any) -> None:
    page = opened(chromium, built(tmp_path, FIGURE.format(613)))
    assert page.evaluate("document.querySelector('figure img').getBoundingClientRect().width") <= 375
    page.focus(".bb-open-figure")
    page.keyboard.press("Enter")
    shown = page.locator(".bb-dialog img")
    assert shown.is_visible() and shown.bounding_box()["width"] > 600
    page.keyboard.press("Escape")
    assert not page.is_visible(".bb-dialog") and page.evaluate("document.activeElement.className") == "bb-open-figure"
    page.click("figure img")
    assert page.is_visible(".bb-dialog")
    page.click(".bb-dialog button")
    assert not page.is_visible(".bb-dialog")


@in_chromium
def test_without_a_script_the_link_opens_the_file_and_a_desk_shows_none(tmp_path: Path, chromium: Any) -> None:
    path = built(tmp_path, FIGURE.format(613), script="")
    assert not opened(chromium, path, width=1440).is_visible(".bb-open-figure")
    page = opened(chromium, path)
    page.click(".bb-open-figure")
    assert page.url.endswith("613.svg")
