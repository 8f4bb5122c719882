"""What the trainer says of errors and of waiting, in one plain sentence for the reader."""

from __future__ import annotations

import time

from promo.errors import PromoError
from promo.reader import Retry


def of_error(error: BaseException | None) -> str:
    """Say what went wrong: our own errors have a message made for that."""
    return str(error) if isinstance(error, PromoError) else repr(error)


def of_retry(retry: Retry) -> str:
    """Say which page is late, why, and when it will be asked for again."""
    left = max(retry.at - time.monotonic(), 0.0)
    return (
        f"page {retry.page} (counted from 0): {retry.reason}; "
        f"attempt {retry.attempt} in {left:.0f} s"
    )
