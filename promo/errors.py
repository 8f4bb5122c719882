"""The exceptions of promo, in one tree.

    PromoError
     ├─ StreamError          the API could not be read
     │   ├─ RequestRefused   a 4xx, or a wrong address or certificate: asking again is no use
     │   ├─ StreamTimeout    it did not answer well within the page's deadline
     │   └─ SourceChanged    it no longer serves what was committed
     ├─ StoreError           the SQLite file could not be used
     │   ├─ StoreLocked      another process is writing to it
     │   └─ StoreMismatch    it holds another stream, a newer schema, or is not ours
     ├─ ServiceError         the API could not be served
     └─ ClusterError         the workers of a cluster could not be had, or not kept alive

Every message says what failed, the value seen, what was expected and what to do.
"""

_MOST = 300  # characters of a text that somebody else wrote


class PromoError(Exception):
    """Base of everything that promo raises on purpose."""


class StreamError(PromoError):
    """The API could not be read."""


class RequestRefused(StreamError):
    """The API refused the request, or is not the one meant; asking again would not help."""


class StreamTimeout(StreamError):
    """The API gave no good answer within the total deadline of a page."""


class SourceChanged(StreamError):
    """The API no longer serves what was committed; nothing was overwritten."""


class StoreError(PromoError):
    """The SQLite file could not be used."""


class StoreLocked(StoreError):
    """Another writer holds the store."""


class StoreMismatch(StoreError):
    """The file holds another stream, another schema, or is not a store."""


class ServiceError(PromoError):
    """The API could not be served."""


class ClusterError(PromoError):
    """The workers of a cluster could not be had, or not kept alive."""


def printable(text: str, most: int = _MOST) -> str:
    """Return a text as we may pass it on: what is long cut off, what does not print spelled out.

    Examples
    --------
    >>> printable("x" * 400, most=3), printable(chr(27) + "[2J") == repr(chr(27) + "[2J")
    ('xxx…', True)
    """
    text = text if len(text) <= most else f"{text[:most]}…"
    return text if text.isprintable() else ascii(text)


def shown(value: object) -> str:
    """Return what was found in a file as a message may show it: all of it, if it is short.

    >>> shown("x" * 1000) == "'" + "x" * 299 + "…"
    True
    """
    try:
        text = repr(value)
    except RecursionError:
        return "something nested deeply"
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
