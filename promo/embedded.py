"""The API as a child process that ends with its parent.

On the line from page to figure this provides the far end when nobody else does: notebooks and the
commands `lab`, `app`, `run` and `scale` start it unless `PROMO_API_URL` names a service.
The child holds the read end of a pipe whose only writer is the parent. The kernel closes it
however the parent ends, kill -9 included, and the child leaves at end of file.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from promo.address import without_login
from promo.dataset import Recipe, ensure_data
from promo.errors import ServiceError
from promo.faults import parse
from promo.paths import data_dir

PREFERRED_PORT = 5000
START_DEADLINE_S = 60.0  # 100,000 rows take 2 seconds; a laptop on battery, or millions, more
END_DEADLINE_S = 2.0
_CHILD = "from promo.embedded import _serve_parent; _serve_parent()"


@dataclass(frozen=True, slots=True)
class ExternalAPI:
    """A service that somebody else runs, in the form of `EmbeddedAPI`."""

    url: str = field(repr=False)  # it may hold a password
    source: str

    def close(self) -> None:
        """Do nothing: it is not ours to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EmbeddedAPI:
    """The API of one world, served by a child process on this machine only.

    It ends at `close()`, at the end of the `with` block, when the object is collected, and
    when this process ends, however it ends.

    Parameters
    ----------
    world, rows, seed
        What to serve; the data set is made on first use.
    data
        Where the data set lives. By default a file of its own per recipe, in `data_dir()`.
    port
        Taken when it is free; another free port otherwise.
    deadline_s
        How long starting may take, in seconds, the making of the data included.
    faults
        A plan by which pages go wrong, as in ``"40:500*5"`` (see `promo.faults.parse`).

    Attributes
    ----------
    url
        Where it listens, as `http://127.0.0.1:5000`.
    source
        The data's stable name, without the port: a store remembers it from day to day.

    Raises
    ------
    ServiceError
        When it did not start, with the last line of what it said.
    """

    def __init__(
        self,
        world: str = Recipe().world,
        rows: int = Recipe().rows,
        seed: int = Recipe().seed,
        data: str | Path | None = None,
        port: int = PREFERRED_PORT,
        *,
        deadline_s: float = START_DEADLINE_S,
        faults: str = "",
    ) -> None:
        parse(faults)
        recipe = Recipe(world, rows, seed).check()
        path = Path(data or data_dir() / f"{world}-{rows}-{seed}.db")
        self.source = recipe.source
        process, self.url = _start(recipe, path, port, deadline_s, faults)
        # Runs once: at close(), when the object is collected, or at the interpreter's exit.
        self._finalizer = weakref.finalize(self, _end, process)

    def close(self) -> None:
        """End the child and wait for it; closing twice is fine."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EmbeddedAPI({self.source} at {self.url})"


Service = EmbeddedAPI | ExternalAPI  # what a stream reads from, whoever runs it


def api_from_environment(
    world: str = Recipe().world,
    rows: int = Recipe().rows,
    seed: int = Recipe().seed,
    data: str | Path | None = None,
) -> Service:
    """Return the service that `PROMO_API_URL` names, or else start one.

    Its identity for stores is its URL without a login, as requests writes it; or what follows that
    URL and a space in `PROMO_API_SOURCE`, which so says nothing of one that is named later.
    The parameters are those of `EmbeddedAPI`, of no effect on a service that already runs.

    Raises
    ------
    StreamError
        `PROMO_API_URL` is no address.
    ServiceError
        Our own API did not start.
    """
    url = os.environ.get("PROMO_API_URL", "").rstrip("/")
    if url:
        told = without_login(url)
        of, _, source = os.environ.get("PROMO_API_SOURCE", "").partition(" ")
        if source and of.rstrip("/") == told:
            return ExternalAPI(url, source)
        from promo.stream import PageStream  # here, for what it imports takes its time

        return ExternalAPI(url, PageStream(url).source)
    return EmbeddedAPI(world, rows, seed, data)


def _start(
    recipe: Recipe, data: Path, port: int, deadline_s: float, faults: str
) -> tuple[subprocess.Popen[str], str]:
    """Return a running child and its address, or raise with the child gone."""
    arguments = json.dumps({"port": port, "data": str(data), "recipe": recipe, "faults": faults})
    # A file takes what the child says, so that it never waits for a reader.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which stops in its own time
        )
        deadline = threading.Timer(deadline_s, process.kill)
        deadline.start()
        try:
            return process, _wait_until_healthy(process.stdout, deadline_s)
        except OSError as error:
            _end(process)
            reason = _last_line(said) or f"no answer within {deadline_s:g} s"
            raise ServiceError(f"the embedded API did not start: {reason}") from error
        except BaseException:
            _end(process)
            raise
        finally:
            deadline.cancel()


def _wait_until_healthy(output: IO[str] | None, timeout_s: float) -> str:
    """Return the address that the child prints, once it answers there; raise OSError if not."""
    assert output is not None  # it is a pipe
    url = output.readline().strip()  # ends when the child does
    if not url:
        raise ConnectionError("the child ended before it listened")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", "/api/v1/health")
        if (status := connection.getresponse().status) != http.client.OK:
            raise ConnectionError(f"health answered {status}")
    finally:
        connection.close()
    return url


def _last_line(said: IO[str]) -> str:
    said.seek(0)
    return said.read().strip().rpartition("\n")[2]


def _end(process: subprocess.Popen[str]) -> None:
    """Let go of the child, which makes it leave, and wait until it has."""
    assert process.stdin is not None  # both are pipes
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _serve_parent() -> None:
    """Be the child: serve until standard input ends."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    from promo.api import listen, run, url_of  # parents do without the web framework

    arguments = json.loads(sys.argv[1])
    port, data = arguments["port"], arguments["data"]
    try:
        ensure_data(data, Recipe(*arguments["recipe"]))
        try:
            listener = listen("127.0.0.1", port)
        except ServiceError:
            listener = listen("127.0.0.1", 0)
        print(url_of(listener), flush=True)
        run(listener, data, faults=arguments["faults"])
    except ServiceError as error:
        sys.exit(str(error))


def _leave_with_parent() -> None:
    # Not sys.stdin: a thread inside its buffer keeps the interpreter from ending cleanly.
    while os.read(0, 1024):
        pass
    os._exit(0)
