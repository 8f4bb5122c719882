"""One accumulator for every linear regression: count, means and centred scatter, mergeable."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

Matrix = tuple[tuple[float, ...], ...]


class Moments(msgspec.Struct, frozen=True, dict=True):
    """Count, means and centred scatter matrix of d variables.

    Means are kept relative to `origin`, a point among the data, so that a large common shift costs
    no digits. Adding two accumulators gives that of all rows together (Chan, Golub and LeVeque),
    to rounding, whatever the split.

    Attributes
    ----------
    n
        Rows, at least 0.
    origin, offset
        Shape (d,): the mean is ``origin + offset``.
    scatter
        Shape (d, d), symmetric: sums of products of deviations from the mean.

    References
    ----------
    Chan, Golub, LeVeque (1983). Algorithms for computing the sample variance: analysis and
    recommendations. The American Statistician 37, 242-247, equations 2.1 and 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = Moments.of(np.array([[1.0, 2.0]])), Moments.of(np.array([[6.0]]))
    >>> (a + b).n, (a + b).mean, (a + b).scatter
    (3, (3.0,), ((14.0,),))
    """

    n: int
    origin: tuple[float, ...]
    offset: tuple[float, ...]
    scatter: Matrix

    @classmethod
    def of(cls, rows: NDArray[np.float64], origin: Sequence[float] | None = None) -> Moments:
        """Accumulate one batch about its own mean.

        Parameters
        ----------
        rows
            Shape (d, n): one variable to a line.
        origin
            Shape (d,); the first row unless given.
        """
        return cls.centred(rows, origin)[0]

    @classmethod
    def centred(
        cls, rows: NDArray[np.float64], origin: Sequence[float] | None = None
    ) -> tuple[Moments, NDArray[np.float64]]:
        """Return what `of` does, and the deviations from the mean, shape (d, n)."""
        d, n = rows.shape
        if not n:
            zeros = (0.0,) * d
            start = zeros if origin is None else tuple(origin)
            return cls(0, start, zeros, (zeros,) * d), rows
        first = rows[:, 0] if origin is None else np.array(origin)
        shifted = rows - first[:, None]
        offset = np.add.reduce(shifted, 1) / n
        centred = shifted - offset[:, None]
        scatter = centred.dot(centred.T).tolist()  # for ten rows, at half the cost of @
        moments = cls(n, tuple(first.tolist()), tuple(offset.tolist()), tuple(map(tuple, scatter)))
        return moments, centred

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Means, shape (d,)."""
        return tuple([o + m for o, m in zip(self.origin, self.offset, strict=True)])

    def __add__(self, other: Moments) -> Moments:
        if not other.n:
            return self
        if not self.n:
            return other
        return self.merged(other, self.gap(other))

    def merged(self, other: Moments, gap: tuple[float, ...]) -> Moments:
        """Return the sum with another, as `+` does, given the `gap` to it, shape (d,).

        Both must have rows.
        """
        n = self.n + other.n
        share, weight = other.n / n, self.n * (other.n / n)
        lines = zip(self.scatter, other.scatter, gap, strict=True)
        return Moments(
            n,
            self.origin,
            tuple([m + g * share for m, g in zip(self.offset, gap, strict=True)]),
            tuple(
                [
                    tuple([a + b + g * h * weight for a, b, h in zip(mine, its, gap, strict=True)])
                    for mine, its, g in lines
                ]
            ),
        )

    def gap(self, other: Moments) -> tuple[float, ...]:
        """Mean of the other minus mean of this, shape (d,), without loss to a common shift."""
        pairs = zip(self.origin, self.offset, other.origin, other.offset, strict=True)
        return tuple([(o2 - o1) + (m2 - m1) for o1, m1, o2, m2 in pairs])


def with_group(zeros: Moments, ones: Moments) -> Moments:
    """Merge two groups and add the group, 0 or 1, as a last variable.

    Examples
    --------
    >>> import numpy as np
    >>> groups = Moments.of(np.array([[1.0, 3.0]])), Moments.of(np.array([[5.0, 7.0]]))
    >>> with_group(*groups).mean, with_group(*groups).scatter
    ((4.0, 0.5), ((20.0, 4.0), (4.0, 1.0)))
    """
    if zeros.n and ones.n:
        gap = zeros.gap(ones)
        total = zeros.merged(ones, gap)
    else:
        gap, total = (0.0,) * len(zeros.origin), zeros + ones
    share = ones.n / total.n if total.n else 0.0
    weight = zeros.n * share
    border = [g * weight for g in gap]
    lines = [(*line, b) for line, b in zip(total.scatter, border, strict=True)]
    scatter = (*lines, (*border, weight))
    return Moments(total.n, (*total.origin, 0.0), (*total.offset, share), scatter)
