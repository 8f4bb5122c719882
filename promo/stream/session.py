"""HTTP sessions that keep out what nobody asked for: settings of the machine, endless answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from promo import __version__
from promo.address import Login

_CHUNK_BYTES = 65_536


class AnswerTooLong(requests.RequestException):
    """An answer that is longer than anything that could be of use."""


def open_session(
    max_bytes: int, login: Login | None, use: Callable[[Any], None]
) -> requests.Session:
    """Return a session whose answers hold at most `max_bytes`, unpacked.

    A longer answer raises AnswerTooLong; of a longer error, only the status is kept. `use` is
    called with urllib3's connection, which has its socket as `sock`, before anything is sent on it.
    """
    session = requests.Session()
    session.trust_env = False
    session.auth = login  # type: ignore[assignment]  # as bytes, which requests takes: UTF-8
    session.headers.update({"Accept": "application/json", "User-Agent": f"promo/{__version__}"})
    session.hooks["response"] = [_reading_at_most(max_bytes)]  # also for redirections on the way
    adapter = HTTPAdapter()
    pools = adapter.poolmanager.pool_classes_by_scheme
    adapter.poolmanager.pool_classes_by_scheme = {
        scheme: _watched(pool, use) for scheme, pool in pools.items()
    }
    for prefix in ("http://", "https://"):  # wherever a redirection leads
        session.mount(prefix, adapter)
    return session


def _watched(pool: Any, use: Callable[[Any], None]) -> Any:
    class Connection(pool.ConnectionCls):  # type: ignore[misc]  # its base is known at run time
        def connect(self) -> None:
            super().connect()
            use(self)

        def request(self, *arguments: Any, **options: Any) -> None:
            if self.sock is not None:  # connected before; a redirection may lead elsewhere
                use(self)
            super().request(*arguments, **options)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})


def shut(line: socket.socket | None) -> None:
    """End what goes on over a socket, for whichever thread waits for it."""
    if line is not None:
        with suppress(OSError):  # closed already
            line.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_after(seconds: float, cut: Callable[[], None]) -> Iterator[None]:
    """Call `cut` once so many seconds have passed in here: a time limit of reading is per byte."""
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _reading_at_most(max_bytes: int) -> Callable[..., None]:
    def read(answer: requests.Response, **_: Any) -> None:
        chunks, length = [], 0
        for chunk in answer.iter_content(_CHUNK_BYTES):
            chunks.append(chunk)
            length += len(chunk)
            if length > max_bytes:
                answer.close()
                if answer.status_code == HTTPStatus.OK:
                    raise AnswerTooLong(f"an answer of more than {max_bytes:,} bytes")
                chunks.clear()
                break
        answer._content = b"".join(chunks)  # requests reads no more if this is set

    return read
