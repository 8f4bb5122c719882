"""Waiting and timing in tests that machines of any speed, idle or heavily loaded, are to pass."""

import os
import time
from contextlib import contextmanager

import psutil

STOP_S = 0.25  # on a machine that has time for us
_PATIENCE = 8  # on one that has not


def wait_for(condition, deadline_s=60.0):
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)
    return value


@contextmanager
def at_most(seconds, times=None):
    """Hold what is done to a time, or to several times that if all processors were busy.

    How long it took is appended to `times`, in seconds.
    """
    began, idle = time.monotonic(), psutil.cpu_times().idle
    yield
    took = time.monotonic() - began
    if times is not None:
        times.append(took)
    busy = psutil.cpu_times().idle - idle < took / 4 or os.getloadavg()[0] > os.cpu_count()
    assert took < (_PATIENCE * seconds if busy else seconds)
