"""What there is to say of errors, waiting and events, in one plain sentence for the reader."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from promo.errors import PromoError, printable
from promo.reader import Retry
from promo.store import Event

_LONG_S = 3.0  # to wait for a page


def of_rows(rows: float) -> str:
    """Say how many rows.

    Examples
    --------
    >>> of_rows(1), of_rows(1000.0)
    ('1 row', '1,000 rows')
    """
    return f"{rows:,.0f} " + ("row" if rows == 1 else "rows")


def percent(share: float, digits: int = 1) -> str:
    """Return a share or a chance for people: never 0% or 100% of what only comes close.

    A share of 0 is one that has become too small for a float, and of 1 one that all others are.

    Examples
    --------
    >>> percent(1.0), percent(0.99999), percent(0.25), percent(1e-9), percent(0.0)
    ('> 99.9%', '> 99.9%', '25.0%', '< 0.1%', '< 0.1%')
    >>> percent(0.996, 0), percent(0.5, 0)
    ('> 99%', '50%')
    """
    told, least = f"{share:.{digits}%}", 10.0**-digits
    if told == f"{1:.{digits}%}":
        return f"> {100 - least:.{digits}f}%"
    return f"< {least:.{digits}f}%" if told == f"{0:.{digits}%}" else told


def of_error(error: BaseException | None) -> str:
    """Say what went wrong: our own errors have a message made for that."""
    return str(error) if isinstance(error, PromoError) else repr(error)


def of_failure(error: BaseException | None, *, play: bool) -> str:
    """Say why a stream has failed, and whether Play helps."""
    return of_error(error) + " · Play goes on from the last commit" * play


def of_retry(retry: Retry) -> str:
    """Say which page is late, why, and when it will be asked for again."""
    left = max(retry.at - time.monotonic(), 0.0)
    return (
        f"page {retry.page} (counted from 0): {retry.reason}; "
        f"attempt {retry.attempt} in {left:.0f} s"
    )


def of_waiting(retry: Retry | None, waited_s: float = 0.0) -> str:
    """Say what the stream waits for, nothing while that does not take long."""
    if retry is not None:
        return of_retry(retry)
    return "still waiting for the next page" if waited_s > _LONG_S else ""


def of_event(event: Event) -> str:
    """Say what happened; of a kind or a detail that is not ours, what is written there.

    Examples
    --------
    >>> of_event(Event(3, "", "learning_rate", {"model": "sgd-logistic", "from": 0.01, "to": 0.1}))
    'sgd-logistic learns at 0.1 from here on, before at 0.01.'
    >>> of_event(Event(3, "", "party", {"guests": 3}))
    'party: {"guests": 3}'
    """
    try:
        return printable(_EVENTS[event.kind](event.detail))
    except (AttributeError, LookupError, TypeError, ValueError):
        return printable(f"{event.kind}: {json.dumps(event.detail)}")


def _story(detail: Mapping[str, Any]) -> str:
    arrows = ", ".join(f"{cause} → {effect}" for cause, effect in detail["arrows"])
    return f"A story was written down: {arrows.replace('_', ' ') or 'no arrows'}."


# In the order in which a reader may want to look for them.
_EVENTS: Mapping[str, Callable[[Any], str]] = {
    "started": lambda d: f"Started with {of_rows(d['rows'])} learned.",
    "forked": lambda d: (
        f"Forked from {d['from']} at page {d['page']:,}, with {of_rows(d['rows'])} learned."
    ),
    "stopped": lambda d: f"Stopped with {of_rows(d['rows'])} learned.",
    "finished": lambda d: f"Reached the end of the stream with {of_rows(d['rows'])} learned.",
    "learning_rate": lambda d: (
        f"{d['model']} learns at {d['to']:.3g} from here on, before at {d['from']:.3g}."
    ),
    "drift": lambda d: (
        f"{d['model']} predicts worse than it did: a loss of {d['to']:.3f}, before {d['from']:.3f}."
    ),
    "story": _story,
    "retry": lambda d: f"Asked again: {d['reason']}.",
    "error": lambda d: f"Failed: {d['reason']}",
    "changed": lambda d: f"The source no longer serves page {d['page']:,} as it was committed.",
    "conflict": lambda d: f"Row {d['position']:,} was refused: {d['reason']}.",
    "grown": lambda d: "The last page, short before, has grown.",
}
KINDS = (*_EVENTS,)
