from scheduler.protocol.decisions import Outcome


def test_no_outcome_looks_like_an_unwritten_record() -> None:
    assert all(Outcome)
