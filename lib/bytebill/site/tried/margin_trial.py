"""Does every note in the margin have its place? Below the one before it, beside the text, under nothing.

The page's contents stand in the same column: the theme folds them while a note is beside them.
"""

from collections.abc import Iterator
from typing import Any

CROWDED = """async () => {
  const notes = [...document.querySelectorAll(".bb-note")].filter((each) => each.checkVisibility());
  const others = [...document.querySelectorAll(
    ".bd-article :is(p, figure, pre, table, h1, h2, h3, .admonition):not(.bb-note), .prev-next-footer, footer")];
  const box = (each) => each.getBoundingClientRect();
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const words = (each) => each.textContent.trim().replace(/\\s+/g, " ").slice(0, 40);
  const found = [];
  notes.forEach((note, at) => {
    const [mine, near] = [box(note), [...notes.slice(at + 1), ...others.filter((each) => each.checkVisibility())]];
    if (mine.right > document.documentElement.clientWidth) found.push(`${words(note)}: beyond the screen`);
    for (const each of near) if (meet(mine, box(each))) found.push(`${words(note)}: over ${words(each)}`);
  });
  const contents = document.querySelector(".bd-sidebar-secondary");
  const beside = (note) => !contents.classList.contains("hide") && meet(box(note), box(contents));
  for (const note of contents ? notes : []) {
    note.scrollIntoView({ block: "center" });
    for (let waited = 0; waited < 50 && beside(note); waited++)
      await new Promise((done) => setTimeout(done, 20));  // until the theme has heard of it, a second at most
    if (beside(note)) found.push(`${words(note)}: under the contents`);
  }
  scrollTo(0, 0);
  return found;
}"""


def crowded(page: Any) -> Iterator[str]:
    """Notes of a page, as wide as it is now, that lie over something or outside the screen."""
    yield from (f"margin: {what}" for what in page.evaluate(CROWDED))
