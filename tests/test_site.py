"""The site's own checks find what they are there for: each fault is planted in a small page, and must be named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document

from bytebill import claims
from bytebill.claims import ledger, ledger_page, view
from bytebill.claims.register import COUNTED_KINDS
from bytebill.errors import BytebillError
from bytebill.site import browser, build, check
from bytebill.site.extension import share_anchors, tidy_scripts
from bytebill.site.look import dark, folds, formulas, verdict_nodes
from sample_verdicts import SAMPLES

opening = sys.modules["bytebill.claims.opening"]  # the package's face has the function of that name
ROOT = Path(__file__).resolve().parents[1]
PAGE = '<html lang="en"><head><title>T</title>{head}</head><body><article><h1>T</h1>{body}</article></body></html>'


def built(folder: Path, body: str = "", head: str = "") -> list[str]:
    """The faults of a site of one page, beside a picture and a page to link to."""
    (folder / "a.html").write_text(PAGE.format(head=head, body=body))
    (folder / "b.html").write_text(PAGE.format(head="", body='<p id="there">B</p>'))
    (folder / "p.svg").write_text("<svg/>")
    return check.problems(folder)


GOOD = {
    "link": '<a href="b.html#there">B</a> <a href="https://example.org/x">away</a> <a href="mailto:a@b.c">m</a>',
    "choice": '<a href="b.html#word=wrong">what is wrong in B</a>',
    "picture": '<img src="p.svg" alt="A line that rises">',
    "code": "<pre>{ref}`x` | --- | [a](b) Traceback</pre> <code>:::{note}</code>",
    "formula": r'<span class="math notranslate">\([a](b)\)</span>',
    "letters": "<math><mn>4</mn><mi>L</mi><mi>N</mi><mi>H</mi><mi>S</mi><mo>+</mo><mi>b</mi></math> $2.23",
    "prose": "<p>Prices in {braces}, sums like [1](two words), 3 | 4.</p>",
}
PLANTED = {
    "a numbered heading": (
        '<h2><span class="section-number">17. </span>Found</h2>',
        "the heading '17.Found' has a number",
    ),
    "missing page": ('<a href="c.html">C</a>', "c.html: is missing"),
    "missing anchor": ('<a href="b.html#gone">B</a>', "b.html#gone: has no such anchor"),
    "missing anchor here": ('<a href="#gone">up</a>', "#gone: has no such anchor"),
    "missing picture": ('<img src="q.svg" alt="A line">', "q.svg: is missing"),
    "script from elsewhere": ('<script src="https://cdn.example.org/x.js"></script>', "loaded from elsewhere"),
    "host without scheme": ('<img src="//cdn.example.org/x.png" alt="A line">', "loaded from elsewhere"),
    "set of pictures": ('<img src="p.svg" srcset="https://e.org/p.png 2x" alt="A line">', "loaded from elsewhere"),
    "style from elsewhere": ("<style>@import 'https://e.org/x.css';</style>", "a style sheet loads https://e.org"),
    "font from elsewhere": ("<style>src: url(//e.org/f.woff)</style>", "a style sheet loads //e.org/f.woff"),
    "silent ornament in the prose": ('<img src="p.svg" alt="">', "image without a description"),
    "silent picture": ('<img src="p.svg">', "image without a description"),
    "file name for words": ('<img src="p.svg" alt="p.svg">', "image without a description"),
    "second heading": ("<h1>Again</h1>", "2 main headings"),
    "anchor twice": ('<p id="x"></p><p id="x"></p>', "#x is there 2 times"),
    "raw role": ("<p>see {ref}`x`</p>", "a role shows as raw text"),
    "raw role with its code drawn": ("<p>see {ref}<code>x</code></p>", "a role shows as raw text"),
    "raw directive": ("<p>:::{note}</p>", "a directive shows as raw text"),
    "raw table": ("<p>| a | b |\n|---|---|</p>", "a table shows as raw text"),
    "raw link": ("<p>[the ledger](ledger.ipynb)</p>", "a link shows as raw text"),
    "raw target": ("<p>(ch-one)=\n</p>", "a target shows as raw text"),
    "raw dollar": (r"<p>and \$2.23 where</p>", "a dollar shows as raw text: \\$2.23 where"),
    "a sentence as a formula": (
        "<math><mn>5</mn><mi>o</mi><mi>f</mi><mi>r</mi><mi>e</mi><mi>n</mi></math>",
        "prose is set as a formula: 5ofren",
    ),
    "traceback": ("<pre>Traceback (most recent call last):</pre>", "a Python traceback shows"),
    "coloured traceback": ('<div class="output traceback">x</div>', "a Python traceback shows"),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_good_pages_pass(tmp_path, body):
    assert built(tmp_path, body) == []


@pytest.mark.parametrize(("body", "fault"), PLANTED.values(), ids=PLANTED)
def test_planted_faults_are_found(tmp_path, body, fault):
    (found,) = built(tmp_path, body)
    assert found.startswith("a.html: ") and fault in found


@pytest.mark.parametrize(("number", "faults"), [("10.2", 0), ("8.2", 1)])
def test_figures_carry_the_number_of_their_chapters_file(tmp_path, number, faults):
    caption = f'<p><span class="caption-number">Fig. {number} </span>A day</p>'
    frame = '<html lang="en"><head><title>t</title></head><body><article><h1>A</h1>{}</article></body></html>'
    (tmp_path / "10_a_day.html").write_text(frame.format(caption), encoding="utf-8")
    found = check.problems(tmp_path)
    assert [fault for fault in found if "stands in chapter 10" in fault] == found and len(found) == faults


def test_style_sheets_are_read(tmp_path):
    (tmp_path / "x.css").write_text("@import url(https://e.org/y.css);")
    (found,) = built(tmp_path, head='<link rel="stylesheet" href="x.css?digest=1">')
    assert "a style sheet loads https://e.org/y.css" in found


def test_a_page_names_itself(tmp_path):
    (tmp_path / "a.html").write_text("<html><body><h1>T</h1></body></html>")
    assert check.problems(tmp_path) == ["a.html: no title", "a.html: no language"]


def test_no_pages_is_a_fault(tmp_path, capsys):
    assert check.main([str(tmp_path)]) == 1
    assert "no page was built" in capsys.readouterr().out


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, capsys):
    failed = SimpleNamespace(returncode=2, stdout="", stderr="OSError: [Errno 28] No space left on device")
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(BytebillError, match=r"was not rendered into .*: no space left"):
        build.render(tmp_path, root=tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stopped", [True, False])
def test_pages_appear_when_they_are_all_there_and_not_before(tmp_path, monkeypatch, stopped):
    old, growing = tmp_path / "_build" / "html", tmp_path / "_build" / "rendering" / "_build" / "html"
    old.mkdir(parents=True)
    (old / "gone.html").write_text("of a chapter that is no more")

    def builds(*_, **__):
        growing.mkdir(parents=True)
        (growing / "index.html").write_text("new")
        if stopped:
            raise KeyboardInterrupt
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(build.subprocess, "run", builds)
    monkeypatch.setattr(build.slides, "write_decks", lambda html: [])
    monkeypatch.setattr(build.check, "problems", lambda html: [])
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            build.render(tmp_path, root=tmp_path)
        assert not old.exists()
    else:
        assert build.render(tmp_path, root=tmp_path).read_text() == "new"
        assert [path.name for path in old.iterdir()] == ["index.html"] and not growing.exists()


def test_no_browser_is_said_and_no_failure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["browser", str(tmp_path)])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert browser.main() == 0
    assert capsys.readouterr().out.startswith("Not checked")


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_the_browser_sees_what_a_file_does_not_show(tmp_path):
    wide = '<meta name="viewport" content="width=device-width"><div style="width: 800px">w</div>'
    script = "<script>fetch('http://outside.invalid/x').catch(() => {}); console.error('oops'); gone()</script>"
    built(tmp_path, body=wide + script)
    found = browser.look(tmp_path, ["a.html", "b.html"], program=browser.executable())
    assert all(fault.startswith("a.html") for fault in found if "axe:" not in fault)  # bare pages lack landmarks
    for part in ("asks another host: http://outside.invalid/x", "oops", "gone is not defined", "wider than"):
        assert any(part in fault for fault in found), part


FRAME = "* { box-sizing: border-box } .visually-hidden { position: absolute; width: 1px; overflow: hidden }"  # theme's


def ledger_html(css: str = "", js: str | None = None) -> str:
    """A page of the ledger as the book has it, without the book's frame."""
    entries = [
        ledger.Entry(claim=claim, page="b" if id in SAMPLES else None, content=SAMPLES.get(id))
        for id, claim in claims.CLAIMS.items()
    ]
    style, script = ((ROOT / "book" / "assets" / f"bytebill.{kind}").read_text() for kind in ("css", "js"))
    looks = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{FRAME}{style}{css}</style>'
    )
    words = (ROOT / "book" / "assets" / "words.js").read_text()
    return f"{looks}{ledger_page.listing(entries).html}<script>{words}{script if js is None else js}</script>"


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_the_ledger_is_whole_at_every_width_and_can_be_used(tmp_path):
    built(tmp_path, body=ledger_html())
    found = browser.look(tmp_path, ["a.html"], program=browser.executable())
    assert [fault for fault in found if "axe:" not in fault] == []  # a bare page lacks landmarks


BROKEN = {
    "cut": ({"css": ".bb-say { width: 5000px }"}, "is cut or too wide at 375 px"),
    "hidden": ({"css": ".bb-claim { overflow: hidden; white-space: nowrap }"}, "p.bb-claim is cut"),
    "unsorted": ({"js": ("append(...", "contains(...")}, "sorted by worst the rows are not in its order"),
    "unfiltered": ({"js": ("(word && ", "(false && ")}, "the word wrong counts 1 claims and shows 56"),
    "without a target": ({"js": ("row.scrollIntoView()", "scrollTo(0, 0)"), "css": "li { height: 999px }"}, "in sight"),
}


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("broken", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_ledger_is_seen(tmp_path, broken, fault):
    script = (ROOT / "book" / "assets" / "bytebill.js").read_text()
    old, new = broken.get("js", ("", ""))
    assert old in script
    built(tmp_path, body=ledger_html(css=broken.get("css", ""), js=script.replace(old, new, 1)))
    found = browser.look(tmp_path, ["a.html"], program=browser.executable())
    assert any(fault in each for each in found), found


def drawn(content: object, *, document: nodes.document | None = None, inline: bool = False):
    """What myst-nb would be handed."""
    document = document or new_document("page", get_default_settings())
    renderer = SimpleNamespace(renderer=SimpleNamespace(document=document))
    data = SimpleNamespace(mime_type=claims.MIME, content=content)
    return verdict_nodes.ClaimRenderer.handle_mime(renderer, data, inline)


@pytest.mark.parametrize("content", SAMPLES.values(), ids=SAMPLES)
def test_a_verdict_is_drawn_with_word_sign_and_anchor(content):
    (box,) = drawn(content)
    assert box["classes"] == ["bb-verdict", f"bb-verdict-{view.slug(content['word'])}"]
    name = view.anchor(content["id"])
    assert box["ids"] == [name] and box["names"] == [name]
    text = box.astext()
    for part in (content["id"], f"{view.SIGNS[content['word']]} {content['word']}", content["say"], "would turn at"):
        assert part in text
    counted = [part for part in content["parts"] if part["kind"] in COUNTED_KINDS]
    table, *beside = box.findall(nodes.table)
    assert [len(row) for row in table.findall(nodes.row)] == [len(view.COLUMNS)] * (1 + len(counted))
    assert len(beside) == (len(counted) < len(content["parts"]))
    assert "<svg" in next(iter(box.findall(nodes.raw))).astext()


def test_box_and_nodes_say_the_same():
    content = SAMPLES["C02"]
    words = BeautifulSoup(view.box(content), "html.parser").get_text(" ").split()
    said = nodes.container("", *(node for node in drawn(content)[0] if not isinstance(node, nodes.raw)))
    missing = [word for word in said.astext().split() if word not in words and word != "±"]
    assert missing == [] and "±" in said.astext()


def test_stored_text_is_read_and_other_types_are_left_alone():
    content = json.dumps(SAMPLES["C01"])
    (box,) = drawn(content)
    assert "safe to repeat" in box.astext()
    assert drawn(content, inline=True) is None
    other = SimpleNamespace(mime_type="text/html", content="")
    assert verdict_nodes.ClaimRenderer.handle_mime(None, other, False) is None


def test_json_of_the_old_scale_shows_no_verdict():
    old = {"id": "C01", "verdict": "loose", "evidence": [{"text": "x", "found": 1}], "device": None}
    (box,) = drawn(old)
    assert box["classes"] == ["bb-verdict", "bb-verdict-no-verdict"] and "no verdict" in box.astext()
    assert "no verdict" in view.box(old) and "no verdict" in view.as_text(old)


def test_a_box_cannot_inject_anything():
    bad = '"><script>'
    content = {key: bad for key in ("id", "word", "say", "terms", "statement", "edge", "reason", "device")}
    content |= {"parts": [{"kind": "figure", "text": bad, "how": bad, "unit": bad, "found": 1.0, "stated": 1.0}]}
    content |= {"reach": {"panel": bad, "text": bad, "boundary": bad, "cases": {bad: True}}}
    entry = ledger.Entry(claim=claims.CLAIMS["C01"], page=bad, content=content | {"word": "wrong"})
    for shown in (view.box(content), opening.head_of(content), ledger_page.listing([entry]).html):
        assert "<script>" not in shown


def test_a_claim_shown_twice_has_one_anchor_that_other_pages_can_name():
    document = new_document("page", get_default_settings())
    content = SAMPLES["C01"]
    first, second = (drawn(content, document=document)[0] for _ in range(2))
    assert first["ids"] == ["claim-c01"] and second["ids"] == []
    metadata: dict = {"page": {}}
    share_anchors(SimpleNamespace(env=SimpleNamespace(metadata=metadata, docname="page")), document)
    assert metadata["page"]["myst_slugs"] == {"claim-c01": (0, "claim-c01", "C01")}


def test_scripts_are_kept_once_and_thebe_not_at_all():
    def script(name: str | None, body: str = "") -> SimpleNamespace:
        return SimpleNamespace(filename=name, attributes={"body": body})

    kept = [script("a.js"), script(None, "let x = 1")]
    doubled = [script("", "let x = 1"), script("sphinx-thebe.js"), script(None, "const THEBE_JS_URL = 1")]
    context = {"script_files": kept + doubled}
    tidy_scripts(None, "page", "page.html", context, None)
    assert context["script_files"] == kept


def test_a_drawing_has_a_twin_for_the_dark_and_nothing_else_has():
    drawing = '<img alt="A line" class="wide" src="../_images/ab.svg" />'
    logo, photo = '<img src="_static/logo.svg" alt="">', '<img src="../_images/ab.png" alt="A desk">'
    assert dark.paired(logo + photo) == logo + photo
    assert dark.paired(drawing) == (
        '<img alt="A line" class="bb-by-day wide" src="../_images/ab.svg" />'
        '<img alt="A line" class="bb-by-night wide" src="../_images/ab-dark.svg" />'
    )


def test_the_twins_colours_are_the_style_sheets():
    style = (ROOT / "book" / "assets" / "bytebill.css").read_text()
    for name in ("BYTES", "FLOPS", "KV", "WEIGHTS", "IDLE", "MONEY"):
        colour = getattr(dark.plotting, name)
        for shade in (colour.lower(), dark.TWINS[colour]):
            assert f"--bb-{name.lower()}: {shade};" in style


def test_every_page_is_in_the_table_of_contents_and_every_entry_is_a_page():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    named = {toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])}
    pages = [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    assert named == {str(page.relative_to(ROOT).with_suffix("")) for page in pages}


def test_the_configuration_names_files_that_are_there():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    sphinx = config["sphinx"]["config"]
    (assets,) = (ROOT / folder for folder in sphinx["html_static_path"])
    assert config["execute"]["execute_notebooks"] == "off"
    ours = [*sphinx["html_css_files"], *(name for name, _ in sphinx["html_js_files"])]
    files = [assets / name for name in ours] + [ROOT / name for name in config["bibtex_bibfiles"]]
    files += [ROOT / config["logo"], ROOT / config["html"]["favicon"]]
    assert [str(file) for file in files if not file.is_file()] == []
    assert sphinx["html_math_renderer"] == formulas.RENDERER


def test_a_fold_says_what_its_code_makes():
    def cell(output: str) -> str:
        return f'<div class="cell x"><p>{folds.SHOW}</p><p>{folds.HIDE}</p>{output}</div>'

    output = '<div class="cell_output x">{}</div>'
    body = cell("") + cell(output.format("<figure><table>")) + cell(output.format("<table>")) + "<figure></figure>"
    names = re.findall("<p>(.*?)</p>", folds.named_folds(body))
    assert names[::2] == [folds.SET_UP, "Code of this figure", "Code of this table"]
    assert set(names[1::2]) == {"Hide the code"} and folds.SHOW not in folds.named_folds(body)


def test_two_folds_with_nothing_between_them_are_one():
    def cell(code: str, after: str = "") -> str:
        code = f'<div class="cell_input docutils container"><pre>{code}</pre></div>'
        fold = f'<details class="hide above-input"><summary><p>{folds.SHOW}</p></summary>{code}</details>'
        return f'<div class="cell tag_hide-input docutils container">{fold}{after}</div>\n'

    table = '<div class="cell_output x"><table></table></div>'
    page = BeautifulSoup(folds.named_folds(cell("a = 1") + cell("b = 2") + cell("a + b", table)), "html.parser")
    (fold,) = page.find_all("details")
    assert [each.get_text() for each in fold.find_all("pre")] == ["a = 1", "b = 2", "a + b"]
    assert fold.summary.get_text() == "Code of this table" and page.table is not None
    for kept in (cell("a", table) + cell("b", table), cell("a") + "<p>prose</p>" + cell("b", table), cell("a")):
        assert folds.named_folds(kept).count("<details") == kept.count("<details")


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")
def test_a_drawing_has_a_phones_width_and_the_words_of_the_ledger_are_read_on_paper(tmp_path):
    from playwright.sync_api import sync_playwright

    theme = "<style>.bd-article { padding: 0 16px } figure { padding: 8px } body { margin: 0 }</style>"
    picture = '<figure class="bb-picture"><img class="bb-by-day" alt="" src="p.svg"></figure>'
    page_of = '<div class="bd-content"><div class="bd-article">{}</div></div>'.format
    built(tmp_path, head=theme, body=page_of(picture + ledger_html()))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=browser.flags())
        page = chromium.new_page(viewport={"width": 375, "height": 812})
        page.goto((tmp_path / "a.html").as_uri())
        assert page.evaluate("document.querySelector('.bb-picture img').getBoundingClientRect().width") == 343
        page.emulate_media(media="print")
        grounds = page.evaluate(
            "[...document.querySelectorAll('.bb-words button')].map((each) => getComputedStyle(each).backgroundColor)"
        )
        chromium.close()
    assert len(grounds) >= 7 and set(grounds) == {"rgba(0, 0, 0, 0)"}
