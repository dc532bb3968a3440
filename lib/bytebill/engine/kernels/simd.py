"""Vector registers for numba: a type of `lanes` floats and the handful of operations the kernels need.

numba compiles loops over scalars and leaves vectors to LLVM's vectoriser, which does not find the register
blocking that a memory-bound matmul wants. Here each operation is one LLVM instruction on <lanes x float>;
addresses are plain integers, and numba's float64 stands for one number. `matmul_operations` are a matmul's;
`operations` adds what attention, norms and gates need: exp, sums over lanes, bf16 stores.

    exp(x) = 2^n * e^r        n = round(x / ln 2), r = x - n ln 2, |r| <= ln(2) / 2: a polynomial of degree 7

Within 2e-7 of e^x, relatively, for x from -87 to 88; beyond, the value there. Ignores doubles and masked loads.
"""

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

FLOAT, I8, I16, I32 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32)
Emit = Callable[..., Any]  # (builder, *values) -> value
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


class Vector(types.Type):
    """numba's type of a register of `lanes` floats."""

    def __init__(self, lanes: int) -> None:
        super().__init__(name=f"float32x{lanes}")
        self.lanes = lanes


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(FLOAT, vector.lanes))


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """Emit x * y + z, rounded once."""
    kind = ir.FunctionType(x.type, [x.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{x.type.count}f32")
    return builder.call(function, (x, y, z))


def many(element: ir.Type, value: float, lanes: int) -> ir.Constant:
    """One number in every lane."""
    return ir.Constant(ir.VectorType(element, lanes), [value] * lanes)


def spread(builder: Any, number: Any, lanes: int) -> Any:
    """Emit one number into every lane."""
    undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, number, I32(0))
    return builder.shuffle_vector(first, undefined, many(I32, 0, lanes))


def load(builder: Any, address: Any, kind: ir.Type, align: int) -> Any:
    """Emit the value of a type at an address."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def store(builder: Any, address: Any, value: Any, align: int) -> None:
    """Emit a value to an address."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def operation(result: Any, arguments: tuple[Any, ...], emit: Emit) -> Any:
    """An intrinsic whose code `emit` writes."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = emit(builder, *values)
        return context.get_dummy_value() if result is types.void else value

    typed = (result(*arguments), code)
    by_arity = (  # numba counts the arguments of what it is given
        lambda context: typed,
        lambda context, x: typed,
        lambda context, x, y: typed,
        lambda context, x, y, z: typed,
    )
    return intrinsic(by_arity[len(arguments)])


def _add_to(builder: Any, address: Any, x: Any, accumulate: Any) -> None:
    with builder.if_else(accumulate) as (again, first):
        with again:
            store(builder, address, builder.fadd(load(builder, address, x.type, 4), x), 4)
        with first:
            store(builder, address, x, 4)


@functools.cache
def matmul_operations(lanes: int) -> dict[str, Any]:
    """The operations by name, for vectors of `lanes` floats; `add_to(address, x, accumulate)` is *address = x, or += x
    where `accumulate`."""
    vector, address = Vector(lanes), types.int64
    floats, integers = ir.VectorType(FLOAT, lanes), functools.partial(many, I32, lanes=lanes)

    def widened(builder: Any, at: Any, element: ir.Type, width_bytes: int) -> Any:
        return load(builder, at, ir.VectorType(element, lanes), width_bytes)

    def bf16(builder: Any, at: Any) -> Any:
        wide = builder.zext(widened(builder, at, I16, 2), ir.VectorType(I32, lanes))
        return builder.bitcast(builder.shl(wide, integers(16)), floats)

    def int8(builder: Any, at: Any) -> Any:
        return builder.sitofp(builder.sext(widened(builder, at, I8, 1), ir.VectorType(I32, lanes)), floats)

    def nibbles(builder: Any, at: Any, shift: Any) -> Any:
        wide = builder.zext(widened(builder, at, I8, 1), ir.VectorType(I32, lanes))
        nibble = builder.and_(builder.lshr(wide, spread(builder, builder.trunc(shift, I32), lanes)), integers(15))
        return builder.sitofp(nibble, floats)

    return {
        "load_fp32": operation(vector, (address,), lambda b, at: load(b, at, floats, 4)),
        "load_bf16": operation(vector, (address,), bf16),
        "load_int8": operation(vector, (address,), int8),
        "load_nibbles": operation(vector, (address, types.int64), nibbles),
        "broadcast": operation(vector, (address,), lambda b, at: spread(b, load(b, at, FLOAT, 4), lanes)),
        "zero": operation(vector, (), lambda b: many(FLOAT, 0.0, lanes)),
        "fma": operation(vector, (vector,) * 3, multiply_add),
        "mul": operation(vector, (vector,) * 2, lambda b, x, y: b.fmul(x, y)),
        "add_to": operation(types.void, (address, vector, types.boolean), _add_to),
    }


def _exp(lanes: int) -> Emit:
    floats = functools.partial(many, FLOAT, lanes=lanes)

    def emit(builder: Any, x: Any) -> Any:
        x = builder.select(builder.fcmp_ordered("<", x, floats(-87.0)), floats(-87.0), x)  # nan stays nan
        x = builder.select(builder.fcmp_ordered(">", x, floats(88.0)), floats(88.0), x)
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


def _either(builder: Any, x: Any, y: Any) -> Any:
    """The bits of both: no arithmetic, so that any bytes pass."""
    bits = ir.VectorType(I32, x.type.count)
    return builder.bitcast(builder.or_(builder.bitcast(x, bits), builder.bitcast(y, bits)), x.type)


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
        "either": operation(vector, (vector, vector), _either),
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
