"""A look at an address before a stream is opened there: what answers, and keeps the contract.

For a reader who chooses a source. Every finding is one plain sentence.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from promo.errors import StreamError, StreamTimeout
from promo.stream import CONTRACT_PAGE_SIZE, PageStream

_PATIENCE_S = 3.0  # of somebody who has typed an address and waits


class Verdict(NamedTuple):
    """Whether a stream can be opened at an address, and what was found, a sentence each."""

    usable: bool
    findings: tuple[str, ...]


def look(url: str, patience_s: float = _PATIENCE_S) -> Verdict:
    """Ask for the first page as a stream does, and for what else is offered.

    Takes `patience_s` for each of three questions at most.
    """
    try:
        stream = PageStream(url, window=1, timeout=patience_s, deadline=patience_s)
        stream.check()
    except StreamError as error:
        said = str(error)
        if not said.startswith("http"):  # an address is written as it is
            said = f"{said[:1].upper()}{said[1:]}"
        return Verdict(False, (said if said.endswith("?") else f"{said}.",))
    reached = f"Reachable: {stream.base_url}."
    try:
        first = next(iter(stream), None)
    except StreamTimeout as error:
        return Verdict(False, (reached, f"No good page: {error}."))
    except StreamError as error:
        return Verdict(False, (reached, f"Contract not kept: {error}."))
    if first is None:
        return Verdict(False, (reached, "Contract kept, but there are no rows to learn from."))
    good, bad = len(first.ids), len(first.rejected)
    if not good:
        reason = first.rejected[0].reason
        return Verdict(False, (reached, f"Contract not kept: no row is an employee ({reason})."))
    kept = f"Contract kept: the first page has {good} employees."
    if bad:
        kept = f"Contract kept by {good} of {good + bad} rows; the others go to quarantine."
    total = stream.total_rows
    rows = "It does not say how many rows it has." if total is None else f"Rows: {total:,}."
    return Verdict(True, (reached, kept, _sizes(url, patience_s), rows))


def _sizes(url: str, patience_s: float) -> str:
    with suppress(StreamError):
        asked = PageStream(url, size=CONTRACT_PAGE_SIZE + 1, timeout=patience_s)
        if asked.page_size != CONTRACT_PAGE_SIZE:
            return "Larger pages offered."
    return f"Pages of {CONTRACT_PAGE_SIZE} rows only."
