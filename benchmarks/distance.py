"""A relay that puts a server far away: `python -m benchmarks.distance URL MILLISECONDS`.

What comes, either way, is handed on after half that time; so an answer takes all of it more. The
relay prints its own address.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit


async def relay(url: str, latency_s: float) -> None:
    """Serve until interrupted."""
    server, half_s = urlsplit(url), latency_s / 2

    async def carry(source: asyncio.StreamReader, goal: asyncio.StreamWriter) -> None:
        later = asyncio.get_running_loop().call_later
        with suppress(ConnectionError):
            while piece := await source.read(65_536):
                later(half_s, goal.write, piece)
        later(half_s, goal.close)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    listener = await asyncio.start_server(meet, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], float(sys.argv[2]) / 1000))
