"""Views laid out on one board, for the notebook cell that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import ipywidgets as widgets

from promo.ui.publisher import BOARDS


class Shown(Protocol):
    """Something that has a place on the page: a view, or controls of one."""

    widget: widgets.Widget


class Board(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Rows of views, one under another; the views of a row stand side by side where there is room.

    A widget that is a part of a view has a place of its own where the view's whole has none.

    Where widgets cannot be shown, as in a notebook on the web, one sentence stands in for it.
    """

    def __init__(self, *rows: Sequence[Shown | widgets.Widget]) -> None:
        super().__init__(
            [
                widgets.GridBox([getattr(v, "widget", v) for v in row], layout=_grid(len(row)))
                for row in rows
            ],
            layout=widgets.Layout(grid_gap="8px", padding="4px 8px"),
        )
        self.views = [view for row in rows for view in row]
        BOARDS.append(self)

    def __repr__(self) -> str:
        return "Live figures and buttons stand here when the notebook runs."


def _grid(views: int) -> widgets.Layout:
    columns = "1fr" if views == 1 else "repeat(auto-fit, minmax(min(360px, 100%), 1fr))"
    return widgets.Layout(grid_template_columns=columns, grid_gap="16px 24px")
