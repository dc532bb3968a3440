"""The top of a chapter is filled from below: heads by their verdicts, the main figure by its drawing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bytebill import chapters
from bytebill.claims import view
from bytebill.claims.opening import fill, head_of
from conftest import refuses, write_notebook
from sample_verdicts import SAMPLES

OPEN = "from bytebill import claims, plotting\nplotting.use_book_style()\nclaims.opening('C01', 'C02')"
JUDGE = """import json
from bytebill.claims.opening import fill
fill(json.loads({content!r}))
fill({{"id": "C99", "word": "wrong"}})
print("judged")"""
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
    from bytebill.claims.opening import opening

    refuses(lambda: opening("C99"), "There is no claim 'C99'")


def test_a_head_says_word_claim_and_what_to_say_and_escapes_them():
    shown = head_of(SAMPLES["C02"] | {"statement": "<b>"})
    for said in ("true with a condition", "±", "&lt;b&gt;", "Say &lt;C02&gt; so.", '"#claim-c02"', "<svg"):
        assert said in shown
    assert Path(f"x/{view.anchor('C02')}").name == "claim-c02"
