"""Tests of `promo.interruption`: Ctrl-C comes once, and is never lost."""

import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from promo.interruption import Interruption


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_held_it_comes_at_the_end():
    """Within what must not be cut short nothing is raised; right after it, it is."""
    before, reached = signal.getsignal(signal.SIGINT), []

    def work():
        with interruption.held():
            press()
            reached.append(True)

    with Interruption().heard() as interruption:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert reached
        press()  # again: it is heard once
    assert signal.getsignal(signal.SIGINT) in (before, signal.SIG_IGN)
    signal.signal(signal.SIGINT, before)


def test_swallowed_it_is_there_to_be_checked():
    """Whoever catches it, as Python does in callbacks: the next check raises it."""
    before = signal.getsignal(signal.SIGINT)
    with Interruption().heard() as interruption:
        interruption.check()
        with suppress(KeyboardInterrupt):
            press()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    signal.signal(signal.SIGINT, before)


def test_ignored_it_stays_ignored():
    """In the background a shell has it ignored: so do we."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption().heard() as interruption:
            press()
            interruption.check()
    finally:
        signal.signal(signal.SIGINT, before)


LOST = """
import os, signal, sys
from promo.cli import main

class Pressing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(name, path, target=None):
        if name == "promo.api":
            Pressing()

sys.meta_path.insert(0, Finder)
sys.exit(main(["api", "--port", "0", "--rows", "10", "--data", sys.argv[1]]))
"""


def test_pressed_in_an_import_it_comes_at_the_next_check(tmp_path, monkeypatch):
    """The import is done, or else the module's lock might stay taken; nothing is lost."""
    (tmp_path / "pressing.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\ndone = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with Interruption().heard() as interruption:
        assert importlib.import_module("pressing").done
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    signal.signal(signal.SIGINT, before)


def test_pressed_in_a_callback_of_an_import_the_api_does_not_start(tmp_path):
    """Python loses what is raised there, as when a module's lock is let go of."""
    command = [sys.executable, "-c", LOST, tmp_path / "world.db"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
