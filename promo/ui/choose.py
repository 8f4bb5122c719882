"""Choose before a stream is opened: its source, its models, its intervals, its store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from promo.begun import Begun
from promo.dataset import Recipe
from promo.embedded import EmbeddedAPI, ExternalAPI, Service
from promo.errors import StoreError
from promo.following import Following
from promo.models.anytime import ALPHA, level_in_words
from promo.opening import check, open_stream, stored, stores_in
from promo.snapshot import Snapshot
from promo.stream import PageStream
from promo.stream.look import look
from promo.trainer import Trainer
from promo.ui.board import Board
from promo.ui.choice import PRICES, ExpertBoxes
from promo.ui.common import html, sheet
from promo.ui.publisher import close_board
from promo.ui.style import row_layout
from promo.words import of_rows
from promo.world import WORLDS

_WIDE = {"description_width": "initial"}
_RUNS, _WORLD, _ADDRESS = "the API that runs", "a made-up world", "another address"
_ALPHAS = (0.1, ALPHA, 0.01)
_NEW = ""
_FIXED = "Intervals and experts are those that this store was begun with."


class Choose:
    """A form that opens a stream, folded once one is open, and the board of that stream below it.

    *Open* has `opened` make the publisher and the board; both it and what takes time before, such
    as to start an API, happen in the thread of this view's publisher. What stood there before is
    closed once source and store are known to be good: what it has committed stays in its store. A
    store that another process writes is shown as it grows, and a button opens one of the reader's
    own.

    Parameters
    ----------
    api
        The service that runs already.
    path
        The store that is opened at first, in whose folder the others lie.
    opened
        Makes the board of a trainer, or of a store that is only read along.
    """

    def __init__(
        self,
        api: Service,
        path: Path,
        opened: Callable[[Trainer | Following], Board],
    ) -> None:
        self._api, self._folder, self._make = api, path.parent, opened
        self._own: Service | None = None  # of the stream that is open
        self._asked: Callable[[], None] | None = None
        self._done: Callable[[], None] | None = None  # what was asked for last and is done
        self._due: object = None  # what is said to be opened, and will be in the next frame
        self._looked_at, self._unfolded = "", False
        self._listed = _NEW  # the store that the fields were last filled in for
        self._filled_in: object = None  # and what they said then of the source
        self.trainer: Trainer | Following | None = None
        self._build(path)
        self.place = widgets.VBox()
        self.widget = widgets.VBox([self._laid_out(), self.place])
        self._open(path)

    def _build(self, path: Path) -> None:
        text = partial(widgets.Text, continuous_update=False, style=_WIDE)
        number = partial(widgets.IntText, style=_WIDE, layout={"width": "150px"})
        narrow = {"width": "220px"}
        self.source = widgets.Dropdown(
            options=[_RUNS, _WORLD, _ADDRESS], description="Source", style=_WIDE
        )
        self.world = widgets.Dropdown(options=[*WORLDS], description="World", style=_WIDE)
        self.rows = number(value=Recipe().rows, description="Rows")
        self.seed = number(value=Recipe().seed, description="Seed")
        self.address = text(
            placeholder="http://host:port", description="Address", layout={"width": "320px"}
        )
        self.check = _button("Check", lambda: setattr(self, "_looked_at", ""))
        self.verdict = html()
        self.store = widgets.Dropdown(description="Store", style=_WIDE, layout={"width": "720px"})
        self.name = text(value=_free(path).name, description="New file", layout={"width": "280px"})
        self.alpha = widgets.Dropdown(
            options=[(level_in_words(alpha), alpha) for alpha in _ALPHAS], value=ALPHA,
            description="Intervals", style=_WIDE, layout=narrow,
        )  # fmt: skip
        self.experts, self.legend = ExpertBoxes(), html()
        self.open = _button("Open", lambda: self._ask(self._open_chosen), "primary")
        self.mine = _button("Open a store of my own", lambda: self._ask(self._open_mine))
        self.fold = widgets.ToggleButton(description="Choose …", layout={"width": "auto"})
        self.summary, self.note = html(), html()

    def _laid_out(self) -> widgets.VBox:
        rows = [
            [self.source, self.world, self.rows, self.seed, self.address, self.check],
            [self.verdict],
            [self.store, self.name, self.alpha],
            [self.experts.widget],
            [self.legend],
            [self.open, self.note],
        ]
        self._form = widgets.VBox([widgets.HBox(row, layout=row_layout()) for row in rows])
        self._form.add_class("promo-form")
        head = widgets.HBox([self.fold, self.summary, self.mine], layout=row_layout())
        box = widgets.VBox([sheet(), head, self._form])
        box.add_class("promo").add_class("promo-choose")
        return box

    @property
    def choice(self) -> object:
        """What is filled in, and what was asked for."""
        source = (self.source, self.world, self.rows, self.seed, self.address)
        return (
            *(field.value for field in (*source, self.store, self.fold)),
            self._asked,
            self._done,
            self._looked_at,
            self._due,
        )

    @property
    def _source_chosen(self) -> object:
        """What is filled in of the source."""
        about = [self.source.value]
        about += [self.world.value, self.rows.value, self.seed.value] * (about[0] == _WORLD)
        return about + [self.address.value.strip()] * (about[0] == _ADDRESS)

    def _ask(self, action: Callable[[], None]) -> None:
        # Another object at each press, for the publisher to see that it is another.
        self._asked, self.open.disabled = partial(action), True

    def update(self, _: Snapshot | None) -> None:
        """Do what was asked for, and show the fields that matter, with a verdict on the source."""
        if self.store.value == self._listed != _NEW and self._source_chosen != self._filled_in:
            self.store.value = _NEW  # another source needs another store
        asked = self._asked  # set by the thread of the button only: or else a press might be lost
        if asked is not None and asked is not self._done:
            if self._due is not asked:
                self.note.value, self._due = _says("Opening …"), asked
                return
            try:
                asked()
            finally:
                self.open.disabled, self._done = self._asked is not asked, asked
        unfolds = self.fold.value and not self._unfolded
        if unfolds and self.trainer is not None and self._source_chosen == self._filled_in:
            self._list(self.trainer.store.path)  # as far as they have come by now
        self._unfolded = self.fold.value
        self._form.layout.display = "" if self._unfolded else "none"
        for field in (self.world, self.rows, self.seed):
            field.layout.display = "" if self.source.value == _WORLD else "none"
        self.address.layout.display = "" if self.source.value == _ADDRESS else "none"
        self.check.layout.display = "none" if self.source.value == _WORLD else ""
        chosen = self.store.value  # which the reader may change meanwhile
        before = stored(Path(chosen)) if chosen != _NEW else None
        if before and chosen != self._listed:
            self._fill_in(before.source)
            self._filled_in = self._source_chosen
        self._listed = chosen
        self.name.layout.display = "none" if before else ""
        for widget in (self.alpha, *self.experts.boxes.values()):
            widget.disabled = before is not None
        if before:
            self._offer(before.alpha)
            for name, box in self.experts.boxes.items():
                box.value = name in before.names
        else:
            self._offer()
        self.legend.value = f'<div class="promo-legend">{_FIXED if before else PRICES}</div>'
        self.open.description = "Go on" if before else "Open"
        if self.fold.value:
            self._look()

    def _offer(self, alpha: float | None = None) -> None:
        """Offer the usual intervals, or show those of a store, which are its own for good."""
        offered = [*_ALPHAS] if alpha is None else [alpha]
        if [each for _, each in self.alpha.options] != offered:
            self.alpha.options = [(level_in_words(each), each) for each in offered]
            self.alpha.value = ALPHA if alpha is None else alpha

    def _look(self) -> None:
        """Check the source that is chosen, unless that was done."""
        source, address = self.source.value, self.address.value.strip()
        url = self._api.url if source == _RUNS else address
        about = f"{source} {url if source != _WORLD else self.world.value}"
        if about == self._looked_at:
            return
        self._looked_at = about
        if source == _WORLD:
            self.verdict.value = _says(WORLDS[self.world.value].description)
        elif not url:
            self.verdict.value = _says("Give the address of an API.")
        else:
            found = look(url)
            self.verdict.value = _says(" ".join(found.findings), failed=not found.usable)

    def _open_chosen(self) -> None:
        if self.store.value != _NEW:
            self._open(Path(self.store.value))
        else:
            name = Path(self.name.value.strip() or "new").name
            self._open(self._folder / (name if name.endswith(".db") else f"{name}.db"), new=True)

    def _open_mine(self) -> None:
        if self.trainer is not None:
            self._open(_free(self.trainer.store.path))

    def _open(self, path: Path, *, new: bool = False) -> None:
        """Open the store with what is filled in; say below the button why that failed."""
        try:
            if new and path.exists() and path.stat().st_size:
                self._list(self.trainer.store.path if self.trainer else path)
                self.store.value, self.name.value = _NEW, path.name
                advice = "choose it in the list, or another name"
                raise StoreError(
                    f"{path.name} exists: {advice if stored(path) else 'choose another name'}"
                )
            api = self._service()
            names, alpha = self.experts.names, self.alpha.value
            check(api.url, api.source, path, names, alpha)
            self.close()
            self._own = api
            self.trainer = open_stream(api.url, api.source, path, names, alpha)
            self.place.children = (self._make(self.trainer),)
            if self.place.comm is None:  # closed meanwhile
                self.close()
                return
        except Exception as error:  # said here; the reader may choose again
            self.fold.value = True
            self.note.value = _says(str(error) or repr(error), failed=True)
            if self.trainer is None:
                self.summary.value = _says("No stream is open.")
                self._list(path)
        else:
            self.fold.value, self.note.value = False, ""
            self._summarise(self.trainer)
            self._list(path)

    def _service(self) -> Service:
        if self.source.value == _RUNS:
            return self._api
        if self.source.value == _ADDRESS:
            url = self.address.value.strip().rstrip("/")
            return ExternalAPI(url, PageStream(url).source)
        return EmbeddedAPI(self.world.value, self.rows.value, self.seed.value)

    def _summarise(self, trainer: Trainer | Following) -> None:
        reads = isinstance(trainer, Following)
        self.mine.layout.display = "" if reads else "none"
        source, path = escape(trainer.store.source), escape(str(trainer.store.path))
        how = " · read only" if reads else ""
        self.summary.value = f'<div class="promo-note">{source} · {path}{how}</div>'

    def _list(self, path: Path) -> None:
        """List the stores that there are; choose the one just opened."""
        found = stores_in(self._folder)
        options = [("a new one", _NEW), *((_told(each), str(each.path)) for each in found)]
        self.store.options = options
        if str(path) in dict(options).values():
            self.store.value = self._listed = str(path)
            self._filled_in = self._source_chosen
        self.name.value = _free(path).name

    def _fill_in(self, source: str) -> None:
        """Choose the source of a store that exists."""
        recipe = Recipe.of(source)
        if source == self._api.source:
            self.source.value = _RUNS
        elif recipe:
            self.source.value = _WORLD
            self.world.value, self.rows.value, self.seed.value = recipe
        else:
            self.source.value, self.address.value = _ADDRESS, source

    def close(self) -> None:
        """Close the board that was opened, its trainer, and the world that was started for it."""
        boards, self.place.children = self.place.children, ()
        for board in boards:
            close_board(board)
        if self.trainer is not None:
            self.trainer.close()
        if self._own is not None and self._own is not self._api:
            self._own.close()
        self.trainer = self._own = None


def _button(text: str, action: Callable[[], Any], style: str = "") -> widgets.Button:
    button = widgets.Button(
        description=text, button_style=style, layout=widgets.Layout(width="auto")
    )
    button.on_click(lambda _: action())
    return button


def _says(text: str, *, failed: bool = False) -> str:
    kind = "promo-problem" if failed else "promo-legend"
    return f'<div class="{kind}" role="status">{escape(text)}</div>'


def _told(store: Begun) -> str:
    page = "no page yet" if store.page is None else f"page {store.page + 1:,}"
    return f"{store.path.name}: {page}, {of_rows(store.rows)} of {store.source}"


def _free(path: Path) -> Path:
    """Return a name beside a store that is not taken."""
    names = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(2))
    return next(name for name in names if not name.exists())
