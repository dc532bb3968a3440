"""Can everybody use the pages? axe-core's rules for WCAG 2.1 A and AA, the keyboard alone, and nothing cut.

    axe       no violation in light and dark, at a desk and on a phone; best practices that concern us as well
    keyboard  Tab reaches everything that can be used, and shows where it is
    cut       nothing is hidden behind an edge, and nothing scrolls sideways but code, which at a desk does not either

Contrast follows from colours, size and ground, so of all that looks alike one element is asked, once over all pages; at
a phone's width only what depends on the width is.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# Good practice, or a rule that axe itself still calls an experiment.
MORE = ["label-content-name-mismatch", "region", "empty-table-header", "page-has-heading-one", "tabindex"]
_CONTRAST = "color-contrast"
_NO_CONTRAST = {name: {"enabled": True} for name in MORE} | {_CONTRAST: {"enabled": False}}
_ON_PHONE = [
    "scrollable-region-focusable",
    "button-name",
    "link-name",
    "label",
    "aria-hidden-focus",
    "nested-interactive",
]
# view -> what is asked of the whole page, and whether contrast is asked there
OPTIONS: Mapping[str, tuple[dict[str, Any] | None, bool]] = {
    "desk": ({"runOnly": TAGS, "rules": _NO_CONTRAST}, True),
    "phone": ({"runOnly": {"type": "rule", "values": _ON_PHONE}}, False),
    "tablet": (None, False),
    "dark": (None, True),
}
RUN = """async ([options, contrast, asked]) => {
  const known = new Set(asked);
  const ground = (each) => {
    for (; each; each = each.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(each);
      if (backgroundColor !== "rgba(0, 0, 0, 0)" || backgroundImage !== "none" || opacity !== "1")
        return backgroundColor + backgroundImage + opacity;
    }
  };
  const looks = new Map();
  const says = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (contrast) for (const each of document.body.querySelectorAll("*")) {
    if (!says(each) || !each.checkVisibility({ visibilityProperty: true })) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(each);
    const look = [color, fontSize, fontWeight, ground(each)].join();
    if (!known.has(look)) looks.set(look, each);
  }
  const ask = async (where, wanted) => {
    const found = await axe.run(where, { ...wanted, resultTypes: ["violations"], preload: false });
    return found.violations.flatMap((rule) => rule.nodes.map((node) => [rule.id, node.html]));
  };
  const faults = options ? await ask(document, options) : [];
  const only = { runOnly: { type: "rule", values: ["color-contrast"] } };
  if (looks.size) faults.push(...(await ask({ include: [...looks.values()] }, only)));
  return [faults, [...looks.keys()]];
}"""
USABLE = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])"
# What it looks like at rest is noted before, and compared while it has the focus.
WATCH = """(usable) => {
  const seen = (each) => each.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !each.disabled;
  const looks = (each) => [each, each.parentElement].map((one) => {
    const style = getComputedStyle(one);
    return [style.outlineStyle === "none" ? "" : style.outline, style.boxShadow, style.border, style.backgroundColor,
      style.textDecoration].join();
  }).join();
  const rest = new Map([...document.querySelectorAll(usable)].filter(seen).map((each) => [each, looks(each)]));
  window.bbWatched = { rest, reached: new Set(), unseen: new Set() };
  addEventListener("focusin", ({ target }) => {
    window.bbWatched.reached.add(target);
    if (rest.get(target) === looks(target)) window.bbWatched.unseen.add(target);
  });
  document.activeElement?.blur();
  return rest.size;
}"""
N_ROUNDS = 4
WATCHED = """() => {
  const short = (each) => each.outerHTML.replace(/\\s+/g, " ").slice(0, 120);
  const { rest, reached, unseen } = window.bbWatched;
  const missed = [...rest.keys()].filter((each) => !reached.has(each) && each.checkVisibility());
  return [missed.map(short), [...unseen].map(short)];
}"""
CUT_EDGES = """async (codeMay) => {
  const folded = [...document.querySelectorAll(".bd-article details:not([open])")];
  for (const each of folded) each.open = true;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame().then(frame).then(frame);  // what unfolds is fitted to its place
  const seen = [...document.querySelectorAll(".bd-article *")].filter((each) =>
    each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1 && !each.closest("svg, .visually-hidden")
    && !each.parentElement.closest(".math") && each.checkVisibility() && !each.matches("input, select"));
  const faulty = (each) => ["hidden", "clip", ...(codeMay && each.matches("pre") ? [] : ["auto", "scroll"])];
  const wrong = seen.filter((each) => faulty(each).includes(getComputedStyle(each).overflowX));
  for (const each of folded) each.open = false;
  return wrong.map((each) => `${each.tagName.toLowerCase()}.${each.className} ${each.textContent.trim().slice(0, 40)}`);
}"""


@cache
def axe() -> str:
    """The script of axe-core, from the package that brings it along."""
    from axe_playwright_python.base import AXE_SCRIPT

    return str(AXE_SCRIPT)


def barriers(page: Any, view: str, *, asked: set[str]) -> Iterator[str]:
    """What axe finds on a page as it is shown now, and what is cut there; `asked` keeps the looks that are well."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe())
    found, looks = page.evaluate(RUN, [*OPTIONS[view], sorted(asked)])
    if not any(rule == _CONTRAST for rule, _ in found):
        asked.update(looks)
    yield from (f"axe: {rule} ({view}): {html[:160]}" for rule, html in found)
    if view != "dark":
        yield from (f"is cut or scrolls sideways ({view}): {what}" for what in page.evaluate(CUT_EDGES, view != "desk"))


def unreached(page: Any) -> Iterator[str]:
    """What Tab does not reach, and where the focus does not show; a trap is what it never leaves for the rest."""
    n_left = page.evaluate(WATCH, USABLE) + 2
    missed, unseen = page.evaluate(WATCHED)
    for _ in range(N_ROUNDS):  # what scrolls is a stop too, and is not counted
        for _ in range(n_left):
            page.keyboard.press("Tab")
        missed, unseen = page.evaluate(WATCHED)
        n_left = len(missed)
    yield from (f"keyboard: Tab does not reach {html}" for html in missed)
    yield from (f"keyboard: the focus does not show on {html}" for html in unseen)
