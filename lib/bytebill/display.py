"""How does a chapter print a table? Aligned text, the same wherever the notebook is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings, the first column to the left and all others to the right.

    >>> print_table(("device", "GB/s"), [("H100", 3350), ("A100", 2039)])
    device  GB/s
    H100    3350
    A100    2039
    """
    lines = [[str(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join(cells).rstrip())
