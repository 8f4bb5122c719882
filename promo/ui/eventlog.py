"""The log: what has happened to the stream, in words, the newest first."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from promo.snapshot import Snapshot
from promo.store import Event, Reader
from promo.trainer import Trainer
from promo.ui.common import html, sheet
from promo.ui.style import headed, table
from promo.words import KINDS, of_event

LINES = 100
_TROUBLE = {"retry", "error", "changed", "conflict", "drift"}


class EventLog:
    """The newest events up to the page shown, of all kinds or of one.

    Parameters
    ----------
    trainer
        Whose store to read.
    """

    rest_s = 2.0

    def __init__(self, trainer: Trainer) -> None:
        self._store = trainer.store.path
        self.kind = widgets.Dropdown(
            options=[("everything", ""), *((kind.replace("_", " "), kind) for kind in KINDS)],
            description="Show",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="auto", align_self="flex-start"),
        )
        # It scrolls, so that the page stays as long as it is however much happens.
        self.table = widgets.HTML(layout=widgets.Layout(max_height="240px", overflow="auto"))
        legend = f"The last {LINES} events, the newest first; page: the next one at that moment"
        head = html(headed("What happened?", legend))
        self.widget = widgets.VBox([sheet(), head, self.kind, self.table])
        self.widget.add_class("promo")

    @property
    def choice(self) -> object:
        """The kind to show; see `Publisher`."""
        return self.kind.value

    def update(self, snapshot: Snapshot) -> None:
        """Write the log anew if an event has come."""
        following = 0 if snapshot.page is None else snapshot.page + 1
        with Reader(self._store) as reader:
            events = reader.events(self.kind.value or None, last=LINES, until=following)
        self.table.value = as_html(events[::-1])


def as_html(events: list[Event]) -> str:
    """Return events as a table, in their order."""
    if not events:
        return '<div class="promo-note promo-brief">Nothing.</div>'
    body = f"<tbody>{''.join(map(_line, events))}</tbody>"
    return table("Events", ("UTC", "page", "kind", "what"), body, "promo-list")


def _line(event: Event) -> str:
    kind = escape(event.kind[:40].replace("_", " "))
    if event.kind in _TROUBLE:
        kind = f'<span class="failed">{kind}</span>'
    return (
        f'<tr><td><time title="{escape(event.at)}">{escape(event.at[11:19])}</time></td>'
        f"<td>{event.page:,}</td><td>{kind}</td><td>{escape(of_event(event))}</td></tr>"
    )
