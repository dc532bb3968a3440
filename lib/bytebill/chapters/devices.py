"""On which devices did a notebook's cells measure? What they printed of them, in the words of `bytebill.device`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_DEVICE = re.compile(
    r"(?:^|\n)(?:on )?(?P<name>[^\n,:]+?)(?P<threads>, (?P<n>\d+) threads?)?(?: \(not pinned\))?, \d+ GB free, torch"
)


def devices_of(cell: Mapping[str, Any]) -> Iterator[str]:
    """Devices that a measuring cell printed, with their threads.

    >>> printed = [{"text": "AMD EPYC, 2 threads, 24 GB free, torch 2.13.0+cpu"}]
    >>> list(devices_of({"metadata": {"tags": ["measured"]}, "outputs": printed}))
    ['AMD EPYC, 2 threads']
    """
    yield from (found["name"] + (found["threads"] or "") for found in _printed(cell))


def threads_of(cell: Mapping[str, Any]) -> Iterator[int]:
    """How many threads each of them has, where it says so."""
    yield from (int(found["n"]) for found in _printed(cell) if found["n"])


def _printed(cell: Mapping[str, Any]) -> Iterator[re.Match[str]]:
    if "measured" in cell.get("metadata", {}).get("tags", ()):
        printed = "\n".join("".join(output.get("text", "")) for output in cell.get("outputs", ()))
        yield from _DEVICE.finditer(printed)
