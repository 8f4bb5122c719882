"""What a store holds, in numbers, for `promo show`."""

from __future__ import annotations

from itertools import groupby
from math import isfinite
from operator import itemgetter
from typing import Any

from promo.errors import printable
from promo.models.anytime import fixed_level, level_in_words
from promo.store import Reader, check_ledger
from promo.words import of_rows


def facts_of(reader: Reader) -> dict[str, Any]:
    """Return what a store holds, as JSON can hold it."""
    with reader.at_one_commit():  # another process may write it
        check_ledger(reader)
        facts: dict[str, Any] = {
            "store": str(reader.path),
            "source": reader.source,
            "level": level_in_words(fixed_level(reader.settings)[0]),
            "page": reader.page,
            **reader.totals(),
            "models": [
                dict(zip(("name", "page", "rows"), row, strict=True))
                for row in reader.query("SELECT name, page, rows FROM model ORDER BY name")
            ],
            "coefficients": [c._asdict() for c in reader.coefficients()],
            "metrics": [m._asdict() for m in reader.metrics()],
        }
    for row in facts["coefficients"] + facts["metrics"]:
        # JSON has neither NaN nor infinity.
        row.update({k: None for k, v in row.items() if isinstance(v, float) and not isfinite(v)})
    return facts


def print_facts(facts: dict[str, Any]) -> None:
    """Print it for people."""
    page = "no page yet" if facts["page"] is None else f"page {facts['page']:,}"
    print(f"{facts['store']}: {printable(facts['source'])}, {page}, {of_rows(facts['inserted'])}")
    print(
        f"received {facts['received']:,} = inserted {facts['inserted']:,} + duplicate "
        f"{facts['duplicate']:,} + conflicting {facts['conflicting']:,} + rejected "
        f"{facts['rejected']:,}"
    )
    print(f"\n{'':43}{'estimate':>12} {'std error':>12}  {facts['level']} interval")
    for model, coefficients in groupby(facts["coefficients"], key=itemgetter("model")):
        print(printable(model))
        for c in coefficients:
            numbers = [c[key] for key in ("estimate", "std_error", "ci_low", "ci_high")]
            estimate, error, low, high = ("" if v is None else f"{v:.5g}" for v in numbers)
            interval = f"[{low}, {high}]" if low else ""
            print(f"  {printable(c['term']):41}{estimate:>12} {error:>12}  {interval}")
    for model, metrics in groupby(facts["metrics"], key=itemgetter("model")):
        print(f"\n{printable(model)}")
        for m in metrics:
            value = "" if m["value"] is None else f"{m['value']:,.6g}"
            print(f"  {printable(m['name']):63} {value:>12}")


def summary_of(status: str, before: Any, after: Any, seconds: float) -> dict[str, Any]:
    """Return what this run did, not what the store holds."""
    first, last = (-1 if s.page is None else s.page for s in (before, after))
    rows = after.rows - before.rows
    return {
        "pages": last - first,
        "rows": rows,
        "rejected": after.totals["rejected"] - before.totals["rejected"],
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1) if seconds else 0.0,
        "status": status,
    }
