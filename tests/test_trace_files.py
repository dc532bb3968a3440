"""Files of requests: each published format is read as its owners describe it; what cannot be meant is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import pickle
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytebill.errors import BytebillError
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.workload import TraceFile, files
from bytebill.serving.workload.formats import TRACE_FORMATS, as_number, unit_by_digits

ROOT = Path(__file__).parents[1]


def write(folder: Path, text: str | bytes, name: str = "a.log") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def asked(trace: TraceFile) -> list[tuple[float, int, int]]:
    return [(round(r.arrival_s, 6), r.n_input_tokens, r.n_output_tokens) for r in trace]


# ---- formats: rows as published, and the requests that their owners say they are

CHAT = {"from": "human", "value": "x" * 40}, {"from": "gpt", "value": "y" * 21}, {"from": "human", "value": "z"}
FORMATS = {
    "ours": (
        "arrival_s,n_input_tokens,n_output_tokens\n0.5,10,3\n2,7,1\n",
        "The Byte Bill: seconds",
        [(0, 10, 3), (1.5, 7, 1)],
    ),
    "Azure 2023": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n",
        "Azure: dates and times",
        [(0, 374, 44), (4.314579, 396, 109)],
    ),
    "Azure 2024": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n",
        "Azure: dates and times",
        [(0, 2162, 5), (0.99007, 2399, 6)],
    ),
    "Mooncake": (
        lines(
            {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [*range(46, 60)]},
            {"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [*range(46, 58), 2366]},
        ),
        "Mooncake: milliseconds, 512-token blocks",
        [(0, 6955, 52), (3.053, 6472, 26)],
    ),
    "Bailian": (
        lines(
            {
                **{"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 521},
                **{"output_length": 132, "type": "text", "turn": 2, "hash_ids": [*range(33)]},
            },
            {
                **{"chat_id": 160, "parent_chat_id": -1, "timestamp": 62.5, "input_length": 16},
                **{"output_length": 7, "type": "text", "turn": 1, "hash_ids": [9]},
            },
        ),
        "Bailian: seconds, 16-token blocks",
        [(0, 521, 132), (1.386, 16, 7)],
    ),
    "BurstGPT": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n"
        "118,GPT-4,417,276,693,Conversation log\n1106,ChatGPT,0,0,0,Conversation log\n",
        "BurstGPT: seconds",
        [(0, 472, 18), (40, 1087, 230), (113, 417, 276)],
    ),
    "Vidur": (
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.314579,396,109\n",
        "Vidur: seconds",
        [(0, 374, 44), (4.314579, 396, 109)],
    ),
    "Vidur, lengths alone": (
        "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.85\n2015,156,2171,12.9\n",
        "Vidur: all at time 0",
        [(0, 3772, 54), (0, 2015, 156)],
    ),
    "splitwise-sim": (
        "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
        "0,2,0,1,1,4096,32\n1,2,0,3,1,2048,8\n2,2,0,4,1,2048,16\n",
        "splitwise-sim: seconds",
        [(0, 4096, 32), (2, 2048, 8), (3, 2048, 16)],
    ),
    "vLLM": (  # a document; sorted, for requests wait for a slot; the second one failed
        json.dumps(
            {
                **{"duration": 9.1, "completed": 2, "total_input_tokens": 300, "input_lens": [100, 50, 200]},
                **{"output_lens": [8, 0, 4], "ttfts": [0.1, 0, 0.2], "itls": [[0.1] * 7, [], [0.1] * 3]},
                **{"start_times": [1003.5, 1002.0, 1001.25], "errors": ["", "Traceback", ""]},
            },
            indent=1,
        ),
        "bench serve: seconds, sorted by arrival",
        [(0, 200, 4), (2.25, 100, 8)],
    ),
    "SGLang": (
        lines({"backend": "sglang", "completed": 2, "input_lens": [100, 200], "output_lens": [8, 4], "ttfts": [1, 2]}),
        "bench serve: all at time 0",
        [(0, 100, 8), (0, 200, 4)],
    ),
    "ShareGPT": (  # 40, 21 and 1 characters are 10, 6 and 1 tokens
        json.dumps(
            [
                {"id": "a_0", "conversations": [*CHAT, CHAT[1]]},
                {"id": "b", "conversations": [CHAT[1]]},
                {"id": "c", "conversations": CHAT[:2]},
            ],
            indent=2,
        ),
        "ShareGPT: all at time 0, an answer's prompt is all before it",
        [(0, 10, 6), (0, 17, 6), (0, 10, 6)],
    ),
    "OpenAI": (
        lines(
            {
                "id": "x",
                "created": 1700000007,
                "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
            },
            {
                "id": "y",
                "created": 1700000002,
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
            },
            {"error": {"message": "Rate limit reached", "code": 429}},
        ),
        "usage log: seconds since 1970, sorted by arrival",
        [(0, 5, 2), (5, 9, 12)],
    ),
    "OpenAI's Batch API": (
        lines(
            {
                **{"id": "batch_req_1", "custom_id": "1", "error": None},
                "response": {
                    "status_code": 200,
                    "body": {"created": 1711652795, "usage": {"prompt_tokens": 22, "completion_tokens": 2}},
                },
            }
        ),
        "usage log: seconds since 1970, sorted by arrival",
        [(0, 22, 2)],
    ),
    "LiteLLM": (
        "request_id,call_type,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,model\n"
        'b,acompletion,0.1,30,20,10,2024-05-10 00:00:01.500,2024-05-10 00:00:02,"gpt, 4"\n'
        "a,acompletion,0.1,5,4,1,2024-05-10 00:00:01.250,2024-05-10 00:00:09,gpt-4\n"
        "c,acompletion,0.0,3,3,0,2024-05-10 00:00:03.000,2024-05-10 00:00:03,gpt-4\n",
        "usage log: dates and times, sorted by arrival",
        [(0, 4, 1), (0.25, 20, 10)],
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_published_format_is_read_as_its_owner_says(name: str, tmp_path: Path) -> None:
    text, described, expected = FORMATS[name]
    trace = TraceFile(write(tmp_path, text))
    assert str(trace.reading) == described
    assert asked(trace) == expected
    assert [request.id for request in trace] == [*range(len(expected))]


@pytest.mark.parametrize("name", FORMATS)
def test_how_a_file_is_packed_changes_nothing(name: str, tmp_path: Path) -> None:
    text, _, expected = FORMATS[name]
    unix = text.replace("\r\n", "\n")
    packed = {
        "with a byte order mark": b"\xef\xbb\xbf" + unix.encode(),
        "compressed": gzip.compress(unix.encode()),
        "from Windows": unix.replace("\n", "\r\n").encode(),
        "with a comment and a blank line": b"# mine\n\n# and yours\n" + unix.encode(),
        "as a list": unix.encode(),
    }
    if unix.startswith("{") and "\n{" in unix:
        packed["as a list"] = f"[{','.join(unix.splitlines())}]".encode()
    if unix[0] not in "[{":
        rows = [*csv.reader(io.StringIO(unix))]
        packed["with semicolons"] = "".join(";".join(row) + "\n" for row in rows).encode()
        packed["with tabs"] = "".join("\t".join(row) + "\n" for row in rows).encode()
    for how, content in packed.items():
        assert asked(TraceFile(write(tmp_path, content, f"{how}.any"))) == expected, how


def test_the_page_has_the_table_of_the_formats() -> None:
    def code(names: Sequence[str]) -> str:
        return " or ".join(f"`{name}`" for name in names) or "none"

    rows = "".join(
        f"| {form.name} | {code([form.n_input])} | {code([form.n_output])} | {code(form.arrival)} "
        f"| {form.unit if form.arrival else ''} | {form.hash_block_tokens or ''} |\n"
        for form in TRACE_FORMATS
    )
    assert rows in (ROOT / "book/how_to_read.md").read_text(encoding="utf-8")


# ---- laws

Requests = list[tuple[int, int, int]]  # arrival [ms], prompt, output
REQUESTS = st.lists(
    st.tuples(st.integers(0, 10**7), st.integers(1, 10**5), st.integers(1, 10**4)), min_size=1, max_size=30
).map(lambda them: sorted(them, key=lambda each: each[0]))


def as_csv(columns: str, per_unit: float = 1000, start_ms: int = 0) -> Callable[[Requests], str]:
    return lambda them: columns + "\n" + "".join(f"{(start_ms + t) / per_unit},{i},{o}\n" for t, i, o in them)


def as_dates(them: Requests) -> str:
    rows = (
        f"2024-05-1{t // 86_400_000}T{t // 3_600_000:02}:{t // 60_000 % 60:02}:{t / 1000 % 60:06.3f}" for t, *_ in them
    )
    return "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
        f"{row}Z,{i},{o}\n" for row, (_, i, o) in zip(rows, them, strict=True)
    )


WRITERS: dict[str, Callable[[Requests], str]] = {
    "ours": as_csv("arrival_s,n_input_tokens,n_output_tokens"),
    "Vidur": as_csv("arrived_at,num_prefill_tokens,num_decode_tokens"),
    "splitwise-sim, since 1970": as_csv("arrival_timestamp,prompt_size,token_size", 1000, 1_700_000_000_000),
    "BurstGPT": as_csv("Timestamp,Request tokens,Response tokens"),
    "Azure": as_dates,
    "Mooncake": lambda them: lines(*({"timestamp": t, "input_length": i, "output_length": o} for t, i, o in them)),
    "Bailian": lambda them: lines(
        *(
            {
                "chat_id": 0,
                "timestamp": t / 1000,
                "input_length": i,
                "output_length": o,
                "hash_ids": [7] * (-(-i // 16)),
            }
            for t, i, o in them
        )
    ),
    "vLLM": lambda them: json.dumps(
        {
            "start_times": [4567.0 + t / 1000 for t, _, _ in them],
            "input_lens": [i for _, i, _ in them],
            "output_lens": [o for _, _, o in them],
        }
    ),
    "usage log in ms": as_csv("created,prompt_tokens,completion_tokens", 1, 1_700_000_000_000),
    "usage log in ns": lambda them: lines(
        *(
            {"created_at": 1_700_000_000_000_000_000 + t * 10**6, "usage": {"prompt_tokens": i, "completion_tokens": o}}
            for t, i, o in them
        )
    ),
}


@given(them=REQUESTS, first=st.sampled_from(sorted(WRITERS)), second=st.sampled_from(sorted(WRITERS)))
def test_the_same_requests_in_two_formats_are_the_same(them: Requests, first: str, second: str) -> None:
    with TemporaryDirectory() as folder:
        one, other = (
            list(TraceFile(write(Path(folder), WRITERS[name](them), str(number))))
            for number, name in enumerate((first, second))
        )
    assert [(r.id, r.n_input_tokens, r.n_output_tokens) for r in one] == [(n, *each[1:]) for n, each in enumerate(them)]
    assert [(r.n_input_tokens, r.n_output_tokens) for r in one] == [
        (r.n_input_tokens, r.n_output_tokens) for r in other
    ]
    assert [r.arrival_s for r in one] == pytest.approx([(t - them[0][0]) / 1000 for t, *_ in them], abs=1e-6)
    assert [r.arrival_s for r in other] == pytest.approx([r.arrival_s for r in one], abs=1e-6)


@given(them=REQUESTS, shift=st.integers(0, 10**11), order=st.randoms(use_true_random=False))
def test_neither_another_origin_nor_another_order_of_a_usage_log_changes_anything(
    them: Requests, shift: int, order: Any
) -> None:
    shuffled = [each for each in them if them.count(each) == 1] or them[:1]
    expected = [(t - shuffled[0][0]) / 1000 for t, *_ in shuffled]
    order.shuffle(shuffled)
    with TemporaryDirectory() as folder:
        text = as_csv("created,prompt_tokens,completion_tokens", 1, 1_500_000_000_000 + shift)(shuffled)
        assert [r.arrival_s for r in TraceFile(write(Path(folder), text))] == expected


BLOBS = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.tuples(st.sampled_from(sorted(FORMATS)), st.integers(0, 300), st.integers(0, 40), st.binary(max_size=8)).map(
        lambda cut: (content := FORMATS[cut[0]][0].encode())[: cut[1]] + cut[3] + content[cut[1] + cut[2] :]
    ),
)


@given(content=BLOBS)
def test_any_file_is_read_or_refused_in_a_sentence(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        try:
            read = list(TraceFile(write(Path(folder), content)))
        except BytebillError as error:
            assert str(error).strip() and "\n" not in str(error).strip()
            return
    assert read and read[0].arrival_s == 0
    assert all(a.arrival_s <= b.arrival_s for a, b in pairwise(read))


# ---- hashed blocks


def shared_tokens(trace: TraceFile) -> int:
    """What the second prompt finds of the first one's in a cache."""
    first, second = trace
    pool = PrefixSharing(n_blocks=5000, block_size_tokens=trace.block_size_tokens)
    pool.allocate(first, first.n_input_tokens)
    pool.computed(first.id, first.n_input_tokens)
    return pool.allocate(second, second.n_input_tokens) or 0


def hashed(n_tokens: int, *hash_ids: int, **more: Any) -> dict[str, Any]:
    return {"timestamp": 0, "input_length": n_tokens, "output_length": 5, "hash_ids": [*hash_ids], **more}


@pytest.mark.parametrize("block_size_tokens", [16, 64, 512])
def test_mooncakes_first_two_rows_share_what_its_readme_says(block_size_tokens: int, tmp_path: Path) -> None:
    trace = TraceFile(write(tmp_path, FORMATS["Mooncake"][0]), block_size_tokens=block_size_tokens)
    assert shared_tokens(trace) == 12 * 512


@pytest.mark.parametrize(("block_size_tokens", "expected"), [(8, 16 * 3), (16, 16 * 3), (32, 32), (64, 0)])
def test_bailians_blocks_are_16_tokens_also_where_the_cache_has_larger_ones(
    block_size_tokens: int, expected: int, tmp_path: Path
) -> None:
    own = [[*range(100 * n, 100 * n + 29)] for n in (1, 2)]
    path = write(tmp_path, lines(*(hashed(512, 0, 1, 2, *ids, chat_id=n) for n, ids in enumerate(own))))
    assert shared_tokens(TraceFile(path, block_size_tokens=block_size_tokens)) == expected


def test_a_hash_of_16_tokens_is_one_block_and_one_of_512_is_32(tmp_path: Path) -> None:
    for row, n_blocks in ((hashed(16, 4, chat_id=1), 1), (hashed(512, 4), 32)):
        (request,) = TraceFile(write(tmp_path, lines(row)))
        assert len(set(request.prefix)) == len(request.prefix) == n_blocks


def test_a_block_size_that_the_format_does_not_state_is_found_if_only_one_fits(tmp_path: Path) -> None:
    ours = {"n_input_tokens": 200, "n_output_tokens": 3, "hash_ids": [1, 2, 3, 4]}
    assert TraceFile(write(tmp_path, lines(ours))).reading.hash_block_tokens == 64
    path = write(tmp_path, lines(ours | {"n_input_tokens": 20, "hash_ids": [1]}))
    with pytest.raises(BytebillError, match=r"does not tell the size of its hashed blocks \(1 for 20 tokens\)"):
        list(TraceFile(path))
    assert len(next(iter(TraceFile(path, hash_block_tokens=32))).prefix) == 2


def test_blocks_whose_size_was_found_leave_the_time_as_it_is(tmp_path: Path) -> None:
    row = {"arrival_s": 4.0, "n_input_tokens": 200, "n_output_tokens": 3, "hash_ids": [1, 2, 3, 4]}
    trace = TraceFile(write(tmp_path, lines(row, row | {"arrival_s": 4.5})))
    assert str(trace.reading) == "The Byte Bill: seconds, 64-token blocks"
    assert [request.arrival_s for request in trace] == [0, 0.5]


@pytest.mark.parametrize(("hash_block_tokens", "found"), [(4, False), (8, True), (4096, True), (8192, False)])
def test_a_size_is_looked_for_from_8_tokens_to_4096(hash_block_tokens: int, found: bool, tmp_path: Path) -> None:
    row = {"n_input_tokens": 10 * hash_block_tokens, "n_output_tokens": 3, "hash_ids": [*range(10)]}
    trace = TraceFile(write(tmp_path, lines(row)))
    if found:
        assert trace.reading.hash_block_tokens == hash_block_tokens
    else:
        with pytest.raises(BytebillError, match="does not tell the size"):
            list(trace)


@pytest.mark.parametrize("sizes", [(0, 512), (16, 0), (16, -512), (16, 100), (-16, None)])
def test_blocks_are_whole_blocks(sizes: tuple[int, int]) -> None:
    with pytest.raises(BytebillError, match="do not fill blocks"):
        TraceFile("a.jsonl", block_size_tokens=sizes[0], hash_block_tokens=sizes[1])


# ---- units

OPEN = {
    "Mooncake in seconds": (lines({"timestamp": 61.114, "input_length": 5, "output_length": 5}), "61.114, no whole"),
    "Mooncake since 1970": (lines({"timestamp": 1.7e9, "input_length": 5, "output_length": 5}), "the time 1700000000"),
    "Mooncake with Bailian's blocks": (lines(hashed(160, *range(10))), "Mooncake's columns but blocks of 16 tokens"),
    "Bailian with Mooncake's blocks": (lines(hashed(160, 1, chat_id=1)), "Bailian's columns but blocks of 256 tokens"),
    "Vidur since 1970 in ms": (
        "arrived_at,num_prefill_tokens,num_decode_tokens\n1700000000000,3,3\n",
        "the time '1700000000000'",
    ),
    "a usage log from 0": (
        "created,prompt_tokens,completion_tokens\n12.5,3,3\n",
        "neither a date nor a time since 1970",
    ),
}
OPEN["Bailian with Mooncake's blocks"] = (
    lines(hashed(700, 1, 2, chat_id=1), hashed(1500, 1, 2, 3, chat_id=1)),
    "Bailian's columns but blocks of 512 tokens",
)


OPEN["Mooncake with smaller blocks, of which the first line is also one of its own"] = (
    lines(hashed(300, 1), hashed(512, 1, 2)),  # 1 of 256 or of 512; 2 of 256
    "Mooncake's columns but blocks of 256 tokens",
)


@pytest.mark.parametrize("case", OPEN)
def test_where_names_and_numbers_leave_the_unit_open_it_is_asked_for(case: str, tmp_path: Path) -> None:
    text, expected = OPEN[case]
    path = write(tmp_path, text)
    with pytest.raises(BytebillError) as caught:
        list(TraceFile(path))
    assert expected in str(caught.value) and "say what its times are in, as in unit='s'" in str(caught.value)
    assert next(iter(TraceFile(path, unit="ms"))).arrival_s == 0


@pytest.mark.parametrize(("unit", "expected"), [("s", 4.0), ("ms", 4e-3), ("us", 4e-6), ("ns", 4e-9)])
def test_a_unit_that_is_given_is_believed(unit: str, expected: float, tmp_path: Path) -> None:
    path = write(tmp_path, "arrived_at,num_prefill_tokens,num_decode_tokens\n1,3,3\n5,3,3\n")
    assert [request.arrival_s for request in TraceFile(path, unit=unit)] == [0, expected]
    with pytest.raises(BytebillError, match="There is no unit 'min'"):
        TraceFile(path, unit="min")


@pytest.mark.parametrize(("n_whole", "met"), [(999, True), (1000, False)])
def test_the_first_thousand_rows_tell_how_a_file_is_read(n_whole: int, met: bool, tmp_path: Path) -> None:
    """Mooncake's columns with a fraction of a millisecond leave the unit open."""
    text = lines(*[ROW] * n_whole, ROW | {"timestamp": 0.5})
    with pytest.raises(BytebillError, match="no whole millisecond" if met else f"line {n_whole + 1} is no request"):
        list(TraceFile(write(tmp_path, text)))


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_no_time_is_later_than_2286_in_any_unit(unit: str, per_second: int, tmp_path: Path) -> None:
    last = 10**10 * per_second - 1
    assert len(list(TraceFile(write(tmp_path, HEAD + f"0,3,3\n{last},3,3\n"), unit=unit))) == 2
    with pytest.raises(BytebillError, match="not a time"):
        list(TraceFile(write(tmp_path, HEAD + f"0,3,3\n{last + 1},3,3\n"), unit=unit))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(
            (True, None),
            ([1], None),
            (None, None),
            ("x", None),
            ("", None),
            (3, 3),
            (2.5, 2.5),
            ("7", 7),
            (" 7.5", 7.5),
        ),
        *((10**20 - 1, 10**20 - 1), (10**20, math.inf), (-(10**20), math.inf), ("1" + "0" * 20, math.inf)),
        *(("1e3", 1000.0), ("9" * 5000, math.inf), (1e30, 1e30)),
    ],
)
def test_what_is_a_number(value: object, number: float | None) -> None:
    assert as_number(value) == number and type(as_number(value)) is type(number)


# ---- what is no request


def test_lines_that_are_no_requests_are_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"timestamp": 0, "input_length": 3, "output_length": 3}
    text = "# by hand\n" + lines(row, row | {"output_length": 0}, row, row, row | {"input_length": 0}, row, row)
    text += "\n" + lines({"error": "timed out"}, row, row | {"output_length": None})
    trace = TraceFile(write(tmp_path, text, "mine.jsonl"))
    said = "6 lines skipped (1 commented out, 2 without output tokens, 1 without a prompt, 1 blank, 1 with an error)"
    assert trace.describe() == f"Mooncake: milliseconds, 6 requests in 0 s, {said}"
    assert trace.n_skipped == 6
    assert not capsys.readouterr().out
    assert len(list(trace)) == len(list(trace)) == 6
    assert capsys.readouterr().out.splitlines() == [
        "mine.jsonl is read as Mooncake: milliseconds.",
        f"mine.jsonl: 6 requests, {said}.",
    ]


def test_a_file_of_more_lines_that_are_none_is_no_trace(tmp_path: Path) -> None:
    header, good, failed = "n_input_tokens,n_output_tokens\n", "3,3\n", "3,0\n"
    half = TraceFile(write(tmp_path, header + good + failed))
    assert half.n_skipped == 1 and half.describe().endswith(", 1 requests, 1 line skipped (1 without output tokens)")
    with pytest.raises(BytebillError, match=r"is no trace: 2 lines skipped \(2 without output tokens\), 1 read"):
        list(TraceFile(write(tmp_path, header + good + failed + failed)))


@pytest.mark.parametrize(
    ("row", "n_skipped"),
    [({"Error": "late", "id": 3}, 1), ({"last_error": 5}, 1), ({"error": None}, None), ({"id": 3}, None)],
)
def test_a_row_without_tokens_is_left_out_if_it_tells_an_error(
    row: dict[str, Any], n_skipped: int | None, tmp_path: Path
) -> None:
    trace = TraceFile(write(tmp_path, lines(ROW, row)))
    if n_skipped:
        assert trace.n_skipped == n_skipped
    else:
        with pytest.raises(BytebillError, match="line 2 is no request: it has no input_length"):
            list(trace)


def test_a_line_of_empty_cells_is_blank_and_tabs_separate_where_there_are_most(tmp_path: Path) -> None:
    text = "arrival_s\ta,b;c\tn_input_tokens\tn_output_tokens\n0\tx\t3\t4\n\t\t\t\n"
    trace = TraceFile(write(tmp_path, text))
    assert asked(trace) == [(0, 3, 4)]
    assert trace.describe().endswith("1 line skipped (1 blank)")


def test_the_tokens_of_a_conversation_are_counted_as_one_says(tmp_path: Path) -> None:
    path = write(tmp_path, FORMATS["ShareGPT"][0])
    assert asked(TraceFile(path, n_tokens_of=len)) == [(0, 40, 21), (0, 62, 21), (0, 40, 21)]
    assert TraceFile(path).n_skipped == 1, "an answer to nothing"


def test_a_conversation_without_an_answer_is_no_request(tmp_path: Path) -> None:
    said = [CHAT[:2], CHAT[:1], CHAT[:2], []]
    trace = TraceFile(write(tmp_path, json.dumps([{"conversations": turns} for turns in said])))
    assert (asked(trace), trace.n_skipped) == ([(0, 10, 6)] * 2, 2)


def test_usage_logs_are_sorted_in_memory_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_SORTED", 2)
    assert len(list(TraceFile(write(tmp_path, FORMATS["OpenAI"][0])))) == 2
    monkeypatch.setattr(files, "MOST_SORTED", 1)
    with pytest.raises(BytebillError, match="more than 1 requests to sort: write it in the order of arrival"):
        list(TraceFile(write(tmp_path, FORMATS["OpenAI"][0])))


def test_a_long_file_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    """The broken last line is not met before it is reached."""
    text = "arrival_s,n_input_tokens,n_output_tokens\n" + "".join(f"{n},5,5\n" for n in range(5000)) + "5000,many,5\n"
    trace = TraceFile(write(tmp_path, text))
    assert len(list(islice(trace, 4000))) == 4000
    with pytest.raises(BytebillError, match=r"a\.log line 5002 is no request: n_input_tokens is 'many'"):
        list(trace)


def test_a_trace_is_a_record(tmp_path: Path) -> None:
    trace = TraceFile(write(tmp_path, FORMATS["ShareGPT"][0]))
    requests = list(trace)
    sent = pickle.loads(pickle.dumps(trace))
    assert sent == trace and hash(sent) == hash(trace) and list(sent) == list(trace) == requests


# ---- what cannot be meant

HEAD = "arrival_s,n_input_tokens,n_output_tokens\n"
ROW = {"input_length": 3, "output_length": 3, "timestamp": 0}
USAGE = {"created": 1700000000, "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
FAULTS: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "The trace a.log holds no requests"),
    "nothing but a header": (HEAD, "The trace a.log holds no requests"),
    "nothing but comments": ("# a\n# b\n", "The trace a.log holds no requests"),
    "nothing in a list": ("[]", "The trace a.log holds no requests"),
    "other columns": ("a,b\n1,2\n", "is no trace that is known here, by its columns 'a, b': call them n_input_tokens"),
    "no header": ("3,4\n5,6\n", "is no trace that is known here, by its columns '3, 4'"),
    "a pointer to a file": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:3d\n",
        "by its columns 'version https",
    ),
    "half of the columns": ("n_input_tokens\n3\n", "by its columns 'n_input_tokens'"),
    "a summary": ('{"completed": 3, "total_input_tokens": 30}', "run it with --save-detailed (vLLM)"),
    "lists of two lengths": ('{"input_lens": [1, 2], "output_lens": [1]}', "input_lens, output_lens that are no lists"),
    "two runs": (lines({"input_lens": [1], "output_lens": [1]}) * 2, "holds several runs of a benchmark"),
    "bytes": (bytes(range(256)), "cannot be read: "),
    "two-byte characters": (HEAD.encode("utf-16"), "cannot be read: 'utf-8' codec can't decode"),
    "half of a gzip": (gzip.compress(HEAD.encode() * 99)[:-9], "cannot be read: Compressed file ended"),
    "zeros": (b"\0" * 99, "The trace a.log holds no requests"),
    "a word": (HEAD + "0,3,4\n0,3,many\n", "a.log line 3 is no request: n_output_tokens is 'many', not a whole number"),
    "a missing cell": (HEAD + "0,3\n", "a.log line 2 is no request: 2 cells under 3 columns"),
    "surplus cells": (HEAD + "0,3,3,7\n", "a.log line 2 is no request: 4 cells under 3 columns"),
    "an open quote": (HEAD + '0,3,"3\n' + "0,3,3\n" * 30_000, "cannot be read: field larger"),
    "no prompt said": (HEAD + "0,,3\n", "n_input_tokens is None, not a whole number"),
    "half a token": (
        HEAD + "0,3,1.5\n",
        "n_output_tokens is '1.5', not a whole number of tokens, at most 1,000,000,000",
    ),
    "minus a token": (HEAD + "0,3,-1\n", "n_output_tokens is '-1', not a whole number"),
    "not a number": (HEAD + "0,3,nan\n", "n_output_tokens is 'nan', not a whole number"),
    "an endless one": (HEAD + "0,3,inf\n", "n_output_tokens is 'inf', not a whole number"),
    "a whole library": (HEAD + "0,1e300,3\n", "n_input_tokens is '1e300', not a whole number"),
    "more digits than can be": (
        HEAD + "0," + "9" * 5000 + ",3\n",
        "not a whole number of tokens, at most 1,000,000,000",
    ),
    "true": (lines(ROW | {"input_length": True}), "input_length is True, not a whole number"),
    "a list for a number": (lines(ROW | {"input_length": [3]}), "input_length is [3], not a whole number"),
    "an integer without end": ('{"input_length": 3, "output_length": 3, "timestamp": 1' + "0" * 400 + "}", "a.log "),
    "before time": (HEAD + "-1,3,3\n", "a.log line 2 is no request: arrival_s is '-1', not a time as in The Byte Bill"),
    "never": (HEAD + "inf,3,3\n", "arrival_s is 'inf', not a time"),
    "at no time": (HEAD + "0,3,3\n,3,3\n", "line 3 is no request: arrival_s is None, not a time"),
    "in another age": (HEAD + "0,3,3\n1e12,3,3\n", "line 3 is no request: arrival_s is '1e12', not a time"),
    "true for a time": (lines(ROW, ROW | {"timestamp": True}), "line 2 is no request: timestamp is True, not a time"),
    "out of order": (HEAD + "2,3,3\n1,3,3\n", "a.log line 3 arrives before the one above it: sort the trace"),
    "no date": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,3,3\n",
        "line 2 is no request: Invalid isoformat string",
    ),
    "no 31st": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-02-31,3,3\n",
        "line 2 is no request: day is out of range",
    ),
    "two zones": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,3,3\n2024-05-10 00:00:01+00:00,3,3\n",
        "has dates with a time zone and dates without one",
    ),
    "two units": (
        "created,prompt_tokens,completion_tokens\n1700000000,3,3\n1700000000123,3,3\n",
        "line 3 is no request: created is '1700000000123', not a time as in usage log: seconds since 1970",
    ),
    "a date among numbers": (
        HEAD + "0,3,3\n2024-05-10,3,3\n",
        "line 3 is no request: arrival_s is '2024-05-10', not a",
    ),
    "a number among dates": (
        "created,prompt_tokens,completion_tokens\n2024-05-10,3,3\n1700000000,3,3\n",
        "line 3 is no",
    ),
    "a doubled column": ("id,n_input_tokens,n_input_tokens\n3,4,3\n", "a.log has a column twice: n_input_tokens."),
    "a doubled name": ('{"input_length": 3, "input_length": 4, "output_length": 3}', "it has a name twice"),
    "no JSON": (lines(ROW) + '{"input', "a.log line 2 is not JSON"),
    "no JSON from the start": ('{"input\n' + lines(ROW), "a.log is not JSON"),
    "a number in a list": ("[3, 3]\n", "a.log entry 1 is no request: not an object"),
    "a list among lines": (lines(ROW) + "[3]\n", "a.log line 2 is no request: not an object"),
    "a well": ("[" * 100_000 + "]" * 100_000, "a.log is not JSON"),
    "a well of objects": ('{"a":' * 100_000 + "1" + "}" * 100_000, "a.log is not JSON"),
    "two formats": (lines(ROW, USAGE), "a.log line 2 is no request: it has no input_length"),
    "two formats of the same columns": (
        lines(ROW, ROW | {"chat_id": 1}),
        "line 2 is no request: it is not of Mooncake",
    ),
    "a table among lines": (lines(ROW) + HEAD + "0,3,3\n", "a.log line 2 is not JSON"),
    "names that are none": (lines(ROW | {"hash_ids": ["x"]}), "hash_ids is no list of whole numbers"),
    "a string of names": (lines(ROW | {"hash_ids": "123"}), "hash_ids is no list of whole numbers"),
    "negative names": (lines(ROW | {"hash_ids": [-1]}), "hash_ids is no list of whole numbers"),
    "true names": (lines(ROW | {"hash_ids": [True]}), "hash_ids is no list of whole numbers"),
    "too many names": (
        lines(hashed(512, 1), hashed(512, *range(32))),
        "line 2 is no request: 32 hash_ids are not the blocks of 512 of 512 tokens",
    ),
    "names of no size": (lines(hashed(512, *range(5))), "does not tell the size of its hashed blocks (5 for 512"),
    "a second request of a run": (
        '{"input_lens": [3, -1], "output_lens": [3, 3]}',
        "a.log request 2 is no request: input_lens is -1, not a whole number",
    ),
    "a conversation of words": (
        '[{"conversations": ["hello"]}]',
        "entry 1 is no conversation of turns that have `from`",
    ),
    "a conversation that is none": ('{"conversations": 3}', "line 1 is no conversation of turns"),
    "a turn without text": (
        '{"conversations": [{"from": "human", "value": null}]}',
        "line 1 is no conversation of turns",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_meant_is_refused_in_a_sentence(fault: str, tmp_path: Path) -> None:
    content, expected = FAULTS[fault]
    with pytest.raises(BytebillError) as caught:
        list(TraceFile(write(tmp_path, content)))
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize(("row", "last"), [("0,{},3\n", 10**9), ("0,3,{}\n", 10**9), ("0,3,3\n{},3,3\n", 10**10 - 1)])
def test_the_most_that_can_be_meant_is_read_and_one_more_is_not(row: str, last: int, tmp_path: Path) -> None:
    assert list(TraceFile(write(tmp_path, HEAD + row.format(last))))
    with pytest.raises(BytebillError, match="is no request"):
        list(TraceFile(write(tmp_path, HEAD + row.format(last + 1))))


@pytest.mark.parametrize(
    ("time", "unit"), [(10**9, "s"), (10**12, "ms"), (10**15, "us"), (10**18, "ns"), (10**8, None), (10**10, None)]
)
def test_the_digits_of_a_time_since_1970_tell_its_unit(time: int, unit: str | None) -> None:
    assert unit_by_digits(time) == unit
    assert unit is None or unit_by_digits(10 * time - 1) == unit


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(BytebillError, match="cannot be read"):
            list(TraceFile(path))


def test_too_much_for_one_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytebill.serving.workload.rows.MOST_CHARACTERS", 100)
    with pytest.raises(BytebillError, match="too long for one JSON document: write it as JSON lines"):
        list(TraceFile(write(tmp_path, json.dumps([ROW] * 9, indent=1))))
    with pytest.raises(BytebillError, match="line 1 is too long to be read"):
        list(TraceFile(write(tmp_path, json.dumps([ROW] * 9))))


def test_blocks_that_the_file_tells_are_whole_blocks_too(tmp_path: Path) -> None:
    with pytest.raises(BytebillError, match="Blocks of 24 tokens do not fill blocks of 512"):
        list(TraceFile(write(tmp_path, FORMATS["Mooncake"][0]), block_size_tokens=24))


def test_as_much_as_a_line_and_a_document_may_hold_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps([ROW], indent=1)
    monkeypatch.setattr("bytebill.serving.workload.rows.MOST_CHARACTERS", len(text))
    assert len(list(TraceFile(write(tmp_path, text)))) == 1
    monkeypatch.setattr("bytebill.serving.workload.rows.MOST_CHARACTERS", len(lines(ROW)) + 1)
    assert len(list(TraceFile(write(tmp_path, lines(ROW, ROW, ROW))))) == 3
    monkeypatch.setattr("bytebill.serving.workload.rows.MOST_CHARACTERS", len(lines(ROW)))
    with pytest.raises(BytebillError, match="line 1 is too long"):
        list(TraceFile(write(tmp_path, lines(ROW))))


@pytest.mark.parametrize("column", ["arrival", "Arrived", "my_timestamp", "start_time", "sent_at", "sendtime", "Time"])
def test_a_column_that_looks_like_a_time_is_asked_for(column: str, tmp_path: Path) -> None:
    with pytest.raises(BytebillError, match=f"time in '{column}'"):
        list(TraceFile(write(tmp_path, f"{column},n_input_tokens,n_output_tokens\n0,10,5\n")))
    other = f"x{column}x,n_input_tokens,n_output_tokens\n0,10,5\n"
    if column in ("start_time", "sent_at", "sendtime", "Time"):
        assert str(TraceFile(write(tmp_path, other)).reading) == "The Byte Bill: all at time 0"


def test_a_time_that_no_format_knows_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("arrival_ms,n_input_tokens,n_output_tokens\n0,10,5\n1000,10,5\n")
    with pytest.raises(BytebillError, match=r"time in 'arrival_ms'.*call it arrival_s"):
        list(TraceFile(path))
