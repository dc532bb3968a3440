"""What do eight users at once get from the engine, next to one alone?

    gain = tokens/s of eight users / tokens/s of one                same model, same lengths, same minutes

The real model behind the continuous scheduler and a paged cache, each user sending the next request when the last
is answered. `scheduler_share` is the time of deciding (add, plan, advance) over that of all steps. Both loads are taken
in turns and the best of each counts; a warm-up comes first.
"""

from collections.abc import Iterable

from bytebill.device import Device
from bytebill.engine.runner import Runner
from bytebill.engine.serve import Served, serve
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import smollm2
from bytebill.measure.timing import times
from bytebill.serving import Fixed, Policy, Request, Workload

_N_USERS = 8
N_INPUT_TOKENS, N_OUTPUT_TOKENS = 10, 64  # those of `peers`
N_BLOCKS = 256


def alone_and_together(device: Device, *, dtype: str, rounds: int = 3) -> dict[str, float | str | int]:
    """Output tokens a second of one user and of eight, and what scheduling took."""
    model = Transformer(smollm2(), dtype=dtype, device=device.torch)
    serve_users(model, n_users=_N_USERS)
    found = [(serve_users(model, n_users=1), serve_users(model, n_users=_N_USERS)) for _ in times(rounds)]
    alone, together = (max(each[i].metrics.output_tokens_per_s for each in found) for i in range(2))
    share = min(run.scheduler_s / sum(run.durations_s) for _, run in found)
    return {
        "dtype": dtype,
        "users": _N_USERS,
        "alone_tokens_per_s": alone,
        "tokens_per_s": together,
        "gain": together / alone,
        "scheduler_share": share,
    }


def serve_users(model: Transformer, *, n_users: int, rounds: int = 2) -> Served:
    """`rounds` requests of every user, served by the engine."""
    requests = Workload(rounds * n_users, inputs=Fixed(N_INPUT_TOKENS), outputs=Fixed(N_OUTPUT_TOKENS))
    return serve_afresh(model, requests, n_slots=n_users, concurrency=n_users)


def serve_afresh(
    model: Transformer, requests: Iterable[Request], *, n_slots: int, concurrency: int | None = None
) -> Served:
    """All requests on the engine, by a scheduler and over a cache that are new, after a warm-up."""
    scheduler = Policy(n_slots=n_slots).scheduler(N_BLOCKS)
    runner = Runner.of(model, scheduler)
    runner.warm_up(n_rows=n_slots)
    return serve(scheduler, requests, runner, concurrency=concurrency)
