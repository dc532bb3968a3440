"""Can the ledger be read and used? Tried in a real browser, at the widths of a phone and of desks.

Wrong is: something cut or wider than its place at any width, with every row unfolded; a word that filters other rows
than it counts; a sort that is none; a search that does not find, or finds by the spelling; an address that is not kept
or not read; a row that does not unfold, or to which `#C13` does not lead.
"""

from collections.abc import Callable, Iterator
from typing import Any

SCREENS = (375, 1280, 1440, 1920)
# Elements that stick out of the ledger or hold more than they show; what only screen readers see is as small as can be.
CUT = """() => {
  const ledger = document.querySelector(".bb-ledger"), frame = ledger.getBoundingClientRect();
  const seen = [...ledger.querySelectorAll("*")].filter((each) =>
    (each.tagName === "svg" || !each.closest("svg")) && !each.matches(".visually-hidden, option") && each.clientWidth);
  return [...new Set(seen.filter((each) => {
    const box = each.getBoundingClientRect();
    const out = box.right > frame.right + 1 || box.left < frame.left - 1;
    return out || (each.tagName !== "INPUT" && each.scrollWidth > each.clientWidth + 1);
  }).map((each) => `${each.tagName.toLowerCase()}.${each.getAttribute("class") || ""}`))];
}"""
UNFOLD = "open => document.querySelectorAll('.bb-ledger details').forEach(each => { each.open = open; })"
TWO_SPELLINGS = (("utilization", "utilisation"), ("23x", "23×"))
SEEN = "li[data-word]:not([hidden])"
ROWS = ".bb-rows > li:not([hidden])"


def faults(page: Any) -> list[str]:
    """What is wrong with the ledger on a loaded page, one line each; nothing where there is none."""
    if not page.locator(".bb-ledger").count():
        return []
    return [f"ledger: {fault}" for trial in TRIALS for fault in trial(page)]


def is_cut(page: Any) -> Iterator[str]:
    """Try every width, folded out."""
    page.evaluate(UNFOLD, True)
    for width in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        yield from (f"{name} is cut or too wide at {width} px" for name in page.evaluate(CUT))
    page.evaluate(UNFOLD, False)


def filters_wrongly(page: Any) -> Iterator[str]:
    """Press every word, and press it again."""
    n_rows = page.locator(SEEN).count()
    for button in page.locator(".bb-words button:enabled").all():
        word, count = button.get_attribute("data-word"), int(button.locator("b").inner_text())
        button.click()
        words = page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.dataset.word)")
        if words != [word] * count or button.get_attribute("aria-pressed") != "true":
            yield f"the word {word} counts {count} claims and shows {len(words)}"
        button.click()
    if page.locator(SEEN).count() != n_rows:
        yield "a word pressed twice does not show all claims again"


def sorts_wrongly(page: Any) -> Iterator[str]:
    """Sort by everything that is offered, and by chapter in the end."""
    names = page.eval_on_selector_all(".bb-sort option", "all => all.map(option => option.value)")
    for name in (*names[1:], names[0]):
        page.select_option(".bb-sort", name)
        keys = page.eval_on_selector_all(ROWS, f"rows => rows.map(row => Number(row.dataset.{name}))")
        if keys != sorted(keys):
            yield f"sorted by {name} the rows are not in its order"


def searches_wrongly(page: Any) -> Iterator[str]:
    """Look for the last claim by its name, and show all again."""
    ids = page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.id)")
    page.fill(".bb-find", ids[-1])
    if ids[-1] not in page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.id)"):
        yield f"a search for {ids[-1]} does not find it"
    page.click(".bb-reset")
    if page.locator(SEEN).count() != len(ids):
        yield "after a search not all claims are shown again"


def spells_strictly(page: Any) -> Iterator[str]:
    """Two spellings find the same rows, and a comma alone finds all."""

    def finds(text: str) -> list[str]:
        page.fill(".bb-find", text)
        return list(page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.id)"))

    n_rows = len(finds(""))
    for spellings in TWO_SPELLINGS:
        found = [finds(text) for text in spellings]
        if not 0 < len(found[0]) < n_rows or found[0] != found[1]:
            yield f"{' and '.join(spellings)} find {len(found[0])} and {len(found[1])} rows"
    if len(finds(",")) != n_rows:
        yield "a comma alone does not find all rows"
    page.fill(".bb-find", "")


def forgets_its_address(page: Any) -> Iterator[str]:
    """Choose a word, leave the choice in the address, load it again, and go back to all."""
    word = page.locator(".bb-words button:enabled").first.get_attribute("data-word")
    page.click(f".bb-words button[data-word={word}]")
    if page.evaluate("location.hash") != f"#word={word}":
        yield "the address does not hold the word that was chosen"
    for come in (page.reload, lambda: page.evaluate("word => { location.hash = `word=${word}`; }", word)):
        come()
        page.wait_for_timeout(100)
        if set(page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.dataset.word)")) != {word}:
            yield f"#word={word} does not filter"
        page.evaluate("location.hash = ''")
        page.wait_for_timeout(100)
    if page.locator(".bb-reset").is_visible():
        yield "an address without a choice still filters"


def leads_nowhere(page: Any) -> Iterator[str]:
    """Follow a link to a row in the middle and to the last claim, with the keyboard's focus left alone."""
    ids = page.eval_on_selector_all(SEEN, "rows => rows.map(row => row.id)")
    for id in (ids[len(ids) // 2], ids[-1]):
        page.evaluate("id => { location.hash = id; }", id)
        page.wait_for_timeout(100)
        state = page.evaluate(
            """id => { const row = document.getElementById(id), box = row.getBoundingClientRect();
            const folded = row.querySelector("details") || row.closest("details");
            return [box.height > 0 && box.top >= 0 && box.top < innerHeight, folded ? folded.open : true]; }""",
            id,
        )
        if state != [True, True]:
            yield f"#{id} is not in sight" if not state[0] else f"#{id} does not unfold"


def stays_folded(page: Any) -> Iterator[str]:
    """Open the first row as a reader would."""
    page.evaluate(UNFOLD, False)
    summary = page.locator(".bb-rows summary").first
    if summary.count():
        summary.focus()
        summary.press("Enter")
        if not page.locator(".bb-rows details[open]").count():
            yield "a row does not unfold by the keyboard"


TRIALS: tuple[Callable[[Any], Iterator[str]], ...] = (
    is_cut,
    filters_wrongly,
    sorts_wrongly,
    searches_wrongly,
    spells_strictly,
    forgets_its_address,
    leads_nowhere,
    stays_folded,
)
