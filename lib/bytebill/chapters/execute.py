"""How can a chapter's run end? It passes, or one sentence says which cell stopped it and why.

The kernel runs in `notebooks/`, the copy grows in a scratch folder under a name that no other run has. When the last
cell has passed, the copy takes its place in the target folder by one rename; one that stopped stays to be looked at.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bytebill.chapters.tidy import facts
from bytebill.errors import disk_errors

CELL_TIMEOUT_S = 1800
UNTOUCHED = "; the committed notebooks are untouched"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # a chapter asks no host for anything
NO_MEMORY = ("MemoryError", "map segment", "unable to mmap", "allocate memory", "not enough memory", "out of memory")
SHORT = " (too little memory was free; close other programs)"
QUIET = "--IPKernelApp.log_level=50"  # otherwise each start and stop writes a warning over the progress bar


def execute(
    path: Path, target: Path, *, parameters: Mapping[str, Any], variables: Mapping[str, str], scratch: Path
) -> str | None:
    """Run one notebook to `target`; None if it passed, otherwise the reason it did not.

    `variables` are environment variables of its kernel, on top of ours.
    """
    growing, stopped = scratch / f".{os.getpid()}_{path.name}", scratch / path.name
    with disk_errors(growing, ending=UNTOUCHED):
        target.unlink(missing_ok=True)  # an older copy must not pass for this run's
        scratch.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = _papermill(path, growing, parameters, variables)
        os.replace(growing, stopped if reason else target)
    return f"{reason}; as far as it came: {stopped}" if reason else None


def _papermill(path: Path, growing: Path, parameters: Mapping[str, Any], variables: Mapping[str, str]) -> str | None:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what stopped it is told once, by us
    try:
        papermill.execute_notebook(
            str(path),
            str(growing),
            parameters=dict(parameters),
            cwd=str(path.parent),
            kernel_name="python3",
            kernel_manager_class=_manager(variables),
            progress_bar=False,
            execution_timeout=CELL_TIMEOUT_S,
            extra_arguments=[QUIET],
        )
    except papermill.PapermillExecutionError as error:
        lines = str(error.evalue).strip().splitlines()
        told = f"cell [{error.exec_count}] raised {error.ename}: {lines[0] if lines else 'no message'}"
        return told + (SHORT if any(word in told for word in NO_MEMORY) else "")
    except DeadKernelError:
        return died(facts(path).get("peak_mb"))
    except CellTimeoutError:
        return f"a cell took longer than {CELL_TIMEOUT_S} s"
    except RuntimeError as error:  # of a kernel that never answered
        if not str(error).startswith("Kernel "):
            raise
        return f"{str(error).rstrip('.')}; kernels are spoken to over 127.0.0.1, which must be up"
    return None


def died(peak_mb: float | None) -> str:
    """Why a kernel may have died: for want of memory, of which a run of ours, if one is noted, took this much."""
    from bytebill.device import free_bytes

    took = f"a run of ours took {peak_mb / 1e3:.1f} GB, " if peak_mb else ""
    free = f"{free_bytes('cpu') / 1e9:.1f} GB are free here now"
    return f"its kernel died, most often for want of memory ({took}{free}); close other programs"


def _manager(variables: Mapping[str, str]) -> type:
    """A kernel manager whose kernels have these environment variables; this process keeps its own."""
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        def start_kernel(self, **given: Any) -> Any:
            return super().start_kernel(env={**OFFLINE, **os.environ, **variables}, **given)

    return Manager
