"""Find a Chromium for tests, benchmarks and pictures, and print its path; or start it.

In this order: $PROMO_CHROMIUM; one on PATH; one that Playwright has downloaded. With --install,
where there is none: Debian's package (as root), else Playwright's own download. A name can be a
stub or lack its libraries, so each candidate is run before it is believed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ASK_PLAYWRIGHT = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
ARGUMENTS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--no-sandbox"] if AS_ROOT else []  # Chromium as root starts only so


class NoChromium(Exception):
    """One line: why there is none and how to get one."""


def runs(path: str) -> bool:
    """Say whether this file is a browser that starts."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "Chrom" in answer.stdout


def playwright_path() -> str:
    """Give the path where Playwright keeps its own Chromium, downloaded or not."""
    # In a process of its own, since the caller may have an event loop or Playwright running.
    command = [sys.executable, "-c", ASK_PLAYWRIGHT]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def find() -> str | None:
    """Find a Chromium without installing anything.

    Raises
    ------
    NoChromium
        When PROMO_CHROMIUM names something else than a Chromium that starts.
    """
    named = os.environ.get("PROMO_CHROMIUM")
    if named:
        path = shutil.which(named)
        if path and runs(path):
            return path
        raise NoChromium(f"PROMO_CHROMIUM={named} is no Chromium that starts")
    candidates = [path for name in NAMES if (path := shutil.which(name))]
    candidates += [path for path in PLACES if Path(path).exists()]
    for path in candidates:
        if runs(path):
            return path
    path = playwright_path()
    return path if Path(path).exists() and runs(path) else None


def install() -> str:
    """Install a Chromium: the system's where that may be done, else Playwright's."""
    if AS_ROOT and shutil.which("apt-get"):
        print("promo: installing Chromium with apt-get", file=sys.stderr, flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ["--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        for command in (["update"], ["install", *packages]):
            quiet = ["apt-get", "-qq", *command]
            subprocess.run(quiet, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if path := find():
            return path
    print("promo: downloading Playwright's Chromium", file=sys.stderr, flush=True)
    download = [sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"]
    subprocess.run(download, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    path = playwright_path()
    if not Path(path).exists():
        raise NoChromium("found no Chromium and could not download one")
    if not runs(path):
        raise NoChromium(
            "Playwright's Chromium lacks system libraries: "
            "sudo .venv/bin/python -m playwright install-deps chromium"
        )
    return path


@contextmanager
def launched(path: str | None) -> "Iterator[Browser]":
    """Start the Chromium at this path, Playwright's own if there is none; close it in the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def main() -> int:
    """Print the path of a Chromium, or say in one line why there is none."""
    try:
        path = find()
        if path is None and "--install" in sys.argv[1:]:
            path = install()
        if path is None:
            raise NoChromium("found no Chromium")
    except NoChromium as problem:
        hint = "install one (Debian: apt install chromium) or set PROMO_CHROMIUM to its path"
        print(f"promo: {problem}; {hint}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
