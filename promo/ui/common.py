"""What views have in common: the style sheet, and the layouts and styles of their texts and boxes.

Each of them by itself would be a widget of its own for every text, a message to send and a model to
make in the browser, almost half of all there are; and after a reload Lab gives them two seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from ipywidgets.widgets.widget_bool import CheckboxStyle
from ipywidgets.widgets.widget_string import HTMLStyle

from promo.ui.style import CSS

_COMMON: dict[str, widgets.Widget] = {}


def is_common(widget: widgets.Widget) -> bool:
    """Whether a widget is in use by many views, so that none may change or close it."""
    return any(widget is each for each in [*_COMMON.values()])  # others add to them


def html(value: str = "") -> widgets.HTML:
    """Return a text whose layout and style, which are the usual ones, are not to be changed."""
    return _html(value, _common("layout", widgets.Layout))


def check_box(text: str, value: bool = False) -> widgets.Checkbox:
    """Return a check box as wide as its text; layout and style are not to be changed."""
    layout = _common("narrow", lambda: widgets.Layout(width="auto"))
    style = _common("check box", CheckboxStyle)
    return widgets.Checkbox(value, description=text, indent=False, layout=layout, style=style)


def sheet() -> widgets.HTML:
    """Return the style sheet as a widget that takes no room."""
    layout = _common("no room", lambda: widgets.Layout(height="0", margin="0", display="block"))
    return _common("sheet", lambda: _html(CSS, layout))


def _html(value: str, layout: widgets.Layout) -> widgets.HTML:
    return widgets.HTML(value, layout=layout, style=_common("style", HTMLStyle))


def close() -> None:
    """Close all that is in common, once no view is left that has it; the next view has it anew."""
    while _COMMON:
        _, widget = _COMMON.popitem()
        widget.close()


def _common(name: str, make: Callable[[], Any]) -> Any:
    """Return the one widget of this name, a new one if it was closed."""
    if name not in _COMMON or _COMMON[name].comm is None:
        _COMMON[name] = make()
    return _COMMON[name]
