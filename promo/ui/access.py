"""What the keyboard and a screen reader need and widgets leave out: names, states, news."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets


class Access(anywidget.AnyWidget):
    """Completes all of promo's widgets on the page, and has the browser say what is new.

    Sliders get a name and their value in words, toggle buttons whether they are pressed, figures
    a name and the sentence under them as their description. Keys are for the control that has the
    focus, not for Lab. Nothing of it is to be seen.

    Attributes
    ----------
    said
        The news, announced politely, at most once a second; what was new in between is left out.
    """

    _esm = Path(__file__).with_name("access.js")
    said = traitlets.Unicode("").tag(sync=True)
