from scheduler.protocol.ids import NO_NODE
from scheduler.simulation.session import Session


def test_a_session_begins_without_node_or_job_and_is_nobody_elses() -> None:
    session = Session("192.0.2.1")
    assert (session.paired, session.last_node, session.jobs) == (NO_NODE, NO_NODE, set())
    assert session != Session("192.0.2.1")
