"""The packed kernels agree with `F.linear` at every dtype, shape and batch, and refuse what they cannot do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from bytebill.device import pick
from bytebill.engine.kernels import linear, panels, products
from bytebill.engine.kernels.dtypes import SCALE_GROUP
from bytebill.engine.kernels.linear import PackedLinear, formats
from bytebill.errors import BytebillError
from bytebill.measure import ceilings
from bytebill.measure.timing import Timing

packed_only = pytest.mark.skipif(not panels.available(), reason="no numba or libgomp here")
TOLERANCE = {"fp32": 1e-5, "bf16": 6e-3, "int8": 2e-2, "int4": 0.2}  # relative, of random normal weights
SHAPES = [(64, 64), (100, 192), (576, 128), (1, 64)]


def relative_error(y: torch.Tensor, expected: torch.Tensor) -> float:
    return float((y.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("dtype", formats("cpu"))
@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 7, 12, 13, 33])
def test_it_is_a_matmul(dtype, batch_size):
    torch.manual_seed(batch_size)
    for n_out, n_in in SHAPES:
        weight, x = torch.randn(n_out, n_in), torch.randn(batch_size, n_in)
        packed = PackedLinear(weight, dtype=dtype)
        y = packed(x)
        assert y.shape == (batch_size, n_out)
        assert y.dtype == x.dtype
        if n_out > 1:
            assert relative_error(y, functional.linear(x, weight)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_leading_dimensions_and_dtypes_pass_through(dtype):
    weight, x = torch.randn(96, 64), torch.randn(2, 3, 64)
    packed = PackedLinear(weight, dtype=dtype)
    assert packed(x).shape == (2, 3, 96)
    assert packed(x.bfloat16()).dtype == torch.bfloat16


@packed_only
def test_sequences_do_not_see_each_other():
    packed, x = PackedLinear(torch.randn(128, 64), dtype="fp32"), torch.randn(7, 64)
    alone = torch.cat([packed(row[None]) for row in x])
    torch.testing.assert_close(packed(x), alone, rtol=1e-5, atol=1e-5)


@packed_only
def test_packing_and_unpacking_are_inverse():
    weight = torch.randn(100, 64)
    panels, scales = linear.pack(weight, "fp32")
    assert scales is None
    assert torch.equal(linear.unpack(panels, 100), weight)


@packed_only
def test_stored_bytes_are_the_bits_that_were_promised():
    weight = torch.randn(256, 512)
    bits = {dtype: PackedLinear(weight, dtype=dtype).stored_bytes * 8 / weight.numel() for dtype in formats("cpu")}
    assert bits == {"fp32": 32, "bf16": 16, "int8": 8 + 32 / 512, "int4": 4 + 16 / SCALE_GROUP}


@packed_only
def test_int8_is_off_by_half_a_level_at_the_most():
    weight = torch.randn(64, 128)
    levels = PackedLinear(weight, dtype="int8")(torch.eye(128)).T  # the weights themselves, read back
    level = weight.abs().amax(dim=1, keepdim=True) / 127
    assert ((levels - weight).abs() <= level * 0.5001).all()


@packed_only
def test_a_twin_has_the_same_values_in_other_memory():
    packed = PackedLinear(torch.randn(64, 64), dtype="int4")
    twin, x = packed.twin(), torch.randn(2, 64)
    assert twin.weight.data_ptr() != packed.weight.data_ptr()
    assert torch.equal(twin(x), packed(x))


@packed_only
def test_the_number_of_threads_changes_nothing():
    packed, x, before = PackedLinear(torch.randn(1000, 64), dtype="fp32"), torch.randn(3, 64), torch.get_num_threads()
    several = packed(x)
    torch.set_num_threads(1)
    try:
        assert torch.equal(packed(x), several)
    finally:
        torch.set_num_threads(before)


def test_every_size_of_group_covers_its_batch():
    for batch_size in range(1, 200):
        n_groups, group = panels.grouping(batch_size)
        assert group <= panels.register_tile()[2]
        assert batch_size <= n_groups * group < batch_size + n_groups


def test_an_unknown_dtype_and_a_wrong_width_get_a_sentence():
    with pytest.raises(BytebillError, match="no weight dtype 'fp7'"):
        PackedLinear(torch.randn(4, 4), dtype="fp7")
    with pytest.raises(BytebillError, match="int8 weights have no kernel on cuda"):
        linear.path("int8", "cuda")
    if panels.available():
        with pytest.raises(BytebillError, match="groups of 64"):
            PackedLinear(torch.randn(64, 100), dtype="int4")


@packed_only
def test_a_narrow_weight_goes_by_its_kernel_even_where_a_plain_one_would_be_left_to_torch():
    weight, x = torch.randn(64, 64), torch.randn(2, 64)
    assert PackedLinear(weight, dtype="fp32", packs=False).path == "torch"
    assert torch.equal(PackedLinear(weight, dtype="int8", packs=False)(x), PackedLinear(weight, dtype="int8")(x))
    with pytest.raises(BytebillError, match="no weight dtype 'fp7'"):
        PackedLinear(weight, dtype="fp7", packs=False)


def test_without_the_kernels_it_is_torch(monkeypatch):
    monkeypatch.setattr(panels, "available", lambda: False)
    weight, x = torch.randn(10, 20), torch.randn(3, 20)
    packed = PackedLinear(weight, dtype="fp32")
    assert packed.path == "torch"
    assert torch.equal(packed(x), functional.linear(x, weight))


def test_oneDNN_is_used_only_where_it_agrees():  # noqa: N802 - its own name
    if linear.onednn_from() > 40:
        pytest.skip("oneDNN's packed bf16 matmul is not the faster one here")
    weight, x = torch.randn(128, 64), torch.randn(40, 64)
    assert relative_error(PackedLinear(weight, dtype="bf16")(x), functional.linear(x, weight)) < 1e-2


@pytest.mark.parametrize("has", [True, False])
def test_bf16_is_multiplied_the_same_with_and_without_instructions_for_it(has, monkeypatch):
    """A CPU that does not multiply bf16 widens both sides: the sum is rounded once, as instructions do it."""
    monkeypatch.setattr(products, "has_bf16", lambda: has)
    x, weight = torch.randn(3, 5, 64).bfloat16(), torch.randn(7, 64).bfloat16()
    exact = x.double() @ weight.double().T
    for y in (products.multiplied(x, weight), products.bmm(x, weight.T.expand(3, -1, -1))):
        assert y.dtype is torch.bfloat16
        assert (y.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_only_bf16_on_a_cpu_is_widened(monkeypatch):
    monkeypatch.setattr(products, "has_bf16", lambda: False)
    wide, x = torch.randn(2, 3, 4), torch.randn(2, 4, 3)
    assert torch.equal(products.bmm(wide, x), torch.bmm(wide, x))
    on_meta = torch.empty(2, 3, 4, dtype=torch.bfloat16, device="meta")
    assert products.bmm(on_meta, on_meta.mT).dtype is torch.bfloat16


def test_the_batch_of_onednn_is_the_first_from_which_it_stays_faster(monkeypatch):
    """Faster at 25 but not at 49: from 97 on. Faster nowhere, or not there at all: never."""
    wins = {25, 97}
    monkeypatch.setattr(linear, "_onednn_agrees", lambda: True)
    monkeypatch.setattr(
        linear, "_fastest_s", lambda call, x: 2.0 if call.__name__ == "by_panels" else 3.0 - 2.0 * (x.shape[0] in wins)
    )
    assert linear.onednn_from.__wrapped__() == 97
    wins.clear()
    assert linear.onednn_from.__wrapped__() == float("inf")
    monkeypatch.setattr(linear, "_onednn_agrees", lambda: False)
    wins.update((7, 13, 25, 49, 97))
    assert linear.onednn_from.__wrapped__() == float("inf")


def test_the_peak_of_bf16_is_not_sought_where_torch_would_take_minutes(monkeypatch):
    monkeypatch.setattr(products, "has_bf16", lambda: False)
    monkeypatch.setattr(ceilings, "_MATMUL_SIZE", {"cpu": 128})
    tried = []
    monkeypatch.setattr(ceilings, "in_turns", lambda calls, *_, **__: tried.append(set(calls)) or timing_of(calls))
    for dtype in ("bf16", "fp32"):
        ceilings.peak_flops_per_s(pick("cpu"), dtype=dtype)
    assert tried == [{"packed"}, {"packed", "torch"}]


def timing_of(calls):
    return {name: Timing(samples_s=(1.0,)) for name in calls}
