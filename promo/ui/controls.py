"""The controls: buttons, sliders and the status line of one trainer."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import ceil, floor, inf, log10
from typing import Any

import ipywidgets as widgets

from promo.errors import SourceChanged
from promo.following import Following
from promo.snapshot import Snapshot
from promo.trainer import Trainer
from promo.ui.common import html, sheet
from promo.ui.timetravel import TimeTravel
from promo.words import of_rows

SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, inf)
_SURE = "Erase this run and begin again at page 0?"
_CHANGED = "The API no longer serves what was learned here. Go on all the same, or erase this run?"


class Controls:
    """Play or Pause, Step, Stop, Speed, Learning rate, Start over, and what is going on.

    Callbacks only tell the trainer and return: Jupyter may run them on any thread, and twice at a
    time. What they raise is shown in the status line.

    Parameters
    ----------
    trainer
        Takes the commands.
    model
        Name of the model whose learning rate the slider sets; without such a model there is none.
    travel
        Goes back in time: the status line says which page the figures show.
    """

    live = True  # whatever page the figures show

    def __init__(
        self, trainer: Trainer, model: str = "sgd-logistic", travel: TimeTravel | None = None
    ) -> None:
        self.trainer, self._model, self._travel = trainer, model, travel
        self.problem = ""  # what a callback raised; the publisher looks at it
        self.news = ""  # the status in words, for those who do not see it
        self._afresh = self._steps = False
        self.status = html()
        self.play = _button("Play", self._play_or_pause, "primary")
        self.step = _button("Step", self._step)
        self.stop = _button("Stop", trainer.stop)
        speed = trainer.limit.pages_per_s or inf
        self.speed = widgets.SelectionSlider(
            options=[(_in_words(s), s) for s in sorted({*SPEEDS, speed})],
            value=speed,
            description="Speed",
            continuous_update=False,
            style={"description_width": "initial"},
            layout=widgets.Layout(flex="1 1 200px", max_width="260px"),
        )
        steers = model in trainer.snapshot.learning_rates
        rate = trainer.snapshot.learning_rates[model] if steers else 1.0
        self.learning_rate = widgets.FloatLogSlider(
            value=rate,
            min=min(-4.0, floor(log10(rate))),
            max=max(1.0, ceil(log10(rate))),
            step=0.05,
            description="Learning rate",
            continuous_update=False,
            readout_format=".3g",
            style={"description_width": "initial"},
            layout=widgets.Layout(
                flex="1 1 240px", max_width="300px", display="" if steers else "none"
            ),
        )
        self.start_over = _button("Start over", self._ask)
        self._erase = _button("Yes, erase it", self._begin_again, "danger")
        self._keep = _button("No, keep it", self._settle)
        self._question = _row(_SURE, self._erase, self._keep)
        self._go_on = _button("Go on all the same", self._accept)
        self._restart = _button("Erase and start over", self._begin_again, "danger")
        self._changed = _row(_CHANGED, self._go_on, self._restart)
        self._connect()
        self.widget = self._laid_out()
        self.update(trainer.snapshot)

    def _connect(self) -> None:
        asked = (self._erase, self._keep, self._go_on, self._restart)
        for button in (self.play, self.step, self.stop, self.start_over, *asked):
            button.on_click(self._guarded(lambda pressed: pressed.promo_action()))
        self.speed.observe(self._guarded(self._set_speed), "value")
        self.learning_rate.observe(
            self._guarded(lambda c: self.trainer.set_learning_rate(self._model, c["new"])), "value"
        )

    def _laid_out(self) -> widgets.VBox:
        row = widgets.Layout(align_items="center", flex_flow="row wrap", grid_gap="4px 16px")
        buttons = widgets.HBox([self.play, self.step, self.stop])
        self.start_over.layout.margin = "2px 2px 2px auto"  # far from what is pressed often
        parts = [buttons, self.speed, self.learning_rate, self.start_over]
        rows = [widgets.HBox(parts, layout=row), self._question, self._changed]
        box = widgets.VBox([sheet(), self.status, *rows])
        box.add_class("promo")
        return box

    def _play_or_pause(self) -> None:
        if self.play.description == "Pause":  # as the reader saw it: two clicks on Play are one
            self.trainer.pause()
        else:
            self._steps = False
            self._settle()
            self.trainer.play()

    def _step(self) -> None:
        self.trainer.step()
        self._steps = True

    def _set_speed(self, change: dict[str, Any]) -> None:
        self.trainer.set_speed(change["new"] if change["new"] < inf else None)

    def _ask(self) -> None:
        self._question.layout.display = "flex"

    def _settle(self) -> None:
        self._question.layout.display = "none"

    def _begin_again(self) -> None:
        self._settle()
        self._afresh, self.trainer.accept_changes = True, False
        self.trainer.start_over()

    def _accept(self) -> None:
        self.trainer.accept_changes = True
        self.trainer.play()

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(argument: Any) -> None:
            try:
                self.problem = ""
                callback(argument)
            except Exception as error:  # a callback's exception is shown nowhere else
                self.problem = str(error) or repr(error)

        return guarded

    def update(self, snapshot: Snapshot) -> None:
        """Show a snapshot, and the trainer's status and message of this moment."""
        if self._afresh and snapshot.page is None and not snapshot.rate_changes:
            self._afresh = False  # and the rate as it was first: the one time we move a slider
            rate = snapshot.learning_rates.get(self._model, self.learning_rate.value)
            self.learning_rate.value = rate
        status = self.trainer.status
        busy = status in ("running", "retrying")
        self.play.description = "Pause" if busy else "Play"
        self._steps = self._steps and busy
        self.step.disabled = busy and not self._steps  # who presses it again keeps the focus
        self.stop.disabled = status in ("idle", "stopped", "finished", "failed")
        changed = status == "failed" and isinstance(self.trainer.error, SourceChanged)
        if changed:
            self._settle()  # the other question has the same answer
        self._changed.layout.display = "flex" if changed else "none"
        message = self.trainer.message
        said = self.problem or message or snapshot.message
        ended = "" if said or status != "finished" else "there is no further page yet"
        notice = self._travel.notice if self._travel else ""
        told = " · ".join(filter(None, [said, ended, notice]))
        self.status.value = status_line(snapshot, status, told, waits=bool(message))
        # Not how far it is, nor how long it waits: nobody could listen to that.
        self.news = f"{status} {said.partition('; attempt ')[0]}".strip()


class Watching:
    """The status line of a store that another process writes: there is nothing to press."""

    def __init__(self, trainer: Following) -> None:
        self._trainer = trainer
        self.status = html()
        self.widget = widgets.VBox([sheet(), self.status])
        self.widget.add_class("promo")
        self.update(trainer.snapshot)

    def update(self, snapshot: Snapshot) -> None:
        """Show how far the other process has come."""
        self.status.value = status_line(snapshot, "watching", self._trainer.message)


def _button(text: str, action: Callable[[], None], style: str = "") -> widgets.Button:
    button = widgets.Button(
        description=text, button_style=style, layout=widgets.Layout(width="auto", min_width="68px")
    )
    button.promo_action = action
    return button


def _row(question: str, *answers: widgets.Button) -> widgets.HBox:
    """Return a question with its answers, not shown yet."""
    hidden = widgets.Layout(display="none", align_items="center", flex_flow="row wrap")
    return widgets.HBox([html(question), *answers], layout=hidden)


def status_line(snapshot: Snapshot, status: str, message: str, *, waits: bool = False) -> str:
    """Return the status line as HTML: the status word first, then how far and how fast.

    Where the stream waits for a page, the pace of before is none.
    """
    done = 0 if snapshot.page is None else snapshot.page + 1
    total = snapshot.total_pages
    parts = [
        f'<b class="{status}">{status}</b>',
        f"page {done:,}" + (f" of {max(total, done):,}" if total else ""),
        of_rows(snapshot.rows),
    ]
    if snapshot.pages_per_s and not waits:
        parts.append(f"{_rounded(snapshot.pages_per_s)} pages/s")
        if snapshot.seconds_left is not None:
            parts.append(f"{_clock(snapshot.seconds_left)} left")
    if rejected := snapshot.totals["rejected"] + snapshot.totals["conflicting"]:
        parts.append(f"{rejected:,} row{'s' * (rejected > 1)} in quarantine")
    if message:
        parts.append(escape(message))
    return f'<div class="promo-status">{" · ".join(parts)}</div>'


def _in_words(speed: float) -> str:
    return f"{speed:g} pages/s" if speed < inf else "no limit"


def _rounded(rate: float) -> str:
    return f"{rate:.1f}" if rate < 10 else f"{rate:,.0f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
