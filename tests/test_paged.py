"""Blocks in any order against one stretch of memory: the same logits, and not a slot of anyone else's touched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bytebill.engine.cache.paged import PagedCache, PlacedTokens
from bytebill.engine.kernels import panels
from bytebill.engine.transformer import Transformer
from bytebill.engine.weights.names import random_weights
from bytebill.errors import BytebillError
from bytebill.models import kv_stored_bytes_per_token, precision
from conftest import TINY

CLOSE = 1e-4  # absolute, on logits of size one, in fp32
N_BLOCKS = 160
LENGTHS = [50, 1, 33, 70]


@pytest.fixture(scope="module")
def tiny() -> Transformer:
    return Transformer(random_weights(TINY), dtype="fp32")


@pytest.fixture(scope="module")
def texts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(TINY.vocab_size, (n + 20,), generator=generator) for n in LENGTHS]


@pytest.fixture(scope="module")
def alone(tiny: Transformer, texts: list[Tensor]) -> list[Tensor]:
    """Logits of every token of every text, each alone in a contiguous cache."""
    return [tiny.forward(text[None], tiny.new_cache(1, len(text)), last_only=False)[0] for text in texts]


@pytest.fixture(params=["kernel", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With this book's kernel where it is to be had, and without."""
    if request.param == "torch":
        monkeypatch.setattr("bytebill.engine.kernels.decode.panels.available", lambda: False)
    elif not panels.available():
        pytest.skip("no numba, or no libgomp under torch")
    return str(request.param)


def new_cache(block_size: int, n_host_blocks: int = 0) -> PagedCache:
    return PagedCache(
        TINY, n_blocks=N_BLOCKS, block_size_tokens=block_size, dtype=torch.float32, n_host_blocks=n_host_blocks
    )


def shuffled_tables(block_size: int, n_slots: list[int]) -> list[list[int]]:
    order = torch.randperm(N_BLOCKS, generator=torch.Generator().manual_seed(block_size)).tolist()
    return [[order.pop() for _ in range(-(-n // block_size))] for n in n_slots]


@torch.inference_mode()
def run(model: Transformer, cache: PagedCache, tokens: list[Tensor], spans: list[PlacedTokens]) -> list[Tensor]:
    """Logits of each span's tokens, in the order given."""
    order = sorted(range(len(spans)), key=lambda i: spans[i].n_new > 1)
    placement = cache.place([spans[i] for i in order])
    logits = model.run_rows(torch.cat([tokens[i] for i in order]), cache, placement)
    parts = dict(zip(order, logits.split([spans[i].n_new for i in order]), strict=True))
    return [parts[i] for i in range(len(spans))]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("block_size", [1, 5, 16, 64, 100])
def test_blocks_in_any_order_equal_alone(
    tiny: Transformer, texts: list[Tensor], alone: list[Tensor], block_size: int
) -> None:
    """Prefill in chunks of different sizes beside decodes, then decodes only: mixed batch, chunks and blocks."""
    n_slots = [min(len(text), 90) for text in texts] if block_size == 1 else [len(text) for text in texts]
    if block_size == 1:  # as many slots as there are blocks
        n_slots = [40, 10, 50, 60]
    cache, tables = new_cache(block_size), shuffled_tables(block_size, n_slots)
    done = [0] * len(texts)
    for sizes in ([20, 1, 33, 17], [12, 1, 1, 18], [1, 1, 1, 17]) + ([1, 1, 1, 1],) * 6:
        spans = [PlacedTokens(blocks=t, start=s, n_new=n) for t, s, n in zip(tables, done, sizes, strict=True)]
        tokens = [text[s : s + n] for text, s, n in zip(texts, done, sizes, strict=True)]
        for found, whole, start, n in zip(run(tiny, cache, tokens, spans), alone, done, sizes, strict=True):
            assert (found - whole[start : start + n]).abs().max() < CLOSE
        done = [start + n for start, n in zip(done, sizes, strict=True)]


@pytest.mark.usefixtures("path")
def test_padding_is_read_and_weighs_nothing(tiny: Transformer, texts: list[Tensor], alone: list[Tensor]) -> None:
    """A prompt of 33 tokens padded to 60: its next token takes the place of the first padding token."""
    cache, table = new_cache(16), shuffled_tables(16, [80])[0]
    padded = torch.cat([texts[2][:33], torch.zeros(27, dtype=torch.long)])
    found = run(tiny, cache, [padded], [PlacedTokens(blocks=table, start=0, n_new=60)])[0]
    assert (found[32] - alone[2][32]).abs().max() < CLOSE
    for place in range(33, 45):
        span = PlacedTokens(blocks=table, start=place, n_new=1, n_padding=27)
        found = run(tiny, cache, [texts[2][place : place + 1]], [span])[0]
        assert (found[0] - alone[2][place]).abs().max() < CLOSE


@pytest.mark.usefixtures("path")
def test_nothing_is_written_outside_the_own_slots(tiny: Transformer, texts: list[Tensor]) -> None:
    cache, table = new_cache(16), [7, 3]
    cache._keys.fill_(9.0), cache._values.fill_(9.0)
    run(tiny, cache, [texts[0][:18]], [PlacedTokens(blocks=table, start=0, n_new=18)])
    run(tiny, cache, [texts[0][18:19]], [PlacedTokens(blocks=table, start=18, n_new=1)])
    for pool in (cache._keys, cache._values):
        others = [block for block in range(N_BLOCKS) if block not in table]
        assert (pool[:, others] == 9).all() and (pool[:, 3, :, 3:] == 9).all()
        assert not (pool[:, 7] == 9).any() and not (pool[:, 3, :, :3] == 9).any()


def test_blocks_that_went_to_the_host_come_back_whole(
    tiny: Transformer, texts: list[Tensor], alone: list[Tensor]
) -> None:
    cache = new_cache(16, n_host_blocks=6)
    run(tiny, cache, [texts[0][:40]], [PlacedTokens(blocks=[4, 9, 2], start=0, n_new=40)])
    cache.swap(device_blocks=[4, 9, 2], host_blocks=[5, 0, 3], out=True)
    cache._keys.fill_(9.0), cache._values.fill_(9.0)
    cache.swap(device_blocks=[8, 1, 4], host_blocks=[5, 0, 3], out=False)
    found = run(tiny, cache, [texts[0][40:41]], [PlacedTokens(blocks=[8, 1, 4], start=40, n_new=1)])[0]
    assert (found[0] - alone[0][40]).abs().max() < CLOSE


def test_a_pool_has_the_bytes_of_the_formula() -> None:
    per_token = kv_stored_bytes_per_token(TINY, precision=precision("fp32"))
    assert new_cache(16).nbytes_allocated == N_BLOCKS * 16 * per_token


def test_what_does_not_fit_is_refused() -> None:
    cache = new_cache(16)
    with pytest.raises(BytebillError, match="A sequence of 33 tokens does not fit its 2 blocks of 16"):
        cache.place([PlacedTokens(blocks=[0, 1], start=32, n_new=1)])
    with pytest.raises(BytebillError, match="at most 256 tokens"):
        cache.place([PlacedTokens(blocks=list(range(20)), start=256, n_new=1)])
    with pytest.raises(ValueError, match="one token first"):
        cache.place([PlacedTokens(blocks=[0], start=0, n_new=5), PlacedTokens(blocks=[1], start=0, n_new=1)])
