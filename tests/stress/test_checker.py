import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.stress.checker import (
    DUPLICATED,
    LOST_REPLY,
    NOT_OURS,
    OUT_OF_ORDER,
    VIOLATIONS_KEPT_MAX,
    Findings,
    Ledger,
)
from scheduler.stress.messages import CUT_OFF, LOST, UNFINISHED, Call

OURS = "sess-1"


@pytest.fixture
def findings() -> Findings:
    return Findings()


@pytest.fixture
def ledger(findings: Findings) -> Ledger:
    return Ledger(OURS, findings)


def say(ledger: Ledger, times: int) -> None:
    for _ in range(times):
        ledger.sent(Call(0, 0, ledger.next_index, 0, 0, 100 + ledger.next_index))


def broken(findings: Findings) -> list[str]:
    return [violation.what for violation in findings.violations]


@given(st.lists(st.booleans(), max_size=30))
def test_a_session_served_well_finds_nothing(results: list[bool]) -> None:
    findings = Findings()
    ledger = Ledger(OURS, findings)
    say(ledger, len(results))
    for index, is_result in enumerate(results):
        if is_result:
            ledger.result(OURS, index, 500)
        else:
            ledger.error(index, "JOB_TIMEOUT", 500, accepted=True)
    ledger.lost(1_000)
    assert broken(findings) == []
    assert [call.code == "" for call in findings.calls] == results
    assert len(ledger) == 0


def test_errors_may_overtake_results(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 3)
    ledger.error(2, "SERVER_BUSY", 1, accepted=False)
    ledger.result(OURS, 0, 2)
    ledger.result(OURS, 1, 3)
    assert broken(findings) == []
    assert [(call.index, call.code, call.accepted) for call in findings.calls] == [
        (2, "SERVER_BUSY", False),
        (0, "", True),
        (1, "", True),
    ]


def test_a_lost_reply_is_found(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 2)
    ledger.result(OURS, 1, 5)
    ledger.lost(9)
    assert broken(findings) == [LOST_REPLY]
    assert findings.calls[-1].code == LOST
    assert f"session {OURS}: utterance 0 was never answered" in findings.violations[0].text


def test_a_second_reply_is_found(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 1)
    ledger.result(OURS, 0, 5)
    ledger.result(OURS, 0, 6)
    ledger.error(0, "JOB_TIMEOUT", 7, accepted=True)
    assert broken(findings) == [DUPLICATED, DUPLICATED]
    assert len(findings.calls) == 1


def test_results_out_of_order_are_found(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 3)
    for index in (0, 2, 1):
        ledger.result(OURS, index, 5)
    assert broken(findings) == [OUT_OF_ORDER]


def test_results_of_others_are_found(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 1)
    ledger.result("sess-2", 0, 5)
    ledger.result(OURS, 7, 5)
    assert broken(findings) == [NOT_OURS, NOT_OURS]
    assert len(ledger) == 1


@given(order=st.permutations(range(6)), twice=st.integers(0, 5))
def test_any_disorder_is_found(order: list[int], twice: int) -> None:
    findings = Findings()
    ledger = Ledger(OURS, findings)
    say(ledger, 6)
    for index in order:
        ledger.result(OURS, index, 5)
    assert (OUT_OF_ORDER in broken(findings)) == (order != sorted(order))
    ledger.result(OURS, twice, 6)
    assert DUPLICATED in broken(findings)


def test_who_is_gone_is_promised_nothing(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 2)
    ledger.cut_off(5)
    assert [call.code for call in findings.calls] == [CUT_OFF, CUT_OFF]
    assert broken(findings) == []


def test_a_run_that_was_ended_lost_nothing(ledger: Ledger, findings: Findings) -> None:
    say(ledger, 1)
    assert ledger.newest_sent_ns() == 100
    ledger.unfinished(5)
    assert [call.code for call in findings.calls] == [UNFINISHED]
    assert broken(findings) == []
    assert ledger.newest_sent_ns() == 0


def test_an_utterance_cut_by_a_pause_is_no_stranger(ledger: Ledger, findings: Findings) -> None:
    ledger.unsure = 1
    ledger.result(OURS, 0, 5)
    assert broken(findings) == []
    assert ledger.next_index == 1
    ledger.result(OURS, 1, 6)
    assert broken(findings) == [NOT_OURS]


def test_findings_stay_bounded(findings: Findings) -> None:
    for _ in range(VIOLATIONS_KEPT_MAX + 5):
        findings.violated(LOST_REPLY, "x")
    assert len(findings.violations) == VIOLATIONS_KEPT_MAX
