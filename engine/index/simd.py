"""Products of int8 codes in machine instructions, for numba's kernels; imported as `fused` is.

    AVX-512 VNNI   `vpdpbusd`     64 pairs at a time, summed by fours in 32 bits
    AVX2           `vpmaddubsw`   32 pairs at a time, summed by twos in 16 bits, then `vpmaddwd`
    neither        the plain loop, as LLVM compiles it

Both instructions take unsigned by signed bytes.  `vpdpbusd` gets codes plus 128, and 128 times the
sum of the query is taken off in the end.  `vpmaddubsw` would leave its 16 bits that way, so there
the signs of the query go to the codes: |b| times sign(b) a.  Two products of at most 127 * 127 stay
below 2^15, and nothing saturates.

Rows come one after another: four rows at a time share the loads of the query, but in memory the
streams get into each other's way, and the row takes up to twice as long.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .native import STEP

compiled = njit(nogil=True, error_model="numpy")
inlined = njit(nogil=True, error_model="numpy", forceinline=True)
summing = njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
"""How kernels are compiled: as they are, into who calls them, and with sums in any order."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
CODES, PAIRS, SUMS = ir.VectorType(I8, 32), ir.VectorType(I16, 16), ir.VectorType(I32, 8)
WIDE_CODES, WIDE_SUMS = ir.VectorType(I8, 64), ir.VectorType(I32, 16)


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
counts_at: Final = _pointer_to(types.int32)


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
def _dot_vnni(_: Any, codes: Any, query: Any, count: Any) -> Any:
    """The product of codes plus 128 with a query, both addresses; as `_dot_avx2`."""

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        total = _summed(builder, WIDE_SUMS, args[2], STEP, partial(_fourfold, builder, *args[:2]))
        return _called(builder, "llvm.vector.reduce.add.v16i32", I32, total)

    return types.int32(*[types.int64] * 3), code


def _fourfold(builder: Any, codes: Any, query: Any, offset: Any, total: Any) -> Any:
    row, signs = (
        loaded(builder, builder.add(start, offset), WIDE_CODES) for start in (codes, query)
    )
    raised = builder.xor(row, ir.Constant(WIDE_CODES, [-128] * STEP))
    fours = [builder.bitcast(each, WIDE_SUMS) for each in (raised, signs)]
    return _called(builder, "llvm.x86.avx512.vpdpbusd.512", WIDE_SUMS, total, *fours)


@intrinsic
def _dot_avx2(_: Any, codes: Any, query: Any, magnitudes: Any, count: Any) -> Any:
    """The product of codes with a query, and its magnitudes, all three addresses.

    `count` is of steps; what lies behind the codes is read, and multiplied with zeros.
    """

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        halves = builder.mul(args[3], ir.Constant(I64, STEP // 32))
        total = _summed(builder, SUMS, halves, 32, partial(_twofold, builder, *args[:3]))
        return _called(builder, "llvm.vector.reduce.add.v8i32", I32, total)

    return types.int32(*[types.int64] * 4), code


def _twofold(builder: Any, codes: Any, query: Any, magnitudes: Any, offset: Any, total: Any) -> Any:
    row, signs, sizes = (
        loaded(builder, builder.add(start, offset), CODES) for start in (codes, query, magnitudes)
    )
    signed = _called(builder, "llvm.x86.avx2.psign.b", CODES, row, signs)
    pairs = _called(builder, "llvm.x86.avx2.pmadd.ub.sw", PAIRS, sizes, signed)
    ones = ir.Constant(PAIRS, [1] * 16)
    sums = _called(builder, "llvm.x86.avx2.pmadd.wd", SUMS, pairs, ones)
    return builder.add(total, sums)


def _summed(builder: Any, kind: Any, count: Any, step: int, added: Callable[..., Any]) -> Any:
    """`added` to a total, `count` times, each at the next offset."""
    total = cgutils.alloca_once(builder, kind)
    builder.store(ir.Constant(kind, [0] * kind.count), total)
    with cgutils.for_range(builder, count, intp=I64) as loop:
        offset = builder.mul(loop.index, ir.Constant(I64, step))
        builder.store(added(offset, builder.load(total)), total)
    return builder.load(total)


def loaded(builder: Any, address: Any, kind: Any) -> Any:
    """Code for the value at an address, of any alignment."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


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


FEATURES: Final = binding.get_host_cpu_features()
HAS_VNNI: Final = bool(FEATURES.get("avx512vnni") and FEATURES.get("avx512bw"))
HAS_AVX2: Final = bool(FEATURES.get("avx2"))

RAISED: Final = 128 if HAS_VNNI else 0
"""What the codes are raised by: so many times the sum of the query is to be taken off a product."""

if HAS_VNNI:

    @njit(nogil=True, forceinline=True)
    def dot(codes: int, query: int, magnitudes: int, steps: int) -> int:
        """The product of raised codes with a padded query; reads whole steps."""
        return _dot_vnni(codes, query, steps)

elif HAS_AVX2:

    @njit(nogil=True, forceinline=True)
    def dot(codes: int, query: int, magnitudes: int, steps: int) -> int:
        """The product of codes with a padded query; reads whole steps."""
        return _dot_avx2(codes, query, magnitudes, steps)

else:

    @njit(nogil=True, forceinline=True)
    def dot(codes: int, query: int, magnitudes: int, steps: int) -> int:
        """The product of codes with a padded query; reads whole steps."""
        return plain_dot(codes, query, steps * STEP)
