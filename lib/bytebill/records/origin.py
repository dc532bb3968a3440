"""What made a record? Machine, software, command, commit and day, without importing what it asks about."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import bytebill

_CPUINFO = Path("/proc/cpuinfo")
_CPU_KEYS = {"cpu family": "family", "model": "model", "stepping": "stepping"}


def provenance(*, device: str, device_kind: str, command: str, **more: Any) -> dict[str, Any]:
    """The block that every record opens with; `more` is what only the caller knows, as its threads."""
    on_cuda = device_kind == "cuda"
    asked = ("--query-gpu=driver_version,memory.total", "--format=csv,noheader")
    return {
        "device": device,
        "device_kind": device_kind,
        "host_cpu": cpu_name(),
        "cpu": cpu_numbers(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "driver": _output_of("nvidia-smi", *asked) if on_cuda else None,
        "python": platform.python_version(),
        "torch": _version_of("torch"),
        "bytebill": bytebill.__version__,
        "commit": _output_of("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        **more,
    }


def typed_command(program: str) -> str:
    """What was typed to run a program, as a record tells it: of a path only its last name, for the rest is private."""
    return " ".join([program, *(Path(each).name if os.sep in each else each for each in sys.argv[1:])])


def cpu_name() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    return _cpu_lines().get("model name") or platform.processor() or platform.machine()


def cpu_numbers() -> dict[str, int]:
    """Family, model and stepping: they tell apart processors of one name; empty where the system does not tell."""
    told = _cpu_lines()
    return {ours: int(told[theirs]) for theirs, ours in _CPU_KEYS.items() if told.get(theirs, "").isdigit()}


def _cpu_lines() -> dict[str, str]:
    """What the system says of its first core."""
    with suppress(OSError):
        first = _CPUINFO.read_text(encoding="utf-8").split("\n\n", 1)[0]
        pairs = (line.partition(":") for line in first.splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {}


def _version_of(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _output_of(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
