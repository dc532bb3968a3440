"""Are the built pages whole? What Sphinx does not see, because it is in raw HTML, in outputs or in the result.

    links        every local link, script, style sheet and image is there, and so is every anchor
    outside      nothing is loaded from another host (a link that a reader may follow is no load)
    pictures     every image says in words what it shows
    structure    one main heading, a title, a language, no anchor twice
    markup       no role, directive, table or link of MyST that was left as raw text, and no sentence between two
                 dollars that was taken for a formula
    tracebacks   no failed cell

It reads files and runs no script: what a script asks for at view time is for `bytebill.site.browser` to see.
Usage: python -m bytebill.site.check _build/html
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from bytebill.site.markup import Element, Page, read_page

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
    "a dollar": re.compile(r"\\\$.{0,20}"),
}
LETTERS_ABREAST = 4  # that stand side by side in a formula: 4LNHS; a sentence that was taken for one has more
TRACEBACK = re.compile(r"Traceback \(most recent call last\)|papermill-error-cell")
SHOWN_AS_IS = ("pre", "code", "script", "style", "template", "textarea")
SHOWN_AS_IS_CLASSES = {"math", "highlight"}
UNSEEN = ("script", "style", "template")
# Sphinx's index and search pages and Jupyter Book's redirect have no prose of ours.
MACHINE_MADE = ("genindex.html", "search.html")


PAGES_A_PROCESS = 8  # fewer are not worth another one


@dataclass(frozen=True)
class PageFindings:
    """What is kept of a page: its anchors, where it leads, and what is wrong with it by itself."""

    path: Path
    anchors: frozenset[str]
    addresses: tuple[tuple[str, str], ...]  # the name of a tag, and where it leads
    faults: tuple[str, ...]


Site = Mapping[Path, frozenset[str]]


def is_ours(page: Page) -> bool:
    """Whether people wrote it."""
    redirects = any(each.attributes.get("http-equiv", "").lower() == "refresh" for each in page.all("meta"))
    return page.path.name not in MACHINE_MADE and not redirects


def pages(root: Path) -> list[Path]:
    """The pages of a built site."""
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]


def links(found: PageFindings, site: Site) -> Iterator[str]:
    """Local targets that are not there."""
    for name, address in found.addresses:
        if fault := _fault(address, found.path, site):
            yield f"<{name}> {address}: {fault}"


def outside(page: Page) -> Iterator[str]:
    """Addresses on other hosts that a browser would load by itself."""
    for element, _, address in _addresses(page, *LOADS):
        if _is_foreign(address) and "canonical" not in element.attributes.get("rel", "").split():
            yield f"<{element.name}> is loaded from elsewhere: {address}"
    yield from (f"a style sheet loads {address}" for address in _loaded_by_styles(page))


def pictures(page: Page) -> Iterator[str]:
    """Images without words; a file name is none, and only the frame of a page has ornaments, with `alt=""`."""
    for image in page.all("img"):
        alt, source = image.attributes.get("alt"), str(image.attributes.get("src"))
        ornament = alt == "" and not image.inside("article")
        if not ornament and (not alt or "_images/" in alt or alt == Path(source).name):
            yield f"image without a description: {source[:80]}"


def structure(page: Page) -> Iterator[str]:
    """Faults in the frame of the page."""
    if not is_ours(page):
        return
    headings = [each for each in page.all("h1") if each.inside("article") or not page.all("article")]
    if len(headings) != 1:
        yield f"{len(headings)} main headings instead of one"
    if not (page.all("title") and _words(page.all("title")[0])):
        yield "no title"
    if not any(each.attributes.get("lang") for each in page.all("html")):
        yield "no language"
    yield from (
        f"the anchor #{name} is there {count} times" for name, count in Counter(page.anchors).items() if count > 1
    )


def raw_markup(page: Page) -> Iterator[str]:
    """Source that was meant to become something else."""
    if is_ours(page):
        prose = "\n".join(next(iter(page.all("body")), page.root).strings(_instead_of_code))
        yield from (
            f"{what} shows as raw text: {found.strip()[:80]}"
            for what, pattern in RAW.items()
            for found in pattern.findall(prose)
        )


def sentences(page: Page) -> Iterator[str]:
    """Prose in the letters of a formula."""
    for formula in page.all("math"):
        rows: dict[Element | None, int] = {}
        for each in formula.walk():
            letter = each.name == "mi" and not each.attributes and len("".join(each.strings()).strip()) == 1
            rows[each.parent] = rows.get(each.parent, 0) + 1 if letter else 0
            if rows[each.parent] > LETTERS_ABREAST:
                yield f"prose is set as a formula: {''.join(formula.strings())[:80]}"
                break


def numbers(page: Page) -> Iterator[str]:
    """Figures of a chapter that count as another's, where the text means the number in the file's name; headings inside
    a chapter that carry its number."""
    headings = (each.parent for each in page.elements if "section-number" in each.classes)
    for heading in headings:
        if heading is not None and heading.name in ("h2", "h3"):
            yield f"the heading '{_words(heading)}' has a number"
    name = re.match(r"(\d\d)_", page.path.name)
    for caption in page.elements if name else ():
        found = re.match(r"Fig\. (\d+)\.", "".join(caption.strings())) if "caption-number" in caption.classes else None
        if name and found and int(found[1]) != int(name[1]):
            yield f"{_words(caption)} stands in chapter {int(name[1])}"


def tracebacks(page: Page) -> Iterator[str]:
    """Cells that failed, and were built into a page."""
    text = "".join(page.root.strings(lambda element: "" if element.name in UNSEEN else None))
    if TRACEBACK.search(text) or any({"output", "traceback"} <= {*each.classes} for each in page.all("div")):
        yield "a Python traceback shows"


CHECKS: tuple[Callable[[Page], Iterator[str]], ...] = (
    outside,
    pictures,
    structure,
    raw_markup,
    sentences,
    numbers,
    tracebacks,
)


def found_in(page: Page) -> PageFindings:
    """What a page has, and what is wrong with it by itself."""
    addresses = (
        (element.name, address)
        for element, attribute, address in _addresses(page, ("a", "href"), *LOADS)
        if attribute != "srcset"
    )
    faults = (fault for check in CHECKS for fault in dict.fromkeys(check(page)))
    return PageFindings(page.path, frozenset(page.anchors), tuple(dict.fromkeys(addresses)), tuple(faults))


def problems(root: Path) -> list[str]:
    """Everything that is wrong with a site, one line each; empty is good."""
    found = list(_spread(pages(root)))
    if not found:
        return [f"{root}: no page was built"]
    site = {each.path: each.anchors for each in found}
    _there.cache_clear()
    return [f"{each.path.relative_to(root)}: {fault}" for each in found for fault in (*links(each, site), *each.faults)]


def _spread(paths: list[Path]) -> Iterable[PageFindings]:
    """Read pages on all cores."""
    n_processes = min(os.cpu_count() or 1, len(paths) // PAGES_A_PROCESS)
    if n_processes < 2:
        return map(_read, paths)
    with ProcessPoolExecutor(n_processes) as pool:
        return list(pool.map(_read, paths))


def _read(path: Path) -> PageFindings:
    return found_in(read_page(path))


def _instead_of_code(element: Element) -> str | None:
    """Code is no prose, and only its place is kept."""
    if element.name in SHOWN_AS_IS or SHOWN_AS_IS_CLASSES.intersection(element.classes):
        return "`…`" if element.name == "code" else "\n"
    return None


def _words(element: Element) -> str:
    """Its text, without room between its parts."""
    return "".join(text.strip() for text in element.strings())


def _addresses(page: Page, *named: tuple[str, str]) -> Iterator[tuple[Element, str, str]]:
    """The tags that have one of these attributes, its name, and what stands in it."""
    for name, attribute in named:
        for element in page.all(name):
            if attribute in element.attributes:
                yield element, attribute, element.attributes[attribute]


def _fault(address: str, page: Path, site: Site) -> str | None:
    """What is wrong with a local address on a page; None for a good one and for any other kind.

    What has a sign of equality is no place but a choice that the page's script reads, as in `ledger.html#word=wrong`.
    """
    url, fragment = urldefrag(address)
    parts = urlsplit(url)
    if parts.scheme or _is_foreign(address):
        return None
    target = _there(page.parent, unquote(parts.path)) if parts.path else page
    if target is None:
        return "is missing"
    if fragment and "=" not in fragment and target in site and unquote(fragment) not in site[target]:
        return "has no such anchor"
    return None


@cache
def _there(folder: Path, path: str) -> Path | None:
    """The file to which a path leads from a folder, if it is there."""
    target = (folder / path).resolve()
    target = target / "index.html" if target.is_dir() else target
    return target if target.exists() else None


def _is_foreign(address: str) -> bool:
    """Whether an address, or any of a set of them, names a host.

    >>> _is_foreign("//host/x.js"), _is_foreign("a.png 1x, https://host/b.png 2x"), _is_foreign("a/b.png")
    (True, True, False)
    """
    return any(part.startswith(("http://", "https://", "//")) for part in address.replace(",", " ").split())


def _loaded_by_styles(page: Page) -> Iterator[str]:
    """What the style sheets of a page load from other hosts."""
    for style in page.all("style"):
        yield from STYLE_LOAD.findall("".join(style.strings()))
    for link in page.all("link"):
        path = page.path.parent / urlsplit(link.attributes.get("href", "")).path
        if "stylesheet" in link.attributes.get("rel", "").split() and path.is_file():
            yield from STYLE_LOAD.findall(path.read_text(encoding="utf-8", errors="replace"))


def main(arguments: list[str]) -> int:
    """Print what is wrong, or that nothing is."""
    root = Path(arguments[0] if arguments else "_build/html").resolve()
    found = problems(root)
    print("\n".join(found) or f"{len(pages(root))} pages: links, anchors, images, headings and outputs are whole.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
