"""The tables of a store, for tests that compare whole stores or hold one against its rows."""

import json

from pages import batch
from promo.history import stride
from promo.models.default import USUAL, default_models

SCHEMA = {  # DESIGN 5
    "data": "id network_ability competence promoted",
    "stream": "source page_size schema_version promo_version created_at settings",
    "page": "page received inserted duplicate conflicting rejected first_id last_id digest "
    "committed_at",
    "model": "name page rows state updated_at",
    "coefficient": "model term page estimate std_error statistic p_value ci_low ci_high "
    "av_p_value av_low av_high hc1_std_error",
    "metric": "model name page value",
    "checkpoint": "page rows states",
    "event": "seq page at kind detail",
    "quarantine": "page position reason raw",
}
CLOCK = {"created_at", "committed_at", "updated_at", "at", "seq"}

PASSING = {"started", "stopped", "finished", "retry", "error"}  # kinds of events


def dump(store, without=CLOCK):
    """Return every table as rows in order, apart from the clock and from what depends on it."""
    tables = {}
    for table, columns in SCHEMA.items():
        kept = [c for c in columns.split() if c not in without]
        order = "rowid" if table == "data" else ", ".join(kept)
        if table == "event":
            order, kept = "seq", [*kept, "kind"]
        rows = store.query(f"SELECT {', '.join(kept)} FROM {table} ORDER BY {order}")
        tables[table] = [row for row in rows if row[-1] not in PASSING]
    tables["rowid"] = store.query("SELECT rowid FROM data ORDER BY rowid")
    return tables


def reconcile(store):
    """Whole file, ledger without a gap that adds up, every row received accounted for."""
    assert store.query("PRAGMA integrity_check") == [("ok",)]
    pages = [page for (page,) in store.query("SELECT page FROM page ORDER BY page")]
    assert pages == list(range(len(pages)))
    totals = store.totals()
    assert totals.pop("received") == sum(totals.values())
    kept = {
        "data": totals["inserted"],
        "quarantine": totals["conflicting"] + totals["rejected"],
        "event WHERE kind = 'conflict'": totals["conflicting"],
    }
    if store.settings.get("parquet"):
        del kept["data"]  # most of it is in files
    for rows, count in kept.items():
        assert store.query(f"SELECT count(*) FROM {rows}") == [(count,)], rows


def assert_sound(store):
    """All of `reconcile`, and everything learned as `data` says, to the bit."""
    reconcile(store)
    ledger = store.query("SELECT page, inserted FROM page ORDER BY page")
    expected = learned(store, ledger)
    for table, keys in (("coefficient", 3), ("metric", 3), ("checkpoint", 1)):
        columns = SCHEMA[table].split()
        order = ["page", *(c for c in columns[:keys] if c != "page")]
        rows = store.query(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(order)}")
        assert rows == expected[table], table
    states = store.query("SELECT name, page, rows, state FROM model ORDER BY name")
    assert states == expected["model"] or not ledger  # before the first page: as they begin


def learned(store, ledger):
    """Return the tables of what is learned, from `data`, page boundaries and events alone."""
    source = store.source if "best-possible" in store.states else ""
    models, _ = default_models(store.settings.get("models", USUAL), source)
    named = {getattr(model, "name", ""): model for model in models}
    rows = [row[1:] for row in store.data()]
    rates = [(e.page, e.detail["to"]) for e in store.events("learning_rate", last=10**6)]
    tables = {"coefficient": [], "metric": [], "checkpoint": [], "model": []}
    last, done = len(ledger) - 1, 0
    for page, inserted in ledger:
        while rates and rates[0][0] <= page:
            named["sgd-logistic"].learning_rate = rates.pop(0)[1]
        columns = zip(*rows[done : done + inserted], strict=True) if inserted else [()] * 4
        ids, *columns = columns
        done += inserted
        for model in models:
            model.learn(batch(page, *columns, ids=ids))
        if page % stride(last) and page != last:
            continue
        states = [state for model in models for state in model.states()]
        together = ",".join(f"{json.dumps(s.name)}:{s.state}" for s in states)
        most = max(state.rows for state in states)
        tables["checkpoint"].append((page, most, f"{{{together}}}"))
        for table, values in (
            ("coefficient", [(c[0], c[1], page, *c[2:]) for m in models for c in m.coefficients()]),
            ("metric", [(v[0], v[1], page, v[2]) for m in models for v in m.metrics()]),
        ):
            tables[table] += sorted(tuple(None if x != x else x for x in row) for row in values)
    if ledger:
        tables["model"] = sorted((s.name, last, s.rows, s.state) for s in states)
    return tables


def exact(tables, at=None):
    """Return what is one machine's to the bit: rows, ledger, and what follows from moments alone.

    The latter of the pages at which another store, `at`, tells it: `promo scale` tells less often.
    """
    told = pages_told(at or tables)
    of_moments = [
        row for row in tables["coefficient"] if row[0] != "renewable-logistic" and row[2] in told
    ]
    return {**{name: tables[name] for name in ("data", "page", "quarantine")}, "of": of_moments}


def pages_told(tables):
    """Return the pages of which there are results."""
    return {page for page, *_ in tables["checkpoint"]}
