"""How does one page show pieces of all chapters? They are copied from the chapters' documents when the page is built.

    boards      every drawing for the board, with its words, and a link to its chapter's section *Teaching this*
    exercises   what every exercise asks, with a link to where it stands
    solutions   how every exercise is solved, in words, with links to the exercise and to the solution in its chapter

An exercise that speaks of what stands in its chapter says so, with a link.

A directive leaves a placeholder, and the copies come in before references are resolved, so that a term or a citation
inside them leads on from its new page.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from bytebill import chapters

TEACHING = "Teaching this"
BOARDS = "assets/boards/"
_IN_CHAPTER = re.compile(r"\b(?:above|this chapter|the table of)\b")


class Placeholder(nodes.General, nodes.Element):
    """Where copies will stand; `what` names them."""


class Gather(SphinxDirective):
    """The directive: it says what to gather, by its own name."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder."""
        return [Placeholder(what=self.name)]


class FillIn(SphinxPostTransform):
    """Put the copies in, before references are resolved (at 10)."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Fill every placeholder of a page."""
        for found in list(self.document.findall(Placeholder)):
            found.replace_self(list(_GATHERERS[found["what"]](self)))

    def link(self, docname: str, anchor: str, *inside: nodes.Node) -> nodes.reference:
        """A link from this page to an anchor of another, or to its top."""
        uri = self.app.builder.get_relative_uri(self.env.docname, docname)
        return nodes.reference("", "", *inside, refuri=f"{uri}#{anchor}" if anchor else uri, internal=True)

    def copied(self, found: nodes.Element) -> list[nodes.Node]:
        """What is inside a node, anew: without anchors, and at home on this page."""
        copy = found.deepcopy()
        for node in copy.findall(nodes.Element):
            node["ids"], node["names"] = [], []
            if "refdoc" in node:
                node["refdoc"] = self.env.docname
        return list(copy.children)


def of_chapters(env: BuildEnvironment) -> Iterator[tuple[int, str, nodes.document]]:
    """The chapters as they were read: number, name and document."""
    numbered = ((chapters.number(Path(name)), name) for name in env.found_docs)
    for number, name in sorted((number, name) for number, name in numbered if number is not None):
        yield number, name, env.get_doctree(name)


def _boards(page: FillIn) -> Iterator[nodes.Node]:
    for number, name, document in of_chapters(page.env):
        (section,) = (each for each in document.findall(nodes.section) if _title(each).astext() == TEACHING)
        for image in (each for each in section.findall(nodes.image) if BOARDS in each["uri"]):
            copy = image.deepcopy()
            title = nodes.Text(f"{number}. {page.env.titles[name].astext()}")
            yield nodes.container(
                "",
                page.link(name, section["ids"][0], copy),
                nodes.paragraph("", "", page.link(name, section["ids"][0], title)),
                classes=["bb-board"],
            )


def _exercises(page: FillIn) -> Iterator[nodes.Node]:
    for number, name, found in _by_chapter(page, "exercise_enumerable_node"):
        yield _heading(page, number, name)
        for at, each in enumerate(found, start=1):
            asked = page.copied(next(each.findall(nodes.section)))
            yield nodes.container(
                "",
                nodes.paragraph("", "", nodes.strong("", "", page.link(name, each["ids"][0], _name(number, at, each)))),
                *asked,
                *_needs(page, number, name, asked),
                classes=["bb-exercise"],
            )


def _needs(page: FillIn, number: int, name: str, asked: list[nodes.Node]) -> Iterator[nodes.Node]:
    """A line where an exercise cannot be done without its chapter's page."""
    if _IN_CHAPTER.search(" ".join(part.astext() for part in asked)):
        there = page.link(name, "", nodes.Text(f"chapter {number}"))
        yield nodes.paragraph("", "", nodes.Text("Needs the page of "), there, nodes.Text("."), classes=["bb-needs"])


def _solutions(page: FillIn) -> Iterator[nodes.Node]:
    solved = {each["target_label"]: each for _, _, found in _by_chapter(page, "solution_node") for each in found}
    for number, name, found in _by_chapter(page, "exercise_enumerable_node"):
        yield _heading(page, number, name)
        for at, each in enumerate(found, start=1):
            told = _solution(page, name, each, solved[each["label"]], _name(number, at, each))
            yield nodes.container("", *told, classes=["bb-solution"])


def _solution(
    page: FillIn, name: str, exercise: nodes.Element, solution: nodes.Element, title: nodes.Text
) -> Iterator[nodes.Node]:
    """The name of an exercise, which leads to it, and the words of its solution; what runs is left where it runs."""
    there = page.link(name, solution["ids"][0], nodes.Text("in its chapter"))
    head = nodes.strong("", "", page.link(name, exercise["ids"][0], title))
    yield nodes.paragraph("", "", head, nodes.Text(" · solved "), there)
    yield from (each for each in page.copied(next(solution.findall(nodes.section))) if "cell" not in _classes(each))


def _classes(node: nodes.Node) -> list[str]:
    return list(node["classes"]) if isinstance(node, nodes.Element) else []


def _by_chapter(page: FillIn, kind: str) -> Iterator[tuple[int, str, list[nodes.Element]]]:
    from sphinx_exercise import nodes as theirs

    for number, name, document in of_chapters(page.env):
        yield number, name, list(document.findall(getattr(theirs, kind)))


def _heading(page: FillIn, number: int, name: str) -> nodes.Node:
    return nodes.rubric("", f"{number}. {page.env.titles[name].astext()}", classes=["bb-gathered"])


def _name(number: int, at: int, exercise: nodes.Element) -> nodes.Text:
    """The number and the name of an exercise: its title without the word for its kind."""
    said = "".join(part.astext() for part in _title(exercise).children[1:])
    return nodes.Text(f"{number}.{at} {said}")


def _title(of: nodes.Element) -> nodes.Element:
    """The title that a node has itself; an empty one where it has none."""
    return next((child for child in of.children if isinstance(child, nodes.title)), nodes.title())


_GATHERERS: dict[str, Callable[[FillIn], Iterator[nodes.Node]]] = {
    "boards": _boards,
    "exercises": _exercises,
    "solutions": _solutions,
}


def register(app: Sphinx) -> None:
    """Register the directives and what fills them in."""
    app.add_node(Placeholder)
    for name in _GATHERERS:
        app.add_directive(name, Gather)
    app.add_post_transform(FillIn)
    app.add_css_file("teaching.css")
