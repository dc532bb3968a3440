"""What is shown in a session, and in which order? The guide's own table says it: each row's links, in turn.

    a chapter     its title, and with nothing else of it in the row: its board, figures, claims and takeaway
    a figure      the figure, or the drawing for the board, with its caption
    a claim       the sentence on trial, its word, its strip, and what to say instead
    else          the row's own words

Everything is taken from the rendered pages, where numbers and references are resolved; nothing is written anew. What
the chapter's section *Teaching this* says of a figure becomes the notes of its slide.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup, Tag

GUIDE = "book/teaching.html"
_ARTICLE = re.compile(r"<article\b.*</article>", re.DOTALL)
SESSIONS = ("an-hour", "half-day", "two-days")


@dataclass(frozen=True, kw_only=True)
class Slide:
    """One screen: its kind, HTML for the room, and HTML for the speaker alone."""

    kind: str  # opening, row, chapter, figure, claim, takeaway
    html: str
    notes: str = ""


@dataclass(frozen=True)
class Place:
    """An anchor of a page: what a row of the guide links to."""

    page: str  # from the root of the book, as in notebooks/01_name.html
    anchor: str
    words: str

    @property
    def is_chapter(self) -> bool:
        """Whether it is a chapter as a whole."""
        return self.anchor.startswith("ch-")


@dataclass(frozen=True)
class AgendaRow:
    """A row of a session: when, what is shown, what is said."""

    minutes: str
    shown: Tag
    said: str

    @property
    def places(self) -> list[Place]:
        """What it links to, in turn."""
        found = [(urldefrag(urljoin(GUIDE, str(link["href"]))), link.get_text()) for link in self.shown.find_all("a")]
        return [Place(str(url), str(anchor), words) for (url, anchor), words in found]


class Pages:
    """The rendered pages, each read once, and what decks ask of them more than once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read, self._by_id, self.teaching = cache(self._read), cache(self._ids), cache(self._teaching)
        self.whole = cache(lambda page: tuple(_whole(self, page)))

    def _read(self, name: str) -> BeautifulSoup:
        """A page's article: all of the page that a deck shows."""
        article = _ARTICLE.search((self.root / name).read_text(encoding="utf-8"))
        assert article is not None, f"{name} has no article"
        return BeautifulSoup(article.group(), "html.parser")

    def _ids(self, name: str) -> dict[str, Tag]:
        """What stands at each anchor of a page."""
        return {str(tag["id"]): tag for tag in reversed(self.read(name).find_all(id=True))}

    def at(self, place: Place) -> Tag | None:
        """What stands at an anchor."""
        return self._by_id(place.page).get(place.anchor)

    def head(self, page: str) -> tuple[str, Tag]:
        """A chapter's title and the sentence below it."""
        title = self.read(page).select_one("article h1")
        assert title is not None, f"{page} has no title"
        lead = title.find_next("p")
        assert isinstance(lead, Tag), f"{page} has no first sentence"
        return _words(title), lead

    def _teaching(self, page: str) -> Tag:
        """A chapter's section for teachers."""
        found = self.at(Place(page, "teaching-this", ""))
        assert found is not None, f"{page} has no section for teachers"
        return found


def slides(pages: Pages, session: str) -> Iterator[Slide]:
    """All slides of a session, the opening one first."""
    section = _section(pages, session)
    yield Slide(kind="opening", html=_opening(section), notes=_inside(section, GUIDE, "p"))
    rows = list(_rows(section))
    opened = ""
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        found = row.places
        yield from _of_row(pages, row)
        opened = next((each.page for each in found if each.is_chapter), opened)
        stays = following is not None and [each.page for each in following.places][:1] == [opened]
        if opened and not stays:
            yield _takeaway(pages, opened)
            opened = ""


def _section(pages: Pages, session: str) -> Tag:
    heading = pages.at(Place(GUIDE, f"session-{session}", ""))
    found = heading.find_parent("section") if heading else None
    assert found is not None, f"the guide has no session {session}"
    return found


def _rows(section: Tag) -> Iterator[AgendaRow]:
    for row in section.select("tbody tr"):
        minutes, shown, said = row.find_all("td")
        yield AgendaRow(minutes.get_text(" ", strip=True), shown, moved(said, GUIDE))


def _of_row(pages: Pages, row: AgendaRow) -> Iterator[Slide]:
    """The slides of a row; the first has what is said beside it in its notes."""
    notes = f"<p><b>{row.minutes}</b></p>{row.said}"
    places = [each for each in row.places if each.is_chapter or pages.at(each)]
    if not places:
        yield Slide(kind="row", html=f"<h2>{row.shown.get_text(' ', strip=True)}</h2>{row.said}", notes=notes)
        return
    for place in places:
        whole = place.is_chapter and not [each for each in places if each.page == place.page and each != place]
        for slide in pages.whole(place.page) if whole else (_of_place(pages, place),):
            yield Slide(kind=slide.kind, html=slide.html, notes=notes + slide.notes)
            notes = ""


def _whole(pages: Pages, page: str) -> Iterator[Slide]:
    """A chapter: title, board, figures that its plan names, main figure, claims."""
    soup, plan = pages.read(page), pages.teaching(page)
    yield _chapter(pages, page)
    boards = [str(each["id"]) for each in plan.select("figure[id]")]
    named = [str(link["href"]).removeprefix("#") for link in plan.select("table a[href^='#']")]
    first = [str(each["id"]) for each in soup.select("figure[id]")[:1]]
    for anchor in dict.fromkeys((*boards, *first, *named)):
        if (at := pages.at(Place(page, anchor, ""))) is not None and at.name == "figure":
            yield _figure(pages, page, at)
    for box in soup.select(".bb-opening"):
        yield _claim(pages, page, box)


def _of_place(pages: Pages, place: Place) -> Slide:
    if place.is_chapter:
        return _chapter(pages, place.page)
    found = pages.at(place)
    if found is not None and found.name == "figure":
        return _figure(pages, place.page, found)
    heads = (
        each for each in pages.read(place.page).select(".bb-opening") if each.select_one(f"a[href='#{place.anchor}']")
    )
    head = next(heads, None)
    if head is None:
        return Slide(kind="row", html=f"<h2>{place.words}</h2>")
    return _claim(pages, place.page, head)


def _opening(section: Tag) -> str:
    title, goal = section.find("h2"), section.find("p")
    assert isinstance(title, Tag) and isinstance(goal, Tag)
    return f"<p>The Byte Bill</p><h1>{_words(title)}</h1><p>{moved(goal, GUIDE)}</p>"


def _chapter(pages: Pages, page: str) -> Slide:
    title, lead = pages.head(page)
    plan = pages.teaching(page)
    return Slide(kind="chapter", html=f"<h2>{title}</h2><p>{moved(lead, page)}</p>", notes=_inside(plan, page, "p, tr"))


def _figure(pages: Pages, page: str, figure: Tag) -> Slide:
    image, caption = figure.find("img"), figure.select_one(".caption-text")
    assert isinstance(image, Tag) and caption is not None, f"{page}: a figure without picture or caption"
    source, alt = urljoin(page, str(image["src"])), str(image["alt"]).replace('"', "&quot;")
    finding, _, rest = moved(caption, page).partition(". ")
    rows = pages.teaching(page).select("tbody tr")
    said = [moved(row, page) for row in rows if row.select_one(f"a[href='#{figure['id']}']")]
    return Slide(
        kind="figure",
        html=f'<img src="../{source}" alt="{alt}"><p>{finding.rstrip(".")}.</p>',
        notes="".join(f"<p>{each}</p>" for each in (*said, rest) if each),
    )


def _claim(pages: Pages, page: str, head: Tag) -> Slide:
    name, claim = (head.select_one(f".bb-opening-{part}") for part in ("head", "claim"))
    said, strip = head.select_one(".bb-say"), head.select_one("svg")
    assert name is not None and claim is not None, f"{page}: a claim without its sentence"
    instead = f"<p><b>Say: {moved(said, page)}</b></p>" if said else ""
    notes = f"<p>{strip['aria-label']}</p>" if strip else ""
    return Slide(
        kind="claim",
        html=f"<h2>{moved(name, page)}</h2><p>“{moved(claim, page)}”</p>{strip or ''}{instead}",
        notes=notes,
    )


def _takeaway(pages: Pages, page: str) -> Slide:
    box = pages.read(page).select_one(".takeaway")
    assert box is not None, f"{page} has no takeaway"
    text = "".join(f"<p>{moved(each, page)}</p>" for each in box.find_all("p", class_=False))
    wrong = [
        each
        for each in pages.teaching(page).find_all("p", recursive=False)
        if "goal" not in each.get_text()[:12].lower()
    ]
    name = box.select_one(".admonition-title")
    return Slide(
        kind="takeaway",
        html=f"<p>{_words(name) if name else ''}</p><h2>{pages.head(page)[0]}</h2>{text}",
        notes="".join(f"<p>{moved(each, page)}</p>" for each in wrong),
    )


def _inside(tag: Tag, page: str, what: str) -> str:
    """Paragraphs and rows, one below the other."""
    found = (each for each in tag.select(what) if not each.find_parent(["figure", "td", "th", "thead"]))
    return "".join(f"<p>{moved(each, page)}</p>" for each in found if not each.find("th"))


def moved(tag: Tag, page: str) -> str:
    """The inside of a tag as it reads from a folder beside its page's: links and pictures lead on, anchors are gone.

    >>> paragraph = BeautifulSoup('<p id="a">See <a href="#b">there</a>.</p>', "html.parser").p
    >>> moved(paragraph, "notebooks/01_x.html")
    'See <a href="../notebooks/01_x.html#b">there</a>.'
    """
    copy = BeautifulSoup(str(tag), "html.parser")
    for each in copy.select(".headerlink, .bb-by-night"):
        each.decompose()
    for each in copy.find_all(True):
        each.attrs.pop("id", None)
        for name in ("href", "src"):
            if name in each.attrs and "://" not in str(each[name]):
                each[name] = f"../{urljoin(page, str(each[name]))}"
    cells = copy.find_all("td")
    outer = copy.find(True) or copy
    inside = " · ".join(cell.decode_contents().strip() for cell in cells) if len(cells) > 1 else outer.decode_contents()
    return inside.replace("<p>", "").replace("</p>", "").strip()


def _words(tag: Tag) -> str:
    return tag.get_text().strip().rstrip("#").strip()
