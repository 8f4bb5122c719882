"""A frame on its way to the browser, and the browser's word on which it has painted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakSet

import anywidget
import ipywidgets as widgets
import traitlets
from ipywidgets.widgets.widget import _remove_buffers

# Rest before the next frame, in times what the last took: flat out, the stream needs the cores.
_REST, _REST_FLAT_OUT = 1.0, 3.0
_AHEAD = 32  # frames sent at most beyond the last that is known to be painted
_UNANSWERED_S = 0.25
_HOLD = {"children", "marks", "axes"}  # in which a widget holds others
_LOST_S = 1.0  # without an answer for so long, ask again: a cell may be running, or the line down


_Change = tuple[widgets.Widget, dict[str, Any], Sequence[Any]]  # what to tell whom, and buffers


class Frames(anywidget.AnyWidget):
    """Sends frames, each in one message, and hears from the browser when each is painted.

    The dozens of changes that make a frame would arrive one after another, and the browser would
    lay out and paint the page for every few of them. Where our part of the front end does not run,
    and so nothing answers, they are sent one by one, four frames a second at most.

    A frame counts as painted in the task after its animation frame. Word of it comes once in a
    while, since a kernel is busy with every answer, which Lab shows by drawing its tool bar anew:
    until then so many frames may follow, and no more. A hidden page draws none, says so as it is
    hidden, and is left alone until it says that it is back. Of two browsers on one kernel the one
    in sight counts.

    Parameters
    ----------
    interval_s
        Least seconds between two frames.
    """

    _esm = """
    const ANSWER_MS = 1600;

    export default {
      initialize({ model }) {
        const isVisible = () => document.visibilityState !== "hidden";
        let closed = false;  // then a frame may still be on its way to the eye
        const tell = () => {
          if (closed) return;
          model.set("visible", isVisible());
          model.save_changes();
        };
        // For every answer Lab draws its tool bar and the tab's icon anew, as the kernel gets busy
        // with it and as it is done: so few are given.
        let times = [], last = 0, answered = 0, later;
        const answer = () => {
          clearTimeout(later);
          later = undefined;
          answered = performance.now();
          if (times.length) {
            model.set("took_ms", times.reduce((sum, each) => sum + each) / times.length);
          }
          times = [];
          model.set("painted", last);
          tell();
        };
        const painted = (frame, took) => {
          last = frame;
          times.push(took);
          const rest = answered + ANSWER_MS - performance.now();
          if (rest <= 0 || times.length >= model.get("ahead") / 2) answer();
          else later ??= setTimeout(answer, rest);
        };
        // Each change goes to its widget as if it had come alone.
        const manager = model.widget_manager;
        const give = async (id, data, buffers) => {
          if (!manager.has_model(id)) return;  // closed since
          await (await manager.get_model(id))._handle_comm_msg({ content: { data }, buffers });
        };
        let began = performance.now();
        model.on("msg:custom", (changes, buffers) => {
          began = performance.now();
          let at = 0;
          for (const [id, data, count] of changes) give(id, data, buffers.slice(at, at += count));
        });
        model.on("change:frame", () => {
          const frame = model.get("frame"), handled = performance.now() - began;
          requestAnimationFrame(() => {
            const painting = performance.now();  // and when that is done, the next task
            setTimeout(() => painted(frame, handled + performance.now() - painting));
          });
        });
        // Another browser on this kernel has been hidden: we are still here.
        model.on("change:visible", () => {
          if (isVisible() && !model.get("visible")) setTimeout(tell);  // once that is taken in
        });
        document.addEventListener("visibilitychange", tell);
        last = model.get("frame");
        answer();
        return () => {
          closed = true;
          document.removeEventListener("visibilitychange", tell);
        };
      },
    };
    """
    frame = traitlets.Int(0).tag(sync=True)
    painted = traitlets.Int(-1).tag(sync=True)
    took_ms = traitlets.Float(0.0).tag(sync=True)
    visible = traitlets.Bool(True).tag(sync=True)
    ahead = traitlets.Int(_AHEAD).tag(sync=True)

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._sent_at = interval_s, float("-inf")
        self._held: list[widgets.Widget] = []
        self._known = WeakSet[widgets.Widget]()  # that were ever held
        super().__init__()

    @property
    def answered(self) -> bool:
        """Whether a browser has ever said that it paints."""
        return self.painted >= 0

    def begin(self, held: Iterable[widgets.Widget]) -> None:
        """Keep back what changes in these widgets, until `end`."""
        self._held = [self, *held, *self._late()]
        self._known.update(self._held)
        _hold(self._held)

    def end(self) -> bool:
        """Send the frame, ask for word of it, and return whether some widget holds others now.

        Raises what a widget failed of, after all others were sent.
        """
        self._sent_at = time.monotonic()
        self.frame += 1
        return _pass_on(self._held, self._send_frame if self.answered else _send)

    def follow_up(self) -> bool:
        """Send what other threads changed while a frame was being sent; else as `end`.

        It goes after the frame, so that the browser ends with the newest.
        """
        late = self._late()
        _hold(late)
        return _pass_on(late, _send)

    def _send_frame(self, changes: Sequence[_Change]) -> None:
        content = [(widget.model_id, data, len(its)) for widget, data, its in changes]
        self.send(content, [buffer for *_, its in changes for buffer in its])

    def _late(self) -> list[widgets.Widget]:
        return [widget for widget in self._known if widget._states_to_send]

    def is_due(self, *, hurry: bool, flat_out: bool) -> bool:
        """Say whether to send a frame now to a page in sight.

        In a hurry, whether the last one is painted or not. Where the stream runs flat out, the
        browser rests for longer.
        """
        since_s = time.monotonic() - self._sent_at
        if since_s < self._interval_s:
            return False
        if hurry:
            return True
        if not self.answered:
            return since_s >= _UNANSWERED_S
        if self.painted <= self.frame - self.ahead:
            return since_s > _LOST_S
        rest = _REST_FLAT_OUT if flat_out else _REST
        return since_s > (1 + rest) * self.took_ms / 1000


def _hold(held: Iterable[widgets.Widget]) -> None:
    for widget in held:  # what `hold_sync` does, which takes its time for hundreds
        widget._holding_sync = True


def _pass_on(held: Sequence[widgets.Widget], send: Callable[[Sequence[_Change]], None]) -> bool:
    """Send what has changed in widgets, then hold them no more; return and raise as `Frames.end`.

    Until it is sent they hold back what other threads set: or else the newer value would be on its
    way before the older one that was taken here. What the browser has set meanwhile it is told
    again, for the older one goes after its echo.
    """
    changes: list[_Change] = []
    errors, taken = [], []
    for widget in held:
        names = [*widget._states_to_send]  # to which other threads may add
        widget._states_to_send.difference_update(names)
        if not names or widget.comm is None:  # it may have been closed meanwhile
            continue
        taken += [(widget, name, getattr(widget, name)) for name in names]
        try:
            state, paths, buffers = _remove_buffers(widget.get_state(names))
        except Exception as error:
            errors.append(error)
        else:
            data = {"method": "update", "state": state, "buffer_paths": paths}
            changes.append((widget, data, buffers))
    try:
        send(changes)
    finally:
        for widget, name, value in taken:
            if getattr(widget, name) is not value:  # the browser's own, which heard of it before
                widget._states_to_send.add(name)
        for widget in held:
            widget._holding_sync = False
    if errors:
        raise errors[0]
    return any(_HOLD & data["state"].keys() for _, data, _ in changes)


def _send(changes: Sequence[_Change]) -> None:
    """Send each change by itself, as to a front end that does not run our part."""
    for widget, data, buffers in changes:
        widget._send(data, buffers)
