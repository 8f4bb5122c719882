"""The four figures of a snapshot as SVG, each with a sentence that says the same in numbers.

What the board shows live, drawn once more without widgets: for the report, and to take along.
"""

from __future__ import annotations

from html import escape
from math import isfinite, log
from typing import NamedTuple

import numpy as np

from promo.models.graphs import Story, stories
from promo.models.looks import COLLIDER, NULL, slope_path
from promo.models.stories import Stories
from promo.models.verdict import in_words, negligible_slope, safe_to_stop
from promo.report.dag import diagram
from promo.report.experts import BESIDE, expert_styles
from promo.report.svg import (
    HEIGHT,
    LIGHT,
    WIDTH,
    Axis,
    Floats,
    Plot,
    beyond,
    element,
    near,
    sheet,
)
from promo.snapshot import Snapshot
from promo.words import of_rows, percent

_POINTS = 250  # of a line: more cannot be told apart
_LOSSES = 9  # models drawn at most, those with the least loss
_CHANGES, _TOLD = 50, 6  # of learning rates: so many are marked, and the newest of them in numbers
_PLANE = ("intercept", "competence", "network_ability")
_ASIDE = {NULL: "dashed", COLLIDER: "dotted"}  # of another run's slopes
_MARGIN = 16  # around a figure that stands alone
_BASE, _BEST, _STEERED = "base-rate", "best-possible", "sgd-logistic"


class Drawing(NamedTuple):
    """A figure: a word for it, its title, the SVG element, its height, what it shows in words."""

    key: str
    title: str
    svg: str
    height: int
    words: str

    def alone(self) -> str:
        """Return the figure as an SVG file of its own: with its title and style, on white."""
        width, height = WIDTH + 2 * _MARGIN, self.height + 3 * _MARGIN + 20
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}"><style>{sheet(LIGHT)}</style>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>'
            f'<text x="{_MARGIN}" y="{_MARGIN + 14}" style="font:600 16px system-ui,sans-serif" '
            f'fill="{LIGHT["ink"]}">{escape(self.title)}</text>'
            f'<g transform="translate({_MARGIN} {2 * _MARGIN + 20})">{self.svg}</g></svg>\n'
        )


class Beside(NamedTuple):
    """Another run, to be drawn in the same figures from where it has left the first.

    Attributes
    ----------
    name
        What it is called in figures.
    since
        Rows that both have in common.
    """

    name: str
    since: int
    snapshot: Snapshot

    def apart(self, rows: Floats, values: Floats) -> tuple[Floats, Floats]:
        """Return what of a path both do not have in common."""
        return rows[rows >= self.since], values[rows >= self.since]


def drawings(snapshot: Snapshot, beside: Beside | None = None) -> list[Drawing]:
    """Draw all that the models of a snapshot, which has learned a row, give rise to.

    Parameters
    ----------
    beside
        Another run, for what is drawn over rows.
    """
    found = [
        sample(snapshot),
        loss(snapshot, beside),
        slopes(snapshot, beside),
        shares(snapshot),
    ]
    return [drawing for drawing in found if drawing is not None]


def sample(snapshot: Snapshot) -> Drawing | None:
    """Draw who gets promoted, and where each linear classifier says even odds."""
    network_ability, competence, promoted = snapshot.sample
    if not len(promoted):
        return None
    x, y = (_whole(name, v) for name, v in (("competence", competence),
                                            ("network ability", network_ability)))  # fmt: skip
    plot, chosen = Plot(x, y), promoted > 0
    plot.crosses(competence[~chosen], network_ability[~chosen], "vermillion", "not promoted")
    plot.dots(competence[chosen], network_ability[chosen], "blue", "promoted")
    told = ""
    for style, (model, (a, b, c)) in zip(("solid", "dashed"), _planes(snapshot), strict=False):
        even = straight(a, b, c, (x.low, x.high), (y.low, y.high))
        plot.line(*even, "ink", dash=style, label=model)
        told += (
            f" Log odds of promotion, says {model}: {a:z.2f} {signed(b)} · competence "
            f"{signed(c)} · network ability; its line is where they are even."
        )
    far = beyond((competence, x.low, x.high), (network_ability, y.low, y.high))
    words = (
        f"{len(promoted):,} of {of_rows(snapshot.rows)}, each as likely to be shown as any; "
        f"{chosen.mean():.0%} of them promoted.{far}{told}"
    )
    return as_drawing("sample", "Who gets promoted?", plot, words)


def loss(snapshot: Snapshot, beside: Beside | None = None) -> Drawing | None:
    """Draw how well every model predicts, where rates were changed, and the best possible.

    Of the run beside, the model whose rate it may have changed, or else its best.
    """
    ends = {m.model: m.value for m in snapshot.metrics if m.name == "log_loss"}
    ends = {model: value for model, value in ends.items() if isfinite(value)}
    ranked = sorted(ends, key=ends.__getitem__)
    drawn = [model for model in ranked if model != _BEST][:_LOSSES]
    if not drawn:
        return None
    paths = {model: loss_path(snapshot, model) for model in (*drawn, *({_BEST} & {*ranked}))}
    others = _losses_beside(beside) if beside else {}
    inside = [
        values[rows >= snapshot.rows / 10]  # before that all is wild
        for model, (rows, values) in {**paths, **others}.items()
        if model != _BASE
    ]
    if len(inside) < 2:  # else those who race would be squeezed into a corner
        inside.append(np.array([log(2), *(ends[model] for model in drawn)]))
    low, high = _spread(np.concatenate(inside), 0.05)
    if snapshot.rate_changes:
        high += 0.2 * (high - low)  # room for the rates
    plot = Plot(_rows(snapshot, beside), Axis("log loss so far (nats)", low, high))
    plot.level(log(2), "grey", "dash-dotted", "coin toss")
    _mark_changes(plot, snapshot)
    # In the order of the models, not of their losses, which changes.
    styles = expert_styles([model for model in ends if model in paths])
    for model, path in paths.items():
        colour, dash = styles[model]
        plot.line(*path, colour, dash=dash, label=_short(model))
    for name, path in others.items():
        plot.line(*path, BESIDE, dash="dashed", width=1.5, label=name)
    more = len(ranked) - len(paths)
    words = (
        "Each row is predicted before it is learned. Nats a row: "
        + ", ".join(f"{model} {ends[model]:.4f}" for model in ranked if model in paths)
        + (f"; {more} more are in the table." if more else ".")
        + "".join(
            f" Beside it, {name}: {path[-1]:.4f} after {of_rows(rows[-1])}."
            for name, (rows, path) in others.items()
        )
        + f" A coin toss has {log(2):.4f}. {_changes(len(snapshot.rate_changes))}"
    )
    return as_drawing("loss", "How well do we predict?", plot, words)


def slopes(snapshot: Snapshot, beside: Beside | None = None) -> Drawing | None:
    """Draw the slope on competence without and with `promoted`, and both kinds of intervals."""
    looks = [(NULL, "green", "solid", "without promoted"),
             (COLLIDER, "vermillion", "dashed", "with promoted")]  # fmt: skip
    history = snapshot.history.thinned(_POINTS)
    if any((model, "competence", "estimate") not in history.columns for model, *_ in looks):
        return None
    paths = {model: slope_path(history, model, snapshot.alpha, snapshot.g) for model, *_ in looks}
    others = {model: _slope_beside(beside, model) for model in paths if beside}
    seen = [np.zeros(1), *(slope for _, slope in others.values())]
    for rows, slope, one, wide in paths.values():
        settled = rows >= snapshot.rows / 10
        far = np.where(np.isfinite(wide), wide, one)
        seen += [(slope - far)[settled], (slope + far)[settled]]
    low, high = _spread(np.concatenate(seen), 0.5)
    plot = Plot(_rows(snapshot, beside), Axis("slope on competence", low, high))
    words = []
    for model, colour, dash, label in looks:
        rows, slope, one, wide = paths[model]
        plot.band(rows, slope - wide, slope + wide, colour, 0.14)
        plot.band(rows, slope - one, slope + one, colour, 0.3)
        plot.line(rows, slope, colour, dash=dash, label=label)
        words.append(f"{label.capitalize()}: {_claim(snapshot, model)}")
        if beside:
            rows, slope = others[model]
            name = f"{beside.name}, {label}"
            short = name.removesuffix(" promoted")  # there is no room for more beside the plot
            plot.line(rows, slope, BESIDE, dash=_ASIDE[model], width=1.5, label=short)
            if len(rows):
                words.append(f"Beside it, {name}: {slope[-1]:+.3f} after {of_rows(rows[-1])}.")
    plot.level(0.0, "grey", "solid")
    words.append(f"Bands: {snapshot.level} at one look and, wider and paler, at any time.")
    return as_drawing("slopes", "Does competence move network ability?", plot, " ".join(words))


def shares(snapshot: Snapshot) -> Drawing | None:
    """Draw the causal stories with the belief in each, the largest first."""
    kept = {m.name: m.value for m in snapshot.metrics if m.model == Stories.name}
    if not {f"share of {story.name}" for story in stories()} <= kept.keys():
        return None
    share = {story: kept[f"share of {story.name}"] for story in stories()}
    evidence = {story: kept[f"log evidence of {story.name}"] for story in stories()}
    ranked = sorted(stories(), key=lambda story: (share[story], evidence[story]), reverse=True)
    most = max(evidence.values())
    y, parts = 30, [_columns()]
    for story in ranked:
        parts.append(_row(y, story, share[story], most - evidence[story]))
        y += _height(story)
    title, best = "Which causal story survives?", ranked[0]
    found = "a variable has not varied, so nothing is known that tells them apart"
    if max(share.values()) > min(share.values()):
        found = f"the share is largest for {readable(best)}: {percent(share[best])}"
    words = (
        f"After {of_rows(snapshot.rows)} {found}. Assumed: no hidden common cause, straight lines, "
        "all stories equally likely at first. In one line stand the diagrams that no data of this "
        "kind can tell apart; N network ability, C competence, P promoted."
        f"{caveat_of_change(snapshot)}"
    )
    svg = element("stories", title, words, WIDTH, y + 4, "".join(parts))
    return Drawing("stories", title, svg, y + 4, words)


def caveat_of_change(snapshot: Snapshot) -> str:
    """Say of what is true of all rows, where a change was noticed, that it is of both times."""
    if not any(m.value > 0 for m in snapshot.metrics if m.name == "drifts"):
        return ""
    return " In the losses a change was noticed: this is of the rows before and after it together."


def readable(story: Story) -> str:
    """Return a story's name for people."""
    name = story.name.replace("network_ability", "network ability")
    return name.replace("->", "→").replace("<-", "←")


def _letters(story: Story) -> str:
    """Return a story's name where there is little room."""
    name = readable(story)
    for variable, letter in (("network ability", "N"), ("competence", "C"), ("promoted", "P")):
        name = name.replace(variable, letter)
    return name


# -- the plots' parts -----------------------------------------------------------------------


def as_drawing(key: str, title: str, plot: Plot, words: str) -> Drawing:
    """Return a plot as a figure with its words."""
    return Drawing(key, title, plot.svg(key, title, words), HEIGHT, words)


def _rows(snapshot: Snapshot, beside: Beside | None) -> Axis:
    most = max(snapshot.rows, beside.snapshot.rows if beside else 0, 1)
    return Axis("rows", 0, most)


def _losses_beside(beside: Beside) -> dict[str, tuple[Floats, Floats]]:
    """Return the path of one model of the run beside, by its label, if there is any."""
    losses = {m.model: m.value for m in beside.snapshot.metrics if m.name == "log_loss"}
    losses = {m: value for m, value in losses.items() if isfinite(value) and m != _BEST}
    if not losses:
        return {}
    model = _STEERED if _STEERED in losses else min(losses, key=losses.__getitem__)
    path = beside.apart(*loss_path(beside.snapshot, model))
    return {f"{beside.name}, {_short(model)}": path} if len(path[0]) else {}


def _slope_beside(beside: Beside, model: str) -> tuple[Floats, Floats]:
    run = beside.snapshot
    rows, slope, *_ = slope_path(run.history.thinned(_POINTS), model, run.alpha, run.g)
    return beside.apart(rows, slope)


def _whole(label: str, values: Floats) -> Axis:
    values = near(values)
    low, high = np.floor(values.min()), np.ceil(values.max())
    return Axis(label, float(min(low, -1)), float(max(high, 1)))


def _spread(values: Floats, least: float) -> tuple[float, float]:
    """Return the range of values, with room around it as if it were `least` wide at least.

    A narrower one would have numbers so long that they reach the title.
    """
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = 0.08 * max(high - low, least)
    return low - room, high + room


def loss_path(snapshot: Snapshot, model: str) -> tuple[Floats, Floats]:
    """Return rows and log loss of a model, of shape (n,), where the loss is known."""
    history = snapshot.history.thinned(_POINTS)
    loss = history[model, "log_loss"]
    if (model, "rows") in history.columns:
        rows = history[model, "rows"]
    else:
        rows = np.minimum((history.pages + 1.0) * snapshot.page_size, snapshot.rows)
    known = np.isfinite(loss)
    return rows[known], loss[known]


def _planes(snapshot: Snapshot) -> list[tuple[str, list[float]]]:
    """Return the classifiers that are linear in the abilities, with their coefficients."""
    terms: dict[str, dict[str, float]] = {}
    for c in snapshot.coefficients:
        terms.setdefault(c.model, {})[c.term] = c.estimate
    return sorted(
        ((model, [its[name] for name in _PLANE]) for model, its in terms.items()
         if its.keys() == {*_PLANE} and all(map(isfinite, its.values()))),
        key=lambda plane: plane[0] != _STEERED,
    )  # fmt: skip


def straight(
    a: float, b: float, c: float, x: tuple[float, float], y: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Return two points of the line a + b x + c y = 0 at the edges of a plane; none without one.

    `x` and `y` are what the plane reaches from and to.
    """
    if not isfinite(a + b + c) or not (b or c):
        return np.empty(0), np.empty(0)
    if abs(c) >= abs(b):
        xs = np.array(x)
        return xs, -(a + b * xs) / c
    ys = np.array(y)
    return -(a + c * ys) / b, ys


def _mark_changes(plot: Plot, snapshot: Snapshot) -> None:
    changes = snapshot.rate_changes[-_CHANGES:]
    for at, (rows, _, rate) in enumerate(changes):
        told = f"{rate:.3g}" if len(changes) - at <= _TOLD else ""
        plot.upright(rows, "vermillion", told, step=at % 3)


def _claim(snapshot: Snapshot, model: str) -> str:
    slope, null = (snapshot.coefficient(name, "competence") for name in (model, NULL))
    since = snapshot.metric(model, "zero_excluded_at competence")
    rows, explained = (snapshot.metric(NULL, name) for name in ("rows", "r_squared"))
    alike = isfinite(rows) and isfinite(explained)
    negligible = negligible_slope(null, int(rows), explained) if alike else float("nan")
    return f"{in_words(slope, snapshot.level)} {safe_to_stop(slope, since, negligible)}"


# -- the stories' parts ---------------------------------------------------------------------

_DIAGRAMS, _BAR, _NUMBER, _BEHIND = 114, 294, 478, 558  # where columns begin; the last two end
_SCALE, _HIGH = 0.74, 38


def _columns() -> str:
    return (
        '<g class="soft"><text x="0" y="14">story</text>'
        f'<text x="{_DIAGRAMS}" y="14">its diagrams</text>'
        f'<text x="{_NUMBER}" y="14" text-anchor="end">share of belief</text>'
        f'<text x="{_BEHIND}" y="14" text-anchor="end">nats behind</text></g>'
    )


def _height(story: Story) -> int:
    return _HIGH * -(-len(story.graphs) // 3) + 3


def _row(y: float, story: Story, share: float, behind: float) -> str:
    small = "".join(
        f'<g transform="translate({_DIAGRAMS + 56 * (at % 3)} {y + _HIGH * (at // 3)}) '
        f'scale({_SCALE})">{diagram(graph)}</g>'
        for at, graph in enumerate(story.graphs)
    )
    width, middle = (_NUMBER - 56 - _BAR) * share, y + _height(story) / 2
    return (
        f'<path class="faint" d="M0 {y - 1.5}h{WIDTH}"/>'
        f'<text x="0" y="{middle + 3:.1f}">{escape(_letters(story))}</text>{small}'
        f'<rect class="blue" x="{_BAR}" y="{middle - 5:.1f}" width="{width:.1f}" height="10"/>'
        f'<text x="{_NUMBER}" y="{middle + 3:.1f}" text-anchor="end">{escape(percent(share))}'
        f'</text><text x="{_BEHIND}" y="{middle + 3:.1f}" text-anchor="end">{behind:,.1f}</text>'
    )


# -- words ----------------------------------------------------------------------------------


def _short(name: str) -> str:
    """Return a model's name as the margin has room for it."""
    name = name.replace("renewable-logistic", "renewable")
    return name if len(name) <= 20 else f"{name[:19]}…"


def signed(value: float) -> str:
    """Return a number that is added to what stands before it."""
    return f"{'+' if value >= 0 else '-'} {abs(value):.2f}"


def _changes(count: int) -> str:
    if not count:
        return "No learning rate was changed."
    return f"Learning rates were changed {'once' if count == 1 else f'{count:,} times'}."
