"""Does the calculator start and answer in the book's own pages? Tried in a real browser, at a desk and on a phone.

Wrong is: Python that does not start, an answer that does not come or is a refusal of the case that the form begins
with, and anything wider than a phone. A page that was built without Pyodide has to say so.
"""

from collections.abc import Iterator
from typing import Any

_PATIENCE_MS = 120_000  # of a machine that is busy; the page itself gives up earlier, and says so
_ANSWERED = ".bb-calculator[data-answered], .bb-start:enabled"


def calculator_faults(page: Any) -> list[str]:
    """What is wrong with the calculator on a loaded page, one line each; nothing where there is none."""
    box = page.locator(".bb-calculator")
    if not box.count():
        return []
    if box.get_attribute("data-runtime") != "yes":
        told = "make pyodide" in page.inner_text(".bb-state")
        return [] if told else ["calculator: it was built without Python and does not say so"]
    return [f"calculator: {fault}" for fault in _tried(page)]


def _tried(page: Any) -> Iterator[str]:
    """Start it, read its answer, and look at it on a phone."""
    page.click(".bb-start")
    page.wait_for_function("document.querySelector('.bb-start').disabled")
    page.wait_for_selector(_ANSWERED, timeout=_PATIENCE_MS, state="attached")
    if page.locator(".bb-start").is_enabled():
        yield f"it did not start: {page.inner_text('.bb-state')}"
        return
    if page.inner_text(".bb-refused").strip() or "a month" not in page.inner_text(".bb-headline"):
        yield f"the first case is not answered: {page.inner_text('.bb-refused')}"
    page.set_viewport_size({"width": 375, "height": 812})
    if (wide := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
        yield f"its answer is {wide} px wider than a phone"
