"""The API's bound on what a client may send before it is answered.

uvicorn leaves request line and headers to its parser, which takes them of any length: 60 MB of
headers filled 600 MB of memory. Bodies are no danger, for the API reads none.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536  # and at most one piece as it comes from the socket


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection, broken off with a 400 where a head does not come to its end."""

    _in_head, _head_bytes = False, 0

    def data_received(self, data: bytes) -> None:
        """Take a piece of whatever length; of a head, only so many."""
        goes_on = self._in_head
        super().data_received(data)
        if goes_on and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("the head of the request is too long")

    def on_message_begin(self) -> None:
        """Count anew: a request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Take note that the head is whole."""
        self._in_head = False
        super().on_headers_complete()
