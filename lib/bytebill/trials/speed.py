"""How many requests a second does the simulator serve, and does a long run cost more of each?

Llama-3-8B on one H100, requests as long as a published trace of conversations, and more users than the cache has
room for, so that the pool stays nearly full and sequences are preempted. Each size runs in a process of its own
(`python -m bytebill.trials.speed N`), so that its peak memory is its own. The clock on the wall includes drawing the
requests and recording them.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from bytebill.deployment import Deployment
from bytebill.engine.processes import result_of
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving import Policy, synthetic
from bytebill.sim import serve_on

SIZES = (10_000, 100_000, 1_000_000)
N_USERS = 400


def in_a_process(n_requests: int) -> dict[str, Any]:
    """One size, measured by itself."""
    command = [sys.executable, "-m", __name__, str(n_requests)]
    return dict(result_of(command, what=f"Simulating {n_requests} requests"))


def speed_of(n_requests: int) -> dict[str, Any]:
    """Requests a second, and how full batch and pool were."""
    deployment = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    chats = synthetic("azure-conv", n_requests, max_len_tokens=8192)
    start = time.perf_counter()
    metrics = serve_on(deployment, chats, Policy(n_slots=N_USERS), concurrency=N_USERS).metrics
    seconds = time.perf_counter() - start
    return {
        "requests": metrics.n_finished,
        "requests_per_s": metrics.n_finished / seconds,
        "peak_rss_bytes": _peak_rss_bytes(),
        "mean_batch": metrics.slot_s / metrics.busy_s,
        "kv_utilization": metrics.kv_token_s / metrics.busy_s / (metrics.n_kv_tokens or 1),
        "n_preemptions": metrics.n_preemptions,
    }


def _peak_rss_bytes() -> int:
    """Most memory this process ever held. Linux's own count, where there is one: `getrusage` begins at the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(json.dumps(speed_of(int(sys.argv[1]))))
