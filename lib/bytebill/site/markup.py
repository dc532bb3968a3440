"""What stands on a built page? A small tree of its tags, made several times as fast as Beautiful Soup makes its own.

It is for looking only: the checks and the search read every page of the book, and change none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}


@dataclass(eq=False)
class Element:
    """A tag, with what is in it and the tag around it."""

    name: str
    attributes: dict[str, str]
    parent: "Element | None" = None
    children: "list[Element | str]" = field(default_factory=list)

    @cached_property
    def classes(self) -> list[str]:
        """The classes it has."""
        return self.attributes.get("class", "").split()

    @property
    def tags(self) -> "list[Element]":
        """The tags right in it."""
        return [each for each in self.children if isinstance(each, Element)]

    def inside(self, name: str) -> bool:
        """Whether a tag of this name is around it."""
        return self.parent is not None and (self.parent.name == name or self.parent.inside(name))

    def walk(self, skip: "Callable[[Element], bool] | None" = None) -> "Iterator[Element]":
        """The tags in it, in the order of the page, without those to skip and what is in them."""
        ahead = self.tags[::-1]
        while ahead:
            element = ahead.pop()
            if skip is None or not skip(element):
                yield element
                ahead += element.tags[::-1]

    def strings(self, instead: "Callable[[Element], str | None] | None" = None) -> list[str]:
        """The text in it, piece by piece; `instead` says what stands for a tag, where its own text does not."""
        found: list[str] = []
        for each in self.children:
            if isinstance(each, str):
                found.append(each)
            elif instead is None or (other := instead(each)) is None:
                found += each.strings(instead)
            else:
                found.append(other)
        return found


class _Reader(HTMLParser):
    """Builds the tree; a tag that nobody closes ends with the one around it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._at = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._at)
        self._at.children.append(element)
        if tag not in VOID:
            self._at = element

    def handle_endtag(self, tag: str) -> None:
        if self._at.name == tag or self._at.inside(tag):
            while self._at.name != tag:
                assert self._at.parent is not None
                self._at = self._at.parent
            self._at = self._at.parent or self.root

    def handle_data(self, data: str) -> None:
        self._at.children.append(data)


def parsed(html: str) -> Element:
    """The tree of a page, in a tag without a name.

    >>> body, = parsed('<body><h2 id="a">One <i>two</i></h2><img src="b"><p>1 &lt; 2</body>').tags
    >>> [each.name for each in body.walk()], body.strings()
    (['h2', 'i', 'img', 'p'], ['One ', 'two', '1 < 2'])
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.root


@dataclass(frozen=True)
class Page:
    """A built page."""

    path: Path
    root: Element

    @cached_property
    def elements(self) -> list[Element]:
        """All its tags, in order."""
        return list(self.root.walk())

    @cached_property
    def by_name(self) -> dict[str, list[Element]]:
        """The tags of each name."""
        found: dict[str, list[Element]] = {}
        for each in self.elements:
            found.setdefault(each.name, []).append(each)
        return found

    def all(self, name: str) -> list[Element]:
        """The tags of a name."""
        return self.by_name.get(name, [])

    @cached_property
    def anchors(self) -> list[str]:
        """Every name that a link to this page may end in."""
        ids = [each.attributes["id"] for each in self.elements if "id" in each.attributes]
        return ids + [each.attributes["name"] for each in self.all("a") if "name" in each.attributes]


def read_page(path: Path) -> Page:
    """A page from its file."""
    return Page(path, parsed(path.read_text(encoding="utf-8")))
