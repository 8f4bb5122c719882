"""Which request for which page goes wrong, and how: the plan of `promo api --faults`.

Pure: `promo.faulty` does what the plan says. On the line from page to figure this belongs to the
far end, to show that the line loses nothing by it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from promo.errors import ServiceError

# The first ten pass when the page is asked for again; after the other three the page is another.
PASSING = (
    *("429", "500", "hang", "drip", "truncated"),
    *("length", "html", "invalid", "reset", "empty"),
)
NAMES = (*PASSING, "duplicate", "reordered", "changed")
MAX_RATE = 0.9  # so that a page is served in the end
DEFAULT_RATE = 0.05
_ITEM = re.compile(r"(?P<page>\d{1,18}):(?P<name>[a-z0-9]+)(?:\*(?P<times>\d{1,4}))?")


@dataclass(frozen=True)
class Plan:
    """Which request for which page goes wrong, and how.

    Attributes
    ----------
    script
        Per page, the faults of its first requests, in order.
    seed, rate
        Any other request goes wrong with chance `rate`, in 0..0.9, in one of the ways that pass;
        the same requests for the same seed.
    """

    script: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0
    rate: float = 0.0

    def fault(self, page: int, attempt: int) -> str | None:
        """Return how the request goes wrong, both numbers counted from 0, or None.

        Examples
        --------
        >>> [parse("12:500*2").fault(12, attempt) for attempt in range(3)]
        ['500', '500', None]
        >>> [parse("seed=7,rate=0.2").fault(page, 0) for page in range(6)]
        ['500', None, None, None, None, None]
        """
        script = self.script.get(page, ())
        if attempt < len(script):
            return script[attempt]
        draw = random.Random(f"{self.seed}:{page}:{attempt}")
        if draw.random() >= self.rate:
            return None
        # Two empty answers running are the end of the stream, by the contract.
        return draw.choice(PASSING if attempt == 0 else PASSING[:-1])


def parse(text: str) -> Plan:
    """Read a plan: items with commas between, as in ``seed=7,rate=0.05,12:500*3,40:hang``.

    Raises
    ------
    ServiceError
        The text is no plan; the message names the item.

    Examples
    --------
    >>> parse("40:hang,12:500*2,40:reset")
    Plan(script={40: ('hang', 'reset'), 12: ('500', '500')}, seed=0, rate=0.0)
    >>> parse("seed=7")
    Plan(script={}, seed=7, rate=0.05)
    """
    script: dict[int, tuple[str, ...]] = {}
    numbers: dict[str, float] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        found = _ITEM.fullmatch(item)
        if found and found["name"] in NAMES:
            faults = (found["name"],) * int(found["times"] or 1)
            script[int(found["page"])] = script.get(int(found["page"]), ()) + faults
        else:
            name, number = _setting(item)
            numbers[name] = number
    rate = numbers.get("rate", DEFAULT_RATE if "seed" in numbers else 0.0)
    return Plan(script, int(numbers.get("seed", 0)), rate)


def _setting(item: str) -> tuple[str, float]:
    name, _, value = item.partition("=")
    if name == "seed" and re.fullmatch(r"\d{1,9}", value):
        return name, int(value)
    if name == "rate" and re.fullmatch(r"\d?\.?\d{1,9}", value) and float(value) <= MAX_RATE:
        return name, float(value)
    raise ServiceError(
        f"no fault plan: {item[:80]!r}; expected seed=N, rate=0 to {MAX_RATE:g}, PAGE:FAULT or "
        f"PAGE:FAULT*TIMES with a fault of {', '.join(NAMES)}"
    )
