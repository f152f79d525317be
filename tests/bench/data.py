"""The WordNet x WordLlama set: real text, real embeddings, nothing to sign up for.

    wordnet-base (Debian)  --117,659 glosses-->  WordLlama, 256 dims, unit vectors
                                                  |
                          500 seeded glosses held out as queries, 117,159 rows remain

It is made on demand, in about half a minute, into a cache folder
($CENTROIDB_CACHE, else centroidb in the user's cache folder), and only read
from there afterwards. The exact neighbours are cached beside it.

WordNet 3.0 is copyright Princeton University, under its own free licence;
WordLlama is MIT.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centroidb.engine.index.library import cache_folder

DIM = 256
QUERIES = 500
SEED = 20_250_101
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
KEY_STRIDE = 10**8
"""Offsets repeat across parts of speech: key = (1 + place in PARTS_OF_SPEECH) * stride + offset."""

TRUTH_MARGIN = 64
"""How many more candidates than k are looked at again, one by one."""


class MissingError(RuntimeError):
    """The set can not be made on this machine; the message says what to install."""


@dataclass(frozen=True)
class Corpus:
    """The rows to load and the queries that were held out of them."""

    keys: NDArray[np.int64]
    """(n,), unique, ascending."""
    vectors: NDArray[np.float32]
    """(n, 256), unit length."""
    payloads: list[dict[str, Any]]
    """lemma, part_of_speech, lexicographer_file, gloss."""
    queries: NDArray[np.float32]
    """(500, 256), unit length."""

    def head(self, share: float) -> "Corpus":
        """With a share of the rows."""
        rows = int(len(self.keys) * share)
        return replace(
            self,
            keys=self.keys[:rows],
            vectors=self.vectors[:rows],
            payloads=self.payloads[:rows],
        )


def load() -> Corpus:
    """The set, from the cache; made first if it is not there.

    Raises:
        MissingError: apt-get, dpkg-deb or wordllama is missing, or nothing can be downloaded.
    """
    folder = cached("wordnet-wordllama-1", make)
    keys = np.load(folder / "keys.npy")
    vectors = np.load(folder / "vectors.npy")
    payloads = json.loads((folder / "payloads.json").read_text(encoding="utf-8"))
    held_out = np.zeros(len(keys), bool)
    held_out[np.random.default_rng(SEED).choice(len(keys), QUERIES, replace=False)] = True
    kept = np.flatnonzero(~held_out)
    return Corpus(
        keys[kept], vectors[kept], [payloads[row] for row in kept.tolist()], vectors[held_out]
    )


def ground_truth(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest rows of each query by Euclidean distance, exact, from the cache if known.

    Returns row numbers (q, k) and distances (q, k), ordered by distance, then row.
    """
    digest = hashlib.blake2b(vectors.tobytes() + queries.tobytes(), digest_size=8).hexdigest()

    def write(folder: Path) -> None:
        rows, distances = nearest(vectors, queries, k)
        np.savez(folder / "truth.npz", rows=rows, distances=distances)

    with np.load(cached(f"truth-{digest}-{k}", write) / "truth.npz") as truth:
        return truth["rows"], truth["distances"]


def nearest(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The same without the cache: candidates by a float64 product, order by the difference form."""
    exact = vectors.astype(np.float64)
    squares = np.vecdot(exact, exact)
    found = [nearest_to(query, exact, squares, k) for query in queries.astype(np.float64)]
    return np.stack([rows for rows, _ in found]), np.stack([distances for _, distances in found])


def nearest_to(
    query: NDArray[np.float64], exact: NDArray[np.float64], squares: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest rows of one query and their distances."""
    estimates = squares - 2 * (exact @ query) + query @ query
    last = min(k + TRUTH_MARGIN, len(exact)) - 1
    candidates = np.sort(np.argpartition(estimates, last)[: last + 1])
    distances = np.sqrt(np.square(exact[candidates] - query).sum(axis=1))
    order = np.argsort(distances, kind="stable")[:k]
    slack = 1e-9 * (squares.max() + query @ query)
    beyond = np.partition(estimates, last)[last]
    if last + 1 < len(exact) and distances[order[-1]] ** 2 + slack >= beyond:
        raise ValueError(f"more than {TRUTH_MARGIN} rows tie for place {k}: raise TRUTH_MARGIN")
    return candidates[order].astype(np.int64), distances[order]


def cached(name: str, make_into: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, filled first if need be, whole or not at all."""
    folder = cache_folder() / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            make_into(made)
            made.rename(folder)
    return folder


def make(folder: Path) -> None:
    """Download the text, embed it, and write keys, vectors and payloads."""
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = unpack("wordnet-base", Path(scratch))
        synsets = list(read_synsets(unpacked / "usr" / "share" / "wordnet"))
    keys = np.array([key for key, _ in synsets], np.int64)
    payloads = [payload for _, payload in synsets]
    np.save(folder / "keys.npy", keys)
    np.save(folder / "vectors.npy", embed([payload["gloss"] for payload in payloads]))
    (folder / "payloads.json").write_text(json.dumps(payloads), encoding="utf-8")


def unpack(package: str, scratch: Path) -> Path:
    """The folder that Debian's package is unpacked in, which needs no root."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise MissingError(f"{tool} is missing: the data comes from Debian's {package}")
    download = subprocess.run(
        ["apt-get", "download", package], cwd=scratch, capture_output=True, text=True
    )
    packages = list(scratch.glob(f"{package}_*.deb"))
    if download.returncode or not packages:
        raise MissingError(f"apt-get could not download {package}: {download.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(scratch)], check=True)
    return scratch


def read_synsets(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Key and payload of every synset, keys ascending.

    A line is `offset lexicographer_file type word_count(hex) word lex_id ... | gloss`;
    the licence before them is indented.
    """
    for number, part_of_speech in enumerate(PARTS_OF_SPEECH, 1):
        text = (folder / f"data.{part_of_speech}").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith(" "):
                continue
            fields, _, gloss = line.partition(" | ")
            offset, lexicographer_file, _, _, lemma, *_ = fields.split(" ")
            payload = {
                "lemma": lemma.replace("_", " "),
                "part_of_speech": part_of_speech,
                "lexicographer_file": int(lexicographer_file),
                "gloss": gloss.strip(),
            }
            yield number * KEY_STRIDE + int(offset), payload


def embed(texts: list[str]) -> NDArray[np.float32]:
    """Unit vectors (n, 256) of the texts by WordLlama's bundled model."""
    try:
        import wordllama
    except ImportError as error:
        raise MissingError("wordllama is missing: pip install 'centroidb[bench]'") from error
    # Its loader looks for the tokenizer in a folder of another name than the one it ships,
    # then tries to download; told to use its own folder as the cache, it finds the file.
    package = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True, dim=DIM)
    return np.ascontiguousarray(model.embed(texts, norm=True), np.float32)
