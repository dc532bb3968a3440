"""What does a token cost, in one picture that moves? Two bars to scale, and a receipt for one to 256 users.

The bars are the claims' round model, 70 billion weights in 16 bits, read at one H100's bandwidth and multiplied at its
peak; one H100 cannot hold it. The receipt is Llama-3-70B on four under vLLM's defaults, at published rates (no program
reaches them), each user with `RECEIPT_CONTEXT_LEN` tokens in the cache, as claim C10 is judged.
Every number is written here; `book/assets/cover.js` only shows the row that a slider points at.
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from html import escape

from bytebill.deployment import Deployment
from bytebill.display import scrolling
from bytebill.economics.cost import usd_per_million_tokens
from bytebill.hardware import accelerator
from bytebill.memory import as_served
from bytebill.models import model, precision
from bytebill.programs import program
from bytebill.units import plain, show, si

ROUND_N_PARAMS = 70e9
ROUND_BYTES_PER_WEIGHT = 2
RENT_USD_PER_HOUR = 2.50  # of one H100: the illustrative rent of claim C19
PROGRAM, N_DEVICES = "vllm", 4
RECEIPT_CONTEXT_LEN = 2048
SLIDER_USERS = tuple(2**n for n in range(9))
NO_STEP = {**dict.fromkeys(("read", "step", "rate", "used"), "–"), "price": "does not fit"}
RECEIPT_LINES = (
    ("a step reads", "read"),
    ("at a bandwidth of", "bandwidth"),
    ("takes at least", "step"),
    ("and writes", "rate"),
    ("for a rent of", "rent"),
)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the receipt says of so many users, in words and numbers as they are shown."""

    users: str
    read: str
    bandwidth: str
    step: str
    rate: str
    rent: str
    price: str
    used: str
    room: str


@cache
def deployment() -> Deployment:
    """What the receipt is for, with the room for caches that the program leaves."""
    group = Deployment(
        model=model("llama-3-70b"),
        accelerator=accelerator("h100-sxm"),
        precision=precision("bf16"),
        n_devices=N_DEVICES,
    )
    return as_served(group, program(PROGRAM))


def receipt(n_users: int) -> Receipt:
    """A step's bill when so many users share it; of users who do not fit nothing is said but that.

    >>> shown = receipt(1)
    >>> shown.users, shown.read, shown.step, shown.price, shown.used
    ('1 user', '140 GB', '10.4 ms', '$28.95', '0.35%')
    >>> receipt(256).price, receipt(256).room
    ('does not fit', '213 fit in memory')
    """
    group = deployment()
    most = group.users(RECEIPT_CONTEXT_LEN)
    bandwidth_bytes_per_s = group.n_devices * group.accelerator.bandwidth_bytes_per_s
    usd_per_hour = group.n_devices * RENT_USD_PER_HOUR
    return Receipt(
        users="1 user" if n_users == 1 else f"{n_users} users",
        bandwidth=f"{bandwidth_bytes_per_s / 1e12:.1f} TB/s",
        rent=f"${usd_per_hour:.2f} an hour",
        room="fits in memory" if n_users <= most else f"{most} fit in memory",
        **(_step(n_users, usd_per_hour=usd_per_hour) if n_users <= most else NO_STEP),
    )


def _step(n_users: int, *, usd_per_hour: float) -> dict[str, str]:
    """What a step reads, takes, writes and costs."""
    group = deployment()
    bounds = group.decode_bounds(n_users, RECEIPT_CONTEXT_LEN)
    tokens_per_s = n_users / bounds.max_s
    price = usd_per_million_tokens(usd_per_hour=usd_per_hour, tokens_per_s=tokens_per_s)
    return {
        "read": si(bounds.memory_s * group.n_devices * group.accelerator.bandwidth_bytes_per_s, "B"),
        "step": si(bounds.max_s, "s"),
        "rate": f"{plain(tokens_per_s)} tokens/s",
        "price": f"${price:.2f}",
        "used": show(float(f"{bounds.compute_s / bounds.max_s:.2g}"), unit="fraction"),
    }


@cache
def receipts() -> tuple[Receipt, ...]:
    """A receipt for each place of the slider."""
    return tuple(receipt(n) for n in SLIDER_USERS)


def bars() -> tuple[tuple[str, float], ...]:
    """What one token of the round model takes on one H100, in words and in seconds: to read, to multiply.

    >>> [words for words, _ in bars()]
    ['reading 140 GB of weights: 41.8 ms', 'multiplying: 0.14 ms']
    """
    card, n_bytes = accelerator("h100-sxm"), ROUND_N_PARAMS * ROUND_BYTES_PER_WEIGHT
    read_s, compute_s = n_bytes / card.bandwidth_bytes_per_s, 2 * ROUND_N_PARAMS / card.peak("bf16")
    return (
        (f"reading {si(n_bytes, 'B')} of weights: {si(read_s, 's')}", read_s),
        (f"multiplying: {compute_s * 1e3:.2f} ms", compute_s),
    )


def bill_html() -> str:
    """The bars, the slider with all rows as a table, and the receipt."""
    return f'<div class="bb-share">{_bars()}{_slider()}{_table()}</div>{_receipt(receipts()[0])}{_data()}'


def _bars() -> str:
    longest = max(seconds for _, seconds in bars())
    drawn = "".join(
        f'<li class="bb-bar-{name}"><span style="width: {seconds / longest:.3%}"></span><b>{escape(words)}</b></li>'
        for name, (words, seconds) in zip(("bytes", "flops"), bars(), strict=True)
    )
    said = "One token of a 70B model in 16 bits at the rates of one H100, to scale"
    return f'<p class="bb-small">{said}</p><ul class="bb-bars" aria-label="{said}">{drawn}</ul>'


def _slider() -> str:
    """Hidden until a script can move it; what it says is what the receipt says."""
    first = receipts()[0]
    keys = ("step", "rate", "price", "room")
    step, rate, price, room = (f'<span data-bill="{key}">{getattr(first, key)}</span>' for key in keys)
    return (
        '<div class="bb-slider" hidden><label for="bb-users">Users who share the read: '
        f'<b data-bill="users">{first.users}</b></label>'
        f'<input id="bb-users" type="range" min="0" max="{len(SLIDER_USERS) - 1}" step="1" value="0" '
        f'aria-valuetext="{first.users}" autocomplete="off">'
        f'<p class="bb-small" role="status">A step on {N_DEVICES} H100: {step} · {rate} · a million tokens: {price} · '
        f"{room}</p>"
        "</div>"
    )


def _table() -> str:
    names = {
        "users": "Users",
        "step": "Step",
        "rate": "Output",
        "price": "A million tokens",
        "used": "Arithmetic used",
        "room": "Memory",
    }
    head = "".join(f'<th scope="col">{name}</th>' for name in names.values())
    rows = "".join(
        f'<tr><th scope="row">{row.users}</th>'
        + "".join(f"<td>{getattr(row, key)}</td>" for key in names if key != "users")
        + "</tr>"
        for row in receipts()
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<details class="bb-nine" open><summary>1 to {SLIDER_USERS[-1]} users in a table</summary>'
        f'{scrolling(table, name="Users in a table")}</details><p class="bb-small">{_conditions()}</p>'
    )


def _conditions() -> str:
    group = deployment()
    room, n_users = si(group.memory.kv_bytes, "B"), group.users(RECEIPT_CONTEXT_LEN)
    return (
        f"{group.model.name} in bf16 on {N_DEVICES} H100 at published rates, the least a step can take; "
        f"{RECEIPT_CONTEXT_LEN:,} tokens of context a user, whose cache every step reads too. "
        f"vLLM’s defaults leave {room} for caches (a GB is 10<sup>9</sup> bytes): {n_users} users. "
        f"${RENT_USD_PER_HOUR:.2f} an hour for an H100 is illustrative."
    )


def _receipt(first: Receipt) -> str:
    """A paper slip: what is bought, what it takes, what a million costs."""
    group = deployment()
    lines = "".join(_line(name, key, first) for name, key in RECEIPT_LINES)
    return (
        '<div class="bb-receipt" role="group" aria-label="The bill"><div class="bb-paper">'
        f'<p class="bb-receipt-name"><b>THE BYTE BILL</b></p><p>{escape(group.model.name)}, bf16</p>'
        f'<p>{N_DEVICES} x H100, <span data-bill="users">{first.users}</span></p>'
        f'<p data-bill="room">{first.room}</p><dl>{lines}</dl>'
        f'<dl class="bb-total">{_line("a million tokens", "price", first)}</dl>'
        f"<dl>{_line('arithmetic used', 'used', first)}</dl>"
        f'<p class="bb-receipt-end">{receipts()[0].users} alone: {receipts()[0].price}</p></div></div>'
    )


def _line(name: str, key: str, row: Receipt) -> str:
    return f'<div><dt>{name}</dt><dd data-bill="{key}">{getattr(row, key)}</dd></div>'


def _data() -> str:
    rows = json.dumps([asdict(row) for row in receipts()]).replace("<", "\\u003c")
    return f'<script type="application/json" id="bb-bill">{rows}</script>'
