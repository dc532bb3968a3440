"""What is measured has the shape that was promised; no test here depends on how fast the machine is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from math import hypot, inf
from pathlib import Path

import psutil
import pytest
import torch

from bytebill import data
from bytebill.device import Device, container_bytes, cpu_name, pick, used_memory_bytes
from bytebill.engine.kernels import openmp, panels, reading
from bytebill.engine.serve import serve
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import random_weights
from bytebill.errors import BytebillError
from bytebill.measure import ceilings, neighbours, peers, prefix
from bytebill.measure.decode import DecodePoint, median_error, point, sweep_beside_kernel, taken_apart
from bytebill.measure.decoders import build_stack, hollow
from bytebill.measure.paging import attention_by_block_size
from bytebill.measure.prefix import ttft_by_hit
from bytebill.measure.sizes import sizes_for
from bytebill.measure.timing import Timing, drift, launches, timed, times
from bytebill.models import model
from bytebill.records import read_record, write_record
from bytebill.trials import bench, record

TINY_SPEC = replace(model("smollm2-135m"), id="tiny", n_layers=2)
KEYS = {"dtype", "batch", "step_s", "tokens_per_s", "weight_bytes", "fraction_of_read", "predicted_s"}


@pytest.fixture(scope="module")
def cpu() -> Device:
    return pick("cpu")


def test_a_device_says_what_it_is(cpu):
    assert cpu.name == cpu_name()
    assert cpu.memory_bytes > 1e8
    assert cpu.torch.type == "cpu"
    assert "threads" in str(cpu)
    assert used_memory_bytes(cpu) > 1e7


GROUPS = {  # of versions 2 and 1: what a process is told, and the files of a group
    "2": ("0::/user/me\n", "", ("memory.max", "memory.current", "inactive_file")),
    "1": (
        "5:cpu,cpuacct:/\n4:memory:/user/me\n0::/\n",
        "memory",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ),
}
LIMITED = {"": ("max", 0, 0), "user": (4 * 10**9, 10**9, 0), "user/me": (2 * 10**9, 10**9, 25 * 10**7)}


@pytest.mark.parametrize("version", GROUPS)
@pytest.mark.parametrize(("n_seen", "left"), [(3, 1.25e9), (2, 3e9), (1, inf)])  # of the groups; a container sees fewer
def test_a_container_is_not_promised_its_hosts_memory(version: str, n_seen: int, left: float, tmp_path: Path) -> None:
    told, room, (limit, used, droppable) = GROUPS[version]
    (tmp_path / "told").write_text(told)
    for path in list(LIMITED)[:n_seen]:
        limited, taken, kept = LIMITED[path]
        group = tmp_path / room / path
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{limited}\n")
        (group / used).write_text(f"{taken}\n")
        (group / "memory.stat").write_text(f"cache 7\n{droppable} {kept}\n")
    assert container_bytes(groups=tmp_path / "told", mounted=tmp_path) == left


@pytest.mark.parametrize(("left", "free"), [(2e9, 2e9), (-1e9, 0)])  # more may be used than a limit that fell
def test_what_a_container_leaves_is_what_is_free(left: float, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytebill.device.container_bytes", lambda: left)
    assert pick("cpu").memory_bytes == free


def test_a_limit_of_addresses_is_heeded() -> None:
    resource = pytest.importorskip("resource", reason="no Unix")
    (soft, hard), taken = resource.getrlimit(resource.RLIMIT_AS), psutil.Process().memory_info().vms
    try:
        resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 30), hard))  # as `ulimit -v` does
        assert 0 < pick("cpu").memory_bytes <= 1 << 30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_small_machine_gets_fewer_stacks(cpu: Device) -> None:
    least, most = (sizes_for(replace(cpu, memory_bytes=n << 30)) for n in (2, 64))
    assert most.layers((1, 2, 4, 8, 12)) == [1, 2, 4, 8, 12] and least.layers((1, 2, 4, 8, 12)) == [1, 2, 4]
    assert (sum((1, 2, 4)) + 4 / 2) * least.pair_bytes <= 1 << 30


def test_a_device_that_is_not_there_gets_a_sentence():
    with pytest.raises(BytebillError, match="no device 'gpu'"):
        pick("gpu")
    if pick().kind != "cuda":
        with pytest.raises(BytebillError, match="no cuda device"):
            pick("cuda")


def test_a_call_and_its_reference_take_turns():
    calls: list[str] = []
    timing = timed(lambda: calls.append("a"), sync=lambda: None, reference=lambda: calls.append("b"), repeats=3)
    assert "".join(calls) == "abababab"  # once to warm up, three times to count
    assert len(timing.samples_s) == len(timing.reference_samples_s) == 3


def test_a_reference_that_moves_is_told():
    assert drift([40e9, 31e9]) is None
    assert "moved by 50%" in str(drift([40e9, 20e9]))


def test_a_small_model_on_a_gpu_tells_of_launches_and_a_large_one_does_not():
    """By the record of an H200: a prompt of 1,024 tokens (2 FLOPs a weight and token) beside one launched step."""
    record = data.measured("h200-b-launch")
    peak, read = record["ceilings"]["peak_flops_per_s"]["bf16"], record["ceilings"]["read_bytes_per_s"]
    told = {}
    for timed_step in record["points"]:
        if timed_step["what"].startswith("step of") and timed_step["batch_size"] == 1:
            prompt_s = 1024 * timed_step["weight_bytes"] / peak  # 16 bits: as many FLOPs a token as bytes
            step = {"least_s": timed_step["median_s"], "least_work_s": timed_step["weight_bytes"] / read}
            told[timed_step["what"].removeprefix("step of "), timed_step["way"]] = launches(prompt_s, **step)
    assert "7.1 ms here beside its work, longer than the 0.34 ms" in str(told["smollm2-135m", "launched"])
    assert told["llama-3-8b", "launched"] is None
    assert told["llama-3-8b", "replayed"] is None
    assert launches(1.0, least_s=1.5, least_work_s=0.5) is None and launches(1.0, least_s=1.6, least_work_s=0.5)


def test_a_point_lies_between_the_two_bounds(cpu):
    timing = Timing(samples_s=(0.011,), reference_samples_s=(0.008,))
    small = replace(build_stack(cpu, dtype="fp32", n_layers=1, d_model=64, d_ff=64), weight_bytes=80, n_weights=750_000)
    found = point(small, 4, timing, peaks={"fp32": 1e9}, rest_s=0.001)
    assert found.predicted_s == pytest.approx(hypot(0.008, 0.006) + 0.001)
    assert found.fraction_of_read == pytest.approx(8 / 11)
    assert found.error == pytest.approx(0)
    slow = point(small, 4, timing, peaks={"fp32": 1e9})  # 11 ms, of which 10 foreseen
    assert slow.error == pytest.approx(10 / 11 - 1)
    assert set(asdict(found)) >= KEYS


def test_the_kernels_own_rate_takes_the_place_of_the_peak_where_it_is_known(cpu):
    timing = Timing(samples_s=(0.011,), reference_samples_s=(0.003,))
    small = replace(build_stack(cpu, dtype="fp32", n_layers=1, d_model=64, d_ff=64), weight_bytes=80, n_weights=500_000)
    own = {4: 1e9}
    points = [point(small, batch, timing, peaks={"fp32": 2e9}, rates=own, rest_s=0.0035) for batch in (4, 8)]
    assert [each.predicted_s for each in points] == pytest.approx([hypot(0.003, 0.004) + 0.0035] * 2)
    assert {each.largest_term for each in points} == {"multiplies"}
    assert point(small, 1, timing, peaks={"fp32": 1e12}).largest_term == "reads"
    assert point(small, 1, timing, peaks={"fp32": 1e12}, rest_s=0.004).largest_term == "rest"


def test_a_kernel_has_a_rate_at_each_batch_on_a_cpu_alone(cpu):
    small = build_stack(cpu, dtype="fp32", n_layers=1, d_model=64, d_ff=64)
    timings, rates = sweep_beside_kernel(small, (1, 4, 8, 16), repeats=2)
    assert all(len(timings[n].samples_s) == len(timings[n].reference_samples_s) == 2 for n in (1, 4, 8, 16))
    assert sweep_beside_kernel(small, (1,), repeats=1)[1] == {}  # below eight it would be a cache that is measured
    assert set(rates) == {8, 16} and all(1e7 < rate < 1e14 for rate in rates.values())


def test_the_median_error_stops_at_batch_64():
    rows = {"dtype": "fp32", "spread": 0.0, "tokens_per_s": 1.0, "weight_bytes": 1, "read_bytes_per_s": 1.0}
    points = [
        DecodePoint(batch=batch, step_s=1.0, predicted_s=1 + error, fraction_of_read=1.0, **rows)
        for batch, error in ((1, 0.1), (8, -0.2), (64, 0.3), (128, 5.0))
    ]
    assert median_error(points) == pytest.approx(0.2)


def test_this_machine_is_an_accelerator_with_measured_ceilings(cpu, monkeypatch):
    monkeypatch.setattr(ceilings, "read_bytes_per_s", lambda device: 20e9)
    monkeypatch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: {"fp32": 2e11, "bf16": 4e11}[dtype])
    machine = ceilings.machine(cpu, "fp32", "bf16")
    assert (machine.name, machine.memory_bytes) == (cpu.name, cpu.memory_bytes)
    assert (machine.ridge_point("fp32"), machine.ridge_point("bf16")) == (10, 20)


def test_memory_is_read_whole_or_in_pieces_and_the_bandwidth_is_the_fastest_read(cpu, monkeypatch):
    read: list[int] = []

    monkeypatch.setattr(ceilings, "read_buffer", lambda device: torch.ones(1000))
    monkeypatch.setattr(ceilings.reading, "read_once", lambda numbers: read.append(numbers.nbytes))
    assert len(ceilings.read_rates(cpu, repeats=3)) == 3 and set(read) == {4000}
    read.clear()
    ceilings.read_rates(cpu, piece_bytes=1600, repeats=1)
    assert read == [1600, 1600, 800] * 2  # once to warm up
    monkeypatch.setattr(ceilings, "read_rates", lambda device, *, repeats: (3.0, 5.0, 4.0))
    assert ceilings.read_bytes_per_s(cpu) == 5.0


@pytest.mark.skipif(not openmp.available(), reason="no numba, or no libgomp under torch")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_read_meets_every_vector_once(n_threads):
    """What it leaves behind are the bits of all that it saw: a single number anywhere shows."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for place in (0, 17, 300, 511, 640, 1023):
            numbers = torch.zeros(1024)
            numbers[place] = 3.5
            reading.read_once(numbers)
            assert (reading._seen()[:n_threads] == 3.5).sum() == 1
        reading.read_once(torch.zeros(1024))
        assert not reading._seen()[:n_threads, : panels.register_tile()[0]].any()
    finally:
        torch.set_num_threads(before)


def test_a_step_is_taken_apart(cpu):
    parts = taken_apart(random_weights(hollow(TINY_SPEC)), cpu, dtype="fp32", context_len=3, repeats=2)
    assert parts.n_matrices == 2 * TINY_SPEC.n_layers * 2 + 1  # qkv, output, gate and up, down; the head
    assert parts.weight_bytes > 0
    for timing in (parts.step, parts.matrices, parts.rest):
        assert len(timing.samples_s) >= 2 and timing.fastest_s <= timing.median_s


def test_a_stack_reads_all_of_its_layers(cpu):
    stack = build_stack(cpu, dtype="fp32", n_layers=3, d_model=64, d_ff=128)
    assert stack.n_weights == 3 * 2 * 64 * 128
    assert stack.weight_bytes == 4 * stack.n_weights
    assert len({linear.weight.data_ptr() for linear in stack.linears}) == 6
    assert stack.step(5)().shape == (5, 64)


def test_an_unknown_part_gets_a_sentence():
    with pytest.raises(BytebillError, match=r"no part of the bench 'stak'; nearest: stack"):
        bench.run(only="stak")


@pytest.fixture(scope="module")
def small_bench(cpu) -> dict:
    """A real run of the bench, small enough for a test."""
    patch = pytest.MonkeyPatch()
    patch.setattr(bench, "_BATCHES", (1, 2))
    patch.setattr(bench, "formats", lambda device: ("fp32",))
    patch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: 1e11)
    try:
        return bench.run(only="stack", device="cpu")
    finally:
        patch.undo()


def test_the_bench_is_one_json_object_with_the_promised_keys(small_bench):
    found = json.loads(json.dumps(small_bench))
    assert {"device", "threads", "pinned", "read_bytes_per_s", "peak_flops_per_s", "stack"} <= set(found)
    assert all(set(row) >= KEYS for row in found["stack"])
    assert [row["batch"] for row in found["stack"]] == [1, 2]
    assert found["stack"][0]["weight_bytes"] >= 500e6


def test_the_bench_shows_itself_as_a_table(small_bench):
    from rich.console import Console

    console = Console(record=True, width=100)
    console.print(bench.overview(small_bench))
    text = console.export_text()
    assert "median prediction error" in text
    assert "GB/s" in text


def test_a_peer_that_fails_ends_in_a_sentence():
    with pytest.raises(BytebillError, match="Measuring nobody failed: KeyError"):
        peers.tokens_per_s("nobody")


def test_a_record_says_what_made_it(cpu):
    found = record.made_on(cpu, program="bytebill")
    assert (found["device"], found["device_kind"], found["threads"]) == (cpu.name, "cpu", cpu.n_threads)
    assert {"torch", "command", "commit", "date", "driver", "python", "host_cpu"} <= set(found)


def test_the_bench_is_a_record_of_the_schema(small_bench, tmp_path):
    made = bench.as_record(small_bench)
    found = read_record(write_record(tmp_path / "bench.json", made))  # plausible only where nothing else runs
    assert [(step.model, step.dtype, step.batch) for step in found.steps] == [
        ("stack", "fp32", 1),
        ("stack", "fp32", 2),
    ]
    assert all(len(step.samples_s) >= 5 and step.n_bytes for step in found.steps)
    assert found.read_bytes_per_s == small_bench["read_bytes_per_s"] and made["found"]["median_error"]


def test_a_decode_of_a_shape_is_a_record_of_the_schema(cpu, monkeypatch, tmp_path):
    monkeypatch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: 1e11)
    monkeypatch.setattr(record, "model", lambda id: TINY_SPEC)
    made = record.record(cpu, model_id="tiny-135m", dtypes=["fp32"], batches=[1], context_len=8, repeats=2)
    (step,) = read_record(write_record(tmp_path / "tiny.json", made)).steps
    assert (step.model, step.batch, step.context_len, len(step.samples_s)) == ("tiny", 1, 8, 2)


def test_the_bench_times_the_simulator_in_a_process_of_its_own(monkeypatch, cpu):
    monkeypatch.setattr("bytebill.trials.speed.SIZES", (500, 1000))
    monkeypatch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: 1e11)
    found = json.loads(json.dumps(bench.run(only="simulator", device="cpu")))
    assert [row["requests"] for row in found["simulator"]] == [500, 1000]
    for row in found["simulator"]:
        assert row["requests_per_s"] > 0 and row["peak_rss_bytes"] > 1e6
        assert 64 < row["mean_batch"] <= 400 and 0 < row["kv_utilization"] <= 1


def test_the_bench_says_what_a_full_hit_saves_and_what_is_left(monkeypatch, cpu):
    monkeypatch.setattr(bench, "smollm2", lambda: random_weights(TINY_SPEC))
    monkeypatch.setattr(bench, "_N_PROMPT_TOKENS", 70)
    found = json.loads(json.dumps(bench.run(only="prefix", device="cpu")))
    row = found["prefix"]
    assert (row["prompt_tokens"], row["found_tokens"]) == (70, 64)
    assert row["gain"] == pytest.approx(row["ttft_s"] / row["ttft_full_hit_s"])
    said = str(bench.overview(found))
    assert "a hit of 64 of 70 tokens" in said and "most of them: " in said


def test_ttft_by_hit_finds_whole_blocks_and_computes_the_rest(cpu):
    tiny = Transformer(random_weights(TINY_SPEC), dtype="fp32", device=cpu.torch)
    hits = ttft_by_hit(tiny, n_tokens=70, shares=(0.0, 0.5, 1.0), repeats=2)
    assert [(hit.n_found_tokens, hit.n_computed_tokens) for hit in hits.values()] == [(0, 70), (32, 38), (64, 6)]
    assert all(len(hit.ttft.samples_s) == len(hit.alone.samples_s) == 2 for hit in hits.values())
    with pytest.raises(BytebillError):
        ttft_by_hit(tiny, n_tokens=0)


@pytest.mark.parametrize(("token_budget", "steps"), [(None, [70]), (32, [31, 31, 8])])
def test_a_prompt_beside_a_decode_is_computed_once_and_found_then(cpu, monkeypatch, token_budget, steps):
    """70 tokens come whole, or in steps of 32 of which one decodes; found, 6 are left, in one step either way."""
    tiny, served = Transformer(random_weights(TINY_SPEC), dtype="fp32", device=cpu.torch), []
    monkeypatch.setattr(prefix, "serve", lambda *args, **how: (served.append(serve(*args, **how)), served[-1])[1])
    both = prefix.beside_a_decode(tiny, n_tokens=70, token_budget=token_budget)
    assert all(beside.gap_s > 0 < beside.ttft_s for beside in both)
    computed = {
        coming: [n for row in run.schedule.rows for id, _, n in row.prefills if id == coming]
        for coming, run in zip((2, 4), served[2:], strict=True)
    }
    assert computed == {2: steps, 4: [6]}


def test_the_bench_times_clusters_and_a_fleet(monkeypatch, cpu):
    monkeypatch.setattr("bytebill.trials.speed.CLUSTERS", (2,))
    monkeypatch.setattr("bytebill.trials.speed.FLEET", 1000)
    monkeypatch.setattr(ceilings, "peak_flops_per_s", lambda device, *, dtype: 1e11)
    found = json.loads(json.dumps(bench.run(only="cluster", device="cpu")))
    assert [(row["replicas"], row["requests"]) for row in found["cluster"]] == [(2, 1200)]
    fleet = found["fleet"]
    assert (fleet["requests"], fleet["replicas"], fleet["processes"]) == (1000, 1000, 2)
    assert min(fleet["seconds"], fleet["requests_per_s"], fleet["peak_rss_bytes"]) > 0
    assert "cluster of 2: " in str(bench.overview(found)) and "fleet of 1,000, 1,000 requests" in str(
        bench.overview(found)
    )


def test_eight_users_are_served_whole(cpu):
    from bytebill.engine.transformer import Transformer
    from bytebill.engine.weights.names import random_weights
    from bytebill.measure import users
    from bytebill.models import ModelSpec

    spec = ModelSpec(
        id="tiny",
        name="tiny",
        n_layers=2,
        d_model=64,
        d_ff=64,
        n_heads=2,
        n_kv_heads=1,
        d_head=32,
        vocab_size=64,
        context_len=256,
    )
    run = users.serve_users(Transformer(random_weights(spec), dtype="fp32"), n_users=8)
    assert run.metrics.n_finished == 16
    assert run.metrics.n_output_tokens == 16 * users.N_OUTPUT_TOKENS
    assert 0 < run.scheduler_s < sum(run.durations_s)


def test_attention_is_timed_for_every_block_size_beside_a_read_of_the_same_bytes(cpu):
    sizes = (1, 16, 64)
    timings = attention_by_block_size(cpu, TINY_SPEC, batch_size=2, context_len=64, block_sizes=sizes, repeats=2)
    assert tuple(timings) == sizes
    for timing in timings.values():
        assert timing.median_s > 0 and len(timing.reference_samples_s) == 2


def test_a_context_that_blocks_do_not_fill_is_refused(cpu):
    with pytest.raises(BytebillError, match="Blocks of 24 tokens do not fill a context of 64"):
        attention_by_block_size(cpu, TINY_SPEC, batch_size=1, context_len=64, block_sizes=(16, 24))


def test_neighbours_come_in_turns_and_leave_nothing_behind():
    n_threads, made = torch.get_num_threads(), []

    def make():
        made.append(torch.get_num_threads())
        return {"count": lambda: sum(range(1000))}

    if not neighbours.other_cores():
        with pytest.raises(BytebillError, match="one core"):
            neighbours.beside_neighbours(make)
        return
    found = neighbours.beside_neighbours(make, repeats=2)
    assert list(found) == list(neighbours.STATES)
    assert all(len(found[state]["count"].samples_s) == 2 for state in found)
    assert made == [n_threads, 1] and torch.get_num_threads() == n_threads  # built for both, and put back
    assert not [each for each in psutil.Process().children() if "numbers @ numbers" in " ".join(each.cmdline())]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes a stopped child along")
def test_a_neighbour_dies_with_the_program_that_was_killed():
    code = (
        "import time\nfrom bytebill.measure import neighbours\n"
        "with neighbours._neighbours('multiplies', [0]) as found:\n"
        "    print(found[0].pid, flush=True)\n    time.sleep(60)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(program.stdout.readline())
    assert psutil.pid_exists(pid)
    program.kill()
    program.communicate()
    until = time.monotonic() + 60
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid)


@pytest.mark.parametrize("told", ["abc", "0", "-1", "1.5", "", "1" * 5000])
def test_a_number_of_repeats_that_is_none_is_one_sentence(told, monkeypatch):
    monkeypatch.setenv("BYTEBILL_REPEATS", told)
    with pytest.raises(BytebillError, match="BYTEBILL_REPEATS is a whole number from 1 up, not"):
        timed(lambda: None, sync=lambda: None)


@pytest.mark.parametrize(
    ("told", "n", "at_least", "turns"),
    [(None, 3, 1, 3), ("1", 3, 1, 1), ("1", 3, 2, 2), ("2", 3, 1, 2), ("9", 3, 1, 3), ("1", 1, 2, 1)],
)
def test_a_measurement_takes_as_many_turns_as_are_enough(told, n, at_least, turns, monkeypatch):
    monkeypatch.delenv("BYTEBILL_REPEATS", raising=False)
    if told:
        monkeypatch.setenv("BYTEBILL_REPEATS", told)
    assert list(times(n, at_least=at_least)) == list(range(turns))


@pytest.mark.parametrize(("told", "least", "most"), [("1", 1, 1), ("9", 3, 10**6), (None, 3, 10**6)])
def test_a_time_to_be_filled_is_filled_unless_fewer_repeats_are_enough(told, least, most, monkeypatch):
    monkeypatch.delenv("BYTEBILL_REPEATS", raising=False)
    if told:
        monkeypatch.setenv("BYTEBILL_REPEATS", told)
    found = timed(lambda: time.sleep(0.001), sync=lambda: None, repeats=3, at_least_s=0.05)
    assert least <= len(found.samples_s) <= most and (most == 1 or sum(found.samples_s) >= 0.05)


def alive(pid):
    """Whether a process is there and no mere entry of one that ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_single_core_has_no_neighbour(monkeypatch):
    monkeypatch.setattr(neighbours, "other_cores", list)
    with pytest.raises(BytebillError, match="one core"):
        neighbours.beside_neighbours(dict)


def test_the_cores_of_neighbours_are_not_mine(monkeypatch):
    monkeypatch.delenv("BYTEBILL_CORES", raising=False)
    monkeypatch.setattr(neighbours.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(neighbours.os, "sched_getaffinity", lambda pid: {2}, raising=False)
    assert neighbours.other_cores() == [0, 1, 3]
    monkeypatch.setattr(neighbours.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert neighbours.other_cores() == [1, 2, 3]
    monkeypatch.setenv("BYTEBILL_CORES", "2 3")  # all that a taskset gave
    monkeypatch.setattr(neighbours.os, "sched_getaffinity", lambda pid: {2}, raising=False)
    assert neighbours.other_cores() == [3]
    monkeypatch.delenv("BYTEBILL_CORES")
    monkeypatch.delattr(neighbours.os, "sched_getaffinity", raising=False)
    assert neighbours.other_cores() == [1, 2, 3]
