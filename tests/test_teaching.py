"""Do the guide, the card and the gathered exercises say what the package and the chapters say?"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag

from bytebill import chapters, data
from bytebill.claims import ledger
from bytebill.hardware import accelerator
from bytebill.models import model
from bytebill.trials import by_heart, sessions

ROOT = data.REPOSITORY
GUIDE = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
CARD = ROOT / "notebooks" / "twenty_numbers.ipynb"
HTML = ROOT / "_build" / "html"
CHAPTERS = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if chapters.number(path) is not None)
rendered = pytest.mark.skipif(not (HTML / "book" / "exercises.html").is_file(), reason="no rendered book: make render")

KNOWN = by_heart.card(
    by_heart.Setting(llm=model("llama-3-70b"), card=accelerator("h100-sxm"), usd_per_hour=2.50, context_len=8192)
)
SHARED = "64 users of Llama-3-8B, 2,048 tokens each, divide the bill by"
BY_HAND = {  # what a person gets on paper from datasheets and shapes, to the digits that are printed
    "bandwidth of an H100 SXM5": 3.35e12,
    "its ridge point": 989 / 3.35,
    "read for one token": 2 * 69.5e9,
    "time to read them": 139.0e9 / 3.35e12,
    "time to multiply with them": 139.0e9 / 989e12,
    "tokens a second for one user, at most, for each H100 SXM5 that shares the read": 3.35e12 / 139.0e9,
    "a million such tokens": 2.50 / 3600 * 139.0e9 / 3.35e12 * 1e6,
    "bits of a weight in int4": 4 + 32 / 128,
    "cache of one token": 2 * 80 * 8 * 128 * 2,
    "cache of a user of 8,192 tokens": 8192 * 327_680,
    "such users on them": 53,  # as chapter 2 has it
    "useful steps of a static batch of eight": 1 / sum(1 / n for n in range(1, 9)),
    "tokens of a pass over three guesses, each good with 0.7": 1 + 0.7 + 0.7**2 + 0.7**3,
    SHARED: 64 * (15.01e9 + 2048 * 131_072) / (15.01e9 + 64 * 2048 * 131_072),
}


def outputs() -> list[str]:
    """The HTML that the page of the card shows."""
    cells = nbformat.read(CARD, as_version=4).cells
    return ["".join(o["data"]["text/html"]) for cell in cells for o in cell.get("outputs", ()) if "data" in o]


def rows(html: str) -> list[list[str]]:
    """The cells of a table's body."""
    body = BeautifulSoup(html, "html.parser").select("tbody tr")
    return [[cell.get_text() for cell in row.find_all(["td", "th"])] for row in body]


def section(name: str) -> str:
    """The Markdown of a session."""
    return GUIDE.split(f"(session-{name})=")[1].split("\n(")[0]


def test_the_card_has_twenty_different_numbers() -> None:
    assert len(KNOWN) == 20 == len({each.what for each in KNOWN})
    assert all(each.value > 0 and each.sum for each in KNOWN)


@pytest.mark.parametrize("what", BY_HAND)
def test_a_number_of_the_card_is_what_a_hand_gets(what: str) -> None:
    (known,) = (each for each in KNOWN if each.what == what)
    assert known.value == pytest.approx(BY_HAND[what], rel=0.002)


def test_what_is_said_to_be_shared_leads_to_the_number_beside_it() -> None:
    (known,) = (each for each in KNOWN if each.what == SHARED)
    weights_gb, cache_mb = (float(each) for each in re.findall(r"([\d.]+) [GM]B", known.sum))
    cache_gb = cache_mb / 1e3
    assert known.value == pytest.approx(64 * (weights_gb + cache_gb) / (weights_gb + 64 * cache_gb), rel=0.003)


def test_the_printed_card_worksheet_and_key_are_the_packages() -> None:
    card, worksheet, key = map(rows, outputs())
    asked = [each for each in KNOWN if each.ask]
    assert [row[1:4] for row in card] == [[each.what, each.said, each.sum] for each in KNOWN]
    guide = sessions.of_guide()
    assert [row[1:] for row in worksheet] == [
        [each.ask, "", "", sessions.first_with([each.stands_at], guide)] for each in asked
    ]
    assert [row[1] for row in key] == [each.said for each in asked]


def test_no_question_gives_its_answer_away() -> None:
    for each in KNOWN:
        assert not each.ask or each.said.split()[0] not in re.findall(r"[\d.,]*\d", each.ask), each.ask


def test_another_model_gives_another_card() -> None:
    small = by_heart.card(by_heart.Setting(llm=model("llama-3-8b"), card=accelerator("l4"), usd_per_hour=0.5))
    assert sum(a.value != b.value for a, b in zip(small, KNOWN, strict=True)) >= 12


@pytest.mark.parametrize("name", ["an-hour", "half-day", "two-days"])
def test_a_session_has_who_why_when_and_what_goes_wrong(name: str) -> None:
    text = section(name)
    assert "**For**" in text and "**Goal:**" in text and "**Bring**" in text
    assert re.search(r"^\| Minutes \| Show \| Ask, expect, say \|$", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "minutes"), [("an-hour", 60), ("half-day", 210)])
def test_the_minutes_of_a_session_follow_one_another(name: str, minutes: int) -> None:
    spans = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+)–(\d+) \|", section(name), re.MULTILINE)]
    assert spans[0][0] == 0 and spans[-1][1] == minutes
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_two_days_see_every_chapter() -> None:
    labels = {re.search(r"^\((ch-[\w-]+)\)=", "".join(first_cell(path)), re.MULTILINE)[1] for path in CHAPTERS}
    assert labels <= set(re.findall(r"\{ref\}`(ch-[\w-]+)`", section("two-days")))


def first_cell(path: Path) -> list[str]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]


def test_the_hour_ends_in_sentences_that_should_not_be_repeated() -> None:
    last = [line for line in section("an-hour").splitlines() if line.startswith("|")][-1]
    words = {entry.claim.id: entry.word for entry in ledger.read(ROOT / "notebooks")}
    named = re.findall(r"\[(C\d\d)\]", last)
    assert len(named) == 5 and {words[id] for id in named} <= {"wrong", "right idea, wrong number"}


def test_every_question_is_answered_in_a_session_at_a_place_that_its_chapter_has() -> None:
    guide = sessions.of_guide()
    for each in (known for known in KNOWN if known.ask):
        assert sessions.first_with([each.stands_at], guide), each.ask
        assert each.stands_at in places_of(each.chapter), each.stands_at


def places_of(chapter: int) -> set[str]:
    """The anchors of a chapter: its labels, figures, headings and claims."""
    (path,) = (path for path in CHAPTERS if chapters.number(path) == chapter)
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    headings = (title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    claims = (f"claim-{id.lower()}" for id in re.findall(r"\bC\d\d\b", text))
    return {*headings, *claims, *re.findall(r"(?:^\(|:name: )([\w-]+)", text, re.MULTILINE)}


def test_the_hour_answers_most_questions_and_prices_a_token() -> None:
    answered = {known.what for known in KNOWN if known.stands_at in sessions.of_guide()["an hour"]}
    assert len(answered) >= 8 and "a million such tokens" in answered


@pytest.mark.parametrize("name", ["an-hour", "half-day", "two-days"])
def test_a_row_that_shows_something_asks_first(name: str) -> None:
    shows = [line for line in section(name).splitlines() if re.match(r"\| .*\d–", line) and "ipynb#" in line]
    assert shows and all(re.search(r'"[^"]*\?"', line) for line in shows)


def page(name: str) -> Tag:
    found = BeautifulSoup((HTML / "book" / f"{name}.html").read_text(encoding="utf-8"), "html.parser").article
    assert found is not None
    return found


def letters(title: str) -> str:
    """A title without what typography and markup make of it."""
    return "".join(re.findall(r"\w", re.sub(r"\{\w+\}", "", title)))


@rendered
def test_every_exercise_is_gathered_once_with_its_own_words() -> None:
    found = page("exercises").select(".bb-exercise")
    assert len(found) == 4 * len(CHAPTERS)
    source = "\n".join("".join(cell["source"]) for path in CHAPTERS for cell in nbformat.read(path, 4).cells)
    titles = re.findall(r"\{exercise\} (.*)", source)
    said = [each.find("a").get_text().partition(" ")[2] for each in found]
    assert list(map(letters, said)) == list(map(letters, titles))
    assert all(len(each.get_text().split()) > 12 for each in found)


@rendered
def test_every_exercise_has_a_solution_apart() -> None:
    asked, solved = page("exercises"), page("solutions").select(".bb-solution")
    assert len(solved) == len(asked.select(".bb-exercise"))
    assert "solution" not in " ".join(str(a.get("href")) for a in asked.select(".bb-exercise a"))
    for each in solved:
        to_exercise, to_chapter = (str(a["href"]) for a in each.find("p").select("a"))
        assert "solution" not in to_exercise and "solution" in to_chapter
    assert sum(len(each.get_text().split()) > 15 for each in solved) >= 0.9 * len(solved), "solutions in words"


@rendered
def test_an_exercise_that_speaks_of_its_chapter_leads_there() -> None:
    for each in page("exercises").select(".bb-exercise"):
        words = each.get_text().partition("\n")[2]
        speaks = re.search(r"\b(printed|table) above\b|\bthis chapter\b", words)
        assert not speaks or each.select_one(".bb-needs a"), words


@rendered
def test_every_board_is_in_the_gallery_with_words() -> None:
    boards = page("teaching").select(".bb-board")
    drawn = sorted((ROOT / "book" / "assets" / "boards").glob("*.svg"))
    numbered = {chapters.number(path) for path in drawn}
    assert {int(each.get_text().split(".")[0]) for each in boards} == numbered
    assert all(len(str(each.img["alt"]).split()) > 10 for each in boards)
