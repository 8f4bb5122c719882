"""What tests of widgets need without a browser: comms that write down what is sent, and looks."""

import html
import re
from typing import ClassVar

import numpy as np
from comm.base_comm import BaseComm
from ipywidgets import HTML
from ipywidgets.widgets.widget import _instances as registry

from promo.ui.common import is_common
from promo.ui.plot import OFF

ODD_TEXT = re.compile(r"\b(nan|inf|None)\b")


class Comm(BaseComm):
    """Writes down what is sent to the browser, buffers copied as they were.

    A frame that comes in one message is written down as the changes it is made of.
    """

    sent: ClassVar = []
    frames: ClassVar = []  # how many changes each such message had
    alone: ClassVar = []  # whose changes did not come in one

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        """Keep every message; the newest are last."""
        buffers = [bytes(b) for b in buffers or ()]
        if not isinstance((data or {}).get("content"), list):
            self.sent.append((self.comm_id, msg_type, data, buffers))
            if msg_type == "comm_msg" and data["method"] == "update":
                self.alone.append(self.comm_id)
            return
        self.frames.append(len(data["content"]))
        for model, its, count in data["content"]:
            self.sent.append((model, msg_type, its, buffers[:count]))
            del buffers[:count]
        assert not buffers


def open_widgets():
    """Return the ids of all widgets that are open, but for those that views have in common."""
    return {name for name, widget in registry.items() if not is_common(widget)}


def left_open():
    """Return the ids of what was opened in the browser and not closed there, but for those."""
    opened, closed = (
        {name for name, kind, *_ in Comm.sent if kind == f"comm_{what}"}
        for what in ("open", "close")
    )
    return opened - closed - (set(registry) - open_widgets())


def arrays_sent():
    """Yield every array sent so far, with the name of what it was sent for."""
    for _, _, data, buffers in Comm.sent:
        state = data.get("state", {})
        for (name, *_), buffer in zip(data.get("buffer_paths", ()), buffers, strict=True):
            yield name, np.frombuffer(buffer, state[name]["dtype"]).reshape(state[name]["shape"])


def check_arrays():
    """All arrays that were sent are float64 and finite, but for the gaps between points."""
    for name, array in arrays_sent():
        assert array.dtype == np.float64, name
        assert is_clean(array) if name == "y" else np.isfinite(array).all(), name


def strokes(mark):
    """Count the strokes of a `plot.points`, one for a dot, two for a cross."""
    return 0 if mark.x[0] == OFF else (len(mark.x) + 1) // 3


def is_clean(array):
    """Whether all is finite, but that every third may be a gap: see `plot.points`."""
    has_gaps = array.ndim == 1 and len(array) > 4 and (array[2::3] == np.inf).all()
    return np.isfinite(np.delete(array, np.s_[2::3]) if has_gaps else array).all()


def tree(widget):
    """List a widget and all the children below it, without the style sheet."""
    children = [each for each in getattr(widget, "children", ()) if not is_common(each)]
    return [widget, *(w for child in children for w in tree(child))]


def shown(widget):
    """List the widgets of a tree that are not hidden."""
    if widget.layout.display == "none":
        return []
    return [widget, *(w for child in getattr(widget, "children", ()) for w in shown(child))]


def text_of(markup):
    """Return what a reader sees of HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"(?s)<style>.*?</style>", "", markup)))


def texts_of(widget):
    """Return all that the HTML of a tree says, each with a space between."""
    return [text_of(w.value.replace("<", " <")) for w in tree(widget) if isinstance(w, HTML)]
