"""Change: when an expert has begun to predict worse than it did, by ADWIN on its log losses."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from struct import Struct
from typing import Any

import msgspec

from promo.batch import Batch
from promo.models.board import Board
from promo.models.results import Coefficient, Event, Metric, ModelState
from promo.models.scores import Count

_CLOCK = 32  # losses from one look for a change to the next, as river has it
_LARGEST = 1e18
# What river writes: settings, sums, counts and the number of levels; the levels; settings.
_HEAD, _LEVEL, _TAIL = Struct("<36s4d2i2Q"), Struct("<3Q6dQ6d"), 28
_FIXED, _LEVELS = 36, 50


class _Detector(msgspec.Struct, forbid_unknown_fields=True):
    helper: str  # what river writes of its own, in Base64
    detected: bool  # by the last loss, so that it begins anew with the next
    drifts: Count


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    rows: Count
    detectors: dict[str, _Detector]


class Drift:
    """Watches the log loss of every expert of a board, row by row.

    ADWIN keeps as many of the newest losses as could have one mean, and drops the older ones when
    they could not. If the newer mean is the higher one, that is drift, and an event; if it is the
    lower one, the expert has learned.

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
        self._watched: dict[str, Any] = {name: _detector() for name in board.racing}
        self._drifts = dict.fromkeys(self._watched, 0)
        self._events: list[Event] = []

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
        """Return what river's detectors write of themselves."""
        detectors = {
            name: _Detector(_written(detector), detector.drift_detected, self._drifts[name])
            for name, detector in self._watched.items()
        }
        state = msgspec.json.encode(_State(1, self._rows, detectors)).decode()
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


def _written(detector: Any) -> str:
    return b64encode(detector._helper.__getstate__()).decode()


def _taken_up(state: _Detector) -> Any:
    """Return the detector that was written; ValueError if it is none.

    River takes any bytes, but panics, now or later, at those that are not its own: so all that it
    counts by is looked at here. A level holds up to six sums, of 2^level losses each.
    """
    detector = _detector()
    fresh, written = detector._helper.__getstate__(), b64decode(state.helper, validate=True)
    count, rest = divmod(len(written) - _HEAD.size - _TAIL, _LEVEL.size)
    same = written[:_FIXED] == fresh[:_FIXED] and written[-_TAIL:] == fresh[-_TAIL:]
    if rest or not 1 <= count <= _LEVELS or not same:
        raise ValueError(f"no detector: {state.helper[:40]}")
    _, *sums, tick, rows, drifts, levels = _HEAD.unpack_from(written)
    each = [_LEVEL.unpack_from(written, _HEAD.size + at * _LEVEL.size) for at in range(count)]
    width = sum(level[1] << at for at, level in enumerate(each))
    sound = (
        levels == count
        and min(tick, rows, drifts) >= 0
        and all(level[0] == 5 and level[1] <= 6 and level[2] == level[9] == 6 for level in each)
        and sums[2] == width
        and all(0 <= value <= _LARGEST for level in (sums, *each) for value in level)
    )
    if not sound:
        raise ValueError(f"no detector of {width:,} losses: {state.helper[:40]}")
    detector._helper.__setstate__(written)
    detector._drift_detected = state.detected
    return detector
