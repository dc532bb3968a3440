"""An n-gram model counts: held against counting again, one context at a time."""

from __future__ import annotations

from random import Random

import pytest

from bytebill.engine.ngram import NGram
from bytebill.errors import BytebillError


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_it_says_what_followed_most_often(order: int) -> None:
    rng = Random(order)
    tokens = [rng.choice("aab" + "abcde") for _ in range(300)]
    ids = [ord(each) for each in tokens]
    model = NGram.of(ids, order=order)
    for _ in range(200):
        context = [ord(rng.choice("abcdez")) for _ in range(rng.randrange(6))]
        n = next(
            n
            for n in range(min(order - 1, len(context)), -1, -1)
            if any(ids[i : i + n] == context[len(context) - n :] for i in range(len(ids) - n))
        )
        end = context[len(context) - n :]
        after = [ids[i + n] for i in range(len(ids) - n) if ids[i : i + n] == end]
        token, confidence = model.next(context)
        assert after.count(token) == max(after.count(each) for each in after)
        assert confidence == pytest.approx(after.count(token) / (len(after) + len(set(after))))


def test_more_context_is_known_better_on_the_text_it_has_read() -> None:
    tokens = [Random(i // 7).randrange(50) for i in range(2000)]
    right = [
        sum(model.next(tokens[:i][-5:])[0] == tokens[i] for i in range(5, 2000))
        for model in (NGram.of(tokens, order=order) for order in (1, 2, 3, 4))
    ]
    assert right == sorted(right) and right[-1] > right[0]


def test_it_refuses_what_it_cannot_read() -> None:
    for tokens, order in (([], 4), ([1], 0)):
        with pytest.raises(BytebillError):
            NGram.of(tokens, order=order)
    assert NGram.of([7]).next([1, 2, 3]) == (7, 0.5)
