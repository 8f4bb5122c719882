"""Whether the source still serves what was committed, asked before a stream goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from copy import copy
from typing import NamedTuple

from promo.batch import Batch
from promo.errors import SourceChanged, StreamError
from promo.reader import Retry
from promo.store import Reader, Store
from promo.stream import PageStream

_EARLIER = 3  # pages that are fetched again besides the last
_TICK_S = 0.05


class Change(NamedTuple):
    """A page that is not what it was: digests as committed and as found, None for no rows."""

    page: int
    committed: str
    found: str | None


def check_source(
    stream: PageStream,
    store: Store,
    halt: threading.Event,
    note: Callable[[Retry | None], None],
    accept: bool,
) -> None:
    """Write an event if the source no longer serves what was committed.

    `note` is told all the while which page is being asked for again, if one is.

    Raises
    ------
    SourceChanged
        It does not, and that is not accepted.
    StreamError
        A page could not be had, or a new store would begin within one.
    """
    if stream.start_position and store.page is None:
        raise StreamError(
            f"start_position={stream.start_position}: a store begins with a whole page, so that "
            "what was committed can be held against the source; leave it at 0"
        )
    change = find_change(stream, store, halt, note)
    if change is not None:
        _report(change, stream, store, accept)


def _report(change: Change, stream: PageStream, store: Store, accept: bool) -> None:
    store.record("changed", {"rows": store.rows, **change._asdict()})
    if not accept:
        raise SourceChanged(
            f"page {change.page} (counted from 0) of {stream.source} is not what was committed; "
            "nothing was overwritten. Go on all the same, or start over with an empty store"
        )


def check_growth(batches: Iterable[Batch], stream: PageStream, store: Store, accept: bool) -> None:
    """Write an event if a page that has grown does not begin as it was served before.

    Raises
    ------
    SourceChanged
        It does not, and that is not accepted.
    """
    served: dict[int, str] = {}  # by page, where it was not committed yet
    for batch in batches:
        if batch.before:
            rows = store.query("SELECT digest FROM page WHERE page = ?", batch.page)
            was = served.get(batch.page) or next((digest for [digest] in rows), batch.before)
            if was != batch.before:
                change = Change(batch.page, was, batch.before)
                told = [event.detail for event in store.events("changed", last=1)]
                known = bool(told) and told[0].items() >= change._asdict().items()  # on going on
                if not (accept and known):
                    _report(change, stream, store, accept)
        served[batch.page] = batch.digest


def find_change(
    stream: PageStream, store: Reader, halt: threading.Event, note: Callable[[Retry | None], None]
) -> Change | None:
    """Fetch the last committed page and a few earlier ones again; return one that differs.

    A page that was short may have grown since: its rows of then are what counts. Returns None
    also if `halt` is set meanwhile.

    Raises
    ------
    StreamError
        A page could not be had.
    """
    last = store.page
    if last is None:
        return None
    stream = copy(stream)
    stream.follow = False  # a page that is gone is not waited for
    pages = {last, *(random.randrange(last + 1) for _ in range(_EARLIER))}
    for page in sorted(pages, reverse=True):
        rows = store.query("SELECT received, digest FROM page WHERE page = ?", page)
        for received, committed in rows:
            if halt.is_set():
                return None
            found = _digest(stream, page, received, halt, note)
            if found != committed and not halt.is_set():
                return Change(page, committed, found)
    return None


def _digest(
    stream: PageStream,
    page: int,
    received: int,
    halt: threading.Event,
    note: Callable[[Retry | None], None],
) -> str | None:
    """Return the digest of the first `received` rows of a page, None if there are fewer."""
    with stream.read(page, window=1) as reader:
        try:
            while not halt.is_set():
                batch = reader.poll(_TICK_S)
                note(reader.retry)
                if batch is not None:
                    head = batch.head(received)
                    return head.digest if batch.page == page and head.received == received else None
        except StopIteration:
            pass
    return None
