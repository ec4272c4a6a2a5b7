from random import Random

import pytest

from scheduler.simulation.clock import Clock
from scheduler.simulation.link import Link, Pipe


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_pipe(clock: Clock, received: list[int], seed: int = 1) -> Pipe:
    return Pipe(clock, Random(seed), 1_000_000, received.append)


@pytest.mark.parametrize("seed", range(5))
def test_records_arrive_late_and_in_order(clock: Clock, seed: int) -> None:
    received: list[int] = []
    pipe = make_pipe(clock, received, seed)
    for number in range(200):
        pipe.send(number)
    assert received == []
    started_ns = clock.now_ns
    for _ in range(200):
        clock.step()
    assert received == list(range(200))
    assert clock.now_ns > started_ns
    assert len(pipe) == 0


def test_two_pipes_overtake_each_other(clock: Clock) -> None:
    received: list[int] = []
    for number in range(20):
        make_pipe(clock, received, seed=number).send(number)
    for _ in range(20):
        clock.step()
    assert sorted(received) == list(range(20)) != received


def test_nothing_arrives_where_the_reader_died(clock: Clock) -> None:
    received: list[int] = []
    pipe = make_pipe(clock, received)
    pipe.send(1)
    pipe.drop()
    clock.step()
    assert received == []


def test_of_what_a_dead_writer_sent_the_first_part_arrives() -> None:
    lengths = set()
    for seed in range(40):
        received: list[int] = []
        pipe = make_pipe(clock := Clock(), received, seed)
        for number in range(4):
            pipe.send(number)
        pipe.cut()
        assert received == list(range(len(received)))
        lengths.add(len(received))
        for _ in range(4):
            clock.step()
        assert len(received) in lengths
        assert len(pipe) == 0
    assert lengths == {0, 1, 2, 3, 4}


def test_a_link_holds_what_is_under_way_both_ways(clock: Clock) -> None:
    link = Link(make_pipe(clock, []), make_pipe(clock, []))
    link.to_dispatcher.send(1)
    link.to_gateway.send(2)
    assert len(link) == 2
