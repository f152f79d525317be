"""How a segment keeps its vectors: a codec turns them into bytes and back into rows to sieve.

    flat   codes    n x d '<f4': the vectors as given
           bounds   nothing: computed when loaded

    sq8    codes    n x d '<i1': residuals from the centroid in whole steps
           bounds   n x ('<f4' step, '<f4' error norm, '<u4' sum of the squared codes)

A codec only makes the sieve cheaper: what a search returns is measured on the float32 vectors.
The bounds hold a record per row, so a segment can drop rows without coding the others again.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .distance import Metric, index_doubles, row_blocks
from .flat import FloatRows
from .queries import Queries, rounded_up
from .sq8 import Sq8Rows, quantised, steps_of

CodecName: TypeAlias = Literal["flat", "sq8"]


class Asked(Protocol):
    """Queries (q, d) asked about rows (n,) of some pieces.

    The caller fills the products in, piece by piece, and then takes the brackets.
    """

    @property
    def products(self) -> NDArray[np.floating]:
        """(q, n): the products of each row with the kernels for its piece."""
        ...

    def kernels(self, index: int) -> Floats:
        """What to multiply the rows of a piece with: (q, d)."""
        ...

    def brackets(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Lower and upper ends (q, n) of the ranks; uses the products up."""
        ...


class Rows(Protocol):
    """Rows (n,) in memory that a first pass can bracket."""

    @classmethod
    def ask(cls, pieces: Sequence[Self], queries: Queries) -> Asked:
        """Ask queries about all rows of the pieces (at least one), in order."""
        ...

    def multiply(self, kernels: Floats, out: NDArray[np.floating]) -> None:
        """Write the products of kernels (g, d) with the rows to out (g, n)."""
        ...

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the rows take."""
        ...

    def slice(self, start: int, stop: int) -> Self:
        """A view of the rows from start to before stop."""
        ...

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """The rows of all pieces (at least one), in order."""
        ...


class Codec(Protocol):
    """One way to keep vectors."""

    name: CodecName

    def encode(self, metric: Metric, centroid: Floats, vectors: Floats) -> tuple[bytes, bytes]:
        """Codes and bounds of vectors (n, d) as given; the centroid (d,) is in index space."""
        ...

    def decode(self, metric: Metric, centroid: Floats, codes: bytes, bounds: bytes) -> Rows:
        """The rows that `encode` made these bytes of, under the same metric and centroid."""
        ...


class FlatCodec:
    """Float32 vectors as given."""

    name: CodecName = "flat"

    def encode(self, metric: Metric, centroid: Floats, vectors: Floats) -> tuple[bytes, bytes]:
        """See `Codec`; the bounds are empty."""
        del metric, centroid
        return np.ascontiguousarray(vectors, dtype="<f4").tobytes(), b""

    def decode(self, metric: Metric, centroid: Floats, codes: bytes, bounds: bytes) -> FloatRows:
        """See `Codec`."""
        del bounds
        vectors = np.frombuffer(codes, "<f4").reshape(-1, len(centroid))
        return FloatRows.of(metric, vectors)


class Sq8Codec:
    """Int8 residuals from the centroid, with an error norm for each row."""

    name: CodecName = "sq8"
    _BOUND: Final = np.dtype([("step", "<f4"), ("error", "<f4"), ("square", "<u4")])

    def encode(self, metric: Metric, centroid: Floats, vectors: Floats) -> tuple[bytes, bytes]:
        """See `Codec`; one step for all the vectors."""
        codes = np.empty(vectors.shape, "<i1")
        bounds = np.empty(len(vectors), self._BOUND)
        bounds["step"] = step = self._step(metric, centroid, vectors)
        for rows in row_blocks(vectors):
            residuals = index_doubles(metric, vectors[rows]) - centroid
            whole, errors = quantised(metric, residuals, np.full(len(residuals), step))
            if metric == "cosine":
                errors[~vectors[rows].any(axis=1)] = np.inf
            codes[rows] = whole
            bounds["error"][rows] = rounded_up(errors)
            bounds["square"][rows] = np.square(whole).sum(axis=1)
        return codes.tobytes(), bounds.tobytes()

    def decode(self, metric: Metric, centroid: Floats, codes: bytes, bounds: bytes) -> Sq8Rows:
        """See `Codec`."""
        del metric  # the codes are in index space
        records = np.frombuffer(bounds, self._BOUND)
        steps = records["step"].astype(np.float32)
        return Sq8Rows(
            centroid.astype(np.float64),
            np.frombuffer(codes, "<i1").reshape(-1, len(centroid)),
            steps,
            np.square(steps.astype(np.float64)) * records["square"],
            records["error"].astype(np.float32),
        )

    def _step(self, metric: Metric, centroid: Floats, vectors: Floats) -> np.float32:
        largest = np.float32(0)
        for rows in row_blocks(vectors):
            residuals = index_doubles(metric, vectors[rows]) - centroid
            largest = max(largest, np.float32(steps_of(residuals).max()))
        return largest


CODECS: Final[Mapping[CodecName, Codec]] = {"flat": FlatCodec(), "sq8": Sq8Codec()}
