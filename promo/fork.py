"""A run that leaves another at one of its pages, and goes on in a file of its own.

Up to that page it is the other: its rows, ledger, quarantine, events, and all that was learned, as
far as it is kept. With other models, these learn the same rows anew, page by page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promo.batch import Batch
from promo.errors import StoreError
from promo.history import stride
from promo.line import Line
from promo.models.drift import Drift
from promo.models.results import Model, found_out, steerable
from promo.store import Event, Reader, Store, check_ledger, new_store

_SEEN = ("data", "page", "event", "quarantine")
_LEARNED = ("model", "coefficient", "metric", "checkpoint")


def fork(
    source: Reader,
    page: int,
    path: str | Path,
    *,
    models: Sequence[Model] | None = None,
    settings: Mapping[str, Any] | None = None,
    rates: Mapping[str, float] | None = None,
) -> None:
    """Make a store of what another was at a page that has a checkpoint.

    With the same models and rates, whoever goes on from there on the same pages comes to the same
    tables, to the bit. An event of kind ``forked`` says which file it comes from, as seen from the
    new one, at which page, and whether the models learned its rows anew.

    Parameters
    ----------
    source
        May be one that is being written at this time, by whomever.
    page
        0-based; `Reader.checkpoints` lists those that can be forked at.
    path
        The new store, complete or not there.
    models
        The source's unless given. Those of the same names go on from their states. Others begin at
        the first page and learn all rows up to this one, at the rates that were in force: as if
        they had been there from the start. That takes as long as learning takes.
    settings
        What the new store is to remember of models that begin anew; else it is the source's.
    rates
        New learning rates by model, from the next page on; an event each. They need `models`.

    Raises
    ------
    StoreError
        The page has no checkpoint, or there is such a file already; or rows are in Parquet files,
        are missing, or cannot be learned.
    ValueError
        No such model has a learning rate.
    """
    path = Path(path)
    about, size = source.source, source.page_size
    anew = models is not None and _names(models) != source.states.keys()
    if source.settings.get("parquet"):
        raise StoreError(f"{source.path} has its rows in Parquet files: a fork would lack them")
    check_ledger(source)
    kept = settings if anew and settings is not None else source.settings
    with (
        source.as_of(page),
        new_store(path, source=about, page_size=size, settings=kept) as store,
    ):
        store.copy(source, _SEEN)
        if models is not None and anew:
            try:
                _learn_anew(store, models)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{source.path} holds what cannot be learned: {error!r}"
                ) from error
        else:
            store.copy(source, _LEARNED)
        origin = os.path.relpath(os.path.realpath(source.path), os.path.realpath(path.parent))
        told = {"from": origin, "page": page, "rows": store.rows, "anew": anew}
        store.record("forked", told)
        if rates:
            _change_rates(Line(store, models or ()), rates)


def _names(models: Sequence[Model]) -> set[str]:
    return {state.name for model in models for state in model.states()}


def _change_rates(line: Line, rates: Mapping[str, float]) -> None:
    if unknown := sorted(rates.keys() - line.rates()):
        raise ValueError(f"{unknown[0]!r} has no learning rate; these have: {[*line.rates()]}")
    for name, rate in rates.items():
        line.change_rate(name, rate)


def _learn_anew(store: Store, models: Sequence[Model]) -> None:
    """Have models learn what is stored, at the rates of the time, and write what they learned.

    What others had found out goes; what these find out is written at the time of its page.
    """
    steered, changes = steerable(models), store.events("learning_rate", last=-1)
    last, rows = store.page, 0
    found: list[Event] = []
    for batch in _pages(store):
        while changes and changes[0].detail["rows"] <= rows:
            change = changes.pop(0).detail
            if change["model"] in steered:
                steered[change["model"]].learning_rate = float(change["to"])
        for model in models:
            model.learn(batch)
        rows += len(batch.ids)
        for event in found_out(models):
            [[at]] = store.query("SELECT committed_at FROM page WHERE page = ?", batch.page)
            found.append(Event(batch.page, at, event.kind, {"rows": rows, **event.detail}))
        if batch.page == last or batch.page % stride(last or 0) == 0:
            states = [state for model in models for state in model.states()]
            coefficients = [c for model in models for c in model.coefficients()]
            metrics = [m for model in models for m in model.metrics()]
            store.write_learned(batch.page, rows, states, coefficients, metrics)
    store.replace_events(Drift.name, found)


def _pages(store: Reader) -> Iterator[Batch]:
    """Yield the pages of the ledger in order, each with those of its rows that were new.

    A page that was short and has grown comes in the parts in which it had come.
    """
    ends = store.query("SELECT page, sum(inserted) OVER (ORDER BY page) FROM page")
    ends += [(event.page, event.detail["rows"]) for event in store.events("grown", last=-1)]
    done = 0
    for page, end in sorted(ends):
        found = store.data("rowid > ? AND rowid <= ?", done, end)
        done = end
        _, ids, *columns = zip(*found, strict=True) if found else [()] * 5
        yield Batch.of(*columns, page=page, ids=ids)
