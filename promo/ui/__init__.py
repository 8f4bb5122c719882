"""What the reader sees and touches: the only place that knows widgets.

Last stop on the line: `Controls` send commands to a trainer, and a `Publisher` shows its newest
snapshot in the views of a page.
"""

from promo.ui.beside import StillRun
from promo.ui.board import Board
from promo.ui.choice import ExpertChoice
from promo.ui.choose import Choose
from promo.ui.coefficients import CoefficientFigure
from promo.ui.controls import Controls, Watching
from promo.ui.dashboard import Dashboard
from promo.ui.diagram import causal_diagram
from promo.ui.editor import StoryEditor
from promo.ui.eventlog import EventLog
from promo.ui.exports import Exports
from promo.ui.figures import LossFigure, SampleFigure
from promo.ui.fork import Fork
from promo.ui.lessons import PeekingFigure, SelectionFigure
from promo.ui.prediction import CalibrationFigure, ExpertsFigure, Leaderboard, WeightsFigure
from promo.ui.publisher import Publisher, close_all, close_views
from promo.ui.quality import DataQuality
from promo.ui.race import BestRateFigure, PathsFigure, RaceFigure, RaceSwitch
from promo.ui.sandbox import DoFigure, WorldFigure
from promo.ui.stories import StoriesFigure
from promo.ui.surface import SurfaceFigure
from promo.ui.switch import ColliderSwitch
from promo.ui.table import CoefficientTable
from promo.ui.timetravel import TimeTravel
from promo.ui.timing import Timing
from promo.ui.whatif import WhatIfCard
from promo.ui.workers import WorkersTable

__all__ = [
    "BestRateFigure",
    "Board",
    "CalibrationFigure",
    "Choose",
    "CoefficientFigure",
    "CoefficientTable",
    "ColliderSwitch",
    "Controls",
    "Dashboard",
    "DataQuality",
    "DoFigure",
    "EventLog",
    "ExpertChoice",
    "ExpertsFigure",
    "Exports",
    "Fork",
    "Leaderboard",
    "LossFigure",
    "PathsFigure",
    "PeekingFigure",
    "Publisher",
    "RaceFigure",
    "RaceSwitch",
    "SampleFigure",
    "SelectionFigure",
    "StillRun",
    "StoriesFigure",
    "StoryEditor",
    "SurfaceFigure",
    "TimeTravel",
    "Timing",
    "Watching",
    "WeightsFigure",
    "WhatIfCard",
    "WorkersTable",
    "WorldFigure",
    "causal_diagram",
    "close_all",
    "close_views",
]
