"""Vector registers for numba: a type of `lanes` floats and the handful of operations the kernels need.

numba compiles loops over scalars and leaves vectors to LLVM's vectoriser, which does not find the register
blocking that a memory-bound matmul wants. Here each operation is one LLVM instruction on <lanes x float>;
addresses are plain integers. `simd_math` adds what attention and norms need.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

FLOAT, I8, I16, I32 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32)


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


@functools.cache
def matmul_operations(lanes: int) -> dict[str, Any]:
    """The operations by name, for vectors of `lanes` floats."""
    vector, of = Vector(lanes), lambda element: ir.VectorType(element, lanes)

    def constant(element: ir.Type, value: float) -> ir.Constant:
        return ir.Constant(of(element), [value] * lanes)

    def read(builder: Any, address: Any, element: ir.Type, width_bytes: int) -> Any:
        return builder.load(builder.inttoptr(address, of(element).as_pointer()), align=width_bytes)

    def loader(convert: Any) -> Any:
        """An intrinsic address -> vector; `convert` emits its code."""

        @intrinsic
        def load(context: Any, address: Any) -> Any:
            return vector(types.int64), lambda ctx, builder, sig, args: convert(builder, args[0])

        return load

    def bf16(builder: Any, address: Any) -> Any:
        wide = builder.zext(read(builder, address, I16, 2), of(I32))
        return builder.bitcast(builder.shl(wide, constant(I32, 16)), of(FLOAT))

    def int8(builder: Any, address: Any) -> Any:
        return builder.sitofp(builder.sext(read(builder, address, I8, 1), of(I32)), of(FLOAT))

    def spread(builder: Any, address: Any) -> Any:
        scalar = builder.load(builder.inttoptr(address, FLOAT.as_pointer()), align=4)
        undefined = ir.Constant(of(FLOAT), ir.Undefined)
        first = builder.insert_element(undefined, scalar, I32(0))
        return builder.shuffle_vector(first, undefined, constant(I32, 0))

    @intrinsic
    def load_nibbles(context: Any, address: Any, shift: Any) -> Any:
        def code(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            wide = builder.zext(read(builder, args[0], I8, 1), of(I32))
            amount = builder.trunc(args[1], I32) if args[1].type.width > 32 else args[1]
            undefined = ir.Constant(of(I32), ir.Undefined)
            many = builder.shuffle_vector(
                builder.insert_element(undefined, amount, I32(0)), undefined, constant(I32, 0)
            )
            nibble = builder.and_(builder.lshr(wide, many), constant(I32, 15))
            return builder.sitofp(builder.sub(nibble, constant(I32, 8)), of(FLOAT))

        return vector(types.int64, types.int64), code

    @intrinsic
    def zero(context: Any) -> Any:
        return vector(), lambda ctx, builder, sig, args: constant(FLOAT, 0.0)

    @intrinsic
    def fma(context: Any, x: Any, y: Any, z: Any) -> Any:
        def code(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            return multiply_add(builder, *args)

        return vector(vector, vector, vector), code

    @intrinsic
    def mul(context: Any, x: Any, y: Any) -> Any:
        return vector(vector, vector), lambda ctx, builder, sig, args: builder.fmul(*args)

    @intrinsic
    def add_to(context: Any, address: Any, x: Any, accumulate: Any) -> Any:
        """*address = x, or *address += x where `accumulate`."""

        def code(ctx: Any, builder: Any, sig: Any, args: Any) -> Any:
            target = builder.inttoptr(args[0], of(FLOAT).as_pointer())
            with builder.if_else(args[2]) as (again, first):
                with again:
                    old = builder.load(target, align=4)
                    builder.store(builder.fadd(old, args[1]), target, align=4)
                with first:
                    builder.store(args[1], target, align=4)
            return ctx.get_dummy_value()

        return types.void(types.int64, vector, types.boolean), code

    return {
        "load_fp32": loader(lambda builder, address: read(builder, address, FLOAT, 4)),
        "load_bf16": loader(bf16),
        "load_int8": loader(int8),
        "load_nibbles": load_nibbles,
        "broadcast": loader(spread),
        "zero": zero,
        "fma": fma,
        "mul": mul,
        "add_to": add_to,
    }
