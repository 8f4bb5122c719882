"""Measure everything and write RESULTS.md; a part or --quick is measured and printed only."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import (
    clicks,
    dashboard,
    flat,
    page,
    peers,
    pipeline,
    prediction,
    report,
    scale,
    service,
    startup,
)
from benchmarks.measure import Result

PARTS: dict[str, Callable[[argparse.Namespace], list[Result]]] = {
    "loop": lambda o: pipeline.against_plain_loop(*((900, 1) if o.quick else (10_000, 5))),
    "slow": lambda o: pipeline.against_load_generator(*((2, 1) if o.quick else (4, 3))),
    "far": lambda o: pipeline.at_a_distance(*((2, 1) if o.quick else (4, 3))),
    "api": lambda o: service.measure(*((1, 1, 10_000) if o.quick else (2, 3, 1_000_000))),
    "page": lambda o: page.measure(*((3000, 1) if o.quick else (100_000, 3))),
    "experts": lambda o: prediction.measure(o.quick),
    "peers": lambda o: peers.measure(*((300, 1) if o.quick else (1000, 3))),
    "start": lambda o: startup.measure(1 if o.quick else 5),
    "dashboard": lambda o: dashboard.measure(
        *((1.0, 1) if o.quick else (4.0, 3)), with_browser=not o.quick
    ),
    "clicks": lambda o: clicks.measure(5 if o.quick else 50),
    "scale": lambda o: scale.measure(*((60, 300, 1, 4) if o.quick else (600, 10_000, 3, 8))),
    "flat": lambda o: flat.measure(4000 if o.quick else o.pages),
}


def main() -> int:
    """Run the parts; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--quick", action="store_true", help="a minute or so, for development")
    parser.add_argument("--pages", type=int, default=100_000, help="how far `flat` goes")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    others = psutil.cpu_percent(2) / 100 * (psutil.cpu_count() or 1)
    began, results = time.perf_counter(), []
    for name, part in PARTS.items():
        if not options.parts or name in options.parts:
            for result in part(options):
                bar = f", bar {result.bar}" if result.bar else ""
                print(f"{result.what}: {result.figure}{bar}. {result.words}")
                sys.stdout.flush()
                results.append(result)
    if not options.parts and not options.quick:
        path = Path(__file__).with_name("RESULTS.md")
        report.write(path, results, time.perf_counter() - began, others)
    return int(any(result.reached is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
