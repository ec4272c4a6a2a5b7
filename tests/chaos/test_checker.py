from pathlib import Path

import msgspec

from tests.chaos.check_end import MUST_BE_ZERO, EndFacts
from tests.chaos.checker import check, write_excerpt
from tests.chaos.history import HARNESS, Event, History

SECOND_NS = 1_000_000_000
EPOCHS = ("e",)
TAG = "sess-A 0 nonce"
END = EndFacts({}, {}, {}, dict.fromkeys(MUST_BE_ZERO, 0), {}, {}, [], [])


def write(folder: Path, name: str, *events: Event) -> None:
    history = History(folder / f"{name}.jsonl")
    for event in events:
        history.note(event)
    history.close()


def at(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def write_run(folder: Path, *heard: Event, harness: tuple[Event, ...] = ()) -> None:
    """Write a run with one kill and one utterance, of which `heard` came."""
    write(
        folder,
        "harness",
        Event(at(9), HARNESS, "fault", index=0, how="kill dispatcher"),
        Event(at(9), "dispatcher", "killed", index=1, how="SIGKILL", size=77),
        Event(at(9.1), "dispatcher", "died", size=77),
        Event(at(9.1), "dispatcher", "started", size=78),
        Event(at(9.6), "dispatcher", "serves", size=78),
        *harness,
    )
    write(
        folder,
        "prober",
        Event(at(9.5), "probe", "taken in", index=1, size=at(0.2)),
        Event(at(10), "probe", "probed", index=1, size=at(0.7)),
    )
    write(
        folder,
        "nodes",
        Event(at(1), "chaos-00", "joined", 1, size=2),
        Event(at(1), "chaos-00", "status", 1, how="ready"),
        Event(at(10), "chaos-00", "assigned", 1, "sess-A", 0, "job-e-1", 1, TAG),
        Event(at(11), "chaos-00", "answered", 1, job="job-e-1", attempt=1, how="ok"),
    )
    write(
        folder,
        "sessions-a",
        Event(at(1), "session 0", "opened", 1, "sess-A"),
        Event(at(10), "session 0", "sent", 1, "sess-A", 0, text=TAG),
        *heard,
        Event(at(12), "session 0", "closed", 1, "sess-A", how="finished"),
    )


RESULT = Event(at(11), "session 0", "result", 1, "sess-A", 0, "job-e-1", text=TAG)


def test_a_good_run_adds_up(tmp_path: Path) -> None:
    write_run(tmp_path, RESULT)
    findings = check(tmp_path, EPOCHS, END)
    assert not findings.violations
    assert findings.faults == {"kill dispatcher": 1}
    [kill] = findings.kills
    assert (kill.name, kill.taken_in_ns, kill.took_ns) == ("dispatcher SIGKILL", at(0.2), at(0.7))
    assert findings.serving_ns == {"dispatcher": [at(0.6)]}
    assert not findings.replaced_ns
    assert findings.sessions.results == findings.nodes.answered == 1


def test_a_kill_after_which_nobody_is_served_breaks_a_promise(tmp_path: Path) -> None:
    kill = Event(at(99), "stats", "killed", index=2, how="SIGKILL", size=80)
    write_run(tmp_path, RESULT, harness=(kill,))
    [found] = check(tmp_path, EPOCHS, END).violations
    assert (found.promise, found.at_ns, found.who) == ("not serving", at(99), "stats")


def test_a_violation_is_shown_with_the_history_around_it(tmp_path: Path) -> None:
    write_run(tmp_path, RESULT, RESULT)
    [first, *_] = check(tmp_path, EPOCHS, END).violations
    assert first.promise == "out of order"
    path = tmp_path / "violations.txt"
    write_excerpt(tmp_path, path, [first])
    violation, *events = map(msgspec.json.decode, path.read_bytes().splitlines())
    assert violation["promise"] == "out of order"
    shown = [(event["who"], event["what"]) for event in events]
    assert ("chaos-00", "answered") in shown  # of the same job
    assert ("session 0", "opened") in shown  # of the same session
    assert ("dispatcher", "killed") in shown  # near
    assert ("chaos-00", "joined") not in shown
    assert ("stats", "killed") not in shown
    assert [e["at_ns"] for e in events] == sorted(e["at_ns"] for e in events)
