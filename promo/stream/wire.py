"""One keep-alive HTTP session that fetches pages, with retries around get + read + decode."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

import requests
import tenacity
from urllib3.exceptions import HTTPError

from promo.batch import BadPage, Page, decode_page
from promo.errors import RequestRefused, StreamTimeout, printable
from promo.reader import Retry
from promo.stream.direct import Answer, Broken, DirectExchange, Odd
from promo.stream.session import cut_after, open_session, shut

if TYPE_CHECKING:
    from promo.stream import PageStream

DATA_PATH = "/api/v1/data"
CONTRACT_PAGE_SIZE = 10
RETRY_AFTER_CAP_S = 60.0
MAX_ROW_BYTES = 4096  # a row takes about 100; more than so many on average is no page
_MIN_LIMIT_BYTES = 65_536
_REST_S = 1.0  # a reader that has not looked for so long is at rest
_ASKED = "the server has asked us to wait"
_COUNT = re.compile("[0-9]{1,18}")


class _Again(Exception):
    """An answer worth asking for again, not before `retry_after` seconds have passed."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class HTTPWire:
    """One keep-alive connection, on which one page at a time is asked for, in either of two ways.

    `fetch` waits, in a thread of its own, and does all that `requests` can do: connecting,
    certificates, redirections, and asking again. Once it has brought a page, `ask` and `receive`
    get the next ones over the same connection without waiting. What they fail at is for `fetch`,
    which counts it as its first attempt.

    Python cannot interrupt a thread that waits in `recv`, but shutting its socket can. That ends
    a hang or a drip at once, for Stop as for an attempt that has used up its time.
    """

    retry: Retry | None = None
    asking, retries = False, 0

    def __init__(self, stream: PageStream, halt: threading.Event) -> None:
        self._stream, self._halt = stream, halt
        self._connection: Any = None  # of urllib3
        self._socket: socket.socket | None = None
        self._direct: DirectExchange | None = None  # over that socket, if it can be
        self._failed: Exception | None = None  # what the page now asked for has met already
        self._is_odd = False  # the server's answers are for requests
        self._began, self._looked_at, self._overdue_at = 0.0, 0.0, float("inf")
        self._limit = max(MAX_ROW_BYTES * stream.page_size, _MIN_LIMIT_BYTES)
        self._session = open_session(self._limit, stream.login, self._use)
        size = f"size={stream.page_size}&" if stream.page_size != CONTRACT_PAGE_SIZE else ""
        url = f"{stream.base_url}{DATA_PATH}?{size}page="
        self._request = self._session.prepare_request(requests.Request("GET", url))
        self._url = str(self._request.url)
        self._attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=_wait,
            stop=lambda state: halt.is_set() or self._left_s <= state.upcoming_sleep,
            sleep=tenacity.sleep_using_event(halt),
            before_sleep=self._note_retry,
        )

    def _use(self, connection: Any) -> None:
        self._connection, self._socket = connection, connection.sock
        if self._halt.is_set():  # cut while there was nothing to cut yet
            self.cut()

    def cut(self) -> None:
        """Break off the exchange under way."""
        shut(self._socket)

    def cut_if_overdue(self) -> None:
        """Break off the exchange under way if it has taken its time."""
        if time.monotonic() > self._overdue_at:
            self.cut()

    def close(self) -> None:
        """Let go of the connection; the last call, by the wire's own thread."""
        self._session.close()

    # -- without waiting --------------------------------------------------------------------

    def ask(self, page: int) -> bool:
        """Send the request for a page if that takes no waiting; else it is for `fetch`."""
        if self._direct is None or self._stream.hold.left_s():
            return False
        try:
            self._direct.ask(page)
        except Broken:
            self._leave_direct()
        else:
            self.asking, self._began = True, time.monotonic()
            self._looked_at = self._began
        return self.asking

    def fileno(self) -> int:
        """Return what becomes readable as the answer arrives; -1 if nothing will."""
        return -1 if self._socket is None else self._socket.fileno()

    def receive(self) -> Page | None:
        """Return the page asked for; None if it is not whole yet or, no longer `asking`, bad."""
        assert self._direct is not None
        try:
            answer = self._direct.receive()
            if answer is None:
                timeout = min(self._stream.timeout, self._stream.deadline)
                if self._waited() > timeout:
                    raise Broken(f"no answer in {timeout:.3g} s")
                return None
        except Broken as broken:
            self._is_odd = self._is_odd or isinstance(broken, Odd)
            self._failed = _Again(str(broken)) if str(broken) else None
            self._leave_direct()
            return None
        self.asking = False
        if not self._direct.keeps_alive:
            self._leave_direct()
        try:
            return self._page(answer)
        except (_Again, RequestRefused) as error:
            self._failed = error
            return None

    def forget(self) -> None:
        """Let go of what the page asked for has met: it shall not count against the next one."""
        self._failed = None

    def _waited(self) -> float:
        """Return the seconds since `ask`, without those in which the reader was resting."""
        now = time.monotonic()
        if now > self._looked_at + _REST_S:
            self._began += now - self._looked_at
        self._looked_at = now
        return now - self._began

    def _leave_direct(self) -> None:
        """Have `requests` connect again."""
        self.asking, self._direct = False, None
        self._connection.close()

    # -- with all the time it takes ---------------------------------------------------------

    def fetch(self, page: int) -> Page:
        """Return a page, asking again as long as that may help.

        Raises
        ------
        RequestRefused
            A 4xx, an address that leads nowhere, a certificate that does not hold: asking again
            would not help.
        StreamTimeout
            No good answer within the stream's deadline.
        """
        self._left_s = self._stream.deadline
        try:
            return self._attempts(self._attempt, page)
        except tenacity.RetryError as error:
            last = error.last_attempt.exception()
            # The very last attempt may have been cut by the deadline before it could tell.
            reason = self.retry.reason if self.retry else last
            raise StreamTimeout(
                f"page {page} (counted from 0) of {self._stream.base_url}: no good answer within "
                f"{self._stream.deadline:g} s; the last one: {reason}"
            ) from last
        finally:
            self.retry = None

    def try_once(self, page: int) -> None:
        """Ask for a page once, as long as the stream's timeout; this is the wire's last call.

        Raises
        ------
        RequestRefused
            Asking again would not help.
        """
        self._left_s = self._stream.timeout
        with suppress(_Again), cut_after(self._stream.timeout, self._give_up):
            self._attempt(page)

    def _give_up(self) -> None:
        self._halt.set()
        self.cut()

    def _attempt(self, page: int) -> Page:
        if self._failed is None:
            self._rest(page)
            self._began = time.monotonic()
        timeout = max(min(self._stream.timeout, self._left_s), 0.001)
        try:
            if self._failed is not None:
                raise self._failed
            return self._page(self._get(page, timeout))
        finally:
            # A laptop that slept, or a process that was stopped, has not used up its time.
            self._left_s -= min(time.monotonic() - self._began, timeout)
            self._failed = None

    def _rest(self, page: int) -> None:
        """Wait as long as the server has asked us to, of whichever page, and there is time."""
        hold, before = self._stream.hold, self.retry
        while left_s := min(hold.left_s(), self._left_s):
            self.retry = before or Retry(page, 1, _ASKED, hold.until)
            if self._halt.wait(left_s):
                break
            self._left_s -= left_s
        self.retry = before
        if not self._left_s:
            raise _Again(_ASKED)

    def _get(self, page: int, timeout: float) -> requests.Response:
        self._request.url = f"{self._url}{page}"
        self._direct = None
        self._overdue_at = self._began + timeout
        try:
            answer = self._session.send(self._request, timeout=timeout)
        except (ValueError, requests.TooManyRedirects) as error:  # where a redirect leads, too
            raise RequestRefused(f"{self._request.url}: {reason_of(error)}") from error
        except (requests.RequestException, HTTPError, OSError) as error:
            if _is_distrusted(error):
                raise RequestRefused(
                    f"{self._stream.base_url}: {reason_of(error)}; is it the right address?"
                ) from error
            late = time.monotonic() > self._overdue_at
            raise _Again(f"no answer in {timeout:.3g} s" if late else reason_of(error)) from error
        finally:
            self._overdue_at = float("inf")
        plain = self._url.startswith("http:") and not answer.history and not self._is_odd
        if plain and self._connection.sock:
            headers = {name: str(value) for name, value in self._request.headers.items()}
            self._direct = DirectExchange(self._connection.sock, self._url, headers, self._limit)
        return answer

    # -- what an answer means ---------------------------------------------------------------

    def _page(self, answer: Answer | requests.Response) -> Page:
        if answer.status_code != HTTPStatus.OK:
            self._refuse(answer)
        kind = answer.headers.get("content-type", "nothing")
        if "json" not in kind.lower():
            raise _Again(f"got {printable(kind, 80)} where JSON was expected")
        try:
            decoded = decode_page(answer.content, self._stream.page_size)
        except BadPage as error:
            raise _Again(str(error)) from error
        total = answer.headers.get("x-total-count", "")
        if _COUNT.fullmatch(total):
            self._stream.total_rows = int(total)
        return decoded

    def _refuse(self, answer: Answer | requests.Response) -> NoReturn:
        status, line = answer.status_code, f"{answer.status_code} {printable(answer.reason, 80)}"
        if is_passing(status):
            seconds = _retry_after(answer.headers.get("retry-after"))
            self._stream.hold.extend(seconds)
            raise _Again(line, seconds)
        hint = {
            404: "is this the root of the service?",
            422: "is this the root of the service?",
            401: "it asks for a login",
            403: "it forbids it",
        }
        raise RequestRefused(
            f"{answer.url} answered {line}; {hint.get(status, 'expected 200 and a JSON array')}"
        )

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        page = state.args[0]
        self.retries += 1
        self._left_s -= state.upcoming_sleep
        at = time.monotonic() + state.upcoming_sleep
        error = state.outcome.exception()
        asked_s = error.retry_after if isinstance(error, _Again) else 0.0
        self.retry = Retry(page, state.attempt_number + 1, str(error), at, asked_s)


_backoff = tenacity.wait_exponential(multiplier=0.1, max=10.0) + tenacity.wait_random(0, 0.1)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_backoff(state), error.retry_after if isinstance(error, _Again) else 0.0)


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3), capped."""
    try:
        seconds = float(value or 0)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(value)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), RETRY_AFTER_CAP_S)  # in this order NaN is 0


def is_passing(status: int) -> bool:
    """Whether an error may be gone at the next request."""
    return status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500


def _bottom(error: BaseException) -> BaseException:
    """Return what broke: requests wraps urllib3, which wraps the system's error."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _is_distrusted(error: BaseException) -> bool:
    return isinstance(_bottom(error), ssl.SSLCertVerificationError)


def reason_of(error: BaseException) -> str:
    """Say what broke at the bottom, in one line."""
    error = _bottom(error)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text, 200)
