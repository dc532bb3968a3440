"""What attention, norms and gates need of a vector register beyond a matmul: exp, sums over lanes, bf16 stores.

    exp(x) = 2^n * e^r        n = round(x / ln 2), r = x - n ln 2, |r| <= ln(2) / 2: a polynomial of degree 7

Within 2e-7 of e^x, relatively, for x from -87 to 88; beyond, the value there. Same house as `simd`: each
operation is a few LLVM instructions, addresses are plain integers, numba's float64 stands for one number.
"""

import functools
from typing import Any

from llvmlite import ir
from numba import types

from bytebill.engine.kernels.simd import (
    FLOAT,
    I16,
    I32,
    Emit,
    Vector,
    load,
    many,
    matmul_operations,
    multiply_add,
    operation,
    spread,
    store,
)

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; n * high is exact
_ROUND = 12582912.0  # 1.5 * 2^23: a float this large keeps no fraction, and its low bits are the integer
_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
    1.0,
    1.0,
)


def _clamped(builder: Any, x: Any, low: Any, high: Any) -> Any:
    """x between low and high; nan stays nan."""
    x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
    return builder.select(builder.fcmp_ordered(">", x, high), high, x)


def _exp(lanes: int) -> Emit:
    floats = functools.partial(many, FLOAT, lanes=lanes)

    def emit(builder: Any, x: Any) -> Any:
        x = _clamped(builder, x, floats(-87.0), floats(88.0))
        shifted = builder.fadd(builder.fmul(x, floats(1.4426950408889634)), floats(_ROUND))
        n = builder.fsub(shifted, floats(_ROUND))
        r = builder.fsub(builder.fsub(x, builder.fmul(n, floats(_LN2_HIGH))), builder.fmul(n, floats(_LN2_LOW)))
        y = floats(_POLYNOMIAL[0])
        for coefficient in _POLYNOMIAL[1:]:
            y = multiply_add(builder, y, r, floats(coefficient))
        bits = builder.bitcast(shifted, ir.VectorType(I32, lanes))
        exponent = builder.shl(builder.add(bits, many(I32, 127, lanes)), many(I32, 23, lanes))
        return builder.fmul(y, builder.bitcast(exponent, ir.VectorType(FLOAT, lanes)))

    return emit


def _over_lanes(lanes: int, combine: Emit) -> Emit:
    """One number from all lanes, halving again and again."""

    def emit(builder: Any, x: Any) -> Any:
        width = lanes
        while width > 1:
            width //= 2
            low, high = ([*range(start, start + width)] for start in (0, width))
            pick = [ir.Constant(ir.VectorType(I32, width), lane) for lane in (low, high)]
            x = combine(builder, *(builder.shuffle_vector(x, x, lane) for lane in pick))
        return builder.fpext(builder.extract_element(x, I32(0)), ir.DoubleType())

    return emit


def _larger(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def _rounded_to_bf16(lanes: int) -> Emit:
    """The upper halves of the floats, rounded to nearest, ties to even."""
    integers = functools.partial(many, I32, lanes=lanes)

    def emit(builder: Any, x: Any) -> Any:
        bits = builder.bitcast(x, ir.VectorType(I32, lanes))
        odd = builder.and_(builder.lshr(bits, integers(16)), integers(1))
        rounded = builder.add(builder.add(bits, integers(0x7FFF)), odd)
        rounded = builder.select(builder.fcmp_unordered("uno", x, x), integers(0x7FC00000), rounded)
        return builder.trunc(builder.lshr(rounded, integers(16)), ir.VectorType(I16, lanes))

    return emit


@functools.cache
def operations(lanes: int) -> dict[str, Any]:
    """All operations by name, for vectors of `lanes` floats: those of a matmul, and what is added here."""
    vector, address, number = Vector(lanes), types.int64, types.float64
    to_bf16 = _rounded_to_bf16(lanes)
    return matmul_operations(lanes) | {
        "add": operation(vector, (vector, vector), lambda b, x, y: b.fadd(x, y)),
        "sub": operation(vector, (vector, vector), lambda b, x, y: b.fsub(x, y)),
        "div": operation(vector, (vector, vector), lambda b, x, y: b.fdiv(x, y)),
        "larger": operation(vector, (vector, vector), _larger),
        "exp": operation(vector, (vector,), _exp(lanes)),
        "sum_lanes": operation(number, (vector,), _over_lanes(lanes, lambda b, x, y: b.fadd(x, y))),
        "max_lanes": operation(number, (vector,), _over_lanes(lanes, _larger)),
        "spread": operation(vector, (number,), lambda b, x: spread(b, b.fptrunc(x, FLOAT), lanes)),
        "store_fp32": operation(types.void, (address, vector), lambda b, to, x: store(b, to, x, 4)),
        "store_bf16": operation(types.void, (address, vector), lambda b, to, x: store(b, to, to_bf16(b, x), 2)),
        "store_one": operation(types.void, (address, number), lambda b, to, x: store(b, to, b.fptrunc(x, FLOAT), 4)),
        "load_one": operation(number, (address,), lambda b, at: b.fpext(load(b, at, FLOAT, 4), ir.DoubleType())),
        "load_int": operation(types.int64, (address,), lambda b, at: load(b, at, ir.IntType(64), 8)),
    }
