"""Are the built pages whole? What Sphinx does not see, because it is in raw HTML, in outputs or in the result.

    links        every local link, script, style sheet and image is there, and so is every anchor
    outside      nothing is loaded from another host (a link that a reader may follow is no load)
    pictures     every image says in words what it shows
    structure    one main heading, a title, a language, no anchor twice
    markup       no role, directive, table or link of MyST that was left as raw text
    tracebacks   no failed cell

It reads files and runs no script: what a script asks for at view time is for `bytebill.site.browser` to see.
Usage: python -m bytebill.site.check _build/html
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from bs4 import BeautifulSoup, Tag

LOADS = (
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
    ("embed", "src"),
    ("img", "srcset"),
    ("source", "srcset"),
)
STYLE_LOAD = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")
RAW = {
    "a role": re.compile(r"\{[a-z][\w:.+-]*\}\n?`[^`]*`"),
    "a directive": re.compile(r"(?:`{3,}|:{3,})\{[a-z][\w:-]*\}"),
    "a table": re.compile(r"\|\s*:?-{3,}:?\s*\|"),
    "a link": re.compile(r"\[[^\]\n]+\]\([^)\s]+\)"),
    "a target": re.compile(r"^\([\w-]+\)=\s*$", re.MULTILINE),
}
SHOWN_AS_IS = ("pre", "code", "script", "style", "template", "textarea")
TRACEBACK = re.compile(r"Traceback \(most recent call last\)|papermill-error-cell")
# Sphinx's index and search pages and Jupyter Book's redirect have no prose of ours.
MACHINE_MADE = ("genindex.html", "search.html")


@dataclass(frozen=True)
class Page:
    """One built page, parsed."""

    path: Path
    soup: BeautifulSoup

    @cached_property
    def anchors(self) -> list[str]:
        """Every name that a link to this page may end in."""
        named = self.soup.find_all("a", attrs={"name": True})
        return [str(tag["id"]) for tag in self.soup.find_all(id=True)] + [str(tag["name"]) for tag in named]

    @property
    def is_ours(self) -> bool:
        """Whether people wrote it."""
        redirect = self.soup.find("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)})
        return self.path.name not in MACHINE_MADE and redirect is None

    @cached_property
    def prose(self) -> str:
        """The text a reader sees as prose: code is left out, and only its place is kept."""
        copy = BeautifulSoup(str(self.soup.body or self.soup), "html.parser")
        for tag in copy(SHOWN_AS_IS) + copy.select(".math, .highlight"):
            tag.replace_with("`…`" if tag.name == "code" else "\n")
        return copy.get_text("\n")


Site = dict[Path, Page]


def pages(root: Path) -> list[Path]:
    """The pages of a built site."""
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]


def links(page: Page, site: Site) -> Iterator[str]:
    """Local targets that are not there."""
    for node, address in _addresses(page, ("a", "href"), *LOADS):
        if node.get("srcset") != address and (fault := _fault(address, page, site)):
            yield f"<{node.name}> {address}: {fault}"


def outside(page: Page, site: Site) -> Iterator[str]:
    """Addresses on other hosts that a browser would load by itself."""
    for node, address in _addresses(page, *LOADS):
        if _is_foreign(address) and "canonical" not in (node.get("rel") or ()):
            yield f"<{node.name}> is loaded from elsewhere: {address}"
    yield from (f"a style sheet loads {address}" for address in STYLE_LOAD.findall("\n".join(_styles(page))))


def pictures(page: Page, site: Site) -> Iterator[str]:
    """Images without words; a file name is none, and only the frame of a page has ornaments, with `alt=""`."""
    for image in page.soup.find_all("img"):
        alt, source = image.get("alt"), str(image.get("src"))
        ornament = alt == "" and not image.find_parent("article")
        if not ornament and (not alt or "_images/" in alt or alt == Path(source).name):
            yield f"image without a description: {source[:80]}"


def structure(page: Page, site: Site) -> Iterator[str]:
    """Faults in the frame of the page."""
    if not page.is_ours:
        return
    if (n_headings := len((page.soup.article or page.soup).find_all("h1"))) != 1:
        yield f"{n_headings} main headings instead of one"
    if not (page.soup.title and page.soup.title.get_text(strip=True)):
        yield "no title"
    if page.soup.html is None or not page.soup.html.get("lang"):
        yield "no language"
    yield from (
        f"the anchor #{name} is there {count} times" for name, count in Counter(page.anchors).items() if count > 1
    )


def raw_markup(page: Page, site: Site) -> Iterator[str]:
    """Source that was meant to become something else."""
    if page.is_ours:
        yield from (
            f"{what} shows as raw text: {found.strip()[:80]}"
            for what, pattern in RAW.items()
            for found in pattern.findall(page.prose)
        )


def numbers(page: Page, site: Site) -> Iterator[str]:
    """Figures of a chapter that count as another's, where the text means the number in the file's name; headings inside
    a chapter that carry its number."""
    name = re.match(r"(\d\d)_", page.path.name)
    numbered = page.soup.select("h2:has(> .section-number), h3:has(> .section-number)")
    yield from (f"the heading '{heading.get_text(strip=True)}' has a number" for heading in numbered)
    for caption in page.soup.select(".caption-number") if name else ():
        found = re.match(r"Fig\. (\d+)\.", caption.get_text())
        if name and found and int(found[1]) != int(name[1]):
            yield f"{caption.get_text(strip=True)} stands in chapter {int(name[1])}"


def tracebacks(page: Page, site: Site) -> Iterator[str]:
    """Cells that failed, and were built into a page."""
    if page.soup.select_one("div.output.traceback") or TRACEBACK.search(page.soup.get_text()):
        yield "a Python traceback shows"


CHECKS: tuple[Callable[[Page, Site], Iterator[str]], ...] = (
    links,
    outside,
    pictures,
    structure,
    raw_markup,
    numbers,
    tracebacks,
)


def problems(root: Path) -> list[str]:
    """Everything that is wrong with a site, one line each; empty is good."""
    site = {path: Page(path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")) for path in pages(root)}
    if not site:
        return [f"{root}: no page was built"]
    return [
        f"{page.path.relative_to(root)}: {fault}"
        for page in site.values()
        for check in CHECKS
        for fault in dict.fromkeys(check(page, site))
    ]


def _addresses(page: Page, *named: tuple[str, str]) -> Iterator[tuple[Tag, str]]:
    """The tags that have one of these attributes, and what stands in it."""
    for tag, attribute in named:
        yield from ((node, str(node[attribute])) for node in page.soup.find_all(tag, attrs={attribute: True}))


def _fault(address: str, page: Page, site: Site) -> str | None:
    """What is wrong with a local address; None for a good one and for any other kind."""
    url, fragment = urldefrag(address)
    parts = urlsplit(url)
    if parts.scheme or _is_foreign(address):
        return None
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return "is missing"
    if fragment and target in site and unquote(fragment) not in site[target].anchors:
        return "has no such anchor"
    return None


def _is_foreign(address: str) -> bool:
    """Whether an address, or any of a set of them, names a host.

    >>> _is_foreign("//host/x.js"), _is_foreign("a.png 1x, https://host/b.png 2x"), _is_foreign("a/b.png")
    (True, True, False)
    """
    return any(part.startswith(("http://", "https://", "//")) for part in address.replace(",", " ").split())


def _styles(page: Page) -> Iterator[str]:
    """The text of every style sheet that the page uses."""
    yield from (tag.get_text() for tag in page.soup.find_all("style"))
    for tag in page.soup.find_all("link", rel="stylesheet", href=True):
        path = page.path.parent / urlsplit(str(tag["href"])).path
        if path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def main(arguments: list[str]) -> int:
    """Print what is wrong, or that nothing is."""
    root = Path(arguments[0] if arguments else "_build/html").resolve()
    found = problems(root)
    print("\n".join(found) or f"{len(pages(root))} pages: links, anchors, images, headings and outputs are whole.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
