"""The one thread that writes to output widgets: it shows the newest snapshot and drops the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from html import escape
from itertools import chain
from typing import Any, Protocol

import ipywidgets as widgets

from promo.following import Following
from promo.leaving import close_all as close_trainers
from promo.snapshot import Snapshot
from promo.trainer import Trainer
from promo.ui import common
from promo.ui.access import Access
from promo.ui.frames import Frames

FRAMES_PER_S = 12.0
_FLAT_OUT = 0.5  # of the time: a stream that takes less leaves cores to the browser
_UNKNOWN_S = 0.01  # what a page takes that another process learns
_TICK_S = 0.02
_APART_S = 0.025  # of the two frames of news: longer than a browser waits to paint the first
_MOST_ERRORS = 100


class View(Protocol):
    """Something on the page that shows snapshots."""

    widget: widgets.Widget

    def update(self, snapshot: Any) -> None:
        """Show a snapshot, None without a trainer; only the publisher's thread calls this."""


class _Still:
    """A trainer that nothing is to be said of."""

    snapshot, status, message = None, "idle", ""


_Behind = tuple[View, Snapshot | None, object]  # what it is to show, and what is new of it
_NEVER = None, float("-inf")


class Publisher:
    """Keeps views up to date with a trainer, in a daemon thread, until closed.

    A view that fails must not stop the others: it is left out from then on and says why, as does
    `errors`. Where a view has a `choice`, which is what the reader has asked of it, or a `problem`,
    a change of it is shown like one of the trainer. Where it has a run `beside`, or counts the
    `answers` to what it asks the models, news of those are shown as a new snapshot is. One that has
    `turned` says which snapshot is shown instead of the newest, save to those that are `live`. One
    that has `frames` is given those of the publisher. What stands in the `place` of a view is a
    board of another publisher, which alone sends what changes there. The `news` of a view, if it
    has any, are announced to those who do not see it.

    A publisher takes the place of an earlier one of views of the same kinds, and closes it: that is
    what a cell which runs again had opened.

    Parameters
    ----------
    trainer
        Whose snapshots to show; None for views that live by the reader's choices alone.
    views
        Updated in this order, one after another, at most `frames_per_s` times a second, and while
        the stream runs no faster than the browser paints with ease (see `Frames`). While it runs
        flat out they take turns, unless the reader has asked for something or is told, and but for
        the first page after that: a frame is of those that are `live` and of the one other that has
        waited longest, and one that has a `rest_s` is left alone for so many seconds after an
        update. News are two frames: of what the reader has asked for and who is `live`, at once,
        and of all the others. They wait for the frame rate only after other news.
    """

    def __init__(
        self,
        trainer: Trainer | Following | None,
        views: Sequence[View],
        frames_per_s: float = FRAMES_PER_S,
    ) -> None:
        self.trainer, self.views = trainer or _Still(), list(views)
        self.errors: list[Exception] = []
        self.frames, self.access = Frames(1 / frames_per_s), Access()
        for view in views:
            if hasattr(view, "frames"):
                view.frames = self.frames
        self._tick_s = min(1 / frames_per_s, _TICK_S)
        self._halt = threading.Event()
        self._working = list(views)
        self._turned = next((v.turned for v in views if hasattr(v, "turned")), lambda live: live)
        self._shown: dict[View, tuple[object, float]] = {}  # what, and when
        self._trees: dict[View, list[widgets.Widget]] = {}
        self._said: tuple[object, ...] = ()
        self._heard: dict[View, object] = {}  # of each view, what the reader has asked of it
        self._seen: Snapshot | None = None
        self._awaits = False  # the first page after something was said, which is news as well
        self._was_news = False
        self._thread = threading.Thread(target=self._run, name="promo-publisher", daemon=True)
        for earlier in [p for p in _OPEN if _kinds(p.views) == _kinds(self.views)]:
            earlier.close()
        self._thread.start()
        _OPEN.append(self)

    def _run(self) -> None:
        while not self._halt.wait(self._tick_s):
            try:
                if self.frames.visible:
                    self._look()
            except Exception as error:  # of one look, as what another thread is just changing
                self._note(error)

    def _look(self) -> None:
        """Make a frame if there is something new, and it is time."""
        live, status = self.trainer.snapshot, self.trainer.status
        turned, others = self._turned(live), [*filter(None, map(_beside, self._working))]
        asked: dict[View, object] = {
            view: (getattr(view, "choice", None), getattr(view, "problem", ""))
            for view in self._working
        }
        past = None if turned is live else turned
        words = (status, self.trainer.message, past, *asked.values())
        runs = status == "running" or any(other.status == "running" for other in others)
        drawn = [turned, *others] if runs and turned is not None else []
        flat_out = any(map(_is_flat_out, drawn))
        if not flat_out:  # else the next frame, which comes soon, takes it along
            self._send(self.frames.follow_up)
        is_news = words != self._said or (self._awaits and turned is not self._seen)
        at_once = is_news and not self._was_news  # however short ago the last frame was
        hurry = is_news or not runs
        if not (at_once or self.frames.is_due(hurry=hurry, flat_out=flat_out)):
            return
        self._was_news = is_news
        in_turn = flat_out and self.frames.answered and not is_news
        first = [
            view for view, what in asked.items()
            if is_news and (_is_live(view) or what != self._heard.get(view, what))
        ]  # fmt: skip
        self._awaits = words != self._said
        self._said, self._heard, self._seen = words, asked, turned
        if first:
            self._show(words, live, turned, first)
            self._halt.wait(_APART_S)  # what comes within the same painting puts it off
        rest = [view for view in self._working if view not in first]
        self._show(words, live, turned, rest, in_turn=in_turn)

    def _show(
        self,
        words: object,
        live: Snapshot | None,
        turned: Snapshot | None,
        views: Sequence[View],
        *,
        in_turn: bool = False,
    ) -> None:
        """Make a frame of those views that have not shown the news, or whose turn it is."""
        now = time.monotonic()
        behind: list[_Behind] = []
        for view in views:
            snapshot = live if _is_live(view) else turned
            news: object = (words, snapshot, _beside(view), getattr(view, "answers", 0))
            shown, at = self._shown.get(view, _NEVER)
            rests = in_turn and now < at + getattr(view, "rest_s", 0.0)
            if news != shown and not rests:
                behind.append((view, snapshot, news))
        if in_turn:
            others = [each for each in behind if not _is_live(each[0])]
            others.sort(key=lambda each: self._shown.get(each[0], _NEVER)[1])
            behind = [each for each in behind if each not in others[1:]]
        if not behind:
            return
        self.frames.begin(chain([self.access], *(self._parts(view) for view, *_ in behind)))
        for view, snapshot, news in behind:
            self._shown[view] = news, now
            try:
                view.update(snapshot)
            except Exception as error:
                self._leave_out(view, error)
        self.access.said = " ".join(filter(None, (getattr(v, "news", "") for v in self.views)))
        self._send(self.frames.end)

    def _send(self, send: Callable[[], bool]) -> None:
        """Send; where some widget holds others now, look for them again."""
        try:
            if send():
                self._trees.clear()
        except Exception as error:  # of one widget, which stays as it was
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.errors = [*self.errors, error][:_MOST_ERRORS]  # it may come with every frame

    def _parts(self, view: View) -> list[widgets.Widget]:
        """Return the widgets of a view but for those of its place, as they were last looked for."""
        if view not in self._trees:
            place = getattr(view, "place", None)
            others = {*parts(*place.children)} if place else {}
            self._trees[view] = [part for part in parts(view.widget) if part not in others]
        return self._trees[view]

    def _leave_out(self, view: View, error: Exception) -> None:
        self._note(error)
        self._working.remove(view)
        if isinstance(view.widget, widgets.Box):
            why = f'<div class="promo-problem">No longer updated: {escape(repr(error))}</div>'
            view.widget.children += (common.html(why),)

    def close(self) -> None:
        """Stop the thread; close all widgets of all views and of their boards. Idempotent.

        A view with a `close` of its own is told.
        """
        self._halt.set()
        self._thread.join(timeout=2.0)
        close_tree(self.frames)
        close_tree(self.access)
        for view in self.views:
            if hasattr(view, "close"):  # it has opened more than widgets
                view.close()
            close_tree(view.widget)
        for board in [b for b in BOARDS if not {*self.views}.isdisjoint(b.views)]:
            BOARDS.remove(board)
            close_tree(board)
        if self in _OPEN:
            _OPEN.remove(self)


_OPEN: list[Publisher] = []
BOARDS: list[Any] = []  # of boards, each with its `views`


def _is_live(view: View) -> bool:
    """Whether a view shows the newest snapshot whatever the reader has turned to."""
    return getattr(view, "live", False)


def _is_flat_out(snapshot: Snapshot) -> bool:
    """Whether a stream takes the time that there is, rather than wait for pages or its turn."""
    page_s = sum(snapshot.page_s.get(what, 0.0) for what in ("learn", "commit"))
    return snapshot.pages_per_s * (page_s or _UNKNOWN_S) > _FLAT_OUT


def _beside(view: View) -> Snapshot | None:
    """Return the newest snapshot of another run that a view shows too, if it does."""
    run = getattr(view, "beside", None)
    return run.snapshot if run else None


def _kinds(views: Sequence[View]) -> list[type]:
    return [type(view) for view in views]


def close_board(board: Any) -> None:
    """Close a board, the publishers of its views, and the trainers whose snapshots they showed."""
    for publisher in [p for p in _OPEN if not {*p.views}.isdisjoint(board.views)]:
        publisher.close()
        if isinstance(publisher.trainer, Trainer):
            publisher.trainer.close()


def close_views() -> None:
    """Close every publisher, every board and what views have in common; trainers go on."""
    for publisher in list(_OPEN):
        publisher.close()
    while BOARDS:
        close_tree(BOARDS.pop())
    common.close()


def close_all() -> None:
    """Close every publisher, board and trainer of this kernel, so that a cell can run again."""
    close_views()
    close_trainers()


def close_tree(widget: widgets.Widget) -> None:
    """Close a widget and all that it holds: ipywidgets never collects what is not closed."""
    for part in parts(widget):
        part.close()


def parts(*trees: widgets.Widget) -> list[widgets.Widget]:
    """Return the open widgets that these hold, and what those hold, and last themselves.

    Without those that views have in common, which nobody changes or closes.
    """
    found: dict[widgets.Widget, None] = {}
    todo = list(trees)
    while todo:
        widget = todo.pop()
        if widget in found or widget.comm is None or common.is_common(widget):
            continue
        found[widget] = None
        for name in widget.keys:
            value = getattr(widget, name, None)
            some = [*value.values()] if isinstance(value, dict) else value
            some = some if isinstance(some, list | tuple) else [some]
            todo += [each for each in some if isinstance(each, widgets.Widget)]
    return [*found][::-1]
