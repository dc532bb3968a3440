"""Where do the keys and values live? One contiguous stretch of `max_len` slots for each sequence.

    bytes_per_token = 2 * L * K * H * bytes_per_value          [bytes/token]

Symbols: L layers, K KV heads, H head size [numbers]. Keys lie as [L, B K, H, max_len], values [L, B K,
max_len, H]: the two layouts that the batched matmuls of `attention` stream fastest. Where this book's kernel
decodes (`decode_attention`), keys lie in memory as values do, and the same shape is a view. Sequences may have
different lengths; token s of a sequence sits in slot s. Ignores paging: a cache that places tokens otherwise
(`paged`) offers what `Cache` names, and the transformer never looks further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bytebill.engine import attention
from bytebill.engine.kernels.decode import decode_attention
from bytebill.errors import BytebillError
from bytebill.models import ModelSpec


class Places(Protocol):
    """Where the new tokens of one forward pass go, worked out once and used by every layer."""

    @property
    def positions(self) -> Tensor:
        """[B or 1, T] place of each token in its sequence."""

    @property
    def fused(self) -> bool:
        """Whether the cache takes the heads as they come (`decode`), or rotated (`attend`)."""


class Cache(Protocol):
    """What the layers ask of a cache, given a placement that it made."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, placement: Any) -> Tensor:
        """Store and attend: q [B, T, N, H], k and v [B, T, K, H] -> [B, T, N, H]."""

    def decode(self, layer: int, heads: Tensor, factors: tuple[Tensor, Tensor], placement: Any) -> Tensor:
        """Rotate, store and attend: heads [B, T, N + 2 K, H] -> [B T, N H]."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the new tokens go in a contiguous cache."""

    positions: Tensor  # [B or 1, T] place of each token in its sequence
    n_slots: int  # slots that attention reads: the longest context, new tokens included
    n_new: tuple[int, ...]  # real tokens of each sequence; the rest of T is right padding
    start: int | None = None  # the slot of the first new token, where it is the same for all sequences
    scatter: tuple[Tensor, Tensor, Tensor | None] | None = None  # else rows, slots, real tokens (None: all)
    bias: Tensor | None = None  # [B or 1, 1, T, 1, S] 0 where a token may look, else -inf; None: everywhere
    fresh: bool = False  # no context yet: the new tokens see only each other
    table: Tensor | None = None  # one new token of every sequence, and a kernel that takes it: `decode`

    @property
    def fused(self) -> bool:
        return self.table is not None


class ContiguousCache:
    """Keys and values of `batch_size` sequences, room for `max_len` tokens each."""

    def __init__(
        self, spec: ModelSpec, *, batch_size: int, max_len: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        heads = (spec.n_layers, batch_size * spec.n_kv_heads)
        # Zeros, not empty: a slot not yet written gets weight 0, and 0 * nan would still be nan.
        self._values = torch.zeros(*heads, max_len, spec.d_head, dtype=dtype, device=device)
        rows = (batch_size, spec.n_kv_heads)
        self._kernel = decode_attention(self._values.unflatten(1, rows), n_heads=spec.n_heads, max_len=max_len)
        if self._kernel is not None:
            self._keys = self._kernel.keys.flatten(1, 2).transpose(-1, -2)
        else:
            self._keys = torch.zeros(*heads, spec.d_head, max_len, dtype=dtype, device=device)
        # The same memory twice: as the matmuls read it, and by row [L, B, K, ...] as tokens are written.
        self._layers = list(zip(self._keys.unbind(0), self._values.unbind(0), strict=True))
        self._rows = [(keys.unflatten(0, rows), values.unflatten(0, rows)) for keys, values in self._layers]
        self.slots = torch.arange(max_len, device=device)
        self.batch_size, self.max_len = batch_size, max_len
        self.lengths = [0] * batch_size

    @property
    def bytes_per_token(self) -> int:
        """Bytes kept for one token of one sequence, over all layers: `models.kv_stored_bytes_per_token`."""
        return self.nbytes_allocated // (self.batch_size * self.max_len)

    @property
    def nbytes_stored(self) -> int:
        """Bytes of the tokens held now."""
        return sum(self.lengths) * self.bytes_per_token

    @property
    def nbytes_allocated(self) -> int:
        """Bytes reserved for `max_len` tokens of every sequence, held or not."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The memory itself, first axis the layers: what a measurement fills and reads."""
        return self._keys, self._values

    def reset(self) -> None:
        """Forget everything; the memory stays."""
        self.lengths = [0] * self.batch_size

    def occupy(self, context_len: int) -> None:
        """Hold `context_len` tokens of no meaning in every sequence, for a measurement: memory that was never written
        is one page of zeros that stays on the chip, so every slot is written first."""
        for tensor in self.tensors:
            tensor.fill_(0.01)
        self.set_lengths(context_len)

    def set_lengths(self, lengths: int | Sequence[int]) -> None:
        """Say how many slots count as context.

        Fewer than held forgets the last tokens; more takes the slots as they are: zeros at first, or what
        `occupy` wrote.
        """
        wanted = [lengths] * self.batch_size if isinstance(lengths, int) else list(lengths)
        self._require_room(max(wanted), n_given=len(wanted))
        self.lengths = wanted

    def place(self, n_rows: int, n_tokens: int, n_new: Sequence[int] | None = None) -> Placement:
        """Where `n_tokens` tokens of each sequence go: `n_new[b]` real ones, then right padding."""
        new = (n_tokens,) * n_rows if n_new is None else tuple(n_new)
        if len(new) != n_rows or not all(0 <= n <= n_tokens for n in new):
            raise ValueError(f"n_new must hold {n_rows} counts between 0 and {n_tokens}")
        n_slots = max((length + n for length, n in zip(self.lengths, new, strict=False)), default=0)
        self._require_room(n_slots, n_given=n_rows)
        if self._kernel is not None and n_tokens == 1 and min(new) == 1:
            return self._place_singles(n_slots, new)
        fresh = not any(self.lengths)
        if len(set(self.lengths)) == 1 and min(new) == n_tokens:
            return self._place_evenly(self.lengths[0], n_tokens, new, fresh=fresh)
        starts = torch.tensor(self.lengths, device=self.slots.device)
        positions = starts[:, None] + self.slots.new_tensor(range(n_tokens))
        rows, columns = _real_tokens(new)
        tokens = None if min(new) == n_tokens else (rows * n_tokens + columns).to(self.slots.device)
        return self.place_at(positions, n_slots=n_slots, n_new=new, rows=rows, tokens=tokens, fresh=fresh)

    def _place_singles(self, n_slots: int, n_new: tuple[int, ...]) -> Placement:
        """The next slot of each sequence, whose one block is its row."""
        table = torch.tensor([[length, length + 1, row] for row, length in enumerate(self.lengths)])
        even = len(set(self.lengths)) == 1
        return Placement(positions=table[: 1 if even else None, :1], n_slots=n_slots, n_new=n_new, table=table)

    def _place_evenly(self, start: int, n_tokens: int, n_new: tuple[int, ...], *, fresh: bool) -> Placement:
        end = start + n_tokens
        positions = self.slots[None, start:end]
        bias = None if n_tokens == 1 or fresh else self._bias(positions, end)
        return Placement(positions=positions, n_slots=end, n_new=n_new, start=start, bias=bias, fresh=fresh)

    def place_at(
        self,
        positions: Tensor,
        *,
        n_slots: int,
        n_new: tuple[int, ...],
        rows: Tensor,
        tokens: Tensor | None = None,
        fresh: bool = False,
    ) -> Placement:
        """A placement from tensors alone (positions [B, T]), so that a CUDA graph can hold it."""
        flat = positions.flatten()
        slots = flat if tokens is None else flat[tokens]
        bias = None if fresh else self._bias(positions, n_slots)
        scatter = (rows.to(positions.device), slots, tokens)
        return Placement(positions=positions, n_slots=n_slots, n_new=n_new, scatter=scatter, bias=bias, fresh=fresh)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, placement: Placement) -> Tensor:
        """Store the new keys and values, and let the queries see all they may.

        q [B, T, N, H], k and v [B, T, K, H] -> [B, T, N, H]
        """
        keys, values = self._layers[layer]
        self._append(*self._rows[layer], k, v, placement)
        if placement.fresh and q.shape[1] > 1:
            return attention.first_queries(q, keys=k, values=v)
        keys, values = keys.narrow(2, 0, placement.n_slots), values.narrow(1, 0, placement.n_slots)
        if q.shape[1] <= attention.FEW_TOKENS or placement.bias is None:
            return attention.few_queries(q, keys=keys, values=values, bias=placement.bias)
        return attention.many_queries(q, keys=keys, values=values, bias=placement.bias)

    def decode(self, layer: int, heads: Tensor, factors: tuple[Tensor, Tensor], placement: Placement) -> Tensor:
        """Rotate, store and attend in one call, for a placement that says `fused`.

        heads [B, 1, N + 2 K, H] before rotation -> [B, N H]
        """
        assert self._kernel is not None and placement.table is not None
        return self._kernel(layer, heads, factors=factors, table=placement.table)

    def commit(self, placement: Placement) -> None:
        """Count the placed tokens as context, once all layers have stored them."""
        self.lengths = [length + n for length, n in zip(self.lengths, placement.n_new, strict=True)]

    @staticmethod
    def _append(keys: Tensor, values: Tensor, k: Tensor, v: Tensor, placement: Placement) -> None:
        if placement.start is not None:
            keys.narrow(3, placement.start, k.shape[1]).copy_(k.permute(0, 2, 3, 1))
            values.narrow(2, placement.start, v.shape[1]).copy_(v.transpose(1, 2))
            return
        assert placement.scatter is not None
        rows, slots, tokens = placement.scatter
        k, v = k.flatten(0, 1), v.flatten(0, 1)  # [B T, K, H]
        keys[rows, :, :, slots] = k if tokens is None else k[tokens]
        values[rows, :, slots] = v if tokens is None else v[tokens]

    def _bias(self, positions: Tensor, n_slots: int) -> Tensor:
        """0 for the slots up to each token's own, -inf for later ones: [B or 1, 1, T, 1, S]."""
        hidden = self.slots[:n_slots] > positions[:, None, :, None, None]
        zeros = torch.zeros((), dtype=self._keys.dtype, device=positions.device)
        return torch.where(hidden, float("-inf"), zeros)

    def _require_room(self, n_slots: int, *, n_given: int) -> None:
        if n_given != self.batch_size:
            raise BytebillError(f"This cache holds {self.batch_size} sequences, and {n_given} were given.")
        if n_slots > self.max_len:
            raise BytebillError(
                f"A sequence of {n_slots} tokens does not fit this cache, which has room for {self.max_len}."
            )


def _real_tokens(n_new: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Rows and columns of the tokens that are not padding, row by row."""
    counts = torch.tensor(n_new)
    columns = torch.arange(int(counts.max())) < counts[:, None]
    rows, columns = torch.nonzero(columns, as_tuple=True)
    return rows, columns
