"""How experts are drawn, on the page as in a report: each in one colour, with one dash."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from promo.models.best import BestPossible
from promo.models.default import EXPERTS, MIXTURE

_STYLES = (
    ("blue", "solid"), ("vermillion", "dashed"), ("green", "solid"), ("brown", "dashed"),
    ("violet", "dashed"), ("sky", "dashed"), ("olive", "dotted"), ("violet", "dash-dotted"),
)  # fmt: skip
_OURS = {
    **dict(zip(EXPERTS, _STYLES, strict=True)),
    MIXTURE: ("orange", "solid"),
    BestPossible.name: ("grey", "dotted"),
}
_OTHERS = tuple(  # for those that are none of ours
    (colour, dash)
    for dash in ("solid", "dashed", "dotted", "dash-dotted")
    for colour in ("blue", "vermillion", "green", "orange", "sky", "brown", "violet", "olive")
    if (colour, dash) not in _OURS.values()
)
BESIDE = "purple"  # the colour of another run, which nobody else has


def expert_styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the dash of each, as `promo.report.svg` names them.

    Ours have always the same; others take what ours leave, in their order.

    Examples
    --------
    >>> expert_styles(["mine", "sgd-logistic"])
    {'mine': ('vermillion', 'solid'), 'sgd-logistic': ('blue', 'solid')}
    """
    free = cycle(_OTHERS)
    return {name: _OURS[name] if name in _OURS else next(free) for name in names}
