"""The top of a chapter is filled from below: heads by their verdicts, the main figure by its drawing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from bytebill import chapters
from bytebill.claims import CLAIMS, view
from bytebill.claims.opening import fill, head_of
from conftest import refuses, write_notebook
from sample_verdicts import SAMPLES

OPEN = "from bytebill import claims, plotting\nplotting.use_book_style()\nclaims.opening('C01', 'C02')"
JUDGE = """import json
from bytebill.claims.opening import fill
fill(json.loads({content!r}))
fill({{"id": "C99", "word": "wrong"}})
print("judged")"""
opening = sys.modules["bytebill.claims.opening"]  # the package's face has the function of that name
DRAW = "fig, ax = plotting.figure()\nax.plot([1, 2])\nplotting.main_figure(fig)"


def test_a_stored_notebook_holds_what_was_filled_in_and_nbval_agrees(toy):
    path = toy.notebooks / "01_doubling.ipynb"
    judge = JUDGE.format(content=json.dumps(SAMPLES["C01"]))
    write_notebook(path, OPEN, "plotting.main_figure()", DRAW, judge)
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"][2:4]:
        cell["metadata"]["tags"] = ["measured", "nbval-ignore-output"]
    path.write_text(json.dumps(notebook))
    assert [outcome.error for outcome in chapters.refresh(["01"], book=toy)] == [None]
    outputs = [cell.get("outputs", []) for cell in json.loads(path.read_text())["cells"]]
    filled, waiting = ("".join(output["data"]["text/html"]) for output in outputs[2])
    assert filled == head_of(SAMPLES["C01"]) and "judged below" in waiting and "<svg" not in waiting
    (figure,) = outputs[3]
    assert "image/svg+xml" in figure["data"] and figure["metadata"] == {"needs_background": "light"}
    assert [[output["output_type"] for output in each] for each in outputs[4:]] == [[], ["stream"]]
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout


def test_outside_ipython_nothing_is_filled(capsys):
    fill(SAMPLES["C01"])
    assert capsys.readouterr().out == ""


def test_a_claim_that_is_not_there_is_refused():
    refuses(lambda: opening.opening("C99"), "There is no claim 'C99'")


def test_a_head_says_word_claim_and_what_to_say_and_escapes_them():
    shown = head_of(SAMPLES["C02"] | {"statement": "<b>"})
    for said in ("true with a condition", "±", "&lt;b&gt;", "Say &lt;C02&gt; so.", '"#claim-c02"', "<svg"):
        assert said in shown
    assert Path(f"x/{view.anchor('C02')}").name == "claim-c02"


@pytest.fixture
def shown(monkeypatch):
    """What IPython is asked to display and to update, as if all of this ran in it and no head were open."""
    asked = []
    monkeypatch.setattr(opening, "_in_ipython", lambda: True)
    monkeypatch.setattr(opening, "_opened", set())
    for name in ("display", "update_display"):
        monkeypatch.setattr(f"IPython.display.{name}", lambda *of, _name=name, **how: asked.append((_name, *of, how)))
    return asked


def test_in_ipython_a_head_is_filled_in_the_place_where_it_was_opened(shown, capsys):
    opening.opening("C02", "C01")
    opening.fill(SAMPLES["C02"])
    opening.fill(SAMPLES["C03"])  # which nobody opened
    opening.fill({"word": "wrong"})
    assert [(name, how["display_id"][:9], how["raw"]) for name, _, how in shown] == [
        ("display", "claim-c02", True),
        ("display", "claim-c01", True),
        ("update_display", "claim-c02", True),
    ]
    (_, opened, first), _, (_, filled, last) = shown
    assert first["display_id"] == last["display_id"] != "claim-c02" and capsys.readouterr().out == ""
    waiting = {"id": "C02", "statement": CLAIMS["C02"].statement}
    assert opened == {"text/html": head_of(waiting), "text/plain": opening.head_text(waiting)}
    assert filled == {"text/html": head_of(SAMPLES["C02"]), "text/plain": opening.head_text(SAMPLES["C02"])}


@pytest.mark.parametrize("kernel", [None, object()])
def test_a_kernel_is_ipythons(monkeypatch, kernel):
    monkeypatch.setattr("IPython.get_ipython", lambda: kernel)
    assert opening._in_ipython() == (kernel is not None)


def test_outside_ipython_heads_are_printed(capsys):
    opening.opening("C01", "C02")
    lines = [f"{id} – judged below: {CLAIMS[id].statement}" for id in ("C01", "C02")]
    assert capsys.readouterr().out.splitlines() == lines


def test_a_head_as_text_says_word_edge_and_what_to_say():
    assert opening.head_text(SAMPLES["C02"] | {"statement": "As said."}) == (
        "C02 ◐ true with a condition\N{NO-BREAK SPACE}±: As said.\n  Say <C02> so."
    )
    assert opening.head_text({"id": "C01", "word": None, "say": ""}) == "C01 – no verdict: "
    assert opening.head_text({"id": "C01"}) == "C01 – judged below: "


def test_a_head_that_waits_has_a_word_and_no_drawing():
    waiting, judged = (BeautifulSoup(head_of(each), "html.parser").div for each in ({"id": "C07"}, SAMPLES["C07"]))
    assert waiting["class"] == ["bb-opening", "bb-verdict-no-verdict"] and waiting["aria-label"] == "Claim C07"
    assert judged["class"] == ["bb-opening", "bb-verdict-cannot-be-tested"] and judged["role"] == "group"
    assert waiting.strong.get_text() == "– judged below" and judged.strong.get_text() == "? cannot be tested"
    assert waiting.select_one(".bb-say") is None and judged.select_one(".bb-say").get_text() == "Say <C07> so."
    assert (waiting.svg, waiting.a["href"], waiting.a.get_text()) == (None, "#claim-c07", "C07")
    assert judged.select_one(".bb-opening-strip svg") and waiting.select_one(".bb-opening-claim").get_text() == ""
