"""The same line on many machines: chunks of pages learned by workers, added up by a driver.

Beside the line from page to figure, and into the same store. What merges (`chunk.py`) is pure;
`line.py` adds it up; the rest brings it from workers of Dask, which may die at any time.
"""

from promo.scale.cluster import Cluster, WorkerFacts
from promo.scale.trainer import WAITING, ScaledTrainer

__all__ = ["WAITING", "Cluster", "ScaledTrainer", "WorkerFacts"]
