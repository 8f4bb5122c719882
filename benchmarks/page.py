"""What a page costs once it is fetched, stage by stage, beside the least that it could cost.

`promo.line.Line` takes pages from memory into a file; its parts are timed where it calls them.
Everything counts, SQLite's checkpoints too: figures are time in all by pages.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import limits
from benchmarks.measure import Figures, Result, at_least, at_most
from promo.batch import Batch, decode_page
from promo.line import Line
from promo.models.default import default_models
from promo.models.regressions import Regressions
from promo.models.scores import Scores
from promo.store import Store

BAR_US = 300
SNAPSHOT_S = 0.05  # least time between two, as in promo.trainer
STAGES = ("validate", "predict + score", "learn", "estimate", "commit", "snapshot")
_OF_MODELS = {
    "learn": "learn", "states": "estimate", "coefficients": "estimate", "metrics": "estimate",
}  # fmt: skip
_OF_STORE = {"sift": "validate", "commit": "commit"}


def measure(rows: int, turns: int) -> list[Result]:
    """Return the time of a page of ten rows, of one of a thousand, and of the moments alone."""
    small, large = (_costs(rows if size == 10 else 10 * rows, size, turns) for size in (10, 1000))
    whole = small["whole"]
    return [
        at_most(
            BAR_US,
            "µs per page of 10 with the default models, HTTP aside",
            whole,
            ".0f",
            f"{_split(small)} Learning is that of all models, the stories' bets included; "
            "estimating is telling states, coefficients and metrics; a snapshot is taken "
            f"every {SNAPSHOT_S:g} s.",
        ),
        Result(
            "rows/s at pages of 1,000 with the default models, HTTP aside",
            "",
            f"{large['whole'].per(1e9):,.0f}",
            None,
            _split(large),
        ),
        at_least(
            5_000_000,
            "rows/s of the sufficient statistics alone, pages of 1,000",
            large["moments"].per(1e9),
            ",.0f",
            f"With the estimates of every page. A bare NumPy Gram matrix of as many columns: "
            f"{large['products'].per(1e9):,.0f}.",
        ),
    ]


def _split(costs: Mapping[str, Figures]) -> str:
    stages = ", ".join(f"{name} {costs[name].median:.0f}" for name in STAGES)
    checked, stored = costs["validate"] / costs["decoding"], costs["commit"] / costs["inserts"]
    return (
        f"In µs: {stages}. Validating takes {checked:.1f} times what decoding alone does "
        f"({costs['decoding'].median:.1f} µs), committing {stored:.1f} times what inserting the "
        f"rows alone does, in the same transactions ({costs['inserts'].median:.1f} µs); "
        f"{costs['in SQLite'].median:.0f} µs of it are SQLite's own calls, with all that is stored."
    )


def _costs(rows: int, size: int, turns: int) -> dict[str, Figures]:
    """Return µs per page, by what they are spent on."""
    bodies = pages(rows, size)
    batches = [decode_page(body, size).batch(page) for page, body in enumerate(bodies)]
    spent = [_turn(bodies, batches, size) for _ in range(turns)]
    return {
        name: Figures(tuple(1e6 * turn[name] / len(bodies) for turn in spent)) for name in spent[0]
    }


def pages(rows: int, size: int) -> list[bytes]:
    """Return the bodies of pages as an API sends them."""
    rng = np.random.default_rng(2021)
    competence, ability = rng.normal(size=(2, rows))
    promoted = rng.random(rows) < 1 / (1 + np.exp(-competence - ability))
    columns = (range(rows), competence.tolist(), ability.tolist(), promoted.tolist())
    names = ("id", "competence", "network_ability", "promoted")
    every = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return [json.dumps(every[at : at + size]).encode() for at in range(0, rows, size)]


def _turn(bodies: Sequence[bytes], batches: Sequence[Batch], size: int) -> dict[str, float]:
    """Take all pages down the line; then do the least that could be done with them."""
    with TemporaryDirectory() as folder:
        spent = _line(bodies, size, Path(folder) / "store.db")
        spent["inserts"] = limits.inserts(batches, Path(folder) / "bare.db")
    spent["decoding"] = limits.decoding(bodies)
    spent["products"] = limits.products(batches)
    moments = Regressions()
    with _clock(spent, "moments"):
        for batch in batches:
            moments.learn(batch)
    return spent


def _line(bodies: Sequence[bytes], size: int, path: Path) -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    models, settings = default_models()
    scores, taken = Scores(), 0
    with Store(path, source="memory", page_size=size, settings=settings) as store:
        store._connection = _Watched(store._connection, {"execute": "in SQLite"}, spent)
        line = Line(
            _Watched(store, _OF_STORE, spent), [_Watched(m, _OF_MODELS, spent) for m in models]
        )
        for page, body in enumerate(bodies):
            with _clock(spent, "whole"):
                with _clock(spent, "validate"):
                    batch = decode_page(body, size).batch(page)
                line.learn(batch)
                if spent["whole"] >= taken * SNAPSHOT_S:
                    taken += 1
                    line.memory.snapshot(
                        "running", "", page_size=size, total_rows=None, learning_rates={}
                    )
            with _clock(spent, "predict + score"):  # once more, for this to be told apart
                predicted = models[0].predict_proba(batch)
                scores.update(predicted.tolist(), batch.promoted.tolist())
    spent["snapshot"] = spent["whole"] - sum(
        spent[name] for name in ("validate", "learn", "estimate", "commit")
    )
    spent["learn"] -= spent["predict + score"]
    return spent


class _Watched:
    """Stands for a part of the line, and adds up the seconds spent in its methods by stage."""

    def __init__(self, part: Any, stages: Mapping[str, str], spent: dict[str, float]) -> None:
        self._part = part
        for name, stage in stages.items():
            setattr(self, name, self._timed(getattr(part, name), stage, spent))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    @staticmethod
    def _timed(
        method: Callable[..., Any], stage: str, spent: dict[str, float]
    ) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            found = method(*arguments)
            spent[stage] += time.perf_counter() - began
            return found

        return call


@contextmanager
def _clock(spent: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent[stage] += time.perf_counter() - began
