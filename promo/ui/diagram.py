"""Causal diagrams as SVG: a few named nodes, arrows, and a title for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from math import hypot

_WIDTH, _HEIGHT, _RX, _RY = 360, 170, 74, 22
_HEAD = 15  # of an arrow, long and wide


def causal_diagram(
    title: str,
    arrows: Iterable[tuple[str, str]],
    places: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """Return a diagram of named variables as an SVG element.

    Parameters
    ----------
    title
        What it shows, in words; read aloud by screen readers.
    arrows
        (cause, effect) pairs.
    places
        Centre of every node, in pixels of a 360 by 170 field; the three variables of the
        challenge have theirs.
    """
    places = places or {
        "network ability": (90, 32),
        "competence": (270, 32),
        "promoted": (180, 134),
    }
    lines = "".join(_arrow(places[cause], places[effect]) for cause, effect in arrows)
    nodes = "".join(_node(name, *place) for name, place in places.items())
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'style="color: var(--jp-ui-font-color1, currentColor)"><title>{escape(title)}</title>'
        f"{lines}{nodes}</svg>"
    )


def _arrow(cause: tuple[float, float], effect: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = _edge(cause, effect), _edge(effect, cause)
    length = hypot(x2 - x1, y2 - y1)
    along_x, along_y = (x2 - x1) / length, (y2 - y1) / length
    # A path of its own: a marker is found by its name in the whole page, where another notebook's
    # of that name may stand, hidden, and then none is drawn.
    x, y = x2 - _HEAD * along_x, y2 - _HEAD * along_y
    side_x, side_y = -along_y * _HEAD / 2, along_x * _HEAD / 2
    head = (
        f"M{x + side_x:.1f} {y + side_y:.1f}L{x2:.1f} {y2:.1f}L{x - side_x:.1f} {y - side_y:.1f}z"
    )
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x:.0f}" y2="{y:.0f}" stroke="currentColor" '
        f'stroke-width="2"/><path d="{head}" fill="currentColor"/>'
    )


def _edge(start: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where the line between two centres leaves the first node's ellipse."""
    dx, dy = towards[0] - start[0], towards[1] - start[1]
    reach = 1 / hypot(dx / (_RX + 3), dy / (_RY + 3))
    return start[0] + dx * reach, start[1] + dy * reach


def _node(name: str, x: float, y: float) -> str:
    return (
        f'<ellipse cx="{x}" cy="{y}" rx="{_RX}" ry="{_RY}" fill="none" stroke="currentColor" '
        f'stroke-width="1.5"/><text x="{x}" y="{y + 5}" text-anchor="middle" font-size="14" '
        f'font-family="sans-serif" fill="currentColor">{escape(name)}</text>'
    )
