"""Which tags stand on a built page, and which text? One pass over its HTML, ten times as fast as a tree of all of it.

    elements    every tag with its attributes and the tag around it; those that the checks quote have their text too
    text        all that a browser shows as text
    prose       the same without code and formulas, of which only the place is kept
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

SHOWN_AS_IS = ("pre", "code", "script", "style", "template", "textarea")
SHOWN_AS_IS_CLASSES = {"math", "highlight"}
UNSEEN = ("script", "style", "template")
QUOTED = ("title", "style", "h2", "h3")
QUOTED_CLASS = "caption-number"
VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())


@dataclass(eq=False)
class Element:
    """A tag of a page."""

    name: str
    attributes: dict[str, str]
    parent: "Element | None"
    texts: list[str] = field(default_factory=list)  # where it is quoted

    @property
    def classes(self) -> list[str]:
        """The classes it has."""
        return self.attributes.get("class", "").split()

    @property
    def words(self) -> str:
        """Its text, without room between its parts."""
        return "".join(text.strip() for text in self.texts)

    def inside(self, name: str) -> bool:
        """Whether a tag of this name is around it."""
        around = self.parent
        while around is not None and around.name != name:
            around = around.parent
        return around is not None


@dataclass(frozen=True)
class Page:
    """A built page as the checks see it.

    >>> page = parsed('<body><h2 id="a">One <i>two</i></h2><pre>x</pre><p>1 &lt; 2</p>')
    >>> page.anchors, page.all("h2")[0].words, page.prose.split()
    (['a'], 'Onetwo', ['One', 'two', '1', '<', '2'])
    """

    path: Path
    elements: list[Element]
    text: str
    prose: str

    @cached_property
    def by_name(self) -> dict[str, list[Element]]:
        """The tags of each name."""
        found = defaultdict(list)
        for each in self.elements:
            found[each.name].append(each)
        return found

    def all(self, *names: str) -> list[Element]:
        """The tags of some names."""
        return [each for name in names for each in self.by_name.get(name, ())]

    @cached_property
    def anchors(self) -> list[str]:
        """Every name that a link to this page may end in."""
        ids = [each.attributes["id"] for each in self.elements if "id" in each.attributes]
        return ids + [each.attributes["name"] for each in self.all("a") if "name" in each.attributes]


class _Reader(HTMLParser):
    """Notes what it meets; a tag that nobody closes ends with the one around it."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text: list[str] = []
        self.prose: list[str] = []
        self._open: list[Element] = []
        self._quoted: list[Element] = []
        self._silent: Element | None = None  # the outermost whose text is no prose
        self._body_is_over = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = self._open[-1] if self._open else None
        element = Element(tag, {name: value or "" for name, value in attrs}, around)
        self.elements.append(element)
        if tag in VOID:
            return
        self._open.append(element)
        if tag == "body":
            self.prose.clear()
        if tag in QUOTED or QUOTED_CLASS in element.classes:
            self._quoted.append(element)
        if self._silent is None and (tag in SHOWN_AS_IS or SHOWN_AS_IS_CLASSES.intersection(element.classes)):
            self._silent = element
            self._write("`…`" if tag == "code" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if any(each.name == tag for each in reversed(self._open)):
            while self._end(self._open.pop()) != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._silent is None or self._silent.name not in UNSEEN:
            self.text.append(data)
        if self._silent is None:
            self._write(data)
        for each in self._quoted:
            each.texts.append(data)

    def _write(self, words: str) -> None:
        if not self._body_is_over:
            self.prose.append(words)

    def _end(self, element: Element) -> str:
        if self._quoted and self._quoted[-1] is element:
            self._quoted.pop()
        if self._silent is element:
            self._silent = None
        self._body_is_over = self._body_is_over or element.name == "body"
        return element.name


def parsed(html: str, path: Path = Path()) -> Page:
    """A page from its HTML."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return Page(path, reader.elements, "".join(reader.text), "\n".join(reader.prose))


def read(path: Path) -> Page:
    """A page from its file."""
    return parsed(path.read_text(encoding="utf-8"), path)
