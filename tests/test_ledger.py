"""The ledger says of every claim how it stands, and says it to people, to screen readers and to programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from rich.console import Console

from bytebill.claims import CLAIMS, MIME, SIGNS, ledger, ledger_page
from bytebill.errors import BytebillError
from bytebill.site import browser
from bytebill.site.tried import ledger_trial
from conftest import refuses, write_book
from sample_verdicts import SAMPLES

OLD = {"id": "C08", "verdict": "loose", "stated": "79%", "evidence": []}  # as chapters stored it until 2026-11
KEYS = ["id", "chapter", "statement", "terms", "word", "parts", "reach", "say", "stake", "edge", "paragraph", "device"]


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """A book of which the toy chapters 1 and 2 are there, and hold the samples and one verdict of the old scale."""
    book = write_book(tmp_path_factory.mktemp("judged"))
    cells = [{"outputs": [{"data": {MIME: content}}]} for content in (*SAMPLES.values(), OLD)]
    (book.notebooks / "01_doubling.ipynb").write_text(json.dumps({"cells": cells}))
    return {entry.claim.id: entry for entry in ledger.read(book=book)}


@pytest.fixture(scope="module")
def page(entries):
    return BeautifulSoup(ledger_page.listing(entries.values()).html, "html.parser")


@pytest.mark.parametrize("output", [3, {"data": 3}, {"data": {MIME: [1]}}, {"data": {MIME: {"id": 7}}}])
def test_a_verdict_of_another_version_is_passed_over_or_named(output, toy):
    (toy.notebooks / "01_doubling.ipynb").write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    if output == 3 or output == {"data": 3}:
        assert not any(entry.content for entry in ledger.read(book=toy))
    else:
        with pytest.raises(BytebillError, match="a verdict that this version cannot read; `bytebill run 01_doubling`"):
            ledger.read(book=toy)


def test_every_claim_has_a_word(entries):
    assert list(entries) == list(CLAIMS)
    words = {id: entry.word for id, entry in entries.items()}
    assert [words[id] for id in SAMPLES] == list(SIGNS)
    assert (words["C08"], words["C09"]) == ("no verdict", "no verdict")  # the old scale; none at all
    assert {words[id] for id in words if entries[id].claim.chapter > "02"} == {"not yet tried"}


def test_json_has_the_agreed_keys(entries):
    lines = json.loads(json.dumps([entry.to_json() for entry in entries.values()], allow_nan=False))
    assert len(lines) == 56 and all(list(line) == KEYS for line in lines)
    by_id = {line["id"]: line for line in lines}
    assert all(line["statement"] == CLAIMS[line["id"]].statement for line in lines) and by_id["C01"]["terms"]
    assert by_id["C01"]["parts"][0] == {
        "kind": "figure",
        "text": "<figure> of a step",
        "unit": "B",
        "stated": 140e9,
        "found": 139e9,
        "low": 139e9 * 0.9,
        "high": 139e9 * 1.1,
        "off_by": 1.007,
        "passed": True,
        "how": "derived",
    }
    assert (by_id["C02"]["edge"], by_id["C02"]["device"], by_id["C02"]["stake"]) == ("5 of 6 machines", "A CPU", -0.3)
    assert by_id["C02"]["reach"]["share"] == 28 / 38 and by_id["C01"]["reach"] is None
    assert by_id["C56"]["word"] is None and by_id["C56"]["parts"] == []
    assert by_id["C08"]["word"] == "no verdict"


def test_every_claim_is_a_target_and_links_to_its_box(page):
    assert [page.find(id=id).name for id in CLAIMS] == ["li"] * 56
    links = {a["href"] for a in page.select("a.bb-chapter")}
    assert {"01_doubling.html#claim-c01", "02_where.html#claim-c05", "02_where.html"} <= links


def test_a_row_says_what_was_said_and_what_to_say(page):
    row = page.find(id="C05")
    assert row.select_one(".bb-say").get_text() == "Say <C05> so."
    assert row.s.get_text() == "5" and row.select_one(".bb-numbers strong").get_text() == "9,000"
    assert row.select_one(".bb-word").get_text() == "× right idea, wrong number"
    assert row.select_one(".bb-stake").get_text() == "bill: 0.20 times as expected"
    assert page.find(id="C01").s is None
    edge = page.find(id="C02")
    assert edge.abbr.get_text() == "±" and edge.abbr["title"] == "5 of 6 machines"
    assert edge.select_one(".bb-evidence")["aria-label"] == "Evidence: measured"


def test_a_row_unfolds_to_every_check(page):
    folded = page.find(id="C02").details
    assert (
        folded.summary.get_text()
        == "1 check, 1 more shown, true in 28 of 38 deployments (74%), 1 outside its terms of C02"
    )
    text = folded.get_text(" ")
    for said in ("70B, batch 64", "would turn at: no batch: 64%", "Shown, not counted", "long <contexts>", "A CPU"):
        assert said in text
    assert page.find(id="C08").details is None


def test_the_page_is_whole_without_a_script(page):
    assert page.select_one(".bb-tools").has_attr("hidden") and all(
        b.has_attr("disabled") for b in page.select("button")[:7]
    )
    assert not page.select("li[hidden]")
    assert [li["id"] for li in page.select(".bb-rows > li")] == [f"C0{n}" for n in range(1, 10)]
    untried = page.select_one(".bb-untried")
    assert untried.summary.get_text() == "47 claims are not yet tried" and len(untried.select("li")) == 47


def test_the_bar_counts_every_claim(page):
    counts = {button.find("span").get_text(): int(button.b.get_text()) for button in page.select(".bb-words button")}
    assert sum(counts.values()) == 56
    assert counts["✗ wrong"] == 1 and counts["– not yet tried"] == 47 and counts["– no verdict"] == 2


def test_the_table_of_checks_can_be_read_without_seeing_it(page):
    assert all(header.get("scope") for header in page.find_all("th"))
    assert all(drawing.get("aria-label") for drawing in page.select("svg[role=img]"))
    assert page.select_one(".bb-count").get_text() == "56 claims, 7 of them judged; measured on A CPU."


def test_worst_comes_first(page):
    ranked = sorted(page.select(".bb-rows > li"), key=lambda row: float(row["data-worst"]))
    assert [row["id"] for row in ranked[:3]] == ["C06", "C05", "C04"]
    by_stake = sorted(page.select(".bb-rows > li"), key=lambda row: float(row["data-stake"]))
    assert [row["id"] for row in by_stake[:2]] == ["C05", "C02"]


def test_selecting(entries):
    assert [entry.claim.id for entry in ledger.select(entries.values(), word="wrong")] == ["C06"]
    assert len(ledger.select(entries.values(), chapter=1)) == 3
    refuses(lambda: ledger.select(entries.values(), word="wrnog"), "There is no word of a verdict 'wrnog'")
    refuses(lambda: ledger.select(entries.values(), chapter="99"), "There is no chapter '99'")
    nothing = ledger_page.listing(ledger.select(entries.values(), word="wrong", chapter="19"))
    assert "0 claims" in nothing.html and nothing.text == ""


def test_the_terminal_shows_word_and_sentence(entries):
    console = Console(width=160)
    with console.capture() as shown:
        console.print(ledger.for_terminal(entries.values()))
    (line,) = (line for line in shown.get().splitlines() if "C02" in line)
    assert "◐ true with a condition\N{NO-BREAK SPACE}±" in line and "Say <C02> so." in line


def test_an_environment_variable_names_the_notebooks(toy, monkeypatch):
    toy.executed.mkdir(parents=True)
    output = {"data": {MIME: SAMPLES["C01"]}}
    (toy.executed / "01_doubling.ipynb").write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    assert ledger.read(book=toy)[0].word == "no verdict"
    monkeypatch.setenv("BYTEBILL_NOTEBOOKS", str(toy.executed))
    assert ledger.read(book=toy)[0].word == "safe to repeat"


def test_rows_carry_what_they_are_sorted_and_filtered_by(page):
    """Its place, its word and how far off it is within the word; the logarithm of what believing it changes."""
    rows = {row["id"]: row for row in page.select(".bb-rows > li")}
    assert [row["data-chapter"] for row in rows.values()] == [str(n) for n in range(9)]
    worst = {id: float(row["data-worst"]) for id, row in rows.items()}
    assert (worst["C06"], worst["C05"], worst["C07"]) == (0.99, round(1 + 0.99 / 1800, 4), 6)
    assert worst["C04"] == round(2 + 0.99 * 0.23 / 0.5, 4)  # a cause is off by half over what it makes
    assert [worst[id] for id in ("C03", "C02", "C01", "C09")] == [3.99, 4.99, round(5 + 0.99 * 139 / 140, 4), 7.99]
    stakes = {id: float(row["data-stake"]) for id, row in rows.items() if float(row["data-stake"])}
    assert stakes == {"C02": round(math.log(0.7), 4), "C05": round(-math.log(5), 4)}
    assert rows["C06"]["data-word"] == "wrong" and rows["C06"]["class"] == ["bb-row", "bb-verdict-wrong"]


@pytest.mark.parametrize("stake", [-1, -2, None, "much"])
def test_a_stake_that_is_no_share_sorts_as_none(stake):
    assert ledger_page._size({"stake": stake}) == 0


def test_numbers_of_a_row_are_stated_or_asked_and_struck_where_they_fail(page):
    told = {id: page.find(id=id).select_one(".bb-numbers") for id in ("C01", "C02", "C05", "C06", "C09")}
    labels = {id: [each.get_text() for each in cell.select(".bb-label")] for id, cell in told.items()}
    assert labels["C01"] == labels["C05"] == ["stated", "found"] and labels["C02"] == labels["C06"] == [
        "asked",
        "found",
    ]
    assert [cell.s is not None for cell in told.values()] == [False, False, True, True, False]
    assert told["C01"].p.get_text(" ").split() == ["stated", "140", "GB"] and not told["C09"].get_text()
    assert told["C02"].select_one(".bb-of").get_text() == "<direction> of a step"


def test_the_evidence_of_a_row_is_a_letter_each_lit_where_it_counts(page):
    squares = page.find(id="C04").select_one(".bb-evidence")
    assert [(each.get_text(), each["class"]) for each in squares.find_all("i")] == [
        *(("D", ["bb-off"]), ("M", ["bb-off"]), ("S", ["bb-on"]), ("P", ["bb-on"]))
    ]
    assert squares["title"] == "simulated, published" and squares["role"] == "img"
    assert page.find(id="C09").select_one(".bb-evidence") is None


def test_a_folded_row_counts_its_checks(page):
    summaries = {id: page.find(id=id).summary.get_text() for id in ("C01", "C03", "C04")}
    assert summaries == {
        "C01": "1 check of C01",
        "C03": "1 check, true in 0 of 1 deployments (0%) of C03",
        "C04": "2 checks of C04",
    }
    folded = [" ".join(each["class"]) for each in page.find(id="C02").details.find_all(["p", "table"])]
    ends = ["bb-verdict-reach"] * 2 + ["bb-verdict-rule"] * 4
    assert folded == ["bb-verdict-terms", "bb-checks", "bb-checks bb-beside", *ends]
    assert page.find(id="C02").summary.span["class"] == ["visually-hidden"]


def test_a_claim_links_to_its_box_its_page_or_nowhere(entries):
    tried, waiting, none = (ledger_page._chapter_link(entries[id]) for id in ("C01", "C09", "C56"))
    assert tried == '<a class="bb-chapter" href="01_doubling.html#claim-c01">ch. 1</a>'
    assert waiting == '<a class="bb-chapter" href="02_where.html">ch. 2</a>' and none == "<span>ch. 20</span>"


def test_the_bar_has_a_button_a_word_as_wide_as_its_count(page, entries):
    buttons = page.select(".bb-words button")
    assert [each["data-word"] for each in buttons[7:]] == ["no-verdict", "not-yet-tried"]
    assert [each["style"] for each in buttons] == [*["flex-grow: 1"] * 7, "flex-grow: 2", "flex-grow: 47"]
    assert {each["aria-pressed"] for each in buttons} == {"false"} and not page.select(".bb-none")
    few = BeautifulSoup(ledger_page.listing([entries["C06"]]).html, "html.parser")
    assert len(few.select(".bb-words button")) == 7 and len(few.select(".bb-none")) == 6
    assert few.select_one(".bb-word-wrong")["class"] == ["bb-word-wrong"] and few.select_one(".bb-untried") is None
    assert few.select_one(".bb-count").get_text() == "1 claims, 1 of them judged."


def test_what_is_not_tried_is_folded_and_has_no_axis(entries):
    alone = BeautifulSoup(ledger_page.listing([entries["C56"]]).html, "html.parser")
    assert alone.select_one(".bb-untried summary").get_text() == "1 claim is not yet tried"
    assert alone.select_one(".bb-untried li").get_text().startswith("C56 ch. 20 ")
    assert alone.select_one(".bb-axis") is None and alone.select_one(".bb-rows") is None
    assert alone.select_one(".bb-words button:last-child")["data-word"] == "not-yet-tried"


def test_tools_sort_search_and_count(page):
    assert {each["value"]: each.get_text() for each in page.select(".bb-sort option")} == ledger_page.SORTS
    assert page.select_one(".bb-shown").get_text() == "56 of 56 shown" and page.select_one(".bb-reset").has_attr(
        "hidden"
    )
    axis = page.select_one(".bb-axis")
    assert axis["aria-hidden"] == "true" and len(axis.find_all("span", recursive=False)) == 5
    assert axis.svg is not None and page.select_one("#C01 .bb-drawn svg")["viewbox"] == "0 0 300 28"
    assert page.find(id="C09").svg is None and len(page.select(".bb-key li")) == 8 + 2


def test_the_ledger_as_text_has_a_line_a_claim(entries):
    lines = ledger_page.listing(entries.values()).text.splitlines()
    said = {id: CLAIMS[id].statement for id in CLAIMS}
    assert lines[1] == f"C02 ◐ true with a condition\N{NO-BREAK SPACE}±: {said['C02']} Say: Say <C02> so."
    assert lines[7:9] == [f"{id} – no verdict: {said[id]}" for id in ("C08", "C09")]
    assert lines[55] == f"C56 – not yet tried: {said['C56']}"


def test_a_caption_names_each_machine_once(entries):
    other = replace(entries["C01"], content=SAMPLES["C01"] | {"device": "A card"})
    assert ledger.caption([other, entries["C02"], other, entries["C09"]]) == (
        "4 claims, 3 of them judged; measured on A CPU, A card"
    )
    assert ledger.caption([entries["C09"]]) == "1 claims, 0 of them judged"


def test_the_terminal_shows_what_is_claimed_where_there_is_nothing_to_say(entries):
    table = ledger.for_terminal(
        [entries["C02"], replace(entries["C01"], content=SAMPLES["C01"] | {"say": None}), entries["C56"]]
    )
    assert [column.header for column in table.columns] == ["Claim", "Chapter", "Verdict", "Say"]
    assert [column.no_wrap for column in table.columns] == [True, True, False, False]
    ids, chapters, words, said = ([*column.cells] for column in table.columns)
    assert (ids, chapters) == (["C02", "C01", "C56"], ["01", "01", "20"])
    assert words == ["◐ true with a condition\N{NO-BREAK SPACE}±", "● safe to repeat", "– not yet tried"]
    assert said == ["Say <C02> so.", CLAIMS["C01"].statement, CLAIMS["C56"].statement]
    assert table.title == "3 claims, 2 of them judged; measured on A CPU"


def test_a_folder_of_runs_stands_before_the_committed_chapters_one_by_one(toy, tmp_path):
    def judged(path, word):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"cells": [{"outputs": [{"data": {MIME: SAMPLES["C01"] | {"word": word}}}]}]}))

    judged(toy.notebooks / "01_doubling.ipynb", "wrong")
    assert ledger.read(tmp_path / "mine", book=toy)[0].word == "wrong"
    judged(tmp_path / "mine" / "01_doubling.ipynb", "safe to repeat")
    first, *_, last = ledger.read(tmp_path / "mine", book=toy)
    assert (first.word, first.page, last.page, last.content) == ("safe to repeat", "01_doubling", None, None)


def test_a_selection_is_by_word_and_by_chapter(entries):
    every = list(entries.values())
    chosen = {
        (word, at): ledger.select(every, word=word, chapter=at) for word in ("all", "wrong") for at in ("all", 1, "2")
    }
    first = [id for id in CLAIMS if CLAIMS[id].chapter == "01"]
    ids = {key: [entry.claim.id for entry in found] for key, found in chosen.items()}
    assert ids["all", "all"] == list(CLAIMS) and ids["all", 1] == first and ids["wrong", "2"] == ["C06"]
    assert ids["wrong", 1] == [] and ids["wrong", "all"] == ["C06"]


def test_an_entry_for_programs_falls_back_on_the_register(entries):
    bare, old = entries["C56"].to_json(), entries["C08"].to_json()
    assert bare["paragraph"] == list(CLAIMS["C56"].paragraph) and entries["C01"].to_json()["paragraph"] == [12]
    assert [bare[key] for key in KEYS[4:11]] == [None, [], None, "", None, None, bare["paragraph"]]
    assert (old["word"], old["parts"], old["device"]) == ("no verdict", [], None)


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_the_address_keeps_the_choice_and_spelling_does_not_matter(entries, tmp_path):
    from playwright.sync_api import sync_playwright

    assets = Path(__file__).resolve().parents[1] / "book" / "assets"
    script = "".join((assets / name).read_text(encoding="utf-8") for name in ("words.js", "bytebill.js"))
    html = ledger_page.listing(entries.values()).html
    (tmp_path / "a.html").write_text(f'<meta charset="utf-8">{html}<script>{script}</script>', encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"file://{tmp_path}/a.html")
        trials = (ledger_trial.searches_wrongly, ledger_trial.spells_strictly, ledger_trial.forgets_its_address)
        assert [fault for trial in trials for fault in trial(page)] == []
        page.goto(f"file://{tmp_path}/a.html#word=wrong&find=tokens&sort=worst")
        # A browser that comes back fills in the fields; the address is what counts.
        page.evaluate("document.querySelector('.bb-find').value = 'x'; dispatchEvent(new Event('pageshow'))")
        assert page.input_value(".bb-find") == "tokens" and page.input_value(".bb-sort") == "worst"
        chromium.close()
