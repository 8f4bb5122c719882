"""Watch models learn from a stream of employees, and reason about what they learned."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where the public names live. They are imported at first use, so that `import promo` is quick.
_HOMES = {
    "Batch": "promo.batch",
    "EmbeddedAPI": "promo.embedded",
    "History": "promo.history",
    "Mixture": "promo.models.mixture",
    "PageStream": "promo.stream",
    "PromoError": "promo.errors",
    "Race": "promo.models.race",
    "Reader": "promo.store",
    "Regressions": "promo.models.regressions",
    "RenewableLogistic": "promo.models.logistic",
    "SGDLogistic": "promo.models.sgd",
    "Snapshot": "promo.snapshot",
    "Store": "promo.store",
    "Stories": "promo.models.stories",
    "Trainer": "promo.trainer",
    "data_dir": "promo.paths",
    "default_models": "promo.models.default",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'promo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
