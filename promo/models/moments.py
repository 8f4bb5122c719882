"""One accumulator for every linear regression: count, means and centred scatter, mergeable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Moments:
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
        everyone = np.zeros(rows.shape[1], np.bool_)
        return cls.of_groups(rows, everyone, (origin, None))[0]

    @classmethod
    def of_groups(
        cls,
        rows: NDArray[np.float64],
        group: NDArray[np.bool_],
        origins: tuple[Sequence[float] | None, Sequence[float] | None] = (None, None),
    ) -> tuple[Moments, Moments]:
        """Accumulate one batch, each of two groups about its own mean and origin.

        Parameters
        ----------
        rows
            Shape (d, n): one variable to a line.
        group
            Shape (n,): false for the first group, true for the second.
        origins
            Shape (d,) each; the group's first row unless given.
        """
        d, n = rows.shape
        which = group.astype(np.int64)
        member = np.array([~group, group], np.float64).T  # (n, 2)
        ones = int(which.sum())
        counts = (n - ones, ones)
        start = np.zeros((d, 2))
        for g, (origin, count) in enumerate(zip(origins, counts, strict=True)):
            if origin is not None:
                start[:, g] = origin
            elif count:
                start[:, g] = rows[:, (which == g).argmax()]
        divisor = np.maximum(counts, 1)
        shifted = rows - start[:, which]
        offset = shifted @ member / divisor
        centred = shifted - offset[:, which]
        # Rounding leaves the deviations a sum of nearly zero; taking it off is Chan's correction.
        rest = centred @ member
        products = (centred[:, None, :] * centred[None, :, :]) @ member
        scatter = products - rest[:, None] * rest[None, :] / divisor
        columns = zip(
            counts,
            start.T.tolist(),
            offset.T.tolist(),
            scatter.transpose(2, 0, 1).tolist(),
            strict=True,
        )
        zeros, ones_ = (cls(k, tuple(o), tuple(m), tuple(map(tuple, s))) for k, o, m, s in columns)
        return zeros, ones_

    @property
    def mean(self) -> tuple[float, ...]:
        """Means, shape (d,)."""
        return tuple(o + m for o, m in zip(self.origin, self.offset, strict=True))

    def __add__(self, other: Moments) -> Moments:
        if not other.n:
            return self
        if not self.n:
            return other
        n = self.n + other.n
        gap = self.gap(other)
        share, weight = other.n / n, self.n * (other.n / n)
        return Moments(
            n,
            self.origin,
            tuple(m + g * share for m, g in zip(self.offset, gap, strict=True)),
            tuple(
                tuple(a + b + g * h * weight for a, b, h in zip(mine, its, gap, strict=True))
                for mine, its, g in zip(self.scatter, other.scatter, gap, strict=True)
            ),
        )

    def gap(self, other: Moments) -> tuple[float, ...]:
        """Mean of the other minus mean of this, shape (d,), without loss to a common shift."""
        return tuple(
            (o2 - o1) + (m2 - m1)
            for o1, m1, o2, m2 in zip(
                self.origin, self.offset, other.origin, other.offset, strict=True
            )
        )


def with_group(zeros: Moments, ones: Moments) -> Moments:
    """Merge two groups and add the group, 0 or 1, as a last variable.

    Examples
    --------
    >>> import numpy as np
    >>> groups = Moments.of(np.array([[1.0, 3.0]])), Moments.of(np.array([[5.0, 7.0]]))
    >>> with_group(*groups).mean, with_group(*groups).scatter
    ((4.0, 0.5), ((20.0, 4.0), (4.0, 1.0)))
    """
    total = zeros + ones
    if not total.n:
        return Moments(0, (*total.origin, 0.0), (*total.offset, 0.0), _bordered(total, (), 0.0))
    weight = zeros.n * (ones.n / total.n)
    gap = zeros.gap(ones) if weight else (0.0,) * len(total.origin)
    between = tuple(g * weight for g in gap)
    share = ones.n / total.n
    return Moments(
        total.n, (*total.origin, 0.0), (*total.offset, share), _bordered(total, between, weight)
    )


def _bordered(total: Moments, border: tuple[float, ...], corner: float) -> Matrix:
    border = border or (0.0,) * len(total.origin)
    lines = tuple((*line, b) for line, b in zip(total.scatter, border, strict=True))
    return (*lines, (*border, corner))
