"""Waiting and timing in tests that machines of any speed, idle or heavily loaded, are to pass."""

import re
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

STOP_S = 0.25  # on a machine that has time for us
_PATIENCE = 8  # times as long, at the very most, on one that has not


def wait_for(condition, deadline_s=60.0, every_s=0.001):
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every_s)
    return value


@contextmanager
def at_most(seconds, times=None):
    """Hold what is done to a time, and the time for which processors or disk were not to be had.

    Nothing is added where nobody had to wait for one. How long it took is appended to `times`,
    in seconds.
    """
    began, stalled = time.monotonic(), _stalled_s()
    yield
    took, stalled = time.monotonic() - began, _stalled_s() - stalled
    if times is not None:
        times.append(took)
    assert took < seconds + min(stalled, (_PATIENCE - 1) * seconds), f"{stalled:.3f} s stalled"


def _stalled_s():
    """Return the seconds so far in which some process was kept waiting for processor or disk.

    Linux counts them since the machine's start, in the kernel's scheduler. Elsewhere the time in
    which the processors were busy must stand for it, whoever it was that kept them so.
    """
    try:
        told = [Path(f"/proc/pressure/{what}").read_text() for what in ("cpu", "io")]
    except OSError:
        spent = psutil.cpu_times()
        return (sum(spent) - spent.idle) / psutil.cpu_count()
    return sum(int(re.search(r"^some .*total=(\d+)", text, re.M)[1]) for text in told) / 1e6
