"""How well the experts predict, and at what price: `python -m benchmarks.prediction [part ...]`.

Parts: `price` (microseconds a row of each expert), `together` (of those that run by default, and of
the full set, learned and stored), `resume` (seconds until a stored stream can go on), `excess` (log
loss above the best possible, by world), `luo` (the table of Luo's dissertation). `--streams` and
`--rows` make the last two shorter.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Result, take_turns
from promo.batch import Batch
from promo.line import Line
from promo.models.anytime import ALPHA
from promo.models.best import BestPossible
from promo.models.board import Board
from promo.models.default import (
    COMPARING_US,
    EXPERTS,
    FULL,
    MIXTURE,
    MIXTURE_US,
    USUAL,
    default_models,
)
from promo.models.mixture import Mixture
from promo.models.regressions import Regressions
from promo.models.renewable import Renewable
from promo.models.results import Model
from promo.models.stories import Stories
from promo.store import Store
from promo.world import DRIFT_ROW, WORLDS

AFTER = 20_000  # rows after the change that drift is judged by
BARS = {  # nats per row above the best possible
    ("collider", "renewable-logistic"): 0.0005,
    **{(world, MIXTURE): 0.002 for world in ("collider", "threshold", "mentoring", "interaction")},
    ("drift", MIXTURE): 0.02,
}
CHOICES = {"by default": USUAL, "of the full set": FULL}
TRUTH = np.array([0.2, -0.2, 0.2, -0.2, 0.2])
# Luo's dissertation, in thousandths: mean absolute error, mean and empirical standard errors.
LUO = {"bias": 6.32, "ASE": 7.82, "ESE": 7.92, "coverage": 0.95}


def pages(world: str, rows: int, size: int, seed: int = 2021) -> Iterator[Batch]:
    """Yield the rows of a world page by page."""
    network_ability, competence, promoted = WORLDS[world].sample(rows, seed)
    for page, at in enumerate(range(0, rows, size)):
        some = slice(at, at + size)
        columns = network_ability[some], competence[some], promoted[some]
        yield Batch.of(*columns, page=page, ids=np.arange(rows)[some])


def excess(rows: int, size: int = 10) -> list[Result]:
    """Compare log losses with the best possible, in pages of so many rows."""
    results = []
    for world in ("collider", "threshold", "mentoring", "interaction", "drift"):
        experts = [EXPERTS[name].make(ALPHA) for name in FULL if name != MIXTURE]
        racing = [*experts, Mixture(experts)]
        best = BestPossible(WORLDS[world])
        board = Board(racing, best)
        first, last = (DRIFT_ROW, DRIFT_ROW + AFTER) if world == "drift" else (0, rows)
        before = board.whole
        for batch in pages(world, last, size):
            if batch.page * size == first:
                before = board.whole
            for model in (*racing, best, board):
                model.learn(batch)
        losses = (board.whole.sums[0] - before.sums[0]) / (last - first)
        above = dict(zip(board.names, losses - losses[-1], strict=True))
        words = ", ".join(f"{name} {value:.5f}" for name, value in above.items())
        for (where, name), bar in BARS.items():
            if where == world:
                results.append(
                    Result(
                        f"nats per row of {name} above the best possible, {world}, rows "
                        f"{first:,} to {last:,}",
                        f"≤ {bar}",
                        f"{above[name]:.5f}",
                        bool(above[name] <= bar),
                        f"{words}; the best possible {losses[-1]:.5f}.",
                    )
                )
    return results


def luo(streams: int, rows: int) -> list[Result]:
    """Estimate five coefficients from streams in batches of four sizes, and compare.

    As published, with estimate and curvature, and as the experts do, with the third derivative.
    """
    spread = np.linalg.cholesky(np.full((4, 4), 0.5) + 0.5 * np.eye(4))
    results = []
    for size, cubic in product((10, 50, 200, 1000), (False, True)):
        estimates, errors = [], []
        for seed in range(streams):
            random = np.random.default_rng(seed)
            x = np.column_stack([np.ones(rows), random.standard_normal((rows, 4)) @ spread.T])
            y = random.random(rows) < 1 / (1 + np.exp(-x @ TRUTH))
            model = Renewable(np.ones((1, 5), np.bool_), cubic)
            for at in range(0, rows, size):
                model.learn(x[at : at + size], y[at : at + size])
            estimates.append(model.beta[0])
            errors.append(np.sqrt(np.linalg.inv(model.curvature[0]).diagonal()))
        off, ase = np.array(estimates) - TRUTH, np.array(errors)
        found = {
            "bias": 1e3 * abs(off).mean(),
            "ASE": 1e3 * ase.mean(),
            "ESE": 1e3 * off.std(axis=0, ddof=1).mean(),
            "coverage": (abs(off) < 1.959964 * ase).mean(),
        }
        # Monte Carlo errors of a mean absolute value, of a spread and of a share, twice.
        room = 2 / np.sqrt(5 * streams)
        scale = np.sqrt(100_000 / rows)
        bars = {
            "bias": (LUO["bias"] * scale, 0.76 * room * LUO["bias"] * scale),
            "ASE": (LUO["ASE"] * scale, 0.01 * LUO["ASE"] * scale),
            "ESE": (LUO["ESE"] * scale, 0.71 * room * LUO["ESE"] * scale),
            "coverage": (LUO["coverage"], 0.22 * room),
        }
        results.append(
            Result(
                f"renewable estimation, {'cubic, ' if cubic else ''}batches of {size}: "
                "bias, ASE, ESE (10^-3), coverage",
                ", ".join(f"{at:.3g} ± {by:.2g}" for at, by in bars.values()),
                ", ".join(f"{value:.3g}" for value in found.values()),
                all(abs(found[name] - at) <= by for name, (at, by) in bars.items()),
                f"{streams} streams of {rows:,} rows.",
            )
        )
    return results


def price(rows: int) -> list[Result]:
    """Time each expert by itself, then the mixture and the comparison of the full set."""
    found = {}
    for name, choice in EXPERTS.items():
        some = rows // 5 if choice.costly else rows
        found[name] = [spent([choice.make()], some, size) for size in (10, 1000)], choice.price_us
    at, models = len(FULL) - 1, default_models(FULL)[0]
    for name, timed, said in (
        (MIXTURE, slice(at, at + 1), MIXTURE_US),
        ("scores and drift detection", slice(at + 1, at + 3), COMPARING_US),
    ):
        found[name] = [spent(models, rows, size, models[timed]) for size in (10, 1000)], said
    results = []
    for name, (taken, said) in found.items():
        figure, beside = (" and ".join(f"{each:.1f}" for each in two) for two in (taken, said))
        what = f"µs a row of {name}, at pages of 10 and of 1,000 rows"
        results.append(Result(what, "", figure, None, f"Beside its check box: {beside}."))
    return results


def spent(
    models: Sequence[Model], rows: int, size: int, timed: Sequence[Model] | None = None
) -> float:
    """Return the µs of processor time a row in which models learn and tell all, of a median page.

    All learn every page in their order; counted are those that are `timed`, by default all.
    """
    every = []
    for batch in pages("collider", rows, size):
        total = 0.0
        for model in models:
            began = time.process_time()
            model.learn(batch)
            model.states(), model.coefficients(), model.metrics()
            total += (time.process_time() - began) * (timed is None or model in timed)
        every.append(total / size * 1e6)
    return median(every)


def together(rows: int) -> list[Result]:
    """Time the experts that run together, with those who compare them, on large pages."""
    results = []
    for choice, names in CHOICES.items():
        models, _ = default_models(names)
        experts = [m for m in models if not isinstance(m, Regressions | Stories)]
        took = spent(models, rows, 1000, experts)
        what = f"µs a row of the experts {choice} together, at pages of 1,000 rows"
        words = (
            f"Processor time of {', '.join(names)}{', and of comparing them' * (len(names) > 1)}."
        )
        results.append(Result(what, "≤ 15", f"{took:.1f}", took <= 15, words))
    return results


def stored(rows: int, turns: int) -> list[Result]:
    """Take pages of 1,000 rows in memory through all models into a store."""
    batches = [*pages("collider", rows, 1000)]

    def rate(names: Sequence[str]) -> float:
        with TemporaryDirectory() as folder, _line(Path(folder), names, 1000) as line:
            began = time.perf_counter()
            for batch in batches:
                line.learn(batch)
            return rows / (time.perf_counter() - began)

    found = take_turns(turns, **{choice: partial(rate, names) for choice, names in CHOICES.items()})
    return [
        Result(
            f"rows/s at 1,000-row pages from memory, everything stored, experts {choice}",
            "≥ 40,000",
            f"{figures:,.0f}",
            figures.median >= 40_000,
            f"{rows:,} rows of collider; regressions and stories learn and are stored, too.",
        )
        for choice, figures in found.items()
    ]


def resume(rows: int, size: int) -> list[Result]:
    """Open a store and take up models and memory, so that the next page could be learned."""
    results = []
    for choice, names in CHOICES.items():
        with TemporaryDirectory() as folder:
            with _line(Path(folder), names, size) as line:
                for batch in pages("collider", rows, size):
                    line.learn(batch)
            began = time.perf_counter()
            with _line(Path(folder), names, size) as line:
                took = time.perf_counter() - began
                assert line.memory.rows == rows
        what = f"seconds to go on at {rows:,} rows, experts {choice}"
        words = f"Stored in pages of {size}."
        results.append(Result(what, "< 5", f"{took:.2f}", took < 5, words))
    return results


@contextmanager
def _line(folder: Path, names: Sequence[str], size: int) -> Iterator[Line]:
    source = "world:collider?rows=100000&seed=2021"
    models, settings = default_models(names, source)
    with Store(folder / "store.db", source=source, page_size=size, settings=settings) as store:
        yield Line(store, models)


def measure(quick: bool) -> list[Result]:
    """Return what stands among the results of the whole: price, speed, resuming, excess."""
    rows = 20_000 if quick else 100_000
    results = [
        *together(rows),
        *stored(rows, 1 if quick else 3),
        *resume(rows, 100 if quick else 10),
    ]
    return results if quick else [*results, *excess(rows)]


def main() -> int:
    """Run the parts; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help="of the parts; or all")
    parser.add_argument("--streams", type=int, default=500, help="of luo")
    parser.add_argument("--rows", type=int, default=100_000, help="of excess and luo")
    options = parser.parse_args()
    parts = {
        "price": lambda: price(20_000),
        "together": lambda: [*together(50_000), *stored(100_000, 3)],
        "resume": lambda: resume(100_000, 10),
        "excess": lambda: excess(options.rows),
        "luo": lambda: luo(options.streams, options.rows),
    }
    if unknown := {*options.parts} - {*parts}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    missed = False
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            for result in part():
                bar = f", bar {result.bar}" if result.bar else ""
                print(f"{result.what}: {result.figure}{bar}. {result.words}")
                sys.stdout.flush()
                missed |= result.reached is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
