"""Where do the keys and values live, if no sequence may reserve more than it fills? In blocks from one pool.

    pool            [L, n_blocks, K, block_size, H]        keys, and values likewise
    token s of a sequence is in slot s % block_size of the block that its table names at s // block_size

Symbols: L layers, K KV heads, H head size [numbers]. Who holds which block is decided elsewhere
(`bytebill.serving.memory.paged`); here tables are read. Sequences that get one token each go through this book's
kernel in one call (`kernels.decode`, on a GPU `kernels.decode_gpu`), a longer chunk through torch over its own gathered
blocks; without the kernel torch gathers for all. Blocks of a sequence that waits may be kept on the host. Ignores who
shares a block: only
whole blocks are shared, so whoever writes to one that others read writes what is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from bytebill.engine import attention
from bytebill.engine.cache.contiguous import require_keys_and_values
from bytebill.engine.kernels.decode import decode_attention
from bytebill.engine.kernels.decode_code import FIRST_BLOCK
from bytebill.engine.rotary import Factors, rotate
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec


@dataclass(frozen=True, kw_only=True)
class PlacedTokens:
    """One sequence's new tokens in a pass: the slot of the first, their number, and where slots lie."""

    blocks: Sequence[int]  # its table
    start: int
    n_new: int
    n_padding: int = 0  # slots behind the new tokens that attention reads and gives no weight

    @property
    def places(self) -> range:
        """The places of the new tokens."""
        return range(self.start, self.start + self.n_new)

    @property
    def n_read(self) -> int:
        """Slots that attention reads."""
        return self.start + self.n_new + self.n_padding


@dataclass(frozen=True, kw_only=True)
class _Group:
    """B sequences with T new tokens each, for torch: their rows of the pass, and what they see."""

    rows: slice
    n_sequences: int
    tables: Tensor | None = None  # [B, blocks read]; None: no context yet, the tokens see each other only
    bias: Tensor | None = None  # [B, 1, T, 1, S] 0 where a token may look, else -inf
    n_slots: int | None = None  # of a chunk without padding: its tokens are in the last of so many


@dataclass(frozen=True, kw_only=True)
class PagedPlacement:
    """Where the new tokens of one pass go, worked out once and used by every layer."""

    positions: Tensor  # [n, 1]
    table: Tensor | None  # [rows of the kernel, 2 + n]: place, slots read, blocks in order
    groups: tuple[_Group, ...]  # the rest, behind those rows
    blocks: Tensor  # [n - rows of the kernel] block of each token of the groups
    slots: Tensor  # likewise its slot in the block


class PagedCache:
    """A pool of blocks on the device, and one on the host."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        n_blocks: int,
        block_size_tokens: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        n_host_blocks: int = 0,
    ) -> None:
        require_keys_and_values(spec)
        block = (spec.n_kv_heads, block_size_tokens, spec.d_head)
        # Zeros, not empty: a slot not yet written gets weight 0, and 0 * nan would still be nan.
        self._values = torch.zeros(spec.n_layers, n_blocks, *block, dtype=dtype, device=device)
        self.max_len = min(n_blocks * block_size_tokens, spec.context_len)
        self._kernel = decode_attention(self._values, n_heads=spec.n_heads, max_len=self.max_len)
        self._keys = torch.zeros_like(self._values) if self._kernel is None else self._kernel.keys
        self._host = torch.zeros(
            2, spec.n_layers, n_host_blocks, *block, dtype=dtype, pin_memory=self._values.is_cuda and n_host_blocks > 0
        )
        self._split = [spec.n_heads, spec.n_kv_heads, spec.n_kv_heads]
        self.n_blocks, self.n_host_blocks, self.block_size_tokens = n_blocks, n_host_blocks, block_size_tokens

    @property
    def decodes_by_table(self) -> bool:
        """Whether one token of each sequence goes through a kernel that finds blocks in a table."""
        return self._kernel is not None

    def table(self, spans: Sequence[PlacedTokens]) -> Tensor:
        """That kernel's table for spans of one token each, on the host: place, slots read, blocks in order."""
        self._require_room(spans)
        return _table(spans, self.block_size_tokens)

    @property
    def nbytes_allocated(self) -> int:
        """Bytes of the pool on the device: 2 * L * K * H * bytes_per_value for each slot."""
        return self._keys.nbytes + self._values.nbytes

    def place(self, spans: Sequence[PlacedTokens]) -> PagedPlacement:
        """Where the spans' tokens go, span after span; those of one token must come first."""
        n_singles = next((i for i, span in enumerate(spans) if span.n_new > 1), len(spans))
        if not spans or any(span.n_new < 2 for span in spans[n_singles:]):
            raise ValueError("at least one span; those of one token first, and none empty")
        self._require_room(spans)
        singles, table = spans[:n_singles], None
        if singles and self._kernel is not None:
            table, singles = _table(singles, self.block_size_tokens).to(self._values.device), ()
        unfused = spans[0 if table is None else n_singles :]
        owners = [span.blocks[place // self.block_size_tokens] for span in unfused for place in span.places]
        places = torch.tensor([place for span in spans for place in span.places], device=self._values.device)
        return PagedPlacement(
            positions=places[:, None],
            table=table,
            groups=self._groups(singles, spans[n_singles:], places),
            blocks=torch.tensor(owners, dtype=torch.long, device=places.device),
            slots=places[len(places) - len(owners) :] % self.block_size_tokens,
        )

    def attend(self, layer: int, heads: Tensor, factors: Factors, placement: PagedPlacement) -> Tensor:
        """Rotate, store and attend: heads [n, 1, N + 2 K, H] before rotation -> [n, N H]"""
        table, n_fused, found = placement.table, 0, None
        if self._kernel is not None and table is not None:
            n_fused = table.shape[0]
            found = self._kernel(layer, heads[:n_fused], factors=factors, table=table)
            if not placement.groups:
                return found
        out = heads.new_empty(heads.shape[0], self._split[0] * heads.shape[-1])
        if found is not None:
            out[:n_fused] = found
        rotated = rotate(heads[n_fused:, 0], (factors[0][n_fused:, 0], factors[1][n_fused:, 0]))
        q, k, v = rotated.split(self._split, 1)  # [n, N or K, H]
        self._keys[layer][placement.blocks, :, placement.slots] = k
        self._values[layer][placement.blocks, :, placement.slots] = v
        for group in placement.groups:
            rows = slice(group.rows.start - n_fused, group.rows.stop - n_fused)
            out[group.rows] = self._attended(layer, q[rows], k[rows], v[rows], group).flatten(-2).flatten(0, 1)
        return out

    def swap(self, *, device_blocks: Sequence[int], host_blocks: Sequence[int], out: bool) -> None:
        """Copy blocks to the host (`out`) or back."""
        here, there = torch.tensor(device_blocks), torch.tensor(host_blocks)
        if self._values.is_cuda:
            self._swap_one_by_one(device_blocks, host_blocks, out=out)
            return
        for pool, host in zip((self._keys, self._values), self._host, strict=True):
            if out:
                host[:, there] = pool[:, here.to(pool.device)].to(host.device)
            else:
                pool[:, here.to(pool.device)] = host[:, there].to(pool.device)

    def _swap_one_by_one(self, device_blocks: Sequence[int], host_blocks: Sequence[int], *, out: bool) -> None:
        """Straight between the pinned pool and the device, all copies under way before any is waited for."""
        for pool, host in zip((self._keys, self._values), self._host, strict=True):
            for here, there in zip(device_blocks, host_blocks, strict=True):
                source, target = (pool[:, here], host[:, there]) if out else (host[:, there], pool[:, here])
                for layer in range(len(target)):
                    target[layer].copy_(source[layer], non_blocking=True)
        torch.cuda.current_stream().synchronize()

    def _groups(
        self, singles: Sequence[PlacedTokens], chunks: Sequence[PlacedTokens], places: Tensor
    ) -> tuple[_Group, ...]:
        """All single tokens as one group, and each chunk as another."""
        parts = ([singles] if singles else []) + [[chunk] for chunk in chunks]
        sizes = [sum(span.n_new for span in part) for part in parts]
        edges = pairwise(accumulate(sizes, initial=len(places) - sum(sizes)))
        return tuple(self._group(part, slice(*edge), places) for part, edge in zip(parts, edges, strict=True))

    def _group(self, spans: Sequence[PlacedTokens], rows: slice, places: Tensor) -> _Group:
        if spans[0].start == 0 and spans[0].n_new > 1:
            return _Group(rows=rows, n_sequences=1)
        tables = _table(spans, self.block_size_tokens)[:, FIRST_BLOCK:].to(places.device)
        seen = torch.arange(tables.shape[1] * self.block_size_tokens, device=places.device)
        later = seen > places[rows].view(len(spans), 1, -1, 1, 1)  # [B, 1, T, 1, S]
        bias = torch.where(later, float("-inf"), self._keys.new_zeros(()))
        n_slots = spans[0].n_read if len(spans) == 1 and not spans[0].n_padding else None
        return _Group(rows=rows, n_sequences=len(spans), tables=tables, bias=bias, n_slots=n_slots)

    def _attended(self, layer: int, q: Tensor, k: Tensor, v: Tensor, group: _Group) -> Tensor:
        """q [B T, N, H], k and v [B T, K, H] of one group -> [B, T, N, H]"""
        q, k, v = (x.unflatten(0, (group.n_sequences, -1)) for x in (q, k, v))
        if group.tables is None:
            return attention.first_queries(q, keys=k, values=v)
        keys, values = (
            pool[layer][group.tables].transpose(1, 2).flatten(0, 1).flatten(1, 2)  # [B K, S, H]
            for pool in (self._keys, self._values)
        )
        bias, n_slots = group.bias, group.n_slots if q.is_cuda else None
        if n_slots is not None and bias is not None:
            keys, values, bias = keys.narrow(1, 0, n_slots), values.narrow(1, 0, n_slots), bias.narrow(4, 0, n_slots)
        return attention.queries(q, keys=keys.transpose(1, 2), values=values, bias=bias, last=n_slots is not None)

    def _require_room(self, spans: Sequence[PlacedTokens]) -> None:
        for span in spans:
            if span.n_read > min(len(span.blocks) * self.block_size_tokens, self.max_len):
                raise BytebillError(
                    f"A sequence of {span.n_read} tokens does not fit its {len(span.blocks)} blocks of "
                    f"{self.block_size_tokens} in a cache for contexts of at most {self.max_len} tokens."
                )


def _table(spans: Sequence[PlacedTokens], block_size: int) -> Tensor:
    """[B, 2 + n]: each span's first place, slots read, and the blocks that hold them, filled up with block 0."""
    width = max(-(-span.n_read // block_size) for span in spans)
    rows = [[span.start, span.n_read, *span.blocks[:width]] for span in spans]
    return torch.tensor([row + [0] * (FIRST_BLOCK + width - len(row)) for row in rows])
