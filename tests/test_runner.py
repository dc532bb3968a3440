"""Whatever the scheduler does with a request, its text is the one it gets alone; and what the simulator replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bytebill.engine.generation import generate
from bytebill.engine.kernels import panels
from bytebill.engine.runner import Runner
from bytebill.engine.serve import serve, typical_s
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights import Weights
from bytebill.engine.weights.names import random_weights
from bytebill.engine.weights.smollm2 import tokenizer
from bytebill.errors import BytebillError
from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.memory.contiguous import ContiguousMax, ContiguousPow2
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.prefix import PrefixSharing, block_names
from bytebill.serving.request import Request
from bytebill.serving.static import StaticScheduler
from bytebill.sim.server import simulate
from bytebill.trials.replay import ReplayClock
from conftest import TINY

LENGTHS = [(20, 9), (1, 14), (37, 1), (5, 30), (64, 12), (3, 22), (11, 17), (29, 5)]  # prompt, output
REQUESTS = [Request(id=id, n_input_tokens=n_in, n_output_tokens=n_out) for id, (n_in, n_out) in enumerate(LENGTHS)]


def paged(n_blocks: int = 60, n_host_blocks: int = 0) -> Paged:
    return Paged(n_blocks=n_blocks, block_size_tokens=4, n_host_blocks=n_host_blocks)


SCHEDULERS: dict[str, Callable[[], Any]] = {
    "one by one": lambda: StaticScheduler(1),
    "static": lambda: StaticScheduler(3),
    "static, padded far": lambda: StaticScheduler(4, pad_input_to=70, pad_output_to=40),
    "static, counted": lambda: StaticScheduler(3, allocator=paged(120)),
    "dynamic": lambda: StaticScheduler(3, window_s=0.0),
    "continuous": lambda: ContinuousScheduler(paged(), max_batch_size=4),
    "prefill first": lambda: ContinuousScheduler(paged(), max_batch_size=4, mixed=False),
    "reserved to the longest": lambda: ContinuousScheduler(
        ContiguousMax(n_slots=256, max_len_tokens=80), max_batch_size=4
    ),
    "reserved by powers of two": lambda: ContinuousScheduler(ContiguousPow2(n_slots=512, max_len_tokens=80)),
    "chunked": lambda: ChunkedScheduler(paged(), token_budget=8, max_batch_size=4),
    "recomputed": lambda: ContinuousScheduler(paged(24), max_batch_size=8, watermark=0.0),
    "recomputed in chunks": lambda: ChunkedScheduler(paged(24), token_budget=16, max_batch_size=8, watermark=0.0),
    "swapped": lambda: ContinuousScheduler(
        paged(24, n_host_blocks=80), max_batch_size=8, watermark=0.0, preemption="swap"
    ),
    "swapped while the host has room": lambda: ContinuousScheduler(
        paged(24, n_host_blocks=8), max_batch_size=8, watermark=0.0, preemption="swap"
    ),
}


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return Transformer(random_weights(TINY), dtype="fp32")


def prompt_of(request: Request) -> list[int]:
    generator = torch.Generator().manual_seed(request.id)
    return torch.randint(TINY.vocab_size, (request.n_input_tokens,), generator=generator).tolist()


@pytest.fixture(scope="module")
def alone(tiny: Transformer) -> dict[int, list[int]]:
    """What each request gets from a batch of one in a contiguous cache."""
    return {r.id: generate(tiny, [prompt_of(r)], n_new_tokens=r.n_output_tokens)[0] for r in REQUESTS}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_gives_the_text_of_alone(tiny: Transformer, alone: dict[int, list[int]], name: str) -> None:
    scheduler = SCHEDULERS[name]()
    served = serve(scheduler, REQUESTS, Runner.of(tiny, scheduler, max_len=112), prompts=prompt_of)
    assert served.outputs == alone
    assert (served.metrics.n_preemptions > 0) == ("recomputed" in name or "swapped" in name)
    swaps = any(row.swapped_in for row in served.schedule.rows)
    assert swaps == ("swapped" in name)


def test_without_the_kernel_too(
    tiny: Transformer, alone: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "available", lambda: False)
    scheduler = SCHEDULERS["recomputed in chunks"]()
    assert serve(scheduler, REQUESTS, Runner.of(tiny, scheduler), prompts=prompt_of).outputs == alone


def test_blocks_handed_out_in_any_order(tiny: Transformer, alone: dict[int, list[int]]) -> None:
    allocator = paged()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5)).tolist()
    allocator._free = order
    scheduler = ContinuousScheduler(allocator, max_batch_size=5)
    runner = Runner.of(tiny, scheduler)
    runner.warm_up(n_rows=5)  # leaves nothing behind that anyone could read
    assert serve(scheduler, REQUESTS, runner, prompts=prompt_of).outputs == alone


def test_prompts_that_share_blocks(tiny: Transformer) -> None:
    """Requests with one prefix find its blocks computed, and say what they would have said."""
    shared = prompt_of(Request(id=99, n_input_tokens=24, n_output_tokens=1))
    requests = [replace(r, n_input_tokens=r.n_input_tokens + 24, prefix=tuple(range(6))) for r in REQUESTS]
    prompts = {new.id: shared + prompt_of(old) for new, old in zip(requests, REQUESTS, strict=True)}
    scheduler = ContinuousScheduler(PrefixSharing(n_blocks=80, block_size_tokens=4), max_batch_size=2)
    served = serve(scheduler, requests, Runner.of(tiny, scheduler), prompts=lambda r: prompts[r.id])
    assert served.metrics.n_computed_tokens < sum(r.n_cached_tokens_at_end for r in requests)
    for r in requests:
        assert served.outputs[r.id] == generate(tiny, [prompts[r.id]], n_new_tokens=r.n_output_tokens)[0]


def last_logits(
    tiny: Transformer, texts: list[list[int]], monkeypatch: pytest.MonkeyPatch, *, n_blocks: int = 40
) -> Any:
    """Logits of each text's first answer, one text after the other over one cache, and the tokens found of each."""
    seen: list[torch.Tensor] = []
    run_rows = tiny.run_rows
    monkeypatch.setattr(tiny, "run_rows", lambda *args, **how: (seen.append(run_rows(*args, **how)), seen[-1])[1])
    scheduler = ContinuousScheduler(PrefixSharing(n_blocks=n_blocks, block_size_tokens=4), max_batch_size=2)
    runner, found = Runner.of(tiny, scheduler), []
    for id, text in enumerate(texts):
        request = Request(
            id=id, n_input_tokens=len(text), n_output_tokens=1, prefix=block_names(text, block_size_tokens=4)
        )
        served = serve(scheduler, [request], runner, prompts=lambda _, text=text: text)
        found.append(len(text) - served.metrics.n_computed_tokens)
    monkeypatch.setattr(tiny, "run_rows", run_rows)
    return [logits[-1] for logits in seen], found


def test_a_prefix_that_is_found_gives_the_same_logits(tiny: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    text = prompt_of(Request(id=99, n_input_tokens=41, n_output_tokens=1))
    logits, found = last_logits(tiny, [text, text, text[:21]], monkeypatch)
    assert found == [0, 40, 20]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-5)
    (alone, *_), _ = last_logits(tiny, [text[:21]], monkeypatch)
    torch.testing.assert_close(logits[2], alone, rtol=1e-4, atol=1e-5)


def test_blocks_are_not_found_after_other_tokens_nor_once_they_were_given_up(
    tiny: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words after another first word, and a prompt whose blocks another has taken: as if nobody had come."""
    text = prompt_of(Request(id=99, n_input_tokens=41, n_output_tokens=1))
    other, large = [text[0] ^ 1, *text[1:]], prompt_of(Request(id=98, n_input_tokens=44, n_output_tokens=1))
    logits, found = last_logits(tiny, [text, other, large, text], monkeypatch, n_blocks=11)
    assert found == [0, 0, 0, 0]
    torch.testing.assert_close(logits[3], logits[0], rtol=1e-4, atol=1e-5)
    (alone, *_), _ = last_logits(tiny, [other], monkeypatch)
    torch.testing.assert_close(logits[1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["static", "dynamic", "continuous", "chunked", "swapped"])
def test_the_simulator_replays_what_the_engine_did(tiny: Transformer, name: str) -> None:
    """The same scheduler, arrivals and times of steps: the same schedule, to the row."""
    arriving = [replace(r, arrival_s=0.004 * r.id) for r in REQUESTS]
    scheduler = SCHEDULERS[name]()
    served = serve(scheduler, arriving, Runner.of(tiny, scheduler, max_len=112), prompts=prompt_of)
    clock = ReplayClock(served.schedule.begins_s, served.schedule.ends_s)
    replayed = simulate(SCHEDULERS[name](), arriving, clock, schedule=True)
    assert replayed.schedule is not None and replayed.schedule.rows == served.schedule.rows
    assert replayed.end_s == pytest.approx(served.schedule.ends_s[-1])
    assert list(replayed.metrics.columns["finish_s"]) == pytest.approx(list(served.metrics.columns["finish_s"]))


def test_idle_time_is_waited_for(tiny: Transformer) -> None:
    late = [replace(REQUESTS[0], arrival_s=0.05), replace(REQUESTS[1], arrival_s=0.3)]
    scheduler = SCHEDULERS["continuous"]()
    served = serve(scheduler, late, Runner.of(tiny, scheduler))
    begins_s, ends_s = served.schedule.begins_s, served.schedule.ends_s
    assert begins_s[0] == 0.05 and ends_s[-1] >= 0.3
    # a boundary is the end of the step before, or the arrival that ended an idle wait
    assert all(begin in (end, 0.3) for begin, end in zip(begins_s[1:], ends_s, strict=False))
    assert 0 < served.scheduler_s < sum(served.durations_s)


def test_steps_of_one_load_share_a_typical_time(tiny: Transformer) -> None:
    scheduler = SCHEDULERS["static"]()
    served = serve(scheduler, REQUESTS, Runner.of(tiny, scheduler, max_len=112), prompts=prompt_of)
    found = typical_s([served])
    assert set(found) == {row.load for row in served.schedule.rows}
    assert min(served.durations_s) <= min(found.values()) and max(found.values()) <= max(served.durations_s)


def test_users_who_wait_for_their_answers(tiny: Transformer, alone: dict[int, list[int]]) -> None:
    scheduler = SCHEDULERS["continuous"]()
    served = serve(scheduler, REQUESTS, Runner.of(tiny, scheduler), prompts=prompt_of, concurrency=2)
    assert served.outputs == alone
    assert max(len(row.decodes) + len(row.prefills) for row in served.schedule.rows) == 2


def test_what_cannot_fit_is_refused_and_the_rest_served(tiny: Transformer) -> None:
    scheduler = ContinuousScheduler(paged(10), max_batch_size=4)
    served = serve(scheduler, REQUESTS, Runner.of(tiny, scheduler), prompts=prompt_of)
    assert {id for id, _ in served.metrics.refusals} == {4} and len(served.outputs) == 7


def test_impossible_uses_are_refused_in_a_sentence(tiny: Transformer) -> None:
    runner = Runner(tiny, n_blocks=4)
    with pytest.raises(BytebillError, match="says 20 tokens and its prompt has 3"):
        runner.add(REQUESTS[0], [1, 2, 3])
    with pytest.raises(BytebillError, match="attends to 256 tokens"):
        runner.add(Request(id=0, n_input_tokens=250, n_output_tokens=9), [1] * 250)
    with pytest.raises(BytebillError, match="needs `max_len`"):
        Runner.of(tiny, StaticScheduler(2))


def test_smollm2_says_the_same_in_company(smol: tuple[Weights, Transformer]) -> None:
    model, words = smol[1], tokenizer()
    texts = ["The capital of France is", "A heap is", "Once upon a time there was a king who", "Water boils at"]
    prompts = [words.encode(text).ids for text in texts]
    requests = [
        Request(id=id, n_input_tokens=len(prompt), n_output_tokens=12 + 3 * id) for id, prompt in enumerate(prompts)
    ]
    scheduler = ChunkedScheduler(paged(10), token_budget=8, max_batch_size=4, watermark=0.0)
    served = serve(scheduler, requests, Runner.of(model, scheduler), prompts=lambda r: prompts[r.id])
    assert served.metrics.n_preemptions > 0
    for r in requests:
        assert served.outputs[r.id] == generate(model, [prompts[r.id]], n_new_tokens=r.n_output_tokens)[0]
