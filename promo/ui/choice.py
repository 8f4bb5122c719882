"""Who is to predict: the experts to choose from, each with its price, before a stream begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape

import ipywidgets as widgets

from promo.models.default import EXPERTS, FULL, MIXTURE, MIXTURE_US, price_us
from promo.snapshot import Snapshot
from promo.ui.board import Board
from promo.ui.common import check_box, html, sheet
from promo.ui.publisher import close_board
from promo.ui.style import headed

PRICES = "Beside each expert: µs a row, in pages of 10 and of 1,000 rows"


class ExpertBoxes:
    """A check box for each expert, with its price.

    Parameters
    ----------
    names
        Ticked at first.
    """

    def __init__(self, names: Iterable[str] = FULL) -> None:
        ticked = {*names}
        self.boxes = {name: check_box(name, name in ticked) for name in (*EXPERTS, MIXTURE)}
        lines = [part for name, box in self.boxes.items() for part in (box, _price(name))]
        self.widget = widgets.GridBox(
            lines, layout=widgets.Layout(grid_template_columns="max-content 1fr", grid_gap="0 24px")
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The experts ticked, in the order of `EXPERTS`, the mixture last."""
        return tuple(name for name, box in self.boxes.items() if box.value)


class ExpertChoice:
    """A check box and a price for each expert, and a button that opens a stream of those ticked.

    A store holds one set of models, so experts are chosen before their stream begins. *Open* has
    `opened` make trainer, publisher and board of the experts ticked; the board appears below the
    button. Where one stood before, it is closed with its trainer first: what that has committed
    stays in its store. With a store named for the choice, as here, choosing the same experts again
    goes on where they stopped::

        def opened(names):
            models, settings = default_models(names, stream.source)
            store = Store(
                data_dir() / f"{'+'.join(names)}.db",
                source=stream.source, page_size=stream.page_size, settings=settings,
            )
            trainer = Trainer(stream, store, models)
            views = [Controls(trainer), Leaderboard(trainer)]
            Publisher(trainer, views)
            return Board(*[[view] for view in views])

        choice = ExpertChoice(opened)
        Publisher(None, [choice])
        Board([choice])

    Parameters
    ----------
    opened
        Called with the names, in the order of `EXPERTS`, in the publisher's thread: to take up a
        store may take a while. What it raises is said below the button.
    names
        Ticked at first.
    """

    def __init__(
        self, opened: Callable[[tuple[str, ...]], Board], names: Iterable[str] = FULL
    ) -> None:
        self._make, self._experts = opened, ExpertBoxes(names)
        self.boxes = self._experts.boxes
        self._asked: tuple[int, tuple[str, ...]] = (0, ())  # how often it was pressed, and last for
        self._done: tuple[int, tuple[str, ...]] = self._asked  # the press that was heeded last
        self._shown: tuple[str, ...] = ()
        self._problem = ""
        self.open = widgets.Button(description="Open", button_style="primary")
        self.open.on_click(self._ask)
        self.note, self.place = html(), widgets.VBox()
        self.widget = self._laid_out()

    def _laid_out(self) -> widgets.VBox:
        legend = "µs a row to predict, to learn and to tell, in pages of 10 and of 1,000 rows"
        head = html(headed("Who is to predict?", legend))
        box = widgets.VBox([sheet(), head, self._experts.widget, self.open, self.note])
        box.add_class("promo")
        return widgets.VBox([box, self.place])

    @property
    def names(self) -> tuple[str, ...]:
        """The experts ticked, in the order of `EXPERTS`, the mixture last."""
        return self._experts.names

    @property
    def choice(self) -> object:
        """The experts ticked, and the last press of the button, with those ticked then."""
        return self.names, self._asked

    def _ask(self, _: widgets.Button) -> None:
        presses, _ = self._asked
        self._asked = presses + 1, self.names

    def update(self, _: Snapshot | None) -> None:
        """Say what the choice costs; open it if the button was pressed and it is not open."""
        asked = self._asked  # set by the thread of the button only: or else a press might be lost
        if asked != self._done:
            self._done, names = asked, asked[1]
            if names not in ((), self._shown):
                self._open(names)
        nobody = not {*self.names} - {MIXTURE}
        self.open.disabled = nobody
        self._say("Tick at least one expert." if nobody else _cost(self.names))

    def _open(self, names: tuple[str, ...]) -> None:
        self.close()
        self._problem, self.open.disabled = "", True
        self._say(f"Opening {', '.join(names)} …")
        try:
            board = self._make(names)
        except Exception as error:  # said here; the reader may choose again
            self._problem = str(error) or repr(error)
            return
        self._shown, self.place.children = names, (board,)
        if self.place.comm is None:  # closed meanwhile
            close_board(board)

    def _say(self, text: str) -> None:
        problem = f'<div class="promo-problem">{escape(self._problem)}</div>'
        self.note.value = f'<div class="promo-note">{escape(text)}{problem}</div>'

    def close(self) -> None:
        """Close the board that was opened, and its trainer."""
        boards, self.place.children, self._shown = self.place.children, (), ()
        for board in boards:
            close_board(board)


def _price(name: str) -> widgets.HTML:
    expert = EXPERTS.get(name)
    small, large = expert.price_us if expert else MIXTURE_US
    more = " and more with every row" if expert and expert.grows else ""
    mark = ' <span class="promo-problem">costly</span>' if expert and expert.costly else ""
    return html(f"{small:g} · {large:g} µs{more}{mark}")


def _cost(names: tuple[str, ...]) -> str:
    small, large = price_us(names)
    at_most = [f"{float(f'{1e6 / price:.2g}'):,.0f}" for price in (small, large)]
    return (
        f"Together, with the comparison, about {small:.0f} µs a row in pages of 10 and {large:.0f} "
        f"in pages of 1,000: at most {' and '.join(at_most)} rows a second."
    )
