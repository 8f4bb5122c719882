"""Which causal story survives: the evidence for each of the 11 classes of diagrams, page by page.

A diagram says how likely each variable is, given its causes. Twelve local models, one for each
variable and each set of causes it may have, put a number on that; a diagram's evidence is the sum
of three of them, a class's the mean over its diagrams, and its share what Bayes' rule makes of a
uniform prior over the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from math import atanh, isnan, log1p, nan, sqrt, tanh
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from promo.batch import MAX_ABS, Batch, Number
from promo.models import anytime
from promo.models.graphs import INDEPENDENCIES, VARIABLES, parents, stories
from promo.models.least_squares import SINGULAR, UNDERFLOW
from promo.models.moments import Moments
from promo.models.regressions import Regressions
from promo.models.renewable import Renewable
from promo.models.results import Coefficient, Metric, ModelState, as_json, from_columns
from promo.models.standard import FAR, FIRST, Positive, Row, Standard

_SHARE = 8  # rows are learned in chunks of an eighth of those before, of ten at least,
_HELD = 40  # and not later than with so many, so that small pages cost no more than they must
_USES = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], np.bool_)  # 1, N, C: P's causes

Floats = NDArray[np.float64]


_Near = Annotated[float, msgspec.Meta(ge=-FAR, le=FAR)]


class _State(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    version: int
    waiting: list[Row]
    held: Annotated[list[tuple[_Near, _Near, bool]], msgspec.Meta(max_length=_HELD - 1)]
    learned: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    centre: tuple[Number, Number]
    scale: tuple[Positive, Positive]
    beta: list[list[float]]
    curvature: list[list[list[float]]]
    log_likelihood: list[Annotated[float, msgspec.Meta(ge=-MAX_ABS, le=0)]]
    third: list[list[list[list[float]]]] | None = None  # where parts were added up


class Bets(NamedTuple):
    """What some rows say of promoted, given each of the four sets of its causes.

    Attributes
    ----------
    rows
        How many.
    promoted
        Four logistic regressions on them, each with the regressors of one set.
    log_evidence
        Of each of those, shape (4,), in nats.
    """

    rows: int
    promoted: Renewable
    log_evidence: Floats


def bets_on(batch: Batch, standard: Standard) -> Bets:
    """Learn a batch of at least one row by itself, on a fixed scale, for `Stories.add`.

    A stream that is cut into parts cannot bet on each row by all rows before it. Each part's
    evidence is by Laplace's method instead (see `Renewable.learn_part`). In worlds like `collider`
    that differs by fractions of a nat in all; in a steep one bets lose hundreds more.
    """
    model, y = Renewable(_USES), batch.promoted
    x = standard.regressors(batch.network_ability, batch.competence)
    return Bets(len(y), model, model.learn_part(x, y))


class Stories:
    """The posterior over causal stories, and the independencies by which they stand or fall.

    Network ability and competence, given their causes, are linear and normal, with Zellner's prior
    of the weight of one row; both enter by R² only, so that neither scale nor shift of the data
    matters. Promoted is logistic in its causes, learned in one pass with a standard normal prior
    on the scale of the first ten rows; its evidence is what it would have lost in betting on each
    row before learning it. What is assumed: no hidden common cause, straight lines.

    Parameters
    ----------
    regressions
        Learn the same rows; their moments serve here too.

    References
    ----------
    Geiger, Heckerman (1994). Learning Gaussian networks. Uncertainty in Artificial Intelligence
    10, 235-243.
    Liang, Paulo, Molina, Clyde, Berger (2008). Mixtures of g priors for Bayesian variable
    selection. Journal of the American Statistical Association 103, 410-423.
    Dawid (1984). Present position and potential developments: some personal views. Statistical
    theory: the prequential approach. Journal of the Royal Statistical Society A 147, 278-292.
    """

    name = "causal-stories"

    def __init__(self, regressions: Regressions) -> None:
        self._regressions = regressions
        self._look = float(ndtri(1 - regressions.alpha / 2))  # standard errors, of one look
        self._seen = regressions.together, _Correlations.of(regressions.together)
        self._standard = Standard()
        self._learned = 0
        self._held: list[tuple[Floats, NDArray[np.bool_]]] = []  # bet on, to be learned soon
        self._holds = 0  # so many rows
        self._promoted = Renewable(_USES)
        self._log_likelihood = np.zeros(len(_USES))

    # -- promoted, given its causes ---------------------------------------------------------

    def learn(self, batch: Batch) -> None:
        """Bet on each row as the chunks of rows before taught to; learn a chunk once it is full."""
        if (rows := self._standard.admit(batch)) is not None:
            self._bet(*rows)

    def _bet(self, x: Floats, y: NDArray[np.bool_]) -> None:
        begin = 0
        while begin < len(y):
            full = max(FIRST, self._learned // _SHARE)
            chunk = slice(begin, begin + full - self._holds)
            rows, outcomes = x[chunk], y[chunk]
            odds = self._promoted.log_odds(rows)
            loss = np.logaddexp(0.0, odds * (1 - 2 * outcomes))
            self._log_likelihood = self._log_likelihood - np.add.reduce(loss, 1)
            self._held.append((rows, outcomes))
            self._holds += len(outcomes)
            if self._holds >= min(full, _HELD):
                self._learn_held()
            begin = chunk.stop

    def _learn_held(self) -> None:
        if self._held:
            self._promoted.learn(*map(np.concatenate, zip(*self._held, strict=True)))
            self._learned += self._holds
            self._held, self._holds = [], 0

    @property
    def standard(self) -> Standard:
        """The scale on which promoted is learned, once it is fixed."""
        return self._standard

    def add(self, bets: Bets) -> None:
        """Add what `bets_on` made of rows that come next, maybe elsewhere, on this scale."""
        self._learn_held()
        both = self._promoted + bets.promoted
        overlap = self._promoted.overlap(bets.promoted, both)
        together = self._log_likelihood + bets.log_evidence + overlap
        self._log_likelihood = np.fmin(self._log_likelihood, together)  # it can only fall
        self._promoted = both
        self._learned += bets.rows

    # -- the stories ------------------------------------------------------------------------

    @property
    def log_evidence(self) -> Floats:
        """Log evidence of every story, shape (11,), in nats over that of "all independent".

        All the same as long as a variable has not varied: of it nothing can be said.
        """
        n, r = self._correlations()
        if any(isnan(each) for each in (r.nc, r.pn, r.cp)):
            return np.zeros(len(stories()))
        bets = self._log_likelihood
        local = [_log_bayes_factor(n, *each) for each in r.explained] + (bets - bets[0]).tolist()
        graphs = np.add.reduce(np.array(local)[_LOCAL], 1)
        evidence: Floats = np.logaddexp.reduceat(graphs, _STARTS) - _LOG_SIZES
        return evidence

    def _correlations(self) -> tuple[int, _Correlations]:
        """Return the number of rows, and what they say, reckoned once a page."""
        together = self._regressions.together
        if together is not self._seen[0]:
            self._seen = together, _Correlations.of(together)
        return together.n, self._seen[1]

    @property
    def shares(self) -> Floats:
        """Posterior probability of every story, shape (11,), from a uniform prior."""
        return _shares(self.log_evidence)

    def metrics(self) -> list[Metric]:
        """Return the share of every story, in 0..1, and its log evidence, in nats."""
        evidence = self.log_evidence
        values = _shares(evidence).tolist() + evidence.tolist()
        return from_columns(Metric, repeat(self.name, len(values)), _NAMES, values)

    def coefficients(self) -> list[Coefficient]:
        """Return the (partial) correlation that each independency says is zero.

        Its t statistic and p-values are those of the regression of one on the other (and the
        third); the intervals are Fisher's, for one look and, in the limit of many rows, for all.
        They answer whether a correlation is zero. How strong it is, they bound where both variables
        are normal; of an ability with `promoted` they are too narrow where few are promoted, or few
        are not.

        References
        ----------
        Fisher (1921). On the "probable error" of a coefficient of correlation deduced from a small
        sample. Metron 1, 3-32.
        """
        rows, correlations = self._correlations()
        n, g, found = max(rows, 1), self._regressions.g, correlations.each
        df = [max(n - 2 - given, 0) or nan for given in _GIVEN]
        errors = [sqrt((1 - r) * (1 + r) / free) for r, free in zip(found, df, strict=True)]
        t = [r / error if error else nan for r, error in zip(found, errors, strict=True)]
        p = (2 * stdtr(df, [-abs(each) for each in t])).tolist()
        av = [anytime.one_p_value(each, free, n, g) for each, free in zip(t, df, strict=True)]
        looks = anytime.one_asymptotic_radius(n, self._regressions.alpha, g)
        intervals = [_fisher(r, f, self._look, looks) for r, f in zip(found, df, strict=True)]
        low, high, av_low, av_high = zip(*intervals, strict=True)
        models, hc1 = repeat(self.name, len(found)), repeat(nan, len(found))
        columns = found, errors, t, p, low, high, av, av_low, av_high, hc1
        return from_columns(Coefficient, models, _TERMS, *columns)

    # -- from day to day --------------------------------------------------------------------

    def states(self) -> list[ModelState]:
        """Return the logistic models and what they won; the rest follows from the moments."""
        state = _State(
            2,
            self._standard.waiting,
            [
                (n, c, promoted)
                for rows, outcomes in self._held
                for (_, n, c), promoted in zip(rows.tolist(), outcomes.tolist(), strict=True)
            ],
            self._learned,
            self._standard.centre,
            self._standard.scale,
            self._promoted.beta.tolist(),
            self._promoted.curvature.tolist(),
            self._log_likelihood.tolist(),
            self._promoted.third.tolist() if np.count_nonzero(self._promoted.third) else None,
        )
        rows = self._learned + self._holds + len(self._standard.waiting)
        return [ModelState(self.name, rows, as_json(state))]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        fixed = state.learned > 0
        wrong = state.version != 2 or len(state.log_likelihood) != len(_USES)
        if wrong or len(state.waiting) >= FIRST or (not fixed and state.held):
            raise ValueError(f"not the causal stories, version 2: {states[self.name][:200]}")
        third = None if state.third is None else np.array(state.third)
        self._promoted.restore(np.array(state.beta), np.array(state.curvature), third)
        self._standard = Standard(state.waiting, state.centre, state.scale, fixed)
        self._learned = state.learned
        self._held, self._holds = [], len(state.held)
        if state.held:
            rows = np.array([(1.0, n, c) for n, c, _ in state.held])
            self._held = [(rows, np.array([promoted for *_, promoted in state.held]))]
        self._log_likelihood = np.array(state.log_likelihood)


# A local model is a variable with some of its causes: 4 sets for each of 3 variables.
_SETS = {v: [(), *((w,) for w in VARIABLES if w != v), tuple(w for w in VARIABLES if w != v)]
         for v in VARIABLES}  # fmt: skip
_LOCAL = np.array(
    [
        [4 * at + _SETS[v].index(parents(graph, v)) for at, v in enumerate(VARIABLES)]
        for story in stories()
        for graph in story.graphs
    ]
)
_SIZES = [len(story.graphs) for story in stories()]
_STARTS = np.cumsum([0, *_SIZES[:-1]])
_LOG_SIZES = np.log(_SIZES)
_NAMES = [f"{what} of {story.name}" for what in ("share", "log evidence") for story in stories()]
_TERMS = [str(each) for each in INDEPENDENCIES]
_GIVEN = [len(each.given) for each in INDEPENDENCIES]


def _shares(evidence: Floats) -> Floats:
    weight = np.exp(evidence - np.maximum.reduce(evidence))
    shares: Floats = weight / np.add.reduce(weight)
    return shares


class _Correlations(NamedTuple):
    """Correlations of network ability (n), competence (c) and promoted (p), two given the third.

    NaN where a variable does not vary, or where the third decides one of the two.
    """

    nc: float
    pn: float
    cp: float
    nc_p: float
    pn_c: float
    cp_n: float

    @classmethod
    def of(cls, together: Moments) -> _Correlations:
        ((nn, nc, pn), (_, cc, cp), (_, _, pp)) = together.scatter
        n, c, p = (sqrt(scatter) if scatter > UNDERFLOW else 0.0 for scatter in (nn, cc, pp))
        a, b, d = _ratio(nc, n * c), _ratio(pn, n * p), _ratio(cp, c * p)
        return cls(a, b, d, _partial(a, b, d), _partial(b, a, d), _partial(d, a, b))

    @property
    def each(self) -> tuple[float, ...]:
        """In the order of `INDEPENDENCIES`."""
        return self.nc, self.nc_p, self.pn, self.pn_c, self.cp, self.cp_n

    @property
    def explained(self) -> Iterator[tuple[int, float]]:
        """Yield the number of causes and R², set by set, of network ability and competence."""
        for one, other, rest in ((self.nc, self.pn, self.pn_c), (self.nc, self.cp, self.cp_n)):
            a, b = _square(one), _square(other)
            yield from ((0, 0.0), (1, a), (1, b), (2, max(1 - (1 - a) * (1 - _square(rest)), b)))


def _ratio(part: float, whole: float) -> float:
    return min(max(part / whole, -1.0), 1.0) if whole else nan


def _partial(r: float, a: float, b: float) -> float:
    """Return the correlation r of two variables given a third, correlated a and b with them."""
    free_a, free_b = (1 - a) * (1 + a), (1 - b) * (1 + b)
    if not min(free_a, free_b) >= SINGULAR:
        return nan
    return _ratio(r - a * b, sqrt(free_a * free_b))


def _square(r: float) -> float:
    return r * r if r == r else 0.0  # what does not vary explains nothing


def _log_bayes_factor(n: int, causes: int, r_squared: float) -> float:
    """Return the log evidence of a regression over that of the mean alone, with g = n."""
    if n < causes + 2 or not causes:
        return 0.0
    return ((n - 1 - causes) * log1p(n) - (n - 1) * log1p(n * (1 - r_squared))) / 2


def _fisher(r: float, df: float, *radii: float) -> list[float]:
    """Return Fisher's intervals, so many standard errors about the transform of r, end to end."""
    if not (df > 1 and abs(r) < 1):
        return [nan, nan] * len(radii)
    middle, root = atanh(r), sqrt(df - 1)
    return [tanh(middle + side * radius / root) for radius in radii for side in (-1, 1)]
