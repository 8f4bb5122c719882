"""The batch generator: pages of employees from any server that keeps the contract.

First stop on the line from the API's page to the figure. `PageStream` names the source; each of
its readers (`promo.reader`) puts in order what a few wires fetch ahead. A wire is one keep-alive
HTTP session with retries around the whole of get + read + decode. Nothing here learns or stores.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from promo.address import split_login
from promo.batch import Batch
from promo.errors import StreamError
from promo.pace import Hold
from promo.reader import PageReader
from promo.stream.session import cut_after, open_session, shut
from promo.stream.wire import (
    CONTRACT_PAGE_SIZE,
    DATA_PATH,
    HTTPWire,
    is_passing,
    reason_of,
)

__all__ = ["CONTRACT_PAGE_SIZE", "PageStream"]

_MAX_OPENAPI_BYTES = 10_000_000
_MOST_S = 1e6  # of a time limit


class PageStream:
    """Pages of employees, in page order, from the API at `base_url`.

    Iterating yields one `Batch` per page that brings rows, with at most `window` pages in flight
    or waiting. Answers that may get better (5xx, 429, broken or mistyped bodies, timeouts, lost
    connections) are asked for again with jittered exponential backoff; any other 4xx is raised
    at once.

    Parameters
    ----------
    base_url
        Root of the service, as in ``http://127.0.0.1:5000``. A login in it, ``user:password@``,
        is sent to the service and told nobody else, save workers that are to ask it.
    start_page, start_position
        Where iteration begins: 0-based page, and how many of its rows to pass over. A trainer
        begins a new store with a whole page only, and goes on with an old one where that ends.
    size
        Rows per page to ask for. Used where the server's OpenAPI offers `size`; elsewhere the
        contract's 10 stay in force (see `page_size`).
    window
        Pages in flight or waiting, at least 1.
    timeout
        Seconds that one attempt may take, from connect to the last byte; above 0.
    deadline
        Seconds that one page may take in all, waiting included; above 0.
    follow
        Poll for new rows after the end instead of stopping.
    source
        Stable name of the data, remembered by the store; the base URL unless given.

    Attributes
    ----------
    total_rows
        Rows that the server says it has, once it has said so (header ``X-Total-Count``).
    hold
        Until when no page is asked for, as the server has said so of one (``Retry-After``).

    Raises
    ------
    StreamError
        A parameter is out of range.
    """

    def __init__(
        self,
        base_url: str,
        *,
        start_page: int = 0,
        start_position: int = 0,
        size: int | None = None,
        window: int = 8,
        timeout: float = 10.0,
        deadline: float = 120.0,
        follow: bool = False,
        source: str | None = None,
    ) -> None:
        url, self.login = split_login(base_url)
        normal = _normal(url)
        if normal is None or "@" in normal:  # the rest of a password with a slash in it
            told = "that" if "@" in url else repr(url)
            raise StreamError(f"{told} is not the address of an API: give http://host:port")
        if min(start_page, start_position) < 0 or window < 1 or (size is not None and size < 1):
            raise StreamError(
                f"start_page={start_page}, start_position={start_position}, window={window}, "
                f"size={size}: pages and positions count from 0, window and size from 1"
            )
        if not (0 < timeout <= _MOST_S and 0 < deadline <= _MOST_S):
            told = f"timeout={timeout}, deadline={deadline}"
            raise StreamError(f"{told}: expected seconds, above 0 and up to {_MOST_S:g}")
        self.base_url = normal
        self.source = source or self.base_url
        self.start_page, self.start_position = start_page, start_position
        self.size, self.window, self.follow = size, window, follow
        self.timeout, self.deadline = timeout, deadline
        self.total_rows: int | None = None
        self.hold = Hold()
        self._page_size = CONTRACT_PAGE_SIZE if size is None else 0  # 0: not asked yet

    @property
    def page_size(self) -> int:
        """Rows of a full page. Asks the server's OpenAPI once if a `size` was wished for.

        Raises
        ------
        StreamError
            The server cannot be reached, or offers `size` but not that much of it.
        """
        if not self._page_size:
            self._page_size = self._negotiate()
        return self._page_size

    def check(self) -> None:
        """Raise StreamError unless something listens at the address and serves pages from there.

        What may pass, as an answer of 503 or none in time, is no reason to.
        """
        parts = urlsplit(self.base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), self.timeout).close()
        except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
            raise StreamError(
                f"cannot reach {self.base_url}: {reason_of(error)}; is the API running there?"
            ) from error
        with closing(HTTPWire(self, threading.Event())) as wire:
            wire.try_once(self.start_page)

    def read(
        self,
        page: int | None = None,
        position: int = 0,
        *,
        window: int | None = None,
        end: int | None = None,
    ) -> PageReader:
        """Start fetching at a page, passing over its first `position` rows.

        `window` is the stream's unless given; no page from `end` on is asked for. The
        reader must be closed, by hand or as a context manager.
        """
        if page is None:
            page, position = self.start_page, self.start_position
        halt = threading.Event()
        return PageReader(
            [HTTPWire(self, halt) for _ in range(window or self.window)],
            halt,
            page=page,
            position=position,
            page_size=self.page_size,
            follow=self.follow,
            end=end,
        )

    def __iter__(self) -> Iterator[Batch]:
        with self.read() as reader:
            yield from reader

    def _negotiate(self) -> int:
        assert self.size is not None
        line = _Line()
        try:
            with (
                open_session(_MAX_OPENAPI_BYTES, self.login, line.use) as session,
                cut_after(self.timeout, line.cut),
            ):
                answer = session.get(f"{self.base_url}/openapi.json", timeout=self.timeout)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            late = line.is_cut or isinstance(error, requests.Timeout)
            reason = f"no answer in {self.timeout:.3g} s" if late else reason_of(error)
            raise StreamError(
                f"cannot reach {self.base_url}: {reason}; is the API running there?"
            ) from error
        if is_passing(answer.status_code):  # it may offer size when it is well
            raise StreamError(f"{answer.url} answered {answer.status_code}; try again later")
        try:
            parameters = answer.json()["paths"][DATA_PATH]["get"]["parameters"]
            offered = next(p["schema"] for p in parameters if p["name"] == "size")
            most = offered.get("maximum", self.size)
            fits = self.size <= most
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
            return CONTRACT_PAGE_SIZE
        if not fits:
            raise StreamError(f"size={self.size}: {self.base_url} offers 1 to {most} rows a page")
        return self.size


class _Line:
    """The connection in use, to be cut from another thread, now or as soon as there is one."""

    _socket: socket.socket | None = None
    is_cut = False

    def use(self, connection: Any) -> None:
        self._socket = connection.sock
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        self.is_cut = True
        shut(self._socket)


def _normal(url: str) -> str | None:
    """Return a service's address as requests writes it, without a slash at the end."""
    try:
        prepared = requests.Request("GET", url).prepare().url or ""
    except ValueError:  # whatever requests finds wrong with it
        return None
    return prepared.rstrip("/") if prepared.startswith(("http://", "https://")) else None
