from scheduler.memory.decisions import Decision
from scheduler.memory.flight import FlightEvent
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import NO_NODE
from tests.chaos.check_ejections import AMBIGUOUS_NS, EjectionCheck, Placed

NODE = "chaos-03"


def placed(time_ns: int, node_id: str = NODE, paired: int = NO_NODE) -> Placed:
    outcome = Outcome.PLACED
    numbers = (0, time_ns, 1, 1, outcome, 0, paired, 7, 0, NO_NODE, 0, NO_NODE, 1, 0)
    return Placed(Decision(*numbers, {}), node_id)


def note(time_ns: int, text: str, kind: str = "ejection") -> FlightEvent:
    return FlightEvent(1, time_ns, kind, text)


EJECTED = note(10, f"{NODE} failed 5 in a row: none for 3 s")
LATER = 10 + 5 * AMBIGUOUS_NS


def found(*steps: FlightEvent | Placed) -> list[int]:
    check = EjectionCheck()
    notes = [step for step in steps if isinstance(step, FlightEvent)]
    check.take(notes, [step for step in steps if isinstance(step, Placed)])
    check.take([note(LATER + 10 * AMBIGUOUS_NS, "time goes on", "node")], [])
    return [one.decision.time_ns for one in check.found]


def test_a_job_for_an_ejected_node() -> None:
    assert found(EJECTED, placed(20)) == [20]


def test_others_and_earlier_ones_may_have_jobs() -> None:
    assert not found(EJECTED, placed(9), placed(10), placed(20, "chaos-04"))


def test_sessions_paired_with_it_still_get_it() -> None:
    assert not found(EJECTED, placed(20, paired=7))


def test_jobs_after_its_time() -> None:
    assert not found(EJECTED, note(LATER, f"{NODE} gets jobs again, few at first"), placed(LATER))


def test_the_turn_in_which_its_time_ends_may_have_begun_before_the_note() -> None:
    assert not found(EJECTED, placed(LATER - 1), note(LATER, f"{NODE} gets jobs again"))


def test_a_new_dispatcher_knows_of_no_ejection() -> None:
    assert not found(EJECTED, note(15, "dispatcher 2", "start"), placed(20))


def test_a_node_that_was_forgotten_starts_anew() -> None:
    assert not found(EJECTED, note(15, f"{NODE} forgotten", "node"), placed(20))
