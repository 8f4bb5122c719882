"""The past of a stream: its snapshot at a page that the store keeps, and what its models said then.

Where a `Snapshot` of the trainer comes from memory, one of the past comes from the file, read
beside whoever writes it. The models are copies of the trainer's, taken up from a checkpoint only
when somebody asks them something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from promo.batch import Batch
from promo.memory import Memory
from promo.models.results import Model, steerable
from promo.snapshot import Snapshot
from promo.store import Reader

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    page: int
    rows: int
    states: Mapping[str, str]


class _Gone(Exception):
    """The reader has turned to another page, or the rows are no longer there."""


class Past:
    """Turns to pages that the store keeps. One thread turns, any may ask.

    Parameters
    ----------
    path
        The store, written by others or by nobody.
    models
        Like those that learn into it, in their order; owned from now on.
    """

    def __init__(self, path: str | Path, models: Sequence[Model]) -> None:
        self._reader = Reader(Path(path).absolute())
        self._models, self._asked = models, deepcopy(models)
        self._coefficients = [c[:2] for model in models for c in model.coefficients()]
        self._metrics = [m[:2] for model in models for m in model.metrics()]
        self._answering = threading.Lock()
        self._moment: _Moment | None = None
        self._restored: _Moment | None = None

    @property
    def pages(self) -> list[int]:
        """The pages that can be turned to, ascending."""
        return self._reader.checkpoints

    def turn_to(self, page: int, live: Snapshot | None = None) -> Snapshot:
        """Return the snapshot of a run that stopped at a page; questions are of it from now on.

        Its history are those of the pages before it that are kept now. Memory and time do not
        depend on how many there are, apart from a look at each row and each line of the ledger.

        Parameters
        ----------
        page
            0-based; one of `pages`.
        live
            A newer snapshot of the same store, which saves the reading of the history.

        Raises
        ------
        StoreError
            The page is not kept.
        """
        reader = self._reader
        with reader.as_of(page):
            states = reader.states
            for model in self._models:  # what they owe, `relearn`, is not needed here
                model.restore(states)
            coefficients = {c[:2]: c for c in reader.coefficients()}
            metrics = {m[:2]: m for m in reader.metrics()}
            memory = Memory(
                reader,
                [coefficients[key] for key in self._coefficients],
                [metrics[key] for key in self._metrics],
                live.history if live else None,
            )
            self._moment = _Moment(page, memory.rows, states)
            size = reader.page_size
        return memory.snapshot(
            "stopped",
            f"as of page {page:,} (counted from 0)",
            page_size=size,
            total_rows=live.total_rows if live else None,
            learning_rates={n: m.learning_rate for n, m in steerable(self._models).items()},
        )

    def leave(self) -> None:
        """Turn to no page: what is being asked is given up."""
        self._moment = None

    def ask(self, question: Callable[[Sequence[Model]], _T]) -> Future[_T]:
        """Answer a question about the models as they were at the page turned to last.

        As `Trainer.ask`, but in a thread of its own: models that are shown their rows again take
        long. If another page is turned to meanwhile, the future is cancelled.
        """
        future: Future[_T] = Future()
        about = self._moment, question, future
        threading.Thread(target=self._answer, args=about, name="promo-past", daemon=True).start()
        return future

    def _answer(
        self, moment: _Moment | None, question: Callable[[Sequence[Model]], _T], future: Future[_T]
    ) -> None:
        with self._answering:
            try:
                self._restore(moment)
                if future.set_running_or_notify_cancel():
                    future.set_result(question(self._asked))
            except _Gone:
                future.cancel()
            except Exception as error:
                if not future.cancelled():  # else whoever asked has gone
                    future.set_exception(error)

    def _restore(self, moment: _Moment | None) -> None:
        if moment is None or moment is not self._moment:
            raise _Gone
        if moment is self._restored:
            return
        self._restored = None
        for model in self._asked:
            model.restore(moment.states)
            if hasattr(model, "relearn"):
                model.relearn(self._rows(moment))
        self._restored = moment

    def _rows(self, moment: _Moment) -> Iterator[Batch]:
        """Yield all rows up to a moment, as long as nobody turns to another."""
        with Reader(self._reader.path) as reader:
            try:
                for batch in reader.batches(until=moment.rows):
                    if moment is not self._moment:
                        raise _Gone
                    yield batch
            finally:
                if reader.rows < moment.rows:  # started over
                    raise _Gone

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self.leave()
        self._reader.close()
