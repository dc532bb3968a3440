"""Which icons does the book draw? A dozen of the theme's two thousand: the others leave its style sheet and its font.

The theme has Font Awesome three times: a script of 1.5 MB, which `lean` takes out, 156 kB of a font, and a rule for
each icon in the style sheet. Kept is what a page, a script or another rule names.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from sphinx.application import Sphinx

from bytebill.site.look.math_font import cut_font

THEME = Path("styles") / "pydata-sphinx-theme.css"
FONT = Path("vendor") / "fontawesome" / "webfonts" / "fa-solid-900"
_RULE = re.compile(r'(?P<names>\.fa-[\w-]+:before(?:,\.fa-[\w-]+:before)*)\{content:"(?P<letter>[^"]*)"\}')
_NAME = re.compile(r"\bfa-[a-z0-9-]+")
_ESCAPED, _PLAIN = re.compile(r"\\([ef][0-9a-f]{3})\b"), re.compile("[\ue000-\uf8ff]")  # a private area of Unicode
_LOAD = re.compile(r"url\([^()]*fa-solid-900\.woff2\) format\(\"woff2\"\),")

# The script made pictures of the icons; where the sheet speaks of these, it now means letters.
_PICTURES = {"form.bd-search svg": "form.bd-search i", ".search-button-field>:not(svg)": ".search-button-field>:not(i)"}


def slim(style: str, *, named: Iterable[str]) -> str:
    """A style sheet without the icons that nobody names, whose font is the one that `write_icons` cuts.

    >>> slim('.fa-a:before{content:"\\\\f001"}.fa-b:before,.fa-c:before{content:"\\\\f002"}p{}', named={"fa-c"})
    '.fa-b:before,.fa-c:before{content:"\\\\f002"}p{}'
    """
    wanted = {*named}
    kept = _RULE.sub(lambda rule: rule.group() if wanted & {*_NAME.findall(rule["names"])} else "", style)
    for picture, letter in _PICTURES.items():
        kept = kept.replace(picture, letter)
    return _LOAD.sub('url(../vendor/fontawesome/webfonts/fa-solid-900.woff) format("woff"),', kept)


def icon_letters(style: str) -> str:
    """The letters of a font of icons that a style sheet sets.

    >>> [hex(ord(letter)) for letter in icon_letters('a{content:"\\\\f062"} b{color:#f019}')]
    ['0xf062']
    """
    return "".join(sorted({*_PLAIN.findall(style), *(chr(int(code, 16)) for code in _ESCAPED.findall(style))}))


def write_icons(app: Sphinx, exception: Exception | None) -> None:
    """Slim the theme's style sheet, and cut its font to the letters that any sheet still has."""
    out = Path(app.outdir)
    static = out / "_static"
    if exception is not None or app.builder.format != "html" or not (static / THEME).is_file():
        return
    pages = [*out.rglob("*.html"), *(static / "scripts").glob("*theme.js")]
    named = {name for path in pages for name in _NAME.findall(path.read_text(encoding="utf-8"))}
    (static / THEME).write_text(slim((static / THEME).read_text(encoding="utf-8"), named=named), encoding="utf-8")
    sheets = "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.css"))
    font = static / FONT
    cut_font(icon_letters(sheets), source=font.with_suffix(".ttf"), target=font.with_suffix(".woff"))
