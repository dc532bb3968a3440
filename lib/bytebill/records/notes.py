"""What did a chapter's kernel learn of its machine? Lines of JSON in a file, if the environment's BYTEBILL_NOTES names
one: so a run knows the device and the ceilings of its record as they were measured, and no chapter has to tell them. A
process that ends by itself adds the most memory that it held.
"""

import atexit
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def note(**found: Any) -> None:
    """Add what was found to the notes; nothing where nobody keeps any."""
    if path := os.environ.get("BYTEBILL_NOTES"):
        with open(path, "a", encoding="utf-8") as told:
            told.write(json.dumps(found) + "\n")


@atexit.register
def _note_peak() -> None:
    """The most memory that this process ever held, where Linux says it; `ru_maxrss` would tell its parent's too."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        note(peak_bytes=1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]))


def noted(path: Path) -> dict[str, Any]:
    """What the notes say together: the last device, the memory of the largest process, and of each ceiling the
    highest, for it is what cannot be beaten.

    >>> noted(Path("nowhere"))
    {'device': {}, 'ceilings': None, 'peak_bytes': None}
    """
    device: dict[str, Any] = {}
    reads: list[float] = []
    peaks: dict[str, float] = {}
    held: list[int] = []
    with suppress(FileNotFoundError):
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            device = line.get("device", device)
            held += [line["peak_bytes"]] if "peak_bytes" in line else []
            reads += [line["read_bytes_per_s"]] if "read_bytes_per_s" in line else []
            for dtype, rate in line.get("peak_flops_per_s", {}).items():
                peaks[dtype] = max(rate, peaks.get(dtype, 0.0))
    known = bool(reads or peaks)
    return {
        "device": device,
        "ceilings": {"read_bytes_per_s": max(reads, default=None), "peak_flops_per_s": peaks} if known else None,
        "peak_bytes": max(held, default=None),
    }
