"""Moments of response and regressor up to the fourth order: all that robust errors ask of the rows.

Two accumulators merge like those of `Moments`, of which this is the continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from operator import add

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.models.moments import Moments

_FEW = 24  # rows that are summed sooner one by one than by numpy: ten in a third of its time
_SAFE = 1e100  # scatter below which no fourth power leaves the range


class CoMoments(msgspec.Struct, frozen=True):
    """Moments of two variables u and v, and the higher sums in which u is at most squared.

    Attributes
    ----------
    moments
        Count, means and scatter of (u, v).
    higher
        Sums of u²v, uv², v³, u²v², uv³ and v⁴ about the means; empty once one of them has left
        the range of a double, and from then on.

    References
    ----------
    Pébay (2008). Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments. Sandia report SAND2008-6212.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[1.0, 2.0, 6.0], [0.0, 1.0, 5.0]])
    >>> parts = CoMoments.of(rows[:, :1]) + CoMoments.of(rows[:, 1:])
    >>> parts.higher == CoMoments.of(rows).higher
    True
    """

    moments: Moments
    higher: tuple[float, ...]

    @classmethod
    def of(cls, rows: NDArray[np.float64], origin: Sequence[float] | None = None) -> CoMoments:
        """Accumulate one batch, shape (2, n), about its own means (see `Moments.of`)."""
        if 0 < rows.shape[1] <= _FEW:
            u, v = rows.tolist()
            return _summed(u, v, origin)
        moments, centred = Moments.centred(rows, origin)
        if not moments.n:
            return cls(moments, (0.0,) * 6)
        (uu, _), (_, vv) = moments.scatter
        if uu < _SAFE and vv < _SAFE:  # as always, but for wild rows; the context costs its time
            return cls(moments, _higher(*centred))
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(moments, _higher(*centred))

    def __add__(self, other: CoMoments) -> CoMoments:
        mine, its = self.moments, other.moments
        if not its.n:
            return self
        if not mine.n:
            return other
        g, h = gap = mine.gap(its)
        together = mine.merged(its, gap)
        if not (self.higher and other.higher):
            return CoMoments(together, ())
        mine_of, its_of = mine.n / together.n, its.n / together.n
        here = self._about(-g * its_of, -h * its_of)  # my mean seen from that of all
        there = other._about(g * mine_of, h * mine_of)
        return CoMoments(together, _in_range(*map(add, here, there)))

    def _about(self, a: float, b: float) -> tuple[float, ...]:
        """Return the higher sums with a added to every u and b to every v."""
        n, ((uu, uv), (_, vv)) = self.moments.n, self.moments.scatter
        uuv, uvv, vvv, uuvv, uvvv, vvvv = self.higher
        return (
            uuv + b * uu + 2 * a * uv + n * a * a * b,
            uvv + a * vv + 2 * b * uv + n * a * b * b,
            vvv + 3 * b * vv + n * b * b * b,
            uuvv
            + (2 * b * uuv + 2 * a * uvv)
            + (b * b * uu + 4 * a * b * uv + a * a * vv)
            + n * a * a * b * b,
            uvvv + (3 * b * uvv + a * vvv) + 3 * b * (b * uv + a * vv) + n * a * b * b * b,
            vvvv + 4 * b * vvv + 6 * b * b * vv + n * b * b * b * b,
        )


def _summed(u: list[float], v: list[float], origin: Sequence[float] | None) -> CoMoments:
    """Return the moments of some rows, summed in their order."""
    n = len(u)
    first, second = origin or (u[0], v[0])
    mean_u, mean_v = sum([a - first for a in u]) / n, sum([b - second for b in v]) / n
    uu = uv = vv = uuv = uvv = vvv = uuvv = uvvv = vvvv = 0.0
    for a, b in zip(u, v, strict=True):
        a, b = a - first - mean_u, b - second - mean_v
        aa, ab, bb = a * a, a * b, b * b
        uu, uv, vv = uu + aa, uv + ab, vv + bb
        uuv, uvv, vvv = uuv + aa * b, uvv + ab * b, vvv + bb * b
        uuvv, uvvv, vvvv = uuvv + aa * bb, uvvv + ab * bb, vvvv + bb * bb
    moments = Moments(n, (first, second), (mean_u, mean_v), ((uu, uv), (uv, vv)))
    return CoMoments(moments, _in_range(uuv, uvv, vvv, uuvv, uvvv, vvvv))


def _higher(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, ...]:
    powers = np.empty((len(v), 2))
    powers[:, 0], powers[:, 1] = v, v * v
    sums = np.array([u * u, u * v, powers[:, 1]]) @ powers
    (uuv, uuvv), (uvv, uvvv), (vvv, vvvv) = sums.tolist()
    return _in_range(uuv, uvv, vvv, uuvv, uvvv, vvvv)


def _in_range(*sums: float) -> tuple[float, ...]:
    return sums if all(map(isfinite, sums)) else ()
