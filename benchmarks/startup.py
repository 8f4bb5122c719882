"""How soon promo is there: `import promo`, `promo run`, and the first figure after Play.

`python -m benchmarks.startup URL FILE` is the child that opens the dashboard and presses Play.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Result, at_most, run_python, take_turns
from promo.dataset import Recipe
from promo.embedded import EmbeddedAPI

_IMPORT = (
    "import json, time; began = time.perf_counter(); import promo; "
    "print(json.dumps(time.perf_counter() - began))"
)


def measure(turns: int) -> list[Result]:
    """Time each in processes of their own, on an API that is there already."""
    recipe = Recipe()
    with (
        TemporaryDirectory() as folder,
        EmbeddedAPI(data=f"{folder}/{recipe.world}-{recipe.rows}-{recipe.seed}.db", port=0) as api,
    ):
        new = (Path(folder) / f"{number}.db" for number in count())
        figures = take_turns(
            turns,
            imported=lambda: run_python("-c", _IMPORT),
            run=lambda: run_for_a_page("--api", api.url, "--db", next(new)),
            own=lambda: run_for_a_page("--db", next(new), PROMO_DATA=folder, PROMO_API_URL=""),
            figure=lambda: run_python("-m", "benchmarks.startup", api.url, next(new)),
        )
    return [
        at_most(0.5, "seconds of `import promo`", figures["imported"], ".3f"),
        at_most(
            1,
            "seconds of `promo run` for one page",
            figures["run"],
            ".2f",
            "The whole process, from start to end, with a new store.",
        ),
        at_most(
            1,
            "seconds of `promo run` for one page, its own API started first",
            figures["own"],
            ".2f",
            "As above; the API's data were made before.",
        ),
        at_most(
            1,
            "seconds from Play to the first figure: no kernel, widgets only",
            figures["figure"],
            ".3f",
            "Until a sample of the rows has been given to its marks, on an empty store.",
        ),
    ]


def run_for_a_page(*options: object, **environment: str) -> float:
    """Return the seconds of `promo run` for one page, from start to end of the process."""
    began = time.perf_counter()
    run_python("-m", "promo", "run", "--pages", 1, "--json", *options, environment=environment)
    return time.perf_counter() - began


def main(url: str, path: str) -> float:
    """Open the dashboard, press Play; return the seconds until there is something to see."""
    from benchmarks.dashboard import Live
    from promo import ui
    from promo.ui.plot import OFF

    live = Live(url, path)
    [figure] = [view for view in live.open().views if isinstance(view, ui.SampleFigure)]
    began = time.perf_counter()
    live.trainer.play()
    while figure.promoted.x[0] == OFF:
        time.sleep(0.001)
    took = time.perf_counter() - began
    live.trainer.close()
    return took


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
