"""The calculator answers in a real browser what Python answers here, refuses in a sentence, and needs nobody else."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from math import isclose
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from bs4 import BeautifulSoup

import bytebill
from bytebill import data
from bytebill.data import bundle
from bytebill.economics.prices import API_PRICES
from bytebill.models import MODELS, PUBLISHED, find
from bytebill.site import browser, check
from bytebill.site.live import calculator, pyodide
from bytebill.site.live import cells as live
from bytebill.site.tried import calculator_trial
from bytebill.statement import markdown, statement
from bytebill.statement.answer import answer, answer_text, fill_of, form_of
from bytebill.statement.fields import FORM_FIELDS, read_fields
from bytebill.statement.form import Form
from bytebill.statement.reverse import SOLD_AS
from bytebill.statement.snippet import run_snippet

ASSETS = data.REPOSITORY / "book" / "assets"
TINY = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128}
TINY |= {"num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 4096}
PATIENCE_MS = 240_000  # of a machine that is busy with other tests
SEED, N_CASES = 17, 50
BATCH = "Batch, at most: prompt and half an answer each, one prefix shared"


def rows_of(found: dict[str, Any], section: str) -> dict[str, dict[str, Any]]:
    """The rows of a section by their names."""
    return {row["name"]: row for part in found["sections"] if part["id"] == section for row in part["rows"]}


# What Python answers.


def test_the_page_says_what_the_statement_says() -> None:
    found, case = answer({}), Form.read(form_of(read_fields({}))).case
    whole = statement(case)
    assert found["refused"] is None and found["markdown"] == markdown(whole)
    assert rows_of(found, "speed")[BATCH]["value"] == whole.batch_size
    assert rows_of(found, "money")["Invoice, a month"]["value"] == whole.usd_per_month
    assert rows_of(answer({"rent": "7"}), "money")["Invoice, a month"]["value"] > 2 * whole.usd_per_month


def test_a_rent_on_file_has_its_provider_and_its_day_and_a_typed_one_has_none() -> None:
    told, typed = (rows_of(answer(fields, quick=True), "money")["Rent"]["printed"] for fields in ({}, {"rent": "2.5"}))
    assert told == "USD 3.49 an hour a device (RunPod, on demand, 2026-09-25)"
    assert typed == "USD 2.50 an hour a device"


def test_both_prices_together_are_the_invoice() -> None:
    money = rows_of(answer({"in": "3000", "out": "200", "hit": "40"}, quick=True), "money")
    a_million_in, a_million_out = (
        money[name]["value"] for name in ("Shared by device time: a million in", "… and a million out")
    )
    request = (3000 * a_million_in + 200 * a_million_out) / 1e6
    assert 1e3 * request == pytest.approx(money["A thousand requests"]["value"])


def test_the_parts_of_the_memory_are_all_of_it_and_a_tight_one_is_told() -> None:
    for fields in ({}, {"n": "1"}, {"m": "llama-3.1-8b", "n": "1", "kv": "fp8"}, {"gpu": "mi300x"}):
        memory = answer(fields, quick=True)["memory"]
        filled, fits = sum(part["value"] for part in memory["parts"]), memory["parts"][-1]["value"] > 0
        assert filled == pytest.approx(memory["bytes"]) if fits else filled > memory["bytes"]
        assert fits == (fields != {"n": "1"})


def test_what_a_token_waits_for_is_no_less_than_the_step_it_makes() -> None:
    rows = rows_of(answer({"by": "trtllm"}, quick=True), "step")
    alone = sum(row["value"] for name, row in rows.items() if name.endswith("alone") and "prompts" not in name)
    assert alone >= rows["A decode step takes"]["value"] > 0.5 * alone
    assert rows["Longest part of the step itself"]["printed"] == "weights"
    assert rows["… and with others' prompts"]["printed"] == "others' prompts"
    long = rows_of(answer({"in": "60000", "hit": "99", "n": "8", "tpot": "", "ttft": ""}, quick=True), "step")
    assert long["Longest part of the step itself"]["printed"] == "cache"


@pytest.mark.parametrize(
    "fields",
    [
        {"m": "llama-3.1-8b", "n": "1", "price": "0.5"},
        {"m": "llama-3.1-8b", "n": "1", "price": "0.9", "tpot": "", "ttft": ""},
        {"price": "4.5"},
    ],
)
def test_the_question_turned_round_holds_when_it_is_put_back(fields: dict[str, str]) -> None:
    ways = rows_of(answer(fields), "reverse")
    rent = next(row["value"] for name, row in ways.items() if name.startswith("Highest rent"))
    below, above = (
        rows_of(answer({**fields, "rent": f"{usd:.2f}"}, quick=True), "money")["Invoice, a month"]["value"]
        for usd in (rent, rent + 0.01)
    )
    cheapest = next(iter(rows_of(answer(fields, quick=True), "offers").values()))["value"]
    assert below <= cheapest < above
    tpot_s = next(row["value"] for name, row in ways.items() if name.startswith("TPOT limit"))
    there, tighter = (
        rows_of(answer({**fields, "tpot": f"{ms:.9g}"}, quick=True), "money")["… if replicas came in fractions"]
        for ms in (tpot_s * 1e3, tpot_s * 1e3 * 0.985)
    )
    assert there["value"] <= float(fields["price"]) < tighter["value"]


def test_the_rates_from_which_it_pays_hold_and_those_before_do_not() -> None:
    fields = {"m": "llama-3.1-70b", "w": "fp8", "n": "2", "rent": "0.9", "fill": "90"}
    ((name, row),) = ((k, v) for k, v in rows_of(answer(fields), "reverse").items() if k.startswith("Traffic"))
    once, always = float(row["printed"].split()[0]), row["value"]
    assert "DeepInfra" in name and "dearer again at each new replica" in row["printed"] and always > once

    def pays(rate: float) -> bool:
        found = answer({**fields, "rps": f"{rate:.9g}"}, quick=True)
        return rows_of(found, "money")["Invoice, a month"]["value"] <= first_offer(found)

    def first_offer(found: dict[str, Any]) -> float:
        return float(next(iter(rows_of(found, "offers").values()))["value"])

    assert pays(once) and not pays(once * 0.98)
    assert all(pays(always * (1 + step / 50)) for step in range(100))
    assert not all(pays(always * (0.7 + step / 200)) for step in range(60))


def test_without_a_host_of_the_model_there_is_one_row_and_no_comparison() -> None:
    found = answer({"m": "qwen3-32b", "n": "2"})
    told = "No host of this model is on file."
    assert told in found["notes"] and rows_of(found, "offers")["This model"]["printed"] == told
    assert rows_of(found, "reverse")["Against a host"]["printed"] == told
    assert not [name for name in rows_of(found, "reverse") if "beats" in name]
    assert [name for name in rows_of(found, "offers") if name.startswith("another model: Claude")]
    assert "of this model on file would ask" in answer({}, quick=True)["notes"][0]


@pytest.mark.parametrize("fields", [{}, {"hit": "60", "ttft": ""}, {"n": "8", "peak": "3"}])
@pytest.mark.parametrize("n_users", [1, 7, 80, 300, 5000])
def test_users_at_once_are_the_rate_at_which_the_fleet_has_so_many(fields: dict[str, str], n_users: int) -> None:
    found = statement(Form.read(form_of(read_fields({**fields, "load": "users", "users": str(n_users)}))).case)
    in_flight = found.in_flight[0]
    assert (in_flight - 1) * found.replicas < n_users <= in_flight * found.replicas * (1 + 1e-9) or in_flight < 1
    assert in_flight >= 1 or in_flight * found.replicas == pytest.approx(n_users)


def test_the_python_line_and_the_form_give_the_same_page() -> None:
    for fields in ({}, {"load": "users", "users": "77", "ttft": "", "w": "fp8"}):
        found, printed = answer(fields), StringIO()
        with redirect_stdout(printed):
            exec(found["python"], {})
        assert printed.getvalue() == found["markdown"] + "\n"
        assert markdown(Form.read(yaml.safe_load(found["yaml"])).statement()) == found["markdown"]


def test_a_pasted_model_is_priced_and_named_as_a_file() -> None:
    found = answer({"config": json.dumps(TINY), "n": "1"})
    assert found["refused"] is None and "the pasted model" in found["markdown"]
    assert yaml.safe_load(found["yaml"])["model"] == "config.json"
    assert find(json.dumps(TINY))[0].n_params < 1e6


HOSTILE = {
    "no JSON": "{",
    "a list": "{}[]",
    "deep": '{"a":' + "[" * 9000 + "]" * 9000 + "}",
    "many layers": json.dumps(TINY | {"num_hidden_layers": 10**9}),
    "a number of 5,000 digits": '{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}",
    "no model": '{"model_type": "<img src=x onerror=alert(1)>"}',
    "nan": json.dumps(TINY | {"hidden_size": float("nan")}),
    "negative": json.dumps(TINY | {"num_attention_heads": -4}),
    "a quote that is never closed": '"' + '\\"' * 50_000,
    "a text": json.dumps(TINY | {"vocab_size": "many"}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_is_one_sentence(text: str) -> None:
    sentence = answer({"config": text})["refused"]
    assert sentence and "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400


def test_what_cannot_be_served_is_a_sentence_beside_its_memory() -> None:
    for fields in ({"n": "1"}, {"n": "3"}, {"tpot": "0.1"}, {"gpu": "mi300x"}, {"in": "1000000"}, {"rps": "1e5"}):
        found = answer(fields)
        assert (found["refused"] or "").endswith(".") or fields == {"rps": "1e5"}, fields
        assert found["memory"] or fields == {"n": "3"}
    assert "No rent of mi300x" in answer({"gpu": "mi300x"})["refused"]
    assert answer({"gpu": "mi300x", "rent": "3"})["refused"] is None


def test_every_lever_and_every_offer_has_a_name_that_exists() -> None:
    assert {name for names in SOLD_AS.values() for name in names} <= set(API_PRICES)
    assert set(SOLD_AS) <= {*MODELS, *PUBLISHED}
    names = [name for name in rows_of(answer({}), "levers")]
    assert len(names) > 7 and any("contract" in name for name in names)
    assert not any("contract" in name for name in rows_of(answer({"rent": "0.5"}), "levers"))


def test_fields_are_each_in_one_group_and_hold_to_their_bounds() -> None:
    grouped = [name for names in calculator.FIELDSETS.values() for name in names]
    assert sorted([*grouped, calculator.FOUND]) == sorted(FORM_FIELDS)
    assert read_fields({}) == {name: field.default for name, field in FORM_FIELDS.items()}
    wild = {"n": "-3", "in": "1e400", "hit": "1e9", "gpu": "__proto__", "rent": "nan", "tpot": "x", "out": 7}
    found = read_fields(wild)
    assert [found[name] for name in wild] == ["1", "1155", "99", "h100-sxm", "", "50", "211"]


def test_a_fill_is_found_or_refused() -> None:
    assert "breaks the limits" in fill_of({"tpot": "0.1"})["refused"]
    near = fill_of({})["fill"]
    assert abs(float(near) - float(FORM_FIELDS["fill"].default)) <= 3  # what the page calls near
    assert near == next(iter(calculator.WORKED.values()))["fill"]
    free = json.loads(answer_text(json.dumps({"what": "fill", "fields": {"tpot": "", "ttft": ""}})))
    assert (free["refused"], free["fill"]) == (None, "100")


def test_limits_that_no_fleet_keeps_withdraw_the_price_and_name_no_field_that_is_not_there() -> None:
    refused = fill_of({"in": "20000", "ttft": "2.3"})["refused"]
    assert answer({"in": "20000", "ttft": "2.3"}, quick=True)["refused"] is None
    assert "cannot be kept by any fleet, and the price is withdrawn" in refused and "attainment" not in refused


def test_what_no_fleet_keeps_is_marked_by_its_limits_and_not_by_its_rate() -> None:
    case = {"in": "20000", "ttft": "2.3"}
    mark = fill_of(case)["limits"]
    for same in ({}, {"rps": "3"}, {"peak": "2"}, {"fill": "5"}, {"rent": "2"}):
        assert answer(case | same, quick=True)["limits"] == mark
    for other in ({"ttft": "9"}, {"n": "8"}, {"in": "1155"}, {"config": json.dumps(TINY)}):
        assert answer(case | other, quick=True)["limits"] != mark


def test_a_price_names_its_model_the_pasted_one_too() -> None:
    assert answer({}, quick=True)["headline"].startswith("Llama-3.1-70B on 48 x H100 SXM5: USD ")
    pasted = answer({"config": json.dumps(TINY), "n": "1"}, quick=True)["headline"]
    assert pasted.startswith("The pasted model on ")


def test_an_offer_that_is_next_to_nothing_is_not_called_nothing() -> None:
    told = answer({"rps": "0.0001"}, quick=True)["notes"][0]
    assert "under 1%" in told and " 0%" not in told


def test_a_found_fill_is_assumed_again_in_another_case() -> None:
    found = fill_of({})
    filled = {"fill": found["fill"], "found": found["found"]}
    assert "59%, found by simulation" in answer(filled, quick=True)["headline"]
    for change in ({}, {"rps": "3"}, {"rent": "2"}):
        assert "found by simulation" in answer(filled | change, quick=True)["headline"]
    for change in ({"tpot": "20"}, {"n": "8"}, {"fill": "70"}, {"in": "1156"}, {"found": "1"}, {"hit": "5"}):
        assert "%, assumed." in answer(filled | change, quick=True)["headline"], change
    for fields in calculator.WORKED.values():
        assert rows_of(answer(fields, quick=True), "money")["Fill"]["printed"].endswith("%, found by simulation")


def test_what_may_not_fit_and_what_nobody_measured_stand_beside_the_price() -> None:
    assert answer({"n": "2"}, quick=True)["headline"].startswith("A request fits only perhaps")
    assert not answer({}, quick=True)["headline"].startswith("A request")
    guessed, measured = (
        " ".join(answer({"gpu": id, "rent": "3"}, quick=True)["notes"]) for id in ("mi300x", "h200-sxm")
    )
    assert "Nobody measured kernels of MI300X" in guessed and "kernels" not in measured
    for device in ("mi300x", "tpu-v6e"):
        refused = answer({"gpu": device, "by": "trtllm", "rent": "3", "n": "8"})["refused"]
        assert refused.startswith("TensorRT-LLM runs on NVIDIA's devices alone")


def test_the_advice_the_row_and_the_refusal_name_the_same_devices() -> None:
    found = answer({"n": "1"})
    row = rows_of(found, "fits")["Fewest devices on which 1,366 tokens surely fit"]
    assert f"take {row['printed']} devices" in found["refused"]
    advised = answer({"n": row["printed"]}, quick=True)
    assert rows_of(advised, "fits")["A request of 1,366 tokens fits"]["printed"] == "yes"


def test_one_token_has_no_limit_on_further_ones() -> None:
    one, free = (answer({"out": "1", "tpot": tpot}, quick=True) for tpot in ("0.1", ""))
    assert one["refused"] is None and one["headline"] == free["headline"]
    assert "no further ones" in one["notes"][-1] and "no further ones" not in free["notes"][-1]


def test_levers_say_what_they_assume_and_stand_apart_from_what_is_there() -> None:
    found = answer({})
    alternatives, in_place = rows_of(found, "levers"), rows_of(found, "in-place")
    assert len(alternatives) > 6 and {name.split(" (")[0] for name in in_place} == {
        *("batching at all", "paging the cache", "refilling slots")
    }
    assert all(": " in name for name in (*alternatives, *in_place))
    assert all("dearer at scale" in row["printed"] for row in in_place.values())
    assert any("times cheaper" in row["printed"] for row in alternatives.values())


@pytest.mark.parametrize("text", ["null", "5", "[1]", "llama-3.1-8b"])
def test_what_is_pasted_and_no_object_is_called_that(text: str) -> None:
    assert "no JSON object" in answer({"config": text})["refused"]


@pytest.mark.parametrize(
    ("code", "printed", "wrong"),
    [
        ("a = 2\na + 1", "3\n", None),
        ("print('x')\nboom", "x\n", "line 2: NameError: name 'boom' is not defined"),
        ("def f():\n  return 1 +", "", "line 2: SyntaxError: invalid syntax"),
        ("", "", None),
        ("print('x')\nexit()", "", "The code asked Python to exit, so nothing of it is shown."),
        ("raise SystemExit(3)", "", "The code asked Python to exit, so nothing of it is shown."),
    ],
)
def test_a_snippet_prints_as_a_notebook_does(code: str, printed: str, wrong: str | None) -> None:
    assert run_snippet(code) == {"printed": printed, "wrong": wrong}


# What the build makes.


def test_the_table_is_the_answers_and_the_form_names_every_field() -> None:
    soup = BeautifulSoup(calculator.worked_html(), "html.parser")
    cells = [[cell.get_text() for cell in row.find_all("td")] for row in soup.select("tbody tr")]
    assert len(cells) == len(calculator.WORKED)
    found = answer(next(iter(calculator.WORKED.values())))
    assert cells[0][-1] == rows_of(found, "money")["A million output tokens, input included"]["printed"]
    form = BeautifulSoup(calculator.form_html(), "html.parser")
    assert {each["name"] for each in form.select("[name]")} == {*FORM_FIELDS, calculator.CONFIG}
    assert all(each.find_parent("label") for each in form.select("input:not([type=hidden]), select, textarea"))


def test_an_archive_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "pyodide.tgz"
    wrong.write_bytes(b"not it")
    assert not pyodide.is_whole(wrong) and not calculator.ship(tmp_path / "static", kept=wrong)
    assert len(bytes.fromhex(pyodide.SHA512)) == hashlib.sha512().digest_size


def test_without_npm_or_network_there_is_one_sentence_and_no_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pyodide.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(pyodide.shutil, "which", lambda name: None)
    assert "there is no npm" in pyodide.fetch()
    monkeypatch.setattr(pyodide.shutil, "which", lambda name: "/usr/bin/npm")
    failed = subprocess.CompletedProcess([], 1, "", "offline")
    monkeypatch.setattr(pyodide.subprocess, "run", lambda *_, **__: failed)
    assert "is there a network?" in pyodide.fetch() and not pyodide.archive().exists()
    assert pyodide.main() == 1  # `make pyodide` fails, so that no book is published without its calculator


def test_an_archive_with_another_checksum_is_not_kept(tmp_path: Path, monkeypatch: Any) -> None:
    def npm(command: list[str], *, cwd: str, **_: Any) -> subprocess.CompletedProcess[str]:
        with tarfile.open(Path(cwd) / f"pyodide-{pyodide.VERSION}.tgz", "w:gz") as packed:
            packed.addfile(tarfile.TarInfo("package/pyodide.mjs"), BytesIO())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pyodide.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(pyodide.shutil, "which", lambda name: name)
    monkeypatch.setattr(pyodide.subprocess, "run", npm)
    assert "another checksum" in pyodide.fetch() and not pyodide.archive().exists()


# Cells of chapters that run in the page.

STRICT = """
import json, sys
class StandardLibraryOnly:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"bytebill"}:
            raise ImportError(f"the core imports {name}")
sys.meta_path.insert(0, StandardLibraryOnly())
from bytebill.statement.snippet import run_snippet
print(json.dumps(run_snippet(sys.stdin.read())))
"""
CELLS = [
    (path.stem, cell, code)
    for path in sorted((data.REPOSITORY / "notebooks").glob("*.ipynb"))
    for cell, code in live.live_cells(path)
]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the page's Python has: the package's core, and a bundle."""
    root = tmp_path_factory.mktemp("core")
    package = Path(bytebill.__file__).parent
    for path in calculator.core_files(package):
        target = root / "bytebill" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    bundle.write(root / "core.json", (*bundle.CORE, *calculator.OF_CHAPTERS))
    return {"PYTHONPATH": str(root), "BYTEBILL_DATA": str(root / "core.json")}


def printed_in_notebook(cell: dict[str, Any]) -> str:
    """The committed output as text."""
    texts = ("".join(each.get("text", each.get("data", {}).get("text/plain", ""))) for each in cell["outputs"])
    return "\n".join(text.rstrip("\n") for text in texts) + "\n"


def test_chapters_have_cells_that_run_in_the_page() -> None:
    assert {name[:2] for name, *_ in CELLS} >= {"01", "02", "03", "07"}


@pytest.mark.parametrize(("name", "cell", "code"), CELLS, ids=[name for name, *_ in CELLS])
def test_a_live_cell_alone_prints_what_the_chapter_prints(
    name: str, cell: dict[str, Any], code: str, core: dict[str, str]
) -> None:
    done = subprocess.run([sys.executable, "-c", STRICT], input=code, capture_output=True, text=True, env=core)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"printed": printed_in_notebook(cell), "wrong": None}


def test_a_slice_takes_what_is_needed_and_the_last_of_it() -> None:
    cells = ["import os, sys\nfrom math import pi", "a = 1\nb = 2", "a = 3\ndef f(x):\n    return x + a", "f(b) + pi"]
    assert live.sliced(cells).split("\n") == [
        *("from math import pi", "b = 2", "a = 3", "def f(x):", "    return x + a", "", "f(b) + pi")
    ]
    assert live.sliced(["x = 1", "print(2)"]) == "print(2)"
    assert live.needed_by(["x = 1", "y = 2", "print(x)"]) == "x = 1"


# What a browser does with it.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The calculator's page without the book's frame."""
    if browser.executable() is None:
        pytest.skip("no Chromium on this machine")
    if not pyodide.is_whole(pyodide.archive()):
        pytest.skip("no Pyodide in this environment (make pyodide)")
    root = tmp_path_factory.mktemp("site")
    static = root / "_static"
    static.mkdir()
    for name in (calculator.CALCULATOR_CSS, *calculator.CALCULATOR_SCRIPTS, "calculator-worker.js"):
        (static / name).write_text((ASSETS / name).read_text(encoding="utf-8"), encoding="utf-8")
    assert calculator.ship(static)
    scripts = "".join(f'<script defer src="_static/{name}"></script>' for name in calculator.CALCULATOR_SCRIPTS)
    (root / "a.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>T</title>'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="_static/{calculator.CALCULATOR_CSS}">{scripts}</head>'
        '<body><article class="bd-article">'
        f"<h1>T</h1>{calculator.form_html()}{calculator.worked_html()}</article></body></html>",
        encoding="utf-8",
    )
    return root


@pytest.fixture(scope="module")
def opened(site: Path) -> Iterator[tuple[Any, str, list[str]]]:
    """A browser with the page's address, and what went wrong in it."""
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with browser.hosted(site) as base, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        page = chromium.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request", lambda asked: faults.append(asked.url) if not asked.url.startswith((base, "blob:")) else None
        )
        page.add_init_script(f"window.bytebillPatienceMs = {PATIENCE_MS}")
        page.set_default_timeout(PATIENCE_MS)
        yield page, base, faults
        chromium.close()


@pytest.fixture(scope="module")
def started(opened: tuple[Any, str, list[str]]) -> tuple[Any, str, list[str]]:
    """The same after a click on Start."""
    page, base, faults = opened
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered]")
    return page, base, faults


ASK = "async ([what, fields]) => await window.bytebillRuntime.ask('answer', { what, fields })"


def random_fields(chance: random.Random) -> dict[str, str]:
    """A case that somebody might ask for, and now and then one that cannot be."""
    drawn = {name: chance.choice(list(field.options())) for name, field in FORM_FIELDS.items() if field.options}
    drawn["attn"] = chance.choice(["tensor", "tensor", "data"])
    drawn |= {"n": chance.choice(["1", "2", "4", "8", "16"]), "hit": str(chance.choice([0, 0, 50, 87.5]))}
    drawn |= {
        "in": str(chance.randint(1, 20_000)),
        "out": str(chance.randint(1, 3000)),
        "rent": str(chance.randint(1, 9)),
    }
    drawn |= {"rps": f"{chance.uniform(0.1, 90):.3g}", "users": str(chance.randint(1, 900)), "peak": "2"}
    drawn |= {"ttft": chance.choice(["", "3", "10"]), "tpot": chance.choice(["", "60", "250"])}
    return drawn | {"fill": str(chance.randint(20, 100)), "price": chance.choice(["", "2", "0.3"])}


def differences(here: Any, there: Any, path: str = "") -> Iterator[str]:
    """Where two answers differ: texts exactly, numbers by more than the last digits."""
    if isinstance(here, dict):
        assert here.keys() == there.keys(), path
        for key in here:
            yield from differences(here[key], there[key], f"{path}/{key}")
    elif isinstance(here, list):
        if len(here) != len(there):
            yield f"{path}: {len(here)} and {len(there)} of them"
        for at, (mine, its) in enumerate(zip(here, there, strict=False)):
            yield from differences(mine, its, f"{path}/{at}")
    elif isinstance(here, (int, float)) and not isinstance(here, bool) and isinstance(there, (int, float)):
        if not isclose(here, there, rel_tol=1e-12, abs_tol=1e-15):
            yield f"{path}: {here!r} here and {there!r} in the page"
    elif here != there:
        yield f"{path}: {here!r} here and {there!r} in the page"


def test_a_difference_would_be_seen() -> None:
    here = answer({}, quick=True)
    there = json.loads(json.dumps(here))
    assert list(differences(here, there)) == []
    there["sections"][0]["rows"][1]["printed"] += " "
    there["roofline"]["ridge"] *= 1 + 1e-11
    assert [fault.partition(":")[0] for fault in differences(here, there)] == [
        "/sections/0/rows/1/printed",
        "/roofline/ridge",
    ]


def test_the_browser_answers_what_python_answers(started: tuple[Any, str, list[str]]) -> None:
    page, _, faults = started
    chance, n_served = random.Random(SEED), 0
    for _ in range(N_CASES):
        fields = random_fields(chance)
        here = json.loads(answer_text(json.dumps({"what": "all", "fields": fields})))
        there = page.evaluate(ASK, ["all", fields])
        assert list(differences(here, there)) == [], fields
        n_served += here["refused"] is None
    assert n_served > N_CASES / 4 and faults == []


def test_how_long_it_takes_is_told(started: tuple[Any, str, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    page, *_ = started
    ready_s = float(page.get_attribute(".bb-calculator", "data-ready-seconds"))
    clock = "async ([what, fields]) => { const began = performance.now(); await window.bytebillRuntime.ask('answer',"
    clock += " { what, fields }); return performance.now() - began; }"
    times_ms = [page.evaluate(clock, ["quick", {"n": n}]) for n in ("4", "8", "4", "8", "4")]
    with capsys.disabled():
        print(f" [Python ready in {ready_s:.1f} s, an answer in {sorted(times_ms)[2]:.0f} ms]", end="")
    assert ready_s > 0 and min(times_ms) > 0


def test_what_is_shown_is_what_was_answered(started: tuple[Any, str, list[str]]) -> None:
    page, *_ = started
    page.fill("[name=n]", "8")
    page.wait_for_function("location.hash === '#n=8'")
    found = answer({"n": "8"})
    page.wait_for_function("text => document.querySelector('.bb-headline').textContent === text", arg=found["headline"])
    page.wait_for_function("document.querySelectorAll('.bb-exports button').length === 2")
    shown = page.eval_on_selector_all(".bb-sections dd", "all => all.map(each => each.textContent)")
    assert shown == [row["printed"] for part in found["sections"] for row in part["rows"]]
    assert page.locator(".bb-drawings svg").count() == 2
    page.emulate_media(media="print")  # a price on paper says what it is for
    assert page.is_visible("[name=m]") and page.is_visible("[name=rps]") and not page.is_visible(".bb-find-fill")
    page.emulate_media(media="screen")
    with page.expect_download() as saved:
        page.click(".bb-exports button >> nth=0")
    assert Path(saved.value.path()).read_text(encoding="utf-8") == found["markdown"]


def test_a_hostile_address_is_read_as_far_as_it_is_known(started: tuple[Any, str, list[str]]) -> None:
    page, base, faults = started
    hash = urlencode(
        {
            "n": "99999",
            "m": "<img src=x onerror=alert(1)>",
            "in": "1e308",
            "hit": "-5",
            "tpot": "NaN",
            "config": "{",
            "x": "1",
        }
    )
    page.goto("about:blank")
    page.goto(f"{base}a.html#{hash}&__proto__=1&%")
    shown = page.evaluate("Object.fromEntries(new FormData(document.querySelector('.bb-form')))")
    assert shown == read_fields({}) | {"n": "64", "in": "1000000", "hit": "0", "config": ""}
    told = page.inner_text(".bb-state")
    assert "Devices a replica clamped to 64" in told and "Model clamped to Llama-3.1-70B" in told
    assert page.evaluate("location.hash") == "#n=64&in=1000000"
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered]")
    assert page.inner_text(".bb-refused").strip().endswith(".") and page.locator("img[src=x]").count() == 0
    assert faults == []


def test_hostile_configs_end_in_a_sentence_and_the_next_case_is_answered(started: tuple[Any, str, list[str]]) -> None:
    page, *_ = started
    for text in HOSTILE.values():
        found = page.evaluate(ASK, ["all", {"config": text}])
        assert found["refused"] == answer({"config": text})["refused"]
    assert page.evaluate(ASK, ["quick", {}])["headline"] == answer({}, quick=True)["headline"]


def test_a_worker_that_cannot_load_is_a_sentence(opened: tuple[Any, str, list[str]]) -> None:
    page, base, _ = opened
    page.route("**/bytebill.zip", lambda asked: asked.fulfill(status=404, body=""))
    page.goto("about:blank")
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_function("/did not start: bytebill.zip/.test(document.querySelector('.bb-state').textContent)")
    assert page.locator(".bb-start").is_enabled()
    page.unroute("**/bytebill.zip")


def test_python_that_never_starts_is_given_up_in_a_sentence(opened: tuple[Any, str, list[str]]) -> None:
    shared, base, _ = opened
    page = shared.context.browser.new_page()
    page.add_init_script("window.bytebillPatienceMs = 1000")
    page.route("**/pyodide.asm.wasm", lambda asked: None)  # never answered
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_function("/has not started within 1 s/.test(document.querySelector('.bb-state').textContent)")
    assert page.locator(".bb-start").is_enabled()
    page.close()
    assert "bytebillPatienceMs ?? 30000" in (ASSETS / "runtime.js").read_text(encoding="utf-8")


def test_the_trial_of_the_pages_sees_what_it_is_there_for(site: Path, opened: tuple[Any, str, list[str]]) -> None:
    page, base, _ = opened
    page.goto(f"{base}a.html")
    assert calculator_trial.calculator_faults(page) == []
    for name, old, new, fault in (
        ("wide", "</article>", '<p style="width: 800px">w</p></article>', "px wider than a phone"),
        ("refusing", 'value="1155"', 'value="900000"', "is not answered"),
        ("silent", 'data-runtime="yes"', 'data-runtime="maybe"', ""),
    ):
        html = (site / "a.html").read_text(encoding="utf-8")
        assert old in html
        (site / f"{name}.html").write_text(html.replace(old, new, 1), encoding="utf-8")
        page.goto(f"{base}{name}.html")
        found = calculator_trial.calculator_faults(page)
        assert [each for each in found if fault in each] == found and len(found) == bool(fault)


def test_a_live_cell_is_edited_and_run(site: Path, opened: tuple[Any, str, list[str]]) -> None:
    page, base, _ = opened
    name, cell, code = CELLS[0]
    for asset in (live.LIVE_CSS, *live.LIVE_SCRIPTS):
        (site / "_static" / asset).write_text((ASSETS / asset).read_text(encoding="utf-8"), encoding="utf-8")
    body = SimpleNamespace(srcdir=data.REPOSITORY, add_css_file=str, add_js_file=lambda *_, **__: None)
    context = {"body": '<div class="cell tag_live"><p>cell</p></div>'}
    live.add_sources(body, f"notebooks/{name}", "page.html", context, None)
    scripts = "".join(f'<script defer src="_static/{each}"></script>' for each in live.LIVE_SCRIPTS)
    (site / "b.html").write_text(
        f'<html lang="en"><title>T</title>{scripts}<body><h1>T</h1>{context["body"]}</body></html>', encoding="utf-8"
    )
    page.goto(f"{base}b.html")
    page.click(".bb-live-open")
    (part, *_) = live.live_parts(data.REPOSITORY / "notebooks" / f"{name}.ipynb")
    assert page.input_value(".bb-live textarea") == part["code"] == "".join(cell["source"])
    assert page.text_content(".bb-live-before pre") == part["before"] and part["before"] in code
    page.click(".bb-live button >> nth=0")
    page.wait_for_selector(".bb-live[data-ran='1']")
    assert page.text_content(".bb-live-printed") == printed_in_notebook(cell)
    page.fill(".bb-live textarea", "print(6 * 7)\nnobody")
    page.press(".bb-live textarea", "Control+Enter")
    page.wait_for_selector(".bb-live[data-ran='2']")
    assert page.text_content(".bb-live-printed") == "42\n"
    assert page.text_content(".bb-live-state") == "line 2: NameError: name 'nobody' is not defined"


def test_every_live_cell_prints_the_same_in_the_page(started: tuple[Any, str, list[str]]) -> None:
    page, base, _ = started
    page.goto(f"{base}a.html")
    for name, cell, code in CELLS:
        found = page.evaluate("async code => await window.bytebillRuntime.ask('snippet', code)", code)
        assert found == {"printed": printed_in_notebook(cell), "wrong": None}, name


def test_an_empty_field_is_not_asked(started: tuple[Any, str, list[str]]) -> None:
    page, base, _ = started
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered='1']")
    page.fill("[name=n]", "")
    page.wait_for_function("/^Devices a replica is empty/.test(document.querySelector('.bb-state').textContent)")
    assert page.text_content(".bb-state-here") == page.text_content(".bb-state")
    assert page.locator(".bb-answer.bb-stale").count() == 1
    page.fill("[name=n]", "8")
    page.wait_for_selector(".bb-calculator[data-answered='2']")
    assert page.locator(".bb-answer.bb-stale").count() == 0
    assert page.text_content(".bb-headline") == answer({"n": "8"}, quick=True)["headline"]
    page.fill("[name=n]", "2.5")
    page.wait_for_function("/^Devices a replica is no whole/.test(document.querySelector('.bb-state').textContent)")


def test_a_field_that_is_out_of_sight_stops_nobody(started: tuple[Any, str, list[str]]) -> None:
    page, base, _ = started
    page.goto("about:blank")
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered='1']")
    page.fill("[name=rps]", "")
    page.wait_for_function("/^Requests a second, mean is empty/.test(document.querySelector('.bb-state').textContent)")
    page.select_option("[name=load]", "users")
    page.wait_for_selector(".bb-calculator[data-answered='2']")
    assert page.input_value("[name=rps]") == "40" and page.evaluate("location.hash") == "#load=users"
    assert page.text_content(".bb-headline") == answer({"load": "users"}, quick=True)["headline"]


def test_a_worked_case_is_not_priced_for_a_pasted_model(started: tuple[Any, str, list[str]]) -> None:
    page, base, _ = started
    page.goto("about:blank")
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered='1']")
    page.click(".bb-paste summary")
    page.fill("[name=config]", json.dumps(TINY))
    page.wait_for_function("/^The pasted model on/.test(document.querySelector('.bb-headline').textContent)")
    page.click(".bb-open >> nth=0")
    first = answer(next(iter(calculator.WORKED.values())), quick=True)["headline"]
    page.wait_for_function("text => document.querySelector('.bb-headline').textContent === text", arg=first)
    assert page.input_value("[name=config]") == ""


def test_an_answer_that_comes_late_does_not_pass_for_that_of_a_field_changed_since(
    started: tuple[Any, str, list[str]],
) -> None:
    page, base, _ = started
    page.goto("about:blank")
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered='1']")
    late = """() => {
        const ask = window.bytebillRuntime.ask.bind(window.bytebillRuntime);
        window.bytebillRuntime.ask = async (...given) => {
            await new Promise((done) => setTimeout(done, 700));
            return ask(...given);
        };
    }"""
    page.evaluate(late)
    page.fill("[name=n]", "8")
    page.wait_for_function("location.hash === '#n=8'")
    page.fill("[name=n]", "")
    page.wait_for_selector(".bb-calculator[data-answered='2']")
    assert page.locator(".bb-answer.bb-stale").count() == 1
    assert page.inner_text(".bb-state").startswith("Devices a replica is empty")


def test_a_fill_is_sought_on_the_page_and_a_price_withdrawn(started: tuple[Any, str, list[str]]) -> None:
    page, base, faults = started
    page.goto("about:blank")
    page.goto(f"{base}a.html#rent=0")
    assert "Rent [USD/h a device] clamped to 0.01" in page.inner_text(".bb-state")
    assert page.evaluate("location.hash") == "#rent=0.01"
    page.click(".bb-start")
    page.wait_for_selector(".bb-calculator[data-answered='1']")
    assert page.evaluate("document.activeElement.name") == "m"
    page.fill("[name=rent]", "")
    page.wait_for_selector(".bb-calculator[data-answered='2']")
    began = perf_counter()
    page.click(".bb-find-fill")
    page.wait_for_function("/found by simulation/.test(document.querySelector('.bb-headline').textContent)")
    assert perf_counter() - began < PATIENCE_MS / 1e3
    assert page.text_content(".bb-headline") == answer(next(iter(calculator.WORKED.values())), quick=True)["headline"]
    page.fill("[name=tpot]", "49")
    page.wait_for_function("/assumed/.test(document.querySelector('.bb-headline').textContent)")
    page.fill("[name=tpot]", "50")
    page.fill("[name=in]", "20000")
    page.fill("[name=ttft]", "2.3")
    page.wait_for_function("/ttft=2.3/.test(location.hash) && !document.querySelector('.bb-stale')")
    page.wait_for_function("document.querySelectorAll('.bb-exports button').length === 2")
    page.click(".bb-find-fill")
    page.wait_for_function("/cannot be kept by any fleet/.test(document.querySelector('.bb-refused').textContent)")
    assert page.text_content(".bb-headline") == "No price." and page.locator(".bb-sections section").count() == 1
    assert page.locator(".bb-exports button").count() == 0 and faults == []
    for name, value in (("peak", "1.5"), ("fill", "5")):
        n_answered = page.get_attribute(".bb-calculator", "data-answered")
        page.fill(f"[name={name}]", value)
        page.wait_for_function("n => document.querySelector('.bb-calculator').dataset.answered !== n", arg=n_answered)
        assert page.text_content(".bb-headline") == "No price.", name
    page.fill("[name=ttft]", "20")
    page.wait_for_function("/USD/.test(document.querySelector('.bb-headline').textContent)")


def test_a_page_without_live_cells_gets_nothing() -> None:
    context = {"body": "<p>prose</p>"}
    live.add_sources(SimpleNamespace(srcdir=data.REPOSITORY), "notebooks/01_decode_moves_the_model", "", context, None)
    assert context == {"body": "<p>prose</p>"}


def test_a_page_that_is_a_file_says_how_to_serve_it(site: Path, opened: tuple[Any, str, list[str]]) -> None:
    page, *_ = opened
    page.goto((site / "a.html").as_uri())
    page.click(".bb-start")
    page.wait_for_function("/make serve/.test(document.querySelector('.bb-state').textContent)")


def test_the_page_is_whole_on_a_phone_and_passes_the_checks(site: Path, started: tuple[Any, str, list[str]]) -> None:
    page, base, _ = started
    page.goto(f"{base}a.html")
    page.click(".bb-start")
    page.wait_for_selector(".bb-exports button >> nth=1")
    page.set_viewport_size({"width": 375, "height": 812})
    assert page.evaluate("document.querySelector('.bb-calculator').scrollWidth <= innerWidth")
    assert check.problems(site) == []
    with zipfile.ZipFile(site / "_static" / "pyodide" / "bytebill.zip") as packed:
        assert not [name for name in packed.namelist() if "engine" in name or "/site/" in name]
