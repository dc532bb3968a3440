"""How many requests a second does the simulator serve, and does a long run cost more of each?

Llama-3-8B on one H100, requests as long as a published trace of conversations, and more users than the cache has
room for, so that the pool stays nearly full and sequences are preempted. Each size runs in a process of its own
(`python -m bytebill.trials.speed server N`), so that its peak memory is its own. The clock on the
wall includes drawing the requests and recording them.

A fleet of a thousand such devices, each at 0.7 of what it serves when full, is cells of `CELL` replicas behind a router
by load, one cell after the other in each of `JOBS` processes: its memory is that of a cell in each. `FLEET` requests by
default; `TENTH` are a tenth of its day, which `bytebill bench --only tenth` takes minutes for.

A frontier is `FRONTIER`, 200 operating points of 2,000 requests each, by one process and by `JOBS`: what the second is
worth is the quotient of both times.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from bytebill.deployment import Deployment
from bytebill.engine.processes import result_of
from bytebill.hardware import accelerator
from bytebill.models import model, precision
from bytebill.serving import Metrics, Poisson, Policy, synthetic
from bytebill.sim import Cluster, Pool, serve_on
from bytebill.sim.sweep import Sweep
from bytebill.trials import sweeps

SIZES = (10_000, 100_000, 1_000_000)
N_USERS = 400
SHARE = 0.7  # of what a full replica serves
CELL, N_REPLICAS, JOBS = 50, 1000, 2
CLUSTERS = (8, 64)  # replicas behind one router
PER_REPLICA = 600  # requests of such a cluster: half a minute
FLEET, TENTH = 200_000, 5_000_000
FRONTIER = Sweep(
    base={"model": "llama-3-70b", "workload": {"trace": "azure-conv", "requests": 2000, "max_len_tokens": 8192}},
    grid={
        "devices": [4, 8],
        "policy.token_budget": [512, 1024, 2048, 8192, 16384],
        "workload.rate_per_s": [0.5 * n for n in range(1, 21)],
    },
)


def in_a_process(n_requests: int) -> dict[str, Any]:
    """One size, measured by itself."""
    return _process("server", n_requests)


def _process(what: str, *numbers: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bytebill.trials.speed", what, *map(str, numbers)]
    return dict(result_of(command, what=f"Simulating a {what} ({', '.join(map(str, numbers))})"))


def speed_of(n_requests: int) -> dict[str, Any]:
    """Requests a second, and how full batch and pool were."""
    start = time.perf_counter()
    metrics = _full(n_requests)
    seconds = time.perf_counter() - start
    return _found(metrics.n_finished, seconds) | {
        "mean_batch": metrics.mean_running,
        "kv_utilization": metrics.kv_utilization,
        "n_preemptions": metrics.n_preemptions,
    }


def cluster_in_a_process(n_replicas: int) -> dict[str, Any]:
    """So many replicas behind one router, measured by themselves."""
    return _process("cluster", n_replicas)


def fleet_in_processes(n_requests: int = FLEET) -> dict[str, Any]:
    """A fleet's requests, its cells shared out over processes; seconds are those of the wall around all of them."""
    n_cells = N_REPLICAS // CELL
    start = time.perf_counter()
    with ThreadPoolExecutor(JOBS) as pool:
        parts = list(pool.map(lambda job: _process("cells", n_requests // n_cells, job), range(JOBS)))
    seconds, n_served = time.perf_counter() - start, sum(part["requests"] for part in parts)
    return {
        "requests": n_served,
        "replicas": N_REPLICAS,
        "processes": JOBS,
        "seconds": seconds,
        "requests_per_s": n_served / seconds,
        "peak_rss_bytes": max(part["peak_rss_bytes"] for part in parts),
    }


def frontier() -> dict[str, Any]:
    """The frontier's points a second by one process and by several, which are started before they are timed."""
    few = Sweep(base=FRONTIER.base, grid={**FRONTIER.grid, "workload.rate_per_s": [1.0]})
    seconds = {}
    for jobs in (1, JOBS):
        sweeps.run(few, jobs=jobs)
        start = time.perf_counter()
        rows = sweeps.run(FRONTIER, jobs=jobs)
        seconds[jobs] = time.perf_counter() - start
    return {
        "points": len(rows),
        "requests": sum(row["n_finished"] for row in rows),
        "processes": JOBS,
        "alone_s": seconds[1],
        "seconds": seconds[JOBS],
        "efficiency": seconds[1] / seconds[JOBS],
    }


def cluster_of(n_replicas: int, n_requests: int, *, seed: int = 0) -> int:
    """Requests that a cluster has served as they came."""
    rate_per_s = SHARE * n_replicas * _capacity_per_s()
    arrivals = Poisson(rate_per_s, seed=seed)
    chats = synthetic("azure-conv", n_requests, arrivals=arrivals, max_len_tokens=8192, seed=seed)
    pool = Pool(deployment=_device(), n_replicas=n_replicas, policy=Policy(n_slots=N_USERS))
    return Cluster(pools=(pool,)).serve(chats).metrics.n_finished


def _cluster(n_replicas: int) -> dict[str, Any]:
    _capacity_per_s()  # says how much to ask, and is no part of the run
    start = time.perf_counter()
    n_served = cluster_of(n_replicas, PER_REPLICA * n_replicas)
    return {"replicas": n_replicas} | _found(n_served, time.perf_counter() - start)


def _cells(n_requests: int, job: int) -> dict[str, Any]:
    """Every cell that falls to one process."""
    _capacity_per_s()
    start = time.perf_counter()
    n_served = sum(cluster_of(CELL, n_requests, seed=cell) for cell in range(job, N_REPLICAS // CELL, JOBS))
    return _found(n_served, time.perf_counter() - start)


def _device() -> Deployment:
    return Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))


@cache
def _capacity_per_s() -> float:
    return _full(10 * N_USERS).requests_per_s


def _full(n_requests: int) -> Metrics:
    """One device with as many users as fill it."""
    chats = synthetic("azure-conv", n_requests, max_len_tokens=8192)
    return serve_on(_device(), chats, Policy(n_slots=N_USERS), concurrency=N_USERS).metrics


def _found(n_served: int, seconds: float) -> dict[str, Any]:
    return {"requests": n_served, "requests_per_s": n_served / seconds, "peak_rss_bytes": _peak_rss_bytes()}


def _peak_rss_bytes() -> int:
    """Most memory this process ever held. Linux's own count, where there is one: `getrusage` begins at the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    parts: dict[str, Callable[..., dict[str, Any]]] = {
        "server": speed_of,
        "cluster": _cluster,
        "cells": _cells,
        "fleet": fleet_in_processes,
    }
    print(json.dumps(parts[sys.argv[1]](*map(int, sys.argv[2:]))))
