"""Weights moved into large pages are the same weights, each in memory of its own."""

from __future__ import annotations

import mmap
from itertools import pairwise

import pytest
import torch

from bytebill.engine.kernels import huge_pages
from bytebill.engine.kernels.huge_pages import PAGE_BYTES, Arena, in_large_pages


def test_many_tensors_keep_their_values_and_never_overlap() -> None:
    tensors = [torch.randn(n, 7).to(dtype) for n in (1, 1000, 40_000) for dtype in (torch.float32, torch.bfloat16)]
    held = [in_large_pages(tensor) for tensor in tensors]
    for tensor in held:
        tensor.add_(1)  # would be seen in a neighbour
    assert all(torch.equal(after, before + 1) for after, before in zip(held, tensors, strict=True))
    spans = sorted((tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes) for tensor in held)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such pages")
def test_an_arena_starts_on_a_large_page_and_says_when_it_is_full() -> None:
    arena = Arena(3 * PAGE_BYTES)
    first = arena.hold(torch.ones(PAGE_BYTES, dtype=torch.uint8))
    assert first.data_ptr() % PAGE_BYTES == 0
    assert len(arena.free) == 2 * PAGE_BYTES


def test_a_tensor_outlives_the_arena_it_lies_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "_open", [])
    held = in_large_pages(torch.arange(1000))
    huge_pages._open.clear()
    assert torch.equal(held, torch.arange(1000))


def test_without_such_pages_the_tensor_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(n_bytes: int) -> Arena:
        raise OSError("no room")

    monkeypatch.setattr(huge_pages, "_arena", refuse)
    tensor = torch.arange(3)
    assert in_large_pages(tensor) is tensor
