"""The core of a statement runs where there is neither a package nor a file but one JSON document: in a browser page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bytebill
from bytebill.data import bundle

CORE = (
    *("units", "errors", "models", "roofline", "hardware", "programs", "deployment", "memory", "data.bundle"),
    *(f"economics.{name}" for name in ("break_even", "cost", "decline", "fleets", "load", "months", "phases")),
    *("economics.prices", "economics.ranges"),
    *("sim", "serving", "sim.constants", "sim.guards", "sim.clock", "sim.steady", "sim.closed_loop"),
    *("sim.phase_time", "sim.usable", "statement", "statement.case", "statement.bill", "statement.page"),
    *("statement.levers", "statement.answer", "statement.fields", "statement.reverse", "statement.snippet"),
)
STRICT = """
import importlib, sys

class StandardLibraryOnly:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"bytebill"}:
            raise ImportError(f"the core imports {name}")

sys.meta_path.insert(0, StandardLibraryOnly())
for name in sys.argv[1:]:
    importlib.import_module(f"bytebill.{name}")
"""
STATEMENT = """
from bytebill.deployment import Deployment
from bytebill.economics.prices import api_price, rent_of
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.statement import Case, statement

rent = rent_of("h100-sxm", terms="on demand", provider="RunPod", as_of="2026-09-30")
group = Deployment(
    model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"), n_devices=4)
found = statement(Case(
    name="Chat", deployment=group, n_input_tokens=1155, n_output_tokens=211, requests_per_s=40, peak_over_mean=1.33,
    ttft_slo_s=2.0, tpot_slo_s=0.05, usd_per_device_hour=rent.usd_per_gpu_hour,
    program="trtllm"))
print(found.batch_size, found.limit, repr(found.usd_per_m_output), rent.as_of.year, api_price("GPT-4o").as_of)
"""


def printed_by(code: str, *arguments: str, **environment: str) -> str:
    """What a program prints in a process of its own."""
    lib = {"PYTHONPATH": str(Path(bytebill.__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=lib | environment
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_core_needs_the_standard_library_alone_and_a_bundle_gives_the_same_statement(tmp_path: Path) -> None:
    bundle.write(tmp_path / "core.json")
    bare = printed_by(STRICT + STATEMENT, *CORE, BYTEBILL_DATA=str(tmp_path / "core.json"))
    assert bare == printed_by(STATEMENT) and bare.startswith("88 TPOT 3.21")
