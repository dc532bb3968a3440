"""What keeps people out is found: each barrier is planted in a small page, and must be named."""

from __future__ import annotations

import pytest

from bytebill.site import browser
from bytebill.site.look import mend
from bytebill.site.tried import access

pytestmark = pytest.mark.skipif(browser.executable() is None, reason="no Chromium on this machine")

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>T</title>
<meta name="viewport" content="width=device-width"><style>body {{ color: #111; background: #fff }}
:focus-visible {{ outline: 3px solid #0072b2 }} {css}</style></head>
<body><main><article class="bd-article"><h1>T</h1>{body}</article></main></body></html>"""
WIDE = '<div style="overflow-x: {}" {}><p style="width: 1800px">wide</p></div>'
# name -> style, body, what must be found; nothing where the page is good
PLANTED = {
    "good": ("", '<p>Text, <a href="#x">a link</a> and <button>a button</button>.</p>', ""),
    "faint": ("p { color: #bbb }", "<p>Nobody can read this.</p>", "axe: color-contrast (desk)"),
    "faint in the dark": (
        "@media (prefers-color-scheme: dark) { body { background: #111; color: #333 } }",
        "<p>Nobody can read this at night.</p>",
        "axe: color-contrast (dark)",
    ),
    "without a name": ("", "<button></button>", "axe: button-name"),
    "another name": ("", '<button aria-label="Seek">Search</button>', "axe: label-content-name-mismatch"),
    "a heading of nothing": (
        "",
        "<table><thead><tr><th>a</th><th></th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>",
        "axe: empty-table-header",
    ),
    "outside of all regions": ("", "</article></main><p>Lost</p><main><article>", "axe: region"),
    "cut": ("", WIDE.format("hidden", ""), "is cut or scrolls sideways (desk)"),
    "scrolls at a desk": ("", WIDE.format("auto", 'tabindex="0"'), "is cut or scrolls sideways (desk)"),
    "a trap": (
        "",
        """<input id="a" aria-label="a" onkeydown="if (event.key === 'Tab') event.preventDefault()">
        <a href="#b">after</a>""",
        "keyboard: Tab does not reach <a",
    ),
    "focus unseen": (
        "a:focus-visible { outline: 0 }",
        '<p>Text and <a href="#x">a link</a>.</p>',
        "keyboard: the focus does not show on <a",
    ),
}


@pytest.mark.parametrize(("css", "body", "fault"), PLANTED.values(), ids=PLANTED)
def test_a_barrier_is_named(tmp_path, css, body, fault):
    (tmp_path / "a.html").write_text(PAGE.format(css=css, body=body), encoding="utf-8")
    found = browser.look(tmp_path, ["a.html"], program=browser.executable())
    assert any(fault in each for each in found) if fault else found == [], found


def test_a_look_that_is_faint_is_asked_on_every_page(tmp_path):
    for name in ("a.html", "b.html"):
        (tmp_path / name).write_text(PAGE.format(css="p { color: #bbb }", body="<p>Faint</p>"), encoding="utf-8")
    found = browser.look(tmp_path, ["a.html", "b.html"], program=browser.executable())
    assert {each.split(":")[0] for each in found if "color-contrast (desk)" in each} == {"a.html", "b.html"}


def test_shares_of_two_browsers_are_all_pages(tmp_path):
    for name in ("a.html", "b.html", "c.html"):
        (tmp_path / name).write_text(PAGE.format(css="", body="<button></button>"), encoding="utf-8")
    found = browser.look_at_once(tmp_path, ["a.html", "b.html", "c.html"], program=browser.executable())
    assert {each.split(":")[0] for each in found if "button-name (desk)" in each} == {"a.html", "b.html", "c.html"}


def test_a_page_opened_as_a_file_must_find_what_it_loads(tmp_path):
    body = '<script type="module" src="gone.js"></script>'
    (tmp_path / "a.html").write_text(PAGE.format(css="", body=body), encoding="utf-8")
    (tmp_path / "b.html").write_text(PAGE.format(css="", body="<p>Well</p>"), encoding="utf-8")
    found = browser.open_as_files(tmp_path, ["a.html", "b.html"], program=browser.executable())
    assert found and all(each.startswith("a.html as a file: ") for each in found)


def test_what_is_mended_is_no_barrier_any_more(tmp_path):
    head = '<table><thead><tr><th class="head"><p>a</p></th><th class="head"><p></p></th></tr></thead></table>'
    fold = '<details><summary aria-label="Toggle hidden content"><p>Show</p></summary>x</details>'
    for name, treat in (("a.html", str), ("b.html", mend.mended)):
        (tmp_path / name).write_text(treat(PAGE.format(css="", body=head + fold)), encoding="utf-8")
    found = browser.look(tmp_path, ["a.html", "b.html"], program=browser.executable())
    rules = {"empty-table-header", "label-content-name-mismatch"}
    assert {rule for rule in rules for each in found if each.startswith("a.html") and rule in each} == rules
    assert not [each for each in found if each.startswith("b.html")]


def test_every_view_is_asked_something():
    assert set(access.OPTIONS) == set(browser.VIEWS)
