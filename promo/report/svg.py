"""Plots as SVG text: axes with round ticks, lines, bands, dots, and a label at each line's end.

What a plot shows is drawn in colours that have a name and a class; `sheet` says what they look
like, once for a page of plots, or inside a plot that is to stand alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 568, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 154, 10, 46
_ACROSS, _DOWN = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM  # of the field inside the axes
_APART = 16  # pixels between two labels
_FAR = 5000  # pixels: what lies further out is out of sight all the same

# Okabe and Ito's palette, told apart by colour-blind readers; on dark, where its blue is too dim
# and its black gone, their lighter neighbours.
LIGHT = {
    "ink": "#1a1a1a", "soft": "#5a5a5a", "faint": "#e6e6e6", "blue": "#0072B2",
    "vermillion": "#D55E00", "green": "#009E73", "sky": "#56B4E9", "orange": "#E69F00",
    "purple": "#CC79A7", "grey": "#777777", "brown": "#8a6d3b", "olive": "#999933",
    "violet": "#9467bd",
}  # fmt: skip
DARK = LIGHT | {
    "ink": "#ececec", "soft": "#b4b4b4", "faint": "#33363b", "blue": "#4FA8E0", "sky": "#9AD4F5",
    "vermillion": "#F0803C", "green": "#2BBF93", "grey": "#9a9a9a", "brown": "#b8935a",
    "olive": "#b9b94a", "violet": "#b292d8",
}  # fmt: skip
_SHADES = 40  # steps from one end to the other
_ENDS, _MIDDLE = ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)), (0xF7, 0xF7, 0xF7)
DASHES = {"solid": "", "dashed": "7 4", "dotted": "2 3", "dash-dotted": "7 3 2 3"}


def sheet(colours: Mapping[str, str]) -> str:
    """Return the style sheet of plots in these colours."""
    classes = "".join(f".plot .{name}{{color:{colour}}}" for name, colour in colours.items())
    return (
        f".plot{{color:{colours['ink']}}}{classes}"
        ".plot text{font:12px system-ui,sans-serif;fill:currentColor;"
        "font-variant-numeric:tabular-nums}"
        ".plot line,.plot path{stroke:currentColor;fill:none}"
        ".plot .band{stroke:none;fill:currentColor}.plot circle{fill:none;stroke:currentColor}"
        ".plot polygon,.plot rect{fill:currentColor}"
        ".plot .key{font-size:11px}.promo-dag text{text-anchor:middle}"
        ".promo-dag line{stroke-width:2}.promo-dag circle{stroke-width:1.5}"
    )


class Axis(NamedTuple):
    """What is measured along an axis, and from where to where."""

    label: str
    low: float
    high: float


class Plot:
    """A plot, drawn in the order of the calls; what lies outside the axes is cut off.

    Parameters
    ----------
    x, y
        The axes; each reaches from a lower number to a higher.
    """

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y
        self._drawn: list[str] = []
        self._labels: list[tuple[float, str, str]] = []  # where it points, its key, its text

    def line(
        self, x: Floats, y: Floats, colour: str, *, dash: str = "solid", width: float = 2.2,
        label: str = "",
    ) -> None:  # fmt: skip
        """Draw a line through points of shape (n,), broken where one is not finite.

        Its label stands where it ends, or leaves the field; if all of it lies above or below, with
        an arrow that says so.
        """
        px, py = self._at(x, y)
        dashed = f' stroke-dasharray="{DASHES[dash]}"' if DASHES[dash] else ""
        stroke = f'class="{colour}" stroke-width="{width}"{dashed}'
        self._drawn.append(f'<path {stroke} stroke-linejoin="round" d="{_path(px, py)}"/>')
        ends = py[np.isfinite(px) & np.isfinite(py)]
        if label and len(ends):
            label += " ↑" if ends.max() < 0 else " ↓" if ends.min() > _DOWN else ""
            at = float(np.clip(ends[-1], 0, _DOWN))
            self._labels.append((at, f'<path {stroke} d="M2 0h22"/>', label))

    def band(self, x: Floats, low: Floats, high: Floats, colour: str, opacity: float) -> None:
        """Fill what lies between two lines, all of shape (n,)."""
        there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        x, y = np.r_[x[there], x[there][::-1]], np.r_[low[there], high[there][::-1]]
        d = _path(*self._at(x, y))
        self._drawn.append(f'<path class="band {colour}" fill-opacity="{opacity}" d="{d}"/>')

    def dots(self, x: Floats, y: Floats, colour: str, label: str, width: float = 5) -> None:
        """Draw a dot at each point, shapes (n,)."""
        stroke = f'class="{colour}" stroke-width="{width}" stroke-linecap="round"'
        self._mark(x, y, f'{stroke} stroke-opacity="0.6"', "h0", label)

    def crosses(self, x: Floats, y: Floats, colour: str, label: str) -> None:
        """Draw a cross at each point, shapes (n,)."""
        stroke = f'class="{colour}" stroke-width="1.5" stroke-opacity="0.75"'
        self._mark(x, y, stroke, "m-3 0h6m-3-3v6", label)

    def _mark(self, x: Floats, y: Floats, stroke: str, mark: str, label: str) -> None:
        px, py = self._at(x, y)
        d = "".join(f"M{a:.1f} {b:.1f}{mark}" for a, b in zip(px, py, strict=True))
        self._drawn.append(f'<path {stroke} d="{d}"/>')
        key = f'<path {stroke} d="M12 0{mark}"/>'
        self._labels.append((_TOP + _APART * len(self._labels), key, label))

    def shades(self, x: Floats, y: Floats, values: Floats, ends: tuple[str, str]) -> None:
        """Fill the field by values in 0..1, shape (m, n), at y of (m,) and x of (n,), ascending.

        From vermillion by white to blue, in steps, neighbours of a shade together; `ends` are what
        0 and 1 are called.
        """
        (left, right), (low, high) = (self._edges(each) for each in (x, y))
        (px, _), (qx, _) = self._at(left, y[:1]), self._at(right, y[:1])
        (_, top), (_, bottom) = self._at(x[:1], high), self._at(x[:1], low)
        steps = np.rint(values * _SHADES).astype(int)
        paths: dict[int, list[str]] = {}
        for row, a, b in zip(steps.tolist(), top, bottom, strict=True):
            begin = 0
            for at in range(1, len(row) + 1):
                if at == len(row) or row[at] != row[begin]:
                    box = f"M{px[begin]:.1f} {a:.1f}H{qx[at - 1]:.1f}V{b:.1f}H{px[begin]:.1f}Z"
                    paths.setdefault(row[begin], []).append(box)
                    begin = at
        for step, boxes in paths.items():
            style = f"fill:{_shade(step / _SHADES)};stroke:none"
            self._drawn.append(
                f'<path style="{style}" shape-rendering="crispEdges" d="{"".join(boxes)}"/>'
            )
        for value, text in zip((0.0, 1.0), ends, strict=True):
            key = f'<path style="fill:{_shade(value)};stroke:none" d="M6 -5h12v10h-12Z"/>'
            self._labels.append((_TOP + _APART * len(self._labels), key, text))

    @staticmethod
    def _edges(values: Floats) -> tuple[Floats, Floats]:
        """Return where cells begin and end whose middles are ascending values, shape (n,)."""
        between = (values[1:] + values[:-1]) / 2
        return np.append(values[:1], between), np.append(between, values[-1:])

    def level(self, y: float, colour: str, dash: str, label: str = "") -> None:
        """Draw a horizontal line from end to end."""
        ends = np.array([self._x.low, self._x.high])
        self.line(ends, np.array([y, y]), colour, dash=dash, width=1.5, label=label)

    def upright(self, x: float, colour: str, text: str = "", step: int = 0) -> None:
        """Draw a vertical dotted line with a text at its top, so many lines lower."""
        px = float(self._at(np.array([x]), np.array([self._y.low]))[0][0])
        self._drawn.append(
            f'<path class="{colour}" stroke-width="1.3" stroke-dasharray="2 3" '
            f'd="M{px:.1f} 0v{_DOWN}"/>'
            f'<text x="{px + 4:.1f}" y="{12 + 14 * step}">{escape(text)}</text>'
        )

    def svg(self, key: str, title: str, described: str) -> str:
        """Return the SVG element.

        Parameters
        ----------
        key
            A word that no other plot of the page has: its ids begin with it.
        title, described
            What it shows, in a few words and at length, for those who cannot see it.
        """
        return element(
            key, title, described, WIDTH, HEIGHT,
            f"{self._axes()}"
            f'<svg x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_DOWN}" overflow="hidden">'
            f"{''.join(self._drawn)}</svg>{self._keys()}",
        )  # fmt: skip

    def _at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return points in pixels of the field."""
        px = (x - self._x.low) / (self._x.high - self._x.low) * _ACROSS
        py = (self._y.high - y) / (self._y.high - self._y.low) * _DOWN
        return np.clip(px, -_FAR, _FAR), np.clip(py, -_FAR, _FAR)

    def _axes(self) -> str:
        bottom, middle = _TOP + _DOWN, _TOP + _DOWN / 2
        parts = []
        for value, text in ticks(self._y.low, self._y.high):
            y = _TOP + self._at(np.zeros(1), np.array([value]))[1][0]
            parts.append(f'<path class="faint" d="M{_LEFT} {y:.1f}h{_ACROSS}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for value, text in ticks(self._x.low, self._x.high):
            x = _LEFT + self._at(np.array([value]), np.zeros(1))[0][0]
            parts.append(f'<path class="soft" d="M{x:.1f} {bottom}v5"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{text}</text>')
        return (
            f'<g>{"".join(parts)}<path class="soft" d="M{_LEFT} {bottom}h{_ACROSS}"/>'
            f'<text class="soft" x="{_LEFT + _ACROSS / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{escape(self._x.label)}</text>"
            f'<text class="soft" text-anchor="middle" transform="translate(14 {middle}) '
            f'rotate(-90)">{escape(self._y.label)}</text></g>'
        )

    def _keys(self) -> str:
        """Return the labels at the right, each near what it names, none over another."""
        labels = sorted(self._labels, key=lambda label: label[0])
        places: list[float] = []
        for y, _, _ in labels:
            places.append(max(min(max(y, 6), _DOWN - 4), places[-1] + _APART if places else 0))
        over = max((places[-1] if places else 0) - (_DOWN - 4), 0)
        for at in range(len(places) - 1, -1, -1):  # those that were pushed out below move up
            below = places[at + 1] if at + 1 < len(places) else _DOWN - 4 + _APART
            places[at] = min(places[at], below - _APART) if over else places[at]
        return "".join(
            f'<g transform="translate({_LEFT + _ACROSS} {_TOP + y:.1f})">{key}'
            f'<text class="key" x="30" y="4">{escape(text)}</text></g>'
            for y, (_, key, text) in zip(places, labels, strict=True)
        )


def _shade(value: float) -> str:
    """Return a colour between vermillion, white and blue, as the page's surfaces have it."""
    one, other = (_ENDS[0], _MIDDLE) if value < 0.5 else (_MIDDLE, _ENDS[1])
    share = 2 * value if value < 0.5 else 2 * value - 1
    return "#" + "".join(
        f"{round(a + (b - a) * share):02x}" for a, b in zip(one, other, strict=True)
    )


def element(key: str, title: str, described: str, width: int, height: int, inside: str) -> str:
    """Return an SVG element with a title and a description, of a size that shrinks to its place."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" '
        f'aria-labelledby="{key}-title" aria-describedby="{key}-desc" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-desc">{escape(described)}</desc>{inside}</svg>'
    )


def near(values: Floats) -> Floats:
    """Return the values but for those so far beyond the others that an axis is better without them.

    Further out, that is, than ten times the spread of the middle half, where that has one.

    Parameters
    ----------
    values
        Finite, shape (n,) with n > 0.

    Examples
    --------
    >>> near(np.array([0.0, 1.0, 2.0, 3.0, 1e6]))
    array([0., 1., 2., 3.])
    >>> near(np.array([1.0, 1.0, 1.0, 1e6]))
    array([1.e+00, 1.e+00, 1.e+00, 1.e+06])
    """
    low, high = np.quantile(values, [0.25, 0.75], method="closest_observation")
    far = 10 * (high - low)
    return values[(values >= low - far) & (values <= high + far)] if far > 0 else values


def beyond(x: tuple[Floats, float, float], y: tuple[Floats, float, float]) -> str:
    """Say how many points lie outside the axes; nothing if none does.

    Parameters
    ----------
    x, y
        The points' coordinates, shape (n,), and both ends of the axis, in its units.
    """
    out = sum((values < low) | (values > high) for values, low, high in (x, y))
    count = int(np.count_nonzero(out))
    lie = "lies" if count == 1 else "lie"
    return f" {count:,} of them {lie} beyond the figure, far from the others." if count else ""


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return round numbers in an interval, 1, 2 or 5 times a power of ten apart, and as text.

    Examples
    --------
    >>> ticks(0.53, 0.71)
    [(0.55, '0.55'), (0.6, '0.60'), (0.65, '0.65'), (0.7, '0.70')]
    >>> [text for _, text in ticks(0, 12_000)]
    ['0', '2,000', '4,000', '6,000', '8,000', '10,000', '12,000']
    >>> ticks(0, 3e15)[1]
    (500000000000000.0, '5e+14')
    """
    rough = (high - low) / 6
    power = 10.0 ** floor(log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - 1e-9))
    decimals = max(0, -floor(log10(step) + 1e-9))
    counts = range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)
    values = [round(count * step, decimals) for count in counts]
    if step >= 1e9:
        return [(value, f"{value:.3g}") for value in values]
    million, unit = (1e6, "M") if step >= 1e6 else (1.0, "")
    return [(value, f"{value / million:,.{decimals}f}{unit if value else ''}") for value in values]


def _path(x: Floats, y: Floats) -> str:
    parts, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if a - a == b - b == 0:  # both finite
            parts.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)
