"""What stands at the top of a chapter? Its claims with word and sentence, filled when they are judged further down."""

from bytebill.claims import view
from bytebill.claims.register import CLAIMS
from bytebill.claims.view import Content

_open: dict[str, str] = {}


def opening(*ids: str) -> None:
    """Open a place for the verdict on each claim."""
    from IPython.display import HTML, display

    for id in ids:
        _open[id] = f"claim-{id}"
        display(HTML(f"<p>{id}: {CLAIMS[id].statement} <em>Judged below.</em></p>"), display_id=_open[id])


def fill(content: Content) -> None:
    """Show a verdict where its chapter opens; nothing happens where no place was opened."""
    if content["id"] in _open:
        from IPython.display import HTML, update_display

        update_display(HTML(view.head_of(content)), display_id=_open[content["id"]])
