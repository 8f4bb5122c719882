"""A server that answers every page after so many milliseconds, however many are asked for at once.

`python -m benchmarks.slow_server 20` prints its address. Pages hold ten rows and have no end.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys

_dice = random.Random(1)
_VALUES = [(_dice.gauss(), _dice.gauss(), _dice.random() < 0.5) for _ in range(1000)]


def _body(page: int) -> bytes:
    rows = []
    for at in range(10 * page, 10 * page + 10):
        network_ability, competence, promoted = _VALUES[at % len(_VALUES)]
        rows.append(
            f'{{"id":{at},"competence":{competence},"network_ability":{network_ability},'
            f'"promoted":{str(promoted).lower()}}}'
        )
    return f"[{','.join(rows)}]".encode()


async def _serve(latency_s: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            found = re.search(rb"page=(\d+)", head)
            await asyncio.sleep(latency_s)
            body = _body(int(found[1]) if found else 0)
            lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            writer.write(lines + b"%d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) / 1000))
