"""What a report is made of, read from a store at one commit."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple

from promo.errors import StoreMismatch
from promo.memory import Memory
from promo.snapshot import Snapshot
from promo.store import Event, Reader, check_ledger

EVENTS, QUARANTINED = 60, 20  # the newest, so many at most


class Quarantined(NamedTuple):
    """A row that was refused: where it came, why, and what it was."""

    page: int
    position: int
    reason: str
    raw: str


class Contents(NamedTuple):
    """A store at one commit, bounded however long the stream was.

    `begun` is when the store was made, and `version` by which promo; `events` and `quarantined`
    are the newest, newest first.
    """

    snapshot: Snapshot
    source: str
    begun: str
    version: str
    settings: dict[str, Any]
    events: list[Event]
    quarantined: list[Quarantined]


def contents(reader: Reader) -> Contents:
    """Read what there is to report, also while the stream runs.

    Raises
    ------
    StoreMismatch
        What the store keeps of past pages does not fit its newest one, or rows are missing.
    """
    with reader.at_one_commit():
        check_ledger(reader)
        try:
            memory = Memory(reader, reader.coefficients(), reader.metrics())
        except (LookupError, TypeError, ValueError) as error:
            raise StoreMismatch(f"{reader.path} holds no usable history: {error}") from error
        snapshot = memory.snapshot(
            "idle",
            "",
            page_size=reader.page_size,
            total_rows=None,
            learning_rates=_learning_rates(reader),
        )
        [[begun, version]] = reader.query("SELECT created_at, promo_version FROM stream LIMIT 1")
        return Contents(
            snapshot,
            reader.source,
            begun,
            version,
            reader.settings,
            reader.events(last=EVENTS)[::-1],
            quarantined(reader),
        )


def quarantined(
    reader: Reader, last: int = QUARANTINED, *, until: int | None = None
) -> list[Quarantined]:
    """Return the rows refused last, the newest first; of pages up to one, if given."""
    sql = (
        "SELECT page, position, reason, raw FROM quarantine WHERE ?2 IS NULL OR page <= ?2 "
        "ORDER BY page DESC, position DESC LIMIT ?1"
    )
    return [Quarantined(*row) for row in reader.query(sql, last, until)]


def _learning_rates(reader: Reader) -> dict[str, float]:
    """Return the rates in force, of the models whose state tells one."""
    rates = {}
    for name, text in reader.states.items():
        with suppress(ValueError, RecursionError):
            state = json.loads(text)
            if isinstance(state, dict) and isinstance(state.get("learning_rate"), float):
                rates[name] = state["learning_rate"]
    return rates
