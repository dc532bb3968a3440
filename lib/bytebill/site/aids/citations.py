"""Which work is meant? Citations and the list of references speak one language, and lead to each other.

style      the list is keyed by author and year, as the text cites: *Williams et al., 2009*
link_back  each reference names the pages that cite it, and leads to the sentences
label      what a work is called; two of the same authors and year get letters

The card with the whole reference, on hover, focus and a first tap, is `book/assets/aids.js`'s, out of the page's own
HTML.
"""

import html
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from pybtex.plugin import find_plugin, register_plugin
from pybtex.style.formatting.alpha import Style as AlphaStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx

from bytebill import chapters

REFERENCES = "book/references"
N_AUTHORS = 2  # more are "et al."


class AuthorYearLabels(BaseLabelStyle):
    """Labels of pybtex: the authors' last names and the year."""

    def format_labels(self, sorted_entries: Iterable[Any]) -> Iterable[str]:
        """One label an entry; `tell_apart` has seen to it that no two are alike."""
        return [label(entry) for entry in sorted_entries]


class AuthorYearStyle(AlphaStyle):
    """Everything as pybtex's alpha, but the label."""

    default_label_style = "author_year_names"


def register_style() -> None:
    """Make both known to sphinxcontrib-bibtex, which finds them by name."""
    register_plugin("pybtex.style.labels", "author_year_names", AuthorYearLabels)
    register_plugin("pybtex.style.formatting", "bytebill", AuthorYearStyle)
    for backend in ("plaintext", "docutils"):  # asked for at each citation, and sought among all that is installed
        register_plugin("pybtex.backends", backend, find_plugin("pybtex.backends", backend), force=True)


def label(entry: Any) -> str:
    """How a work is called, as `author_year` cites it.

    >>> from pybtex.database import Entry, Person
    >>> people = [Person(name) for name in ("Williams, Samuel", "Waterman, Andrew", "Patterson, David")]
    >>> label(Entry("article", fields={"year": "2009"}, persons={"author": people}))
    'Williams et al., 2009'
    >>> label(Entry("misc", fields={"year": "2025"}, persons={"author": [Person("{NVIDIA}")]}))
    'NVIDIA, 2025'
    """
    people = entry.persons.get("author") or entry.persons.get("editor") or ()
    names = [re.sub(r"[{}]", "", " ".join([*person.prelast_names, *person.last_names])) for person in people]
    who = f"{names[0]} et al." if len(names) > N_AUTHORS else " and ".join(names)
    return ", ".join(
        part for part in (who or str(entry.fields.get("title", "")), str(entry.fields.get("year", ""))) if part
    )


def tell_apart(app: Sphinx, env: Any, docnames: list[str]) -> None:
    """Works of the same authors and year become 2026a, 2026b, in the text as in the list."""
    with_letters(env.get_domain("cite").bibdata.data.entries)


def with_letters(entries: Mapping[str, Any]) -> None:
    """Put a letter behind the year of each entry whose label another has too, in the order of their keys.

    >>> from pybtex.database import Entry, Person
    >>> works = {key: Entry("misc", fields={"year": "2026"}, persons={"author": [Person("B")]}) for key in "yx"}
    >>> with_letters(works)
    >>> with_letters(works)  # a second time changes nothing
    >>> [label(works[key]) for key in "xy"]
    ['B, 2026a', 'B, 2026b']
    """
    alike: dict[str, list[Any]] = {}
    for key in sorted(entries):
        alike.setdefault(label(entries[key]), []).append(entries[key])
    for twins in alike.values():
        for letter, entry in zip(ascii_lowercase, twins if len(twins) > 1 else (), strict=False):
            entry.fields["year"] = f"{entry.fields.get('year', '')}{letter}"


def link_back(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Below each reference: the pages that cite it, and in each the sections, whose links lead to the sentence."""
    if pagename != REFERENCES or "body" not in context or app.builder.format != "html":
        return
    domain: Any = app.env.get_domain("cite")
    places: dict[str, dict[str, dict[str, str]]] = {}
    for cited in sorted(domain.citation_refs, key=lambda each: _place(app, each.docname)):
        for target in cited.targets:
            page = places.setdefault(target.key.lower(), {}).setdefault(cited.docname, {})
            page.setdefault(_section(app, cited.docname, cited.citation_ref_id), cited.citation_ref_id)
    soup = BeautifulSoup(context["body"], "html.parser")
    for citation in domain.citations:
        place, pages = soup.find(id=citation.citation_id), places.get(citation.key.lower(), {})
        if isinstance(place, Tag) and pages:
            links = "; ".join(_links(app, name, sections) for name, sections in pages.items())
            place.append(BeautifulSoup(f'<p class="bb-cited">Cited in: {links}</p>', "html.parser"))
    context["body"] = str(soup)


def _section(app: Sphinx, name: str, id: str) -> str:
    """The heading above a citation; none below a page's own title."""
    return _headings(app.env, name).get(id, "")


@cache
def _headings(env: Any, name: str) -> Mapping[str, str]:
    """The nearest heading below the title, of each citation of a page."""
    found: dict[str, str] = {}
    for section in env.get_doctree(name).findall(nodes.section):  # the inner ones come later
        heading = section.next_node(nodes.title)
        for node in section.findall(nodes.Element) if heading and isinstance(section.parent, nodes.section) else ():
            found |= {id: heading.astext() for id in node["ids"]}
    return found


def _links(app: Sphinx, name: str, sections: Mapping[str, str]) -> str:
    """A page that cites, and in brackets where."""
    number = chapters.number(Path(name))
    title = html.escape(f"{number}. {app.env.titles[name].astext()}" if number else app.env.titles[name].astext())
    uri = app.builder.get_relative_uri(REFERENCES, name)
    below = [f'<a href="{uri}#{id}">{html.escape(heading)}</a>' for heading, id in sections.items() if heading]
    at_top = f"#{sections['']}" if "" in sections else ""
    return f'<a href="{uri}{at_top}">{title}</a>' + (f" ({', '.join(below)})" if below else "")


def _place(app: Sphinx, name: str) -> int:
    """Where a page stands in the book."""
    order = list(app.env.toctree_includes.get(app.config.root_doc, ()))
    return order.index(name) if name in order else len(order)
