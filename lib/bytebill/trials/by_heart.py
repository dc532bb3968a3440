"""Which twenty numbers are worth knowing by heart, and what does each come from? A card, a worksheet and its key.

Each number is computed here from the registers, beside the sum that a person does on a board; a question makes it a
guess on the worksheet, whose key is the same number. The page `twenty_numbers` prints all three.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

from bytebill import display
from bytebill.deployment import Deployment
from bytebill.economics.cost import usd_per_million_tokens
from bytebill.hardware import Accelerator
from bytebill.memory import Footprint, footprint_of
from bytebill.models import ModelSpec, Precision, kv_stored_bytes_per_token, model, precision, weight_bytes
from bytebill.roofline import Load, StepCost, TimeBounds, critical_batch, decode_cost, step_time_bounds
from bytebill.roofline.routing import tokens_to_touch
from bytebill.roofline.speculation import tokens_per_pass, useful_share
from bytebill.trials import sessions
from bytebill.units import PREFIXED, plain, show, si

SECONDS_A_DAY = 86_400
MOST_CARDS = 64


@dataclass(frozen=True, kw_only=True)
class Known:
    """A number to know: what it is, how it comes about, in which chapter; with a question it is one to guess."""

    what: str
    value: float
    unit: str = ""
    sum: str
    chapter: int
    digits: int = 3
    ask: str = ""
    stands_at: str = ""  # the anchor in its chapter where the answer is shown

    @property
    def said(self) -> str:
        """The number with its unit.

        >>> Known(what="a read", value=0.0415, unit="ms", sum="bytes over bandwidth", chapter=1).said
        '41.5 ms'
        >>> Known(what="a million tokens", value=28.8, unit="USD", sum="rent over rate", chapter=1).said
        '$29'
        """
        if self.unit == "USD":
            return f"${self.value:,.{0 if self.value >= 10 else 2}f}"
        if self.unit in PREFIXED or self.unit == "fraction":
            return show(self.value, unit=self.unit)
        number = self.value * 1e3 if self.unit == "ms" else self.value
        exact = number if number == int(number) else float(f"{number:.{self.digits}g}")
        return f"{exact:,.15g} {self.unit}".strip()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the card is about: a model on a device at a rent, and how it is used. All of it may be changed."""

    llm: ModelSpec
    card: Accelerator
    usd_per_hour: float
    context_len: int = 8192  # tokens of a user where memory is divided
    n_shared: int = 64  # users of a batch
    shared_context_len: int = 2048  # tokens of each of them
    full_tokens_per_s: float = 2500.0  # what the article's GPU gives when full

    @cached_property
    def bits16(self) -> Precision:
        """The width in which the card counts."""
        return precision("bf16")

    @cached_property
    def cost(self) -> StepCost:
        """One token for one user, before any context."""
        return decode_cost(self.llm, batch_size=1, context_len=0, precision=self.bits16)

    @cached_property
    def bounds(self) -> TimeBounds:
        """The least times of that token."""
        return step_time_bounds(self.cost, accelerator=self.card)

    @property
    def user(self) -> str:
        """A user in words."""
        return f"a user of {self.context_len:,} tokens"

    @property
    def token_bytes(self) -> float:
        """What the cache keeps of one token."""
        return kv_stored_bytes_per_token(self.llm, precision=self.bits16)

    def on(self, n_cards: int) -> Footprint:
        """The model under vLLM's defaults on so many cards."""
        return footprint_of(self.llm.id, accelerator=self.card.id, n_devices=n_cards)

    @cached_property
    def served(self) -> Footprint:
        """The model on the fewest cards, doubled from one, that keep a user's cache.

        >>> from bytebill.hardware import accelerator
        >>> asked = Setting(llm=model("llama-3-70b"), card=accelerator("h100-sxm"), usd_per_hour=2.5)
        >>> asked.served.deployment.n_devices
        4
        """
        sizes = (2**k for k in range(MOST_CARDS.bit_length()) if 2**k <= MOST_CARDS)
        return next(found for n in sizes if (found := self.on(n)).users(self.context_len) >= 1 or n == MOST_CARDS)


def card(setting: Setting) -> tuple[Known, ...]:
    """The twenty numbers.

    >>> from bytebill.hardware import accelerator
    >>> found = card(Setting(llm=model("llama-3-70b"), card=accelerator("h100-sxm"), usd_per_hour=2.5))
    >>> len(found), found[3].what, found[3].said
    (20, 'its ridge point', '295 FLOP/byte')
    """
    return tuple(known for part in (_device, _read, _one_user, _cache, _users, _sharing) for known in part(setting))


def as_card(known: Iterable[Known]) -> display.Shown:
    """The card: to be printed on one page."""
    rows = [(at, each.what, each.said, each.sum, each.chapter) for at, each in enumerate(known, start=1)]
    return _sheet(display.table("", "number", "know", "because", "chapter", rows=rows), name="card")


def as_worksheet(known: Iterable[Known]) -> display.Shown:
    """The questions, with room for a guess and for what was found, and the shortest session that answers each."""
    guide = sessions.of_guide()
    asked = enumerate(_asked(known), start=1)
    rows = [(at, each.ask, "", "", sessions.first_with([each.stands_at], guide)) for at, each in asked]
    shown = display.table("", "question", "my guess", "what came out", "answered in", rows=rows)
    return _sheet(shown, name="worksheet")


def as_key(known: Iterable[Known]) -> display.Shown:
    """The answers, for who teaches."""
    rows = [(at, each.said, each.sum, each.chapter) for at, each in enumerate(_asked(known), start=1)]
    return _sheet(display.table("", "answer", "because", "chapter", rows=rows), name="key")


def _asked(known: Iterable[Known]) -> Iterator[Known]:
    yield from (each for each in known if each.ask)


def _sheet(shown: display.Shown, *, name: str) -> display.Shown:
    return display.Shown(html=f'<div class="bb-sheet bb-sheet-{name}">{shown.html}</div>', text=shown.text)


def _device(of: Setting) -> Iterator[Known]:
    """What the datasheet says, and what follows from it alone."""
    each, peak, rate = of.card.name, of.card.peak("bf16"), of.card.bandwidth_bytes_per_s
    ridge, two = critical_batch(of.card, precision=of.bits16), of.bits16.bytes_per_weight
    int4 = precision("int4")
    yield Known(what=f"bandwidth of an {each}", value=rate, unit="B/s", sum="its datasheet", chapter=1)
    yield Known(what="its peak, dense in 16 bits", value=peak, unit="FLOP/s", sum="its datasheet", chapter=1)
    yield Known(what="its memory, by the label", value=of.card.memory_bytes, unit="B", sum="its datasheet", chapter=2)
    yield Known(
        what="its ridge point",
        value=ridge,
        unit="FLOP/byte",
        sum=f"{si(peak, 'FLOP/s')} / {si(rate, 'B/s')}; in {8 * two:.0f} bits also the critical batch without caches",
        chapter=3,
        ask=f"How many operations can an {each} do for each byte it reads?",
        stands_at="ch-batching",
    )
    yield Known(
        what="bits of a weight in int4",
        value=int4.bits_per_weight,
        unit="bits",
        sum=f"4, and for every {int4.group_size} weights a scale and an offset of 16 bits each",
        chapter=11,
    )


def _read(of: Setting) -> Iterator[Known]:
    """What one token reads."""
    stored, read, name = weight_bytes(of.llm, precision=of.bits16), of.cost.weight_bytes, of.llm.name
    yield Known(
        what=f"{name} in 16 bits, stored",
        value=stored,
        unit="B",
        sum=f"{of.llm.n_params / 1e9:.2f} billion weights × {of.bits16.bytes_per_weight:.0f} bytes",
        chapter=1,
    )
    yield Known(
        what="read for one token",
        value=read,
        unit="B",
        sum="all of it but the table of embeddings, which is looked up",
        chapter=1,
        ask=f"How many bytes does a device read to write one token with {name} in 16 bits?",
        stands_at="claim-c01",
    )
    at_rate = f"{si(read, 'B')} / {si(of.card.bandwidth_bytes_per_s, 'B/s')}"
    yield Known(what="time to read them", value=of.bounds.memory_s, unit="ms", sum=at_rate, chapter=1)
    yield Known(
        what="time to multiply with them",
        value=of.bounds.compute_s,
        unit="ms",
        digits=2,
        sum=f"{si(of.cost.flops, 'FLOP')} / {si(of.card.peak('bf16'), 'FLOP/s')}",
        chapter=1,
        ask="And how long does the arithmetic of that token take?",
        stands_at="board-decode",
    )


def _one_user(of: Setting) -> Iterator[Known]:
    """What that is for one user."""
    least_s, rent = of.bounds.max_s, f"${of.usd_per_hour:.2f} an hour"
    yield Known(
        what=f"tokens a second for one user, at most, for each {of.card.name} that shares the read",
        value=1 / least_s,
        unit="tokens/s",
        sum=f"1 / {si(least_s, 's')}",
        chapter=1,
        ask=f"How many tokens a second does one user of {of.llm.name} in 16 bits get, at most, "
        f"for each {of.card.name} that shares the read?",
        stands_at="ch-decode",
    )
    yield Known(
        what="a million such tokens",
        value=usd_per_million_tokens(usd_per_hour=of.usd_per_hour, tokens_per_s=1 / least_s),
        unit="USD",
        sum=f"{rent} / {1 / least_s:.1f} tokens/s",
        chapter=1,
        ask=f"What do a million of those tokens cost, at {rent}?",
        stands_at="what-it-costs",
    )


def _cache(of: Setting) -> Iterator[Known]:
    """What a user keeps in memory."""
    token, shape = of.token_bytes, (of.llm.n_layers, of.llm.n_kv_heads, of.llm.d_head)
    product = "2 × {} layers × {} KV heads × {} × 2 bytes".format(*shape)
    yield Known(
        what="cache of one token",
        value=token,
        unit="bytes",
        sum=product if token == 2 * prod(shape) * 2 else "what each kind of layer keeps of a token",
        chapter=2,
    )
    yield Known(
        what=f"cache of {of.user}",
        value=token * of.context_len,
        unit="B",
        sum=f"{of.context_len:,} × {plain(token)} bytes",
        chapter=2,
        ask=f"How many bytes of {of.llm.name}'s cache does {of.user} keep in memory?",
        stands_at="claim-c06",
    )


def _users(of: Setting) -> Iterator[Known]:
    """What must fit."""
    n_cards, each_bytes = of.served.deployment.n_devices, of.token_bytes * of.context_len
    yield Known(
        what=f"{of.card.name}s for the first such user",
        value=n_cards,
        sum="weights, then what a server keeps, then users; in groups of 1, 2, 4 or 8 cards",
        chapter=2,
        ask=f"How many {of.card.name}s does the first {of.user[2:]} of {of.llm.name} need, under vLLM's defaults?",
        stands_at="claim-c04",
    )
    yield Known(
        what="such users on them",
        value=int(of.served.users(of.context_len)),
        unit="users",
        sum=f"{si(n_cards * of.served.at('value').cache_bytes, 'B')} for caches / {si(each_bytes, 'B')}",
        chapter=2,
        ask="How many such users do those cards keep?",
        stands_at="ch-memory-floor",
    )


def _sharing(of: Setting) -> Iterator[Known]:
    """What many share, and what a scheduler, a mixture and a guess make of it."""
    small, mixture, n = model("llama-3-8b"), model("mixtral-8x7b"), of.n_shared
    alone = Deployment(model=small, accelerator=of.card, precision=of.bits16)
    per_token = [alone.decode_bounds(users, of.shared_context_len).max_s / users for users in (1, n)]
    one = alone.step_cost(Load.decode(batch_size=1, context_len=of.shared_context_len))
    yield Known(
        what=f"{n} users of {small.name}, {of.shared_context_len:,} tokens each, divide the bill by",
        value=per_token[0] / per_token[1],
        sum=f"a step reads {si(one.weight_bytes, 'B')} of weights for all, "
        f"and {si(one.kv_read_bytes, 'B')} of cache for each",
        chapter=3,
        ask=f"{n} users with {of.shared_context_len:,} tokens each share a batch of {small.name}: "
        "by how much does a token get cheaper?",
        stands_at="ch-batching",
    )
    yield Known(
        what="useful steps of a static batch of eight",
        value=useful_share(8),
        unit="fraction",
        sum="1 / (1 + 1/2 + … + 1/8), for answers that end by chance",
        chapter=4,
        ask="Eight answers start together and the batch ends with the last: what share of the slots was useful?",
        stands_at="board-04",
    )
    yield from _guesses(of, mixture)


def _guesses(of: Setting, mixture: ModelSpec) -> Iterator[Known]:
    """What a mixture and a draft make of a pass, and what a day makes of a rate."""
    moe = mixture.moe
    assert moe, f"{mixture.name} has experts"
    experts, met = moe.n_experts, moe.n_experts_per_token
    yield Known(
        what=f"tokens that touch nine in ten of {mixture.name}'s experts",
        value=tokens_to_touch(0.9, n_experts=experts, n_experts_per_token=met),
        unit="tokens",
        digits=2,
        sum=f"ln 0.1 / ln(1 - {met}/{experts}): on average, if tokens pick evenly and independently",
        chapter=16,
    )
    yield Known(
        what="tokens of a pass over three guesses, each good with 0.7",
        value=tokens_per_pass(3, acceptance_rate=0.7),
        unit="tokens",
        sum="1 + 0.7 + 0.7² + 0.7³, if guesses hold independently",
        chapter=14,
        ask="Three guesses ahead, each right seven times in ten: how many tokens does one pass give?",
        stands_at="board-14",
    )
    yield Known(
        what=f"tokens a day of a GPU that gives {of.full_tokens_per_s:,.0f} tokens/s, half full",
        value=of.full_tokens_per_s * SECONDS_A_DAY / 2 / 1e6,
        unit="million tokens",
        sum=f"{of.full_tokens_per_s:,.0f} × {SECONDS_A_DAY:,} / 2",
        chapter=7,
        ask=f"A GPU gives {of.full_tokens_per_s:,.0f} tokens a second and is half full: how many tokens is that a day?",
        stands_at="claim-c23",
    )
