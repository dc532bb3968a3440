"""What does a clock say of a server that is always full? Time per output token in the steady state, closed form.

    TPOT        = mean step time that a decoding request sees while the others start k prefills a step
    k           = (B - 1) / n_out on average, over n_out - 1 where prefills do not share a step with decodes;
                  where it is no whole number, two numbers take turns
    output rate = B * n_out / (a prefill's step + (n_out - 1) * TPOT)

B `concurrency` requests are in flight: one that finishes is replaced at once. A request decodes n_out - 1 times, and
meanwhile every other one starts its successor, so a decode-only roofline is too fast by that prefill share. Prefills
ride along with the decodes of a step (`mixed`), or take a step of their own for which the decodes wait. Ignores what
chance does to k and to lengths, waiting before a prefill, and the ends of a run: those are the simulator's.
"""

from __future__ import annotations

from math import floor

from bytebill.serving.plan import Plan, PrefillChunk
from bytebill.serving.request import Request, Sequence
from bytebill.sim.clock import Clock


def tpot_s(
    clock: Clock,
    *,
    concurrency: int,
    n_input_tokens: int,
    n_output_tokens: int,
    n_cached_tokens: int = 0,
    mixed: bool = True,
) -> float:
    """Mean time per output token of a closed loop of equal requests [s]; `n_cached_tokens` of each prompt are found in
    a prefix cache and only attended to.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> clock = Clock(model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    >>> round(tpot_s(clock, concurrency=1, n_input_tokens=1024, n_output_tokens=512) * 1e3, 2)    # 15.2 GB
    4.53
    """
    n_prefills = (concurrency - 1) / (n_output_tokens if mixed else max(1, n_output_tokens - 1))
    fewer = floor(n_prefills)
    share = n_prefills - fewer
    loop = {
        "concurrency": concurrency,
        "n_input_tokens": n_input_tokens,
        "n_output_tokens": n_output_tokens,
        "n_cached_tokens": n_cached_tokens,
    }
    gap_s = _gap_s(clock, n_prefills=fewer, mixed=mixed, **loop)
    if share == 0:
        return gap_s
    return (1 - share) * gap_s + share * _gap_s(clock, n_prefills=fewer + 1, mixed=mixed, **loop)


def first_step_s(
    clock: Clock,
    *,
    concurrency: int,
    n_input_tokens: int,
    n_output_tokens: int,
    n_cached_tokens: int = 0,
    mixed: bool = True,
) -> float:
    """Time of the step that computes a prompt, beside everybody else's decodes where steps are mixed [s]."""
    n_decodes = concurrency - 1 if mixed else 0
    context = round(n_decodes * _mean_context(n_input_tokens, n_output_tokens))
    first = _plan(n_decodes, context, n_prefills=1, n_input_tokens=n_input_tokens, n_cached_tokens=n_cached_tokens)
    return clock.segment(first).seconds(1)


def output_tokens_per_s(
    clock: Clock,
    *,
    concurrency: int,
    n_input_tokens: int,
    n_output_tokens: int,
    n_cached_tokens: int = 0,
    mixed: bool = True,
) -> float:
    """Output tokens a second of a closed loop of equal requests, the whole group's [tok/s].

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> clock = Clock(model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    >>> round(output_tokens_per_s(clock, concurrency=1, n_input_tokens=1, n_output_tokens=1)) == round(
    ...     1 / clock.segment(_plan(0, 0, n_prefills=1, n_input_tokens=1)).seconds(1))
    True
    """
    loop = {
        "concurrency": concurrency,
        "n_input_tokens": n_input_tokens,
        "n_output_tokens": n_output_tokens,
        "n_cached_tokens": n_cached_tokens,
    }
    gap_s, first_s = tpot_s(clock, mixed=mixed, **loop), first_step_s(clock, mixed=mixed, **loop)
    return concurrency * n_output_tokens / (first_s + (n_output_tokens - 1) * gap_s)


def _gap_s(
    clock: Clock,
    *,
    n_prefills: int,
    mixed: bool,
    concurrency: int,
    n_input_tokens: int,
    n_output_tokens: int,
    n_cached_tokens: int,
) -> float:
    """Time between two tokens of a request when so many prefills fall between them."""
    mean_context = _mean_context(n_input_tokens, n_output_tokens)
    n_decodes = max(1, concurrency - n_prefills) if mixed else concurrency
    context = round(n_decodes * mean_context)
    prompt = {"n_input_tokens": n_input_tokens, "n_cached_tokens": n_cached_tokens}
    if mixed or not n_prefills:
        return clock.segment(_plan(n_decodes, context, n_prefills=n_prefills, **prompt)).seconds(1)
    alone = _plan(0, 0, n_prefills=n_prefills, **prompt)
    decode = _plan(n_decodes, context, n_prefills=0, **prompt)
    return clock.segment(alone).seconds(1) + clock.segment(decode).seconds(1)


def _mean_context(n_input_tokens: int, n_output_tokens: int) -> float:
    """Cached tokens before a decode step: n_in before the first, n_in + n_out - 2 before the last."""
    return n_input_tokens + max(0, n_output_tokens - 2) / 2


def _plan(
    n_decodes: int, n_context_tokens: int, *, n_prefills: int, n_input_tokens: int, n_cached_tokens: int = 0
) -> Plan:
    request = Request(id=0, n_input_tokens=n_input_tokens, n_output_tokens=1)
    chunk = PrefillChunk(
        sequence=Sequence(request),
        context_len=n_cached_tokens,
        n_new_tokens=n_input_tokens - n_cached_tokens,
        emits=True,
    )
    return Plan(n_decodes=n_decodes, n_context_tokens=n_context_tokens, prefills=(chunk,) * n_prefills)
