"""Moments of response and regressor up to the fourth order: all that robust errors ask of the rows.

Two accumulators merge like those of `Moments`, of which this is the continuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.models.moments import Moments

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
        together, gap = mine + its, mine.gap(its)
        if not (self.higher and other.higher):
            return CoMoments(together, ())
        share = its.n / together.n
        ahead = tuple(-g * share for g in gap)  # my mean seen from that of all
        behind = tuple(g * (mine.n / together.n) for g in gap)
        pairs = zip(self._about(*ahead), other._about(*behind), strict=True)
        return CoMoments(together, _in_range(*(a + b for a, b in pairs)))

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


def _higher(u: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, ...]:
    powers = np.empty((len(v), 2))
    powers[:, 0], powers[:, 1] = v, v * v
    sums = np.array([u * u, u * v, powers[:, 1]]) @ powers
    (uuv, uuvv), (uvv, uvvv), (vvv, vvvv) = sums.tolist()
    return _in_range(uuv, uvv, vvv, uuvv, uvvv, vvvv)


def _in_range(*sums: float) -> tuple[float, ...]:
    return sums if all(map(isfinite, sums)) else ()
