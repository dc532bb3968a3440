"""What does a program find out that runs in a process of its own? The last line that it prints, read as JSON.

Memory, threads and pinning are then that program's alone. It is ended when it takes too long, or when whoever waits
for it is interrupted; one that fails ends in one sentence here.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bytebill.errors import BytebillError


def result_of(
    command: Sequence[str],
    *,
    what: str,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    reason: Callable[[str], str] | None = None,
) -> Any:
    """What a command printed last; `what` begins the sentence where it fails, unless `reason` finds one in its stderr.

    >>> import sys
    >>> result_of([sys.executable, "-c", "print([1, 2])"], what="Counting")
    [1, 2]
    """
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise BytebillError(f"{what} did not finish in {timeout_s:.0f} s.") from None
    finally:
        _stop(process)
    if process.returncode:
        last = (err.strip().splitlines() or ["it said nothing"])[-1]
        raise BytebillError(reason(err) if reason else f"{what} failed: {last}")
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise BytebillError(f"{what} ended well but printed no result.") from error


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process that still runs; asked politely, it ends its own first."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
