"""A service's address in parts: where it is, which may be told, and the login, which may not."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_LOGIN = re.compile(r"(?<=://)[^/?#]*@")


class Login(NamedTuple):
    """What stands before the @ of an address, decoded (RFC 3986, 3.2.1)."""

    user: bytes
    password: bytes


def split_login(url: str) -> tuple[str, Login | None]:
    """Return an address without its login, and the login if there is one.

    Examples
    --------
    >>> split_login("https://me:s%40fe@host:81/api")
    ('https://host:81/api', Login(user=b'me', password=b's@fe'))
    >>> split_login("http://host/@")
    ('http://host/@', None)
    """
    found = _LOGIN.search(url)
    if found is None:
        return url, None
    user, _, password = found[0][:-1].partition(":")
    login = Login(unquote_to_bytes(user), unquote_to_bytes(password))
    return url[: found.start()] + url[found.end() :], login


def without_login(url: str) -> str:
    """Return an address, or what was meant to be one, as it may be told.

    Examples
    --------
    >>> without_login("https://me:secret@host:81/api")
    'https://host:81/api'
    """
    return split_login(url)[0]
