"""Dashboards: event streams that stay open through a window and get each snapshot pushed."""

import asyncio
import time

from native_bench.readers_plan import Call, RequestTask, Window, sleep_until

_STREAMS = 16
"""Half of what the scheduler serves at a time: those of the window before may not be gone yet."""

_REQUEST = "GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
_EVENT = b"event: snapshot"


async def watch(task: RequestTask, window: Window) -> list[Call]:
    """Hold all streams open until the window ends; return those to which no snapshot came.

    The first comes at once, so that a stream without one is broken, however short the window.
    """
    await sleep_until(window.begin_ns)
    found = await asyncio.gather(*(_watch_one(task, window) for _ in range(_STREAMS)))
    return [call for call in found if call.error]


async def _watch_one(task: RequestTask, window: Window) -> Call:
    call = Call(window.from_ns, time.monotonic_ns())
    reader, writer = await asyncio.open_connection(task.host, task.port)
    writer.write(_REQUEST.format(host=task.host, port=task.port).encode())
    events = 0
    try:
        async with asyncio.timeout((window.until_ns - time.monotonic_ns()) / 1e9):
            while data := await reader.read(1 << 18):
                events += data.count(_EVENT)
            call.error = "the stream was closed"
    except TimeoutError:
        call.error = "" if events else "no snapshot on the stream"
    finally:
        writer.close()
    call.done_ns = time.monotonic_ns()
    return call
