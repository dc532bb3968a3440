"""One name, one meaning: what is public is defined in one module only."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

LIB = Path(__file__).parents[1] / "lib" / "bytebill"
ANYWHERE = {"main", "run", "refresh", "model"}  # entry points, and commands of the same name as what they call


def defined(path: Path) -> Iterator[str]:
    """Functions, classes and constants of a module that have no leading underscore."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names = [target.id for each in targets if each for target in ast.walk(each) if isinstance(target, ast.Name)]
        names.append(getattr(node, "name", "_"))
        yield from (name for name in names if not name.startswith("_"))


def test_every_public_name_is_defined_once() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in LIB.rglob("*.py"):
        for name in defined(path):
            homes[name].add(path.relative_to(LIB).as_posix())
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1}
    assert not {name: files for name, files in twice.items() if name not in ANYWHERE}
