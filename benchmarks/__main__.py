"""Measure everything and write RESULTS.md; a part or --quick is measured and printed only."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import dashboard, footprint, page, pipeline, report, scale
from benchmarks.measure import Result

Part = Callable[[bool], list[Result]]

PARTS: dict[str, Part] = {
    "loop": lambda quick: pipeline.against_plain_loop(*((900, 1) if quick else (3000, 5))),
    "slow": lambda quick: pipeline.against_load_generator(*((500, 1) if quick else (1250, 3))),
    "dashboard": lambda quick: dashboard.measure(
        *((1.0, 1) if quick else (5.0, 4)), with_browser=not quick
    ),
    "page": lambda quick: page.measure(*((500, 1) if quick else (2000, 3))),
    "memory": lambda quick: footprint.memory_and_file(*((1000, 3000) if quick else (1000, 10_000))),
    "scale": lambda quick: scale.measure(*((60, 300, 1, 4) if quick else (300, 10_000, 3, 8))),
    "import": lambda quick: footprint.import_time(2 if quick else 5),
}


def main() -> int:
    """Run the parts; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--quick", action="store_true", help="under a minute, for development")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    others = psutil.cpu_percent(2) / 100 * (psutil.cpu_count() or 1)
    began, results = time.perf_counter(), []
    for name, part in PARTS.items():
        if not options.parts or name in options.parts:
            for result in part(options.quick):
                print(f"{result.what}: {result.figure}, bar {result.bar}. {result.words}")
                sys.stdout.flush()
                results.append(result)
    if not options.parts and not options.quick:
        path = Path(__file__).with_name("RESULTS.md")
        report.write(path, results, time.perf_counter() - began, others)
    return int(any(result.reached is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
