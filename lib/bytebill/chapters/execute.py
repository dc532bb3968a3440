"""How can a chapter's run end? It passes, or one sentence says which cell stopped it and why.

The kernel runs in `notebooks/`, the copy grows in a scratch folder. When the last cell has passed, the copy
takes its place in the target folder by one rename; one that stopped stays where it is, to be looked at.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bytebill.errors import BytebillError

CELL_TIMEOUT_S = 1800
QUIET = "--IPKernelApp.log_level=50"  # otherwise each start and stop writes a warning over the progress bar


def execute(path: Path, target: Path, *, parameters: Mapping[str, Any], scratch: Path) -> str | None:
    """Run one notebook to `target`; None if it passed, otherwise the reason it did not."""
    partial = scratch / path.name
    target.unlink(missing_ok=True)  # an older copy must not pass for this run's
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = _papermill(path, partial, parameters)
        if reason is None:
            os.replace(partial, target)
    except OSError as error:
        raise BytebillError(_disk(error, partial)) from error
    return f"{reason}; as far as it came: {partial}" if reason else None


def _papermill(path: Path, partial: Path, parameters: Mapping[str, Any]) -> str | None:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(path),
            str(partial),
            parameters=dict(parameters),
            cwd=str(path.parent),
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=CELL_TIMEOUT_S,
            extra_arguments=[QUIET],
        )
    except papermill.PapermillExecutionError as error:
        lines = str(error.evalue).strip().splitlines()
        return f"cell [{error.exec_count}] raised {error.ename}: {lines[0] if lines else 'no message'}"
    except DeadKernelError:
        return "its kernel died, most often for want of memory; close other programs, or try --profile quick"
    except CellTimeoutError:
        return f"a cell took longer than {CELL_TIMEOUT_S} s"
    return None


def _disk(error: OSError, partial: Path) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "the disk is full" if full else error.strerror or str(error)
    return f"{partial} could not be written ({why}); the committed notebooks are untouched."
