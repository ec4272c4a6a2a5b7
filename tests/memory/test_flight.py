"""The flight recorder: what was noted can be read, also after the one who noted it is gone."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.memory.flight import FlightRecorder, read_flight
from scheduler.memory.layout import (
    DISPATCHER_ROW,
    FIRST_GATEWAY_ROW,
    FLIGHT,
    FLIGHT_ENTRIES,
    FLIGHT_KIND_BYTES_MAX,
    FLIGHT_TEXT_BYTES_MAX,
    STATS_ROW,
    Dimensions,
)
from scheduler.memory.segment import Segment
from scheduler.memory.views import Views
from tests.harness import poll

DIMENSIONS = Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1)

WRITER = """
import os, signal, sys
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.segment import Segment
recorder = FlightRecorder(Segment.attach(int(sys.argv[1]), writable=True).views, int(sys.argv[2]))
"""
THEN_DIES = """
for number in range(3):
    recorder.note("step", f"number {number}")
os.kill(os.getpid(), signal.SIGKILL)
"""
GOES_ON = """
number = 0
while True:
    recorder.note(f"{number:024}", f"{number:0208}")
    number += 1
"""


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(DIMENSIONS, epoch="", started_ms=0, started_ns=0)
    yield segment
    segment.close()


def start(segment: Segment, row: int, code: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITER + code, str(segment.fd), str(row)]
    return subprocess.Popen(command, pass_fds=[segment.fd])


def reader(segment: Segment) -> Views:
    return Segment.attach(segment.fd, writable=False).views


def read(segment: Segment, row: int = DISPATCHER_ROW) -> list[str]:
    return [event.text for event in read_flight(segment.views, row)]


def test_events_are_read_in_order_with_their_times(segment: Segment) -> None:
    recorder = FlightRecorder(segment.views, DISPATCHER_ROW)
    assert read_flight(segment.views, DISPATCHER_ROW) == []
    before = time.monotonic_ns()
    recorder.note("start", "dispatcher 0")
    recorder.note("link", "gateway 0 attached")
    first, second = read_flight(segment.views, DISPATCHER_ROW)
    assert (first.sequence, first.kind, first.text) == (1, "start", "dispatcher 0")
    assert (second.sequence, second.kind, second.text) == (2, "link", "gateway 0 attached")
    assert before <= first.time_ns <= second.time_ns <= time.monotonic_ns()


def test_each_process_has_a_ring_of_its_own(segment: Segment) -> None:
    rows = (STATS_ROW, DISPATCHER_ROW, FIRST_GATEWAY_ROW)
    for row in rows:
        recorder = FlightRecorder(segment.views, row)
        for _ in range(2 * FLIGHT_ENTRIES):
            recorder.note("row", str(row))
    for row in rows:
        assert read(segment, row) == [str(row)] * FLIGHT_ENTRIES


def test_the_ring_keeps_the_last_events(segment: Segment) -> None:
    recorder = FlightRecorder(segment.views, DISPATCHER_ROW)
    total = 2 * FLIGHT_ENTRIES + 3
    for number in range(total):
        recorder.note("count", str(number))
    events = read_flight(segment.views, DISPATCHER_ROW)
    assert [event.text for event in events] == [
        str(number) for number in range(total - FLIGHT_ENTRIES, total)
    ]
    assert [event.sequence for event in events] == [int(event.text) + 1 for event in events]


def test_events_outlive_a_process_that_was_killed(segment: Segment) -> None:
    process = start(segment, DISPATCHER_ROW, THEN_DIES)
    assert process.wait(30) == -signal.SIGKILL
    assert read(segment) == ["number 0", "number 1", "number 2"]


def test_a_successor_goes_on_in_the_ring(segment: Segment) -> None:
    for _ in range(2):
        start(segment, DISPATCHER_ROW, THEN_DIES).wait(30)
    events = read_flight(segment.views, DISPATCHER_ROW)
    assert [event.text for event in events] == ["number 0", "number 1", "number 2"] * 2
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]


def test_an_event_that_was_never_finished_is_left_out_and_its_place_used(segment: Segment) -> None:
    recorder = FlightRecorder(segment.views, DISPATCHER_ROW)
    for number in range(FLIGHT_ENTRIES):
        recorder.note("count", str(number))
    # As `note` leaves it where a signal ends the process in the middle.
    begun = DISPATCHER_ROW * FLIGHT_ENTRIES
    segment.views.column(FLIGHT.name, "sequence")[begun] = 0
    segment.views.column(FLIGHT.name, "text")[begun] = b"half of a"
    expected = [str(number) for number in range(1, FLIGHT_ENTRIES)]
    assert read(segment) == expected
    FlightRecorder(segment.views, DISPATCHER_ROW).note("start", "the next")
    assert read(segment) == [*expected, "the next"]


def test_a_reader_never_sees_half_an_event(segment: Segment) -> None:
    process = start(segment, DISPATCHER_ROW, GOES_ON)
    views = reader(segment)

    def has_wrapped() -> bool:
        events = read_flight(views, DISPATCHER_ROW)
        return bool(events) and events[-1].sequence > 2 * FLIGHT_ENTRIES

    try:
        poll("a ring that is written again and again", has_wrapped, seconds=30)
        for _ in range(200):
            for event in read_flight(views, DISPATCHER_ROW):
                assert int(event.kind) == int(event.text) == event.sequence - 1
    finally:
        process.kill()
        process.wait()


@given(st.text(min_size=FLIGHT_TEXT_BYTES_MAX // 4, max_size=2 * FLIGHT_TEXT_BYTES_MAX))
def test_long_text_is_cut_in_whole_characters(text: str) -> None:
    text = text.replace("\0", "0")  # zeros at the end of a column are what fills it up
    segment = Segment.create(DIMENSIONS, epoch="", started_ms=0, started_ns=0)
    try:
        FlightRecorder(segment.views, STATS_ROW).note(text, text)
        (event,) = read_flight(segment.views, STATS_ROW)
    finally:
        segment.close()
    for kept, bytes_max in (
        (event.kind, FLIGHT_KIND_BYTES_MAX),
        (event.text, FLIGHT_TEXT_BYTES_MAX),
    ):
        assert text.startswith(kept)
        assert bytes_max - 3 <= len(kept.encode()) <= bytes_max or kept == text


def test_a_note_never_fails(segment: Segment) -> None:
    FlightRecorder(segment.views, DISPATCHER_ROW).note("", "no UTF-8: \udc80")
    assert read(segment) == ["no UTF-8: ?"]
