"""How does a piece of one rendered page stand on another? Its links and pictures lead on, its anchors are gone."""

from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag


def moved(tag: Tag, page: str) -> str:
    """The inside of a tag as it reads from a folder beside its page's.

    >>> paragraph = BeautifulSoup('<p id="a">See <a href="#b">there</a>.</p>', "html.parser").p
    >>> moved(paragraph, "notebooks/01_x.html")
    'See <a href="../notebooks/01_x.html#b">there</a>.'
    """
    copy = BeautifulSoup(str(tag), "html.parser")
    for each in copy.select(".headerlink, .bb-by-night"):
        each.decompose()
    for each in copy.find_all(True):
        each.attrs.pop("id", None)
        for name in ("href", "src"):
            if name in each.attrs and "://" not in str(each[name]):
                each[name] = f"../{urljoin(page, str(each[name]))}"
    cells = copy.find_all("td")
    outer = copy.find(True) or copy
    inside = " · ".join(cell.decode_contents().strip() for cell in cells) if len(cells) > 1 else outer.decode_contents()
    return inside.replace("<p>", "").replace("</p>", "").strip()


def words(tag: Tag) -> str:
    """The words of a heading, without the sign that links to it.

    >>> words(BeautifulSoup("<h2>Reads <a>#</a></h2>", "html.parser").h2)
    'Reads'
    """
    return tag.get_text().strip().rstrip("#").strip()
