"""Going back in time: every view shows a page that the store keeps, while the stream goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import ipywidgets as widgets
import numpy as np

from promo.history import stride
from promo.models.results import Model
from promo.past import Past
from promo.snapshot import Snapshot
from promo.trainer import Trainer
from promo.ui.common import sheet
from promo.ui.pageslider import LIVE, PageSlider
from promo.ui.style import row_layout

_T = TypeVar("_T")
_INTERVAL_MS, _FRAMES = 250, 100  # Play takes this many frames from the first page to the newest


class TimeTravel:
    """A slider over the pages that are kept, Play through them, and Live, which returns.

    To a view that asks the models it stands for the trainer: it has the answers of the page shown.
    Its publisher gives the other views the snapshot of that page, and is the one that reads it.

    Parameters
    ----------
    trainer
        Whose past to show.

    Attributes
    ----------
    models
        The trainer's, by which views know their names.
    """

    live = True  # the slider ends at the newest page, whatever page the figures show
    rest_s = 1.0

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.models, self.problem = trainer, trainer.models, ""
        self._copies = trainer.unlearned()
        self._past: Past | None = None  # from the first page on that is turned to
        self._seen: Snapshot | None = None  # of the past
        self._wanted = LIVE
        self._pages = trainer.snapshot.history.pages
        self._cleared = trainer.store.cleared  # how often, as far as we know
        self.slider = PageSlider()
        self.play = widgets.Play(
            max=10**9,
            interval=_INTERVAL_MS,
            show_repeat=False,
            tooltip="Play the past",
            layout=widgets.Layout(width="92px"),
        )
        self.back = widgets.Button(
            description="Live", disabled=True, layout=widgets.Layout(width="auto", min_width="68px")
        )
        self.play.observe(self._tick, "value")
        # A page that went with the handle in hand could not say that it has let go.
        self.play.observe(lambda _: self.slider.set_trait("held", False), "playing")
        self.back.on_click(lambda _: self._return())
        row = widgets.HBox([self.slider, self.play, self.back], layout=row_layout())
        self.widget = widgets.VBox([sheet(), row])
        self.widget.add_class("promo")
        self.update(trainer.snapshot)

    # -- what the reader does ---------------------------------------------------------------

    @property
    def choice(self) -> int:
        """The page that the reader has gone back to."""
        return int(self.slider.page)

    def _return(self) -> None:
        self.play.playing, self.problem = False, ""
        self.slider.page = LIVE

    def _tick(self, change: dict[str, Any]) -> None:
        """Go on by a frame: the value of Play is but a clock, whatever it counts."""
        pages = self._pages
        stopped = change["new"] <= change["old"]  # and set to 0
        if stopped or not len(pages) or self.slider.held:
            return
        page = self.slider.page
        frame = max(len(pages) // _FRAMES, 1)
        at = 0 if page == LIVE else int(np.searchsorted(pages, page, "right")) - 1 + frame
        if at < len(pages) - 1:
            self.slider.page = int(pages[max(at, 0)])
        else:
            self._return()

    # -- what the views see -----------------------------------------------------------------

    def turned(self, live: Snapshot) -> Snapshot:
        """Return what the views are to show now: the newest snapshot, or that of the past.

        For the publisher's thread: it reads the page from the store.
        """
        cleared = self.trainer.store.cleared
        if cleared != self._cleared:
            self._cleared = cleared
            self._return()  # the run was started over
        page = self.slider.page
        if page == self._wanted:
            return self._seen or live
        if not self._copies.done():  # they come between two pages
            return live
        seen = None
        if page != LIVE and live.page is not None:
            try:
                seen, self.problem = self._turn_to(page, live), ""
            except Exception as error:  # the page was thinned out, the file is gone
                self.problem = str(error) or repr(error)
        # At once, not before it is read: meanwhile others ask which page is shown.
        self._seen, self._wanted = seen, LIVE if seen is None else page
        if seen is None:
            if self._past is not None:
                self._past.leave()
            if page != LIVE:
                self.slider.page = LIVE
        return seen or live

    def _turn_to(self, page: int, live: Snapshot) -> Snapshot:
        """Read the last page that is kept up to one."""
        if self._past is None:
            self._past = Past(self.trainer.store.path, self._copies.result())
        pages = live.history.pages
        at = max(int(np.searchsorted(pages, page, "right")) - 1, 0)
        return self._past.turn_to(int(pages[at]), live)

    def ask(self, question: Callable[[Sequence[Model]], _T]) -> Future[_T]:
        """Answer a question about the models: as they were at the page shown, or as they are."""
        past = self._past if self._seen is not None else None
        return past.ask(question) if past else self.trainer.ask(question)

    @property
    def page(self) -> int | None:
        """The page of the past that is shown, None while none is."""
        seen = self._seen  # which the publisher's thread may change meanwhile
        return None if seen is None else seen.page

    @property
    def notice(self) -> str:
        """What the status line is to say of the figures."""
        page = self.page
        return self.problem if page is None else f"the figures show page {page:,} (counted from 0)"

    def update(self, live: Snapshot) -> None:
        """Tell the slider which pages there are."""
        self._pages = pages = live.history.pages
        if len(pages):
            self.slider.pages = [int(pages[0]), int(pages[-1]), stride(int(pages[-1]))]
        self.back.disabled = self.slider.page == LIVE

    def close(self) -> None:
        """Let go of the store. Idempotent."""
        if self._past is not None:
            self._past.close()
