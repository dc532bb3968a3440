"""The norm in one call gives what its formula says, for every width, dtype and number of rows."""

from __future__ import annotations

import pytest
import torch

from bytebill.engine.kernels import openmp
from bytebill.engine.kernels.norm import RMSNorm, norm

needs_kernels = pytest.mark.skipif(not openmp.available(), reason="no compiled kernels here")


def exact(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    x, weight = x.double(), weight.double()
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


@needs_kernels
@pytest.mark.parametrize("n_rows", [1, 3, 16, 17, 100])
@pytest.mark.parametrize("width", [8, 64, 576, 2048])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
def test_a_row_comes_out_at_unit_mean_square_times_its_weight(
    dtype: torch.dtype, rtol: float, width: int, n_rows: int
) -> None:
    x, weight = (torch.randn(n_rows, width) * 30).to(dtype), torch.randn(width).to(dtype)
    kernel = norm(weight, eps=1e-5)
    assert kernel is not None
    found = kernel(x)
    assert found.dtype == dtype and found.shape == x.shape
    torch.testing.assert_close(found.double(), exact(x, weight, 1e-5), rtol=rtol, atol=rtol)


@needs_kernels
def test_rows_that_are_not_contiguous_are_read_as_they_stand() -> None:
    wide, weight = torch.randn(5, 128), torch.randn(64)
    kernel = norm(weight, eps=1e-6)
    assert kernel is not None
    assert torch.equal(kernel(wide[:, ::2]), kernel(wide[:, ::2].contiguous()))


def test_where_no_kernel_serves_torch_gives_the_same() -> None:
    assert norm(torch.randn(20)[:10], eps=1e-5) is None  # ten values are no whole number of vectors
    x, weight = torch.randn(4, 10), torch.randn(10)
    torch.testing.assert_close(RMSNorm(weight, eps=1e-5)(x).double(), exact(x, weight, 1e-5), rtol=1e-5, atol=1e-6)


@needs_kernels
def test_rows_of_another_width_are_refused() -> None:
    kernel = norm(torch.ones(64), eps=1e-6)
    assert kernel is not None
    with pytest.raises(ValueError, match="norm of 64 values was given rows of 72"):
        kernel(torch.ones(2, 72))
