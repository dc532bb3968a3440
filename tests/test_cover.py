"""The first page: the package's numbers, a square for every claim, the navigation's names; and light pages."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup

from bytebill import chapters
from bytebill.chapters import Book
from bytebill.claims import CLAIMS, ledger, view
from bytebill.hardware import accelerator
from bytebill.memory import footprint_of
from bytebill.site import browser
from bytebill.site.cover import bill, directive
from bytebill.site.look import formulas, icons, lean, math_font
from prose_pins import COMPUTE_S, READ_S, USD_PER_HOUR

ROOT = Path(__file__).resolve().parents[1]
BOOK = Book(root=ROOT)
NEEDS_CHROMIUM = pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")


def soup(part: str) -> BeautifulSoup:
    return BeautifulSoup(directive.cover_html(part, book=BOOK), "html.parser")


def number(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


# The bill.


def test_a_receipt_adds_up_as_it_is_printed() -> None:
    """Bytes over bandwidth is the time, users over time the rate, rent over rate the price, to the digits shown."""
    for users, row in zip(bill.SLIDER_USERS, bill.receipts(), strict=True):
        if row.price == "does not fit":
            continue
        step_s = number(row.step) / 1e3
        assert number(row.read) / number(row.bandwidth) / 1e3 == pytest.approx(step_s, rel=0.01)
        assert users / step_s == pytest.approx(number(row.rate), rel=0.01)
        usd = number(row.rent) / 3600 / number(row.rate) * 1e6
        assert usd == pytest.approx(number(row.price), rel=0.01, abs=0.006)


def test_sharing_a_read_makes_tokens_cheaper_until_memory_is_full() -> None:
    rows = [row for row in bill.receipts() if row.price != "does not fit"]
    prices, used = ([number(getattr(row, key)) for row in rows] for key in ("price", "used"))
    assert prices == sorted(prices, reverse=True) and used == sorted(used)
    assert len(prices) > 5


def test_users_who_do_not_fit_are_given_no_numbers() -> None:
    rows = bill.receipts()
    fits = [row.room == "fits in memory" for row in rows]
    most = bill.deployment().users(bill.RECEIPT_CONTEXT_LEN)
    assert fits == [users <= most for users in bill.SLIDER_USERS] and True in fits and False in fits
    for row, fit in zip(rows, fits, strict=True):
        assert (row.price == "does not fit") is (row.step == row.rate == row.read == row.used == "–") is not fit
        assert fit or row.room == f"{most} fit in memory"


def test_the_receipt_is_for_a_group_that_serves_and_its_users_read_their_caches() -> None:
    """One H100 does not hold the bars' model; four under vLLM's defaults do; C10's 64 users read 1.3 times as much."""
    group = bill.deployment()
    placed = footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=1, weights="bf16")
    fewest = [placed.fewest_devices(bill.RECEIPT_CONTEXT_LEN, corner=corner) for corner in ("low", "high")]
    assert 1 < fewest[0] <= fewest[1] == group.n_devices
    assert accelerator("h100-sxm").driver_bytes < bill.ROUND_N_PARAMS * bill.ROUND_BYTES_PER_WEIGHT
    reads = {row.users: number(row.read) for row in bill.receipts() if row.read != "–"}
    assert reads["64 users"] / reads["1 user"] == pytest.approx(1.3, abs=0.05)
    assert f"{group.memory.kv_bytes / 1e9:.0f} GB" in soup("bill").get_text()


def test_one_user_pays_what_the_text_says() -> None:
    assert round(number(bill.receipts()[0].price)) == round(USD_PER_HOUR / 3600 * READ_S * 1e6)


def test_the_bars_are_those_of_the_prose_and_to_scale() -> None:
    assert [seconds for _, seconds in bill.bars()] == pytest.approx([READ_S, COMPUTE_S])
    assert bill.RENT_USD_PER_HOUR == USD_PER_HOUR
    wide, narrow = (number(bar["style"]) for bar in soup("bill").select(".bb-bars span"))
    assert wide / narrow == pytest.approx(READ_S / COMPUTE_S, rel=0.01)


def test_without_a_script_the_receipt_is_for_one_user_and_the_table_holds_every_row() -> None:
    page = soup("bill")
    first, *_ = rows = json.loads(page.find(id="bb-bill").string)
    assert len(rows) == len(bill.SLIDER_USERS) and first["users"] == "1 user"
    places = page.select("[data-bill]")
    assert {place["data-bill"] for place in places} == set(first)
    assert all(place.get_text() == first[place["data-bill"]] for place in places)
    table = [[cell.get_text() for cell in row("td")] for row in page.select(".bb-nine tbody tr")]
    assert table == [[row[key] for key in ("step", "rate", "price", "used", "room")] for row in rows]
    assert page.select_one(".bb-slider").has_attr("hidden") and page.select_one(".bb-nine").has_attr("open")


def test_the_script_computes_nothing() -> None:
    code = re.sub(r'//.*|"[^"]*"', "", (ROOT / "book/assets/cover.js").read_text(encoding="utf-8"))
    assert not re.search(r"[\w)\]] *[*/%+-] *[\w(]|toFixed|Math\.", code)


@NEEDS_CHROMIUM
def test_the_slider_shows_the_row_it_points_at(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    script = (ROOT / "book/assets/cover.js").read_text(encoding="utf-8")
    (tmp_path / "a.html").write_text(f'<meta charset="utf-8">{soup("bill")}<script>{script}</script>', encoding="utf-8")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"file://{tmp_path}/a.html")
        page.get_by_label("Users who share the read").focus()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        shown = page.eval_on_selector_all(
            "[data-bill]", "all => all.map(each => [each.dataset.bill, each.textContent])"
        )
        row = bill.receipts()[6]
        assert shown and all(text == getattr(row, key) for key, text in shown)
        assert page.get_attribute("#bb-users", "aria-valuetext") == "64 users"
        assert page.eval_on_selector(".bb-nine", "each => each.open") is False
        # A browser that comes back sets the handle, and only then shows the page.
        page.evaluate("document.getElementById('bb-users').value = 3; dispatchEvent(new Event('pageshow'))")
        assert page.get_attribute("#bb-users", "aria-valuetext") == "8 users"
        chromium.close()


# The claims.


def test_every_claim_has_a_square_with_its_word_that_leads_to_its_row() -> None:
    entries, squares = ledger.read(book=BOOK), soup("claims").select(".bb-squares a")
    assert len(squares) == len(CLAIMS)
    for entry, square in zip(entries, squares, strict=True):
        assert square["href"].endswith(f"ledger.html#{entry.claim.id}")
        assert square["class"] == [f"bb-word-{view.slug(entry.word)}"]
        said = square.select_one(".visually-hidden").get_text()
        assert said == square["title"] and said.startswith(f"{entry.claim.id}, {entry.word}: ")
        assert square.select_one("[aria-hidden]").get_text() == view.sign(entry.word)


def test_the_legend_counts_the_squares_and_names_every_word() -> None:
    page = soup("claims")
    counted = {
        line.select_one(".bb-legend-word").get_text(): int(line.b.get_text()) for line in page.select(".bb-legend li")
    }
    assert set(view.SIGNS) <= set(counted) and sum(counted.values()) == len(CLAIMS)
    drawn = Counter(square["title"].partition(", ")[2].partition(": ")[0] for square in page.select(".bb-squares a"))
    assert {word: n for word, n in counted.items() if n} == drawn


def test_the_style_sheet_has_a_colour_for_every_word() -> None:
    style = (ROOT / "book/assets/cover.css").read_text(encoding="utf-8")
    plain = {"cannot be tested"}  # the colour of what has no other
    assert [word for word in view.SIGNS if f"bb-word-{view.slug(word)} {{" not in style] == [*plain]


# Chapters and doors.


def test_the_cover_lists_the_chapters_under_the_name_of_the_navigation_with_their_claims() -> None:
    rows = soup("chapters").select("li > a")
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    listed = {Path(row["href"]).stem: row for row in rows}
    assert list(listed) == [Path(file).name for file in files if re.match(r"notebooks/\d", file)]
    for page, row in listed.items():
        text = "".join(chapters.stored(ROOT / "notebooks" / f"{page}.ipynb")["cells"][0]["source"])
        assert f"\n# {row.span.get_text()}\n".replace("’", "'") in f"\n{text}\n"
        assert len(row.span.get_text().split()) <= 6
        ids = [claim.id for claim in CLAIMS.values() if int(claim.chapter) == int(row.b.get_text())]
        assert re.findall(r"C\d\d", row.select_one(".bb-marks")["title"]) == ids
        assert len(row.select(".bb-marks i")) == len(ids)


def test_other_pages_have_one_name_on_the_cover_and_in_the_navigation() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    titles = {page["file"]: page["title"] for part in toc["parts"] for page in part["chapters"] if "title" in page}
    source = (ROOT / "book/index.md").read_text(encoding="utf-8")
    linked = re.findall(r"\[([^\]]+)\]\(\.\./(notebooks/\w+)\.ipynb\)", source)
    assert {file: name.lower() for name, file in linked} == {file: titles[file].lower() for _, file in linked}


def test_the_heading_of_a_door_is_its_link_and_every_link_has_its_page() -> None:
    doors = soup("doors").select(".bb-door")
    assert all(door.h3.a.get_text() == door.h3.get_text() for door in doors) and len(doors) == 3
    links = [link["href"].partition("#") for door in doors for link in door.select("a")]
    for address, _, place in links:
        page = (ROOT / "book" / address).resolve()
        source = next(path for ext in (".md", ".ipynb") if (path := page.with_suffix(ext)).is_file())
        assert "=" in place or not place or f"({place})=" in source.read_text(encoding="utf-8")
    n_wrong = sum(entry.word == "wrong" for entry in ledger.read(book=BOOK))
    (wrong,) = (link for door in doors for link in door.select("a") if link["href"].endswith("#word=wrong"))
    assert f" {n_wrong} " in wrong.get_text() and view.slug("wrong") == "wrong"


# Formulas.


def parsed(tex: str) -> ElementTree.Element:
    return ElementTree.fromstring(formulas.mathml(tex))


def test_words_keep_the_operators_beside_them_apart() -> None:
    """`mtext` counts as a space: a plus between two of them would be set without room."""
    root = parsed(r"\text{weights} + \text{cache read}")
    assert not root.findall(".//mtext")
    assert [each.text for each in root.iter("mi")] == ["weights", "cache\N{NO-BREAK SPACE}read"]
    assert {each.get("mathvariant") for each in root.iter("mi")} == {"normal"}


def test_lines_are_aligned_and_functions_stand_apart() -> None:
    rows = parsed(r"\begin{aligned} t = {} & a \\ & + b \end{aligned}").findall(".//mtr")
    assert [len(row) for row in rows] == [2, 2]
    assert [each.tag for each in parsed(r"t \ln f").find("mrow")] == ["mi", "mspace", "mi", "mspace", "mi"]
    (comma,) = parsed("86{,}400").iter("mo")
    assert (comma.get("lspace"), comma.get("rspace")) == ("0", "0")


def test_brackets_have_no_room_inside_and_a_bar_is_as_wide_as_its_letter() -> None:
    opening, dots, closing = (each for each in parsed(r"\{b, \dots, c\}").iter("mo") if each.text != ",")
    assert (opening.get("form"), closing.get("form")) == ("prefix", "postfix")
    assert {each.get(side) for each in (opening, dots, closing) for side in ("lspace", "rspace")} == {"0"}
    (bar,) = parsed(r"\bar S").iter("mover")
    assert (bar.get("accent"), bar[-1].get("stretchy")) == ("true", "false")
    both = [each for each in parsed(r"\Big(\frac{a}{b}\Big)^2").iter("mo")]
    assert {each.get("stretchy") for each in both} == {"true"} and not any(each.get("minsize") for each in both)


def test_several_formulas_in_one_line_are_several() -> None:
    assert formulas.formulas_in(r"a = 1, \qquad b = 2") == ["a = 1,", "b = 2"]
    for whole in (r"\begin{aligned} a \quad b \end{aligned}", r"\text{x \quad y}", r"a \quadrupled"):
        assert formulas.formulas_in(whole) == [whole]


def test_a_mark_stays_with_its_formula() -> None:
    formula = '<span class="math notranslate"><math><mi>x</mi></math></span>'
    assert formulas.keep_marks(f"a {formula}, b") == f'a <span class="bb-whole">{formula},</span> b'
    assert formulas.keep_marks(f"a {formula} b") == f"a {formula} b"
    two = f"{formula} and <em>much</em> prose before {formula}, so"
    assert (
        formulas.keep_marks(two)
        == f'{formula} and <em>much</em> prose before <span class="bb-whole">{formula},</span> so'
    )


@pytest.mark.parametrize("tex", [r"\unheard x", "a & b"])
def test_what_cannot_be_written_is_refused(tex: str) -> None:
    with pytest.raises(ValueError, match="no MathML for"):
        formulas.mathml(tex)


def test_every_formula_of_the_book_can_be_written() -> None:
    cells = [
        "".join(cell["source"])
        for path in chapters.in_order(BOOK)
        for cell in chapters.stored(path)["cells"]
        if cell["cell_type"] == "markdown"
    ]
    text = "\n".join([*cells, *(path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md"))])
    found = re.findall(r"(?<![\\`])\$\$(.+?)\$\$|(?<![\\`$])\$([^$\n`]+?)(?<!\\)\$(?!\$)", text, flags=re.DOTALL)
    assert len(found) > 250
    for block, inline in found:
        assert formulas.mathml(block or inline, block=bool(block)).startswith("<math ")


def test_the_font_has_the_letters_of_the_formulas_and_what_grows(tmp_path: Path) -> None:
    from fontTools.ttLib import TTFont

    page = "<body>" + formulas.mathml(r"h \ge \sqrt{\kappa}")
    (tmp_path / "_static").mkdir()
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    math_font.write_font(SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html")), None)
    font = TTFont(tmp_path / "_static" / math_font.NAME)
    assert {chr(code) for code in font.getBestCmap()} >= {"ℎ", "≥", "√", "𝜅"}
    assert "MATH" in font and "STIX" in font["name"].getDebugName(0)
    assert math_font.NAME in (ROOT / "book/assets" / math_font.STYLE).read_text(encoding="utf-8")


# What a page loads.

LOADS = (
    '<script defer src="_static/scripts/fontawesome.js?d=1"></script>\n<script src="searchindex.js"></script>\n'
    '<link rel="stylesheet" href="_static/copybutton.css" />\n<link rel="stylesheet" href="_static/bytebill.css" />\n'
    '<link rel="stylesheet" href="_static/togglebutton.css" />\n</head><body>'
)
FOLDED = '<div class="note dropdown admonition"></div>'


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('<p class="dropdown-toggle">text</p>', {"bytebill.css"}),
        ('<div class="highlight"></div>', {"bytebill.css", "copybutton.css"}),
        (FOLDED, {"bytebill.css", "togglebutton.css"}),
        ('<div id="search-results"></div>', {"bytebill.css", "searchindex.js"}),
    ],
)
def test_a_page_loads_what_it_uses(body: str, kept: set[str]) -> None:
    assert {Path(name).name for name in re.findall(r'(?:src|href)="([^"]+)"', lean.trimmed(LOADS + body))} == kept


def test_icons_that_a_page_names_stay() -> None:
    style = '.fa-sun:before{content:"\\f185"}.fa-moon:before,.fa-night:before{content:"\\f186"}p{color:red}'
    assert icons.slim(style, named={"fa-night"}) == '.fa-moon:before,.fa-night:before{content:"\\f186"}p{color:red}'
    assert icons.icon_letters(style + 'b{--x:"\uf0eb"}') == "\uf0eb\uf185\uf186"


@NEEDS_CHROMIUM
@pytest.mark.parametrize(
    ("name", "size", "faults"), [("index.html", 0.9, 0), ("index.html", 1.1, 1), ("b.html", 1.1, 0), ("b.html", 1.6, 1)]
)
def test_a_heavy_page_is_refused(tmp_path: Path, name: str, size: float, faults: int) -> None:
    (tmp_path / "x.js").write_text("//" + "x" * int(size * 1e6))
    (tmp_path / name).write_text('<link rel="icon" href="data:,"><script src="x.js"></script>')
    found = browser.look(tmp_path, [name], program=browser.executable())
    heavy = [fault for fault in found if "weighs" in fault]
    assert len(heavy) == faults and all(f"weighs {size:.2f} MB, more than" in fault for fault in heavy)


@NEEDS_CHROMIUM
def test_a_formula_that_is_not_drawn_is_seen(tmp_path: Path) -> None:
    good, bad = f'<div class="math">{formulas.mathml("x")}</div>', '<span class="math">x</span>'
    (tmp_path / "a.html").write_text(f'<link rel="icon" href="data:,">{good}{bad}')
    found = browser.look(tmp_path, ["a.html"], program=browser.executable())
    assert [fault for fault in found if "formulas" in fault] == ["a.html: 1 formulas are not drawn"]
