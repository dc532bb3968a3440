"""What does one thread do to append a token and attend with it? The code behind `decode_attention`.

    for each of its (sequence, KV head), and of the sequence's new tokens, one after the other:
        q = rotate(q) of the g query heads; slot p of the cache = rotate(k), v
        scores[j, s] = q[j] . k[s]                     j < g, s <= p
        weights[j, s] = exp(scores[j, s] - max)
        out[j] = sum over s of weights[j, s] v[s] / sum over s of weights[j, s]

Symbols: g query heads of a group, H head size, p the token's place [numbers]. The two passes over the cache go
tile after tile of slots and are unrolled into registers (`_scores`, `_mix`); the rest are loops over vectors.
Addresses are integers in bytes, and `_slot` alone knows where in the cache a slot lies: in the blocks that the
sequence's row of the table names. Ignores whatever `decode_attention` ignores.
"""

import functools
from itertools import chain
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple

from bytebill.engine.kernels import machine_code, openmp, panels
from bytebill.engine.kernels.dtypes import PLAIN

N_ARGUMENTS = 17  # of a call, each at its place
HEADS, OUT, COS, SIN, KEYS, VALUES, TABLE, FACTOR_BYTES, NEXT_BYTES, ROW_BYTES, N_SEQUENCES, N_EACH = range(12)
N_KV_HEADS, BLOCK_SIZE, SCRATCH, SCRATCH_BYTES, SCORE_BYTES = range(12, N_ARGUMENTS)
PLACE, N_READ, FIRST_BLOCK = range(3)  # columns of the table: where the token goes, slots read, the first block
NOWHERE = -1  # the place of padding: nothing is written, nothing attended to
_HEADS_AT_ONCE = 4  # at most, whose code is written out
_TILE = 64  # slots whose keys or values stay in the level-1 cache while several groups of registers pass


class HeadGroup(NamedTuple):
    """The query heads that share one KV head: what a kernel is compiled for."""

    dtype: str
    d_head: int
    n_heads: int  # that share the KV head
    lanes: int

    @property
    def value_bytes(self) -> int:
        return PLAIN[self.dtype].itemsize

    @property
    def head_bytes(self) -> int:
        return self.d_head * self.value_bytes

    @property
    def operations(self) -> dict[str, Any]:
        """What the code may do with vectors; `load` and `store` take the cache's dtype."""
        from bytebill.engine.kernels import simd

        ops = simd.operations(self.lanes)
        return ops | {name: ops[f"{name}_{self.dtype}"] for name in ("load", "store")}


def scratch_layout(d_head: int, n_heads: int, max_len: int) -> tuple[int, int]:
    """(bytes of one head's scores, bytes of a thread's scratch: queries, mixed values, scores).

    >>> scratch_layout(64, 3, 16)
    (256, 2304)
    """
    score_bytes = (max_len // 16 + 3) * 64  # room for vectors of -inf behind the last score
    return score_bytes, n_heads * (2 * d_head * 4 + score_bytes)


@functools.cache
def decode_kernel(group: HeadGroup) -> int:
    """Address of the code; one to three seconds where it is compiled."""
    return machine_code.address_of(functools.partial(_region, group), "decode", group)


def _region(group: HeadGroup) -> Any:
    """What every thread of a team runs: the pairs (sequence, KV head) number rank, rank + n_ranks, ..."""
    append, attend, slot, load_int = _append(group), _attend(group), _slot(group), group.operations["load_int"]
    thread_num, num_threads = openmp.thread_functions().values()
    head_bytes, n_heads = group.head_bytes, group.n_heads

    def region(p: Any) -> None:
        n_kv_heads, block_size = p[N_KV_HEADS], p[BLOCK_SIZE]
        scratch = p[SCRATCH] + thread_num() * p[SCRATCH_BYTES]
        for pair in range(thread_num(), p[N_SEQUENCES] * n_kv_heads, num_threads()):
            sequence = pair // n_kv_heads
            head = pair - sequence * n_kv_heads
            for nth in range(p[N_EACH]):
                row = sequence * p[N_EACH] + nth
                where = p[TABLE] + row * p[ROW_BYTES]
                place = load_int(where + 8 * PLACE)
                if place < 0:
                    continue
                x = p[HEADS] + row * n_kv_heads * (n_heads + 2) * head_bytes
                q, k = x + head * n_heads * head_bytes, x + (n_kv_heads * n_heads + head) * head_bytes
                turned = sequence * p[FACTOR_BYTES] + nth * p[NEXT_BYTES]
                new = slot(where, head, n_kv_heads, block_size, place)
                append(q, k, n_kv_heads, p[COS] + turned, p[SIN] + turned, scratch, p[KEYS] + new, p[VALUES] + new)
                to = p[OUT] + (row * n_kv_heads + head) * n_heads * head_bytes
                attend(p[KEYS], p[VALUES], where, head, n_kv_heads, block_size, scratch, p[SCORE_BYTES], to)

    return region


def _slot(group: HeadGroup) -> Any:
    """Bytes from the start of a layer's keys or values to a slot of one head, through a row of the table."""
    load_int, slot_bytes = group.operations["load_int"], group.head_bytes

    @openmp.part
    def slot(where: int, head: int, n_kv_heads: int, block_size: int, place: int) -> int:
        nth = place // block_size
        block = load_int(where + 8 * (FIRST_BLOCK + nth))
        return ((block * n_kv_heads + head) * block_size + place - nth * block_size) * slot_bytes

    return slot


def _append(group: HeadGroup) -> Any:
    """Rotate the group's queries into scratch, and write key and value into their slot."""
    load, store, store_fp32, fma, mul = itemgetter("load", "store", "store_fp32", "fma", "mul")(group.operations)
    head_bytes, half, vector = group.head_bytes, group.head_bytes // 2, group.lanes * group.value_bytes
    n_heads, widened = group.n_heads, 4 // group.value_bytes

    @openmp.part
    def rotated(x: int, cos: int, sin: int, at: int) -> Any:
        swapped = at + half if at < half else at - half
        return fma(load(x + at), load(cos + at), mul(load(x + swapped), load(sin + at)))

    @openmp.part
    def append(q: int, k: int, n_kv_heads: int, cos: int, sin: int, scratch: int, new_key: int, new_value: int) -> None:
        """Factors are those of a query head first, of a key head behind all queries'."""
        behind = n_kv_heads * n_heads * head_bytes
        v = k + n_kv_heads * head_bytes
        for at in range(0, head_bytes, vector):
            store(new_key + at, rotated(k, cos + behind, sin + behind, at))
            store(new_value + at, load(v + at))
            for j in range(n_heads):
                head = j * head_bytes
                store_fp32(scratch + (head + at) * widened, rotated(q + head, cos, sin, at))

    return append


def _attend(group: HeadGroup) -> Any:
    """Scores of all slots read, their softmax, and the sum of the values so weighted."""
    few = group._replace(n_heads=max(n for n in range(1, _HEADS_AT_ONCE + 1) if group.n_heads % n == 0))
    scores, mix = (_over_slots(group, _by_heads(group, work(few), few.n_heads)) for work in (_scores, _mix))
    softmax, finish, load_int = _softmax(group), _finish(group), group.operations["load_int"]
    n_heads, head_bytes, fp32_bytes = group.n_heads, group.head_bytes, group.d_head * 4

    @openmp.part
    def attend(keys, values, where, head, n_kv_heads, block_size, scratch, score_bytes, out):  # type: ignore[no-untyped-def]
        n_seen, n_read = load_int(where + 8 * PLACE) + 1, load_int(where + 8 * N_READ)
        q, mixed, weights = scratch, scratch + n_heads * fp32_bytes, scratch + 2 * n_heads * fp32_bytes
        scores(keys, where, head, n_kv_heads, block_size, q, weights, score_bytes)
        for j in range(n_heads):  # the queries are done with: sums go there
            softmax(weights + j * score_bytes, n_seen, n_read, q + j * 4)
        mix(values, where, head, n_kv_heads, block_size, mixed, weights, score_bytes)
        for j in range(n_heads):
            finish(mixed + j * fp32_bytes, q + j * 4, out + j * head_bytes)

    return attend


def _by_heads(group: HeadGroup, work: Any, n_at_once: int) -> Any:
    """Call `work`, whose code is of a few heads, for all of the group's: one text of 32 heads takes half a minute to
    compile, and its registers spill."""
    n_heads, fp32_bytes = group.n_heads, group.d_head * 4
    if n_heads == n_at_once:
        return work

    @openmp.part
    def by_heads(vectors, tile, n, weights, score_bytes, again):  # type: ignore[no-untyped-def]
        for j in range(0, n_heads, n_at_once):
            work(vectors + j * fp32_bytes, tile, n, weights + j * score_bytes, score_bytes, again)

    return by_heads


def _over_slots(group: HeadGroup, work: Any) -> Any:
    """Call `work` for tile after tile of a sequence's slots; a tile ends where its block does."""
    slot, load_int = _slot(group), group.operations["load_int"]

    @openmp.part
    def over_slots(cached, where, head, n_kv_heads, block_size, vectors, weights, score_bytes):  # type: ignore[no-untyped-def]
        n_read, start = load_int(where + 8 * N_READ), 0
        while start < n_read:
            n = min(_TILE, block_size - start % block_size, n_read - start)
            tile = cached + slot(where, head, n_kv_heads, block_size, start)
            work(vectors, tile, n, weights + start * 4, score_bytes, start > 0)
            start += n

    return over_slots


def _softmax(group: HeadGroup) -> Any:
    """In place, scores [n_read] -> exp(score - max), 0 from n_seen on, and their sum to `total`."""
    load, store, store_one, spread, zero = itemgetter("load_fp32", "store_fp32", "store_one", "spread", "zero")(
        group.operations
    )
    exp, add, sub, larger, max_lanes, sum_lanes = itemgetter("exp", "add", "sub", "larger", "max_lanes", "sum_lanes")(
        group.operations
    )
    nothing, n = float("-inf"), group.lanes

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


def _finish(group: HeadGroup) -> Any:
    """One head's mixed values over the sum of their weights, to the output."""
    d_head, n, value_bytes = group.d_head, group.lanes, group.value_bytes
    load, store, div, broadcast = itemgetter("load_fp32", "store", "div", "broadcast")(group.operations)

    @openmp.part
    def finish(mixed: int, total: int, out: int) -> None:
        for i in range(0, d_head, n):
            store(out + i * value_bytes, div(load(mixed + i * 4), broadcast(total)))

    return finish


def _scores(group: HeadGroup) -> Any:
    """scores[j, s] = q[j] . k[s] for n slots: a key is loaded once and meets g queries held in registers."""
    d_head, n, heads = group.d_head, group.lanes, range(group.n_heads)
    vectors = range(d_head // n)
    return _jitted(
        "def scores(q, k, n_slots, to, score_bytes, again):",
        *(f"    q{j}_{v} = load_fp32(q + {(j * d_head + v * n) * 4})" for j in heads for v in vectors),
        "    for s in range(n_slots):",
        *(f"        k{v} = load(k + {v * n * group.value_bytes})" for v in vectors),
        *(
            f"        x{j} = fma(q{j}_{v}, k{v}, x{j})" if v else f"        x{j} = mul(q{j}_0, k0)"
            for j in heads
            for v in vectors
        ),
        *(f"        store_one(to + {j} * score_bytes, sum_lanes(x{j}))" for j in heads),
        f"        k += {group.head_bytes}",
        "        to += 4",
        group=group,
    )


def _mix(group: HeadGroup) -> Any:
    """mixed[j] += sum of weights[j, s] v[s] over n slots, as many heads and vectors at a time as fit registers."""
    blocks = (_mix_block(group, heads, vectors) for heads, vectors in _register_blocks(group))
    return _jitted("def mix(mixed, values, n_slots, weights, score_bytes, again):", *chain(*blocks), group=group)


def _mix_block(group: HeadGroup, heads: range, vectors: range) -> list[str]:
    """Lines that pass once over the slots for some heads and vectors."""
    d_head, n, cells = group.d_head, group.lanes, [(j, v) for j in heads for v in vectors]
    return [
        "    w, x = weights, values",
        *(f"    a{j}_{v} = zero()" for j, v in cells),
        "    for s in range(n_slots):",
        *(f"        x{v} = load(x + {v * n * group.value_bytes})" for v in vectors),
        *(
            line
            for j in heads
            for line in (
                f"        w{j} = broadcast(w + {j} * score_bytes)",
                *(f"        a{j}_{v} = fma(w{j}, x{v}, a{j}_{v})" for v in vectors),
            )
        ),
        f"        x += {group.head_bytes}",
        "        w += 4",
        *(f"    add_to(mixed + {(j * d_head + v * n) * 4}, a{j}_{v}, again)" for j, v in cells),
    ]


def _register_blocks(group: HeadGroup) -> list[tuple[range, range]]:
    """Heads and vectors of a head that accumulate at a time: as many as a matmul kernel's accumulators."""
    n_vectors, n_registers = group.d_head // group.lanes, prod(panels.register_tile()[1:])
    width = min(n_vectors, n_registers)
    height = max(1, n_registers // width)
    return [
        (range(j, min(j + height, group.n_heads)), range(v, min(v + width, n_vectors)))
        for j in range(0, group.n_heads, height)
        for v in range(0, n_vectors, width)
    ]


def _jitted(*lines: str, group: HeadGroup) -> Any:
    names = dict(group.operations)
    exec("\n".join(lines), names)
    return openmp.part(names[lines[0].split("(")[0].removeprefix("def ")])
