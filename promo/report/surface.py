"""The plane of both abilities as SVG: the chance of promotion by one expert, and people."""

from __future__ import annotations

from typing import NamedTuple

from promo.report.figures import Drawing, as_drawing
from promo.report.svg import Axis, Floats, Plot


class Surface(NamedTuple):
    """What one expert says over the plane.

    Attributes
    ----------
    expert
        Its name.
    x, y
        Competence and network ability, ascending, shapes (n,) and (m,).
    proba
        P(promoted), shape (m, n).
    even, band
        Points, x and y of shape (k,), where odds are even, and where they are at an end of the
        interval: none for an expert without.
    people
        Network ability, competence and promoted of those shown, shape (3, k).
    """

    expert: str
    x: Floats
    y: Floats
    proba: Floats
    even: tuple[Floats, Floats]
    band: tuple[Floats, Floats]
    people: Floats


def surface_drawing(surface: Surface, title: str) -> Drawing:
    """Draw it, as on the page."""
    x, y = surface.x, surface.y
    plot = Plot(
        Axis("competence", float(x[0]), float(x[-1])),
        Axis("network ability", float(y[0]), float(y[-1])),
    )
    plot.shades(x, y, surface.proba, ("surely not promoted", "surely promoted"))
    if len(surface.band[0]):
        plot.dots(*surface.band, "ink", "its interval", width=1.5)
    plot.dots(*surface.even, "ink", "even odds", width=3)
    ability, competence, promoted = surface.people
    for chosen, draw, label in (
        (promoted == 0, plot.crosses, "not promoted"),
        (promoted > 0, plot.dots, "promoted"),
    ):
        draw(competence[chosen], ability[chosen], "ink", label)
    proba = surface.proba
    words = (
        f"The chance of promotion, says {surface.expert}, over both abilities: from "
        f"{proba.min():.0%} to {proba.max():.0%}; {len(promoted):,} people."
    )
    return as_drawing("surface", title, plot, words)
