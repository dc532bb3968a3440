"""What if prompts begin alike? Paged blocks that several sequences share, found by a chained hash.

    key(i) = hash(key(i - 1), content(i))        content(i) = request.prefix[i]: names what block i of the prompt says

so a key stands for a block and all before it: equal keys, equal keys and values. A block is found from when
`computed` says that it is in the cache, and only if it is full; a prompt's last token is always computed again,
since a step must emit from it. Each block counts its owners. With none left it stays findable until the pool
needs it; the longest unused goes first, of one sequence its last block first, so that what is left is a prefix.
Keys are 64 bits of Python's integer hash: collisions are not checked for. Content names are not negative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from bytebill.errors import BytebillError
from bytebill.serving.memory.allocator import CachedTokens, Usage
from bytebill.serving.memory.paged import Paged
from bytebill.serving.request import Request
from bytebill.units import BLOCK_SIZE_TOKENS


def block_names(token_ids: Sequence[int], *, block_size_tokens: int) -> tuple[int, ...]:
    """What the full blocks of a prompt say, as `Request.prefix` wants it: equal tokens, equal names.

    >>> a, b = (block_names(tokens, block_size_tokens=2) for tokens in ([5, 6, 7, 8, 9], [5, 6, 7, 0]))
    >>> len(a), a[0] == b[0], a[1] == b[1]
    (2, True, False)
    """
    size = block_size_tokens
    starts = range(0, len(token_ids) - size + 1, size)
    return tuple(abs(hash(tuple(token_ids[start : start + size]))) for start in starts)


class PrefixSharing(Paged):
    """Paged, with full prompt blocks shared between sequences and kept after their last owner is gone."""

    def __init__(self, *, n_blocks: int, block_size_tokens: int = BLOCK_SIZE_TOKENS, n_host_blocks: int = 0) -> None:
        super().__init__(n_blocks=n_blocks, block_size_tokens=block_size_tokens, n_host_blocks=n_host_blocks)
        self._n_owners = [0] * n_blocks
        self._key_of: dict[int, int] = {}  # block: key, for findable blocks
        self._block_of: dict[int, int] = {}  # key: block
        self._kept: OrderedDict[int, None] = OrderedDict()  # findable, without owners; the longest unused first
        self._keys: dict[int, list[int]] = {}  # id: keys of its prompt's full blocks

    @property
    def n_free(self) -> int:
        return len(self._free) + len(self._kept)

    @property
    def n_kept(self) -> int:
        """Free blocks that still hold a prompt that may come again."""
        return len(self._kept)

    def n_owners(self, block: int) -> int:
        """Sequences that hold this block."""
        return self._n_owners[block]

    def allocate(self, request: Request, n_tokens: int) -> int | None:
        self._check_new(request, n_tokens)
        keys = self._chain(request)
        found = self._found(keys[: (n_tokens - 1) // self.block_size_tokens])
        n_kept = sum(block in self._kept for block in found)
        n_new = self.n_blocks_for(n_tokens) - len(found)
        if n_new > self.n_free - n_kept:
            return None
        for block in found:
            self._kept.pop(block, None)
            self._n_owners[block] += 1
        self._tables[request.id] = found + self._take(n_new)
        self._keys[request.id] = keys
        return len(found) * self.block_size_tokens

    def extend(self, id: int) -> bool:
        if not self.n_free:
            return False
        self._tables[id] += self._take(1)
        return True

    def computed(self, id: int, n_tokens: int) -> None:
        """The first `n_tokens` are in the cache: full blocks of the prompt can be found from now on."""
        n_full = n_tokens // self.block_size_tokens
        for key, block in zip(self._keys[id][:n_full], self._tables[id], strict=False):
            if key not in self._block_of and block not in self._key_of:
                self._block_of[key] = block
                self._key_of[block] = key

    def free(self, id: int) -> None:
        super().free(id)
        del self._keys[id]

    def usage(self, lengths: CachedTokens, *, waiting: Request | None = None) -> Usage:
        """As `Paged`, each block once: a shared block is as full as the fullest of its owners says."""
        size = self.block_size_tokens
        filled: dict[int, tuple[int, int]] = {}
        for id, table in self._tables.items():
            n_cached, n_final = lengths[id]
            for start, block in zip(range(0, len(table) * size, size), table, strict=True):
                now, later = filled.get(block, (size * (block in self._key_of),) * 2)
                now, later = max(now, min(n_cached - start, size)), max(later, min(n_final - start, size))
                filled[block] = (now, max(now, later))
        used, useful = (sum(pair[kind] for pair in filled.values()) for kind in (0, 1))
        full = waiting is not None and not self._has_room(waiting)
        free = len(self._free) * size
        return Usage(
            used=used,
            reservation=useful - used,
            internal=len(filled) * size - useful,
            stranded=free * full,
            cached=len(self._kept) * size,
            free=free * (not full),
        )

    def _has_room(self, waiting: Request) -> bool:
        """Whether `allocate` would find room for the prompt."""
        found = self._found(self._chain(waiting)[: (waiting.n_input_tokens - 1) // self.block_size_tokens])
        n_new = self.n_blocks_for(waiting.n_input_tokens) - len(found)
        return n_new <= self.n_free - sum(block in self._kept for block in found)

    def _chain(self, request: Request) -> list[int]:
        n_full = request.n_input_tokens // self.block_size_tokens
        keys, key = [], 0
        for content in request.prefix[:n_full]:
            if content < 0:
                raise BytebillError(f"Request {request.id} names a block {content}; names are not negative.")
            key = hash((key, content))
            keys.append(key)
        return keys

    def _found(self, keys: Iterable[int]) -> list[int]:
        found = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def _take(self, n_blocks: int) -> list[int]:
        while len(self._free) < n_blocks:
            block, _ = self._kept.popitem(last=False)
            del self._block_of[self._key_of.pop(block)]
            self._free.append(block)
        taken = super()._take(n_blocks)
        for block in taken:
            self._n_owners[block] = 1
        return taken

    def _give(self, table: list[int]) -> None:
        for block in reversed(table):
            self._n_owners[block] -= 1
            if self._n_owners[block] == 0 and block in self._key_of:
                self._kept[block] = None
            elif self._n_owners[block] == 0:
                self._free.append(block)
