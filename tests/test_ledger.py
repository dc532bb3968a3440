"""The ledger says of every claim how it stands, and says it to people, to screen readers and to programs."""

from __future__ import annotations

import json
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
