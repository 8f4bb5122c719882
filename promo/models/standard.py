"""The scale of the regressors of promoted, fixed by a stream's first ten rows.

A prior of unit size asks for regressors of unit size; a scale that moved would undo what was
learned on it. So the first rows wait until there are ten, which then fix it for good.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import MAX_ABS, Batch, Number

FIRST = 10  # rows that fix the scale
WILD = 5.0  # times the spread by medians; of ten normal rows hardly ever
FAR = 1e6  # standard deviations; beyond it a row counts as so far

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = tuple[Number, Number, bool]
Positive = Annotated[float, msgspec.Meta(gt=0, le=4 * MAX_ABS)]


class Standard(msgspec.Struct, forbid_unknown_fields=True):
    """Network ability and competence, less the mean of ten rows, by their standard deviation.

    What did not vary in them is divided by its size. Where one of them lies so far out that the
    standard deviation speaks of it alone, it is their median, and the median distance from that
    times 1.4826 (Hampel 1974): else the prior would outweigh all rows to come.

    Attributes
    ----------
    waiting
        Network ability, competence and promoted of rows that came while there were too few.
    centre, scale
        Of the two, in this order, once they are `fixed`.

    References
    ----------
    Hampel (1974). The influence curve and its role in robust estimation. Journal of the American
    Statistical Association 69, 383-393.

    Examples
    --------
    >>> standard = Standard()
    >>> standard.admit(Batch.of([0.0] * 5 + [2.0] * 4, [3.0] * 9, [True] * 9)) is None
    True
    >>> x, y = standard.admit(Batch.of([2.0], [3.0], [False]))
    >>> x.shape, standard.centre, standard.scale, x[0].tolist()
    ((10, 3), (1.0, 3.0), (1.0, 3.0), [1.0, -1.0, 0.0])
    """

    waiting: list[Row] = []
    centre: tuple[Number, Number] = (0.0, 0.0)
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    fixed: bool = False

    def __post_init__(self) -> None:
        if len(self.waiting) >= FIRST or (self.fixed and self.waiting):
            raise ValueError(f"{len(self.waiting)} rows wait, expected fewer than {FIRST}")

    def admit(self, batch: Batch) -> tuple[Floats, Bools] | None:
        """Return the rows to be learned now, as `regressors` and outcomes; None while they wait."""
        columns = batch.network_ability, batch.competence, batch.promoted
        if not self.fixed:
            self.waiting += zip(*(column.tolist() for column in columns), strict=True)
            if len(self.waiting) < FIRST:
                return None
            n, c, p = (np.array(column) for column in zip(*self.waiting, strict=True))
            self._fix(np.stack([n, c])[:, :FIRST])
            columns = n, c, p
        return self.regressors(*columns[:2]), columns[2]

    def _fix(self, first: Floats) -> None:
        # About the first row, so that equal rows have no spread by rounding.
        begin = first[:, 0]
        centre = begin + (first - begin[:, None]).mean(axis=1)
        deviation = (first - centre[:, None]).std(axis=1)
        middle = np.median(first, axis=1)
        spread = 1.4826 * np.median(abs(first - middle[:, None]), axis=1)
        wild = (spread > 0) & (deviation > WILD * spread)
        centre, deviation = np.where(wild, [middle, spread], [centre, deviation])
        scale = np.where(deviation > 0, deviation, np.where(centre != 0, abs(centre), 1.0))
        self.centre, self.scale = tuple(centre.tolist()), tuple(scale.tolist())
        self.waiting, self.fixed = [], True

    def regressors(self, network_ability: Floats, competence: Floats) -> Floats:
        """Return 1, network ability and competence on the scale, shape (n, 3), within `FAR`."""
        x = np.empty((len(competence), 3))
        x[:, 0] = 1.0
        centre, scale, far = _lines(self.centre, self.scale)
        ahead = np.array([network_ability, competence]) - centre
        # Held to it before dividing, so that nothing leaves the range.
        x[:, 1:] = (np.minimum(np.maximum(ahead, -far), far) / scale).T
        return x


@lru_cache(maxsize=8)
def _lines(centre: tuple[float, float], scale: tuple[float, float]) -> tuple[Floats, ...]:
    """Return centre, scale, and how far a row may be from the centre, each of shape (2, 1)."""
    middle, spread = np.array((centre, scale))[:, :, None]
    far = FAR * spread
    # No further than what is within `FAR` once it is divided, for a product may be rounded up.
    return middle, spread, np.where(far / spread > FAR, np.nextafter(far, 0), far)
