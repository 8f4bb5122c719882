"""One exchange over an open connection, in the caller's thread and without ever waiting.

The way of nearly every page. `requests` opens the connection and does whatever is out of the
ordinary; once that is done, asking for a page is one `send` and one `recv`, and what the server
sends ahead of its reader waits in the kernel, at no cost to anybody.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

_CHUNK_BYTES = 65_536
_HEAD_BYTES = 65_536  # an answer's head is no longer


class Answer(NamedTuple):
    """A whole answer; its headers by name in lower case."""

    url: str
    status_code: int
    reason: str
    headers: dict[str, str]
    content: bytes


class Broken(Exception):
    """The exchange came to nothing: the text says why, where somebody is to blame."""


class Odd(Broken):
    """An answer that is not seen to here, as the next ones of this server will not be."""


class DirectExchange:
    """Asks over a connected socket and puts the answer together from what has arrived.

    Parameters
    ----------
    connection
        Idle: nothing is under way on it.
    url, headers
        Of the request; the page's number will be put behind the URL.
    max_bytes
        Of a body.

    Attributes
    ----------
    keeps_alive
        After an answer: whether the connection can be used again.
    """

    keeps_alive = True

    def __init__(
        self,
        connection: socket.socket,
        url: str,
        headers: Mapping[str, str],
        max_bytes: int,
    ) -> None:
        self._connection, self._max_bytes = connection, _HEAD_BYTES + max_bytes
        parts = urlsplit(url)
        lines = {"Host": parts.netloc, **headers, "Accept-Encoding": "identity"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._url, self._start = url, f"GET {parts.path}?{parts.query}"
        self._rest = f" HTTP/1.1\r\n{head}\r\n"

    def ask(self, page: int) -> None:
        """Send the request for a page.

        Raises
        ------
        Broken
            The connection is closed, or brought something that nobody had asked for.
        """
        self._page, self._received, self._status = page, 0, b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._begun = self._whole = 0  # answers
        self._parser = httptools.HttpResponseParser(self)
        request = f"{self._start}{page}{self._rest}".encode("latin-1")
        try:
            if self._connection.gettimeout() != 0:  # as requests leaves it
                self._connection.setblocking(False)
            if not self._is_idle() or self._connection.send(request) < len(request):
                raise Broken
        except OSError as error:
            raise Broken from error

    def _is_idle(self) -> bool:
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def receive(self) -> Answer | None:
        """Return the answer, or None as long as it is not whole.

        Raises
        ------
        Broken
            The connection was closed, or what came is no answer, or too long.
        Odd
            The answer is for requests: packed, a redirection, or without a length.
        """
        while not self._whole:
            try:
                chunk = self._connection.recv(_CHUNK_BYTES)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                raise Broken(str(error.strerror) if self._received else "") from error
            if not chunk:  # before the first byte: the server had closed an idle connection
                if (
                    self._body
                    and not {"content-length", "transfer-encoding"} & self._headers.keys()
                ):
                    raise Odd
                raise Broken("closed within an answer" if self._received else "")
            self._received += len(chunk)
            try:
                self._parser.feed_data(chunk)
            except httptools.HttpParserError as error:
                if self._whole:
                    raise Broken("more came than the answer said it would") from error
                raise Broken(f"no HTTP: {error}; it began with {chunk[:20]!r}") from error
            if self._received > self._max_bytes:
                raise Broken
        status = self._parser.get_status_code()
        if self._begun > 1:
            raise Broken
        packed = self._headers.get("content-encoding", "identity") != "identity"
        if packed or status < HTTPStatus.OK or "location" in self._headers:
            raise Odd
        reason = self._status.decode("latin-1")
        body = b"".join(self._body)
        return Answer(f"{self._url}{self._page}", status, reason, self._headers, body)

    # -- what the parser calls --------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Count answers: there should be one."""
        self._begun += 1

    def on_status(self, reason: bytes) -> None:
        """Collect the words behind the status."""
        self._status += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of several with one name the last counts, of trailers none."""
        if not self._body:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Take note that this was all, and whether the connection can be used after it."""
        self._whole += 1
        self.keeps_alive = bool(self._parser.should_keep_alive())
