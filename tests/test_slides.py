"""Are there slides for each session, made of the chapters' words, that a keyboard moves and that need no network?"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from bytebill import data
from bytebill.errors import BytebillError
from bytebill.site import browser, check, markup, printed
from bytebill.site.teaching import deck, slides

HTML = data.REPOSITORY / "_build" / "html"
HEARD = (
    '<table><thead><tr><th>M</th></tr></thead><tbody><tr><td>0–2</td><td>Show <a href="#fig-a">Fig. 1</a></td>'
    "<td>“Why?”</td></tr></tbody></table>"
)
CHAPTER = f"""<html lang="en"><body><article><h1><span class="section-number">1. </span>Reads<a class="headerlink">#</a>
</h1><p><em>It reads all.</em></p><div class="bb-opening"><p class="bb-opening-head"><a href="#claim-c01">C01</a>
<strong>safe</strong></p><p class="bb-opening-claim">All is read.</p><p class="bb-say">Nearly all is.</p>
<div class="bb-opening-strip"><svg aria-label="C01: the same, far larger: stated 1, found 1; 2 more below"></svg>
</div></div>
<div id="claim-c01"><table class="bb-checks"><tr><th class="stub"><p>nodes</p><p>turns</p></th></tr>
<tr><th class="stub"><p>the same, far larger</p></th></tr></table></div><i id="ch-a"></i>
<section id="costs"><h2>Costs</h2><p>It costs 29.</p></section>
<div class="cell tag_measured"><figure id="fig-a"><img class="bb-by-day" src="../_images/a.svg" alt="A line">
<img class="bb-by-night" src="x.svg" alt="A">
<figcaption><span class="caption-text">It rises. On one machine.</span></figcaption></figure></div>
<footer class="bb-provenance"><p>Measured on this page: An EPYC; outputs of today.</p></footer>
<div class="takeaway"><p class="admonition-title">Takeaway</p><p>Read <a href="02_b.html">less</a>.</p></div>
<section id="teaching-this"><h2>Teaching this</h2><p><strong>The goal.</strong> Divide.</p>{HEARD}
<figure id="board-a"><img src="../_images/01.svg" alt="A bar"><figcaption><span class="caption-text">Long.</span>
</figcaption></figure><p><strong>The usual wrong answer.</strong> “It computes.”</p></section></article></body>
</html>"""
GUIDE = """<html lang="en"><body><article><section><span id="session-{0}"></span><h2>{0}</h2><p>For all.</p>
<table><tbody>
<tr><td>0–8</td><td><a href="../notebooks/01_a.html#ch-a">Reads</a></td><td>“How many?” Expect two.</td></tr>
<tr><td>8–9</td><td>Break</td><td>Rest.</td></tr>
<tr><td>9–10</td><td>Two: <a href="../notebooks/01_a.html#costs">Costs</a>, <a
href="../notebooks/01_a.html#claim-c01">C01</a></td><td>Say.</td></tr></tbody></table>
<p><b>At the end</b>, compare.</p></section>
</article></body></html>"""
needs_reveal = pytest.mark.skipif(find_spec("sphinx_revealjs") is None, reason="no sphinx-revealjs here")
rendered = pytest.mark.skipif(not (HTML / deck.GUIDE).is_file(), reason="no rendered book: make render")
in_chromium = pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")

UNDER_THE_NUMBER = """() => { const number = document.querySelector('.slide-number').getBoundingClientRect();
  return [...Array(Reveal.getTotalSlides()).keys()].filter((at) => {
    Reveal.slide(at);
    return [...Reveal.getCurrentSlide().querySelectorAll('p, li, h2')].some((each) => {
      const range = document.createRange();
      range.selectNodeContents(each);
      return [...range.getClientRects()].some((one) => one.width && one.left < number.right && one.right > number.left
        && one.top < number.bottom && one.bottom > number.top);
    });
  });
}"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A rendered book of one chapter and a guide with all sessions."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks" / "01_a.html").write_text(CHAPTER, encoding="utf-8")
    guide = "".join(GUIDE.format(session) for session in deck.SESSIONS)
    (tmp_path / deck.GUIDE).write_text(guide, encoding="utf-8")
    return tmp_path


def test_a_row_asks_before_it_shows_and_a_chapter_alone_shows_all_of_it(small: Path) -> None:
    found = list(deck.slides(deck.Pages(small), "an-hour"))
    kinds = [slide.kind for slide in found]
    shown = ["question", "figure", "figure", "legend", "claim", "takeaway", "section", "claim", "closing"]
    assert kinds == ["opening", "agenda", *shown]
    _, minutes, question, board, figure, _, claim, takeaway, section, _, closing = found
    assert "0–8" in minutes.html and "1. Reads" in minutes.html and "Break" in minutes.html
    assert "1. Reads" in question.html and "“How many?”" in question.html and "Expect" not in question.html
    assert "It reads all" not in question.html, "the chapter's first sentence is the answer"
    assert "Expect two." in question.notes and "Divide." in question.notes
    assert "../_images/01.svg" in board.html and "../_images/a.svg" in figure.html and "night" not in figure.html
    assert "It rises." in figure.html and "“Why?”" in figure.notes and "On one machine." in figure.notes
    assert "0–2" not in figure.notes, "a session has one clock"
    assert "Say: Nearly all is." in claim.html and "stated 1, found 1" in claim.notes and "below" not in claim.notes
    assert "../notebooks/02_b.html" in takeaway.html and "It computes" in takeaway.notes
    assert "Divide" not in takeaway.notes and "It costs 29." in section.html
    assert closing.html == "<p><b>At the end</b>, compare.</p>"


def test_a_strip_is_named_by_what_it_shows(small: Path) -> None:
    claims = [slide for slide in deck.slides(deck.Pages(small), "an-hour") if slide.kind == "claim"]
    assert all('<p class="bb-check">nodes: far larger</p>' in claim.html for claim in claims)


def test_a_measured_figure_names_its_device(small: Path) -> None:
    (_, figure) = (slide for slide in deck.slides(deck.Pages(small), "an-hour") if slide.kind == "figure")
    assert "An EPYC; outputs of today." in figure.html


def test_a_guide_without_a_session_is_said(small: Path) -> None:
    with pytest.raises(AssertionError, match="no session three-weeks"):
        list(deck.slides(deck.Pages(small), "three-weeks"))


def test_no_book_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BytebillError, match=r"make book or make render\.$"):
        slides.write_decks(tmp_path)
    with pytest.raises(BytebillError, match=r"make book or make render\.$"):
        list(printed.to_pdf(tmp_path, tmp_path / "pdf"))


def test_no_chromium_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").write_text("<html></html>")
    monkeypatch.setattr(browser, "executable", lambda: None)
    with pytest.raises(BytebillError, match=r"^Printing needs Chromium"):
        list(printed.to_pdf(tmp_path, tmp_path / "pdf"))


def test_no_reveal_ends_in_a_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "find_spec", lambda _: None)
    with pytest.raises(BytebillError, match="sphinx-revealjs"):
        slides.write_decks(small)


@needs_reveal
def test_every_session_has_a_deck(small: Path) -> None:
    assert [path.stem for path in slides.write_decks(small)] == list(deck.SESSIONS)
    for name in slides.REVEAL:
        assert (small / slides.DECKS / "reveal" / name).is_file()


@rendered
@pytest.mark.parametrize("session", deck.SESSIONS)
def test_every_chapter_of_a_deck_begins_with_a_question(session: str) -> None:
    kinds = [slide.kind for slide in deck.slides(deck.Pages(HTML), session)]
    assert kinds[:2] == ["opening", "agenda"] and kinds[-1] == "closing" and kinds.count("legend") == 1
    assert kinds.index("legend") == kinds.index("claim") - 1
    assert "chapter" not in kinds, "a first sentence gives the answer away"
    for at, kind in enumerate(kinds):
        if kind in ("takeaway", "agenda") and kinds[at + 1] not in ("closing", "agenda"):
            assert kinds[at + 1] == "question"


@rendered
def test_the_hour_shows_a_price() -> None:
    shown = [slide for slide in deck.slides(deck.Pages(HTML), "an-hour") if slide.kind == "section"]
    assert any("$29" in slide.html for slide in shown)


@rendered
@pytest.mark.parametrize("session", deck.SESSIONS)
def test_the_decks_of_the_book_are_whole(session: str) -> None:
    path = HTML / slides.DECKS / f"{session}.html"
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    shown = soup.select(".slides > section")
    assert 25 <= len(shown) <= 110 and all(one_thing(section) for section in shown)
    assert {image.get("loading") for image in soup.select(".bb-fill img")} == {"lazy"}, "a deck of two days is 1.7 MB"
    here = markup.read_page(path)
    faults = [*check.outside(here), *check.pictures(here), *check.links(check.found_in(here), {})]
    assert not [*faults, *check.structure(here)]


def one_thing(section: Tag) -> bool:
    """One figure with a sentence, or one claim, and words that fit."""
    words = [part for part in section.find_all(recursive=False) if part.name != "aside"]
    return len(section.select("img")) <= 1 and sum(len(part.get_text().split()) for part in words) <= 130


def opened(page: Any, path: Path) -> list[str]:
    """Open a deck from the disk; what it asks of others or complains of."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda asked: found.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    page.goto(path.as_uri())
    page.wait_for_function("() => window.Reveal && Reveal.isReady()")
    return found


SIZES = """() => [...document.querySelectorAll('.slides > section')].flatMap((section, at) => {
  Reveal.slide(at);
  const small = [...section.querySelectorAll('h1, h2, p, li, a, b, code')].filter(each => !each.closest('aside, svg')
    && each.textContent.trim() && parseFloat(getComputedStyle(each).fontSize) < 28);
  return [...small.map(each => `${at}: small: ${each.textContent}`),
    ...(section.scrollHeight > section.clientHeight + 2 ? [`${at}: too long`] : [])];
})"""


@rendered
@in_chromium
@pytest.mark.parametrize("session", deck.SESSIONS)
def test_a_deck_moves_by_keyboard_from_the_disk_and_is_read_from_the_back(session: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        page = chromium.new_page(viewport=dict(zip(("width", "height"), slides.SLIDE_PX, strict=True)))
        assert opened(page, HTML / slides.DECKS / f"{session}.html") == []
        at = [page.evaluate("Reveal.getIndices().h")]
        for key in ("ArrowRight", "Space", "ArrowLeft", "End"):
            page.keyboard.press(key)
            at.append(page.evaluate("Reveal.getIndices().h"))
        assert at[:4] == [0, 1, 2, 1] and at[4] == page.evaluate("Reveal.getTotalSlides()") - 1
        assert page.locator(".slide-number").inner_text().replace(" ", "").endswith(f"/{at[4] + 1}")
        assert page.evaluate(SIZES) == []
        assert page.evaluate(UNDER_THE_NUMBER) == []
        chromium.close()


@needs_reveal
@in_chromium
def test_a_page_and_a_deck_are_printed(small: Path) -> None:
    (small / "index.html").write_text('<html lang="en"><body><h1>A</h1></body></html>')
    (small / "_static").mkdir()
    (small / "_static" / "slides.css").write_text("section { height: 100% }")
    slides.write_decks(small)
    made = list(printed.to_pdf(small, small / "pdf", only=("index.html", "slides/an-hour.html")))
    assert [path.name for path in made] == ["index.pdf", "slides_an-hour.pdf"]
    with pytest.raises(BytebillError, match=r"^There is no page no\.html"):
        list(printed.to_pdf(small, small / "pdf", only=("no.html",)))
    n_pages = [path.read_bytes().count(b"/Type /Page\n") for path in made]
    assert n_pages == [1, len(list(deck.slides(deck.Pages(small), "an-hour")))]
