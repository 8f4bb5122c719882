"""Causal diagrams as SVG: a few named nodes, arrows, and a title for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from math import hypot

_WIDTH, _HEIGHT, _RX, _RY = 360, 170, 74, 22


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
        '<defs><marker id="promo-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker>'
        f"</defs>{lines}{nodes}</svg>"
    )


def _arrow(cause: tuple[float, float], effect: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = _edge(cause, effect), _edge(effect, cause)
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="currentColor" '
        'stroke-width="2" marker-end="url(#promo-head)"/>'
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
