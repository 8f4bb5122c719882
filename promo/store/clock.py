"""The time at which something is written."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def timestamp() -> str:
    """Return the time as ISO 8601, to the millisecond, in UTC."""
    second, rest = divmod(time.time_ns(), 10**9)
    return f"{_second(second)}.{rest // 10**6:03d}+00:00"


@lru_cache(maxsize=1)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).isoformat()[:19]
