"""What do several pools do for one request, and what do they come to together? Prompts handed on, one record of all.

    prefill    is asked for the prompt and its first token; at its end the cache crosses the links
    decode     is asked for the n_out - 1 others, the prompt's cache given; at its end the request is answered

Sender and receiver, chosen at the prompt's end, carry one transfer at a time, in order of such ends. Knows no events:
who runs the replicas says what ended at one, and delivers what is handed on. Ignores that blocks stay taken at the
sender meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bytebill.serving import Metrics, Request
from bytebill.serving.plan import Events
from bytebill.serving.router import ROUTERS, Holds, RequestRouter
from bytebill.sim.replica import Kind, Replica, replicas_of
from bytebill.sim.transfer import Transfer

Move = tuple[float, Replica, Request]  # when a cache is there, where that is, and what is asked of it
SUMS = ("busy_s", "slot_s", "kv_token_s", "n_steps", "n_emitted_tokens", "n_computed_tokens", "n_padding_tokens")


class Handover:
    """What pools can hold, what they hand on, and the record of all requests."""

    def __init__(self, kinds: Sequence[Kind], *, router: str, transfers: dict[tuple[int, int], Transfer]) -> None:
        """`transfers`: by index of the kinds that send and receive."""
        self._models = [kind.scheduler() for kind in kinds]  # one of each, to ask what it can hold
        self.pools = [Metrics(n_slots=each.n_slots, n_kv_tokens=each.n_kv_tokens) for each in self._models]
        self._whole = Metrics(n_slots=1, n_kv_tokens=None) if len(kinds) > 1 else self.pools[0]
        self._roles, self._transfers = [kind.role for kind in kinds], transfers
        self._entries = [i for i, role in enumerate(self._roles) if role != "decode"]
        self._decodes = [i for i, role in enumerate(self._roles) if role == "decode"]
        self.receivers = replicas_of(kinds, ("decode",), self.pools, lambda place: lambda _: self._router.done(place))
        if self.receivers:
            by_load = ROUTERS[1] if router == ROUTERS[2] else router
            self._router = RequestRouter(by_load, sizes=[kinds[each.pool].size for each in self.receivers])
        self.n_moved_tokens, self.moved_bytes = 0, 0.0
        self._asked: dict[int, Request] = {}  # as asked, while its prompt is computed elsewhere
        self._begun: dict[int, tuple[Request, float | None, float, int]] = {}  # scheduled, first token, preemptions

    def refusal(self, request: Request) -> str | None:
        """Why no replica can ever serve it, if so."""
        reason = None
        for pool in self._entries:
            if (reason := self._reason(request, pool)) is None:
                return None
        return reason

    def _reason(self, request: Request, pool: int) -> str | None:
        """Why the pool cannot hold its part of a request, or nobody could to whom it is handed on."""
        reason = self._models[pool].refusal(self.part(request, pool))
        if reason is None and self._roles[pool] == "prefill" and request.n_output_tokens > 1:
            later = [self._models[i].refusal(request) for i in self._decodes]
            return None if None in later else later[-1]
        return reason

    def holds(self, request: Request, replicas: Sequence[Replica]) -> Holds | None:
        """Which replicas can hold a request, by place, if they differ; `replicas` are all of a router."""
        pools = self._decodes if replicas is self.receivers else self._entries
        if len(pools) == 1:
            return None  # it was not refused
        able = {pool: self._reason(request, pool) is None for pool in pools}
        return None if all(able.values()) else lambda place: able[replicas[place].pool]

    def part(self, request: Request, pool: int) -> Request:
        """What a replica of the pool is asked first: all, or the prompt and one token."""
        return replace(request, n_output_tokens=1) if self._roles[pool] == "prefill" else request

    def began(self, request: Request, pool: int) -> Request:
        """A request has been sent to a replica of the pool: what is asked of that."""
        if self._roles[pool] != "prefill":
            return request
        self._asked[request.id] = request
        return self.part(request, pool)

    def ended(self, sender: Replica, events: Events, now_s: float) -> Iterator[Move | None]:
        """Of each request that is done at a replica of these pools: where it goes on; None: it is served."""
        for sequence in events.finished:
            request, n_preemptions = sequence.request, sequence.n_preemptions
            scheduled_s, first_s = sequence.scheduled_s, sequence.first_token_s
            if (asked := self._asked.pop(request.id, None)) is not None:
                if asked.n_output_tokens > 1:
                    self._begun[request.id] = (asked, scheduled_s, first_s, n_preemptions)
                    yield self._move(sender, asked, now_s)
                    continue
                request = asked
            elif (begun := self._begun.pop(request.id, None)) is not None:
                request, scheduled_s, first_token_s, n_before = begun
                self._whole.itl_s.append(first_s - first_token_s)
                self._whole.itl_weight.append(1)
                first_s, n_preemptions = first_token_s, n_before + n_preemptions
            times = (request.arrival_s, scheduled_s, first_s, now_s)
            row = (*times, request.id, request.n_input_tokens, request.n_output_tokens, n_preemptions)
            for column, value in zip(self._whole.columns.values(), row, strict=True):
                column.append(value)
            yield None

    def _move(self, sender: Replica, asked: Request, now_s: float) -> Move:
        """The prompt's cache goes to a decoding replica, after what both links carry already."""
        n = asked.n_input_tokens
        later = replace(asked, n_input_tokens=n + 1, n_output_tokens=asked.n_output_tokens - 1, n_given_tokens=n)
        place = self._router.send(later, self.holds(later, self.receivers))
        assert place is not None  # a decode pool has no limit
        receiver = self.receivers[place]
        transfer = self._transfers[sender.pool, receiver.pool]
        self.n_moved_tokens += n
        self.moved_bytes += transfer.moved_bytes(n)
        there_s = max(now_s, sender.link_free_s, receiver.link_free_s) + transfer.seconds(n)
        sender.link_free_s = receiver.link_free_s = there_s
        return there_s, receiver, replace(later, arrival_s=there_s)

    def metrics(self) -> Metrics:
        """Of all requests, once they are served: rows in order of finishing, sums over pools, utilizations weighed."""
        whole = self._whole
        if len(self.pools) > 1:
            whole.n_slots = round(_weighed([(m.n_slots, m.n_steps) for m in self.pools]))
            if all(m.n_kv_tokens is not None for m in self.pools):
                whole.n_kv_tokens = round(_weighed([(m.n_kv_tokens or 0, m.busy_s) for m in self.pools]))
            for m in self.pools:
                whole.itl_s.extend(m.itl_s)
                whole.itl_weight.extend(m.itl_weight)
                whole.end_s = max(whole.end_s, m.end_s)
                for name in SUMS:
                    setattr(whole, name, getattr(whole, name) + getattr(m, name))
            if not self.receivers:
                finished = [(s, p, i) for p, m in enumerate(self.pools) for i, s in enumerate(m.columns["finish_s"])]
                finished.sort()
                for name, column in whole.columns.items():
                    columns = [m.columns[name] for m in self.pools]
                    column.extend(columns[p][i] for _, p, i in finished)
        return whole


def _weighed(pairs: list[tuple[float, float]]) -> float:
    """Mean of the first numbers by the second; by nothing where all are zero."""
    total = sum(weight for _, weight in pairs)
    return sum(n * weight for n, weight in pairs) / total if total else sum(n for n, _ in pairs) / len(pairs)
