"""Start what serves pages, for tests, benchmarks and pictures: `promo lab`, `promo app`, Voila."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LAB = ("promo", "lab", "--no-browser", "--port", "0")
APP = ("promo", "app", "--no-browser", "--port", "0")
LAB_ADDRESS = r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)"
DEADLINE_S = 60


@contextmanager
def launched(
    folder: Path, *module: str | Path, address: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], re.Match[str]]]:
    """Run a module in a folder until it prints its address; in the end, end it by SIGTERM.

    Home and data lie in that folder, unless the environment says otherwise, and nothing is known
    of the user's Jupyter. What it prints goes to the file `said`.

    Raises
    ------
    RuntimeError
        No such address is printed, or not in time.
    """
    own = {name: text for name, text in os.environ.items() if not name.startswith("JUPYTER")}
    own |= {"HOME": str(folder / "home"), "PROMO_DATA": str(folder / "data"), **environment}
    said = folder / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=folder, env=own, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not (found := re.search(address, said.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(said.read_text())
            time.sleep(0.02)
        yield process, found
    finally:
        process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
