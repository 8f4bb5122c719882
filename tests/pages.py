"""Batches made by hand, for tests of what learns and keeps them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from promo.batch import Batch, Rejected


def batch(page, network_ability, competence, promoted, ids=None, rejected=()):
    """Return a batch of these rows; ids go on from ten to a page unless given."""
    n = len(network_ability)
    start = page * 10
    return Batch(
        page,
        np.array(range(start, start + n) if ids is None else ids, np.int64),
        np.array(network_ability, np.float64),
        np.array(competence, np.float64),
        np.array(promoted, np.bool_),
        np.arange(n),
        tuple(rejected),
        f"digest-{page}",
    )


def bad(position):
    """Return a rejected row at a position of its page."""
    return Rejected(position, "not an employee", "null")


def employees(rows, seed=0, slope=0.0):
    """Return network ability, competence and promoted of a collider world, shapes (n,)."""
    random = np.random.default_rng(seed)
    competence = random.normal(size=rows)
    network_ability = slope * competence + random.normal(size=rows)
    promoted = random.random(rows) < 1 / (1 + np.exp(-network_ability - competence))
    return network_ability, competence, promoted


def split(columns, cuts):
    """Cut columns at ascending positions into batches, page by page; empty ones are allowed."""
    bounds = [0, *cuts, len(columns[0])]
    return [
        batch(page, *(c[low:high] for c in columns), ids=range(low, high))
        for page, (low, high) in enumerate(pairwise(bounds))
    ]


def pages_of(columns, size=10):
    """Cut columns into batches of one size."""
    return split(columns, range(size, len(columns[0]), size))


def cuts(rows, most=12):
    """Strategy: where to cut `rows` rows into batches, empty ones included."""
    return st.lists(st.integers(0, rows), max_size=most).map(sorted)
