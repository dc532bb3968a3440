"""A probe measures a real server and survives whatever else answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError
from bytebill.hardware import Accelerator
from bytebill.measure.endpoint import Answer, Endpoint
from bytebill.models import model, precision
from bytebill.roofline import Load
from bytebill.sim import Clock, Constants
from bytebill.sim.constants import Estimate, calibrated_constants
from bytebill.sim.own_program import OwnProgram, own_program, program_json
from bytebill.statement.form import Form
from bytebill.trials import probe

LLAMA_CPP = """
import sys, time, xllamacpp
from bytebill.engine.weights.smollm2 import gguf_file
set = xllamacpp.CommonParams()
set.model.path, set.n_ctx, set.n_parallel, set.port = str(gguf_file()), 512 * 4, 4, 0
set.cpuparams.n_threads = 1
server = xllamacpp.Server(set)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
CARD = Accelerator(
    id="this-machine", name="Here", memory_bytes=8e9, bandwidth_bytes_per_s=2e10, peak_flops_per_s={"bf16": 2e11}
)
GROUP = Deployment(model=model("smollm2-135m"), accelerator=CARD, precision=precision("bf16"))
SMALL = probe.Allowed(n_input_tokens=64, n_output_tokens=16, n_at_once=4, minutes=2)


def test_what_was_known_is_found_again() -> None:
    """The fit is no ornament: times made by known constants lead back to them, the front end's too."""
    true = Constants.exact(bandwidth_share=0.62, flops_share=0.41, step_s=2e-3, sequence_s=3e-4)
    clock = Clock(GROUP, true)
    prompts = [(n, 0.02 + clock.step_s(Load.prefill(n_tokens=n))) for n in (64, 256, 512)]
    loops = [_loop(n, clock.step_s(Load.decode(batch_size=n, context_len=512 + 32))) for n in (1, 2, 4, 8, 16)]
    found = probe.fitted(GROUP, prompts, loops, like="vllm")
    for loop in loops:
        assert Clock(GROUP, found.constants).step_s(loop.decodes) == pytest.approx(loop.tpot_s, rel=0.01)
    assert found.request_s == pytest.approx(0.02, rel=0.15)
    assert found.constants.flops_share.value == pytest.approx(0.41, rel=0.1)
    assert found.constants.sequence_s.value == pytest.approx(3e-4, rel=0.1)


def test_prompts_that_take_no_longer_are_no_measurement() -> None:
    with pytest.raises(BytebillError, match="Longer prompts took no longer"):
        probe.fitted(GROUP, [(64, 0.1), (512, 0.1)], [_loop(1, 0.01)], like="vllm")


@pytest.mark.skipif(find_spec("xllamacpp") is None, reason="llama.cpp's server (xllamacpp) is not installed")
def test_a_real_server_is_measured_and_priced(tmp_path: Path) -> None:
    with _llama_cpp() as url:
        found = probe.run(url, model="SmolLM2", group=GROUP, allowed=SMALL)
    assert found.loops[0].n_at_once == 1 and found.seconds < 60 * SMALL.minutes
    assert all(loop.n_output_tokens == SMALL.n_output_tokens for loop in found.loops)
    assert [n for n, _ in found.prompts] == sorted(n for n, _ in found.prompts) and found.held
    assert found.program.constants.bandwidth_share.value > 0 and "held out" in probe.as_answer(found)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(found.to_json()))
    assert own_program(file, "h100-sxm").constants.sequence_s == found.program.constants.sequence_s
    asked = {"model": "llama-3.1-8b", "accelerator": "h100-sxm", "n_input_tokens": 500, "n_output_tokens": 100}
    asked |= {"requests_per_s": 0.01, "usd_per_device_hour": 3, "fill": 0.5}
    plain, mine = (Form.read(asked | {"program": name}).statement() for name in ("vllm", str(file)))
    assert mine.tpot_s != plain.tpot_s


def test_its_users_wait_for_a_place_and_that_is_told() -> None:
    if find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp's server (xllamacpp) is not installed")
    with _llama_cpp() as url:
        found = probe.run(
            url,
            model="SmolLM2",
            group=GROUP,
            allowed=probe.Allowed(n_input_tokens=64, n_output_tokens=16, n_at_once=8, minutes=2),
        )
    assert found.loops[-1].n_at_once <= 4 and found.notes


def _answer(*lines: str) -> bytes:
    return "".join(f"data: {line}\n\n" for line in lines).encode()


WORD = '{"choices": [{"text": "a"}]}'
SERVERS: dict[str, tuple[int, dict[str, str], bytes, str]] = {
    "no JSON": (200, {}, _answer("{nope"), "something else than JSON"),
    "a list": (200, {}, _answer("[1]"), "something else than JSON objects"),
    "an error amid": (200, {}, _answer(WORD, '{"error": {"message": "out of memory"}}'), "broke off: out of memory"),
    "no word": (200, {}, _answer('{"choices": []}', "[DONE]"), "without a word"),
    "no usage": (200, {}, _answer(WORD, "[DONE]"), "does not tell how many tokens"),
    "strange usage": (
        200,
        {},
        _answer(WORD, '{"usage": {"prompt_tokens": "9", "completion_tokens": -1}}'),
        "does not tell",
    ),
    "a wrong key": (401, {}, b'{"error": {"message": "no such key"}}', "answered 401: no such key"),
    "another host": (302, {"Location": "http://example.org/v1"}, b"", "answered 302"),
    "busy for ever": (429, {"Retry-After": "0"}, b"", "times in a row"),
    "busy for an hour": (503, {"Retry-After": "3600"}, b"", "pause beyond the time limit"),
    "its key back": (401, {}, b'{"error": {"message": "no such key: a-secret"}}', "no such key: ***"),
    "its key escaped": (401, {}, rb'{"error": {"message": "no such key: a-secr\u0065\u0000t"}}', "no such key: ***"),
    "its key escaped and cut": (401, {}, rb'{"message": "no such key: a\u002dsecret', "no such key: ***"),
    "its key amid": (200, {}, _answer(WORD, '{"error": {"message": "a-secret"}}'), "broke off: ***"),
    "a line without end": (200, {}, b"data: " + b"x" * (1 << 21), "too long to be one"),
    "a bomb": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"data: " + bytes(1 << 27)), "packs its answer (gzip)"),
    "a long reason": (500, {}, b"no " * (1 << 20), "answered 500: no no"),
    "no gzip": (200, {"Content-Encoding": "gzip"}, b"plain", "packs its answer (gzip)"),
    "HTML": (500, {}, b"<script>alert(1)</script>", "answered 500: <script>"),
    "control letters": (400, {}, b"\x1b[31mred", "answered 400: [31mred"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_misbehaves_is_one_sentence(name: str) -> None:
    status, headers, body, said = SERVERS[name]
    with _playing(status, headers, body) as url, pytest.raises(BytebillError) as error:
        _ask(url)
    assert said in str(error.value) and "\x1b" not in str(error.value) and "a-secret" not in str(error.value)


def test_a_server_that_never_ends_is_left_at_the_time_limit() -> None:
    begun_s = time.monotonic()
    with _playing(200, {}, _answer(WORD), hangs=True) as url, pytest.raises(BytebillError, match="time limit"):
        _ask(url, limit_s=0.5)
    assert time.monotonic() - begun_s < 20


def test_a_server_that_talks_without_end_is_left_at_the_time_limit() -> None:
    begun_s = time.monotonic()
    with (
        _playing(200, {}, _answer(*[WORD] * 1000), talks=True) as url,
        pytest.raises(BytebillError, match="time limit"),
    ):
        _ask(url, limit_s=0.5)
    assert time.monotonic() - begun_s < 20


STREAMING = """
import asyncio, json, sys
step_s, hangs_up = float(sys.argv[1]), sys.argv[2] == "hangs up"
async def answer(reader, writer):
    told = json.dumps({"connected": 1})
    print(told, flush=True)
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        asked = json.loads(await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0])))
        def send(event):
            text = f"data: {json.dumps(event)}\\n\\n"
            writer.write(f"{len(text):x}\\r\\n{text}\\r\\n".encode())
        writer.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        for i in range(asked["max_tokens"]):
            send({"id": "cmpl-0123456789abcdef", "model": "m", "choices": [{"index": 0, "text": " word", "logprobs": None}]})
            await asyncio.sleep(step_s)
        send({"choices": [], "usage": {"prompt_tokens": 32, "completion_tokens": asked["max_tokens"]}})
        writer.write(b"0\\r\\n\\r\\n")
        if hangs_up:
            return writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""  # noqa: E501


@contextmanager
def _streaming(step_s: float, *, hangs_up: bool = False) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server in a process of its own, so that its work is not taken for the client's."""
    command = [sys.executable, "-I", "-c", STREAMING, str(step_s), "hangs up" if hangs_up else "stays"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", process
        process.kill()


def test_what_asking_costs_its_core_is_counted() -> None:
    """Processor time of the client alone; how much is too much is no test's matter: machines differ."""

    async def eight() -> tuple[float, int]:
        async with Endpoint(url=url, model="m", deadline_s=time.monotonic() + 20) as server:
            await server.find()
            loop = await probe._loop(server, [(32, 32), (48, 48)], n_at_once=8, until_s=time.monotonic() + 20)
            return loop.client_s, loop.n_answers * loop.n_output_tokens

    with _streaming(0.004) as (url, _):
        client_s, n_tokens = asyncio.run(eight())
    assert n_tokens == 3 * 8 * 48 and 0 < client_s < 20


@pytest.mark.parametrize(("hangs_up", "n_connections"), [(False, 1), (True, 4)])
def test_a_connection_is_asked_again_while_it_lasts(hangs_up: bool, n_connections: int) -> None:
    async def four() -> list[int]:
        async with Endpoint(url=url, model="m", deadline_s=time.monotonic() + 20) as server:
            return [(await server.ask(n_input_tokens=8, n_output_tokens=3)).n_output_tokens for _ in range(4)]

    with _streaming(0, hangs_up=hangs_up) as (url, process):
        assert asyncio.run(four()) == [3] * 4
        process.kill()
        assert process.stdout is not None and process.stdout.read().count("connected") == n_connections


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = '{"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 3}}'


def _chunk(*lines: str) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text := _answer(*lines)), text)


def _asked(script: list[bytes], ask: Callable[[Endpoint], Awaitable[Any]], *, every_s: float = 0.05) -> Any:
    """What comes of asking a server that sends its packets one by one; None: it hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                for packet in script:
                    writer.write(packet)
                    await writer.drain()
                    await asyncio.sleep(every_s)
                if not script[-1]:
                    break
        writer.close()

    async def main() -> Any:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with Endpoint(url=url, model="m", deadline_s=time.monotonic() + 20) as endpoint:
                return await ask(endpoint)

    return asyncio.run(main())


ENDS = {
    "its end in two": [HEAD, _chunk(WORD), _chunk(USAGE, "[DONE]"), b"0\r\n", b"\r\n"],
    "its end in one": [HEAD + _chunk(WORD), _chunk(USAGE), b"0\r\n\r\n"],
    "all in one": [HEAD + _chunk(WORD) + _chunk(USAGE, "[DONE]") + b"0\r\n\r\n"],
    "hangs up": [b"HTTP/1.1 200 OK\r\n\r\n", _answer(WORD), _answer(USAGE), b""],
    "an error": [HEAD, _chunk(WORD), _chunk('{"error": {"message": "full"}}'), *[b""] * 400],
    "not found": [b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n", b"no", b"ne"],
}


@pytest.mark.parametrize("how", ENDS)
def test_the_end_of_an_answer_is_not_looked_at_later(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces would be looked at after an hour, and the server is given 20 s."""
    monkeypatch.setattr("bytebill.measure.streaming.LOOKS_EVERY_S", 3600.0)
    wrong = {"an error": "broke off: full", "not found": "answered 404"}.get(how)
    with pytest.raises(BytebillError, match=wrong) if wrong else nullcontext():
        found = _asked(ENDS[how], lambda server: server.ask(n_input_tokens=8, n_output_tokens=3))
        assert found.n_output_tokens == 3


@pytest.mark.parametrize("n_at_once", [1, 5])
def test_a_piece_has_the_time_at_which_it_came(n_at_once: int) -> None:
    async def several(server: Endpoint) -> list[Answer]:
        return await asyncio.gather(*(server.ask(n_input_tokens=8, n_output_tokens=3) for _ in range(n_at_once)))

    for found in _asked([HEAD, *[_chunk(WORD)] * 3, _chunk(USAGE, "[DONE]") + b"0\r\n\r\n"], several):
        assert all(before < after for before, after in pairwise((found.asked_s, *found.pieces_s)))
        assert found.last_s - found.asked_s > 0.14  # the third is sent after three pauses of 50 ms


@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["hung up", "spoken on"])
def test_connections_that_ended_meanwhile_are_not_asked_again(last: bytes) -> None:
    async def twice(server: Endpoint) -> int:
        both = [server.ask(n_input_tokens=8, n_output_tokens=3) for _ in range(8)]
        await asyncio.gather(*both)
        await asyncio.sleep(0.2)
        return (await server.ask(n_input_tokens=8, n_output_tokens=3)).n_output_tokens

    assert _asked([HEAD, _chunk(WORD), _chunk(USAGE) + b"0\r\n\r\n", last], twice) == 3


class Slow(Endpoint):
    """A server that takes a millisecond for a prompt's token and 50 for an answer's, on a clock of its own."""

    now_s = 0.0

    async def find(self) -> None:
        pass

    async def ask(self, *, n_input_tokens: int, n_output_tokens: int) -> Answer:
        asked_s, first_s = self.now_s, self.now_s + 1e-3 * n_input_tokens
        pieces_s = tuple(first_s + 0.05 * i for i in range(n_output_tokens))
        self.now_s = pieces_s[-1]
        return Answer(
            asked_s=asked_s, pieces_s=pieces_s, n_input_tokens=n_input_tokens, n_output_tokens=n_output_tokens
        )


def test_a_slow_server_is_left_in_time_with_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads that are held out are not begun where the limit would end them, and that is told."""
    slow = Slow(url="http://127.0.0.1:1/v1", model="m", deadline_s=6)
    clock = SimpleNamespace(monotonic=lambda: slow.now_s, process_time=time.process_time)
    monkeypatch.setattr("bytebill.trials.probe.time", clock)
    monkeypatch.setattr("bytebill.measure.endpoint.time", clock)
    allowed = probe.Allowed(n_input_tokens=64, n_output_tokens=16, n_at_once=4, minutes=0.1)
    found = asyncio.run(probe.probe(slow, GROUP, allowed=allowed))
    assert found.seconds <= 60 * allowed.minutes and found.loops[0].step_s == pytest.approx(0.05) and not found.held
    assert "The time limit left no room for 1 users of a load that is held out." in found.notes


ADDRESSES = (
    *("file:///etc/passwd", "gopher://x/v1", "javascript:alert(1)", "http://", "http:///v1", "//x/v1", ""),
    *("http://[::1/v1", "http://x:99999/v1", "http://x:y/v1", "http://a b/v1", "http://x/v1\r\nHost: y", "http://x\0/"),
    *("http://me:word@x/v1", "http://x/v1?key=1", "http://x/v1#y", "http://x:0/v1"),
)


@pytest.mark.parametrize("url", ADDRESSES)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(BytebillError, match="A server's address is like"):
        Endpoint(url=url, model="m", deadline_s=0)


@pytest.mark.parametrize("key", ["se\ncret", "se cret", "schlüssel", "\0"])
def test_a_key_that_no_header_can_have_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BytebillError, match="a blank or a letter that no header can have") as error:
        Endpoint(url="https://example.org/v1", model="m", key=key, deadline_s=0)
    assert key not in str(error.value)


def test_a_key_is_never_shown_and_goes_to_no_stranger() -> None:
    with pytest.raises(BytebillError, match="sent over https"):
        Endpoint(url="http://example.org/v1", model="m", key="secret", deadline_s=0)
    assert "secret" not in repr(Endpoint(url="http://127.0.0.1:1/v1", model="m", key="secret", deadline_s=0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://x"], "A server's address is like"),
        (["http://127.0.0.1:1/v1"], "does not answer"),
        (["http://127.0.0.1:1/v1", "--key-env", "NO_SUCH_VARIABLE"], "no variable NO_SUCH_VARIABLE"),
        (["http://127.0.0.1:1/v1", "--at-once", "0"], "users at once"),
        (["http://127.0.0.1:1/v1", "--max-minutes", "1e9"], "minutes"),
        (["http://127.0.0.1:1/v1", "--like", "ollama"], "ollama"),
    ],
)
def test_the_command_refuses_in_a_sentence(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "bytebill.cli", "probe", *arguments]
    command += ["--model", "m", "--shape", "llama-3.1-8b", "--accelerator", "h100-sxm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


PROGRAMS = {
    "no object": ("[1]", "not an object"),
    "no JSON": ("{", "cannot be read"),
    "unknown": ('{"speed_s": 1}', "speed_s"),
    "a text": ('{"step_s": "fast"}', "not a number"),
    "out of order": ('{"step_s": [0.3, 0.2, 0.1]}', "in that order"),
    "beyond physics": ('{"bandwidth_share": 1.5}', "share"),
    "a front end for ever": ('{"request_s": 1e9}', "request_s"),
    "nan": ('{"step_s": NaN}', "not a number"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_programs_file_is_hostile_input(name: str, tmp_path: Path) -> None:
    text, said = PROGRAMS[name]
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(BytebillError, match=said):
        own_program(tmp_path / "mine.json", "h100-sxm")


def _program(tmp_path: Path, **told: Any) -> OwnProgram:
    (tmp_path / "mine.json").write_text(json.dumps(told), encoding="utf-8-sig")
    return own_program(tmp_path / "mine.json", "h100-sxm")


@pytest.mark.parametrize(
    ("told", "low", "value", "high"),
    [
        (0.25, 0.25, 0.25, 0.25),
        ([0.25], 0.25, 0.25, 0.25),
        ([0.1, 0.2, 0.4], 0.1, 0.2, 0.4),
        ([0, 0.2, 0.2], 0, 0.2, 0.2),
        (0, 0, 0, 0),
        (2e-12, 2e-12, 2e-12, 2e-12),
        (9e11, 9e11, 9e11, 9e11),
    ],
)
def test_a_programs_constant_is_a_value_or_a_range(
    told: Any, low: float, value: float, high: float, tmp_path: Path
) -> None:
    found = _program(tmp_path, like="sglang", step_s=told, probed={"url": "http://there"})
    assert found.constants.step_s == Estimate(low=low, value=value, high=high)
    assert replace(found.constants, step_s=(usual := calibrated_constants("sglang", "h100-sxm")).step_s) == usual


@pytest.mark.parametrize("told", [1e-12, 1e12, -0.1, True, None, [], [0.1, 0.2], [0.1] * 4, [0.1, 0.2, 1e12]])
def test_what_is_no_programs_constant_is_refused(told: Any, tmp_path: Path) -> None:
    with pytest.raises(BytebillError, match=r"^mine.json: step_s is .*, not a number in SI units"):
        _program(tmp_path, step_s=told)


def test_a_programs_front_end_takes_no_longer_than_ten_minutes(tmp_path: Path) -> None:
    assert [_program(tmp_path, request_s=told).request_s for told in (0, 600)] == [0, 600]
    for told in (-0.1, 600.5, True, "1"):
        with pytest.raises(BytebillError, match=r"^mine.json: request_s is .*, not a time in seconds.$"):
            _program(tmp_path, request_s=told)


def test_a_programs_file_may_leave_out_all(tmp_path: Path) -> None:
    usual = OwnProgram(like="vllm", constants=calibrated_constants("vllm", "h100-sxm"), request_s=0.015)
    assert _program(tmp_path) == _program(tmp_path, policy=None) == usual


def test_a_program_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = _program(tmp_path, like="trtllm", step_s=[0.1, 0.2, 0.4], layer_s=0.3, request_s=0.5)
    told = program_json(found, measured=("step_s", "layer_s"), probed={"users": 3})
    assert told == {
        **{"like": "trtllm", "step_s": [0.1, 0.2, 0.4], "layer_s": [0.3] * 3},
        **{"request_s": 0.5, "probed": {"users": 3}},
    }
    assert _program(tmp_path, **told) == found


@pytest.mark.parametrize(("n_more", "kept"), [(0, True), (1, False)])
def test_a_programs_file_has_sixteen_mebibytes_at_most(n_more: int, kept: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}" + " " * (2**24 - 2 + n_more))
    with nullcontext() if kept else pytest.raises(BytebillError, match="larger than any program"):
        assert own_program(tmp_path / "mine.json", "h100-sxm").like == "vllm"


def test_a_programs_file_that_has_no_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(1 << 25)
    for name, said in (("zero.json", "is no file"), ("huge.json", "is larger than any program")):
        with pytest.raises(BytebillError, match=said):
            own_program(tmp_path / name, "h100-sxm")


def _loop(n_at_once: int, tpot_s: float) -> probe.Loop:
    return probe.Loop(
        n_at_once=n_at_once,
        n_input_tokens=512,
        n_output_tokens=64,
        n_answers=3 * n_at_once,
        ttft_s=0.1,
        tpot_s=tpot_s,
        step_s=tpot_s,
        seconds=1.0,
    )


def _ask(url: str, *, limit_s: float = 10.0) -> None:
    async def once() -> None:
        async with Endpoint(url=url, model="<b>m", key="a-secret", deadline_s=time.monotonic() + limit_s) as server:
            await server.find()

    asyncio.run(once())


@contextmanager
def _llama_cpp() -> Iterator[str]:
    """llama.cpp's own server with SmolLM2, four at once, on a free port of this machine."""
    process = subprocess.Popen(
        [sys.executable, "-c", LLAMA_CPP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip() + "/v1"
    finally:
        process.kill()
        process.wait()


@contextmanager
def _playing(
    status: int, headers: dict[str, str], body: bytes, *, hangs: bool = False, talks: bool = False
) -> Iterator[str]:
    """A server that gives one answer to everything, once or over and over: what a real one does at its worst."""
    over = threading.Event()

    class Player(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for header in headers.items():
                self.send_header(*header)
            self.end_headers()
            with suppress(OSError):  # of whoever has heard enough
                self.wfile.write(body)
                while talks and not over.is_set():
                    self.wfile.write(body)
                self.wfile.flush()
            if hangs:
                over.wait(30)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Player) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        over.set()
        server.shutdown()
