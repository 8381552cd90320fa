"""Near-duplicate detection: copies with other sizes, compressions, contrasts or watermarks."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

TOLERANCE: Final = 0.25
"""Largest mean difference of two near duplicates, in standard deviations of the grey levels.

On FER2013 every pair looked at below 0.28 shows one photograph twice; from 0.29 on there are pairs
of two people.
"""

_MAX_BITS = 12
_RUN_BITS = 16
_RUN_STEP = 8
# Number of neighbours compared per run, which bounds the work for large datasets.
_REACH = 64
_CHUNK = 8192


def near_duplicates(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Find the pairs of near duplicates among many images.

    Candidates come from a perceptual hash (the signs of the 64 lowest frequencies of the discrete
    cosine transform), of which any of eight runs of 16 bits must be equal and at most 12 bits may
    differ; so the work stays far below comparing all pairs. Each candidate is then compared on the
    thumbnails themselves, normalised in brightness and contrast, which tells two people's aligned
    faces apart.

    Args:
        thumbnails: ``uint8 [N, 32, 32]``, grey.

    Returns:
        ``int [P, 2]``: indices of the pairs, the smaller one first, each pair once, sorted.
    """
    if len(thumbnails) < 2:
        return np.empty((0, 2), np.intp)
    hashes = _hashes(thumbnails)
    found = [np.empty((0, 2), np.intp)]
    for start in range(0, 64, _RUN_STEP):
        for pairs in _candidates(hashes, start):
            same = _difference(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]) <= TOLERANCE
            found.append(np.sort(pairs[same], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def connected(edges: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Number the connected components of a graph.

    Args:
        edges: ``int [E, 2]``: pairs of nodes.
        count: Number of nodes.

    Returns:
        ``int [count]``: each node's component.
    """
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(count, count))
    component: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1]
    return component


def _hashes(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    side = range(9)
    frequencies = sorted(((y, x) for y in side for x in side), key=sum)[1:65]
    y, x = np.array(frequencies).T
    hashes = []
    for start in range(0, len(thumbnails), _CHUNK):
        spectrum = dctn(thumbnails[start : start + _CHUNK].astype(np.float64), axes=(1, 2))
        bits = np.ascontiguousarray(spectrum[:, y, x] > 0)
        hashes.append(np.packbits(bits, axis=1).view("<u8")[:, 0])
    return np.concatenate(hashes)


def _candidates(hashes: npt.NDArray[np.uint64], start: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield pairs of hashes that agree in the run of bits from ``start`` on and in most others."""
    turned = (hashes << np.uint64(start)) | (hashes >> np.uint64((64 - start) % 64))
    order = np.argsort(turned, kind="stable")
    turned = turned[order]
    run = turned >> np.uint64(64 - _RUN_BITS)
    left = np.arange(len(run))
    # Equal runs are adjacent: compare each with its next neighbours.
    for step in range(1, _REACH + 1):
        left = left[left + step < len(run)]
        left = left[run[left] == run[left + step]]
        if not len(left):
            break
        near = left[np.bitwise_count(turned[left] ^ turned[left + step]) <= _MAX_BITS]
        for part in np.split(near, range(_CHUNK, len(near), _CHUNK)):
            yield np.stack([order[part], order[part + step]], axis=1)


def _difference(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Mean absolute difference of standardised thumbnails, ``float32 [P]``."""
    gap: npt.NDArray[np.float32] = np.abs(_standard(first) - _standard(second)).mean(axis=(1, 2))
    return gap


def _standard(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    grey = thumbnails.astype(np.float32)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    # At least one grey level: a blank image has no contrast.
    grey /= np.maximum(grey.std(axis=(1, 2), keepdims=True), 1)
    return grey
