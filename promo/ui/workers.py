"""Who works on a stream that is shared out: a small table of workers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets

from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.style import headed, table

if TYPE_CHECKING:  # Dask is an extra
    from promo.scale import ScaledTrainer, WorkerFacts

_TITLE = "Who works?"
_HEAD = ("worker", "pages", "pages/s, newest chunk", "retries", "deaths")


class WorkersTable:
    """What each worker has done: pages, pages a second in its newest chunk, retries, deaths.

    Parameters
    ----------
    trainer
        Whose workers.
    """

    rest_s = 0.5

    def __init__(self, trainer: ScaledTrainer) -> None:
        self._trainer = trainer
        self.table, self.note = html(), html()
        head = html(
            headed(
                _TITLE,
                "Only what merges is learned here: moments, a logistic regression, the stories. "
                "River's SGD and trees learn row after row and do not merge: they are off",
            )
        )
        self.widget = widgets.VBox([sheet(), head, self.table, self.note])
        self.widget.add_class("promo")

    @property
    def answers(self) -> object:
        """What has come of the workers, shown as answers are."""
        return self._trainer.workers

    def update(self, snapshot: Snapshot) -> None:
        """Write the table anew."""
        workers = self._trainer.workers
        rows = "".join(_row(each, busy=snapshot.pages_per_s > 0) for each in workers)
        self.table.value = table(_TITLE, _HEAD, f"<tbody>{rows}</tbody>", "promo-workers")
        pages, deaths = sum(w.pages for w in workers), sum(w.deaths for w in workers)
        died = {0: "Nobody died.", 1: "One death: its pages were done again."}.get(
            deaths, f"{deaths:,} deaths: their pages were done again."
        )
        by = f"{_counted(len(workers), 'worker')} learned {_counted(pages, 'page')}"
        self.note.value = (
            f'<div class="promo-note">Since this was opened, before Start over too, {by}; the '
            f"driver learns the first rows itself, which set the scale. {died} In a store every "
            "page is committed once.</div>"
        )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _row(facts: WorkerFacts, *, busy: bool) -> str:
    pace = f"{facts.pages_per_s:,.0f}" if busy and facts.pages_per_s else ""
    numbers = (f"{facts.pages:,}", pace, f"{facts.retries:,}", f"{facts.deaths:,}")
    cells = "".join(f"<td>{number}</td>" for number in numbers)
    return f'<tr><th scope="row">{escape(facts.name)}</th>{cells}</tr>'
