"""How does a formula stand on a page? As MathML, made while the book is built: browsers draw it without a script.

    tidied   latex2mathml writes what MathJax forgives and browsers do not: words as `mtext`, which counts as a space,
             a colon as a letter, a comma in a number with room behind it, functions that touch what follows,
             room inside parentheses, bars as wide as a line
    parts    a display formula that is several, with a \\quad between them, becomes as many, and a phone shows each on
             a line of its own; a comma or full stop stays with the formula before it
    refused  a command that it does not know comes out as its own name, and an `&` as text: that is a warning, and
             stops the build

`book/assets/formulas.css` sets columns and the font, which `bytebill.site.look.math_font` cuts out of STIX Two Math.
"""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

RENDERER = "mathml"
FUNCTIONS = ("ln", "log", "exp", "mean")
_THIN = "0.167em"
_SPACES = {"negativethinmathspace": f"-{_THIN}"}
_SAME = {  # what latex2mathml knows, or writes well, by another name
    "{aligned}": "{split}",
    r"\Big(": r"\left(",
    r"\Big)": r"\right)",
}
_OPENING, _CLOSING, _ACCENTS = "([{", ")]}", "¯^~˙"
_CLOSE = ("/", "…", "max", "min")  # no room beside these
_GAP = re.compile(r"(\\q?quad(?![a-zA-Z]))")
_DRAWN = r'<span class="math [^>]*><math(?:(?!</span>).)*</span>'
_WITH_MARKS = re.compile(f"[(“]*{_DRAWN}[,.;:!?)”]+|[(“]+{_DRAWN}", re.DOTALL)

log = logging.getLogger(__name__)


def mathml(tex: str, *, block: bool = False) -> str:
    """A formula in TeX as MathML; ValueError for one that cannot be written so.

    >>> mathml(r"t \\ge 2")
    '<math display="inline"><mrow><mi>t</mi><mo>≥</mo><mn>2</mn></mrow></math>'
    >>> mathml(r"\\unheard x")
    Traceback (most recent call last):
    ValueError: no MathML for '\\\\unheard' in '\\\\unheard x'
    """
    from latex2mathml.converter import convert_to_element

    for name, known in _SAME.items():
        tex = tex.replace(name, known)
    root = convert_to_element(tex.strip(), display="block" if block else "inline")
    root.attrib.pop("xmlns", None)
    for each in root.iter():
        each.text = unescape(each.text or "") or None
        if set("\\&") & set(each.text or ""):
            raise ValueError(f"no MathML for {each.text!r} in {tex!r}")
    _tidy(root)
    return tostring(root, encoding="unicode")


def formulas_in(tex: str) -> list[str]:
    """The formulas of which a display formula consists: between them stands a \\quad that is in no bracket.

    >>> formulas_in(r"a = \\text{x\\quad y}, \\qquad b = 2")
    ['a = \\\\text{x\\\\quad y},', 'b = 2']
    """
    found = [""]
    for piece in _GAP.split(tex):
        whole = found[-1].count("{") == found[-1].count("}") and r"\begin" not in found[-1]
        if _GAP.fullmatch(piece) and whole:
            found.append("")
        else:
            found[-1] += piece
    return [each.strip() for each in found if each.strip()]


def keep_marks(body: str) -> str:
    """A page on which a comma or a bracket stays with the formula beside it.

    >>> keep_marks('(<span class="math x"><math></math></span>), so')
    '<span class="bb-whole">(<span class="math x"><math></math></span>),</span> so'
    """
    return _WITH_MARKS.sub(r'<span class="bb-whole">\g<0></span>', body)


def _tidy(root: Element) -> None:
    for each in root.iter():
        if each.tag == "mtext":  # counts as a space, so that operators beside it would lose theirs
            each.tag = "mi"
            each.set("mathvariant", "normal")
        elif each.tag == "mi" and each.text == ":":
            each.tag = "mo"
        elif each.tag == "mo" and (each.text or "-") in _CLOSE:
            each.attrib.update(lspace="0", rspace="0")
        elif each.tag == "mo" and each.text in (*_OPENING, *_CLOSING):
            each.attrib.update(form="prefix" if each.text in tuple(_OPENING) else "postfix", lspace="0", rspace="0")
        elif each.tag == "mspace" and each.get("width") in _SPACES:
            each.set("width", _SPACES[each.attrib["width"]])
        elif each.tag == "mover" and (each[-1].text or "-") in _ACCENTS:
            each.set("accent", "true")
            each[-1].set("stretchy", "false")
        elif each.tag == "mrow" and [child.text for child in each] == [","]:  # {,} as in 86{,}400
            each[0].attrib.update(lspace="0", rspace="0")
        _part_functions(each)


def _part_functions(parent: Element) -> None:
    """A thin space between a function's name and letters or numbers beside it."""
    for at, child in reversed([*enumerate(parent)]):
        if child.tag == "mi" and child.text in FUNCTIONS:
            for place, beside in ((at + 1, at + 1), (at, at - 1)):
                if 0 <= beside < len(parent) and parent[beside].tag in ("mi", "mn", "msub", "mfrac", "mover"):
                    parent.insert(place, SubElement(Element("mrow"), "mspace", width=_THIN))


def _visitor(tag: str, *, block: bool) -> Callable[[Any, nodes.Element], None]:
    def visit(translator: Any, node: nodes.Element) -> None:
        translator.body.append(translator.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
        try:
            tex = node.astext()
            translator.body += [mathml(part, block=block) for part in (formulas_in(tex) if block else [tex])]
        except Exception as error:  # latex2mathml has an exception for each of its complaints
            log.warning("a formula cannot be written: %s", error, location=node)
        translator.body.append(f"</{tag}>")
        raise nodes.SkipNode

    return visit


def _keep_marks(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = keep_marks(context["body"])


def offer_mathml(app: Sphinx) -> None:
    """Offer the renderer that `html_math_renderer` names."""
    inline, block = _visitor("span", block=False), _visitor("div", block=True)
    app.connect("html-page-context", _keep_marks)
    app.add_html_math_renderer(RENDERER, inline_renderers=(inline, None), block_renderers=(block, None))
