"""The API's bound on what a client may send before it is answered.

uvicorn leaves request line, headers and what may follow a body in chunks, headers again, to its
parser, which takes them of any length: 60 MB of headers filled 600 MB of memory. The API reads no
bodies, so a request is bounded as a whole.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_REQUEST_BYTES = 65_536  # and at most one piece as it comes from the socket


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection, broken off where a request does not come to its end."""

    _in_request, _in_head, _bytes = False, False, 0

    def data_received(self, data: bytes) -> None:
        """Take a piece of whatever length; of a request, only so many."""
        goes_on = self._in_request
        super().data_received(data)
        if goes_on and self._in_request:
            self._bytes += len(data)
            if self._bytes > MAX_REQUEST_BYTES:
                if self._in_head:
                    self.send_400_response("the head of the request is too long")
                else:  # it may be answered already
                    self.transport.close()

    def on_message_begin(self) -> None:
        """Count anew: a request begins."""
        super().on_message_begin()
        self._in_request, self._in_head, self._bytes = True, True, 0

    def on_headers_complete(self) -> None:
        """Take note that the head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        self._in_request = False
        super().on_message_complete()
