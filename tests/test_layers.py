"""Imports go down only: the arrows of the design, read off the source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lib" / "bytebill"
NOT_BELOW = {
    "economics": {"serving", "engine", "measure", "sim", "site", "cli", "bench", "chapters", "claims", "plotting"},
    "serving": {"engine", "measure", "sim", "site", "cli", "bench", "chapters", "claims", "plotting", "roofline"},
    "engine": {"measure", "sim", "site", "cli", "bench", "chapters", "claims", "plotting"},
    "measure": {"sim", "site", "cli", "bench", "chapters", "claims", "plotting"},
    "sim": {"site", "cli", "bench", "chapters", "claims", "plotting"},
}
HEAVY = {"torch", "numpy", "numba", "transformers", "matplotlib"}


def imported(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(layer: str) -> list[Path]:
    return sorted((PACKAGE / layer).glob("*.py"))


@pytest.mark.parametrize("layer", NOT_BELOW)
def test_a_layer_knows_nothing_of_those_above_it(layer: str) -> None:
    for path in files(layer):
        above = {name.split(".")[1] for name in imported(path) if name.startswith("bytebill.")} & NOT_BELOW[layer]
        assert not above, f"{path.name} imports {above}"


def test_deciding_needs_neither_a_tensor_nor_a_clock() -> None:
    for path in files("serving"):
        names = {name.split(".")[0] for name in imported(path)}
        assert not names & (HEAVY | {"time"}), path.name


def test_money_needs_the_standard_library_and_only_prices_need_data() -> None:
    for path in files("economics"):
        names = imported(path)
        assert {name.split(".")[0] for name in names} <= {"bytebill"} | sys.stdlib_module_names, path.name
        assert path.stem == "prices" or "bytebill.data" not in names, path.name


def test_what_runs_in_a_browser_needs_the_standard_library_alone() -> None:
    for name in ("units", "models", "shapes", "precisions", "hardware", "steps", "roofline", "capacity"):
        assert not {each.split(".")[0] for each in imported(PACKAGE / f"{name}.py")} & HEAVY, name
