import time

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from scheduler.stats.meter import RequestMeter


def test_event_streams_have_no_duration() -> None:
    meter = RequestMeter(lambda: True)
    request = make_mocked_request("GET", "/anything")
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    meter.count(request, stream, time.monotonic_ns())
    assert meter.durations.sum() == 0
    meter.count(request, web.Response(), time.monotonic_ns())
    assert meter.durations.sum() == 1
    assert meter.requests.total() == 2
    assert meter.stale_total == 0
