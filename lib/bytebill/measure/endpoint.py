"""How fast does a server answer? Streamed completions of any OpenAI-compatible endpoint, each piece with its time.

    TTFT = first piece - request sent
    TPOT = (last piece - first piece) / (output tokens - 1)       tokens as the server counts them (`usage`)

Polite: at most `n_at_once` requests, a pause where the server asks for one (429, 503), an end at the first error, and
at the deadline. Nothing goes to another host, no redirect is followed, no proxy of the environment is asked, and a key
is sent over an encrypted connection or to this machine alone, and cut out of what a server says. Lines, answers and
reasons have an end, whoever sends them. Prompts are random words, so that no prefix cache finds them. Ignores which
tokens of a piece came when: where pieces carry several, gaps between them are no ITL.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import pairwise
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from bytebill.errors import BytebillError, require
from bytebill.measure.streaming import LOOKS_EVERY_S, Arrived, Asking, HungUpError

PROMPT_WORDS = (
    "time",
    "year",
    "way",
    "day",
    "thing",
    "world",
    "life",
    "hand",
    "part",
    "eye",
    "place",
    "work",
    "week",
    "case",
)
MOST_PAUSES, LONGEST_PAUSE_S = 5, 30.0
LONGEST_SILENCE_S = 60.0
LONGEST_LINE, LONGEST_REASON = 1 << 20, 1 << 16  # bytes of an event, and of an error: who sends more is no server
MOST_PIECES = 1 << 20  # of an answer
_PATHS = ("completions", "chat/completions")
_BUSY = (429, 503)
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")  # as in JSON that was cut


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One streamed answer: when it was asked for, when each of its pieces came, and its tokens."""

    asked_s: float
    pieces_s: tuple[float, ...]
    n_input_tokens: int
    n_output_tokens: int

    @property
    def first_s(self) -> float:
        return self.pieces_s[0]

    @property
    def last_s(self) -> float:
        return self.pieces_s[-1]

    @property
    def ttft_s(self) -> float:
        return self.first_s - self.asked_s

    @property
    def tpot_s(self) -> float | None:
        """None for an answer of one token, which has no time per token."""
        return (self.last_s - self.first_s) / (self.n_output_tokens - 1) if self.n_output_tokens > 1 else None


@dataclass(kw_only=True)
class Endpoint:
    """A server to be asked, inside `async with`."""

    url: str  # up to and with /v1
    model: str
    key: str | None = field(default=None, repr=False)
    deadline_s: float  # by `time.monotonic`
    seed: int = 0
    path: str = _PATHS[0]
    to_the_end: bool = True  # asks to go on after an end of text, which not every server knows
    tokens_per_word: float = 1.0  # of its tokenizer, as its first answer tells

    def __post_init__(self) -> None:
        host, encrypted = _host_of(self.url)
        require(
            self.key is None or encrypted or _is_here(host),
            "A key is sent over https, or to this machine; this address would show it to everyone between.",
        )
        printed = self.key is None or (self.key.isascii() and self.key.isprintable() and " " not in self.key)
        require(printed, "The key holds a blank or a letter that no header can have.")
        self.url = self.url.rstrip("/")
        self._random = random.Random(self.seed)

    async def __aenter__(self) -> Self:
        self._line = Asking(self.url, headers={"Authorization": f"Bearer {self.key}"} if self.key else {})
        return self

    async def __aexit__(self, *_: object) -> None:
        self._line.close()

    async def find(self) -> None:
        """Which path answers, whether it goes on to the end, and how many tokens a word has. Raises if none does."""
        refused = ""
        for self.path in _PATHS:
            for self.to_the_end in (True, False):
                try:
                    first = await self.ask(n_input_tokens=32, n_output_tokens=2)
                    self.tokens_per_word = max(1, first.n_input_tokens) / 32
                    return
                except _RefusedError as error:
                    refused = str(error)
        raise BytebillError(refused)

    async def ask(self, *, n_input_tokens: int, n_output_tokens: int) -> Answer:
        """One answer, to about so many tokens of prompt. Raises `BytebillError` where there is none."""
        body = self._body(n_input_tokens, n_output_tokens)
        for n_pauses in range(MOST_PAUSES + 1):
            pause_s = await self._try(body)
            if isinstance(pause_s, Answer):
                return pause_s
            require(n_pauses < MOST_PAUSES, f"The server put us off {MOST_PAUSES} times in a row; try at another time.")
            require(time.monotonic() + pause_s < self.deadline_s, "The server asked for a pause beyond the time limit.")
            await asyncio.sleep(pause_s)
        raise AssertionError

    async def _try(self, body: dict[str, Any]) -> Answer | float:
        """An answer, or the seconds that the server wants to be left alone."""
        asked_s = time.monotonic()
        require(asked_s < self.deadline_s, "The time limit is over.")
        try:
            async with asyncio.timeout(self._patience_s()) as patience:
                async with self._line.post(self.path, json.dumps(body).encode()) as got:
                    if got.status in _BUSY:
                        return _pause_s(got.headers.get("retry-after", ""))
                    if got.status != 200:
                        said = _reason(await _beginning(got.pieces), self.key)
                        raise _RefusedError(f"The server answered {got.status}{said}.")
                    packed = got.headers.get("content-encoding", "identity")
                    require(packed == "identity", f"The server packs its answer ({packed:.20}) unasked.")
                    return await self._read(got.pieces, asked_s, patience)
        except HungUpError:
            return 0.0  # on a connection that was kept open, as servers do after some: another will do
        except OSError as error:
            over = isinstance(error, TimeoutError) and time.monotonic() >= self.deadline_s
            require(not over, "The time limit was over before the server had answered.")
            raise BytebillError(f"The server at {self.url} does not answer ({type(error).__name__}).") from None

    def _patience_s(self) -> float:
        """How long a server may be silent from now on; what it says is heard a look later, and told after another."""
        return min(LONGEST_SILENCE_S + 2 * LOOKS_EVERY_S, self.deadline_s - time.monotonic())

    async def _read(self, pieces: AsyncIterator[Arrived], asked_s: float, patience: asyncio.Timeout) -> Answer:
        """The pieces of a stream; the last, without text, tells the tokens."""
        pieces_s: list[float] = []
        usage: Any = None
        async for came_s, line in _lines(self._watched(pieces, patience)):
            if not line.startswith("data:") or line.endswith("[DONE]"):
                continue
            piece = _piece(line[5:], self.key)
            if piece["text"]:
                pieces_s.append(came_s)
                require(len(pieces_s) <= MOST_PIECES, "The server goes on and on; it was asked for a short answer.")
            usage = piece["usage"] or usage
        require(bool(pieces_s), "The server streamed an answer without a word in it.")
        counts = [
            usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
        ]
        require(
            all(type(n) is int and 0 < n < 1 << 24 for n in counts),
            "The server does not tell how many tokens an answer had (usage, asked for by stream_options).",
        )
        return Answer(
            asked_s=asked_s, pieces_s=tuple(pieces_s), n_input_tokens=counts[0] or 0, n_output_tokens=counts[1] or 0
        )

    async def _watched(self, pieces: AsyncIterator[Arrived], patience: asyncio.Timeout) -> AsyncIterator[Arrived]:
        """Pieces to the deadline; each gives the server time for the next, and the timer hears of it once a second."""
        now_s, told_s = asyncio.get_running_loop().time, 0.0
        async for sent in pieces:
            if (left_s := self._patience_s()) <= 0:  # a server that never pauses lets no timer go off
                raise TimeoutError
            if (at_s := now_s()) > told_s + 1:
                patience.reschedule(at_s + left_s)
                told_s = at_s
            yield sent

    def _body(self, n_input_tokens: int, n_output_tokens: int) -> dict[str, Any]:
        n_words = max(1, round(n_input_tokens / self.tokens_per_word))
        text = " ".join(self._random.choices(PROMPT_WORDS, k=n_words))
        chat = self.path != _PATHS[0]
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
        asked |= {"model": self.model, "max_tokens": n_output_tokens, "temperature": 0.0, "stream": True}
        asked |= {"stream_options": {"include_usage": True}}
        return asked | ({"ignore_eos": True} if self.to_the_end else {})


def step_times_s(answers: Sequence[Answer], *, n_at_once: int) -> list[float]:
    """Times of steps in which so many answers got a token each, and nobody's prompt was computed or waited.

    A gap between two pieces counts if, all through it, `n_at_once` answers were between their first and their last
    piece and none between its question and its first. A piece of several tokens counts as as many steps.

    >>> one = Answer(asked_s=0, pieces_s=(1.0, 1.1, 1.2, 1.3), n_input_tokens=8, n_output_tokens=4)
    >>> two = Answer(asked_s=0, pieces_s=(1.15, 1.2, 1.3), n_input_tokens=8, n_output_tokens=3)
    >>> [round(each, 2) for each in step_times_s([one, two], n_at_once=2)]    # before 1.15 a prompt was computed
    [0.1, 0.05, 0.1]
    """
    found = []
    for answer in answers:
        n_gaps = len(answer.pieces_s) - 1
        for begin_s, end_s in pairwise(answer.pieces_s):
            waiting = any(each.asked_s < end_s and each.first_s > begin_s for each in answers)
            n_decoding = sum(each.first_s <= begin_s and each.last_s >= end_s for each in answers)
            if not waiting and n_decoding == n_at_once:
                found.append((end_s - begin_s) * n_gaps / max(1, answer.n_output_tokens - 1))
    return found


async def closed_loop(
    ask: Callable[[], Awaitable[Answer]], *, n_at_once: int, n_rounds: int, until_s: float
) -> list[Answer]:
    """Answers to so many users, each of whom asks again when answered, for so many rounds or until a time.

    The first error ends it for all.
    """
    found: list[Answer] = []

    async def user() -> None:
        for _ in range(n_rounds):
            if time.monotonic() < until_s:
                found.append(await ask())

    try:
        async with asyncio.TaskGroup() as users:
            for _ in range(n_at_once):
                users.create_task(user())
    except* BytebillError as errors:
        raise errors.exceptions[0] from None
    return found


class _RefusedError(BytebillError):
    """An answer other than 200: another way of asking may do."""


async def _lines(pieces: AsyncIterator[Arrived]) -> AsyncIterator[tuple[float, str]]:
    """The lines of a stream, each with an end, and when they were whole."""
    rest, came_s = b"", 0.0
    async for came_s, sent in pieces:
        *whole, rest = (rest + sent).split(b"\n")
        longest = max(map(len, (*whole, rest)))
        require(longest < LONGEST_LINE, "The server sent an event that is too long to be one.")
        for line in whole:
            yield came_s, line.decode("utf-8", "replace").strip()
    yield came_s, rest.decode("utf-8", "replace").strip()


async def _beginning(pieces: AsyncIterator[Arrived]) -> str:
    """As much of an answer as a reason can be long."""
    begun = b""
    async for _, sent in pieces:
        begun += sent
        if len(begun) >= LONGEST_REASON:
            break
    return begun[:LONGEST_REASON].decode("utf-8", "replace")


def _piece(text: str, key: str | None) -> dict[str, Any]:
    """The text and the usage of an event, whatever a server sends."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BytebillError("The server streams something else than JSON.") from None
    if not isinstance(found, dict):
        raise BytebillError("The server streams something else than JSON objects.")
    if "error" in found:
        raise BytebillError(f"The server broke off{_reason(text, key)}.")
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    said = delta if isinstance(delta, dict) else {}
    return {
        "text": choice.get("text") or said.get("content") or said.get("reasoning_content"),
        "usage": found.get("usage"),
    }


def _reason(text: str, key: str | None) -> str:
    """What a server says of an error, cut, in printable letters, and without the key however it was written.

    >>> _reason('{"error": {"message": "no such model"}}', ""), _reason("", ""), _reason(r"{no key a\/b", "a/b")
    (': no such model', '', ': {no key ***')
    """
    try:
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, dict) else found
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
    told = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    told = (told.replace(key, "***") if key else told)[:160].rstrip(".")
    return f": {told}" if told else ""


def _pause_s(retry_after: str) -> float:
    """What a server asks for, up to a limit; a second where it does not say.

    >>> _pause_s("2"), _pause_s("9999"), _pause_s("Wed, 21 Oct 2026 07:28:00 GMT")
    (2.0, 30.0, 1.0)
    """
    return min(LONGEST_PAUSE_S, float(retry_after)) if retry_after.isascii() and retry_after.isdigit() else 1.0


def _host_of(url: str) -> tuple[str, bool]:
    """The host of a server's address, and whether the way to it is encrypted; whatever is no such address is refused.

    >>> _host_of("http://localhost:8000/v1"), _host_of("https://example.org/v1")
    (('localhost', False), ('example.org', True))
    """
    try:
        parts, read = urlsplit(url), httpx.URL(url)
        plain = not (parts.query or parts.fragment) and parts.username is None and url.isprintable()
        good = parts.scheme in ("http", "https") and plain and parts.hostname == read.host and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        good = False
    require(good and bool(read.host), f"A server's address is like http://localhost:8000/v1, not {url[:80]!r}.")
    return read.host, parts.scheme == "https"


def _is_here(host: str) -> bool:
    """Whether a host is this machine.

    >>> [_is_here(host) for host in ("localhost", "127.0.0.1", "::1", "example.org")]
    [True, True, True, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
