"""How strong a spurious slope selection makes: theory for the collider, at any strength.

Network ability and competence are independent standard normal, the log odds of promotion are
strength times their sum. The slope of one on the other given promotion is nobody's doing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from promo.batch import Batch
from promo.models.regressions import Regressions
from promo.models.results import Coefficient

# Equal steps, which for smooth functions that fade at both ends are as exact as any rule. Hermite's
# nodes lie too far apart for the narrow peak that strong selection makes of σ'.
_NODES = np.linspace(-9.0, 9.0, 1801)
_WEIGHTS = np.exp(-_NODES * _NODES / 2)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def spurious_slope(strength: ArrayLike) -> NDArray[np.float64]:
    """Return the slope of network ability on competence given promoted, in the population.

    Among the promoted both abilities have mean m = 2s E[σ'(s√2 Z)], Z standard normal and σ the
    logistic function, variance 1 - m² and covariance -m²; among the others the same but for the
    sign of m. So the slope is -m²/(1 - m²).

    Parameters
    ----------
    strength
        Promotion's weight s on both abilities, within ±30; any shape, which is returned.

    Examples
    --------
    >>> spurious_slope([0.0, 1.0]).round(3).tolist()
    [-0.0, -0.152]
    """
    s = np.asarray(strength, np.float64)[..., None]
    p = expit(np.sqrt(2.0) * s * _NODES)
    squared: NDArray[np.float64] = (2 * s[..., 0] * ((p * (1 - p)) @ _WEIGHTS)) ** 2
    return -squared / (1 - squared)


def measured_slope(strength: float, rows: int, seed: int) -> Coefficient:
    """Return the slope as regression finds it on `rows` simulated employees.

    Employees and their luck are the same at any strength, so that moving it moves nothing else.
    """
    rng = np.random.default_rng(seed)
    ability, competence, luck = (
        rng.standard_normal(rows),
        rng.standard_normal(rows),
        rng.random(rows),
    )
    model = Regressions()
    model.learn(Batch.of(ability, competence, luck < expit(strength * (ability + competence))))
    term = "network_ability ~ competence + promoted", "competence"
    return next(c for c in model.coefficients() if c[:2] == term)
