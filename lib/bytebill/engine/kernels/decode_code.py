"""What does one thread do to append a token and attend with it? The code behind `decode_attention`.

    for each of its (sequence, KV head):
        q = rotate(q) of the g query heads; slot p of the cache = rotate(k), v
        scores[j, s] = q[j] . k[s]                     j < g, s <= p
        weights[j, s] = exp(scores[j, s] - max)
        out[j] = sum over s of weights[j, s] v[s] / sum over s of weights[j, s]

Symbols: g query heads of a group, H head size, p the token's place [numbers]. The two passes over the cache go
tile after tile of slots and are unrolled into registers (`_scores`, `_mix`); the rest are loops over vectors.
Addresses are integers in bytes, and `_slot` alone knows where in the cache a slot lies: in the blocks that the
sequence's row of the table names. Ignores whatever `decode_attention` ignores.
"""

from __future__ import annotations

import functools
from typing import Any

from bytebill.engine.kernels import openmp, panels

BYTES = {"fp32": 4, "bf16": 2}
ARGUMENTS = (
    "heads",
    "out",
    "cos",
    "sin",
    "keys",
    "values",
    "table",
    "factor_bytes",
    "row_bytes",
    "n_rows",
    "n_kv_heads",
    "block_size",
    "scratch",
    "scratch_bytes",
    "score_bytes",
)
PLACE, N_READ, BLOCKS = 0, 1, 2  # columns of the table: where the token goes, slots read, the first block
_TILE = 64  # slots whose keys or values stay in the level-1 cache while several groups of registers pass


def lanes(d_head: int) -> int | None:
    """Floats in the widest vector of this machine that fits half a head a whole number of times.

    >>> lanes(20) is None
    True
    """
    widest = panels.shape()[0]
    return next((n for n in (16, 8, 4) if n <= widest and d_head % (2 * n) == 0), None)


def scratch_layout(d_head: int, group: int, max_len: int) -> tuple[int, int]:
    """(bytes of one head's scores, bytes of a thread's scratch: queries, mixed values, scores).

    >>> scratch_layout(64, 3, 16)
    (256, 2304)
    """
    score_bytes = (max_len // 16 + 3) * 64  # room for vectors of -inf behind the last score
    return score_bytes, group * (2 * d_head * 4 + score_bytes)


@functools.cache
def kernel(dtype: str, d_head: int, group: int) -> int:
    """Address of the compiled kernel; a second the first time."""
    return openmp.compiled(_region(dtype, d_head, group))


def _region(dtype: str, d_head: int, group: int) -> Any:
    """What every thread of a team runs: the pairs (sequence, KV head) number rank, rank + n_ranks, ..."""
    append, attend, slot = _append(dtype, d_head, group), _attend(dtype, d_head, group), _slot(dtype, d_head)
    load_int = _operations(d_head)["load_int"]
    threads = openmp.thread_functions()
    thread_num, num_threads = threads["thread_num"], threads["num_threads"]
    head_bytes, group_bytes = d_head * BYTES[dtype], group * d_head * BYTES[dtype]

    def region(p: Any) -> None:
        heads, out, cos, sin, keys, values, table = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
        factor_bytes, row_bytes, n_rows, n_kv_heads, block_size = p[7], p[8], p[9], p[10], p[11]
        scratch = p[12] + thread_num() * p[13]
        for pair in range(thread_num(), n_rows * n_kv_heads, num_threads()):
            row = pair // n_kv_heads
            head = pair - row * n_kv_heads
            where = table + row * row_bytes
            x = heads + row * n_kv_heads * (group + 2) * head_bytes
            q, k = x + head * group_bytes, x + n_kv_heads * group_bytes + head * head_bytes
            factors = row * factor_bytes
            new = slot(where, head, n_kv_heads, block_size, load_int(where + 8 * PLACE))
            append(q, k, n_kv_heads, cos + factors, sin + factors, scratch, keys + new, values + new)
            to = out + pair * group_bytes
            attend(keys, values, where, head, n_kv_heads, block_size, scratch, p[14], to)

    return region


def _slot(dtype: str, d_head: int) -> Any:
    """Bytes from the start of a layer's keys or values to a slot of one head, through a row of the table."""
    load_int, slot_bytes = _operations(d_head)["load_int"], d_head * BYTES[dtype]

    @openmp.part
    def slot(where: int, head: int, n_kv_heads: int, block_size: int, place: int) -> int:
        nth = place // block_size
        block = load_int(where + 8 * (BLOCKS + nth))
        return ((block * n_kv_heads + head) * block_size + place - nth * block_size) * slot_bytes

    return slot


def _append(dtype: str, d_head: int, group: int) -> Any:
    """Rotate the group's queries into scratch, and write key and value into their slot."""
    ops, n = _operations(d_head), lanes(d_head)
    assert n is not None
    load, store, store_fp32 = ops[f"load_{dtype}"], ops[f"store_{dtype}"], ops["store_fp32"]
    fma, mul = ops["fma"], ops["mul"]
    vector, head_bytes, half = n * BYTES[dtype], d_head * BYTES[dtype], d_head * BYTES[dtype] // 2
    widened = 4 // BYTES[dtype]

    @openmp.part
    def rotated(x: int, cos: int, sin: int, at: int) -> Any:
        swapped = at + half if at < half else at - half
        return fma(load(x + at), load(cos + at), mul(load(x + swapped), load(sin + at)))

    @openmp.part
    def append(q: int, k: int, n_kv_heads: int, cos: int, sin: int, scratch: int, new_key: int, new_value: int) -> None:
        """Factors are those of a query head first, of a key head behind all queries'."""
        behind = n_kv_heads * group * head_bytes
        v = k + n_kv_heads * head_bytes
        for at in range(0, head_bytes, vector):
            store(new_key + at, rotated(k, cos + behind, sin + behind, at))
            store(new_value + at, load(v + at))
            for j in range(group):
                head = j * head_bytes
                store_fp32(scratch + (head + at) * widened, rotated(q + head, cos, sin, at))

    return append


def _attend(dtype: str, d_head: int, group: int) -> Any:
    """Scores of all slots read, their softmax, and the sum of the values so weighted."""
    scores, mix, softmax = _scores(dtype, d_head, group), _mix(dtype, d_head, group), _softmax(d_head)
    finish, slot, load_int = _finish(dtype, d_head), _slot(dtype, d_head), _operations(d_head)["load_int"]
    head_bytes, q_bytes = d_head * BYTES[dtype], group * d_head * 4

    @openmp.part
    def attend(
        keys: int,
        values: int,
        where: int,
        head: int,
        n_kv_heads: int,
        block_size: int,
        scratch: int,
        score_bytes: int,
        out: int,
    ) -> None:
        n_seen, n_read = load_int(where + 8 * PLACE) + 1, load_int(where + 8 * N_READ)
        q, mixed, weights = scratch, scratch + q_bytes, scratch + 2 * q_bytes
        start = 0
        while start < n_read:
            n = min(_TILE, block_size - start % block_size, n_read - start)  # a tile ends where its block does
            tile = slot(where, head, n_kv_heads, block_size, start)
            scores(q, keys + tile, n, weights + start * 4, score_bytes)
            start += n
        for j in range(group):  # the queries are done with: sums go there
            softmax(weights + j * score_bytes, n_seen, n_read, q + j * 4)
        start = 0
        while start < n_read:
            n = min(_TILE, block_size - start % block_size, n_read - start)
            tile = slot(where, head, n_kv_heads, block_size, start)
            mix(weights + start * 4, score_bytes, values + tile, n, mixed, start > 0)
            start += n
        for j in range(group):
            finish(mixed + j * d_head * 4, q + j * 4, out + j * head_bytes)

    return attend


def _softmax(d_head: int) -> Any:
    """In place, scores [n_read] -> exp(score - max), 0 from n_seen on, and their sum to `total`."""
    ops, n = _operations(d_head), lanes(d_head)
    assert n is not None
    load, store, exp, add, sub = ops["load_fp32"], ops["store_fp32"], ops["exp"], ops["add"], ops["sub"]
    larger, max_lanes, sum_lanes = ops["larger"], ops["max_lanes"], ops["sum_lanes"]
    spread, zero, store_one = ops["spread"], ops["zero"], ops["store_one"]
    nothing = float("-inf")

    @openmp.part
    def softmax(scores: int, n_seen: int, n_read: int, total: int) -> None:
        for s in range(n_seen, n_read + n, n):  # so that padding weighs nothing and the last vector is whole
            store(scores + s * 4, spread(nothing))
        highest = load(scores)
        for s in range(n, n_read, n):
            highest = larger(load(scores + s * 4), highest)
        top, sums = spread(max_lanes(highest)), zero()
        for s in range(0, n_read, n):
            weight = exp(sub(load(scores + s * 4), top))
            store(scores + s * 4, weight)
            sums = add(sums, weight)
        store_one(total, sum_lanes(sums))

    return softmax


def _finish(dtype: str, d_head: int) -> Any:
    """One head's mixed values over the sum of their weights, to the output."""
    ops, n = _operations(d_head), lanes(d_head)
    assert n is not None
    load, store, div, broadcast = ops["load_fp32"], ops[f"store_{dtype}"], ops["div"], ops["broadcast"]
    value_bytes = BYTES[dtype]

    @openmp.part
    def finish(mixed: int, total: int, out: int) -> None:
        for i in range(0, d_head, n):
            store(out + i * value_bytes, div(load(mixed + i * 4), broadcast(total)))

    return finish


def _scores(dtype: str, d_head: int, group: int) -> Any:
    """scores[j, s] = q[j] . k[s] for n slots: a key is loaded once and meets g queries held in registers."""
    n = lanes(d_head)
    assert n is not None
    vectors, step = range(d_head // n), n * BYTES[dtype]
    lines = ["def scores(q, k, n_slots, to, score_bytes):"]
    lines += [f"    q{j}_{v} = load_fp32(q + {(j * d_head + v * n) * 4})" for j in range(group) for v in vectors]
    lines += ["    for s in range(n_slots):"]
    lines += [f"        k{v} = load_{dtype}(k + {v * step})" for v in vectors]
    for j in range(group):
        lines += [f"        x{j} = mul(q{j}_0, k0)"]
        lines += [f"        x{j} = fma(q{j}_{v}, k{v}, x{j})" for v in vectors[1:]]
    lines += [f"        store_one(to + {j} * score_bytes, sum_lanes(x{j}))" for j in range(group)]
    lines += [f"        k += {d_head * BYTES[dtype]}", "        to += 4"]
    return _jitted(lines, d_head)


def _mix(dtype: str, d_head: int, group: int) -> Any:
    """mixed[j] += sum of weights[j, s] v[s] over n slots, as many heads and vectors at a time as fit registers."""
    n = lanes(d_head)
    assert n is not None
    lines = ["def mix(weights, score_bytes, values, n_slots, mixed, again):"]
    for heads, vectors in _blocks(group, d_head // n):
        cells = [(j, v) for j in heads for v in vectors]
        lines += ["    w, x = weights, values"]
        lines += [f"    a{j}_{v} = zero()" for j, v in cells]
        lines += ["    for s in range(n_slots):"]
        lines += [f"        x{v} = load_{dtype}(x + {v * n * BYTES[dtype]})" for v in vectors]
        for j in heads:
            lines += [f"        w{j} = broadcast(w + {j} * score_bytes)"]
            lines += [f"        a{j}_{v} = fma(w{j}, x{v}, a{j}_{v})" for v in vectors]
        lines += [f"        x += {d_head * BYTES[dtype]}", "        w += 4"]
        lines += [f"    add_to(mixed + {(j * d_head + v * n) * 4}, a{j}_{v}, again)" for j, v in cells]
    return _jitted(lines, d_head)


def _blocks(group: int, n_vectors: int) -> list[tuple[range, range]]:
    """Heads and vectors of a head that accumulate at a time: as many as a matmul kernel's accumulators."""
    _, rows, columns = panels.shape()
    width = min(n_vectors, rows * columns)
    height = max(1, rows * columns // width)
    return [
        (range(j, min(j + height, group)), range(v, min(v + width, n_vectors)))
        for j in range(0, group, height)
        for v in range(0, n_vectors, width)
    ]


def _jitted(lines: list[str], d_head: int) -> Any:
    names = dict(_operations(d_head))
    exec("\n".join(lines), names)
    return openmp.part(names[lines[0].split("(")[0].removeprefix("def ")])


def _operations(d_head: int) -> dict[str, Any]:
    from bytebill.engine.kernels import simd, simd_math

    n = lanes(d_head)
    assert n is not None, "ask lanes() first"
    return simd.operations(n) | simd_math.operations(n)
