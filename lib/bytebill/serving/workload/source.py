"""Who sends the next request, and when? A stream in order of arrival, or users who wait for their answers.

Open loop: requests come when they come. Closed loop: `concurrency` users, each of whom sends the next one of the
stream when the last is answered; arrivals in the stream are not read. Knows no clock: whoever serves asks for
`next_s`, takes what is due with `pop`, and says when somebody was `answered`.
"""

import dataclasses
import math
from collections.abc import Iterable

from bytebill.errors import BytebillError, require
from bytebill.serving.request import Request


class Source:
    """Requests with the time at which the next is sent; infinite while nobody has one to send."""

    def __init__(self, requests: Iterable[Request], concurrency: int | None, *, delay_s: float = 0.0) -> None:
        """A user's next request arrives `delay_s` after the last answer: what front ends take on the way."""
        whole = concurrency is None or (isinstance(concurrency, int) and concurrency >= 1)
        require(whole, f"A closed loop has at least one user, and a whole number of them, not {concurrency}.")
        self._requests = iter(requests)
        self._closed, self._delay_s = concurrency is not None, delay_s
        self._ready: list[float] = [0.0] * (concurrency or 0)  # when each free user is ready
        self._next: Request | None = next(self._requests, None)
        self.next_s = self._due()

    def pop(self) -> Request:
        """The request that is due."""
        request = self._next
        if request is None:
            raise RuntimeError("nobody is due")
        if self._closed:
            request = dataclasses.replace(request, arrival_s=self._ready.pop(0))
        self._next = next(self._requests, None)
        self.next_s = self._due()
        if self.next_s < request.arrival_s:
            raise BytebillError(f"The request after {request.id} arrives before it; sort them by arrival.")
        return request

    def answered(self, now_s: float) -> None:
        """A request is finished or refused: its user is free."""
        if self._closed:
            self._ready.append(now_s + self._delay_s)
            self.next_s = self._due()

    def _due(self) -> float:
        if self._next is None or (self._closed and not self._ready):
            return math.inf
        return self._ready[0] if self._closed else self._next.arrival_s
