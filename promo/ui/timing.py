"""What takes the time: of a page on its way to the store, and of a frame on its way to the eye."""

from __future__ import annotations

import ipywidgets as widgets

from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.frames import Frames

_REST = "fetch, learn, commit and draw are timed while the stream runs"


class Timing:
    """Milliseconds that a page takes to be fetched, learned and committed, and a frame to be drawn.

    Fetching is what the line waits for: pages come ahead of it, so that is little where the
    service is quick.

    Attributes
    ----------
    frames
        Those of the publisher, which sets it: the browser's word on the last one's time.
    """

    rest_s = 2.0  # nobody reads faster
    frames: Frames | None = None

    def __init__(self) -> None:
        self.line = html()
        self.widget = widgets.VBox([sheet(), self.line])
        self.widget.add_class("promo").add_class("promo-timing")

    def update(self, snapshot: Snapshot) -> None:
        """Write the line anew."""
        parts = [_timed(name, 1000 * seconds) for name, seconds in snapshot.page_s.items()]
        if parts and self.frames is not None and self.frames.took_ms:
            parts.append(_timed("draw", self.frames.took_ms, "a frame"))
        self.line.value = f'<div class="promo-legend">{"".join(parts) or _REST}</div>'


def _timed(name: str, ms: float, what: str = "a page") -> str:
    digits = 2 if ms < 10 else 0
    return f"<span>{name} <b>{ms:.{digits}f}</b> ms {what}</span> "
