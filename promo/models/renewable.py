"""Logistic regression in one pass, several models at once: renewable estimation.

A batch is used once and forgotten: what earlier batches knew is kept as an estimate and its
curvature, which together act on the next batch as a Gaussian prior.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
_STEPS = 50  # of Newton's method at most; two or three are usual
_CLOSE = 1e-12  # nats to be gained: the step that gains no more is the last
_LARGEST = 1e40  # beyond what any number of rows within ±1e6 can lead to
_OF_PRIOR = 0.1  # share of it that a part is learned with
_OF_ONE = 1 - 1e-9  # what rounding leaves of the prior's curvature, at least
_OVERSHOT = -0.5  # share of the slope at the start of a step; steeper down, it went too far


class Renewable:
    """m logistic regressions of one outcome, each on its own choice of k shared regressors.

    A new batch moves β to the maximum of its log likelihood minus ½(β-β')ᵀJ(β-β'), β' and J the
    estimate and the curvature so far; then XᵀWX at the new β is added to J. Before any row, β is 0
    and J the identity: a standard normal prior, so regressors should be of unit scale.

    Parameters
    ----------
    uses
        Shape (m, k): which regressors, the constant included, each model has.

    Attributes
    ----------
    beta
        Shape (m, k); 0 for what a model does not use.
    curvature
        Shape (m, k, k), positive definite: the inverse of the estimates' covariance.
    third
        Shape (m, k, k, k), symmetric: the third derivative of the log likelihood of the parts that
        were added up (see `learn_part`); 0 for rows learned batch after batch.

    References
    ----------
    Luo, Song (2020). Renewable estimation and incremental inference in generalized linear models
    with streaming data sets. Journal of the Royal Statistical Society B 82, 69-97.

    Examples
    --------
    >>> model = Renewable(np.array([[True, True]]))
    >>> x = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model.learn(x, np.array([False, False, True]))
    >>> model.beta.round(2).tolist()
    [[-0.3, 0.68]]
    """

    def __init__(self, uses: NDArray[np.bool_]) -> None:
        self.uses = uses
        m, k = uses.shape
        self._pairs = (uses[:, :, None] & uses[:, None, :]).astype(np.float64)
        self._triples = self._pairs[:, :, :, None] * self._pairs[:, :, None, :]
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
        if not (np.abs(scaled - scaled.transpose(0, 2, 1)) < 1e-6).all():
            raise ValueError("curvature that is not symmetric")
        np.linalg.cholesky(scaled * self._more)  # or an error, which is a ValueError
        self.beta, self.curvature, self.third = beta, curvature, third

    def log_odds(self, x: Floats) -> Floats:
        """Return the log odds of rows of shape (n, k), shape (m, n)."""
        odds: Floats = self.beta @ x.T
        return odds

    def learn(self, x: Floats, y: NDArray[np.bool_]) -> None:
        """Take in a batch: regressors of shape (n, k), outcomes of shape (n,)."""
        before, prior, across = self.beta, self.curvature, x.T
        products = (x[:, :, None] * x[:, None, :]).reshape(len(x), x.shape[1] ** 2)
        beta = before
        step, rise = np.zeros_like(beta), np.zeros(len(beta))
        for _ in range(_STEPS):
            p = expit(beta @ across)
            pull = np.matmul(prior, (before - beta)[:, :, None])[:, :, 0]
            gradient = ((y - p) @ x) * self.uses + pull
            slope = np.einsum("mk,mk->m", gradient, step)
            overshot = (slope < _OVERSHOT * rise) & (rise > _CLOSE)  # where it is no rounding
            if overshot.any():  # back half of the way
                step, rise = step * (overshot / 2)[:, None], rise * (overshot / 2)
                beta = beta - step
                continue
            hessian = prior + ((p * (1 - p)) @ products).reshape(prior.shape) * self._pairs
            step = _solve(hessian * self._more, gradient)
            rise = np.einsum("mk,mk->m", gradient, step)
            beta = beta + step
            if rise.max() < _CLOSE:
                break
        self.beta, self.curvature = beta, hessian

    # -- two streams ------------------------------------------------------------------------

    def __add__(self, other: Renewable) -> Renewable:
        """Return the models of two streams that share no row, on one scale.

        Each counts as the cubic with its estimate for a peak, and its curvature and third
        derivative there; the prior counts once. Cubics add up exactly. Where third is 0 they are
        the logarithms of normal distributions, for which they are taken, too, where their sum has
        no peak nearby.

        References
        ----------
        Lin, Xi (2011). Aggregated estimating equation estimation. Statistics and Its Interface 4,
        73-83. Their expansion of each part's estimating equation has a term less.
        """
        both = Renewable(self.uses)
        prior, third = both.curvature, self.third + other.third
        (slope, curvature), (its_slope, its_curvature) = self._at_zero(), other._at_zero()
        pull = self._pull() + other._pull()
        both.curvature = self.curvature + other.curvature - prior
        both.beta = _solve(both.curvature * self._more, pull)
        both.third = third
        both._climb(slope + its_slope, curvature + its_curvature - prior)
        return both

    def moved(self, home: Floats) -> Renewable:
        """Return the models on a scale whose estimates, times home, are those of this one.

        Home is of shape (k, k); all regressors must be used. The prior is the same there as here.
        """
        there, back = Renewable(self.uses), home.T
        prior, pull = there.curvature, self._pull() @ home
        slope, curvature = self._at_zero()
        there.curvature = prior + _even(back @ (self.curvature - prior) @ home)
        there.beta = _solve(there.curvature * self._more, pull)
        there.third = np.einsum("mabc,ai,bj,ck->mijk", self.third, home, home, home)
        there._climb(slope @ home, prior + _even(back @ (curvature - prior) @ home))
        return there

    def learn_part(self, x: Floats, y: NDArray[np.bool_]) -> None:
        """Learn all rows of one part of a stream, shapes (n, k) and (n,), to be added to others.

        Nothing must have been learned before. The log likelihood is taken for a cubic about the
        part's own estimate, which is drawn to 0 by a share of the prior only; all of the prior is
        put back afterwards. What the cubic leaves out grows with the fourth power of how far that
        estimate is from that of all parts.
        """
        prior, self.curvature = self.curvature, _OF_PRIOR * self.curvature
        self.learn(x, y)
        p, k = expit(self.log_odds(x)), x.shape[1]
        cubes = np.einsum("ni,nj,nk->nijk", x, x, x).reshape(len(x), k**3)
        third = (p * (1 - p) * (2 * p - 1)) @ cubes
        self.third = third.reshape(self._triples.shape) * self._triples
        slope, curvature = self._at_zero()
        more = (1 - _OF_PRIOR) * prior
        self.curvature = self.curvature + more
        self._climb(slope, curvature + more)

    def _climb(self, slope: Floats, curvature: Floats) -> None:
        """Go on to the peak of a cubic, of which these are known at 0, where it has one nearby.

        There it must curve as the prior does, at least: a log likelihood is concave.
        """
        beta, prior = self.beta, np.eye(self.beta.shape[1])
        climbs = self.third.any(axis=(1, 2, 3))  # of the others, the estimate is the peak
        for _ in range(_STEPS):
            bend = self._bend(beta)
            gradient = slope - np.matmul(curvature - bend / 2, beta[:, :, None])[:, :, 0]
            hessian = curvature - bend
            numbers = np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1)
            hessian = np.where(numbers[:, None, None], hessian, 0.0)
            climbs &= np.linalg.eigvalsh(hessian - _OF_ONE * prior)[:, 0] > 0
            hessian = np.where(climbs[:, None, None], hessian, self.curvature)
            gradient = np.where(climbs[:, None], gradient, 0.0)
            step = _solve(hessian * self._more, gradient)
            beta = beta + step
            close = np.einsum("mk,mk->m", gradient, step) < _CLOSE
            if close.all():
                break
        climbs &= close
        self.beta = np.where(climbs[:, None], beta, self.beta)
        hessian = curvature - self._bend(beta)
        self.curvature = np.where(climbs[:, None, None], hessian, self.curvature)

    def _at_zero(self) -> tuple[Floats, Floats]:
        """Return slope and curvature, at 0, of the cubic for which the log posterior is taken."""
        bend = self._bend(self.beta)
        slope = self._pull() + np.matmul(bend, self.beta[:, :, None])[:, :, 0] / 2
        return slope, self.curvature + bend

    def _bend(self, beta: Floats) -> Floats:
        """Return by how much the curvature of the cubics is less at estimates than at 0."""
        bend: Floats = np.matmul(self.third, beta[:, None, :, None])[:, :, :, 0]
        return bend

    def log_evidence(self, x: Floats, y: NDArray[np.bool_]) -> Floats:
        """Return the log evidence, by Laplace's method, shape (m,), of all rows learned so far.

        They are to be given once more, shapes (n, k) and (n,).

        References
        ----------
        Kass, Raftery (1995). Bayes factors. Journal of the American Statistical Association 90,
        773-795, section 4.1.
        """
        odds = self.log_odds(x)
        loss = np.logaddexp(0.0, np.where(y, -odds, odds)).sum(axis=1)
        size = np.linalg.slogdet(self.curvature)[1]
        evidence: Floats = -loss - (np.einsum("mk,mk->m", self.beta, self.beta) + size) / 2
        return evidence

    @property
    def log_partition(self) -> Floats:
        """Of the normal distributions, shape (m,), in nats.

        What two streams' log evidence is more than the sum of each is this of their sum, less this
        of each: the logarithm of the integral of both posteriors over the prior.
        """
        size = np.linalg.slogdet(self.curvature)[1]
        height = np.einsum("mk,mk->m", self.beta, self._pull()) / 2  # of the peak, over 0
        height += np.einsum("mijk,mi,mj,mk->m", self.third, *[self.beta] * 3) / 6
        partition: Floats = height - size / 2
        return partition

    def _pull(self) -> Floats:
        pull: Floats = np.matmul(self.curvature, self.beta[:, :, None])[:, :, 0]
        return pull


def _solve(matrices: Floats, right: Floats) -> Floats:
    solved: Any = np.linalg.solve(matrices, right[:, :, None])
    first: Floats = solved[:, :, 0]
    return first


def _even(curvature: Floats) -> Floats:
    """Return matrices as symmetric as they would be without rounding."""
    return (curvature + curvature.transpose(0, 2, 1)) / 2
