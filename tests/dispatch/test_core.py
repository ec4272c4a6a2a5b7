from scheduler.dispatch.core import Dispatcher
from scheduler.dispatch.tables import Tables
from scheduler.protocol.ids import NO_NODE
from scheduler.protocol.records import (
    AnnounceDone,
    Assign,
    ClaimPairing,
    NodeHealth,
    PairingAnswer,
    Partial,
    Submit,
    ToDispatcher,
)
from tests.dispatch.desk import WHOLE, Desk, every, job, only


def test_every_record_has_its_handler_at_work_and_in_recovery() -> None:
    kinds = set(ToDispatcher.__args__)
    desk = Desk()
    assert set(desk.core._handlers) == kinds
    desk.core.start_recovery(desk.now_ns)
    assert set(desk.core._handlers) == kinds


def test_what_is_said_waits_in_the_outbox_of_its_gateway() -> None:
    desk = Desk(gateways=3)
    desk.node("n", gateway=2)
    desk.core.receive(1, Submit(job(1, 1), WHOLE), desk.now_ns)
    assert [len(box) for box in desk.core.outbox] == [0, 1, 1]


def test_records_taken_together_are_taken_in_their_order() -> None:
    desk = Desk()
    node = desk.node("n", healthy=False)
    received = desk.counts.records_total
    events: list[ToDispatcher] = [NodeHealth(node, True, ""), Submit(job(1), WHOLE)]
    desk.core.receive_all(0, events, desk.now_ns)
    assert only(Assign, desk.heard()).node == node
    assert desk.counts.records_total == received + 2


def test_figures_are_looked_at_ten_times_a_second() -> None:
    desk = Desk()
    node = desk.node("n")
    desk.tick()
    desk.usage(node, cpu=99)
    desk.tick(0.09)
    assert desk.place(1) == node
    desk.tick(0.02)
    assert desk.place(2) == NO_NODE


def test_a_lost_gateway_is_told_nothing() -> None:
    desk = Desk()
    desk.node("n", gateway=0)
    desk.core.receive(0, Submit(job(1), WHOLE), desk.now_ns)
    desk.lose_gateway(0)
    assert desk.core.outbox[0] == []


def test_a_gateway_that_was_restarted_begins_anew() -> None:
    desk = Desk()
    desk.node("n", gateway=0)
    desk.lose_gateway(0)
    assert desk.say(0, AnnounceDone()) == []
    assert desk.place(7) == NO_NODE
    node = desk.node("n", gateway=0)
    assert desk.in_flight(node) == 1


def test_the_same_records_at_the_same_times_say_the_same() -> None:
    def run() -> list[object]:
        desk = Desk()
        said: list[object] = []
        for number in range(3):
            desk.node(f"n{number}", gateway=number % 2)
        for number in range(20):
            said += desk.submit(number, gateway=number % 2)
            said += desk.tick(0.7)
        return said

    assert run() == run()


def test_text_of_a_job_that_waits_is_dropped() -> None:
    desk = Desk()
    desk.submit(1)
    assert desk.say(1, Partial(job(1), 5, b"{}")) == []


def test_a_wrong_code_pairs_with_nobody() -> None:
    desk = Desk()
    answer = only(PairingAnswer, desk.say(0, ClaimPairing(4, "000000", "192.0.2.1")))
    assert (answer.conn, answer.node, answer.node_id) == (4, NO_NODE, "")


def test_latencies_go_nowhere_unless_somebody_records_them() -> None:
    core = Dispatcher(Desk().config, Tables.allocate(1, 8), gateways=1)
    core.receive(0, Submit(job(1), WHOLE), 10**12)
    core.tick(10**12 + 10**11)
    assert len(every(object, [(0, record) for record in core.outbox[0]])) == 1
