"""The limit of any client: `wrk` (Debian) throws answers away as fast as a server gives them.

Where there is none, threads with a connection of Python's own each stand in for it, which a fast
server outruns.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import threading
import time
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

WINDOW = 8  # connections: pages in flight, by default, in promo.stream
PATH = "/api/v1/data?page="
_LUA = f"""
page = -1
request = function()
  page = page + 1
  return wrk.format("GET", "{PATH}" .. page)
end
"""


def name() -> str:
    """Return what generates the load on this machine."""
    return "wrk" if shutil.which("wrk") else "http.client"


def pages_per_second(url: str, seconds: float, page: int | None = None) -> float:
    """Ask for one page again and again, or for page after page, as promo does; return the rate."""
    return (_wrk if name() == "wrk" else _threads)(url, seconds, page)


def _wrk(url: str, seconds: float, page: int | None) -> float:
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA if page is None else "")
        script.flush()
        options = ["-t1", f"-c{WINDOW}", f"-d{max(round(seconds), 1)}s", "-s", script.name]
        command = ["wrk", *options, url if page is None else f"{url}{PATH}{page}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"wrk met errors:\n{said}")
    found = re.search(r"Requests/sec:\s*([0-9.]+)", said)
    assert found, said
    return float(found[1])


def _threads(url: str, seconds: float, page: int | None) -> float:
    counts, end = [0] * WINDOW, time.perf_counter() + seconds

    def ask(at: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        while time.perf_counter() < end:
            wanted = at + WINDOW * counts[at] if page is None else page
            connection.request("GET", f"{PATH}{wanted}")
            connection.getresponse().read()
            counts[at] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(WINDOW)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
