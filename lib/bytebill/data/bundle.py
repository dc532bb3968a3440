"""What does the core need to know where there are no files? Tables of `data/` as one JSON document.

    {table: {"types": {column: type}, "rows": [[cell, ...], ...]},          a cell is null, a number, true or text
     "panels.yaml": {...}}                                                  which rents the book tells bills at

Cells are typed already, but a date, which JSON does not know, is text that its column's type turns into a date again.
`tables.rows` gives the same rows from a bundle as from the folder, once BYTEBILL_DATA names it; a browser page needs
no YAML then. `python -m bytebill.data bundle.json` makes one.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bytebill.data import tables
from bytebill.data.whole import write_whole

CORE = (
    *("accelerators", "models", "model_configs", "programs", "constants"),
    *("api_prices", "cache_rules", "gpu_rents", "mlperf_slos", "trace_lengths"),
)


def write(path: Path, names: Iterable[str] = CORE) -> None:
    """Write some tables into a file, to be named by BYTEBILL_DATA or laid beside a page; by default those behind a
    statement."""
    kinds = {name: tables.column_types(name) for name in names}
    packed: dict[str, Any] = {
        name: {"types": types, "rows": [[row[column] for column in types] for row in tables.rows(name)]}
        for name, types in kinds.items()
    }
    packed[tables.PANELS] = tables.panels()
    write_whole(path, json.dumps(packed, ensure_ascii=False, allow_nan=False, default=str))
