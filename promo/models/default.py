"""The models that a stream is given unless told otherwise, and what is fixed before it begins."""

from __future__ import annotations

from typing import Any

from promo.models.regressions import Regressions
from promo.models.results import Model
from promo.models.sgd import SGDLogistic
from promo.models.stories import Stories


def default_models() -> tuple[tuple[Model, ...], dict[str, Any]]:
    """Return the models, in order, and the settings that their store is to remember."""
    regressions = Regressions()
    settings = {"alpha": regressions.alpha, "g": regressions.g}
    return (SGDLogistic(), regressions, Stories(regressions)), settings
