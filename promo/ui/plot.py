"""What figures are made of: a frame with title and sentence, axes, and marks set safely.

Marks are built once and changed in place, x and y together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log2

import bqplot as bq
import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from promo.report.svg import near, ticks
from promo.ui.common import html, sheet
from promo.ui.style import headed

Floats = NDArray[np.float64]
DASHED = "6,4"
POINTS = 120  # of a line: one every few pixels; the browser reads each in the path before, too
OFF = -1e9  # the plot: where marks without a point are
NOWHERE = np.full(2, OFF)
_LEAST = 1e-300  # of an axis, so that its steps are numbers
_SOME = 10  # values: from so many on their spread says something
# Of a cross, of the scale's span; and width to height of most plots: in others it is no square.
_ARM, _ASPECT = 1 / 180, 2.0


class Figure:
    """A titled bqplot figure, its legend and its controls above it and a sentence below.

    What stands beside the plot, as the names of its lines, stays there however narrow it gets.
    """

    def __init__(
        self,
        title: str,
        legend: str,
        marks: Sequence[bq.Mark],
        axes: Sequence[bq.Axis],
        controls: Sequence[widgets.Widget] = (),
        beside: widgets.Widget | None = None,
    ) -> None:
        self.note = html().add_class("promo-sentence")
        self._bounds = [(each.scale, each.scale.min, each.scale.max) for each in axes]
        self.figure = bq.Figure(
            marks=list(marks),
            axes=list(axes),
            animation_duration=0,
            display_toolbar=False,  # it would lie over the data, and move scales that are ours
            fig_margin={"top": 12, "bottom": 40, "left": 68, "right": 20},
            layout=widgets.Layout(width="auto", height="300px", min_width="300px"),
        )
        self.head = html(headed(title, legend))
        plot = self.figure
        if beside is not None:
            self.figure.layout.flex, self.figure.layout.min_width = "1 1 0", "160px"
            plot = widgets.HBox([self.figure, beside])
        self.widget = widgets.VBox(
            [sheet(), self.head, *controls, plot, self.note],
            layout=widgets.Layout(min_width="320px"),
        )
        self.widget.add_class("promo").add_class("promo-figure")

    def say(self, sentence: str) -> None:
        """Put the figure in words."""
        self.note.value = f'<div class="promo-note">{sentence}</div>'

    def empty(self, sentence: str) -> None:
        """Give the axes the range they had at first, and say why there is nothing to see."""
        for scale, low, high in self._bounds:
            with scale.hold_sync():
                scale.min, scale.max = low, high
        self.say(sentence)


def axis(scale: bq.Scale, label: str, *, vertical: bool = False, fmt: str = "") -> bq.Axis:
    """Return an axis whose label keeps clear of its numbers."""
    return bq.Axis(
        scale=scale,
        label=label,
        side="left" if vertical else "bottom",
        grid_lines="none",
        tick_format=fmt,
        label_offset="52px" if vertical else "32px",
    )


def over_rows(scale: bq.Scale) -> bq.Axis:
    """Return the axis of rows."""
    return sparse(axis(scale, "rows", fmt="~s"))


def sparse(along: bq.Axis) -> bq.Axis:
    """Give an axis round ticks, few enough for the smallest figure, however its scale moves.

    Examples
    --------
    >>> rows = over_rows(bq.LinearScale(min=0, max=10))
    >>> rows.scale.max = 27_000
    >>> rows.tick_values.tolist()
    [0.0, 5000.0, 10000.0, 15000.0, 20000.0, 25000.0]
    """

    def tick(_: object = None) -> None:
        low, high = along.scale.min, along.scale.max
        if low < high:  # or else one end has moved, and the other is about to
            values = np.array([value for value, _ in ticks(low, high)])
            if along.tick_values is None or not np.array_equal(along.tick_values, values):
                along.tick_values = values

    along.scale.observe(tick, ["min", "max"])
    tick()
    return along


def move(mark: bq.Mark, x: Floats, y: Floats) -> None:
    """Move a mark to these points: x and y of shape (n,), of several lines y or both (m, n)."""
    if isinstance(mark, bq.Lines) and x.shape[-1] < 2:
        # A line without a point is an error in the browser; several of one lose their shape here.
        x, y = (
            np.repeat(v, 2, axis=-1) if v.size else np.full((*v.shape[:-1], 2), OFF) for v in (x, y)
        )
    with mark.hold_sync():
        mark.x, mark.y = np.array(x, np.float64), np.array(y, np.float64)


def band(scales: dict[str, bq.Scale], colour: str, opacity: float, edge: float) -> bq.Lines:
    """Return a band to be moved by `move_band`; opacities of area and edge in [0, 1], 0 for none.

    It is one line around an area: of bqplot's own, "between" two lines, each side is drawn twice.
    An edge that is drawn is to be the stronger, since what is inside fades with it.
    """
    return bq.Lines(
        x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=1 if edge else 0,
        fill="inside", fill_colors=[colour], opacities=[edge or opacity],
        fill_opacities=[opacity / edge if edge else 1.0],
    )  # fmt: skip


def move_band(mark: bq.Lines, x: Floats, low: Floats, high: Floats) -> None:
    """Move a band to between two lines, all of shape (n,); it has no edge where x ends."""
    move(mark, np.concatenate([x[::-1], x]), np.concatenate([high[::-1], low]))


def points(
    scales: dict[str, bq.Scale], colour: str, width: float, opacity: float = 1.0
) -> bq.Lines:
    """Return points to be moved by `move_dots` or `move_crosses`: one line, with gaps.

    Its figure needs the class `promo-points`, for round ends, without which a dot is not seen.

    Of bqplot's own, each is three elements, and in every frame the browser goes through the
    hundreds of them, of figures that have not changed too. Only where each can be clicked is that
    worth its price.

    Parameters
    ----------
    scales
        Named "x" and "y", both with ends.
    colour
        Of all points.
    width
        Of a dot or of a cross's stroke, in pixels.
    opacity
        In [0, 1], on a light page; where points lie on one another they are no darker.
    """
    return bq.Lines(
        x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=width,
        opacities=[opacity],
    )  # fmt: skip


def move_dots(mark: bq.Lines, x: Floats, y: Floats) -> None:
    """Put a dot at each point, shapes (n,): a stroke of no length, with round ends."""
    _stroke(mark, [x, x], [y, y])


def move_crosses(mark: bq.Lines, x: Floats, y: Floats) -> None:
    """Put a cross at each point, shapes (n,), of a size that goes with the scales'."""
    along, up = (
        _ARM * share * (mark.scales[name].max - mark.scales[name].min)
        for name, share in (("x", 1.0), ("y", _ASPECT))
    )
    _stroke(mark, [x - along, x + along, x, x], [y, y, y - up, y + up])


def _stroke(mark: bq.Lines, x: Sequence[Floats], y: Sequence[Floats]) -> None:
    """Draw lines from each first to each second point, from each third to each fourth, apart.

    Where y is infinite is a gap; the last is left out, since a name would stand there.
    """
    along, up = [], []
    for at in range(0, len(x), 2):
        along += [x[at], x[at + 1], x[at + 1]]
        up += [y[at], y[at + 1], np.full(len(y[at]), np.inf)]
    move(mark, *(np.column_stack(each).ravel()[:-1] for each in (along, up)))


def fit(scale: bq.Scale, rows: Floats, series: Sequence[Floats], headroom: float = 0.08) -> None:
    """Fit a scale to what came after the first tenth of the rows, when all is wild."""
    settled = rows >= rows[-1] / 10
    kept = np.concatenate([s[settled] if len(s) == len(rows) else s for s in series])
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return
    low, high = float(kept.min()), float(kept.max())
    span = max(high - low, 1e-2)
    # In steps, since a scale that moves has every mark and axis on it drawn again.
    step = 2.0 ** floor(log2(span / 10))
    with scale.hold_sync():
        scale.min = step * floor((low - 0.08 * span) / step)
        scale.max = step * ceil((high + headroom * span) / step)


def reach(
    now: tuple[float, float], first: tuple[float, float], values: Floats
) -> tuple[float, float]:
    """Return the ends of an axis that has values in it, in steps of an eighth or less.

    Those that are not `near` the others are left out: nothing could be told apart for them. It only
    ever grows from what it is now; but if the first values lie elsewhere than `first`, or
    close together in it, it becomes theirs. Without values it is `first`.

    Parameters
    ----------
    now, first
        Both ends, of now and before there were values.
    values
        Finite, shape (n,), in the units of the axis.

    Examples
    --------
    >>> reach((-4.0, 4.0), (-4.0, 4.0), np.array([-1.0, 5.0]))
    (-4.0, 5.0)
    >>> reach((-4.0, 4.0), (-4.0, 4.0), np.array([35.0, 50.0, 65.0]))
    (34.0, 66.0)
    """
    if not len(values):
        return first
    values = near(values)
    low, high = float(values.min()), float(values.max())
    elsewhere = not first[0] <= np.median(values) <= first[1]
    close = len(values) >= _SOME and 0 < high - low < (first[1] - first[0]) / 16
    if now == first and (elsewhere or close):
        pad = max(abs(low), 1.0) / 8 if low == high else 0.0
        low, high = low - pad, high + pad
    else:
        low, high = min(low, now[0]), max(high, now[1])
    if (low, high) == now:
        return now
    step = 2.0 ** floor(log2(max(high - low, _LEAST) / 8))
    return step * floor(low / step), step * ceil(high / step)


def stretch(scale: bq.Scale, first: tuple[float, float], values: Floats) -> None:
    """Let a scale `reach` values."""
    ends = reach((scale.min, scale.max), first, values)
    if ends != (scale.min, scale.max):
        with scale.hold_sync():
            scale.min, scale.max = ends


def extend(scale: bq.Scale, end: float) -> None:
    """Let a scale of rows, from 0, reach an end, at least 10, in steps of an eighth or less.

    A scale that moves has every mark and axis on it drawn again: so it moves seldom.
    """
    end = max(end, 10.0)  # of fewer rows there would be tenths
    step = 2.0 ** floor(log2(end / 8))
    scale.max = step * ceil(end / step)
