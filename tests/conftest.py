"""A small book of toy notebooks, in a folder of its own, for the tests that run, stop and kill chapters."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from bytebill.chapters import Book
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'n = 2\nprofile = "quick"\ndevice = "auto"'


def write_notebook(path: Path, *sources: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a title, a parameters cell and these code cells, executed by nobody."""
    cells = [
        new_markdown_cell(f"# {path.stem}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
    ]
    cells += [new_code_cell(source) for source in sources]
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"  # the same from run to run
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Book:
    """Two chapters and a ledger, as a book lays them out."""
    book = Book(root=tmp_path)
    book.notebooks.mkdir()
    write_notebook(book.notebooks / "01_doubling.ipynb", "print(n * 2, profile, device)")
    write_notebook(
        book.notebooks / "02_where.ipynb", "import os\nprint(os.environ['BYTEBILL_PINS'])", parameters="m = 1"
    )
    write_notebook(
        book.notebooks / "ledger.ipynb",
        "import os\nprint(os.environ['BYTEBILL_NOTEBOOKS'])",
        parameters="show = 'all'",
    )
    files = ("notebooks/ledger", "notebooks/01_doubling", "notebooks/02_where", "book/page")
    chapters = "".join(f"      - file: {file}\n" for file in files)
    (book.root / "_toc.yml").write_text(
        f"format: jb-book\nroot: book/index\nparts:\n  - caption: A\n    chapters:\n{chapters}"
    )
    (book.root / "_config.yml").write_text("title: Toy\n")
    (book.root / "book").mkdir()
    (book.root / "book" / "index.md").write_text("# Toy\n")
    return book
