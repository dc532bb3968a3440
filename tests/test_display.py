"""A table's headings format its columns, and it can be read by eye, by ear and in a terminal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from bs4 import BeautifulSoup

from bytebill.display import Shown, table


@dataclass(frozen=True)
class Step:
    batch: int
    step_s: float


@pytest.mark.parametrize(
    ("heading", "value", "head", "cell"),
    [
        ("weights [B]", 139e9, "weights", "139 GB"),
        ("weights [GB]", 139e9, "weights [GB]", "139"),
        ("weights [GiB:.2f]", 2**31, "weights [GiB]", "2.00"),
        ("step [s]", 0.0213, "step", "21.3 ms"),
        ("step [ms:.1f]", 0.02134, "step [ms]", "21.3"),
        ("peak [TFLOP/s]", np.float64(989.4e12), "peak [TFLOP/s]", "989"),
        ("idle [%]", 0.2489, "idle", "24.9%"),
        ("idle [%:.0f]", 0.2489, "idle [%]", "25"),
        ("rate [tokens/s]", 2500.0, "rate [tokens/s]", "2,500"),
        ("price [USD:.3f]", 0.05, "price [USD]", "0.050"),
        ("batch", np.int64(1024), "batch", "1,024"),
        ("ratio", 1.3148, "ratio", "1.31"),
        ("ratio [:.1f]", 1.3148, "ratio", "1.3"),
        ("from batch", "never", "from batch", "never"),
        ("from batch", None, "from batch", "–"),
        ("from batch", float("nan"), "from batch", "nan"),
    ],
)
def test_the_unit_in_a_heading_formats_its_column(heading, value, head, cell):
    lines = table("", heading, rows={"x": value}).text.splitlines()
    assert [lines[0].strip(), lines[1].split(maxsplit=1)[1]] == [head, cell]


def test_rows_are_sequences_records_or_names_with_either():
    expected = table("batch", "step [s]", rows=[(1, 0.5), (2, 1.0)])
    assert table("batch", "step [s]", rows=[Step(1, 0.5), Step(2, 1.0)]) == expected
    assert table("batch", "step [s]", rows={1: 0.5, 2: 1.0}) == expected
    assert table("", "batch", "step [s]", rows={"a": Step(1, 0.5)}).text.splitlines()[1] == "a      1  500 ms"
    with pytest.raises(ValueError, match="shorter"):
        table("batch", "step [s]", rows=[(1,)])


def test_the_page_has_headings_for_ears_units_on_their_own_line_and_no_markup_of_others():
    word = Shown(html="<strong>holds</strong>", text="holds")
    shown = table("", "step <b> [ms]", "word", rows={"<i>": (0.5, word)})
    soup = BeautifulSoup(shown.html, "html.parser")
    assert [cell.get("scope") for cell in soup.find_all("th")] == ["col", "col", "row"]
    assert soup.find("small").get_text() == "ms" and soup.find("b") is None and soup.find("i") is None
    assert soup.find("strong").get_text() == "holds" and "<strong>" not in shown.text
    box = soup.find("div")
    assert box["tabindex"] == "0" and box["aria-label"] == "step <b> [ms], word" and "overflow-x" in box["style"]
    assert repr(shown) == shown.text and shown._repr_html_() == shown.html
