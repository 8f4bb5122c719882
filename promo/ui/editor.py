"""Your story first: arrows and predictions, written down before the stream shows anything."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import ipywidgets as widgets

from promo.models.graphs import PAIRS, Arrow, check_acyclic, implied
from promo.models.verdict import PREDICTABLE
from promo.snapshot import Snapshot
from promo.trainer import Trainer
from promo.ui.common import check_box, html, sheet
from promo.ui.diagram import causal_diagram
from promo.ui.stories import plain
from promo.ui.style import headed
from promo.words import of_rows

_SIGNS = ("no idea", "negative", "zero", "positive")
_ARROWS: tuple[Arrow, ...] = tuple(arrow for pair in PAIRS for arrow in (pair, pair[::-1]))


class StoryEditor:
    """Check boxes for arrows, a list of predictions, and a button that writes them down.

    What is written down is an event of kind ``story`` in the store: `arrows` as [cause, effect]
    pairs, and `predictions` by formula. Its page says how much had been seen by then.

    Parameters
    ----------
    trainer
        Writes the event.
    arrows, predictions
        What is filled in at first.
    """

    def __init__(
        self,
        trainer: Trainer,
        arrows: Iterable[Arrow] = (),
        predictions: dict[str, str] | None = None,
    ) -> None:
        self._trainer, self._said, self._rows = trainer, "", 0
        self._said_of: object = None  # the story that stood here then
        drawn, guessed = set(arrows), predictions or {}
        self.arrows = {
            arrow: check_box(" → ".join(arrow).replace("_", " "), arrow in drawn)
            for arrow in _ARROWS
        }
        self.predictions = {
            formula: widgets.Dropdown(
                options=_SIGNS,
                value=guessed.get(formula, "no idea"),
                description=f"{formula}: {term}",
                style={"description_width": "400px"},
                layout=widgets.Layout(width="520px", max_width="100%"),
            )
            for formula, term in PREDICTABLE
        }
        self.write = widgets.Button(
            description="Write it down", button_style="primary", layout={"width": "140px"}
        )
        self.write.on_click(self._write)
        self.drawing, self.message = html(), html()
        self.widget = self._laid_out()

    def _laid_out(self) -> widgets.VBox:
        head = headed(
            "Your story first",
            "Draw what you think causes what, then say which sign each slope will have",
        )
        boxes = widgets.VBox([*self.arrows.values()])
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 24px")
        top = widgets.HBox([boxes, self.drawing], layout=row)
        signs = widgets.VBox([*self.predictions.values()])
        signs.add_class("promo-predictions")
        parts = [sheet(), html(head), top, signs, self.write, self.message]
        box = widgets.VBox(parts)
        box.add_class("promo")
        return box

    @property
    def choice(self) -> object:
        """Arrows and predictions as they stand, and what the button last said."""
        return self._story(), self._said

    def _story(self) -> object:
        return self._drawn(), [box.value for box in self.predictions.values()]

    def _drawn(self) -> tuple[Arrow, ...]:
        return tuple(arrow for arrow, box in self.arrows.items() if box.value)

    def _write(self, _: widgets.Button) -> None:
        try:
            graph = check_acyclic(self._drawn())
        except ValueError:
            return  # `update` says why
        self._said_of = self._story()
        try:
            predictions = {formula: box.value for formula, box in self.predictions.items()}
            seen = self._trainer.snapshot.rows
            self._trainer.note("story", arrows=sorted(map(list, graph)), predictions=predictions)
        except Exception as error:  # a callback's exception is shown nowhere else
            self._said = escape(str(error) or repr(error))
        else:
            before = f"after {of_rows(seen)} had been seen" if seen else "before any row was seen"
            says = [plain(each) for each in implied(graph)]
            self._said = (
                f"Written down {before}. By d-separation that story implies: "
                f"{escape('; '.join(says)) or 'no independence at all'}."
            )

    def update(self, snapshot: Snapshot) -> None:
        """Draw the arrows, or say why they make no story."""
        if snapshot.rows < self._rows:
            self._said = ""  # started over: what was written down is gone
        self._rows = snapshot.rows
        drawn = self._drawn()
        try:
            check_acyclic(drawn)
            problem = ""
        except ValueError as error:
            said = str(error).replace("->", "→").replace("_", " ")
            problem = f'<span class="promo-problem">{escape(said)}.</span>'
        said = self._said
        if said and self._story() != self._said_of:
            said += " What stands here now is another one, not written down yet."
        named = [(a.replace("_", " "), b.replace("_", " ")) for a, b in drawn]
        self.drawing.value = causal_diagram("Your story", named)
        self.message.value = f'<div class="promo-note">{problem or said}</div>'
