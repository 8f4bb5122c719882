"""What the reader sees and touches: the only place that knows widgets.

Last stop on the line: `Controls` send commands to a trainer, and a `Publisher` shows its newest
snapshot in the views of a page.
"""

from promo.ui.board import Board
from promo.ui.coefficients import CoefficientFigure
from promo.ui.controls import Controls
from promo.ui.diagram import causal_diagram
from promo.ui.editor import StoryEditor
from promo.ui.figures import LossFigure, SampleFigure
from promo.ui.lessons import PeekingFigure, SelectionFigure
from promo.ui.prediction import (
    CalibrationFigure,
    ExpertsFigure,
    Leaderboard,
    SurfaceFigure,
    WeightsFigure,
    WhatIfCard,
)
from promo.ui.publisher import Publisher, close_all, close_views
from promo.ui.race import BestRateFigure, PathsFigure, RaceFigure, RaceSwitch
from promo.ui.sandbox import DoFigure, WorldFigure
from promo.ui.stories import StoriesFigure
from promo.ui.switch import ColliderSwitch
from promo.ui.table import CoefficientTable
from promo.ui.workers import WorkersTable

__all__ = [
    "BestRateFigure",
    "Board",
    "CalibrationFigure",
    "CoefficientFigure",
    "CoefficientTable",
    "ColliderSwitch",
    "Controls",
    "DoFigure",
    "ExpertsFigure",
    "Leaderboard",
    "LossFigure",
    "PathsFigure",
    "PeekingFigure",
    "Publisher",
    "RaceFigure",
    "RaceSwitch",
    "SampleFigure",
    "SelectionFigure",
    "StoriesFigure",
    "StoryEditor",
    "SurfaceFigure",
    "WeightsFigure",
    "WhatIfCard",
    "WorkersTable",
    "WorldFigure",
    "causal_diagram",
    "close_all",
    "close_views",
]
