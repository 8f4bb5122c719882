"""Other libraries learn the same rows from memory: `python -m benchmarks.peers NAME PAGES`.

The classifiers predict P(promoted) of a row, score its log loss and learn it, from both abilities;
the regressions of network ability are estimated anew after every page. Pages hold ten rows, and
there is neither HTTP nor a file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.environment import prepare
from benchmarks.measure import Result, run_python, take_turns
from promo.batch import Batch
from promo.models.regressions import FORMULAS, Regressions
from promo.models.sgd import SGDLogistic
from promo.world import WORLDS

SIZE, RATE = 10, 0.01
LAST = 10  # pages, after which statsmodels fits all rows anew


def measure(pages: int, turns: int) -> list[Result]:
    """Return promo's rows per second over those of each peer. There is no bar."""
    environment = prepare()
    missing = {name: why for name in PEERS if (why := _missing(name, environment))}
    rates = {
        name: partial(run_python, "-m", "benchmarks.peers", name, pages, environment=environment)
        for name in LEARNERS
        if name not in missing
    }
    figures = take_turns(turns, **rates)
    results = []
    for name, (ours, words) in PEERS.items():
        what = f"{ours} of promo / {name}, rows/s"
        if name in missing:
            results.append(Result(what, "", "not here", None, missing[name]))
            continue
        told = f"promo {figures[ours]:,.0f}, {name} {figures[name]:,.0f} rows/s. {words}"
        results.append(Result(what, "", f"{figures[ours] / figures[name]:.2f}", None, told))
    return results


def _missing(name: str, environment: Mapping[str, str]) -> str:
    """Return why a peer cannot take part, empty if it can."""
    try:
        run_python("-m", "benchmarks.peers", name, 20, environment=environment)
    except RuntimeError as error:
        return f"It could not be run: {str(error).strip().splitlines()[-1]}"
    return ""


# -- those who learn: each returns seconds ------------------------------------------------------


def _sgd_logistic(batches: Sequence[Batch]) -> float:
    model = SGDLogistic(RATE)
    began = time.perf_counter()
    for batch in batches:
        model.learn(batch)
    return time.perf_counter() - began


def _river(batches: Sequence[Batch]) -> float:
    from river import evaluate, linear_model, metrics, optim, preprocessing

    model = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(RATE))
    rows = [
        ({"competence": c, "network_ability": n}, p)
        for batch in batches
        for c, n, p in zip(*(column.tolist() for column in _columns(batch)), strict=True)
    ]
    began = time.perf_counter()
    evaluate.progressive_val_score(rows, model, metrics.LogLoss())
    return time.perf_counter() - began


def _scikit_learn(batches: Sequence[Batch]) -> float:
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=RATE, random_state=1)
    total, began = 0.0, time.perf_counter()
    for page, batch in enumerate(batches):
        competence, ability, promoted = _columns(batch)
        x = np.column_stack([competence, ability])
        if page:
            p = model.predict_proba(scaler.transform(x))[:, 1]
            total -= np.log(np.where(promoted, p, 1 - p)).sum()
        scaler.partial_fit(x)
        model.partial_fit(scaler.transform(x), promoted, classes=[False, True])
    return time.perf_counter() - began


def _vowpal_wabbit(batches: Sequence[Batch]) -> float:
    from vowpalwabbit import Workspace

    learner = Workspace(f"--loss_function logistic --link logistic -l {RATE} --quiet")
    total, began = 0.0, time.perf_counter()
    for batch in batches:
        for c, n, promoted in zip(*(column.tolist() for column in _columns(batch)), strict=True):
            row = learner.example(f"{1 if promoted else -1} | competence:{c} ability:{n}")
            learner.learn(row)
            p = row.get_simplelabel_prediction()  # from before it was learned
            total -= np.log(p if promoted else 1 - p)
            learner.finish_example(row)
    return time.perf_counter() - began


def _regressions(batches: Sequence[Batch]) -> float:
    model = Regressions()
    for batch in batches[:-LAST]:
        model.learn(batch)
    began = time.perf_counter()
    for batch in batches[-LAST:]:
        model.learn(batch)
        model.coefficients()
    return time.perf_counter() - began


def _statsmodels(batches: Sequence[Batch]) -> float:
    from statsmodels.api import OLS, add_constant

    columns = [np.concatenate(column) for column in zip(*map(_columns, batches), strict=True)]
    rows, began = len(columns[0]), time.perf_counter()
    for seen in range(rows - (LAST - 1) * SIZE, rows + 1, SIZE):
        competence, ability, promoted = (column[:seen] for column in columns)
        regressors = {"competence": competence, "promoted": promoted}
        for formula in FORMULAS:
            chosen = slice(None) if formula.given is None else promoted == formula.given
            x = np.column_stack([regressors[name] for name in formula.regressors])[chosen]
            fit = OLS(ability[chosen], add_constant(x.astype(float))).fit()
            _ = fit.params, fit.bse, fit.tvalues, fit.pvalues, fit.conf_int()
            _ = fit.rsquared, fit.fvalue, fit.HC1_se
    return time.perf_counter() - began


def _columns(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return batch.competence, batch.network_ability, batch.promoted


LEARNERS: dict[str, Callable[[Sequence[Batch]], float]] = {
    "SGDLogistic": _sgd_logistic,
    "river's progressive_val_score": _river,
    "scikit-learn's partial_fit": _scikit_learn,
    "Vowpal Wabbit": _vowpal_wabbit,
    "Regressions": _regressions,
    "statsmodels": _statsmodels,
}
PEERS = {  # whom each is compared with, and what is to be known of it
    "river's progressive_val_score": ("SGDLogistic", "Row by row; the log loss is all it scores."),
    "scikit-learn's partial_fit": ("SGDLogistic", "A page at a time; the same scale and steps."),
    "Vowpal Wabbit": (
        "SGDLogistic",
        "Row by row; it scales and steps in its own way, and reads each row as text.",
    ),
    "statsmodels": ("Regressions", f"The last {LAST} pages; statsmodels fits all rows before."),
}


def main(name: str, pages: str) -> float:
    """Return the rows per second."""
    rows = SIZE * int(pages)
    ability, competence, promoted = WORLDS["collider"].sample(rows, seed=2021)
    batches = [
        Batch.of(ability[at : at + SIZE], competence[at : at + SIZE], promoted[at : at + SIZE])
        for at in range(0, rows, SIZE)
    ]
    counted = SIZE * LAST if name in ("Regressions", "statsmodels") else rows
    return counted / LEARNERS[name](batches)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
