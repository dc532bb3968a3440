"""Where do new tokens go, and what may each of them see? Places, lengths and masks, whatever is stored.

    token s of a sequence sits in slot s; token t sees the slots s <= t

A placement is worked out once for a forward pass and used by every layer. Sequences may have different lengths, and
their new tokens may be right-padded. Ignores what a slot holds: see `contiguous`, `latent` and `paged`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from bytebill.engine.attention import FEW_TOKENS
from bytebill.engine.kernels.decode_code import NOWHERE
from bytebill.engine.rotary import Factors
from bytebill.errors import BytebillError


class Places(Protocol):
    """Where the new tokens of one forward pass go."""

    @property
    def positions(self) -> Tensor:
        """[B or 1, T] place of each token in its sequence."""


HeadsT = TypeVar("HeadsT", contravariant=True)  # what a layer makes of its new tokens
PlacesT = TypeVar("PlacesT", bound=Places, contravariant=True)


class Cache(Protocol[HeadsT, PlacesT]):
    """What the layers ask of a cache, given a placement that it made."""

    def attend(self, layer: int, heads: HeadsT, factors: Factors, placement: PlacesT) -> Tensor:
        """Rotate, store and attend: heads [B, T, N + 2 K, H] as projected (or latents) -> [B T, N H]."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the new tokens go in a cache of one slot a token."""

    positions: Tensor  # [B or 1, T] place of each token in its sequence
    n_slots: int  # slots that attention reads: the longest context, new tokens included
    n_new: tuple[int, ...]  # real tokens of each sequence; the rest of T is right padding
    start: int = 0  # the slot of the first new token, where it is the same for all sequences
    scatter: tuple[Tensor, Tensor, Tensor | None] | None = None  # else rows, slots, real tokens (None: all)
    bias: Tensor | None = None  # [B or 1, 1, T, 1, S] 0 where a token may look, else -inf; None: everywhere
    fresh: bool = False  # several tokens and no context yet: they see only each other
    table: Tensor | None = None  # a few new tokens of every sequence, and a kernel that takes them


class SlotMemory:
    """The tensors in which every token of every sequence has a slot of its own, first axis the layers, and how many of
    its `max_len` slots each of `batch_size` sequences fills.

    `by_table`: where every sequence gets a few tokens, the cache's kernel takes a table of their places; padding has
    none, and no slot is written for it.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, max_len: int, by_table: bool = False) -> None:
        self.tensors, self.batch_size, self.max_len = tensors, batch_size, max_len
        self.slots = torch.arange(max_len, device=tensors[0].device)
        self.lengths = [0] * batch_size
        self._zero, self._by_table = tensors[0].new_zeros(()), by_table

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
        whole, even = min(new) == n_tokens, len(set(self.lengths)) == 1
        fresh = n_tokens > 1 and not any(self.lengths)
        if self._by_table and not fresh and n_tokens <= FEW_TOKENS:
            ends = [
                (row, length + i, i < n)
                for row, (length, n) in enumerate(zip(self.lengths, new, strict=True))
                for i in range(n_tokens)
            ]
            held = [[place if real else NOWHERE, place + 1, row] for row, place, real in ends]
            table = torch.tensor(held, device=self.slots.device)
            positions = table[: n_tokens if even else None, 1].view(-1, n_tokens) - 1
            return Placement(positions=positions, n_slots=n_slots, n_new=new, table=table)
        if even and whole:
            start = n_slots - n_tokens
            positions = self.slots[None, start:n_slots]
            bias = None if n_tokens == 1 or fresh else self._bias(positions, n_slots)
            return Placement(positions=positions, n_slots=n_slots, n_new=new, start=start, bias=bias, fresh=fresh)
        positions = self.slots.new_tensor(self.lengths)[:, None] + self.slots.new_tensor(range(n_tokens))
        real = torch.arange(max(new)) < torch.tensor(new)[:, None]
        rows, columns = torch.nonzero(real, as_tuple=True)
        tokens = None if whole else (rows * n_tokens + columns).to(self.slots.device)
        return self.place_at(positions, n_slots=n_slots, n_new=new, rows=rows, tokens=tokens, fresh=fresh)

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
        if self._by_table and tokens is None and positions.shape[1] == 1:
            table = torch.stack((flat, flat + 1, rows.to(flat.device)), 1)
            return Placement(positions=positions, n_slots=n_slots, n_new=n_new, table=table)
        return Placement(
            positions=positions,
            n_slots=n_slots,
            n_new=n_new,
            scatter=(rows.to(positions.device), flat if tokens is None else flat[tokens], tokens),
            bias=None if fresh else self._bias(positions, n_slots),
            fresh=fresh,
        )

    def commit(self, placement: Placement) -> None:
        """Count the placed tokens as context, once all layers have stored them."""
        self.lengths = [length + n for length, n in zip(self.lengths, placement.n_new, strict=True)]

    def _bias(self, positions: Tensor, n_slots: int) -> Tensor:
        """0 for the slots up to each token's own, -inf for later ones: [B or 1, 1, T, 1, S]."""
        return torch.where(self.slots[:n_slots] > positions[:, None, :, None, None], float("-inf"), self._zero)

    def _require_room(self, n_slots: int, *, n_given: int) -> None:
        if n_given != self.batch_size:
            raise BytebillError(f"This cache holds {self.batch_size} sequences, and {n_given} were given.")
        if n_slots > self.max_len:
            raise BytebillError(
                f"A sequence of {n_slots} tokens does not fit this cache, which has room for {self.max_len}."
            )
