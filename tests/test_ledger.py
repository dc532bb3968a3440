"""The ledger says of every claim how it stands, and says it to people, to screen readers and to programs."""

from __future__ import annotations

import json

import pytest
from bs4 import BeautifulSoup

from bytebill import chapters
from bytebill.claims import CLAIMS, MIME, ledger
from bytebill.errors import BytebillError
from conftest import write_book, write_notebook

JUDGED = """from bytebill.claims import check, judge
near = check("bytes a token", found=140e9, near=140e9, unit="B")
far = check("idle <share>", found=0.5, above=0.9, unit="fraction", how="measured")
holds = judge("C01", stated="140 GB", core=[near])
display(holds, judge("C02", stated="idle", core=[near, far], device="A CPU"))"""


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    book = write_book(tmp_path_factory.mktemp("judged"))
    write_notebook(book.notebooks / "01_doubling.ipynb", JUDGED)
    assert not any(outcome.error for outcome in chapters.refresh(["01"], book=book))
    return {entry.claim.id: entry for entry in ledger.read(book=book)}


def test_every_claim_has_a_line(entries):
    assert list(entries) == list(CLAIMS)
    words = {id: entry.word for id, entry in entries.items()}
    assert (words["C01"], words["C02"]) == ("holds", "loose")
    assert (words["C03"], words["C04"]) == ("no verdict", "no verdict")  # the toy has a chapter 1 and a chapter 2
    assert {words[id] for id in words if entries[id].claim.chapter > "02"} == {"not yet tried"}


def test_json_has_the_agreed_keys(entries):
    lines = json.loads(json.dumps([entry.to_json() for entry in entries.values()]))
    assert len(lines) == 56
    keys = ["id", "chapter", "verdict", "stated", "found", "evidence", "rule", "device"]
    assert all(list(line) == keys for line in lines)
    assert lines[0]["found"] == "bytes a token: 140 GB"
    assert lines[55] == {
        "id": "C56",
        "chapter": "20",
        "verdict": "not yet tried",
        "stated": "",
        "found": "",
        "evidence": [],
        "rule": "",
        "device": None,
    }


def test_the_table_can_be_read_without_seeing_it(entries):
    soup = BeautifulSoup(ledger.listing(entries.values()).html, "html.parser")
    assert soup.table.caption.get_text() == "56 claims and how they stand; measured on A CPU"
    assert all(header.get("scope") for header in soup.find_all("th"))
    assert len(soup.tbody.find_all("tr")) == 1 + 3  # the chapter's heading and its claims
    headings = [header.get_text() for header in soup.thead.find_all("th")]
    row = soup.find("a", string="C02").find_parent("tr")
    cells = dict(zip(headings, (cell.get_text() for cell in row.find_all(["th", "td"])), strict=True))
    assert cells["Derived"] == "bytes a token: 140 GB"
    assert cells["Measured"] == "idle <share>: 50%"
    assert cells["Verdict"] == "≈ loose"


def test_links_lead_to_the_box_of_the_verdict(entries):
    links = [a["href"] for a in BeautifulSoup(ledger.listing(entries.values()).html, "html.parser").find_all("a")]
    assert links == ["01_doubling.html", "01_doubling.html#claim-c01", "01_doubling.html#claim-c02", "02_where.html"]


def test_a_kind_of_evidence_that_is_owed_is_said(entries):
    soup = BeautifulSoup(ledger.listing([entries["C01"]]).html, "html.parser")
    assert "not yet" not in soup.get_text()
    owed = ledger.Entry(claim=CLAIMS["C06"], page="x", content=entries["C01"].content)
    assert "not yet" in BeautifulSoup(ledger.listing([owed]).html, "html.parser").get_text()


def test_conditions_are_named_beside_the_verdict(entries):
    limit = {"role": "limit", "how": "derived", "text": "with <MHA>", "found": 4.0, "passed": False, "unit": ""}
    content = {**entries["C01"].content, "verdict": "holds with conditions", "evidence": [limit]}
    row = ledger.listing([ledger.Entry(claim=CLAIMS["C10"], page="x", content=content)])
    assert BeautifulSoup(row.html, "html.parser").get_text().endswith("holds with conditionsexcept: with <MHA>")


def test_counts_cover_every_claim(entries):
    lines = dict(line.rsplit(maxsplit=1) for line in ledger.counts(entries.values()).text.splitlines()[1:])
    assert sum(map(int, lines.values())) == 56
    assert (lines["✓ holds"], lines["✗ refuted"]) == ("1", "0")


def test_selecting(entries):
    assert [entry.claim.id for entry in ledger.select(entries.values(), verdict="loose")] == ["C02"]
    assert len(ledger.select(entries.values(), chapter=1)) == 3
    with pytest.raises(BytebillError, match="nearest: refuted"):
        ledger.select(entries.values(), verdict="refutd")
    with pytest.raises(BytebillError, match="There is no chapter '99'"):
        ledger.select(entries.values(), chapter="99")


def test_an_environment_variable_names_the_notebooks(toy, monkeypatch):
    toy.executed.mkdir(parents=True)
    output = {"data": {MIME: {"id": "C01", "verdict": "loose"}}}
    (toy.executed / "01_doubling.ipynb").write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    assert ledger.read(book=toy)[0].word == "no verdict"
    monkeypatch.setenv("BYTEBILL_NOTEBOOKS", str(toy.executed))
    assert ledger.read(book=toy)[0].word == "loose"
