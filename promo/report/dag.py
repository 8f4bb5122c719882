"""Causal diagrams of the three variables, small enough to stand many to a page."""

from __future__ import annotations

from html import escape
from math import hypot

from promo.models.graphs import Graph

_PLACES = {"network_ability": (17, 15), "competence": (83, 15), "promoted": (50, 51)}
_LETTERS = {"network_ability": "N", "competence": "C", "promoted": "P"}
_RADIUS = 11


def diagram(graph: Graph) -> str:
    """Return a causal diagram of the three variables as a small SVG element with a title."""
    arrows = [f"{cause} → {effect}" for cause, effect in sorted(graph)]
    title = ", ".join(arrows).replace("_", " ") or "no arrows"
    lines = "".join(_arrow(_PLACES[cause], _PLACES[effect]) for cause, effect in sorted(graph))
    nodes = "".join(
        f'<circle cx="{x}" cy="{y}" r="{_RADIUS}"/>'
        f'<text x="{x}" y="{y + 4}">{_LETTERS[name]}</text>'
        for name, (x, y) in _PLACES.items()
    )
    return (
        f'<svg class="promo-dag" role="img" viewBox="0 0 100 66" width="76" height="50">'
        f"<title>{escape(title)}</title>{lines}{nodes}</svg>"
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = hypot(dx, dy)
    ux, uy = dx / length, dy / length
    x1, y1 = start[0] + ux * (_RADIUS + 2), start[1] + uy * (_RADIUS + 2)
    x2, y2 = end[0] - ux * (_RADIUS + 3), end[1] - uy * (_RADIUS + 3)
    left, right = ((x2 - 8 * ux + side * 4 * uy, y2 - 8 * uy - side * 4 * ux) for side in (1, -1))
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in ((x2, y2), left, right))
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2 - 5 * ux:.1f}" y2="{y2 - 5 * uy:.1f}"/>'
        f'<polygon points="{head}"/>'
    )
