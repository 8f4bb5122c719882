"""HTTP sessions that keep out what nobody asked for: settings of the machine, endless answers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import requests

from promo import __version__
from promo.address import Login

_CHUNK_BYTES = 65_536


class AnswerTooLong(requests.RequestException):
    """An answer that is longer than anything that could be of use."""


def open_session(max_bytes: int, login: Login | None) -> requests.Session:
    """Return a session whose answers hold at most `max_bytes`, unpacked.

    A longer answer raises AnswerTooLong; of a longer error, only the status is kept.
    """
    session = requests.Session()
    session.trust_env = False
    session.auth = login  # type: ignore[assignment]  # as bytes, which requests takes: UTF-8
    session.headers.update({"Accept": "application/json", "User-Agent": f"promo/{__version__}"})
    session.hooks["response"] = [_reading_at_most(max_bytes)]  # also for redirections on the way
    return session


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
