"""A cluster of Dask to work on: joined by its address, or started on this machine.

Anyone who can reach a scheduler of Dask can run code, as whoever started it. One that is started
here listens on the loopback interface only, which is every user of this machine; one that is
joined is as safe as it was made: give it TLS, or keep it on a network that you trust.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import active_children, resource_tracker
from typing import Any, Self

import dask
from distributed import Client, LocalCluster, Security
from distributed.comm.addressing import get_address_host_port, parse_address

from promo.errors import ClusterError
from promo.scale.work import Done

_client: Any = Client  # Dask says few of its types
_local_cluster: Any = LocalCluster
_security: Any = Security
_CONNECT_S = 10.0
_CLOSE_S = 5.0
_START_S = 60.0  # for workers of ours
_TICK_S = 0.02
_GREETING = 2**20  # bytes: a scheduler's first message is some hundred
_HEARD_OF_S = 30.0  # a worker of ours that is silent for so long is started anew
_GIVEN_UP_S = 20.0  # after which Dask has dropped a worker that has not come back: at 15 s
_QUIETER = {  # what Dask does many times a second, of which nobody here has any use; and Python
    # before 3.11.9 and 3.12.3 may hang for ever when it is profiled so (CPython's gh-106883)
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "2s",
}
_DEATHS = 1000  # of workers over one task, until Dask gives it up


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker has done so far.

    Attributes
    ----------
    name
        As Dask has it; it stays when the worker is started anew.
    pages, pages_per_s
        Fetched and learned: all of them, and per second in the newest chunk.
    retries
        How often a page was asked for again.
    deaths
        How often it has gone, killed or sent away: Dask does not tell which.
    """

    name: str
    pages: int = 0
    pages_per_s: float = 0.0
    retries: int = 0
    deaths: int = 0


class Cluster:
    """Workers to share the pages of a stream among.

    Parameters
    ----------
    scheduler
        Address of a scheduler to join, as in ``tcp://host:8786``; without one, as many `workers`
        as given are started as processes of this machine, and end with this.
    workers
        Of our own.
    security
        TLS, as `distributed.Security` has it; as Dask is configured unless given.

    Raises
    ------
    ClusterError
        The scheduler cannot be reached, workers of our own do not start, or there are some of
        others that lack promo.
    """

    def __init__(
        self,
        scheduler: str | None = None,
        *,
        workers: int = 2,
        security: Security | None = None,
    ) -> None:
        self._own = None if scheduler else _started(workers, security)
        try:
            if scheduler:
                _check(scheduler, security)
            self.client = _client(
                scheduler or self._own,
                security=security,
                timeout=_CONNECT_S,
                set_as_default=False,
                direct_to_workers=self._own is not None,
            )
        except ValueError as error:
            raise ClusterError(f"cannot reach the scheduler {scheduler}: {error}") from error
        except OSError as error:
            raise ClusterError(
                f"cannot reach the scheduler {scheduler}: {str(error) or type(error).__name__}; is "
                "it running there?"
            ) from error
        self._address = self.client.scheduler.address
        self._facts: dict[str, WorkerFacts] = {}
        self._names: dict[str, str] = {}  # by address, also of those that are gone
        self._threads: dict[str, int] = {}  # by address, of those that there are now
        self.unfit: set[str] = set()  # addresses of workers that lack promo
        self._noting = threading.Lock()
        self._examining: set[asyncio.Future[None]] = set()  # kept, for nobody waits for them
        self._looking = asyncio.Lock()
        self._listen()
        self.client.sync(self._look)
        self._check_workers()

    def close(self) -> None:
        """Let go of the cluster; end it if it is our own. Idempotent."""
        if self.lives:
            with suppress(ValueError):  # closed before
                self.client.unsubscribe_topic("all")
        self.client.close(timeout=_CLOSE_S)
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        """Hear of all who come and go from now on; wait until the scheduler knows that we do."""
        heard, topic = threading.Event(), f"promo-{uuid.uuid4().hex}"
        self.client.subscribe_topic("all", self._hear)
        self.client.subscribe_topic(topic, lambda _: heard.set())  # which it learns after that
        give_up = time.monotonic() + _CONNECT_S
        while not heard.wait(_TICK_S) and time.monotonic() < give_up:
            self.client.log_event(topic, "")
        self.client.unsubscribe_topic(topic)

    def _check_workers(self) -> None:
        """Raise ClusterError if a worker could not do anything of ours."""
        asked = asyncio.run_coroutine_threadsafe(self._lack_promo(), self.client.loop.asyncio_loop)
        try:
            without = asked.result(_CONNECT_S)
        except TimeoutError:  # one of them hangs, and will be told from the others later
            return
        if without:
            self.close()
            raise ClusterError(f"promo is not installed where {', '.join(sorted(without))} works")

    async def _lack_promo(self, *addresses: str) -> set[str]:
        """Return those of the workers, all unless some are given, that could do nothing."""
        # A lambda goes over the wire by value, so that no promo is needed to look for one.
        lacks: dict[str, bool] = await self.client.run(
            lambda: __import__("importlib.util").util.find_spec("promo") is None,
            workers=list(addresses) or None,
            on_error="ignore",
        )
        return {address for address, lacking in lacks.items() if lacking}

    @property
    def lives(self) -> bool:
        """Whether there is a scheduler at the other end."""
        return bool(self.client.status == "running")

    def check(self) -> None:
        """Raise ClusterError if the scheduler is gone."""
        if not self.lives:
            raise ClusterError(
                f"the scheduler {self._address} is gone; with a new one it goes on from the last "
                "commit"
            )

    # -- who works --------------------------------------------------------------------------

    @property
    def workers(self) -> tuple[WorkerFacts, ...]:
        """Every worker that there is or was, by name."""
        return tuple(self._facts[name] for name in sorted(self._facts))

    @property
    def addresses(self) -> list[str]:
        """Where the workers are that there are now."""
        return [address for address in self._threads if address not in self.unfit]

    @property
    def threads(self) -> int:
        """How many chunks they can work on at once."""
        threads = self._threads
        return sum(threads[address] for address in threads.keys() - self.unfit)

    def note(self, done: Done) -> None:
        """Take note of what a worker has done."""
        pages = len(done.chunk.pages) if done.chunk else 0
        with self._noting:
            facts = self._facts.get(done.worker, WorkerFacts(done.worker))
            self._facts[done.worker] = WorkerFacts(
                done.worker,
                facts.pages + pages,
                pages / done.seconds,
                facts.retries + done.retries,
                facts.deaths,
            )

    def _see(self, identity: Any) -> None:
        workers = identity["workers"]
        self._names |= {address: str(each["name"]) for address, each in workers.items()}
        self._threads = {address: each["nthreads"] for address, each in workers.items()}
        for name in self._names.values():
            self._facts.setdefault(name, WorkerFacts(name))

    async def _look(self) -> None:
        async with self._looking:  # or an older answer might come last
            self._see(await self.client.scheduler.identity(n_workers=-1))

    async def _hear(self, event: tuple[float, Any]) -> None:
        """Hear from the scheduler that a worker has come or gone."""
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action == "remove-worker" and not message["expected"]:
            with self._noting:
                facts = self._facts.get(self._names.get(message["worker"], ""))
                if facts is not None:
                    died = replace(facts, pages_per_s=0.0, deaths=facts.deaths + 1)
                    self._facts[facts.name] = died
        if action == "remove-worker" and self._own is not None:
            asyncio.get_running_loop().call_later(_GIVEN_UP_S, self._replace)
        if action in ("add-worker", "remove-worker"):
            await self._look()
        if action == "add-worker":  # which may hang; other news must not wait for it
            task = asyncio.ensure_future(self._examine(message["worker"]))
            self._examining.add(task)
            task.add_done_callback(self._examining.discard)

    async def _examine(self, address: str) -> None:
        """Pass a worker over if it lacks promo."""
        with suppress(OSError):  # gone again
            self.unfit = self.unfit | await self._lack_promo(address)

    def _replace(self) -> None:
        """Start workers that Dask has given up because they were slow to come back."""
        if self._own is not None:
            self._own.scale(len(self._own.worker_spec))


def _check(address: str, security: Security | None) -> None:
    """Raise OSError or ValueError unless a scheduler answers, as far as it shows without TLS.

    It is the first to speak, and begins with the length of what it says. Dask takes the first
    bytes of whatever answers for such a length, and asks for that much memory.
    """
    where, scheme = get_address_host_port(address), parse_address(address)[0]
    if scheme == "tls" and not _speaks_tls(security):
        raise ValueError("TLS is not set up here (distributed.comm.tls in Dask's configuration)")
    if scheme != "tcp":
        return
    with socket.create_connection(where, _CONNECT_S) as line:
        try:
            length = line.recv(8, socket.MSG_WAITALL)
        except TimeoutError:
            length = b""
    if len(length) < 8 or int.from_bytes(length, "little") > _GREETING:
        raise OSError("what answers there is no scheduler of Dask, or speaks TLS only (tls://)")


def _speaks_tls(security: Any) -> bool:
    settings = (security or _security()).get_connection_args("client")
    return settings.get("ssl_context") is not None


def _started(workers: int, security: Security | None) -> Any:
    scheduler = {
        "allowed_failures": _DEATHS,
        "worker_ttl": _HEARD_OF_S,
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",  # else health is on every interface
    }
    try:
        with _deaf_to_interrupts(), _in_time(), dask.config.set(_QUIETER):
            return _local_cluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                security=security,
                silence_logs=logging.CRITICAL,
                config=_QUIETER,  # also of workers that are started later
                scheduler_kwargs=scheduler,
            )
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"workers of our own do not start: {error}; try again") from error


@contextmanager
def _in_time() -> Iterator[None]:
    """Kill the workers that are being started if one of them hangs, for Dask would wait for ever.

    Raises RuntimeError then.
    """
    before, given_up = {*active_children()}, threading.Event()

    def give_up() -> None:
        given_up.set()
        for worker in {*active_children()} - before:
            worker.kill()

    limit = threading.Timer(_START_S, give_up)
    limit.start()
    try:
        yield
    except (OSError, RuntimeError) as error:
        if given_up.is_set():
            raise RuntimeError(f"one hung for {_START_S:.0f} s") from error
        raise
    finally:
        limit.cancel()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start what must not end by Ctrl-C of its own: a terminal sends that to workers as well.

    The mask of signals is inherited by the threads started here, so by the processes which they
    start, now and in place of those that die. One sent to us meanwhile comes at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    resource_tracker.ensure_running()  # which undoes the mask in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
