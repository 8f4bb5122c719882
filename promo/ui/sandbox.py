"""Figures to play with, that need no stream: worlds to break the method, seeing beside doing.

All are views of a `Publisher` without a trainer: the reader's choice is what they show.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape

import bqplot as bq
import ipywidgets as widgets
import numpy as np

from promo.batch import Batch
from promo.history import History
from promo.models.graphs import check_acyclic, stories, story_of
from promo.models.regressions import Regressions
from promo.models.stories import Stories
from promo.report.figures import readable
from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.diagram import causal_diagram
from promo.ui.plot import DASHED, NOWHERE, Figure, Floats, axis, move
from promo.ui.stories import StoriesFigure
from promo.ui.style import BLUE, GREY, VERMILLION, headed, key, row_layout
from promo.words import percent
from promo.world import DRIFT_ROW, WORLDS, Employees, World

SEED = 2021
_PAGE_ROWS = 100
_WIDE = {"description_width": "initial"}
_ROWS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 50_000, 51_000, 100_000)
_LESSONS = {
    "collider": "It is alone on its card: data can find it, if nothing is hidden.",
    "threshold": "A hard cut is a collider, too: the same story. It selects harder, so the slopes "
    "within the promoted and within the others are steeper.",
    "mentoring": "All three are connected, and six diagrams say so. Which way the arrows point "
    "within the card is more than data of this kind can tell.",
    "chain": "Three diagrams share the card: that network ability stands in the middle can be "
    "seen, the directions cannot.",
    "fork": "Given promotion the abilities are independent, as in a chain through it: one card.",
    "confounded": "The hidden gift leaves the very independencies of a collider, so the stories "
    "say with confidence that network ability leads to promotion. Nobody is promoted for it. Only "
    "doing tells: set network ability below, and promotion stays where it was.",
    "drift": "So far only competence decides. From employee 50,000 on it is network ability alone.",
    "interaction": "Promotion needs both abilities high or both low. No straight line of either, "
    "or of both, predicts it, so the stories see no dependence at all. The regressions within the "
    "promoted and within the others do: their slopes have opposite signs.",
}
_TWO_POLICIES = (
    "At first only competence decides, from employee 50,000 on only network ability. Each story is "
    "judged as if it had held all the time: a thousand rows later they say that both lead to "
    "promotion. That is so of an employee taken from all of them, and the policy of no day."
)
_SURE = 0.95  # of a share: below it, to lead is not to have found


@lru_cache(maxsize=32)
def learned(world: str, rows: int) -> Snapshot:
    """Return what regressions and stories know of the first `rows` employees of a world."""
    regressions = Regressions()
    model = Stories(regressions)
    history = History([(m.model, m.name) for m in model.metrics()])
    page = -1
    for page, block in enumerate(WORLDS[world].blocks(rows, SEED, _PAGE_ROWS)):
        batch = Batch.of(block.network_ability, block.competence, block.promoted, page=page)
        regressions.learn(batch)
        model.learn(batch)
        history.append(page, [m.value for m in model.metrics()])
    return Snapshot(
        status="finished",
        message="",
        page=page,
        rows=rows,
        page_size=_PAGE_ROWS,
        total_rows=rows,
        pages_per_s=0.0,
        coefficients=(*regressions.coefficients(), *model.coefficients()),
        metrics=(*regressions.metrics(), *model.metrics()),
        history=history,
        sample=np.empty((3, 0)),
        learning_rates={},
        rate_changes=(),
        totals={},
    )


class WorldFigure:
    """What the stories say in each world, what is true there, and where the method is fooled."""

    def __init__(self) -> None:
        self.world = _choose_world()
        self.rows = widgets.SelectionSlider(
            options=[(f"{rows:,}", rows) for rows in _ROWS],
            value=5_000,
            description="Rows",
            continuous_update=False,
            style=_WIDE,
            layout=widgets.Layout(width="320px"),
        )
        self.truth, self.verdict = html(), html()
        self._stories = StoriesFigure()
        row = widgets.HBox([self.world, self.rows], layout=row_layout())
        head = headed(
            "Worlds to break it",
            "What is true in a world that we made, and below it what the stories say of its rows",
        )
        parts = [sheet(), html(head), row, self.truth, self.verdict, self._stories.widget]
        self.widget = widgets.VBox(parts)
        self.widget.add_class("promo")

    @property
    def choice(self) -> object:
        """The world, the rows and the story that is opened."""
        return self.world.value, self.rows.value, self._stories.choice

    def update(self, _: Snapshot | None) -> None:
        """Learn the world chosen and show it."""
        world = WORLDS[self.world.value]
        snapshot = learned(world.name, self.rows.value)
        told = f'<div class="promo-note">{escape(world.description)}</div>'
        self.truth.value = told + true_diagram(world, snapshot.rows)
        self.verdict.value = f'<div class="promo-note">{verdict(world.name, snapshot)}</div>'
        self._stories.update(snapshot)


def verdict(world: str, snapshot: Snapshot) -> str:
    """Return whether the stories have found the truth of a world, as HTML."""
    true = true_story(WORLDS[world], snapshot.rows)
    by_name = {story.name: story for story in stories()}
    shares = {name: snapshot.metric(Stories.name, f"share of {name}") for name in by_name}
    best = max(shares, key=lambda name: shares[name])
    says = f"share {escape(percent(shares[best]))} for <i>{escape(readable(by_name[best]))}</i>"
    if true is None:
        return f"<b>Two policies, and no story of both</b>: {says}. {_TWO_POLICIES}"
    if best == true:
        sure = shares[best] >= _SURE
        found = "The stories have found the truth" if sure else "The true story leads"
    else:
        found = "The stories are wrong here, or not there yet"
    return (
        f"<b>{found}</b>: {says}; the truth among the three is "
        f"<i>{escape(readable(by_name[true]))}</i>. {_LESSONS[world]}"
    )


def true_story(world: World, rows: int) -> str | None:
    """Return the name of the story of a world's visible variables, hidden causes left out.

    None where the first `rows` employees have seen more than one policy.
    """
    if world.name == "drift":
        before = frozenset({("competence", "promoted")})
        return story_of(before).name if rows <= DRIFT_ROW else None
    return story_of(check_acyclic(a for a in world.arrows if "hidden" not in a)).name


def true_diagram(world: World, rows: int) -> str:
    """Return the causal diagram of a world's first `rows` employees as SVG, hidden cause included.

    Where they have seen two policies there are two diagrams, one beside the other.
    """
    title = f"The truth in world {world.name}"
    if world.name == "drift":
        policies = [("until", "competence"), ("from", "network ability")]
        parts = []
        for when, cause in policies[: 1 + (rows > DRIFT_ROW)]:
            told = f"{when} employee {DRIFT_ROW:,}"
            drawn = causal_diagram(f"{title}, {told}", [(cause, "promoted")])
            parts.append(f'<div class="promo-policy">{told}{drawn}</div>')
        return "".join(parts)
    places = None  # the usual ones
    if any("hidden" in arrow for arrow in world.arrows):
        places = {
            "hidden": (80.0, 30.0),
            "competence": (280.0, 30.0),
            "network ability": (80.0, 136.0),
            "promoted": (280.0, 136.0),
        }
    arrows = sorted((a.replace("_", " "), b.replace("_", " ")) for a, b in world.arrows)
    return causal_diagram(title, arrows, places)


_ACTIONS = ("promoted", "network_ability", "competence")


class DoFigure(Figure):
    """Seeing is not doing: an ability among those seen with a value, and when all are given it."""

    def __init__(self, rows: int = 100_000) -> None:
        self._count = rows
        self.world = _choose_world()
        self.action = widgets.Dropdown(
            options=[("everybody is promoted", _ACTIONS[0]), ("network ability is", _ACTIONS[1]),
                     ("competence is", _ACTIONS[2])],
            description="Set that", style=_WIDE,
        )  # fmt: skip
        self.value = widgets.FloatSlider(
            value=1.5, min=-3, max=3, step=0.5, description="to", continuous_update=False,
            readout_format="+.1f", style=_WIDE, layout=widgets.Layout(width="260px"),
        )  # fmt: skip
        self._x, self._y = bq.LinearScale(min=-4, max=4), bq.LinearScale(min=0, max=0.6)
        scales = {"x": self._x, "y": self._y}
        self.lines = [
            bq.Lines(x=NOWHERE, y=NOWHERE, scales=scales, colors=[colour], stroke_width=width,
                     line_style=style)
            for colour, style, width in (
                (GREY, "solid", 6), (VERMILLION, "dashed", 2.5), (BLUE, "solid", 2.5)
            )
        ]  # fmt: skip
        legend = (
            key("all, as they are", GREY)
            + key("those seen with it", VERMILLION, dash=DASHED)
            + key("all, when it is done to them", BLUE)
        )
        self._across = axis(self._x, "network ability")
        axes = [self._across, axis(self._y, "density", vertical=True, fmt=".2f")]
        controls = widgets.HBox([self.world, self.action, self.value], layout=row_layout())
        super().__init__("Seeing is not doing", legend, self.lines, axes, [controls])

    @property
    def choice(self) -> object:
        """The world, what is set, and to what."""
        return self.world.value, self.action.value, self.value.value

    def update(self, _: Snapshot | None) -> None:
        """Draw the three distributions, and say all means."""
        world, action = WORLDS[self.world.value], self.action.value
        value = 1.0 if action == "promoted" else self.value.value
        self.value.layout.visibility = "hidden" if action == "promoted" else "visible"
        as_is, seen, done = compare(world, action, value, self._count)
        shown = "competence" if action == "network_ability" else "network_ability"
        self._across.label = shown.replace("_", " ")
        peak = 0.6
        for line, people in zip(self.lines, (as_is, seen, done), strict=True):
            x, y = _density(getattr(people, shown))
            move(line, x, y)
            peak = max(peak, float(y.max()))  # high above a few people who are alike
        self._y.max = peak
        name = action.replace("_", " ")
        what = "promoted" if action == "promoted" else f"{name} {value:+.1f}"
        means = "; ".join(
            f"{other.replace('_', ' ')} {_mean(as_is, other)} as they are, {_mean(seen, other)} "
            f"seen, {_mean(done, other)} done"
            for other in Employees._fields
            if other != action
        )
        self.say(
            f"World {world.name}, {what}. Means: {means}. "
            f"{len(seen.promoted):,} of {self._count:,} employees are seen with it."
        )


def compare(
    world: World, variable: str, value: float, rows: int
) -> tuple[Employees, Employees, Employees]:
    """Return all employees, those seen with a value (±0.1 of an ability), all given the value."""
    as_is = world.sample(rows, SEED)
    column = getattr(as_is, variable)
    among = column == bool(value) if variable == "promoted" else abs(column - value) <= 0.1
    seen = Employees(*(each[among] for each in as_is))
    return as_is, seen, world.do(**{variable: value}).sample(rows, SEED)


def _mean(people: Employees, name: str) -> str:
    column = getattr(people, name)
    if not len(column):
        return "nobody"
    mean = round(float(column.mean()), 2) + 0.0  # without the sign of a zero
    return f"{mean:.0%}" if name == "promoted" else f"{mean:+.2f}"


def _density(values: Floats) -> tuple[Floats, Floats]:
    edges = np.linspace(-4, 4, 41)
    counts = np.histogram(values, edges)[0]
    return (edges[1:] + edges[:-1]) / 2, counts / max(len(values), 1) / (edges[1] - edges[0])


def _choose_world() -> widgets.Dropdown:
    return widgets.Dropdown(options=[*WORLDS], description="World", style=_WIDE)
