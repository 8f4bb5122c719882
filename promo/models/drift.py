"""Change: when an expert has begun to predict worse than it did, by ADWIN on its log losses."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from struct import Struct
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from promo.batch import Batch
from promo.models.board import Board
from promo.models.results import Coefficient, Event, Metric, ModelState, as_json
from promo.models.scores import Count

_CLOCK = 32  # losses from one look for a change to the next, as river has it
# What river writes of itself: settings, sums and counts, the number of levels; the levels, each
# with six places for buckets, of which the first few are used; settings.
_HEAD, _TAIL, _PLACES = Struct("<36s4d2i2Q"), 28, 6
_LEVEL = np.dtype(
    [("most", "<u8"), ("used", "<u8"), ("totals", "<u8"), ("total", "<f8", _PLACES),
     ("variances", "<u8"), ("variance", "<f8", _PLACES)]
)  # fmt: skip
_EMPTY = np.array([(5, 0, _PLACES, np.zeros(_PLACES), _PLACES, np.zeros(_PLACES))], _LEVEL)

_LARGEST = 1e18
_Sum = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)]
_Int = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Used = Annotated[int, msgspec.Meta(ge=0, le=_PLACES)]


class _Detector(msgspec.Struct, forbid_unknown_fields=True):
    sums: tuple[_Sum, _Sum, _Sum, _Sum]  # the third is how many losses the window has
    counts: tuple[_Int, _Int, Count]
    used: Annotated[list[_Used], msgspec.Meta(min_length=1, max_length=50)]  # buckets, by level
    buckets: str  # their totals, then their variances: float64 in Base64
    detected: bool  # by the last loss, so that it begins anew with the next
    drifts: Count


_NEW = _Detector((0.0,) * 4, (0, 0, 0), [0], "", detected=False, drifts=0)  # as river writes one


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    rows: Count
    detectors: dict[str, _Detector]


class Drift:
    """Watches the log loss of every expert of a board, row by row.

    ADWIN keeps as many of the newest losses as could have one mean, and drops the older ones when
    they could not. If the newer mean is the higher one, that is drift, and an event; if it is the
    lower one, the expert has learned.

    Before the first page river, which takes a second to import, is not needed.

    Parameters
    ----------
    board
        Learns every page before this does.

    References
    ----------
    Bifet, Gavaldà (2007). Learning from time-changing data with adaptive windowing. SIAM
    International Conference on Data Mining, 443-448.
    """

    name = "drift"

    def __init__(self, board: Board) -> None:
        self._board, self._rows = board, 0
        self._watched: dict[str, Any] = dict.fromkeys(board.racing)  # None before the first loss
        self._drifts = dict.fromkeys(self._watched, 0)
        self._events: list[Event] = []

    def prepare(self) -> None:
        """Import river."""
        _detector()

    def learn(self, batch: Batch) -> None:
        """Take in the losses of this page, in order."""
        self._events = []
        names = [*self._watched]
        for name, losses in zip(names, self._board.losses[: len(names)].tolist(), strict=True):
            for at in range(0, len(losses), _CLOCK):
                self._watch(name, losses[at : at + _CLOCK])
        self._rows += len(batch.ids)

    def _watch(self, name: str, losses: list[float]) -> None:
        """Take in as many losses as may hold one alarm at most."""
        if self._watched[name] is None:
            self._watched[name] = _detector()
        detector = self._watched[name]
        before, known = detector.estimation, detector.width > 0
        for loss in losses:
            detector.update(loss)
            if detector.drift_detected and known and (after := detector.estimation) > before:
                self._drifts[name] += 1
                self._events.append(Event("drift", {"model": name, "from": before, "to": after}))

    def events(self) -> list[Event]:
        """Return which experts were found out on the page learned last: mean loss before, after."""
        return self._events

    def coefficients(self) -> list[Coefficient]:
        """Return none."""
        return []

    def metrics(self) -> list[Metric]:
        """Return how often each expert has got worse."""
        return [Metric(name, "drifts", float(drifts)) for name, drifts in self._drifts.items()]

    def states(self) -> list[ModelState]:
        """Return the windows of river's detectors."""
        detectors = {
            name: _written(detector, self._drifts[name]) for name, detector in self._watched.items()
        }
        state = as_json(_State(1, self._rows, detectors))
        return [ModelState(self.name, self._rows, state)]

    def restore(self, states: Mapping[str, str]) -> None:
        """Take over a state as `states` gave it; ValueError if it is none."""
        state = msgspec.json.decode(states[self.name], type=_State)
        if state.version != 1 or [*state.detectors] != [*self._watched]:
            raise ValueError(
                f"no drift of {[*self._watched]}, version 1: {states[self.name][:200]}"
            )
        self._watched = {name: _taken_up(each) for name, each in state.detectors.items()}
        self._drifts = {name: each.drifts for name, each in state.detectors.items()}
        self._rows, self._events = state.rows, []


def _detector() -> Any:  # river's types are incomplete
    from river import drift

    return drift.ADWIN(clock=_CLOCK)  # type: ignore[no-untyped-call]


def _written(detector: Any | None, drifts: int) -> _Detector:
    if detector is None:
        return _NEW
    written = detector._helper.__getstate__()
    _, a, b, c, d, i, j, k, _ = _HEAD.unpack_from(written)
    levels = np.frombuffer(written[_HEAD.size : -_TAIL], _LEVEL)
    used = _places(levels["used"])
    buckets = np.array([levels["total"][used], levels["variance"][used]])
    return _Detector(
        sums=(a, b, c, d),
        counts=(i, j, k),
        used=levels["used"].tolist(),
        buckets=b64encode(buckets.tobytes()).decode(),
        detected=detector.drift_detected,
        drifts=drifts,
    )


def _taken_up(state: _Detector) -> Any | None:
    """Return the detector that was written, None before its first loss; ValueError if it is none.

    River takes any bytes, but panics, now or later, at those that are not its own: so all that it
    counts by is looked at here. A bucket of level L is the sum of 2^L losses.
    """
    if state == _NEW:
        return None
    detector, used = _detector(), _places(np.array(state.used))
    buckets = np.frombuffer(b64decode(state.buckets, validate=True), "<f8").reshape(2, used.sum())
    width = sum(count << level for level, count in enumerate(state.used))
    sound = state.sums[2] == width and (state.used[-1] or len(used) == 1)
    if not sound or not ((buckets >= 0) & (buckets <= _LARGEST)).all():
        raise ValueError(f"no detector of {width:,} losses: {state.buckets[:40]}")
    levels = np.repeat(_EMPTY, len(used))
    levels["used"], levels["total"][used], levels["variance"][used] = state.used, *buckets
    fresh = detector._helper.__getstate__()
    head = _HEAD.pack(fresh[:36], *state.sums, *state.counts, len(used))
    detector._helper.__setstate__(head + levels.tobytes() + fresh[-_TAIL:])
    detector._drift_detected = state.detected
    return detector


def _places(used: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which places of each level hold a bucket, shape (levels, 6)."""
    places: NDArray[np.bool_] = np.arange(_PLACES) < used[:, None]
    return places
