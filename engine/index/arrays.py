"""Names for the array types of the index: the dtype is in the type, the shape in the docstring."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
"""Vectors as they are stored and given: float32."""

Doubles: TypeAlias = NDArray[np.float64]
"""Distances, norms and bounds: float64."""

Bytes: TypeAlias = NDArray[np.int8]
"""Quantised vectors: integers from -127 to 127."""

Vids: TypeAlias = NDArray[np.int64]
"""Row version numbers."""

Crcs: TypeAlias = NDArray[np.uint32]
"""Row checksums."""

Mask: TypeAlias = NDArray[np.bool_]
"""One truth per row."""

Indices: TypeAlias = NDArray[np.intp]
"""Positions in another array."""

Labels: TypeAlias = NDArray[np.int32]
"""Numbers of centroids."""
