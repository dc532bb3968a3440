"""One table whoever runs the points: this process, others, a Dask cluster, a worker that dies, a run that is killed."""

from __future__ import annotations

import gc
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bytebill import cli, data
from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import accelerator
from bytebill.memory.footprint import as_served, footprint_of
from bytebill.models import checkpoint_precision, find
from bytebill.programs import program
from bytebill.serving import Bursty, Evenly, Fixed, Metrics, Poisson, Policy, Slo, Workload, synthetic
from bytebill.sim import Cluster, Pool, serve_on
from bytebill.sim.closed_loop import policy_of
from bytebill.sim.constants import calibrated_constants
from bytebill.sim.sweep import _TEXTS, FIELDS, RESULTS, Sweep, point_id, row_of
from bytebill.trials import sweeps

BASE: dict[str, Any] = {
    "model": "llama-3-8b",
    "devices": 1,
    "workload": {"trace": "azure-conv", "requests": 60, "rate_per_s": 3},
    "slo": {"ttft_s": 0.5, "tpot_s": 0.02},
}
GRID = {"workload.rate_per_s": [2, 8, 20], "policy.token_budget": [512, 2048]}
SMALL = Sweep(base=BASE, grid=GRID, seeds=(0, 1))
RENT = 3.49  # of the panel's H100


@pytest.fixture(scope="module")
def table() -> list[dict[str, Any]]:
    return sweeps.run(SMALL, jobs=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command says to a mistake: one line."""

    def said(*arguments: Any) -> str:
        monkeypatch.setattr(sys, "argv", ["bytebill", "sweep", *map(str, arguments), "--jobs", "1"])
        with pytest.raises(SystemExit) as done:
            cli.main()
        lines = [line for line in capsys.readouterr().err.splitlines() if "operating points" not in line]  # how far
        assert done.value.code == 2 and len(lines) == 1
        return lines[0]

    return said


def test_rows_stand_in_the_grids_order_and_say_all(table: list[dict[str, Any]]) -> None:
    told = [(row["workload_rate_per_s"], row["policy_token_budget"], row["seed"]) for row in table]
    assert told == [(rate, budget, seed) for rate in (2, 8, 20) for budget in (512, 2048) for seed in (0, 1)]
    assert all(
        set(row) >= {*RESULTS, "point", "refused", *(name.replace(".", "_") for name in FIELDS)} for row in table
    )
    assert len({row["point"] for row in table}) == SMALL.n_points == 12
    for row in table:
        assert row["refused"] is None and row["n_finished"] == 60
        assert row["usd_per_million_output_tokens"] == pytest.approx(RENT / 3600 / row["output_tokens_per_s"] * 1e6)
        assert row["slo_met"] == (row["ttft_p99_s"] <= 0.5 and row["tpot_p99_s"] <= 0.02)
        assert row["goodput_requests_per_s"] == pytest.approx(row["slo_share"] * row["requests_per_s"])
    assert table[0]["ttft_p99_s"] < table[-1]["ttft_p99_s"]


def test_processes_make_the_same_table(table: list[dict[str, Any]]) -> None:
    assert sweeps.run(SMALL, jobs=2) == table


def test_a_dask_cluster_makes_the_same_table(table: list[dict[str, Any]], cluster: Any) -> None:
    assert len(cluster.scheduler.workers) == 2
    assert sweeps.run(SMALL, dask=cluster.scheduler_address) == table


def test_a_worker_that_is_killed_loses_nothing(table: list[dict[str, Any]], cluster: Any, tmp_path: Path) -> None:
    killed = []

    def kill_one(done: int, total: int) -> None:
        if done == 4 and not killed:
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.process.pid)
            os.kill(worker.process.process.pid if hasattr(worker.process, "process") else killed[0], signal.SIGKILL)

    out = tmp_path / "t.csv"
    assert sweeps.run(SMALL, dask=cluster.scheduler_address, out=out, progress=kill_one) == table
    assert killed and out.read_text() == sweeps.as_csv(table)


def test_a_local_process_that_is_killed_loses_nothing(table: list[dict[str, Any]]) -> None:
    import psutil

    killed = []

    def kill_one(done: int, total: int) -> None:
        if done == 3 and not killed:
            workers = [
                child
                for child in psutil.Process().children(recursive=True)
                if "loky" in " ".join(child.cmdline()) and "resource_tracker" not in " ".join(child.cmdline())
            ]
            killed.append(workers[0].pid)
            workers[0].kill()

    assert sweeps.run(SMALL, jobs=2, progress=kill_one) == table
    assert killed


def test_a_killed_run_goes_on_and_ends_in_the_same_table(table: list[dict[str, Any]], tmp_path: Path) -> None:
    file, out = tmp_path / "s.yaml", tmp_path / "t.csv"
    slow = {**BASE, "workload": {**BASE["workload"], "requests": 1500}}
    file.write_text(yaml.safe_dump({**slow, "grid": GRID, "seeds": 2}, sort_keys=False))
    command = [sys.executable, "-m", "bytebill.cli", "sweep", str(file), "--out", str(out), "--jobs", "1"]
    journal = tmp_path / "t.csv.part"
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert not out.exists()
    n_kept = journal.read_text().count("\n") - 1
    journal.write_text(journal.read_text() + '{"half a li')
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr.startswith(f"{n_kept}/12")
    assert not journal.exists()
    whole = sweeps.run(Sweep(base=slow, grid=GRID, seeds=(0, 1)), jobs=1)
    assert out.read_text() == sweeps.as_csv(whole)


def test_what_is_done_is_not_done_again(
    table: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a full disk, which ends in one sentence."""
    out, put = tmp_path / "t.csv", sweeps._Journal._put

    def full(journal: Any, lines: list[str]) -> None:
        if len(journal.rows) == 5:
            raise OSError(28, "No space left on device")
        put(journal, lines)

    monkeypatch.setattr(sweeps._Journal, "_put", full)
    with pytest.raises(BytebillError, match=r"the disk is full\); 4 rows are in it, and the same command goes on"):
        sweeps.run(SMALL, jobs=1, out=out)
    monkeypatch.setattr(sweeps._Journal, "_put", put)
    ran = []
    monkeypatch.setattr(sweeps, "_one", lambda point: ran.append(point) or {"point": point_id(point), **row_of(point)})
    assert sweeps.run(SMALL, jobs=1, out=out) == table and len(ran) == 8


def test_a_journal_that_is_opened_anew_is_never_half_there(
    table: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, journal = tmp_path / "t.csv", tmp_path / "t.csv.part"
    head = sweeps._Journal(out, [sweeps._priced(point) for point in SMALL.points()])._head
    whole = "\n".join([head, *map(json.dumps, table[:3]), "[1]", '{"point": '])
    journal.write_text(whole)
    with monkeypatch.context() as patched, pytest.raises(BytebillError, match="could not be written"):
        patched.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        sweeps.run(SMALL, jobs=1, out=out)
    assert journal.read_text() == whole
    ran = []
    monkeypatch.setattr(sweeps, "_one", lambda point: ran.append(point) or {"point": point_id(point), **row_of(point)})
    assert sweeps.run(SMALL, jobs=1, out=out) == table and len(ran) == len(table) - 3


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_that_has_no_room_leaves_its_rows_and_the_older_table(
    name: str, table: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("older")
    with monkeypatch.context() as patched, pytest.raises(BytebillError, match=r"disk is full\); its rows are kept"):
        patched.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        sweeps.write_table(table, tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "older")]


def test_the_journal_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / "t.csv.part"
    journal.write_text('{"sweep": "another"}\n')
    with pytest.raises(BytebillError, match="rows of another sweep; move it away"):
        sweeps.run(SMALL, jobs=1, out=tmp_path / "t.csv")
    assert journal.read_text() == '{"sweep": "another"}\n'


def test_a_parquet_holds_the_same_rows(table: list[dict[str, Any]], tmp_path: Path) -> None:
    from pyarrow import parquet

    sweeps.run(SMALL, jobs=1, out=tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").to_pylist() == table


def test_a_point_that_nobody_can_serve_says_why_and_stops_nothing() -> None:
    small = {**BASE, "workload": {**BASE["workload"], "requests": 5}}
    rows = sweeps.run(Sweep(base=small, grid={"model": ["llama-3-70b", "llama-3-8b"], "devices": [1, 3]}), jobs=1)
    reasons = [row["refused"] for row in rows]
    assert "no room for a cache" in reasons[0] or "hold" in reasons[0]
    assert "split evenly" in reasons[1] and reasons[2] is None and rows[0]["ttft_p99_s"] is None


@pytest.mark.parametrize("seed", [0])
def test_clusters_are_points_too(seed: int) -> None:
    two = {"cluster.replicas": [1, 2]}
    one, both = sweeps.run(Sweep(base=BASE, grid=two, seeds=(seed,)), jobs=1)
    assert (one["n_devices"], both["n_devices"]) == (1, 2) and both["mean_running"] < one["mean_running"] + 1
    base = {**BASE, "cluster": {"prefill_replicas": 1, "decode_replicas": 2}}
    assert sweeps.run(Sweep(base=base), jobs=1)[0]["n_devices"] == 3


def test_every_field_of_deployment_workload_and_policy_can_be_varied() -> None:
    assert {"model", "accelerator", "devices", "weights", "kv", "attention", "workload.cv", "policy.kind"} <= set(
        FIELDS
    )
    base = {**BASE, "workload": {"input_tokens": 100, "output_tokens": 10, "requests": 20, "concurrency": 4}}
    grid = {"policy.kind": ["continuous", "chunked"], "policy.n_slots": [2, 8], "policy.mixed": [True, False]}
    rows = sweeps.run(Sweep(base=base, grid=grid), jobs=1)
    assert all(row["n_finished"] == 20 for row in rows) and rows[0]["mean_running"] <= 2
    for row in rows:  # four users are always there, but while the last answers come
        assert 0 <= row["mean_in_queue"] <= row["mean_in_system"] <= 4 and row["mean_in_system"] > 3


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([1], "gives fields their values, as in `model: llama-3-8b`"),
        ([1], "this one holds a list."),
        ("# no more", "this one holds nothing."),
        ("model: llama-3-8b\nmodel: opt-13b", "s.yaml cannot be read: 'model' is named twice, line 2."),
        ("grid: {devices: [1],\n  devices: [2]}", "'devices' is named twice, line 2."),
        ("model: [1,\ngrid: }", "while parsing a flow node expected the node content, but found '}', line 2."),
        ("model: a\n\nkv: \x07", "a character that YAML has not, line 3."),
        (b"model: a\nkv: \xff", "s.yaml cannot be read: no UTF-8 in line 2."),
        ("a: &a [1, 1]\nb: &b [*a, *a]\nkv: *b", "no field of a sweep 'a'; there are 37, such as model"),
        ("workload: &a {trace: *a}", "workload.trace is a text, not a mapping."),
        (f"devices: 0x{'f' * 5000}", "devices is a whole number from 1 up to 1,000,000,000,000, not 0xfff"),
        (f"seeds: [0x{'f' * 5000}]", "Seeds are whole numbers up to"),
        ({"modell": "x"}, "no field of a sweep 'modell'; nearest: model."),
        ({"grid": {"grid": [1]}}, "there are 37, such as model, accelerator, devices: see `bytebill.sim.sweep`."),
        ({"slo": {"ttft": 1}}, "There is no field of slo 'ttft'; nearest: ttft_s."),
        ({"workload": 5}, "workload holds fields (workload.trace, "),
        ({"workload": 5}, "workload.rate_per_s"),
        ({"grid": {"workload": [1, 2]}}, "and has no value of its own."),
        ({"model": "llama-3-8"}, "There is no model 'llama-3-8'; nearest: llama-3-8b"),
        ({"model": "a\nb"}, "There is no model 'a\\nb'; there are 4"),
        ({"grid": {"accelerator": ["h100-sxm", "h100"]}}, "There is no accelerator 'h100'; nearest: h100-sxm"),
        ({"program": "vlm"}, "There is no program 'vlm'; nearest: vllm."),
        ({"workload": {"trace": "azure"}}, "There is no trace 'azure'; nearest: azure-conv"),
        ({"workload": {"trace": "alpaca-vllm"}}, "Of alpaca-vllm too few quantiles are published"),
        ({"cluster": {"router": "least"}}, "There is no router 'least'; there are: round robin, least loaded"),
        ({"grid": {"weights": ["fp8", "fp9"]}}, "There is no width of weights 'fp9'; nearest: fp8."),
        ({"kv": "fp4"}, "There is no width of the cache 'fp4'; nearest: fp8."),
        ({"grid": {"policy": {"n_slots": [1]}, "policy.n_slots": [2]}}, "names policy.n_slots twice"),
        ({"grid": {"devices": []}}, "no list of values for devices"),
        ({"grid": {"devices": [1, 1]}}, "a value of devices twice"),
        ({"grid": {"workload.rate": [1]}}, "no field of workload 'rate'"),
        ({"grid": 3}, "A grid is a mapping"),
        ({"devices": "four"}, "devices is a whole number from 1 up"),
        ({"devices": True}, "devices is a whole number from 1 up"),
        ({"workload": {"rate_per_s": -1}}, "workload.rate_per_s is a number from 0 up"),
        ("workload.rate_per_s: 1e3", "as in 0.5 or 1.0e+3, not '1e3'."),
        ({"policy": {"mixed": 1}}, "policy.mixed is true or false"),
        ({"workload": {"cv": math.inf}}, "workload.cv is a number from 0 up"),
        ({"workload": {"cv": None}}, "workload.cv cannot be left out"),
        ({"model": None}, "model cannot be left out"),
        ({"workload": {"requests": None}}, "workload.requests cannot be left out"),
        ({"workload": {"requests": 0}}, "workload.requests is a whole number from 1 up"),
        ({"policy": {"n_slots": 2**70}}, "policy.n_slots is a whole number"),
        ({"seeds": 3_000_000_000}, "more than 1,000,000"),
        ({"workload": {"rate_per_s": 2}, "workload.rate_per_s": 3}, "names workload.rate_per_s twice"),
        ({"devices": 3, "workload": {"input_tokens": 9, "output_tokens": 9}}, "No point can be served"),
        ({"workload": {"rate_per_s": 1, "concurrency": 2}}, "its rate_per_s or its concurrency, not by both"),
        ({"seeds": []}, "Seeds are whole numbers"),
        ({"seeds": "two"}, "Seeds are a list, or how many"),
    ],
)
def test_a_bad_file_ends_in_one_sentence(document: Any, says: str, tmp_path: Path, sweep: Any) -> None:
    text = document if isinstance(document, (str, bytes)) else yaml.safe_dump(document)
    (tmp_path / "s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert says in sweep(tmp_path / "s.yaml")


@pytest.mark.parametrize("name", sorted(_TEXTS))
def test_a_text_that_names_nothing_is_refused_before_any_point_runs(name: str) -> None:
    with pytest.raises(BytebillError, match="zzz"):
        Sweep(base=BASE, grid={name: ["zzz"]})


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Any) -> None:
    assert sweep(tmp_path / "s.yaml") == f"There is no file {tmp_path / 's.yaml'}."
    assert sweep(tmp_path) == f"{tmp_path.name} cannot be read: Is a directory."

    def closed(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")  # no chmod keeps root out

    monkeypatch.setattr(Path, "open", closed)
    assert sweep(tmp_path / "s.yaml") == "s.yaml cannot be read: Permission denied."


def test_a_table_never_takes_the_sweeps_place(tmp_path: Path, sweep: Any) -> None:
    file = tmp_path / "s.csv"
    file.write_text(told := yaml.safe_dump(BASE))
    assert sweep(file, "--out", tmp_path / "." / "s.csv") == f"{file} is the sweep; name another table."
    assert file.read_text() == told


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"jobs": 0}, "at least one process"),
        ({"out": "t.xlsx"}, r"a \.csv or a \.parquet"),
        ({"out": "nowhere/t.csv"}, "There is no folder"),
        ({"dask": "nonsense://x"}, "No Dask scheduler answers at nonsense"),
        ({"dask": "nonsense"}, "No Dask scheduler answers at nonsense"),
    ],
)
def test_bad_arguments_end_in_one_sentence_soon(given: dict[str, Any], says: str) -> None:
    began = time.monotonic()
    with pytest.raises(BytebillError, match=says):
        sweeps.run(SMALL, **given)
    gc.collect()  # a client of an address that is none holds its process for 20 s
    assert time.monotonic() - began < 19


def test_a_scheduler_that_is_not_there_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(sweeps, "CONNECT_S", 1)
    with pytest.raises(BytebillError, match=f"No Dask scheduler answers at {address}"):
        sweeps.run(SMALL, dask=address)


def test_the_readmes_sweep_runs() -> None:
    text = (data.REPOSITORY / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    asked = Sweep.read(yaml.safe_load(text))
    rows = sweeps.run(asked, jobs=1)
    assert len(rows) == asked.n_points == 24 and all(row["n_finished"] == 500 for row in rows)
    assert {row["slo_met"] for row in rows} == {True, False}


def test_the_command_prints_the_table(table: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**BASE, "grid": GRID, "seeds": 2}, sort_keys=False))
    command = [sys.executable, "-m", "bytebill.cli", "sweep", str(tmp_path / "s.yaml"), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == sweeps.as_csv(table)
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(as_json.stdout)["rows"] == table


HARD: dict[str, Any] = {  # nothing of the group or the policy as it is by default
    **{"model": "llama-3-8b", "accelerator": "h200-sxm", "devices": 2, "program": "sglang", "usd_per_gpu_hour": 4.0},
    **{"weights": "fp8", "kv": "fp8"},
    "policy": {"n_slots": 6, "token_budget": 1024, "block_size_tokens": 32, "watermark": 0.1},
    "workload": {"trace": "azure-code", "requests": 40, "rate_per_s": 60, "max_len_tokens": 3000},
    "slo": {"ttft_s": 0.3, "tpot_s": 0.006, "itl_s": 0.05, "e2e_s": 0.5, "attainment": 0.7},
}
CARD, ASKED = (
    accelerator("h200-sxm"),
    synthetic("azure-code", 40, arrivals=Poisson(60, seed=7), max_len_tokens=3000, seed=7),
)


def group(attention: str = "tensor") -> Deployment:
    spec = find("llama-3-8b")[0]
    width = replace(checkpoint_precision("fp8", spec), kv_bytes_per_value=1)
    two = Deployment(model=spec, accelerator=CARD, precision=width, n_devices=2, attention=attention)
    return as_served(two, program("sglang"), step_tokens=1024)


POLICY = Policy(n_slots=6, token_budget=1024, mixed=False, block_size_tokens=32, watermark=0.1)
RATES = calibrated_constants("sglang", "h200-sxm")


def pool(role: str = "both", n: int = 1, attention: str = "tensor") -> Pool:
    return Pool(deployment=group(attention), policy=POLICY, constants=RATES, role=role, n_replicas=n)


def row(**changes: Any) -> dict[str, Any]:
    base = {**HARD, **changes, "workload": {**HARD["workload"], **changes.get("workload", {})}}
    return row_of(next(Sweep(base=base, seeds=(7,)).points()))


def columns(m: Metrics) -> dict[str, Any]:
    """What a row says of a run, by this test's own reading of the names."""
    latencies = {"ttft": m.ttft_s, "tpot": m.tpot_s, "e2e": m.e2e_latency_s}
    ranked = {name: sorted(each) for name, each in latencies.items()}
    ranked["itl"] = sorted(gap for gap, n in zip(m.itl_s, m.itl_weight, strict=True) for _ in range(n))
    names = ("requests_per_s", "output_tokens_per_s", "mean_running", "mean_in_system", "mean_in_queue")
    return {
        **{
            f"{name}_p{q}_s": each[math.ceil(q / 100 * len(each)) - 1]
            for name, each in ranked.items()
            for q in (50, 99)
        },
        **{name: getattr(m, name) for name in (*names, "n_finished", "end_s", "kv_utilization", "n_preemptions")},
        "n_refused": len(m.refusals),
    }


@pytest.mark.parametrize(
    ("workload", "asked", "users"),
    [
        ({}, ASKED, None),
        ({"requests": 25}, replace(ASKED, n_requests=25), None),
        ({"cv": 0}, replace(ASKED, arrivals=Evenly(60)), None),
        ({"cv": 2.5}, replace(ASKED, arrivals=Bursty(60, cv=2.5, seed=7)), None),
        ({"rate_per_s": None}, replace(ASKED, arrivals=None), None),
        ({"rate_per_s": None, "concurrency": 3}, replace(ASKED, arrivals=None), 3),
        (
            {"trace": None, "input_tokens": 300, "output_tokens": 20},
            replace(ASKED, inputs=Fixed(300), outputs=Fixed(20), max_len_tokens=None),
            None,
        ),
    ],
)
def test_a_row_is_the_run_that_its_point_asks_for(workload: dict[str, Any], asked: Workload, users: int | None) -> None:
    m = serve_on(group(), asked, POLICY, constants=RATES, concurrency=users).metrics
    found = row(workload=workload)
    assert found["refused"] is None and found["n_devices"] == 2
    assert {name: found[name] for name in columns(m)} == pytest.approx(columns(m), rel=1e-12)
    assert found["usd_per_million_output_tokens"] == pytest.approx(2 * 4 / 3600 / m.output_tokens_per_s * 1e6)


@pytest.mark.parametrize(
    ("changes", "cluster"),
    [
        ({"attention": "data"}, lambda: Cluster(pools=(pool(attention="data"),))),
        ({"cluster": {"replicas": 3}}, lambda: Cluster(pools=(pool(n=3),))),
        (
            {"cluster": {"replicas": 3, "router": "round robin"}},
            lambda: Cluster(pools=(pool(n=3),), router="round robin"),
        ),
        (
            {"cluster": {"prefill_replicas": 1, "decode_replicas": 2}},
            lambda: Cluster(pools=(pool("prefill"), pool("decode", 2))),
        ),
    ],
)
@pytest.mark.parametrize("users", [None, 8])
def test_a_row_is_the_cluster_that_its_point_asks_for(changes: dict[str, Any], cluster: Any, users: int | None) -> None:
    rate = {} if users is None else {"rate_per_s": None, "concurrency": users}
    found, made = row(**changes, workload=rate), cluster()
    m = made.serve(replace(ASKED, arrivals=ASKED.arrivals if users is None else None), concurrency=users).metrics
    assert {name: found[name] for name in columns(m)} == pytest.approx(columns(m), rel=1e-12)
    assert found["n_devices"] == made.n_devices
    assert found["usd_per_million_output_tokens"] == pytest.approx(
        made.n_devices * 4 / 3600 / m.output_tokens_per_s * 1e6
    )


def test_a_row_counts_who_was_refused_and_who_lost_a_place() -> None:
    """The weights leave room for some 5,000 tokens, and the longest prompts are longer."""
    whole = footprint_of("llama-3-70b", accelerator="h100-sxm", program="sglang", weights="fp8").deployment
    small, asked = as_served(whole, program("sglang")), synthetic("azure-conv", 40, seed=1)
    rates, policy = calibrated_constants("sglang", "h100-sxm"), policy_of("sglang", accelerator("h100-sxm"))
    m = serve_on(small, asked, policy, constants=rates, concurrency=8).metrics
    said = {"weights": "fp8", "devices": 1, "program": "sglang"}
    workload = {"trace": "azure-conv", "requests": 40, "concurrency": 8}
    found = row_of(next(Sweep(base={**said, "workload": workload}, seeds=(1,)).points()))
    assert {name: found[name] for name in columns(m)} == pytest.approx(columns(m), rel=1e-12)
    assert found["n_preemptions"] > 0 and found["n_refused"] > 0 and found["n_finished"] + found["n_refused"] == 40


@pytest.mark.parametrize("roles", [{"prefill_replicas": 1}, {"decode_replicas": 1}])
def test_a_pool_without_its_other_half_is_refused(roles: dict[str, int]) -> None:
    assert row(cluster=roles)["refused"].startswith("A pool has at least one replica")


@pytest.mark.parametrize(
    "limits",
    [
        {"ttft_s": 0.1},
        {"tpot_s": 0.006},
        {"itl_s": 0.02},
        {"e2e_s": 0.5},
        {"ttft_s": 0.1, "attainment": 0.4},
        {"ttft_s": 9, "tpot_s": 9, "itl_s": 9, "e2e_s": 0.5},
    ],
)
def test_a_row_is_judged_by_the_limits_of_its_point(limits: dict[str, float]) -> None:
    m, slo, found = serve_on(group(), ASKED, POLICY, constants=RATES).metrics, Slo(**limits), row(slo=limits)
    assert (found["slo_met"], found["slo_binds"]) == (slo.met(m), slo.binding(m))
    assert found["slo_share"] == slo.share(m)
    assert found["goodput_requests_per_s"] == slo.goodput_requests_per_s(m)
    assert found["goodput_tokens_per_s"] == slo.goodput_tokens_per_s(m)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workload": {"rate_per_s": 0}}, "An arrival rate is positive, not 0 per second."),
        ({"slo": {"ttft_s": 0}}, "A limit on TTFT is a time above zero, not 0 s."),
        ({"policy": {"watermark": 1}}, "A watermark is a share of the pool, from 0 to below 1, not 1."),
        (
            {"workload": {"trace": None, "input_tokens": 5}},
            "A workload has a trace, or input_tokens and output_tokens.",
        ),
        (
            {"workload": {"trace": None, "output_tokens": 5}},
            "A workload has a trace, or input_tokens and output_tokens.",
        ),
    ],
)
def test_a_point_that_cannot_be_is_a_row_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    found = row(**changes)
    assert found["refused"] == reason and {found[name] for name in RESULTS} == {None}
    assert (found["model"], found["workload_requests"], found["seed"]) == ("llama-3-8b", 40, 7)


def test_what_a_row_cannot_know_is_left_empty() -> None:
    """Without limits, without a rent, and with answers of one token."""
    found = row(slo={}, usd_per_gpu_hour=None, workload={"trace": None, "input_tokens": 9, "output_tokens": 1})
    empty = {name for name in RESULTS if found[name] is None}
    unknown = {"tpot_p50_s", "tpot_p99_s", "itl_p50_s", "itl_p99_s", "usd_per_million_output_tokens"}
    assert found["refused"] is None
    assert empty == unknown | {name for name in RESULTS if name.startswith(("slo_", "goodput_"))}


@pytest.mark.parametrize("name", FIELDS)
def test_a_point_is_known_by_all_that_it_says(name: str) -> None:
    (point,) = Sweep(base=BASE).points()
    turned = dict(reversed(point.items()))
    assert point_id(turned) == point_id(point) and len(point_id(point)) == 16
    assert point_id(point | {name: "other"}) != point_id(point) != point_id(point | {"seed": 1})


@pytest.mark.parametrize(
    ("document", "seeds", "values"),
    [
        ({}, (0,), []),
        ({"seeds": 3}, (0, 1, 2), []),
        ({"seeds": [7, -5]}, (7, -5), []),
        ({"grid": {"policy": {"n_slots": [4, 2]}, "devices": [8, 1]}}, (0,), [(4, 8), (4, 1), (2, 8), (2, 1)]),
    ],
)
def test_a_file_says_its_seeds_and_its_grid(document: dict[str, Any], seeds: tuple[int, ...], values: Any) -> None:
    asked = Sweep.read({"model": "llama-3-8b", "workload": {"cv": 2}, "workload.requests": 5, **document})
    points = list(asked.points())
    assert asked.seeds == seeds and len(points) == asked.n_points == len(seeds) * max(len(values), 1)
    assert [point["seed"] for point in points] == [*seeds] * max(len(values), 1)
    assert [(p["policy.n_slots"], p["devices"]) for p in points] == (values or [(None, 4)] * len(seeds))
    assert {(p["model"], p["workload.cv"], p["workload.requests"]) for p in points} == {("llama-3-8b", 2, 5)}


def test_what_a_sweep_does_not_name_is_usual() -> None:
    """Four H100s, a thousand requests at random times, and the program's own policy."""
    usual = {"model": "llama-3-70b", "accelerator": "h100-sxm", "devices": 4, "program": "vllm", "weights": "auto"}
    usual |= {"kv": "bf16", "attention": "tensor", "workload.requests": 1000, "workload.cv": 1.0}
    usual |= {"cluster.replicas": 1, "cluster.prefill_replicas": 0, "cluster.decode_replicas": 0}
    usual |= {"cluster.router": "least loaded", "seed": 0}
    assert next(Sweep().points()) == dict.fromkeys(FIELDS) | usual


MOST = 10**12
FROM_ONE = [
    *("devices", "cluster.replicas", "workload.requests", "workload.concurrency"),
    *("workload.input_tokens", "workload.output_tokens"),
    *("policy.n_slots", "policy.token_budget", "policy.block_size_tokens"),
]
FROM_NONE = [
    *("workload.max_len_tokens", "cluster.prefill_replicas", "cluster.decode_replicas"),
    *("policy.pad_input_to", "policy.pad_output_to", "policy.n_host_blocks"),
]
ANY_NUMBER = [
    *("slo.ttft_s", "slo.tpot_s", "slo.itl_s", "slo.e2e_s", "slo.attainment"),
    *("workload.rate_per_s", "workload.cv", "usd_per_gpu_hour", "policy.watermark", "policy.window_s"),
]


@pytest.mark.parametrize(
    ("names", "kept", "refused"),
    [
        (FROM_ONE, (1, MOST), (0, -1, MOST + 1, 1.0, True, "1")),
        (FROM_NONE, (0, MOST), (-1, MOST + 1, 0.0, False, "1")),
        (ANY_NUMBER, (0, 0.5, MOST), (-0.5, MOST + 1, True, "1", math.nan)),
        (["policy.mixed", "policy.shares_prefixes"], (True, False), (0, 1, "true")),
        (["model"], ("llama-3-8b", "opt-13b"), ("", 3, True, ["opt-13b"], {"a": 1})),
    ],
)
def test_a_field_holds_what_it_can_hold(names: list[str], kept: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    for name in names:
        assert next(Sweep(base={name: kept[0]}).points())[name] == kept[0]
        Sweep(grid={name: list(kept)})
        for value in refused:
            with pytest.raises(BytebillError, match=re.escape(name)):
                Sweep(grid={name: [kept[0], value]})


def test_every_field_is_of_one_kind() -> None:
    of_a_kind = [*FROM_ONE, *FROM_NONE, *ANY_NUMBER, "policy.mixed", "policy.shares_prefixes", *_TEXTS]
    assert sorted(of_a_kind) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_only_what_has_no_value_of_its_own_can_be_left_out(name: str) -> None:
    own = next(Sweep().points())[name]
    if own is None:
        assert next(Sweep(base={name: None}).points())[name] is None
    else:
        with pytest.raises(BytebillError, match=f"^{name} cannot be left out; leave it away for {own}.$"):
            Sweep(base={name: None})


@pytest.mark.parametrize(
    ("seeds", "known"),
    [
        ((MOST, -MOST), True),
        ((MOST + 1,), False),
        ((-MOST - 1,), False),
        ((0, 0), False),
        ((), False),
        ((True,), False),
        ((0.0,), False),
    ],
)
def test_seeds_are_whole_and_each_of_them_once(seeds: tuple[Any, ...], known: bool) -> None:
    if known:
        assert Sweep(seeds=seeds).n_points == len(seeds)
    else:
        with pytest.raises(BytebillError, match="Seeds are whole numbers"):
            Sweep(seeds=seeds)


def test_a_sweep_has_a_million_points_at_most() -> None:
    grid = {"devices": list(range(1, 1001))}
    assert Sweep(grid=grid, seeds=tuple(range(1000))).n_points == 1_000_000
    with pytest.raises(BytebillError, match="1,001,000 points is more than 1,000,000"):
        Sweep(grid=grid, seeds=tuple(range(1001)))
    with pytest.raises(BytebillError, match="1,000,001 points is more"):
        Sweep.read({"seeds": 1_000_001})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"workload.rate_per_s": 1}, {"workload.concurrency": 2}),
        ({"workload.trace": "azure-conv"}, {"workload.input_tokens": 2}),
    ],
)
def test_a_workload_is_told_in_one_way(one: dict[str, Any], other: dict[str, Any]) -> None:
    listed = [{name: [value] for name, value in each.items()} for each in (one, other)]
    for base, grid in ((one | other, {}), (one, listed[1]), (other, listed[0]), ({}, listed[0] | listed[1])):
        with pytest.raises(BytebillError, match="not by both"):
            Sweep(base=base, grid=grid)
    assert Sweep(base=one | dict.fromkeys(other)).n_points == Sweep(grid=listed[0]).n_points == 1
