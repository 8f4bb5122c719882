"""RESULTS.md: the table, what stands behind each line, and the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Result

_PACKAGES = (
    "bqplot", "fastapi", "ipywidgets", "jupyterlab", "msgspec", "numpy", "requests", "river",
    "scipy", "urllib3", "uvicorn",
)  # fmt: skip
_WORDS = {True: "reached", False: "missed", None: ""}
_NOISE = """\
Figures are medians over turns, with the smallest and the largest turn in brackets. Within a turn
what is compared runs one after the other on the same machine, so the ratios stand a slow or busy
minute better than the rates do; the rates are for orientation only. Where the brackets of a ratio
straddle its bar, the verdict is not to be relied on: run it again on a machine that is quiet.
"""


def write(path: Path, results: Sequence[Result], seconds: float, others: float) -> None:
    """Write the whole file; `others` is how many cores other programs kept busy before."""
    table = [f"| {r.what} | {r.bar} | {r.figure} | {_WORDS[r.reached]} |" for r in results]
    lines = [
        "# Results",
        "",
        f"Written by `python -m benchmarks` in {seconds:.0f} s.",
        "",
        "| measured | bar | median (least to most) | verdict |",
        "|---|---|---|---|",
        *table,
        "",
        "## Behind the figures",
        "",
        *(f"- **{r.what}.** {r.words}" for r in results if r.words),
        "",
        "## Noise",
        "",
        _NOISE,
        f"Just before this run, other programs kept {others:.1f} of {os.cpu_count()} cores busy.",
        "",
        "## Machine",
        "",
        *_machine(),
        "",
    ]
    path.write_text("\n".join(lines))


def _machine() -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores ({_processor()})",
        f"- {platform.python_implementation()} {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}",
        f"- promo {version('promo')}; {packages}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, "unknown")
