"""Vector registers for numba: a type of `lanes` floats and the handful of operations the kernels need.

numba compiles loops over scalars and leaves vectors to LLVM's vectoriser, which does not find the register
blocking that a memory-bound matmul wants. Here each operation is one LLVM instruction on <lanes x float>;
addresses are plain integers. `simd_math` adds what attention and norms need.
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
        return builder.sitofp(builder.sub(nibble, integers(8)), floats)

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
