"""A service whose answers go wrong by a plan (`promo.faults`), down to the socket.

`Faulty` stands in front of the application of `promo.api`, at the far end of the line from page
to figure, so that tests and notebooks can see an outage and the recovery.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from promo.faults import Plan

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PAGE = re.compile(rb"(?:^|&)page=(\d{1,18})(?:&|$)")
_DRIP_S = 0.1


class Faulty:
    """An ASGI application whose answers with pages go wrong by a plan.

    Parameters
    ----------
    app, path
        The application in good order, and the path of its pages. What it refuses, and what it
        answers elsewhere, goes through as it is.
    plan
        May be replaced while it serves; requests are counted from the first on.
    """

    def __init__(self, app: ASGIApp, path: str, plan: Plan) -> None:
        self._app, self._path, self.plan = app, path, plan
        self.asked: Counter[int] = Counter()  # requests by page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        head, *rest = await self._good_answer(scope, receive)
        page = _PAGE.search(scope["query_string"])
        fault = self._next_fault(int(page[1])) if page and head["status"] == 200 else None
        if fault is None:
            for message in (head, *rest):
                await send(message)
            return
        body = b"".join(message.get("body", b"") for message in rest)
        if fault in _ON_THE_WIRE:
            await _break(fault, body, receive, send)
        else:
            await _answer(fault, head, body, send)

    async def _good_answer(self, scope: Scope, receive: Receive) -> list[Message]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        return messages

    def _next_fault(self, page: int) -> str | None:
        self.asked[page] += 1
        return self.plan.fault(page, self.asked[page] - 1)


_Rows = list[dict[str, Any]]
_EDITS: dict[str, Callable[[_Rows], _Rows]] = {
    "empty": lambda rows: [],
    "duplicate": lambda rows: rows + rows[:1],
    "reordered": lambda rows: rows[::-1],
    "changed": lambda rows: [{**r, "competence": r["competence"] + 1} for r in rows[:1]] + rows[1:],
}
_HTML = b"<h1>Out of order</h1>"


async def _answer(fault: str, head: Message, body: bytes, send: Send) -> None:
    """Send a whole answer that HTTP finds nothing wrong with."""
    status, headers = 200, {**dict(head["headers"])}
    if fault in _EDITS:
        body = msgspec.json.encode(_EDITS[fault](msgspec.json.decode(body)))
    elif fault == "invalid":
        body = body[:-1]
    else:
        status, body = (200 if fault == "html" else int(fault)), _HTML
        headers = {b"content-type": b"text/html"}
        if status == 429:
            headers[b"retry-after"] = b"1"
    headers[b"content-length"] = b"%d" % len(body)
    await send({"type": "http.response.start", "status": status, "headers": [*headers.items()]})
    await send({"type": "http.response.body", "body": body})


_ON_THE_WIRE = {"hang", "drip", "truncated", "length", "reset"}


async def _break(fault: str, body: bytes, receive: Receive, send: Send) -> None:
    """Do to the connection what no ASGI message can say, and wait until it is gone."""
    # uvicorn's own: `send` is a method of the exchange, which holds the connection.
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    try:
        await _send_broken(fault, body, transport, asyncio.ensure_future(_disconnected(receive)))
    except asyncio.CancelledError:  # the server is being stopped, which cancels twice
        transport.abort()
        with suppress(asyncio.CancelledError):
            await _disconnected(receive)


async def _send_broken(
    fault: str, body: bytes, transport: asyncio.Transport, gone: asyncio.Future[None]
) -> None:
    declared = len(body) + {"truncated": 1, "length": -1}.get(fault, 0)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    if fault == "reset":
        linger = struct.pack("ii", 1, 0)  # so that closing it sends a reset
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    elif fault == "drip":
        for byte in head % declared + body:
            transport.write(bytes([byte]))
            if (await asyncio.wait({gone}, timeout=_DRIP_S))[0]:
                break
    elif fault != "hang":
        transport.write(head % declared + body[: declared // 2 if fault == "truncated" else None])
        transport.close()
    await gone


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
