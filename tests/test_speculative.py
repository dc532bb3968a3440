"""Drafts never change a text, whoever makes them; and what is counted of them adds up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

import conftest
from bytebill.device import pick
from bytebill.engine.generation import generate
from bytebill.engine.speculative import ModelDraft, speculate
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import random_weights
from bytebill.errors import BytebillError
from bytebill.measure.speculation import race, time_passes
from bytebill.roofline import tokens_per_pass
from bytebill.serving.speculative import Acceptance, Drafter, OneByOne, PromptLookup, n_accepted

TINY = replace(conftest.TINY, vocab_size=23)  # few words, so that guesses hold now and then
N_NEW = 40


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return Transformer(random_weights(TINY), dtype="fp32")


def prompts_of(n: int, *, seed: int = 0) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(23) for _ in range(dice.randint(1, 30))] for _ in range(n)]


class Dice:
    """Random drafts, of random number; every third text gets none."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        return [
            [self._dice.randrange(23) for _ in range(self._dice.randint(0, n) * (i % 3 < 2))]
            for i, _ in enumerate(texts)
        ]


class Oracle:
    """Knows the texts; from `wrong_after` drafts on it guesses wrong."""

    def __init__(self, texts: Sequence[Sequence[int]], *, wrong_after: int) -> None:
        self._texts, self._wrong_after = texts, wrong_after

    def propose(self, texts: Sequence[Sequence[int]], n: int) -> list[list[int]]:
        return [
            [token if k < self._wrong_after else (token + 1) % 23 for k, token in enumerate(whole[len(text) :][:n])]
            for whole, text in zip(self._texts, texts, strict=True)
        ]


@pytest.mark.parametrize("n_draft_tokens", [0, 1, 2, 3, 5, 8, 17, 60])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_random_drafts_leave_the_text_as_it_is(tiny: Transformer, batch_size: int, n_draft_tokens: int) -> None:
    prompts = prompts_of(batch_size, seed=batch_size)
    greedy = generate(tiny, prompts, n_new_tokens=N_NEW)
    for drafter in (Dice(seed=n_draft_tokens), PromptLookup(), OneByOne(lambda text: text[-1])):
        run = speculate(tiny, prompts, n_new_tokens=N_NEW, drafter=drafter, n_draft_tokens=n_draft_tokens)
        assert run.tokens == greedy


@pytest.mark.parametrize("wrong_after", [0, 1, 2, 4, 5])
def test_a_draft_counts_until_the_first_wrong_one(tiny: Transformer, wrong_after: int) -> None:
    prompts = prompts_of(3)
    greedy = generate(tiny, prompts, n_new_tokens=N_NEW)
    oracle = Oracle([[*p, *text] for p, text in zip(prompts, greedy, strict=True)], wrong_after=wrong_after)
    run = speculate(tiny, prompts, n_new_tokens=N_NEW, drafter=oracle, n_draft_tokens=4)
    assert run.tokens == greedy
    assert run.n_steps == -(-(N_NEW - 1) // (min(4, wrong_after) + 1))  # the prompts' pass gave the first token
    assert all(accepted == min(drafted, wrong_after) for drafted, accepted in run.passes)


def test_a_model_drafts_for_itself_without_a_miss(tiny: Transformer) -> None:
    prompts = prompts_of(4, seed=7)
    draft = ModelDraft(tiny, batch_size=4, max_len=256)
    run = speculate(tiny, prompts, n_new_tokens=N_NEW, drafter=draft, n_draft_tokens=3)
    assert run.tokens == generate(tiny, prompts, n_new_tokens=N_NEW)
    assert all(drafted == accepted for drafted, accepted in run.passes)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_another_model_drafts_and_the_text_stays(tiny: Transformer, batch_size: int) -> None:
    other = Transformer(random_weights(TINY, seed=5), dtype="fp32")
    prompts = prompts_of(batch_size, seed=3)
    draft = ModelDraft(other, batch_size=batch_size, max_len=90)
    run = speculate(tiny, prompts, n_new_tokens=N_NEW, drafter=draft, n_draft_tokens=4)
    assert run.tokens == generate(tiny, prompts, n_new_tokens=N_NEW)


def test_what_a_drafting_model_proposes_is_what_it_would_say_alone(tiny: Transformer) -> None:
    draft, dice = ModelDraft(tiny, batch_size=2, max_len=200), random.Random(1)
    texts = prompts_of(2, seed=11)
    for _ in range(6):  # texts go on otherwise than was guessed, by one token or several
        guesses = draft.propose(texts, 3)
        assert guesses == [generate(tiny, [text], n_new_tokens=3)[0] for text in texts]
        texts = [
            [*text, *guess[: dice.randint(0, 3)], dice.randrange(23)]
            for text, guess in zip(texts, guesses, strict=True)
        ]
    others = [text + text for text in prompts_of(2, seed=12)]  # and other texts altogether
    assert draft.propose(others, 3) == [generate(tiny, [text], n_new_tokens=3)[0] for text in others]


def test_a_full_draft_cache_drafts_less(tiny: Transformer) -> None:
    draft = ModelDraft(tiny, batch_size=1, max_len=8)
    assert [len(draft.propose([[1] * n], 4)[0]) for n in (5, 6, 8, 9)] == [4, 3, 1, 0]


def test_bad_requests_are_refused_in_a_sentence(tiny: Transformer) -> None:
    for prompts, n in (([], 2), ([[1], []], 2), ([[1]], -1)):
        with pytest.raises(BytebillError):
            speculate(tiny, prompts, n_new_tokens=4, drafter=PromptLookup(), n_draft_tokens=n)


def test_lookup_prefers_the_longest_end_and_the_latest_place() -> None:
    text = [1, 2, 3, 10, 2, 3, 11, 3, 12, 1, 2, 3]
    assert PromptLookup(longest=3).propose([text], 1) == [[10]]
    assert PromptLookup(longest=2).propose([text], 1) == [[11]]
    assert PromptLookup(longest=1).propose([text], 2) == [[12, 1]]
    assert PromptLookup().propose([[5], [], [4, 4]], 3) == [[], [], [4]]


def test_lookup_never_guesses_more_than_asked() -> None:
    for text in prompts_of(50, seed=9):
        (guess,) = PromptLookup().propose([text], 4)
        assert len(guess) <= 4 and set(guess) <= set(text)


def test_accepted_drafts_end_at_the_first_miss() -> None:
    assert [n_accepted(d, [1, 2, 3]) for d in ([], [2], [1], [1, 3], [1, 2], [1, 2, 9])] == [0, 0, 1, 1, 2, 2]


def test_counts_by_position_add_up_to_tokens() -> None:
    dice = random.Random(0)
    passes = [(n, dice.randint(0, n)) for n in (dice.randint(0, 5) for _ in range(500))]
    seen = Acceptance.of(passes)
    assert seen.tokens_per_pass == pytest.approx(1 + sum(accepted for _, accepted in passes) / 500)
    assert list(seen.held) == sorted(seen.held, reverse=True)
    assert all(0 <= rate <= 1 for rate in seen.rates)
    with pytest.raises(BytebillError):
        Acceptance.of([])


def test_independent_drafts_give_what_the_formula_says() -> None:
    dice = random.Random(2)
    passes = []
    for _ in range(40_000):
        accepted = 0
        while accepted < 4 and dice.random() < 0.7:
            accepted += 1
        passes.append((4, accepted))
    seen = Acceptance.of(passes)
    assert seen.tokens_per_pass == pytest.approx(tokens_per_pass(4, acceptance_rate=0.7), rel=0.01)
    assert seen.rates == pytest.approx((0.7,) * 4, abs=0.02)


def test_all_kinds_are_drafters(tiny: Transformer) -> None:
    for drafter in (PromptLookup(), OneByOne(max), ModelDraft(tiny, batch_size=1, max_len=8)):
        kind: Drafter = drafter
        assert len(kind.propose([[1, 2, 1]], 2)) == 1


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_narrow_formats_finish_and_count(dtype: str) -> None:
    model = Transformer(random_weights(TINY), dtype=dtype)
    prompts = prompts_of(3, seed=4)
    run = speculate(model, prompts, n_new_tokens=N_NEW, drafter=PromptLookup(), n_draft_tokens=4)
    assert [len(tokens) for tokens in run.tokens] == [N_NEW] * 3
    assert torch.tensor(run.tokens).max() < 23


def test_a_race_is_between_the_same_texts(tiny: Transformer) -> None:
    found = race(tiny, prompts_of(2), drafter=PromptLookup, n_new_tokens=12, n_draft_tokens=3, rounds=2)
    assert found.drafted.tokens == found.plain
    assert len(found.gains) == 2 and found.pass_cost > 0


def test_passes_of_any_shape_are_timed(tiny: Transformer) -> None:
    shapes = [(1, 1), (1, 5), (3, 2), (2, 20)]
    assert list(time_passes(tiny, pick("cpu"), shapes, context_len=30, repeats=2)) == shapes


def test_fewer_layers_are_a_draft_of_the_same_vocabulary(tiny: Transformer) -> None:
    prompts = prompts_of(2, seed=2)
    draft = ModelDraft(tiny.first_layers(1), batch_size=2, max_len=90)
    run = speculate(tiny, prompts, n_new_tokens=N_NEW, drafter=draft, n_draft_tokens=3)
    assert run.tokens == generate(tiny, prompts, n_new_tokens=N_NEW)
    assert tiny.first_layers(2).forward(torch.ones(1, 3, dtype=torch.long), tiny.new_cache(1, 3)).shape == (1, 1, 23)
    for n in (0, 3):
        with pytest.raises(BytebillError):
            tiny.first_layers(n)
