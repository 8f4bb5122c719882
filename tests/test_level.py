"""Tests that the level fixed before a stream is that of every interval, and said by every view."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from comms import text_of
from pages import employees, pages_of
from promo import ui
from promo.cli import main
from promo.line import Line
from promo.models.anytime import ALPHA as ALPHA_
from promo.models.anytime import G, fixed_level
from promo.models.default import FULL, default_models
from promo.models.looks import COLLIDER, NULL
from promo.report import write_report
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from promo.ui.publisher import parts

ALPHA, LEVEL, SOURCE = 0.1, "90%", "world:collider"
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Learn 3,000 rows by several experts, with intervals of 90%."""
    path = tmp_path_factory.mktemp("level") / "a.db"
    models, settings = default_models(FULL, SOURCE, ALPHA)
    with Store(path, source=SOURCE, page_size=10, settings=settings) as store:
        line = Line(store, models)
        for page in pages_of(employees(3000)):
            line.learn(page)
    return path


@pytest.fixture
def trainer(path):
    """Open it at rest: nothing is asked of the stream."""
    models, settings = default_models(FULL, SOURCE, ALPHA)
    store = Store(path, source=SOURCE, page_size=10, settings=settings)
    with Trainer(PageStream("http://127.0.0.1:1", source=SOURCE), store, models) as trainer:
        yield trainer


def test_every_interval_for_one_look_is_of_that_level(trainer):
    """Those of the regressions by Student, those of the experts and of what they say by Wald."""
    rows = trainer.snapshot.rows
    seen = set()
    for c in trainer.snapshot.coefficients:
        if c.model.startswith("network_ability"):
            rows, terms = trainer.snapshot.metric(c.model, "rows"), 3 if "+" in c.model else 2
            reach = student.isf(ALPHA / 2, rows - terms)
        elif c.model.startswith("renewable"):
            reach = norm.isf(ALPHA / 2)
        else:
            continue
        assert (c.ci_high - c.ci_low) / 2 == pytest.approx(reach * c.std_error, rel=1e-9)
        assert c.av_high - c.av_low > c.ci_high - c.ci_low
        seen.add(c.model)
    assert len(seen) == 7


def test_bands_are_those_of_the_coefficients(trainer):
    """A figure that is given no switch has the level of what it is shown, as the table has it."""
    figure = ui.CoefficientFigure()
    figure.update(trainer.snapshot)
    for formula in (NULL, COLLIDER):
        slope = trainer.snapshot.coefficient(formula, "competence")
        for marks, ends in (
            (figure.bands, (slope.ci_low, slope.ci_high)),
            (figure.wide, (slope.av_low, slope.av_high)),
        ):
            y = np.asarray(marks[formula].y)  # there and back
            assert sorted((y[0], y[-1])) == pytest.approx(ends, rel=1e-9)


def test_every_view_says_which_level(trainer):
    """None names another one."""
    views = [
        *(ui.CoefficientFigure(), ui.CoefficientTable(), ui.StoriesFigure()),
        *(ui.WhatIfCard(trainer), ui.SurfaceFigure(trainer), ui.Leaderboard(trainer)),
    ]
    for view in views:
        for _ in range(2):
            view.update(trainer.snapshot)
        said = " ".join(text_of(w.value) for w in parts(view.widget) if hasattr(w, "placeholder"))
        assert "95%" not in said, view
        if not isinstance(view, ui.SurfaceFigure):  # which says "its interval"
            assert LEVEL in said, view


def test_the_command_says_it_too(path, capsys):
    """Above the intervals, and as a fact for programs."""
    assert main(["show", "--db", str(path)]) == 0
    assert f"{LEVEL} interval" in capsys.readouterr().out
    assert main(["show", "--db", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["level"] == LEVEL


@pytest.mark.parametrize("settings", [{}, {"alpha": 7, "g": 10**400}, {"alpha": "x", "g": True}])
def test_odd_settings_are_the_usual_ones(settings):
    """Whoever wrote them: a store says so, and does not fail of it."""
    assert fixed_level(settings) == (ALPHA_, G)


def test_the_report_says_it_too(path, tmp_path):
    """In the figure's words, above the table, and of the leads."""
    write_report(path, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for said in (
        f"Bands: {LEVEL} at one look",
        f"the {LEVEL} interval",
        f"with {LEVEL} at any time",
    ):
        assert said in page
    assert f"{LEVEL} at one look -" in page
    assert "95%" not in page
