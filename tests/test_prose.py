"""Is every number in the prose pages true, and does every reference in them lead somewhere?

A number with a unit in `book/*.md` or the README must lie in a fragment that `prose_pins`
computes or calls given.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from bytebill import data
from bytebill.claims import CLAIMS
from bytebill.claims.rule import WORDS
from prose_pins import GIVEN, MONEY, PINS, WITH_UNIT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
SOURCE = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
BRACKETED = re.compile(r"\[([\d.,]+)\]")


def text_of(name: str) -> str:
    """A page in one line, without comments and commands."""
    text = re.sub(r"<!--.*?-->|```console.*?```", "", SOURCE[name], flags=re.S)
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("name", "fragment"), [(name, fragment) for name in PINS for fragment in PINS[name]])
def test_a_number_in_prose_is_the_computed_one(name: str, fragment: str) -> None:
    assert BRACKETED.sub(r"\1", fragment) in text_of(name), "the sentence has changed: change its pin"
    digits = BRACKETED.findall(fragment)[0].replace(",", "")
    half_of_the_last_digit = 0.5 * 10.0 ** -len(digits.partition(".")[2])
    assert abs(float(digits) - PINS[name][fragment]) <= half_of_the_last_digit


@pytest.mark.parametrize("name", SOURCE)
def test_every_number_with_a_unit_has_an_owner(name: str) -> None:
    text = text_of(name)
    fragments = [*(BRACKETED.sub(r"\1", fragment) for fragment in PINS.get(name, {})), *GIVEN]
    owned = [match.span() for fragment in fragments for match in re.finditer(re.escape(fragment), text)]
    for match in (*WITH_UNIT.finditer(text), *MONEY.finditer(text)):
        start, end = match.span(1)
        has_owner = any(low <= start and end <= high for low, high in owned)
        assert has_owner, f"nobody computes: …{text[max(0, start - 40) : end + 20]}…"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)", SOURCE[page.name])
    dead = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not dead


def whole_text() -> str:
    """The pages and the markdown of all notebooks."""
    cells = [
        "".join(cell["source"])
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    ]
    return "\n".join([*SOURCE.values(), *cells])


def targets_of(role: str, text: str) -> set[str]:
    """What the uses of a role point at: `name`, or the part in angle brackets of `words <name>`."""
    contents = re.findall(rf"\{{{role}\}}`([^`]+)`", text)
    return {re.sub(r".*<(.*)>", r"\1", content, flags=re.S).strip().lower() for content in contents}


def test_terms_are_in_the_glossary() -> None:
    glossary = SOURCE["notation.md"].partition("```{glossary}\n")[2].partition("```")[0]
    defined = {line.lower() for line in glossary.splitlines() if line and not line.startswith(" ")}
    assert targets_of("term", whole_text()) <= defined


def test_the_glossary_is_in_order() -> None:
    glossary = SOURCE["notation.md"].partition("```{glossary}\n")[2].partition("```")[0]
    entries = [entry.partition("\n")[0].lower() for entry in re.split(r"\n\n(?=\S)", glossary)]
    assert entries == sorted(entries)


def test_the_article_is_named_by_what_is_known_of_it() -> None:
    article = data.article()["article"]
    text = text_of("how_to_read.md")
    assert f"`{article['sha256']}`" in text and f"has {article['paragraphs']} paragraphs" in text
    for name in ("README.md", "index.md", "how_to_read.md"):
        assert "without author, title or link" in text_of(name)


@pytest.mark.parametrize("name", ["README.md", "how_to_read.md"])
def test_a_page_that_names_one_verdict_names_all_seven(name: str) -> None:
    assert [word for word in WORDS if word not in text_of(name)] == []


def test_the_words_of_the_old_scale_are_gone() -> None:
    old = r"holds,? with conditions|\bloose\b|\bcore check|\blimit checks?\b|\brefuted\b"
    assert re.findall(old, whole_text()) == []


def test_the_changelog_tells_each_claims_word_once() -> None:
    told = re.findall(
        r"^- \*\*(C\d\d)\*\*", (data.REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(told) == sorted(CLAIMS)


def test_labels_exist() -> None:
    text = whole_text()
    labels = set(re.findall(r"^\(([\w-]+)\)=|^:label: ([\w-]+)", text, flags=re.M))
    assert targets_of("ref", text) <= {(target or label).lower() for target, label in labels}


def test_cited_works_are_in_the_bibliography() -> None:
    bibliography = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    keys = {key.lower() for key in re.findall(r"@\w+\{([^,\s]+)", bibliography)}
    cited = {key.strip() for names in targets_of(r"cite(?::\w+)?", whole_text()) for key in names.split(",")}
    assert cited <= keys


def test_commands_exist() -> None:
    text = "\n".join(SOURCE.values())
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = set(re.findall(r"(?:\$ |`)make ([a-z-]+)", text))
    assert made <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    command_line = (ROOT / "lib/bytebill/cli.py").read_text(encoding="utf-8")
    typed = set(re.findall(r"(?:bin/|`)bytebill ([a-z]+)", text))
    assert typed <= set(re.findall(r"(?:def |command\(\")([a-z]+)", command_line))


def test_files_named_to_contributors_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|csv|yml|yaml|ipynb|bib))`", text)) - {"NN_its_claim.ipynb"}
    homes = (ROOT, ROOT / "lib/bytebill", ROOT / "lib/bytebill/serving", ROOT / "data")
    there = {name for name in named if any((home / name).is_file() for home in homes)}
    assert named - there == {"notebooks/NN_its_claim.ipynb"}


def test_the_citation_file_has_what_its_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert f"Version {citation['version']}." in SOURCE["index.md"]
    assert f'\nversion = "{citation["version"]}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_issue_form_asks_for_chapter_number_and_source() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/wrong-number.yml").read_text(encoding="utf-8"))
    fields = (field for field in form["body"] if field["validations"]["required"])
    assert [field["id"] for field in fields] == ["chapter", "number", "source"]
