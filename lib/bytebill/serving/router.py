"""Which replica gets the next request? Three rules over what a router can know: who was sent where, and who is done.

    round robin       each in turn
    least loaded      the least outstanding requests / size of the replica; of equals, the first
    prefix affinity   who was last sent a prompt that begins alike, for as long as possible, unless overloaded:
                      outstanding + 1 > 1.25 * (all outstanding + 1) * size / all sizes (rounded up); then, and where
                      nobody knows its beginning, the least loaded

`size` is in any unit that replicas share. Replicas that are full (`limit` requests outstanding) or cannot hold a
request are passed over. The affinity rule is consistent hashing's with bounded loads. What a router remembers of
prompts is its own, not what the caches still hold, and no more than `n_remembered` blocks: the longest unused is
forgotten. A choice by load takes O(log replicas). Knows no time: outstanding requests are counted by `send` and `done`.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import accumulate
from math import ceil, inf
from numbers import Real

from bytebill.errors import require, require_known
from bytebill.serving.request import Request

ROUTERS = ("round robin", "least loaded", "prefix affinity")
OVERLOAD = 1.25
Holds = Callable[[int], bool]  # whether a replica can hold the request at all


class RequestRouter:
    """Chooses among replicas, by their places in the list of sizes.

    >>> router = RequestRouter("least loaded", sizes=[1.0, 2.0])
    >>> request = Request(id=0, n_input_tokens=1, n_output_tokens=1)
    >>> [router.send(request) for _ in range(4)]    # loads 0 and 0, 1 and 0, 1 and 1/2, 1 and 1
    [0, 1, 1, 0]
    """

    def __init__(self, kind: str, *, sizes: Sequence[float], limit: float = inf, n_remembered: int = 1_000_000) -> None:
        require_known("router", kind, ROUTERS)
        require(isinstance(limit, Real) and limit >= 1, f"A replica takes at least one request at a time, not {limit}.")
        require(len(sizes) > 0 and min(sizes) > 0, "A router needs replicas, and each has a size above zero.")
        self.kind, self.sizes, self.limit = kind, list(sizes), limit
        self.n_outstanding = [0] * len(sizes)
        self._shares = [1 / size for size in sizes]
        self._size, self._n_all, self._turn = sum(sizes), 0, 0
        self._loads = [(0.0, i) for i in range(len(sizes))]  # a heap; stale where the load has changed
        self._last_sent: OrderedDict[int, int] = OrderedDict()  # key of a prompt's first blocks: replica
        self._n_remembered = n_remembered

    def send(self, request: Request, holds: Holds | None = None) -> int | None:
        """The replica that gets the request, counted as outstanding there; None: all that could hold it are full."""
        if self.kind == "round robin":
            chosen = self._next(holds)
        elif self.kind == "prefix affinity" and request.prefix:
            chosen = self._affine(request, holds)
        else:
            chosen = self._least(holds)
        if chosen is not None:
            self._change(chosen, 1)
        return chosen

    def done(self, replica: int) -> None:
        """One of a replica's requests has been answered, refused or handed on."""
        self._change(replica, -1)

    def _change(self, replica: int, by: int) -> None:
        n = self.n_outstanding[replica] = self.n_outstanding[replica] + by
        self._n_all += by
        if self.kind != "round robin":
            heappush(self._loads, (n * self._shares[replica], replica))
            if len(self._loads) > 64 + 4 * len(self.sizes):
                self._loads = [(m * self._shares[i], i) for i, m in enumerate(self.n_outstanding)]
                heapify(self._loads)

    def _next(self, holds: Holds | None) -> int | None:
        n = len(self.sizes)
        for i in range(self._turn, self._turn + n):
            if self._free(i % n, holds):
                self._turn = i % n + 1
                return i % n
        return None

    def _least(self, holds: Holds | None) -> int | None:
        loads, counts, shares = self._loads, self.n_outstanding, self._shares
        while loads[0][0] != counts[loads[0][1]] * shares[loads[0][1]]:
            heappop(loads)
        first = loads[0][1]
        if holds is None and counts[first] < self.limit:
            return first
        able = (i for i in range(len(counts)) if self._free(i, holds))
        return min(able, key=lambda i: (counts[i] * shares[i], i), default=None)

    def _affine(self, request: Request, holds: Holds | None) -> int | None:
        """Who was last sent the longest known beginning of the prompt."""
        keys = list(accumulate(request.prefix, lambda key, content: hash((key, content)), initial=0))[1:]
        sent = self._last_sent
        known = next((sent[key] for key in reversed(keys) if key in sent), None)
        chosen = known
        if known is None or not self._free(known, holds) or self._overloaded(known):
            chosen = self._least(holds)
        if chosen is not None:
            for key in keys:
                sent[key] = chosen
                sent.move_to_end(key)
            while len(sent) > self._n_remembered:
                sent.popitem(last=False)
        return chosen

    def _overloaded(self, i: int) -> bool:
        return self.n_outstanding[i] + 1 > ceil(OVERLOAD * (self._n_all + 1) * self.sizes[i] / self._size)

    def _free(self, i: int, holds: Holds | None) -> bool:
        return self.n_outstanding[i] < self.limit and (holds is None or holds(i))
