"""What does the core need to know where there are no files? Tables of `data/` as one JSON document.

    {table: {"types": {column: type}, "rows": [[cell, ...], ...]}}          a cell is null, a number, true or text

Cells are typed already, but a date, which JSON does not know, is text that its column's type turns into a date again.
`tables.table` gives the same rows from a bundle as from the folder, once BYTEBILL_DATA names it; a browser page needs
no YAML then. `python -m bytebill.data bundle.json` makes one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bytebill.data import tables

CORE = ("accelerators", "models", "constants", "api_prices", "gpu_rents", "mlperf_slos")


def text(names: Iterable[str] = CORE) -> str:
    """Some tables as one JSON document; by default those behind a statement.

    >>> json.loads(text(["models"]))["models"]["rows"][0][0]
    'llama-2-7b'
    """
    return json.dumps({name: _packed(name) for name in names}, ensure_ascii=False, allow_nan=False, default=str)


def write(path: Path, names: Iterable[str] = CORE) -> None:
    """Write the document into a file, to be named by BYTEBILL_DATA or laid beside a page."""
    path.write_text(text(names), encoding="utf-8")


def _packed(name: str) -> dict[str, Any]:
    kinds = tables.column_types(name)
    return {"types": kinds, "rows": [[row[column] for column in kinds] for row in tables.table(name)]}
