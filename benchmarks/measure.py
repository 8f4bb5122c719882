"""Interleaved repetitions, their medians and spread, and the processes that take part.

Two things that are compared take turns, in an order that is reversed every time, so that a slow
minute of the machine falls on both. A ratio is taken within a turn, never across.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Figures:
    """Repetitions of one measurement."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def __truediv__(self, other: Figures | float) -> Figures:
        """Ratios within a turn; or all by one number."""
        others = other.values if isinstance(other, Figures) else (other,) * len(self.values)
        return Figures(tuple(a / b for a, b in zip(self.values, others, strict=True)))

    def per(self, amount: float) -> Figures:
        """Return the amount by each: rates, where these are times."""
        return Figures(tuple(amount / value for value in self.values))

    def __format__(self, form: str) -> str:
        """Write the median, and the smallest and largest value behind it."""
        low, high = min(self.values), max(self.values)
        spread = f" ({low:{form}} to {high:{form}})" if len(self.values) > 1 else ""
        return f"{self.median:{form}}{spread}"


@dataclass(frozen=True)
class Result:
    """One line of the table: what was measured, the bar, the figure, and more in words.

    `reached` is None where there is no bar.
    """

    what: str
    bar: str
    figure: str
    reached: bool | None
    words: str = ""


def at_least(bar: float, what: str, figures: Figures, form: str, words: str = "") -> Result:
    """Return the line of what has to reach a bar."""
    reached = figures.median >= bar
    return Result(what, f"≥ {bar:,}", f"{figures:{form}}", reached, words)


def at_most(bar: float, what: str, figures: Figures, form: str, words: str = "") -> Result:
    """Return the line of what has to stay below a bar."""
    reached = figures.median <= bar
    return Result(what, f"≤ {bar:,}", f"{figures:{form}}", reached, words)


def take_turns(turns: int, **variants: Callable[[], float]) -> dict[str, Figures]:
    """Measure each variant once per turn; every other turn goes backwards."""
    values: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(turns):
        for name in list(variants)[:: -1 if turn % 2 else 1]:
            values[name].append(variants[name]())
    return {name: Figures(tuple(some)) for name, some in values.items()}


def run_python(*arguments: object, environment: Mapping[str, str] | None = None) -> Any:
    """Run this Python in a process of its own; return the JSON object on its last line."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


@contextmanager
def serving(arguments: Sequence[object]) -> Iterator[str]:
    """Run a Python program that prints the address it serves at; give the address."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
