"""Whether the data are sound: what became of every row, which were refused and why, and where."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from html import escape
from pathlib import Path

import ipywidgets as widgets

from promo.errors import printable
from promo.report.contents import Quarantined, quarantined
from promo.snapshot import Snapshot
from promo.store import Reader
from promo.trainer import Trainer
from promo.ui.common import html, sheet
from promo.ui.style import headed, table

LINES = 8


class DataQuality:
    """Rows received, inserted, duplicate, conflicting, rejected; the last refused; the store.

    Parameters
    ----------
    trainer
        Whose store to read.
    """

    rest_s = 2.0

    def __init__(self, trainer: Trainer) -> None:
        self._store = trainer.store.path
        self.totals, self.refused, self.file = (html() for _ in range(3))
        legend = "Each row received is one of the other four"
        head = html(headed("Are the data sound?", legend))
        parts = [sheet(), head, self.totals, self.refused, self.file]
        self.widget = widgets.VBox(parts)
        self.widget.add_class("promo")

    def update(self, snapshot: Snapshot) -> None:
        """Count anew, and show what was refused up to the page shown."""
        self.totals.value = _totals(snapshot.totals)
        last = -1 if snapshot.page is None else snapshot.page
        with Reader(self._store) as reader:
            refused = quarantined(reader, LINES, until=last)
        self.refused.value = _refused(refused)
        self.file.value = (
            '<div class="promo-note promo-brief">The store: '
            f"<code>{escape(str(self._store))}</code>, {_megabytes(self._store)} MB, and "
            f"{_megabytes(Path(f'{self._store}-wal'))} MB of log, which goes.</div>"
        )


def _totals(totals: Mapping[str, int]) -> str:
    received, *others = totals.values()
    body = "".join(f"<td>{count:,}</td>" for count in totals.values())
    shown = table(
        "What became of the rows", [*totals], f"<tbody><tr>{body}</tr></tbody>", "promo-totals"
    )
    told = " = ".join((f"{received:,}", " + ".join(f"{count:,}" for count in others)))
    verdict = "so no row is lost" if received == sum(others) else "WHICH IS WRONG"
    return f'{shown}<div class="promo-note promo-brief">{told}, {verdict}.</div>'


def _refused(rows: list[Quarantined]) -> str:
    if not rows:
        return '<div class="promo-note promo-brief">No row was refused.</div>'
    names = ("page", "position", "reason", "the row")
    body = "".join(
        f"<tr><td>{page:,}</td><td>{position:,}</td><td>{escape(printable(reason))}</td>"
        f"<td><code>{escape(printable(raw, most=120))}</code></td></tr>"
        for page, position, reason, raw in rows
    )
    return table("The rows refused last", names, f"<tbody>{body}</tbody>", "promo-list")


def _megabytes(path: Path) -> str:
    with suppress(FileNotFoundError):
        return f"{path.stat().st_size / 1e6:,.1f}"
    return "0.0"
