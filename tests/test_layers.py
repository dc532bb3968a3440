"""Imports go down only: one ordered list of floors over every module, relative imports included."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lib" / "bytebill"
# From the ground up. A module may import what stands on its own floor or below it, and no two each other.
FLOORS = (
    *(
        "errors",
        "units",
        "display",
        "data",
        "models",
        "hardware",
        "programs",
        "records",
        "roofline",
        "economics",
        "deployment",
    ),
    "memory",
    *("serving", "sim", "statement", "device", "engine", "measure", "trials", "plotting"),
    *("chapters", "claims", "site", "cli"),
)
N_FLAT = 8
# What stays apart although it stands above: (who, what it never imports, unless).
NEVER = (
    ("economics", ("roofline", "hardware", "models"), ()),  # money knows no model
    ("serving", ("roofline", "models", "hardware", "economics", "deployment"), ("roofline.load", "economics.ranges")),
    ("engine", ("sim", "statement", "economics", "roofline", "deployment"), ()),  # running, no prediction
    ("measure", ("sim", "statement", "economics"), ()),
    ("statement", ("serving",), ()),  # a bill needs no scheduler
    ("chapters", ("engine", "measure", "sim", "trials"), ()),
    ("claims", ("engine", "measure", "sim", "trials", "roofline"), ()),
)
MAY = {  # third-party packages, where they may be; the standard library may be everywhere
    "torch": ("device", "engine", "measure", "trials"),
    "numpy": ("engine", "measure", "trials", "plotting"),
    "numba": ("engine",),
    "transformers": ("engine.weights", "measure"),
    "matplotlib": ("plotting", "site"),
    "joblib": ("trials",),
    "distributed": ("trials",),
    "pyarrow": ("trials",),
    "triton": ("engine",),
}


BARE = ("serving", "economics", "sim", "statement", "roofline", "models", "deployment", "units")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """Absolute names of the modules that a module imports, wherever in it."""
    path, names = MODULES[name], set()
    package = ["bytebill", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            submodules = {f"{module}.{alias.name}".removeprefix("bytebill.") for alias in node.names}
            found = {each for each in submodules if each in MODULES}
            names |= {f"bytebill.{each}" for each in found} if len(found) == len(submodules) else {module}
    return names


def ours(name: str) -> set[str]:
    return {each.removeprefix("bytebill").lstrip(".") for each in imported(name) if each.split(".")[0] == "bytebill"}


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


INSIDE = [name for name in MODULES if name]


@pytest.mark.parametrize("name", INSIDE)
def test_a_module_imports_what_stands_below_it(name: str) -> None:
    mine = FLOORS.index(name.split(".")[0])
    for other in ours(name) - {""}:
        assert other in MODULES, f"{name} imports {other}, which is not there"
        assert FLOORS.index(other.split(".")[0]) <= mine, f"{name} imports {other}, which stands above it"


def test_no_two_modules_need_each_other() -> None:
    """A package's face stands above its rooms, so a room imports rooms and never its own face."""
    TopologicalSorter({name: ours(name) - {name} for name in INSIDE}).prepare()
    for name in (each for each in INSIDE if not each.endswith("__main__")):
        assert not [face for face in ours(name) if face and name.startswith(f"{face}.")], f"{name} imports its own face"


@pytest.mark.parametrize(("who", "what", "unless"), NEVER, ids=lambda value: str(value))
def test_what_stays_apart(who: str, what: tuple[str, ...], unless: tuple[str, ...]) -> None:
    for name in INSIDE:
        if within(name, (who,)):
            met = {other for other in ours(name) if within(other, what) and other not in unless}
            assert not met, f"{name} imports {met}"


def test_heavy_packages_stay_in_their_rooms() -> None:
    for name in INSIDE:
        heavy = {each.split(".")[0] for each in imported(name)} & set(MAY)
        assert all(within(name, MAY[each]) for each in heavy), f"{name} imports {heavy}"


def test_deciding_and_money_need_the_standard_library_alone() -> None:
    for name in INSIDE:
        if within(name, (*BARE, "programs", "memory.footprint")):
            outside = {each.split(".")[0] for each in imported(name)} - {"bytebill"} - sys.stdlib_module_names
            assert not outside, f"{name} imports {outside}"
            assert not within(name, ("serving",)) or "time" not in imported(name), f"{name} reads a clock"


def test_every_room_has_a_face_and_few_modules_stand_beside_the_packages() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]
    assert len([name for name in MODULES if "." not in name and MODULES[name].name != "__init__.py"]) <= N_FLAT
