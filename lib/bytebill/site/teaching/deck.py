"""What is shown in a session, and in which order? The guide's own table says it: each row's links, in turn.

    an agenda     of the session, or of each of its halves: minutes and what
    a question    what the row asks, before anything that answers it
    a chapter     its title; with nothing else of it in the row also its board, figures, claims; and its takeaway last
    a figure      the figure, or the drawing for the board, with its finding and, if measured, its device
    a claim       the sentence on trial, its word, its strip and what the strip shows, and what to say instead
    a section     its heading and its paragraphs

Before the first claim stands how to read a strip. A row that links to nothing and asks nothing, such as a break, has no
slide. Everything is taken from the rendered pages, where numbers and references are resolved; nothing is written anew.
What the chapter's section *Teaching this* says of a figure becomes the notes of its slide, without its minutes: a
session has one clock.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag

from bytebill.claims import strip, view
from bytebill.site.pieces import moved, words
from bytebill.site.teaching import agenda
from bytebill.site.teaching.agenda import GUIDE, SESSIONS, Place, SessionRow

__all__ = ["GUIDE", "SESSIONS", "Pages", "Slide", "slides"]
_ARTICLE = re.compile(r"<article\b.*</article>", re.DOTALL)
_CHECK = re.compile(r"^C\d\d: (?P<name>.+?): stated ")
_MEASURED = "Measured on this page: "
_MORE = re.compile(r"; \d+ more below$")


@dataclass(frozen=True, kw_only=True)
class Slide:
    """One screen: its kind, HTML for the room, and HTML for the speaker alone."""

    kind: str  # opening, agenda, question, chapter, figure, legend, claim, section, takeaway, closing
    html: str
    notes: str = ""


class Pages:
    """The rendered pages, each read once, and what decks ask of them more than once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read, self._by_id, self.teaching = cache(self._read), cache(self._ids), cache(self._teaching)

    def _read(self, name: str) -> BeautifulSoup:
        """A page's article: all of the page that a deck shows."""
        article = _ARTICLE.search((self.root / name).read_text(encoding="utf-8"))
        assert article is not None, f"{name} has no article"
        return BeautifulSoup(article.group(), "html.parser")

    def _ids(self, name: str) -> dict[str, Tag]:
        """What stands at each anchor of a page."""
        return {str(tag["id"]): tag for tag in reversed(self.read(name).find_all(id=True))}

    def at(self, page: str, anchor: str) -> Tag | None:
        """What stands at an anchor."""
        return self._by_id(page).get(anchor)

    def head(self, page: str) -> tuple[str, Tag]:
        """A chapter's title and the sentence below it."""
        title = self.read(page).select_one("article h1")
        assert title is not None, f"{page} has no title"
        lead = title.find_next("p")
        assert isinstance(lead, Tag), f"{page} has no first sentence"
        return words(title), lead

    def _teaching(self, page: str) -> Tag:
        """A chapter's section for teachers."""
        found = self.at(page, "teaching-this")
        assert found is not None, f"{page} has no section for teachers"
        return found


def slides(pages: Pages, session: str) -> Iterator[Slide]:
    """All slides of a session, the opening one first."""
    section = agenda.section_of(pages.read(GUIDE), session)
    told = [each for each in section.find_all("p", recursive=False)[1:] if agenda.AT_THE_END not in each.get_text()]
    notes = "".join(f"<p>{moved(each, GUIDE)}</p>" for each in told)
    yield Slide(kind="opening", html=agenda.opening_html(section), notes=notes)
    yield from _with_legend(_of_rows(pages, list(agenda.session_rows(section))))
    if last := agenda.closing_html(section):
        yield Slide(kind="closing", html=last)


def _of_rows(pages: Pages, rows: list[SessionRow]) -> Iterator[Slide]:
    """The slides of all rows, and each chapter's takeaway behind its last row."""
    opened = part = ""
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if row.part != part or row is rows[0]:
            part = row.part
            yield _agenda(pages, [each for each in rows if each.part == part])
        yield from _of_row(pages, row)
        opened = row.chapter or opened
        if opened and not (following and agenda.goes_on(following, opened)):
            yield _takeaway(pages, opened)
            opened = ""


def _agenda(pages: Pages, rows: list[SessionRow]) -> Slide:
    """Minutes and what: a line for each chapter or thing, rows that stay with a chapter in its line."""
    lines: list[tuple[str, str]] = []
    opened = ""
    for row in rows:
        if agenda.goes_on(row, opened):
            lines[-1] = (f"{lines[-1][0].split('–')[0]}–{row.minutes.split('–')[-1]}", lines[-1][1])
            continue
        opened = row.chapter
        lines.append((row.minutes, pages.head(opened)[0] if opened else row.name))
    items = "".join(f"<li><b>{minutes}</b> {what}</li>" for minutes, what in lines)
    return Slide(kind="agenda", html=f"<h2>{rows[0].part or 'Minutes'}</h2><ul>{items}</ul>")


def _with_legend(shown: Iterable[Slide]) -> Iterator[Slide]:
    """Say how to read a strip before the first one."""
    for is_new, (is_claim, some) in enumerate(groupby(shown, key=lambda slide: slide.kind == "claim")):
        if is_claim and is_new < 2:
            yield _legend()
        yield from some


def _legend() -> Slide:
    marks = "".join(f"<li><b>{mark}</b>: {meaning}</li>" for mark, meaning in strip.LEGEND)
    signs = ", ".join(f"{sign}&nbsp;{word}" for word, sign in view.SIGNS.items())
    return Slide(
        kind="legend",
        html=f"<h2>How to read a strip</h2><ul>{marks}</ul><p>{signs}; ± may change within the intervals</p>",
    )


def _of_row(pages: Pages, row: SessionRow) -> Iterator[Slide]:
    """The slides of a row; the first has what is said beside it in its notes."""
    found = [slide for slide in (*_asked(pages, row), *_shown(pages, row)) if slide]
    for slide in found[:1]:
        yield replace(slide, notes=f"<p><b>{row.minutes}</b></p><p>{row.said}</p>{slide.notes}")
    yield from found[1:]


def _asked(pages: Pages, row: SessionRow) -> Iterator[Slide]:
    """The row's question below its chapter's title, or that title and the chapter's first sentence."""
    notes = _goal(pages, row.chapter) if row.chapter else ""
    if row.questions:
        head = pages.head(row.chapter)[0] if row.chapter else "" if row.places else row.name
        questions = "".join(f"<h2>{each}</h2>" for each in row.questions)
        yield Slide(kind="question", html=f"<p>{head or 'Guess first'}</p>{questions}", notes=notes)
    elif row.chapter:
        title, lead = pages.head(row.chapter)
        yield Slide(kind="chapter", html=f"<h2>{title}</h2><p>{moved(lead, row.chapter)}</p>", notes=notes)


def _shown(pages: Pages, row: SessionRow) -> Iterator[Slide]:
    """What a row links to; all of a chapter where it links to nothing in it."""
    for place in row.places:
        if not place.is_chapter:
            yield from _of_place(pages, place)
        elif not [each for each in row.places if each.page == place.page and each != place]:
            yield from _whole(pages, place.page)


def _whole(pages: Pages, page: str) -> Iterator[Slide]:
    """A chapter: board, figures that its plan names, main figure, claims."""
    soup, plan = pages.read(page), pages.teaching(page)
    boards = [str(each["id"]) for each in plan.select("figure[id]")]
    named = [str(link["href"]).removeprefix("#") for link in plan.select("table a[href^='#']")]
    first = [str(each["id"]) for each in soup.select("figure[id]")[:1]]
    for anchor in dict.fromkeys((*boards, *first, *named)):
        if (at := pages.at(page, anchor)) is not None and at.name == "figure":
            yield _figure(pages, page, at)
    for box in soup.select(".bb-opening"):
        yield _claim(pages, page, box)


def _of_place(pages: Pages, place: Place) -> Iterator[Slide]:
    """The slide of a figure, a section or a claim; none of a page as a whole."""
    found = pages.at(place.page, place.anchor)
    if found is None:
        return
    if found.name == "figure":
        yield _figure(pages, place.page, found)
        return
    heads = pages.read(place.page).select(".bb-opening")
    head = next((each for each in heads if each.select_one(f"a[href='#{place.anchor}']")), None)
    yield _claim(pages, place.page, head) if head else _section(found, place.page)


def _section(found: Tag, page: str) -> Slide:
    title = found.find(["h2", "h3"])
    assert isinstance(title, Tag), f"{page}: a section without a heading"
    told = "".join(f"<p>{moved(each, page)}</p>" for each in found.find_all("p", recursive=False))
    return Slide(kind="section", html=f"<h2>{words(title)}</h2>{told}")


def _figure(pages: Pages, page: str, figure: Tag) -> Slide:
    image, caption = figure.find("img"), figure.select_one(".caption-text")
    assert isinstance(image, Tag) and caption is not None, f"{page}: a figure without picture or caption"
    source, alt = urljoin(page, str(image["src"])), str(image["alt"]).replace('"', "&quot;")
    finding, _, rest = moved(caption, page).partition(". ")
    plan = pages.teaching(page).select("tbody tr")
    said = [_without_minutes(row, page) for row in plan if row.select_one(f"a[href='#{figure['id']}']")]
    below = " ".join(each for each in (f"{finding.rstrip('.')}.", _device(pages, page, figure, rest)) if each)
    return Slide(
        kind="figure",
        html=f'<div class="bb-fill"><img loading="lazy" src="../{source}" alt="{alt}"><p>{below}</p></div>',
        notes="".join(f"<p>{each}</p>" for each in (*said, rest) if each),
    )


def _device(pages: Pages, page: str, figure: Tag, rest: str) -> str:
    """On what a measured figure was measured: the page's own device and day, or the caption's sentence that tells."""
    if figure.find_parent(class_="tag_measured"):
        lines = (each.get_text() for each in pages.read(page).select(".bb-provenance p"))
        told = [line.removeprefix(_MEASURED) for line in lines if line.startswith(_MEASURED)]
        assert told, f"{page}: a measured figure, and no device"
        return told[0]
    return " ".join(f"{each.partition(';')[0].rstrip('.')}." for each in rest.split(". ") if "measured" in each)


def _claim(pages: Pages, page: str, head: Tag) -> Slide:
    name, claim = (head.select_one(f".bb-opening-{part}") for part in ("head", "claim"))
    said, drawn = head.select_one(".bb-say"), head.select_one("svg")
    assert name is not None and claim is not None, f"{page}: a claim without its sentence"
    instead = f"<p><b>Say: {moved(said, page)}</b></p>" if said else ""
    told = str(drawn["aria-label"]) if drawn else ""
    check = f'<p class="bb-check">{_check(pages, page, told)}</p>' if told else ""
    return Slide(
        kind="claim",
        html=f"<h2>{moved(name, page)}</h2><p>“{moved(claim, page)}”</p>{check}{drawn or ''}{instead}",
        notes=f"<p>{_MORE.sub('', told)}</p>" if told else "",
    )


def _check(pages: Pages, page: str, told: str) -> str:
    """What a strip shows, by the words for who cannot see it; *the same* is named by the part before it."""
    found = _CHECK.match(told)
    if not found or not found["name"].startswith("the same"):
        return found["name"] if found else told
    box = pages.at(page, view.anchor(told[:3]))
    parts = [words(each) for each in box.select(".bb-checks th.stub p:first-child")] if box else []
    at = next((at for at, part in enumerate(parts) if _plain(part) == found["name"]), 0)
    before = next((part for part in reversed(parts[:at]) if not part.startswith("the same")), "")
    return f"{before}: {found['name'].removeprefix('the same').lstrip(' ,:')}" if before else found["name"]


def _plain(text: str) -> str:
    """Quotation marks as they are typed."""
    return text.translate(str.maketrans("‘’“”", "''\"\""))


def _takeaway(pages: Pages, page: str) -> Slide:
    box = pages.read(page).select_one(".takeaway")
    assert box is not None, f"{page} has no takeaway"
    text = "".join(f"<p>{moved(each, page)}</p>" for each in box.find_all("p", class_=False))
    wrong = [each for each in pages.teaching(page).find_all("p", recursive=False) if not _is_goal(each)]
    name = box.select_one(".admonition-title")
    return Slide(
        kind="takeaway",
        html=f"<p>{words(name) if name else ''}</p><h2>{pages.head(page)[0]}</h2>{text}",
        notes="".join(f"<p>{moved(each, page)}</p>" for each in wrong),
    )


def _goal(pages: Pages, page: str) -> str:
    """A chapter's goal, and the rows of its plan that stand at no figure."""
    plan = pages.teaching(page)
    goals = [moved(each, page) for each in plan.find_all("p", recursive=False) if _is_goal(each)]
    rows = [row for row in plan.select("tbody tr") if not row.select_one("a[href^='#']") and not row.find("th")]
    return "".join(f"<p>{each}</p>" for each in (*goals, *(_without_minutes(row, page) for row in rows)))


def _is_goal(paragraph: Tag) -> bool:
    return "goal" in paragraph.get_text()[:12].lower()


def _without_minutes(row: Tag, page: str) -> str:
    """A row of a chapter's plan, without its own clock."""
    return moved(row, page).partition(" · ")[2]
