"""What if prompts begin alike? Paged blocks that several sequences share, found by a chained hash.

    key(i) = hash(key(i - 1), content(i))        content(i) = request.prefix[i]: names what block i of the prompt says

so a key stands for a block and all before it: equal keys, equal keys and values. A block is found from when
`computed` says that it is in the cache, and only if it is full; a prompt's last token is always computed again,
since a step must emit from it. Each block counts its owners. With none left it stays findable until the pool
needs it; the longest unused goes first, of one sequence its last block first, so that what is left is a prefix.
Keys are 64 bits, which anybody can make collide, so a block is shared only if its name is the one looked for as well;
names of real tokens (`block_names`) are digests of all tokens up to there. Content names are not negative.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import sha256
from itertools import accumulate

from bytebill.errors import require
from bytebill.serving.memory.allocator import CachedTokens
from bytebill.serving.memory.paged import Paged
from bytebill.serving.request import Request
from bytebill.units import BLOCK_SIZE_TOKENS


def block_names(token_ids: Sequence[int], *, block_size_tokens: int) -> tuple[int, ...]:
    """What a prompt says up to the end of each full block, as `Request.prefix` wants it: equal tokens, equal names.

    128 bits of SHA-256, so that nobody finds two prompts of one name (vLLM's default too since its version 0.10.2).

    >>> a, b = (block_names(tokens, block_size_tokens=2) for tokens in ([5, 6, 7, 8, 9], [5, 6, 7, 0]))
    >>> len(a), a[0] == b[0], a[1] == b[1]
    (2, True, False)
    """
    said, names = sha256(), []
    for start in range(0, len(token_ids) - block_size_tokens + 1, block_size_tokens):
        said.update(repr(tuple(token_ids[start : start + block_size_tokens])).encode())
        names.append(int.from_bytes(said.digest()[:16]))
    return tuple(names)


class PrefixSharing(Paged):
    """Paged, with full prompt blocks shared between sequences and kept after their last owner is gone."""

    def __init__(self, *, n_blocks: int, block_size_tokens: int = BLOCK_SIZE_TOKENS, n_host_blocks: int = 0) -> None:
        super().__init__(n_blocks=n_blocks, block_size_tokens=block_size_tokens, n_host_blocks=n_host_blocks)
        self._n_owners = [0] * n_blocks
        self._key_of: dict[int, int] = {}  # block: key, for findable blocks
        self._block_of: dict[int, int] = {}  # key: block
        self._content_of: dict[int, int] = {}  # block: what it says, for findable blocks
        self._kept: OrderedDict[int, None] = OrderedDict()  # findable, without owners; the longest unused first
        self._keys: dict[int, list[tuple[int, int]]] = {}  # id: keys and contents of its prompt's full blocks

    @property
    def n_free(self) -> int:
        return len(self._free) + len(self._kept)

    def extend(self, id: int) -> bool:
        if not self.n_free:
            return False
        self._tables[id] += self._take(1)
        return True

    def extend_each(self, ids: Collection[int]) -> None:
        for id in ids:
            if not self.extend(id):
                raise RuntimeError(f"no block for sequence {id}: a plan was repeated too often")

    def computed(self, id: int, n_tokens: int) -> None:
        """The first `n_tokens` are in the cache: full blocks of the prompt can be found from now on."""
        full = self._keys[id][: n_tokens // self.block_size_tokens]
        for (key, content), block in zip(full, self._tables[id], strict=False):
            if key not in self._block_of and block not in self._key_of:
                self._block_of[key], self._key_of[block], self._content_of[block] = block, key, content

    def free(self, id: int) -> None:
        super().free(id)
        del self._keys[id]

    def _found(self, request: Request, n_tokens: int) -> list[int] | None:
        found: list[int] = []
        for key, content in self._chain(request)[: (n_tokens - 1) // self.block_size_tokens]:
            block = self._block_of.get(key)
            if block is None or self._content_of[block] != content:
                break
            found.append(block)
        n_new = self.n_blocks_for(n_tokens) - len(found)
        return found if n_new <= self.n_free - sum(block in self._kept for block in found) else None

    def _placed(self, request: Request, n_tokens: int, found: list[int]) -> Sequence[int]:
        for block in found:
            self._kept.pop(block, None)
            self._n_owners[block] += 1
        self._keys[request.id] = self._chain(request)
        return super()._placed(request, n_tokens, found)

    def _filled(self, lengths: CachedTokens) -> tuple[int, int, int]:
        """As `Paged`, each block once: a shared block is as full as the fullest of its owners says."""
        size = self.block_size_tokens
        filled: dict[int, tuple[int, int]] = {}
        for id, table in self._tables.items():
            n_cached, n_final = lengths[id]
            for start, block in zip(range(0, len(table) * size, size), table, strict=True):
                now, later = filled.get(block, (size * (block in self._key_of),) * 2)
                now, later = max(now, min(n_cached - start, size)), max(later, min(n_final - start, size))
                filled[block] = (now, max(now, later))
        return sum(now for now, _ in filled.values()), sum(later for _, later in filled.values()), len(filled) * size

    def _chain(self, request: Request) -> list[tuple[int, int]]:
        contents = request.prefix[: request.n_input_tokens // self.block_size_tokens]
        lowest = min(contents, default=0)
        require(lowest >= 0, f"Request {request.id} names a block {lowest}; names are not negative.")
        keys = accumulate(contents, lambda key, content: hash((key, content)), initial=0)
        next(keys)
        return list(zip(keys, contents, strict=True))

    def _take(self, n_blocks: int) -> list[int]:
        while len(self._free) < n_blocks:
            block, _ = self._kept.popitem(last=False)
            del self._block_of[self._key_of.pop(block)], self._content_of[block]
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
