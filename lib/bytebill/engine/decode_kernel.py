"""What does one thread do to append a token and attend with it? The code behind `decode_attention`.

    for each of its (sequence, KV head):
        q = rotate(q) of the g query heads; slot p of the cache = rotate(k), v
        scores[j, s] = q[j] . k[s]                     j < g, s <= p
        weights[j, s] = exp(scores[j, s] - max)
        out[j] = sum over s of weights[j, s] v[s] / sum over s of weights[j, s]

Symbols: g query heads of a group, H head size, p the token's place [numbers]. The two passes over the cache go
tile after tile of slots and are unrolled into registers (`_scores`, `_mix`); the rest are loops over vectors.
Addresses are integers in bytes, and `_slot` alone knows where in the cache a slot lies. Ignores whatever
`decode_attention` ignores.
"""

from __future__ import annotations

import functools
from typing import Any

from . import kernels, openmp

BYTES = {"fp32": 4, "bf16": 2}
ARGUMENTS = ("heads", "out", "cos", "sin", "keys", "values", "positions", "factor_bytes", "position_bytes",
             "n_rows", "n_kv_heads", "max_len", "scratch", "scratch_bytes", "score_bytes")  # fmt: skip
_TILE = 64  # slots whose keys or values stay in the level-1 cache while several groups of registers pass


def lanes(d_head: int) -> int | None:
    """Floats in the widest vector of this machine that fits half a head a whole number of times.

    >>> lanes(20) is None
    True
    """
    widest = kernels.shape()[0]
    return next((n for n in (16, 8, 4) if n <= widest and d_head % (2 * n) == 0), None)


def scratch_layout(d_head: int, group: int, max_len: int) -> tuple[int, int]:
    """(bytes of one head's scores, bytes of a thread's scratch: queries, mixed values, scores).

    >>> scratch_layout(64, 3, 16)
    (192, 2112)
    """
    score_bytes = (max_len // 16 + 2) * 64  # room for a vector of -inf behind the last score
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
        heads, out, cos, sin, keys, values, positions = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
        factor_bytes, position_bytes, n_rows, n_kv_heads, max_len = p[7], p[8], p[9], p[10], p[11]
        scratch = p[12] + thread_num() * p[13]
        for pair in range(thread_num(), n_rows * n_kv_heads, num_threads()):
            row = pair // n_kv_heads
            head = pair - row * n_kv_heads
            place = load_int(positions + row * position_bytes)
            x = heads + row * n_kv_heads * (group + 2) * head_bytes
            q, k = x + head * group_bytes, x + n_kv_heads * group_bytes + head * head_bytes
            factors = row * factor_bytes
            new_key, new_value = slot(keys, pair, max_len, place), slot(values, pair, max_len, place)
            append(q, k, n_kv_heads, cos + factors, sin + factors, scratch, new_key, new_value)
            attend(keys, values, pair, max_len, place + 1, scratch, p[14], out + pair * group_bytes)

    return region


def _slot(dtype: str, d_head: int) -> Any:
    """Address of a slot's key or value, given the base of a layer's and the pair (sequence, KV head)."""
    slot_bytes = d_head * BYTES[dtype]

    @openmp.part
    def slot(base: int, pair: int, max_len: int, place: int) -> int:
        return base + (pair * max_len + place) * slot_bytes

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
    def append(
        q: int, k: int, n_kv_heads: int, cos: int, sin: int, scratch: int, new_key: int, new_value: int
    ) -> None:
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
    """Scores of all slots seen, their softmax, and the sum of the values so weighted."""
    scores, mix, softmax = _scores(dtype, d_head, group), _mix(dtype, d_head, group), _softmax(d_head)
    finish, slot = _finish(dtype, d_head), _slot(dtype, d_head)
    head_bytes, q_bytes = d_head * BYTES[dtype], group * d_head * 4

    @openmp.part
    def attend(
        keys: int,
        values: int,
        pair: int,
        max_len: int,
        n_slots: int,
        scratch: int,
        score_bytes: int,
        out: int,
    ) -> None:
        q, mixed, weights = scratch, scratch + q_bytes, scratch + 2 * q_bytes
        for start in range(0, n_slots, _TILE):
            n = min(_TILE, n_slots - start)
            scores(q, slot(keys, pair, max_len, start), n, weights + start * 4, score_bytes)
        for j in range(group):
            softmax(weights + j * score_bytes, n_slots, q + j * 4)  # the queries are done with: sums go there
        for start in range(0, n_slots, _TILE):
            n = min(_TILE, n_slots - start)
            mix(weights + start * 4, score_bytes, slot(values, pair, max_len, start), n, mixed, start > 0)
        for j in range(group):
            finish(mixed + j * d_head * 4, q + j * 4, out + j * head_bytes)

    return attend


def _softmax(d_head: int) -> Any:
    """In place, scores [n] -> exp(score - max), and their sum to `total`."""
    ops, n = _operations(d_head), lanes(d_head)
    assert n is not None
    load, store, exp, add, sub = ops["load_fp32"], ops["store_fp32"], ops["exp"], ops["add"], ops["sub"]
    larger, max_lanes, sum_lanes = ops["larger"], ops["max_lanes"], ops["sum_lanes"]
    spread, zero, store_one = ops["spread"], ops["zero"], ops["store_one"]
    nothing = float("-inf")

    @openmp.part
    def softmax(scores: int, n_slots: int, total: int) -> None:
        store(scores + n_slots * 4, spread(nothing))  # so that the last vector is whole
        highest = load(scores)
        for s in range(n, n_slots, n):
            highest = larger(load(scores + s * 4), highest)
        top, sums = spread(max_lanes(highest)), zero()
        for s in range(0, n_slots, n):
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
    lines += [
        f"    q{j}_{v} = load_fp32(q + {(j * d_head + v * n) * 4})" for j in range(group) for v in vectors
    ]
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
    _, rows, columns = kernels.shape()
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
    from . import simd, simd_math

    n = lanes(d_head)
    assert n is not None, "ask lanes() first"
    return simd.operations(n) | simd_math.operations(n)
