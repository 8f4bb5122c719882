"""Run the long forms of the tests of reliability, and print what was tried and what was lost.

`make soak` is this. It takes 35 to 45 minutes on two cores; `PROMO_SOAK=0.1 make soak` does a
tenth of it. What is given besides goes to pytest.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent


def _files(*names: str) -> list[str]:
    return [f"tests/test_{name}.py" for name in names]


# What waits for most of its time goes on side by side; what is timed has the machine for itself.
TURNS = (
    (
        _files("crash"),
        [*_files("race", "asleep", "leftovers", "changes", "faults"), "-k", "not test_stop"],
    ),
    ([*_files("faults"), "-k", "test_stop"],),
    (_files("scale"),),
    (_files("endurance"),),
)


class Line(NamedTuple):
    """A line of the table: a test with all its cases."""

    test: str
    tried: int
    lost: int
    skipped: int
    times_s: list[float]
    figures: str


def lines(report: Path) -> Iterator[Line]:
    """Yield what a report of pytest tells, test by test.

    A test that records how much it `tried` tells it for all; else a case is a try. What went wrong
    counts as lost once per case, and that there is no report as well.
    """
    if not report.exists():
        yield Line("pytest, which ended without a report", 0, 1, 0, [], "")
        return
    tests: dict[str, list[ElementTree.Element]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname", "").rpartition(".")[2]  # wherever its folder lies
        name = f"{module}.{case.get('name', '')}"
        tests.setdefault(name.partition("[")[0], []).append(case)
    for name, cases in tests.items():
        recorded = [{p.get("name"): p.get("value", "") for p in c.iter("property")} for c in cases]
        skipped = sum(case.find("skipped") is not None for case in cases)
        yield Line(
            name.replace(".test_", ": ").replace("_", " ").removeprefix("test "),
            sum(int(each.get("tried", "1")) for each in recorded) - skipped,
            sum(case.find(what) is not None for case in cases for what in ("failure", "error")),
            skipped,
            [time for each in recorded for time in json.loads(each.get("times_s", "[]"))],
            "; ".join(each["figures"] for each in recorded if "figures" in each),
        )


def table(found: list[Line]) -> str:
    """Return the lines as text in columns, and a last one that adds them up."""
    rows = [("what was tried", "times", "lost", "")]
    for line in found:
        words = [line.figures] if line.figures else []
        if line.times_s:
            median, worst = statistics.median(line.times_s), max(line.times_s)
            words.append(f"median {median * 1000:.0f} ms, worst {worst * 1000:.0f} ms")
        if line.skipped:
            words.append(f"{line.skipped} skipped")
        rows.append((line.test, f"{line.tried:,}", f"{line.lost:,}", "; ".join(words)))
    lost = sum(line.lost for line in found)
    rows.append(("all", f"{sum(line.tried for line in found):,}", f"{lost:,}", ""))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{a:{width}} {b:>10} {c:>5}  {d}".rstrip() for a, b, c, d in rows)


def run(turn: Sequence[list[str]], folder: Path) -> tuple[int, list[Path]]:
    """Run pytest with each list of arguments, side by side; return the worst code, the reports."""
    environment = {"PROMO_SOAK": "1"} | os.environ
    command = [sys.executable, "-m", "pytest", "-ojunit_family=xunit1"]
    reports = [folder / f"{number}.xml" for number in range(len(turn))]
    running = [
        subprocess.Popen([*command, f"--junit-xml={report}", *part], cwd=ROOT, env=environment)
        for part, report in zip(turn, reports, strict=True)
    ]
    return max(process.wait() for process in running), reports


def main(arguments: list[str]) -> int:
    """Run the tests turn by turn, print the table, and return pytest's exit code."""
    worst, found, began = 0, [], time.monotonic()
    for turn in TURNS:
        with tempfile.TemporaryDirectory() as folder:
            code, reports = run([[*part, *arguments] for part in turn], Path(folder))
            worst = max(worst, code)
            found += [line for report in reports for line in lines(report)]
    minutes = (time.monotonic() - began) / 60
    print(f"\n{table(found)}\n\nIt took {minutes:.0f} minutes.")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
