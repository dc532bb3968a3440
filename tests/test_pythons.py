"""What needs no torch runs on every Python that the book promises, where that Python is on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bytebill import data

PURE = (
    *("units", "display", "data.tables", "data.register", "models.precisions", "models.shapes", "models.register"),
    *("hardware", "roofline.load", "roofline.cost", "roofline.bounds", "roofline.routing", "deployment"),
    *("sim.clock", "sim.constants", "sim.steady", "statement.bill"),
)
DOCTESTS = f"""
import doctest, importlib
for name in {PURE}:
    found = doctest.testmod(importlib.import_module("bytebill." + name))
    assert found.attempted and not found.failed, (name, found)
from bytebill import data
assert data.validate() == [], data.validate()
"""


def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or one of pyenv's."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths = [*map(str, sorted(home.glob(f"{version}*/bin/python{version}"))), shutil.which(f"python{version}")]
    runs = (path for path in paths if path and not subprocess.run([path, "-c", ""], check=False).returncode)
    return next(runs, None)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_arithmetic_runs(version, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    (tmp_path / "yaml").symlink_to(Path(yaml.__file__).parent)  # all that the pure half asks for
    path = os.pathsep.join([str(data.REPOSITORY / "lib"), str(tmp_path)])
    done = subprocess.run(
        [python, "-c", DOCTESTS],
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_old_python_is_told():
    old = next((path for version in ("3.10", "3.9", "3.8") if (path := interpreter(version))), None)
    if old is None:
        pytest.skip("no old Python here")
    done = subprocess.run(
        [old, str(data.REPOSITORY / "lib" / "bytebill" / "cli.py"), "run"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Traceback" not in done.stderr
    assert sys.version_info >= (3, 11)
