"""Logistic regression in one pass, several models at once: renewable estimation.

A batch is used once and forgotten: what earlier batches knew is kept as an estimate and its
curvature, which together act on the next batch as a Gaussian prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
_STEPS = 50  # of Newton's method at most; two or three are usual
_CLOSE = 1e-12  # nats to be gained: the step that gains no more is the last
_LARGEST = 1e40  # beyond what any number of rows within ±1e6 can lead to
_OF_PRIOR = 0.1  # share of it that a part is learned with; of a hundredth, small parts do harm
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
        self._more = 1 + 1e-12 * np.eye(k)  # keeps what is singular by rounding solvable
        self.beta: Floats = np.zeros((m, k))
        self.curvature: Floats = np.tile(np.eye(k), (m, 1, 1))

    def restore(self, beta: Floats, curvature: Floats) -> None:
        """Take over what an object of the same models had learned.

        Raises
        ------
        ValueError
            These are no such arrays: other shapes, no positive definite curvature.
        """
        fresh = Renewable(self.uses)
        if (beta.shape, curvature.shape) != (fresh.beta.shape, fresh.curvature.shape):
            raise ValueError(f"estimates of shape {beta.shape}, expected {fresh.beta.shape}")
        diagonal = curvature.diagonal(axis1=1, axis2=2)
        sound = (
            (np.abs(beta) < _LARGEST).all()
            and (np.abs(curvature) < _LARGEST).all()
            and (beta[~self.uses] == 0).all()
            and (diagonal >= 1).all()
            and (curvature[self._pairs == 0] == fresh.curvature[self._pairs == 0]).all()
        )
        if not sound:
            raise ValueError("estimates or curvature that no rows lead to")
        size = np.sqrt(diagonal)
        scaled = curvature / (size[:, :, None] * size[:, None, :])
        if not (np.abs(scaled - scaled.transpose(0, 2, 1)) < 1e-6).all():
            raise ValueError("curvature that is not symmetric")
        np.linalg.cholesky(scaled * self._more)  # or an error, which is a ValueError
        self.beta, self.curvature = beta, curvature

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
            step = np.linalg.solve(hessian * self._more, gradient[:, :, None])[:, :, 0]
            rise = np.einsum("mk,mk->m", gradient, step)
            beta = beta + step
            if rise.max() < _CLOSE:
                break
        self.beta, self.curvature = beta, hessian

    # -- two streams ------------------------------------------------------------------------

    def __add__(self, other: Renewable) -> Renewable:
        """Return the models of two streams that share no row, on one scale.

        Each counts as the normal distribution of its estimate and curvature, the prior once
        (see `log_partition`).

        References
        ----------
        Lin, Xi (2011). Aggregated estimating equation estimation. Statistics and Its Interface 4,
        73-83.
        """
        both = Renewable(self.uses)
        curvature: Floats = self.curvature + other.curvature - both.curvature
        pull = self._pull() + other._pull()
        both.beta = np.matmul(np.linalg.inv(curvature), pull[:, :, None])[:, :, 0]
        both.curvature = curvature
        return both

    def learn_part(self, x: Floats, y: NDArray[np.bool_]) -> None:
        """Learn all rows of one part of a stream, shapes (n, k) and (n,), to be added to others.

        What adds up is the product of curvature and estimate, which err together. By itself it is
        short by half of what the likelihood's third derivative makes of the estimate's square
        error; that does not cancel over parts. The part that chance has in it is the bias of a
        maximum likelihood estimate, in size, and made up for here. The prior's would be larger in
        a steep world: each part is drawn to 0 by less of it, and all of it is put back afterwards.

        References
        ----------
        Cordeiro, McCullagh (1991). Bias correction in generalized linear models. Journal of the
        Royal Statistical Society B 53, 629-643, equation 4.2.
        """
        prior, self.curvature = self.curvature, _OF_PRIOR * self.curvature
        self.learn(x, y)
        part, p = x * self.uses[:, None, :], expit(self.log_odds(x))
        covariance = np.linalg.inv(self.curvature * self._more)
        spread = (np.matmul(part, covariance) * part).sum(axis=2)
        missing = np.matmul((p * (1 - p) * (p - 0.5) * spread)[:, None, :], part)
        pull = self._pull()[:, :, None] + missing.transpose(0, 2, 1)
        self.curvature = self.curvature + (1 - _OF_PRIOR) * prior
        self.beta = np.linalg.solve(self.curvature * self._more, pull)[:, :, 0]

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
        partition: Floats = (np.einsum("mk,mk->m", self.beta, self._pull()) - size) / 2
        return partition

    def _pull(self) -> Floats:
        pull: Floats = np.matmul(self.curvature, self.beta[:, :, None])[:, :, 0]
        return pull
