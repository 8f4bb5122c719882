"""Symmetric matrices, and tensors of the third order: made so in spite of rounding, and packed.

Shapes are (m, k, k) and (m, k, k, k): one for each of m models.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement, permutations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def even(matrices: Floats) -> Floats:
    """Return matrices as symmetric as they would be without rounding."""
    return (matrices + matrices.transpose(0, 2, 1)) / 2


def symmetric(tensors: Floats) -> Floats:
    """Return tensors as symmetric as they would be without rounding."""
    orders = [(0, *[1 + at for at in order]) for order in permutations(range(3))]
    return sum((tensors.transpose(order) for order in orders), np.zeros_like(tensors)) / 6


def packed(third: Floats) -> Floats:
    """Return what differs in symmetric tensors of shape (m, k, k, k): (m, k+2 choose 3)."""
    first, second, last = _triples(third.shape[1])
    apart: Floats = third[:, first, second, last]
    return apart


def unpacked(apart: Floats, k: int) -> Floats:
    """Return the tensors that `packed` made that of; ValueError for another k."""
    if apart.shape[1:] != (len(_triples(k)[0]),):
        raise ValueError(f"third derivatives of shape {apart.shape}, for {k} regressors")
    third: Floats = apart[:, _places(k)]
    return third


@cache
def _triples(k: int) -> tuple[NDArray[np.intp], ...]:
    """Return three of k indices in ascending order, all there are, one array for each of them."""
    return tuple(np.array([*combinations_with_replacement(range(k), 3)]).T)


@cache
def _places(k: int) -> NDArray[np.intp]:
    """Return where among `_triples` any three indices are found once in order."""
    found = np.empty((k, k, k), np.intp)
    for order in permutations(_triples(k)):
        found[order] = np.arange(len(order[0]))
    return found
