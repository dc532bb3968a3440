"""In which font are formulas set? In STIX Two Math, cut down to the letters that the book's formulas have.

A formula needs a font with a table of brackets that grow and of places for indices; few machines have one. The package
ziamath carries the whole font, 1.5 MB under the SIL Open Font License; 50 kB are left, and keep its copyright.
"""

import re
from collections.abc import Iterable
from html import unescape
from importlib.resources import files
from pathlib import Path

from sphinx.application import Sphinx

NAME = "formulas.woff"
STYLE = "formulas.css"
_FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
# A single letter is set from the block of italics: where these begin, and with which letter.
_ITALICS = (("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC))
_ROOT = "√"  # is drawn where `msqrt` says so, and written nowhere
_EXCEPT = {"\U0001d455": "ℎ"}  # this one letter stands elsewhere


def letters(pages: Iterable[str]) -> str:
    """What the formulas of some pages are written with, italics included.

    >>> letters(["<p>not this</p> <math><mi>h</mi><mo>&lt;</mo><mi>κ</mi></math>"])
    '<hκℎ√𝜅'
    """
    found = {
        each for page in pages for formula in _FORMULA.findall(page) for each in unescape(_TAG.sub("", formula)).strip()
    }
    italics = {italic for each in found if (italic := _italic(each))}
    return "".join(sorted(found | italics | {_ROOT})) if found else ""


def _italic(letter: str) -> str:
    for first, last, start in _ITALICS:
        if first <= letter <= last:
            italic = chr(start + ord(letter) - ord(first))
            return _EXCEPT.get(italic, italic)
    return ""


def cut_font(text: str, *, source: Path, target: Path) -> None:
    """Write a font with these letters alone, and with what makes brackets and roots grow where it has that."""
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=["ssty", "kern"], hinting=False, notdef_outline=True)
    font = subset.load_font(str(source), options)
    cutter = subset.Subsetter(options)
    cutter.populate(text=text)
    cutter.subset(font)
    subset.save_font(font, str(target), options)


def style_formulas(app: Sphinx, pagename: str, templatename: str, context: dict[str, object], doctree: object) -> None:
    """Load the style of formulas where there is one."""
    if _FORMULA.search(str(context.get("body", ""))):
        app.add_css_file(STYLE)


def write_font(app: Sphinx, exception: Exception | None) -> None:
    """Cut the font for the pages that were built."""
    if exception is None and app.builder.format == "html":
        out = Path(app.outdir)
        text = letters(path.read_text(encoding="utf-8") for path in out.rglob("*.html"))
        if text:
            whole = Path(str(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf"))
            cut_font(text, source=whole, target=out / "_static" / NAME)
