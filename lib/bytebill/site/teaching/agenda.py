"""What does the guide plan for a session? Its rows: when, what is shown, what is said, and what is asked before.

A question is what stands in quotation marks and ends in a question mark. A session of several halves names the half
before its minutes, as in *First morning, 0–30*; a row that names none belongs to the half before it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

from bs4 import Tag

from bytebill.site.pieces import moved, words

GUIDE = "book/teaching.html"
SESSIONS = ("an-hour", "half-day", "two-days")
AT_THE_END = "At the end"
_QUESTION = re.compile(r"“[^”]*\?”")


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


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    """A row of a session."""

    part: str  # the half of a longer session, or nothing
    minutes: str
    shown: Tag
    said: str

    @property
    def places(self) -> list[Place]:
        """What it links to, in turn."""
        found = [(urldefrag(urljoin(GUIDE, str(link["href"]))), link.get_text()) for link in self.shown.find_all("a")]
        return [Place(str(url), str(anchor), words) for (url, anchor), words in found]

    @property
    def questions(self) -> list[str]:
        """What the room is asked before anything is shown."""
        return _QUESTION.findall(self.said)

    @property
    def name(self) -> str:
        """What it is about, in words: up to a colon."""
        return self.shown.get_text(" ", strip=True).partition(":")[0].strip()

    @property
    def chapter(self) -> str:
        """The page of the chapter that it opens, or nothing."""
        return next((place.page for place in self.places if place.is_chapter), "")


def section_of(guide: Tag, session: str) -> Tag:
    """The section of a session."""
    heading = guide.find(id=f"session-{session}")
    found = heading.find_parent("section") if isinstance(heading, Tag) else None
    assert found is not None, f"the guide has no session {session}"
    return found


def session_rows(of: Tag) -> Iterator[SessionRow]:
    """The rows of a session's table."""
    part = ""
    for row in of.select("tbody tr"):
        when, shown, said = row.find_all("td")
        half, _, minutes = when.get_text(" ", strip=True).rpartition(", ")
        part = half or part
        yield SessionRow(part=part, minutes=minutes, shown=shown, said=moved(said, GUIDE))


def goes_on(row: SessionRow, opened: str) -> bool:
    """Whether a row goes on with a chapter that is open."""
    return bool(opened) and [place.page for place in row.places][:1] == [opened]


def opening_html(of: Tag) -> str:
    """The first slide: the session's name and its goal."""
    title, goal = of.find("h2"), of.find("p")
    assert isinstance(title, Tag) and isinstance(goal, Tag)
    return f"<p>The Byte Bill</p><h1>{words(title)}</h1><p>{moved(goal, GUIDE)}</p>"


def closing_html(of: Tag) -> str:
    """The last slide: the guide's own words for the end, if it has some."""
    said = (moved(each, GUIDE) for each in of.find_all("p", recursive=False) if each.get_text().startswith(AT_THE_END))
    return "".join(f"<p>{each}</p>" for each in said)
