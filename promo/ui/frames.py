"""The browser's word on frames: which it has painted, and whether anybody can see them."""

from __future__ import annotations

import time

import anywidget
import traitlets

# Rest before the next frame, in times what the last took. Flat out, the stream needs the cores:
# painting gets a thirteenth of one, but after a frame as long as the first is, a fifth.
_REST, _REST_FLAT_OUT = 1.0, 12.0
_REST_ENOUGH_S, _REST_LEAST = 1.0, 4.0
_UNANSWERED_S = 0.25
_LOST_S = 1.0  # without an answer for so long, ask again: a cell may be running, or the line down


class Frames(anywidget.AnyWidget):
    """Counts frames, and hears from the browser when each is painted.

    The answer comes after two animation frames: by then the page is drawn. A hidden page draws
    none, says so as it is hidden, and is left alone until it says that it is back. Of two browsers
    on one kernel the one in sight counts. Where nothing ever answers, as in a front end that does
    not run our part, frames come at a fixed pace, four a second at most.

    Parameters
    ----------
    interval_s
        Least seconds between two frames.
    """

    _esm = """
    export default {
      initialize({ model }) {
        const isVisible = () => document.visibilityState !== "hidden";
        let closed = false;  // then a frame may still be on its way to the eye
        const tell = () => {
          if (closed) return;
          model.set("visible", isVisible());
          model.save_changes();
        };
        let began = performance.now();
        const answer = (frame, took) => {
          model.set("took_ms", took);
          model.set("painted", frame);
          tell();
        };
        model.on("change:begun", () => { began = performance.now(); });
        model.on("change:frame", () => {
          const frame = model.get("frame"), handled = performance.now() - began;
          let took = 0;  // to take in what came, and to paint it; not to wait for the screen
          requestAnimationFrame(() => {
            const painting = performance.now();
            setTimeout(() => { took = handled + performance.now() - painting; });
            requestAnimationFrame(() => answer(frame, took));
          });
        });
        // Another browser on this kernel has been hidden: we are still here.
        model.on("change:visible", () => {
          if (isVisible() && !model.get("visible")) setTimeout(tell);  // once that is taken in
        });
        document.addEventListener("visibilitychange", tell);
        answer(model.get("frame"), 0);
        return () => {
          closed = true;
          document.removeEventListener("visibilitychange", tell);
        };
      },
    };
    """
    begun = traitlets.Int(0).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    painted = traitlets.Int(-1).tag(sync=True)
    took_ms = traitlets.Float(0.0).tag(sync=True)
    visible = traitlets.Bool(True).tag(sync=True)

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._sent_at = interval_s, float("-inf")
        super().__init__()

    @property
    def answered(self) -> bool:
        """Whether a browser has ever said that it paints."""
        return self.painted >= 0

    def begin(self) -> None:
        """Have the browser take the time from what comes next."""
        self.begun = self.frame + 1

    def end(self) -> None:
        """Take note that a frame was sent, and ask for word of it."""
        self._sent_at = time.monotonic()
        self.frame += 1

    def is_due(self, *, hurry: bool = False, flat_out: bool = False) -> bool:
        """Say whether to send a frame now; in a hurry, one that was not painted yet may wait.

        Where the stream runs flat out, the browser rests for longer.
        """
        since_s = time.monotonic() - self._sent_at
        if not self.visible or since_s < self._interval_s:
            return False
        if hurry:
            return True
        if not self.answered:
            return since_s >= _UNANSWERED_S
        if self.painted < self.frame:
            return since_s > _LOST_S
        return since_s > self._rested_s(flat_out)

    def _rested_s(self, flat_out: bool) -> float:
        took_s = self.took_ms / 1000
        if not flat_out:
            return (1 + _REST) * took_s
        enough_s = max(_REST_ENOUGH_S, _REST_LEAST * took_s)
        return took_s + min(_REST_FLAT_OUT * took_s, enough_s)
