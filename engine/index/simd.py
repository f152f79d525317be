"""Products of int8 codes in machine instructions, for numba's kernels; imported only with numba.

LLVM makes of the plain loop 14 ns a row of 256 codes that lie in the cache; with `vpmaddubsw`,
which multiplies 32 pairs at a time, it is 7 ns.  That instruction takes unsigned by signed bytes
and adds two products in 16 bits, so the signs of the query go to the codes: |b| times sign(b) a.
Two products of at most 127 * 127 stay below 2^15, and nothing saturates.  Where the processor has
no AVX2 the plain loop is compiled.

Rows come one after another: four rows at a time share the loads of the query, but in memory the
streams get into each other's way, and the row takes up to twice as long.

numba stores what it compiles by the file of the function that is called: after a change here
`fused.py` must change too, or the old code is found again.
"""

from typing import Any, Final

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

STEP: Final = 32
"""Codes multiplied at a time; queries are padded with zeros to a multiple."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
CODES, PAIRS, SUMS = ir.VectorType(I8, 32), ir.VectorType(I16, 16), ir.VectorType(I32, 8)


def _pointer_to(kind: Any) -> Any:
    """An intrinsic that takes an address, int64, for a pointer to values of a kind."""

    @intrinsic
    def pointer(_: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), code

    return pointer


bytes_at: Final = _pointer_to(types.int8)
floats_at: Final = _pointer_to(types.float32)
doubles_at: Final = _pointer_to(types.float64)
integers_at: Final = _pointer_to(types.int64)


@intrinsic
def prefetch(_: Any, address: Any) -> Any:
    """Have the line at an address brought into the cache; any address will do."""

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        pointer = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        reading, keeping, data = (ir.Constant(I32, value) for value in (0, 3, 1))
        builder.call(fetch, [builder.inttoptr(args[0], pointer), reading, keeping, data])
        return ir.Constant(I64, 0)

    return types.int64(types.int64), code


@intrinsic
def _dot_avx2(_: Any, codes: Any, query: Any, magnitudes: Any, count: Any) -> Any:
    """The product of codes with a query, and its magnitudes, all three addresses.

    `count` is of steps; what lies behind the codes is read, and multiplied with zeros.
    """

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return _multiplied(builder, *args)

    return types.int32(*[types.int64] * 4), code


def _multiplied(builder: Any, codes: Any, query: Any, magnitudes: Any, count: Any) -> Any:
    nothing = ir.Constant(SUMS, [0] * 8)
    total = cgutils.alloca_once(builder, SUMS)
    builder.store(nothing, total)
    with cgutils.for_range(builder, count, intp=I64) as loop:
        offset = builder.mul(loop.index, ir.Constant(I64, STEP))
        row, signs, sizes = (
            _loaded(builder, builder.add(start, offset)) for start in (codes, query, magnitudes)
        )
        signed = _called(builder, "llvm.x86.avx2.psign.b", CODES, row, signs)
        pairs = _called(builder, "llvm.x86.avx2.pmadd.ub.sw", PAIRS, sizes, signed)
        ones = ir.Constant(PAIRS, [1] * 16)
        sums = _called(builder, "llvm.x86.avx2.pmadd.wd", SUMS, pairs, ones)
        builder.store(builder.add(builder.load(total), sums), total)
    return _called(builder, "llvm.vector.reduce.add.v8i32", I32, builder.load(total))


def _loaded(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, CODES.as_pointer()), align=1)


def _called(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@njit(nogil=True)
def plain_dot(codes: int, query: int, dims: int) -> int:
    """The product of codes and a query, both addresses: one by one, where no step fits."""
    row, other = bytes_at(codes), bytes_at(query)
    total = 0
    for at in range(dims):
        total += row[at] * other[at]
    return total


HAS_AVX2: Final = bool(binding.get_host_cpu_features().get("avx2"))

if HAS_AVX2:

    @njit(nogil=True)
    def dot(codes: int, query: int, magnitudes: int, steps: int) -> int:
        """The product of codes with a padded query; reads whole steps."""
        return _dot_avx2(codes, query, magnitudes, steps)

else:

    @njit(nogil=True)
    def dot(codes: int, query: int, magnitudes: int, steps: int) -> int:
        """The product of codes with a padded query; reads whole steps."""
        return plain_dot(codes, query, steps * STEP)
