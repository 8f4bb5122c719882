"""A second run that leaves the first at the page shown, with controls of its own."""

from __future__ import annotations

import threading
from html import escape
from itertools import chain, count
from pathlib import Path

import ipywidgets as widgets

from promo.begun import Begun
from promo.fork import fork
from promo.history import stride
from promo.snapshot import Snapshot
from promo.store import Reader, Store
from promo.trainer import Trainer
from promo.ui.choice import PRICES, ExpertBoxes
from promo.ui.common import html
from promo.ui.controls import Controls
from promo.ui.publisher import close_tree
from promo.ui.style import row_layout
from promo.ui.timetravel import TimeTravel


class Fork:
    """Fork: a new store from the page shown, beside the first, and Play and Learning rate for it.

    Figures that are given it as `beside` draw both runs. It has the models that the first began
    with, at the rates of that page, unless others are ticked: these learn the rows up to the page
    anew. Pressed again it begins another fork; the file of the one before stays.

    Parameters
    ----------
    travel
        Says which page is shown, and of which trainer; at no page of the past it is the newest.
    model
        Name of the model whose learning rate the fork's slider sets.

    Attributes
    ----------
    name
        What stands at the end of its lines in figures.
    since
        Rows at which it left the first run.
    trainer
        Of the fork, None while there is none.
    """

    live, name = True, "fork"

    def __init__(self, travel: TimeTravel, model: str = "sgd-logistic") -> None:
        self._travel, self._model = travel, model
        self.trainer: Trainer | None = None
        self.since, self.problem = 0, ""
        self._controls: Controls | None = None
        self._making: threading.Thread | None = None
        self._closed = False
        self.button = widgets.Button(
            description="Fork",
            tooltip="Go on from the page shown in a second run, with other rates or models",
            layout=widgets.Layout(width="auto", min_width="68px"),
        )
        self.button.on_click(lambda _: self._press())
        with Reader(travel.trainer.store.path) as source:
            self._names = Begun.of(source).names
        self.experts = ExpertBoxes(self._names)
        self.fold = widgets.ToggleButton(description="Models …", layout={"width": "auto"})
        self.note = html()
        row = widgets.HBox([self.button, self.fold, self.note], layout=row_layout())
        prices = html(f'<div class="promo-legend">{PRICES}</div>')
        self.unfolded = widgets.VBox([self.experts.widget, prices])
        self.widget = widgets.VBox([row, self.unfolded])
        self.widget.add_class("promo")
        self.update(travel.trainer.snapshot)

    @property
    def snapshot(self) -> Snapshot | None:
        """The fork's newest, None while there is none."""
        return self.trainer.snapshot if self.trainer else None

    @property
    def choice(self) -> object:
        """Which fork there is, how it fares, whether one is being made, and unfolded models."""
        told = (self.trainer.status, self.trainer.message) if self.trainer else None
        pressed = self._controls.problem if self._controls else ""
        return self.trainer, told, pressed, self._is_making, self.fold.value

    @property
    def beside(self) -> Fork:
        """Its own run, so that its status line follows that."""
        return self

    @property
    def _is_making(self) -> bool:
        return self._making is not None and self._making.is_alive()

    def _press(self) -> None:
        if self._is_making:
            return
        page = self._page()
        if page is not None:
            about = page, self.experts.names
            self._making = threading.Thread(
                target=self._make, args=about, name="promo-fork", daemon=True
            )
            self._making.start()

    def _page(self) -> int | None:
        """Return the page to fork at: of the newest, one that the store will keep."""
        if (page := self._travel.page) is not None:
            return page
        pages = self._travel.trainer.snapshot.history.pages
        return int(pages[pages % stride(int(pages[-1])) == 0][-1]) if len(pages) else None

    def _make(self, page: int, names: tuple[str, ...]) -> None:
        """Copy the store and open a trainer on it; it takes about a second per 100,000 rows."""
        first = self._travel.trainer
        try:
            path = _free(first.store.path, page)
            with Reader(first.store.path) as source:
                about, size, settings = source.source, source.page_size, source.settings
                if {*names} == {*self._names}:
                    fork(source, page, path)
                    models = first.unlearned().result()
                else:
                    begun = Begun.of(source)
                    learning, settings = begun.models(names)
                    fork(source, page, path, models=learning, settings=settings)
                    models, _ = begun.models(names)  # that have learned nothing
            store = Store(path, source=about, page_size=size, settings=settings)
            made = Trainer(first.stream, store, models)
        except Exception as error:  # nobody is ticked, say: a callback's is shown nowhere else
            self.problem = str(error) or repr(error)
        else:
            before, self.since, self.problem = self.trainer, made.snapshot.rows, ""
            self.trainer = made
            if before is not None:
                before.close()
            if self._closed:  # meanwhile
                made.close()

    def update(self, live: Snapshot) -> None:
        """Show the fork's controls, and say what is going on."""
        self.button.disabled = self._is_making or live.page is None
        self.unfolded.layout.display = "" if self.fold.value else "none"
        if self.trainer is not None:
            self._show(self.trainer)
        self.note.value = f'<div class="promo-legend">{self._in_words()}</div>'

    def _in_words(self) -> str:
        if self.problem:
            return f'<span class="promo-problem">{escape(self.problem)}</span>'
        if self._is_making:
            return "Going back to that page"
        if self.trainer is not None:
            return f"A second run, in {escape(str(self.trainer.store.path.name))}"
        return ""

    def _show(self, trainer: Trainer) -> None:
        if self._controls is None or self._controls.trainer is not trainer:
            if self._controls is not None:
                close_tree(self._controls.widget)
            self._controls = Controls(trainer, self._model)
            self._controls.start_over.layout.display = "none"  # it would begin at page 0
            self._controls.widget.add_class("promo-second")
            self.widget.children = (*self.widget.children[:2], self._controls.widget)
        self._controls.update(trainer.snapshot)

    def close(self) -> None:
        """Stop the fork and let go of its store; the file stays. Idempotent."""
        self._closed = True
        if self._making is not None:
            self._making.join(2.0)
        if self.trainer is not None:
            self.trainer.close(2.0)


def _free(path: Path, page: int) -> Path:
    """Return a name beside a store that no file has."""
    stem = f"{path.stem}-fork-{page}"
    ends = chain([""], (f"-{number}" for number in count(2)))
    names = (path.with_name(f"{stem}{end}{path.suffix}") for end in ends)
    return next(name for name in names if not name.exists())
