"""Logistic regression in one pass, several models at once: renewable estimation.

A batch is used once and forgotten: what earlier batches knew is kept as an estimate and its
curvature, which together act on the next batch as a Gaussian prior; or, with the third derivative
beside them, as a cubic, which is closer by far.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from promo.models.symmetric import even, packed, symmetric, unpacked

Floats = NDArray[np.float64]
_STEPS = 1000  # of Newton's method at most, halves included; two or three are usual
_CLOSE = 1e-12  # nats to be gained: the step that gains no more is the last
_LARGEST = 1e40  # beyond what any number of rows within ±1e6 can lead to
_OF_PRIOR = 0.1  # share of it that a part is learned with
_OF_ONE = 1 - 1e-9  # what rounding leaves of the prior's curvature, at least
_ROUNDED = 1e-6  # share by which what is symmetric may differ from itself
_FAR = 3.0  # standard errors within which the estimate from all parts should lie
_OVERSHOT = -0.5  # share of the slope at the start of a step; steeper down, it went too far


class Renewable:
    """m logistic regressions of one outcome, each on its own choice of k shared regressors.

    A new batch moves β to the maximum of its log likelihood minus ½(β-β')ᵀJ(β-β'), β' and J the
    estimate and the curvature so far; then XᵀWX at the new β is added to J. Before any row, β is 0
    and J the identity: a standard normal prior, so regressors should be of unit scale.

    What that leaves out is of the third order in how far β moves. A cubic model keeps it: the
    third derivative T of all batches adds ⅙T(β-β')³ to what is maximised, and J and T are taken to
    the new β exactly. Where there is no such maximum at which it curves as the prior does at least,
    the model forgets T and takes in the batch as the others do. It is closer where rows are of one
    kind; where what they follow changes for its opposite, or with wild outliers, it may be farther.

    Parameters
    ----------
    uses
        Shape (m, k): which regressors, the constant included, each model has.
    cubic
        Whether rows add to the third derivative.

    Attributes
    ----------
    beta
        Shape (m, k); 0 for what a model does not use.
    curvature
        Shape (m, k, k), positive definite: the inverse of the estimates' covariance.
    third
        Shape (m, k, k, k), symmetric: the third derivative of the log likelihood, as far as it is
        kept: of the parts that were added up (see `learn_part`), and in a cubic model of all rows.

    References
    ----------
    Luo, Song (2020). Renewable estimation and incremental inference in generalized linear models
    with streaming data sets. Journal of the Royal Statistical Society B 82, 69-97. They keep
    estimate and curvature.

    Examples
    --------
    >>> model = Renewable(np.array([[True, True]]))
    >>> x = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model.learn(x, np.array([False, False, True]))
    >>> model.beta.round(2).tolist()
    [[-0.3, 0.68]]
    """

    def __init__(self, uses: NDArray[np.bool_], cubic: bool = False) -> None:
        self.uses, self.cubic = uses, cubic
        m, k = uses.shape
        self._pairs = (uses[:, :, None] & uses[:, None, :]).astype(np.float64)
        self._triples = self._pairs[:, :, :, None] * self._pairs[:, :, None, :]
        self._least = _OF_ONE * np.eye(k)  # of a posterior's curvature
        self._more = 1 + 1e-12 * np.eye(k)  # keeps what is singular by rounding solvable
        self.beta: Floats = np.zeros((m, k))
        self.curvature: Floats = np.tile(np.eye(k), (m, 1, 1))
        self.third: Floats = np.zeros((m, k, k, k))

    def restore(self, beta: Floats, curvature: Floats, third: Floats | None = None) -> None:
        """Take over what an object of the same models had learned.

        Raises
        ------
        ValueError
            These are no such arrays: other shapes, no positive definite curvature.
        """
        fresh = Renewable(self.uses)
        third = fresh.third if third is None else third
        if (beta.shape, curvature.shape) != (fresh.beta.shape, fresh.curvature.shape):
            raise ValueError(f"estimates of shape {beta.shape}, expected {fresh.beta.shape}")
        diagonal = curvature.diagonal(axis1=1, axis2=2)
        sound = (
            (np.abs(beta) < _LARGEST).all()
            and (np.abs(curvature) < _LARGEST).all()
            and (beta[~self.uses] == 0).all()
            and (diagonal > _OF_ONE).all()
            and (curvature[self._pairs == 0] == fresh.curvature[self._pairs == 0]).all()
            and third.shape == fresh.third.shape
            and (np.abs(third) < _LARGEST).all()
            and (third[self._triples == 0] == 0).all()
        )
        if not sound:
            raise ValueError("estimates or curvatures that no rows lead to")
        size = np.sqrt(diagonal)
        scaled = curvature / (size[:, :, None] * size[:, None, :])
        if not (np.abs(scaled - scaled.transpose(0, 2, 1)) < _ROUNDED).all():
            raise ValueError("curvature that is not symmetric")
        if not (np.abs(third - symmetric(third)) <= _ROUNDED * np.abs(third).max()).all():
            raise ValueError("third derivatives that are not symmetric")
        np.linalg.cholesky(scaled * self._more)  # or an error, which is a ValueError
        self.beta, self.curvature, self.third = beta, curvature, third

    def log_odds(self, x: Floats) -> Floats:
        """Return the log odds of rows of shape (n, k), shape (m, n)."""
        odds: Floats = self.beta @ x.T
        return odds

    def learn(self, x: Floats, y: NDArray[np.bool_]) -> None:
        """Take in a batch: regressors of shape (n, k), outcomes of shape (n,)."""
        products = _products(x)
        beta, curvature, p, arrived = self._ascend(x, y, products)
        while self.third.any() and not (arrived.all() and self._peaks(curvature)):
            peaks = [self._peaks(each[None]) for each in curvature]
            lost = self._is_cubic() & ~(arrived & peaks)
            if not lost.any():
                break
            self._forget(lost)
            beta, curvature, p, arrived = self._ascend(x, y, products)
        self.beta, self.curvature = beta, curvature
        if self.cubic and len(y):
            self.third = self.third + self._third(x, p, products)
            if not np.abs(self.third).max() < _LARGEST:
                self._forget(~(np.abs(self.third).max(axis=(1, 2, 3)) < _LARGEST))

    def _peaks(self, curvature: Floats) -> bool:
        """Return whether all curve as the prior does at least, as far as rounding lets one see."""
        more = curvature - self._least
        diagonal = more.diagonal(axis1=1, axis2=2)
        if not diagonal.min() > 0:
            return False
        size = np.sqrt(diagonal)
        try:
            np.linalg.cholesky(more / (size[:, :, None] * size[:, None, :]) * self._more)
        except np.linalg.LinAlgError:
            return False
        return True

    def _forget(self, which: NDArray[np.bool_]) -> None:
        """Go on as a normal distribution: with third 0."""
        self.third = np.where(which[:, None, None, None], 0.0, self.third)

    @np.errstate(over="ignore", invalid="ignore")  # of a cubic that has no peak
    def _ascend(
        self, x: Floats, y: NDArray[np.bool_], products: Floats
    ) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
        """Climb from the estimate by Newton's method to where a batch takes it.

        Returns
        -------
        beta, curvature, p, arrived
            Shapes (m, k), (m, k, k), (m, n) and (m,): the peak, what is known there, and whether
            it is one.
        """
        before, prior, across = self.beta, self.curvature, x.T
        beta, bends = before, bool(self.third.any())
        bend: Floats | float = 0.0
        step, rise = np.zeros_like(beta), np.zeros(len(beta))
        for _ in range(_STEPS):
            p = expit(beta @ across)
            if bends:
                bend = self._bend(beta - before)
            pull = np.matmul(prior - bend / 2, (before - beta)[:, :, None])[:, :, 0]
            gradient = ((y - p) @ x) * self.uses + pull
            slope = np.einsum("mk,mk->m", gradient, step)
            overshot = (slope < _OVERSHOT * rise) & (rise > _CLOSE)  # where it is no rounding
            if overshot.any():  # back half of the way
                step, rise = step * (overshot / 2)[:, None], rise * (overshot / 2)
                beta = beta - step
                continue
            weighed = ((p * (1 - p)) @ products).reshape(prior.shape) * self._pairs
            hessian = prior - bend + weighed
            try:
                step = _solve(hessian * self._more, gradient)
            except np.linalg.LinAlgError:  # of a cubic only; others have the prior in them
                return beta, hessian, p, np.zeros(len(beta), np.bool_)
            rise = np.einsum("mk,mk->m", gradient, step)
            beta = beta + step
            if rise.max() < _CLOSE:
                break
        return beta, even(hessian) if bends else hessian, p, rise < _CLOSE

    def _third(self, x: Floats, p: Floats, products: Floats) -> Floats:
        """Return the third derivative of the log likelihood where rows have these chances."""
        sums = np.matmul((p * (1 - p) * (2 * p - 1))[:, None, :] * x.T, products)
        third = unpacked(packed(sums.reshape(self._triples.shape)), x.shape[1])
        return third * self._triples

    # -- two streams ------------------------------------------------------------------------

    def __add__(self, other: Renewable) -> Renewable:
        """Return the models of two streams that share no row, on one scale.

        Each counts as the cubic with its estimate for a peak, and its curvature and third
        derivative there; the prior counts once. Cubics add up exactly. Where third is 0 they are
        the logarithms of normal distributions, for which they are taken, too, where their sum has
        no peak nearby: then its third is 0.

        References
        ----------
        Lin, Xi (2011). Aggregated estimating equation estimation. Statistics and Its Interface 4,
        73-83. Their expansion of each part's estimating equation has a term less.
        """
        both = Renewable(self.uses, self.cubic)
        prior = both.curvature
        (slope, curvature), (its_slope, its_curvature) = self._at_zero(), other._at_zero()
        both.curvature = self.curvature + other.curvature - prior
        both.beta = _solve(both.curvature * self._more, self._pull() + other._pull())
        both.third = self.third + other.third
        both._climb(slope + its_slope, curvature + its_curvature - prior)
        return both

    @np.errstate(over="ignore", invalid="ignore")  # of states that no rows lead to
    def overlap(self, other: Renewable, both: Renewable) -> Floats:
        """Return what the log evidence of a sum is more than its summands', shape (m,), in nats.

        It is the logarithm of the integral of both posteriors over the prior.
        """
        cubic = both._is_cubic()
        sum_, mine, its = (each._log_partition(cubic) for each in (both, self, other))
        return sum_ - mine - its

    def moved(self, home: Floats) -> Renewable:
        """Return the models on a scale whose estimates, times home, are those of this one.

        Home is of shape (k, k); all regressors must be used. The prior is the same there as here.
        """
        there, back = Renewable(self.uses, self.cubic), home.T
        prior, pull = there.curvature, self._pull() @ home
        slope, curvature = self._at_zero()
        there.curvature = prior + even(back @ (self.curvature - prior) @ home)
        there.beta = _solve(there.curvature * self._more, pull)
        there.third = symmetric(np.einsum("mabc,ai,bj,ck->mijk", self.third, home, home, home))
        there._climb(slope @ home, prior + even(back @ (curvature - prior) @ home))
        return there

    def learn_part(self, x: Floats, y: NDArray[np.bool_]) -> Floats:
        """Learn all rows of one part of a stream, shapes (n, k) and (n,), to be added to others.

        Nothing must have been learned before. The log likelihood is taken for a cubic about the
        part's own estimate, which is drawn to 0 by a share of the prior only; all of the prior is
        put back afterwards. What the cubic leaves out grows with the fourth power of how far that
        estimate is from that of all parts.

        Returns
        -------
        log_evidence
            By Laplace's method, shape (m,), in nats.

        References
        ----------
        Kass, Raftery (1995). Bayes factors. Journal of the American Statistical Association 90,
        773-795, section 4.1.
        """
        prior, self.curvature = self.curvature, _OF_PRIOR * self.curvature
        products = _products(x)
        self.beta, self.curvature, *_ = self._ascend(x, y, products)
        height = self._log_posterior(self.beta, x, y, _OF_PRIOR)
        self.third = self._third(x, expit(self.log_odds(x)), products)
        (slope, curvature), pull, more = self._at_zero(), self._pull(), (1 - _OF_PRIOR) * prior
        as_cubic, as_normal = self._over_zero(True), self._over_zero(False)
        self.curvature = self.curvature + more
        self.beta = _solve(self.curvature * self._more, pull)
        self._climb(slope, curvature + more)
        cubic = self._is_cubic()
        return height - np.where(cubic, as_cubic, as_normal) + self._log_partition(cubic)

    def misfit(self, x: Floats, y: NDArray[np.bool_]) -> Floats:
        """Return by how many nats, shape (m,), the cubic is wrong about the rows it was made of.

        They are to be given once more, shapes (n, k) and (n,). It is compared three standard
        errors from the estimate, along the principal axes; the largest difference counts.
        """
        size, axes = np.linalg.eigh(self.curvature)
        size = np.maximum(size, 1.0)  # as it is but for rounding
        here, worst = self._log_posterior(self.beta, x, y), np.zeros(len(self.beta))
        for axis in range(x.shape[1]):
            for side in (-_FAR, _FAR):
                ahead = side * axes[:, :, axis] / np.sqrt(size[:, axis])[:, None]
                told = np.einsum("mijk,mi,mj,mk->m", self.third, *[ahead] * 3) / 6 - _FAR**2 / 2
                found = self._log_posterior(self.beta + ahead, x, y) - here
                worst = np.maximum(worst, np.abs(found - told))
        return worst

    @np.errstate(over="ignore", invalid="ignore")  # what leaves the range is given up
    def _climb(self, slope: Floats, curvature: Floats) -> None:
        """Go on to the peak of a cubic, of which these are known at 0, where it has one nearby.

        There it must curve as the prior does, at least: a log likelihood is concave. Where it has
        none, the estimate stays, and third is 0 from now on.
        """
        beta, prior = self.beta, np.eye(self.beta.shape[1])
        cubic = climbs = self._is_cubic()  # of the others, the estimate is the peak
        for _ in range(_STEPS):
            bend = self._bend(beta)
            gradient = slope - np.matmul(curvature - bend / 2, beta[:, :, None])[:, :, 0]
            hessian = even(curvature - bend)
            climbs = climbs & _curves(hessian - self._least) & np.isfinite(gradient).all(axis=1)
            hessian = np.where(climbs[:, None, None], hessian, prior)
            gradient = np.where(climbs[:, None], gradient, 0.0)
            step = _solve(hessian * self._more, gradient)
            beta = beta + step
            close = np.einsum("mk,mk->m", gradient, step) < _CLOSE
            if close.all():
                break
        hessian = even(curvature - self._bend(beta))
        climbs = climbs & close & _curves(hessian - self._least)
        self.beta = np.where(climbs[:, None], beta, self.beta)
        self.curvature = np.where(climbs[:, None, None], hessian, self.curvature)
        self._forget(cubic & ~climbs)

    def _at_zero(self) -> tuple[Floats, Floats]:
        """Return slope and curvature, at 0, of the cubic for which the log posterior is taken."""
        bend = self._bend(self.beta)
        slope = self._pull() + np.matmul(bend, self.beta[:, :, None])[:, :, 0] / 2
        return slope, self.curvature + bend

    def _is_cubic(self) -> NDArray[np.bool_]:
        cubic: NDArray[np.bool_] = np.abs(self.third).max(axis=(1, 2, 3)) > 0
        return cubic

    def _bend(self, beta: Floats) -> Floats:
        """Return by how much the curvature of the cubics is less at estimates than at 0."""
        m, k = beta.shape
        bend: Floats = np.matmul(self.third.reshape(m, k * k, k), beta[:, :, None])
        return bend.reshape(m, k, k)

    def _log_posterior(
        self, beta: Floats, x: Floats, y: NDArray[np.bool_], of_prior: float = 1.0
    ) -> Floats:
        """Return the log likelihood of rows, less what a share of the prior takes, shape (m,)."""
        odds = beta @ x.T
        loss = np.logaddexp(0.0, np.where(y, -odds, odds)).sum(axis=1)
        posterior: Floats = -loss - of_prior * np.einsum("mk,mk->m", beta, beta) / 2
        return posterior

    def _log_partition(self, cubic: NDArray[np.bool_]) -> Floats:
        """Return the log integral of what is the prior's density at 0, by Laplace's method."""
        partition: Floats = self._over_zero(cubic) - np.linalg.slogdet(self.curvature)[1] / 2
        return partition

    def _over_zero(self, cubic: NDArray[np.bool_] | bool) -> Floats:
        """Return how high the peaks are over 0, shape (m,), in nats: as cubics or as normal."""
        height = np.einsum("mk,mk->m", self.beta, self._pull()) / 2
        more = np.einsum("mijk,mi,mj,mk->m", self.third, *[self.beta] * 3) / 6
        over_zero: Floats = height + np.where(cubic, more, 0.0)
        return over_zero

    def _pull(self) -> Floats:
        pull: Floats = np.matmul(self.curvature, self.beta[:, :, None])[:, :, 0]
        return pull


def _products(x: Floats) -> Floats:
    """Return all products of two regressors of each row, shape (n, k²)."""
    return (x[:, :, None] * x[:, None, :]).reshape(len(x), x.shape[1] ** 2)


def _solve(matrices: Floats, right: Floats) -> Floats:
    solved: Any = np.linalg.solve(matrices, right[:, :, None])
    first: Floats = solved[:, :, 0]
    return first


def _curves(matrices: Floats) -> NDArray[np.bool_]:
    """Return which matrices are positive definite."""
    numbers: Any = np.isfinite(matrices).all(axis=(1, 2))
    least = np.linalg.eigvalsh(np.where(numbers[:, None, None], matrices, 0.0))[:, 0]
    positive: NDArray[np.bool_] = numbers & (least > 0)
    return positive
