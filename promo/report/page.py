"""The report: a store as one HTML file that needs nothing else, now or in ten years.

No script, nothing fetched: a policy in the file's head forbids both, and any style but the file's
own. Whatever the store holds is text in it, never markup.
"""

from __future__ import annotations

import json
import platform
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from math import isfinite

from promo import __version__
from promo.errors import StoreMismatch, printable
from promo.models.looks import COLLIDER, NULL
from promo.models.results import Coefficient
from promo.report import tables
from promo.report.contents import Contents, contents
from promo.report.figures import Drawing, drawings
from promo.report.svg import DARK, LIGHT, sheet
from promo.report.tables import number, row, table
from promo.snapshot import Snapshot
from promo.store import Reader
from promo.words import of_event, of_rows


def report(reader: Reader) -> str:
    """Return all that a store holds at its newest page as one HTML page.

    Its size does not grow with the stream: lines have 250 points, lists their newest entries.

    Raises
    ------
    StoreError
        The store cannot be read, or holds what no stream has left.
    """
    try:
        return _report(reader)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise StoreMismatch(f"{reader.path} holds what cannot be told: {error!r}") from error


def _report(reader: Reader) -> str:
    held = contents(reader)
    snapshot = held.snapshot
    drawn, level = drawings(snapshot), snapshot.level
    leaders = tables.leaderboard(snapshot.metrics, level) or "<p>Nobody yet.</p>"
    figures = "".join(map(_figure, drawn)) or "<p>No page is learned yet.</p>"
    return _page(
        f"<header><h1>What the stream taught</h1><p>{_begin(held)}</p>{_key(snapshot)}</header>"
        f'<section class="figures" aria-label="Figures">{figures}</section>'
        f"<h2>Who predicts best?</h2>{leaders}"
        f"<h2>Coefficients</h2>{tables.coefficients(snapshot.coefficients, level)}"
        f"<h2>Quality of the data</h2>{_quality(held)}"
        f"<h2>What happened</h2>{_events(held)}"
        f"<h2>How it was made</h2>{_facts(held, reader)}"
        f"<h2>Every metric</h2>{tables.metrics(snapshot.metrics)}"
    )


def _page(body: str) -> str:
    dark = f"@media screen and (prefers-color-scheme: dark){{{sheet(DARK)}}}"
    css = (files("promo.report") / "report.css").read_text() + sheet(LIGHT) + dark
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"img-src data:; style-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>promo: what the stream taught</title><style>{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _begin(held: Contents) -> str:
    snapshot = held.snapshot
    if snapshot.page is None:
        learned = "No page is learned yet"
    else:
        learned = f"{of_rows(snapshot.rows)} learned, up to page {snapshot.page:,} (counted from 0)"
    return f"{learned}, of <code>{escape(printable(held.source))}</code>. {_now()}."


def _now() -> str:
    now = datetime.now(UTC)
    return f'Made <time datetime="{now:%Y-%m-%dT%H:%M:%SZ}">{now:%Y-%m-%d, %H:%M} UTC</time>'


def _key(snapshot: Snapshot) -> str:
    """Return the few numbers that most readers come for."""
    parts = [("Rows", number(snapshot.rows, ",.0f"), "")]
    losses = [m for m in snapshot.metrics if m.name == "log_loss" and isfinite(m.value)]
    if losses:
        best = min(losses, key=lambda m: (m.model == "best-possible", m.value))
        told = f"nats a row, {printable(best.model)}"
        parts.append(("Least log loss", number(best.value, ".4f"), told))
    slopes = {c.model: c for c in snapshot.coefficients if c.term == "competence"}
    for model, name in ((NULL, "Slope without promoted"), (COLLIDER, "Slope with promoted")):
        if model in slopes and isfinite(slopes[model].av_low):
            parts.append((name, number(slopes[model].estimate, "+.3f"), _bounds(slopes[model])))
    refused = snapshot.totals["conflicting"] + snapshot.totals["rejected"]
    parts.append(("Rows refused", number(refused, ",.0f"), ""))
    return f'<dl class="key">{"".join(map(_part, parts))}</dl>'


def _part(part: tuple[str, str, str]) -> str:
    name, value, told = part
    small = f"<small>{escape(told)}</small>" if told else ""
    return f"<div><dt>{escape(name)}</dt><dd>{value}{small}</dd></div>"


def _bounds(slope: Coefficient) -> str:
    return f"{slope.av_low:+.3f} to {slope.av_high:+.3f} at any time"


def _figure(drawing: Drawing) -> str:
    return (
        f"<figure><h2>{escape(drawing.title)}</h2>{drawing.svg}"
        f"<figcaption>{escape(drawing.words)}</figcaption></figure>"
    )


def _quality(held: Contents) -> str:
    totals = held.snapshot.totals
    names = ("received", "inserted", "duplicate", "conflicting", "rejected")
    received, *others = (f"{number(totals[name], ',.0f')} {name}" for name in names)
    told = f"<p>{received} = {' + '.join(others)}.</p>"
    if not held.quarantined:
        return f"{told}<p>No row was refused.</p>"
    lines = [
        row(f"{refused.page:,}", [f"{refused.position:,}"], (refused.reason, refused.raw))
        for refused in held.quarantined
    ]
    left = totals["conflicting"] + totals["rejected"] - len(lines)
    caption = "The rows refused last, the newest first; pages and positions are counted from 0."
    head = ("page", "position", "reason", "row")
    body = f"<tbody>{''.join(lines)}</tbody>"
    return told + table(caption, head, body, key="quarantine", more=left, texts=2)


def _events(held: Contents) -> str:
    if not held.events:
        return "<p>Nothing.</p>"
    lines = [
        row(event.at[:19].replace("T", " "), [f"{event.page:,}"], (event.kind, of_event(event)))
        for event in held.events
    ]
    last = f"last {len(lines)} events, the newest first" if len(lines) > 1 else "last event"
    caption = f"The {last}; times are UTC."
    body = f"<tbody>{''.join(lines)}</tbody>"
    return table(caption, ("time", "page", "kind", "what"), body, key="events", texts=2)


def _facts(held: Contents, reader: Reader) -> str:
    rates = ", ".join(f"{n} {rate:g}" for n, rate in held.snapshot.learning_rates.items())
    [[sqlite]] = reader.query("SELECT sqlite_version()")
    facts = {
        "Source": held.source,
        "Rows of a full page": f"{held.snapshot.page_size:,}",
        "Settings": json.dumps(held.settings),
        "Learning rates": rates or "none",
        "Store": f"{reader.path.name}, begun {held.begun} by promo {held.version}",
        "Report": f"promo {__version__}, Python {platform.python_version()}, SQLite {sqlite}",
    }
    lines = (
        f"<dt>{name}</dt><dd>{escape(printable(text, most=2000))}</dd>"
        for name, text in facts.items()
    )
    return f'<dl class="facts">{"".join(lines)}</dl>'
