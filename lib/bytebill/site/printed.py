"""How does the book get onto paper? Each rendered page, and each deck of slides, as a PDF, printed by Chromium.

The pages go onto A4 as the style sheets say for print; a deck has a page of its own size for every slide. Nothing is
asked of another host. Without a rendered book or without Chromium one sentence says what to do.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bytebill.errors import require
from bytebill.site import browser, check, markup
from bytebill.site.teaching.slides import DECKS

MARGIN = {"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"}
FOOT = (
    '<div style="width: 100%; font: 8pt sans-serif; color: #333; text-align: center">'
    '<span class="title"></span>, <span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
DECK_READY = "() => window.Reveal && Reveal.isReady() && document.querySelector('.pdf-page')"


def printable(html: Path) -> list[str]:
    """The pages of a rendered book that somebody wrote, the decks last."""
    found = [path for path in check.pages(html) if _is_ours(path)]
    return [path.relative_to(html).as_posix() for path in sorted(found, key=lambda path: path.parent.name == DECKS)]


def _is_ours(path: Path) -> bool:
    return check.is_ours(markup.read_page(path))


def to_pdf(html: Path, into: Path, *, only: Sequence[str] = ()) -> Iterator[Path]:
    """Print the pages, or those named, one file each."""
    require((html / "index.html").is_file(), f"There is no rendered book in {html}; first: make book or make render.")
    program = browser.executable()
    require(program is not None, "Printing needs Chromium; install it, or name one with CHROMIUM=path.")
    from playwright.sync_api import sync_playwright

    into.mkdir(parents=True, exist_ok=True)
    with browser.hosted(html) as base, sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=[*browser.FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        )
        for name in only or printable(html):
            page = opened.new_page(reduced_motion="reduce", color_scheme="light")
            target = into / f"{name.removesuffix('.html').replace('/', '_')}.pdf"
            _one(page, base, name, target)
            page.close()
            yield target
        opened.close()


def _one(page: Any, base: str, name: str, target: Path) -> None:
    """Print one page into a file."""
    is_deck = name.startswith(f"{DECKS}/")
    page.route(
        "**/*", lambda asked: asked.continue_() if asked.request.url.startswith((base, "data:")) else asked.abort()
    )
    address = f"{base}{name}{'?print-pdf' if is_deck else ''}"
    answer = page.goto(address, wait_until="networkidle", timeout=browser.PATIENCE_MS)
    require(
        answer is not None and answer.ok, f"There is no page {name} in the rendered book; name one as it lies there."
    )
    page.evaluate(browser.SETTLED)
    if is_deck:
        page.wait_for_function(DECK_READY, timeout=browser.PATIENCE_MS)
        page.pdf(path=target, prefer_css_page_size=True, print_background=True)
    else:
        page.pdf(
            path=target,
            format="A4",
            margin=MARGIN,
            display_header_footer=True,
            header_template="<i></i>",
            footer_template=FOOT,
            print_background=True,
        )
