"""What does a chapter find, before a reader has read it? The heads of its claims, at its top.

A head is opened there with `opening("C10", "C11")` and says that the claim is judged below; when the claim is judged,
`fill` puts word, sentence and strip into the same place, by the display's id. A stored notebook keeps what came last.
Outside IPython, or where no head was opened, nothing happens.
"""

import secrets
from collections.abc import Mapping
from html import escape
from typing import Any

from bytebill.claims import strip, view
from bytebill.claims.register import CLAIMS

JUDGED_BELOW = "judged below"
_TOKEN = secrets.token_hex(4)  # so that two kernels of one page never write into each other's heads
_opened: set[str] = set()


def opening(*ids: str) -> None:
    """Open a head for each claim, to be filled when it is judged.

    >>> opening("C10")
    C10 – judged below: With 64 requests in the batch every weight is still loaded once: the bytes stay flat while \
the arithmetic grows 64-fold.
    """
    for id in ids:
        content = {"id": id, "statement": CLAIMS[id].statement}
        if _in_ipython():
            from IPython.display import display

            display(_bundle(content), raw=True, display_id=_place(id))
            _opened.add(id)
        else:
            print(head_text(content))


def fill(content: Mapping[str, Any]) -> None:
    """Put a verdict into the head that was opened for its claim, if one was."""
    if content.get("id") in _opened and _in_ipython():
        from IPython.display import update_display

        update_display(_bundle(content), raw=True, display_id=_place(str(content["id"])))


def head_of(content: Mapping[str, Any]) -> str:
    """A head as HTML: word, what is claimed, what to say instead, the strip, a link to the box."""
    id, judged = str(content["id"]), "word" in content
    word = view.marked(content) if judged else view.marked(None, word=JUDGED_BELOW)
    say = f'<p class="bb-say">{escape(str(content["say"]))}</p>' if content.get("say") else ""
    drawing = strip.strip(content) if judged else ""
    return (
        f'<div class="bb-opening bb-verdict-{view.slug(view.word_in(content))}" role="group" '
        f'aria-label="Claim {escape(id)}" style="border-left: .35em solid; padding: .1em 1em; margin: .5em 0">'
        f'<div class="bb-opening-words"><p class="bb-opening-head"><a href="#{view.anchor(id)}">{escape(id)}</a> {word}'
        f'</p><p class="bb-opening-claim">{escape(str(content.get("statement", "")))}</p>{say}</div>'
        f'<div class="bb-opening-strip">{drawing}</div></div>'
    )


def head_text(content: Mapping[str, Any]) -> str:
    """A head as lines of text."""
    judged = "word" in content
    word = f"{view.sign(view.word_in(content))} {view.lettered(content)}" if judged else f"– {JUDGED_BELOW}"
    say = f"\n  {content['say']}" if content.get("say") else ""
    return f"{content['id']} {word}: {content.get('statement', '')}{say}"


def _bundle(content: Mapping[str, Any]) -> dict[str, str]:
    return {"text/html": head_of(content), "text/plain": head_text(content)}


def _place(id: str) -> str:
    return f"{view.anchor(id)}-{_TOKEN}"


def _in_ipython() -> bool:
    from IPython import get_ipython

    return get_ipython() is not None
