"""What comes of looking often: many streams without an effect, and who cries wolf when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from promo.models import anytime


class Peeking(NamedTuple):
    """Shares of streams in which zero has been excluded at some look so far, each in 0..1.

    All of shape (looks,): rows at each look, the share by the fixed-n interval, the share by the
    confidence sequence.
    """

    rows: NDArray[np.int64]
    fixed: NDArray[np.float64]
    anytime: NDArray[np.float64]


def peek(
    streams: int = 400,
    rows: int = 5000,
    every: int = 10,
    *,
    alpha: float = anytime.ALPHA,
    g: float = anytime.G,
    seed: int = 0,
) -> Peeking:
    """Regress one of two unrelated normal variables on the other, in many streams at once.

    Parameters
    ----------
    streams, rows
        How many streams, and how long each is.
    every
        Rows between two looks, at least 3.
    alpha, g
        As in `promo.models.anytime`.
    seed
        Of the streams.

    Examples
    --------
    >>> seen = peek(streams=200, rows=1000, seed=1)
    >>> bool(seen.fixed[-1] > 0.2), bool(seen.anytime[-1] < 0.1)
    (True, True)
    """
    rng = np.random.default_rng(seed)
    sums = np.zeros((5, streams))  # of x, y, xx, xy, yy
    looks = np.arange(every, rows + 1, every)
    wolf = np.zeros((2, streams), np.bool_)
    shares = np.empty((2, len(looks)))
    one_look = stdtrit(looks - 2, 1 - alpha / 2)
    all_looks = anytime.radius(looks - 2, looks, alpha, g)
    for at, n in enumerate(looks.tolist()):
        x, y = rng.standard_normal((2, every, streams))
        sums += np.stack([x, y, x * x, x * y, y * y]).sum(axis=1)
        mean_x, mean_y = sums[0] / n, sums[1] / n
        xx, xy, yy = (
            sums[2] - sums[0] * mean_x,
            sums[3] - sums[0] * mean_y,
            sums[4] - sums[1] * mean_y,
        )
        t = xy * np.sqrt((n - 2) / (xx * yy - xy * xy))
        wolf |= np.abs(t) > np.array([[one_look[at]], [all_looks[at]]])
        shares[:, at] = wolf.mean(axis=1)
    return Peeking(looks, *shares)
