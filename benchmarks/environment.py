"""Libraries that only the benchmarks need, in a folder of their own beside .venv.

They are what `benchmarks/requirements.lock` pins, by hash (`make lock` writes it). What promo has
pinned too, as numpy, they take from .venv.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from tempfile import NamedTemporaryFile

from benchmarks.measure import ROOT

FOLDER = ROOT / ".bench"
_LOCK = ROOT / "benchmarks" / "requirements.lock"
_DONE = FOLDER / "requirements.lock"  # what was installed


def prepare() -> dict[str, str]:
    """Install what is not there yet; return the environment for a Python that is to find it.

    What no wheel can be had for is left out: it will fail to import, and is tried again next time.
    """
    lock = _LOCK.read_text()
    if not _DONE.exists() or _DONE.read_text() != lock:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir()
        installed = [_install(pin) for pin in re.split(r"\n(?=\S)", lock.strip())]
        if all(installed):
            _DONE.write_text(lock)
    return {"PYTHONPATH": str(FOLDER)}


def _install(pin: str) -> bool:
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    with NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(pin)
        requirement.flush()
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(FOLDER)]
        done = subprocess.run([*command, "-r", requirement.name], capture_output=True, text=True)
    if done.returncode:
        print(f"cannot have {pin.split()[0]}: {done.stderr.strip()[-300:]}", file=sys.stderr)
    return not done.returncode
