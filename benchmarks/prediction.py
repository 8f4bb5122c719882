"""How well the experts predict, and at what price: `python -m benchmarks.prediction [part ...]`.

Parts: `excess` (log loss above the best possible, by world), `luo` (the table of Luo's
dissertation), `price` (microseconds a row). `--streams` and `--rows` make them shorter.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from statistics import median

import numpy as np

from benchmarks.measure import Result
from promo.batch import Batch
from promo.models.best import BestPossible
from promo.models.board import Board
from promo.models.default import EXPERTS, FULL, MIXTURE
from promo.models.mixture import Mixture
from promo.models.renewable import Renewable
from promo.world import DRIFT_ROW, WORLDS

AFTER = 20_000  # rows after the change that drift is judged by
BARS = {  # nats per row above the best possible
    ("collider", "renewable-logistic"): 0.0005,
    **{(world, MIXTURE): 0.002 for world in ("collider", "threshold", "mentoring", "interaction")},
    ("drift", MIXTURE): 0.02,
}
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


def excess(rows: int) -> list[Result]:
    """Compare log losses with the best possible, in pages of ten rows."""
    results = []
    for world in ("collider", "threshold", "mentoring", "interaction", "drift"):
        experts = [EXPERTS[name].make() for name in FULL if name != MIXTURE]
        racing = [*experts, Mixture(experts)]
        best = BestPossible(WORLDS[world])
        board = Board(racing, best)
        first, last = (DRIFT_ROW, DRIFT_ROW + AFTER) if world == "drift" else (0, rows)
        before = board.whole
        for batch in pages(world, last, 10):
            if batch.page * 10 == first:
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
    """Estimate five coefficients from streams in batches of four sizes, and compare."""
    spread = np.linalg.cholesky(np.full((4, 4), 0.5) + 0.5 * np.eye(4))
    results = []
    for size in (10, 50, 200, 1000):
        estimates, errors = [], []
        for seed in range(streams):
            random = np.random.default_rng(seed)
            x = np.column_stack([np.ones(rows), random.standard_normal((rows, 4)) @ spread.T])
            y = random.random(rows) < 1 / (1 + np.exp(-x @ TRUTH))
            model = Renewable(np.ones((1, 5), np.bool_))
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
                f"renewable estimation, batches of {size}: bias, ASE, ESE (10^-3), coverage",
                ", ".join(f"{at:.3g} ± {by:.2g}" for at, by in bars.values()),
                ", ".join(f"{value:.3g}" for value in found.values()),
                all(abs(found[name] - at) <= by for name, (at, by) in bars.items()),
                f"{streams} streams of {rows:,} rows.",
            )
        )
    return results


def price(rows: int) -> list[Result]:
    """Time each expert alone: predict, learn, say its coefficients and its state."""
    results = []
    for name, choice in EXPERTS.items():
        taken = []
        for size in (10, 1000):
            model, times = choice.make(), []
            for batch in pages("collider", rows // 5 if choice.costly else rows, size):
                began = time.perf_counter()
                model.learn(batch)
                model.states(), model.coefficients(), model.metrics()
                times.append((time.perf_counter() - began) / size * 1e6)
            taken.append(median(times))
        figure = " and ".join(f"{each:.1f}" for each in taken)
        said = " and ".join(f"{each:g}" for each in choice.price_us)
        what = f"µs a row of {name}, at pages of 10 and of 1,000 rows"
        results.append(Result(what, "", figure, None, f"Beside its check box: {said}."))
    return results


def main() -> int:
    """Run the parts; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help="excess, luo, price; or all")
    parser.add_argument("--streams", type=int, default=500, help="of luo")
    parser.add_argument("--rows", type=int, default=100_000, help="of excess and luo")
    options = parser.parse_args()
    parts = {
        "price": lambda: price(20_000),
        "excess": lambda: excess(options.rows),
        "luo": lambda: luo(options.streams, options.rows),
    }
    if unknown := {*options.parts} - {*parts}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    missed = False
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            for result in part():
                print(f"{result.what}: {result.figure}, bar {result.bar}. {result.words}")
                sys.stdout.flush()
                missed |= result.reached is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
