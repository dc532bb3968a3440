"""One table whoever runs the points: this process, others, a Dask cluster, a worker that dies, a run that is killed."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bytebill import cli, data
from bytebill.errors import BytebillError
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
