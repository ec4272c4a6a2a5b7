"""A node's socket, message by message. The rules over real sockets: tests/integration."""

from typing import Any

import msgspec
import pytest

from scheduler.config import (
    Config,
    JobTimeoutSettings,
    LimitSettings,
    NodeHealthSettings,
    SchedulerSettings,
)
from scheduler.gateway import services
from scheduler.protocol.codes import code_index
from scheduler.protocol.ids import slot_of
from scheduler.protocol.records import AuditNode, DrainNode, RegisterNode, RunningAttempt
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import ARENA_BYTES, SERVICES, FakeNode, World

TWO_BEATS = Config(
    scheduler=SchedulerSettings(
        node_health=NodeHealthSettings(
            health_check_count=2, consecutive_failure_count=2, window_size=10, failure_count=10
        )
    )
)


def statuses(node: FakeNode) -> list[str]:
    return [m["status"] for m in node.wire.take() if m["type"] == "node_status"]


def test_the_ack_says_registering_and_the_node_keeps_its_id(world: World) -> None:
    node = world.node(ready=False, node_id="node-7")
    (ack,) = node.wire.take()
    assert ack == {
        "type": "node_register_ack",
        "node_id": "node-7",
        "message": "node registered",
        "status": "registering",
    }
    assert node.wire.identified


def test_a_node_without_an_id_gets_one(world: World) -> None:
    first, second = world.node(), world.node()
    assert first.node_id.startswith("node-")
    assert first.node_id != second.node_id


def test_messages_sent_before_the_ack_are_not_lost(world: World) -> None:
    node = FakeNode(world, 0)
    node.register(node_id="node-7")
    node.id = "node-7"
    node.heartbeat()
    assert statuses(node) == ["ready"]


def test_before_node_register_everything_else_is_refused(world: World) -> None:
    node = FakeNode(world, 0)
    node.say(type="request_pairing_code")
    node.peer.on_binary(b"")
    assert [m["code"] for m in node.wire.take()] == ["INVALID_MESSAGE"] * 2


def test_a_refused_node_may_try_again_on_the_same_socket(world: World) -> None:
    world.node(node_id="taken")
    second = FakeNode(world, 0)
    second.register(node_id="taken")
    world.settle()
    assert [m["code"] for m in second.wire.take()] == ["NODE_ID_CONFLICT"]
    refused = world.segment.views.column("gateway_codes", "refusals_by_code_total")
    assert refused[0, code_index("NODE_ID_CONFLICT")] == refused.sum() == 1
    second.register(node_id="free")
    world.settle()
    assert second.node_id == "free"


def test_another_nodes_id_is_refused(world: World) -> None:
    node, other = world.node(), world.node()
    node.wire.take()
    other.id, own = node.node_id, other.node_id
    other.wire.take()
    other.heartbeat()
    assert [m["code"] for m in other.wire.take()] == ["INVALID_MESSAGE"]
    assert own != node.node_id


def test_health_follows_the_heartbeats(make_world: MakeWorld) -> None:
    world = make_world(TWO_BEATS)
    node = world.node(ready=False)
    assert node.node_id
    node.heartbeat()
    assert statuses(node) == []
    node.heartbeat()
    assert statuses(node) == ["ready"]
    sick = {"cpu_percent": 900}
    node.heartbeat(usage=sick)
    assert statuses(node) == []
    node.heartbeat(usage=sick)
    assert statuses(node) == ["degraded"]
    node.heartbeat()
    assert statuses(node) == ["ready"]
    assert world.count("heartbeats_unhealthy_total") == 2


def test_services_that_change_are_followed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node, session = world.node(), world.session()
    node.heartbeat(capability_state=dict.fromkeys(SERVICES[:2], "ready"))
    session.speak(0)
    assert node.jobs() == []
    node.heartbeat(capability_state=dict.fromkeys(SERVICES, "ready"))
    monkeypatch.setattr(services, "TELL_INTERVAL_NS", 0)  # time goes by
    world.gateways[0].sweep()
    world.settle()
    assert len(node.jobs()) == 1


def test_a_node_whose_services_come_and_go_is_told_of_once_between_sweeps(world: World) -> None:
    node = world.node()
    assert node.node_id
    for ready in [SERVICES[:2], SERVICES] * 100:
        node.say(
            type="node_heartbeat",
            node_id=node.node_id,
            timestamp=0,
            resource_usage={"cpu_percent": 5, "mem_percent": 5, "running_jobs": 0},
            capability_state=dict.fromkeys(ready, "ready"),
        )
    assert len(world.links[0].sent) == 1


def test_a_node_that_has_left_is_told_of_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.node()
    for ready in (SERVICES[:2], SERVICES):
        node.heartbeat(capability_state=dict.fromkeys(ready, "ready"))
    node.hang_up()
    monkeypatch.setattr(services, "TELL_INTERVAL_NS", 0)
    world.gateways[0].sweep()
    assert not world.links[0].sent


def test_a_result_counts_once(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    (job,) = node.jobs()
    node.answer(job)
    node.answer(job)
    assert session.heard_types().count("translation_result") == 1
    assert world.count("results_stale_total") == 1


def test_another_attempt_number_does_not_count(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    (job,) = node.jobs()
    node.answer({**job, "attempt_id": 2})
    assert "translation_result" not in session.heard_types()
    assert world.count("results_stale_total") == 1
    node.answer(job)
    assert "translation_result" in session.heard_types()


@pytest.mark.parametrize("job_id", ["job-test-1", "job-other-1", "nonsense", "job-test-FFFFFFFFFF"])
def test_a_result_for_a_job_it_was_never_given_is_spoofed(world: World, job_id: str) -> None:
    holder, liar, session = world.node(), world.node(ready=False), world.session()
    session.speak()
    (job,) = holder.jobs()
    liar.answer({**job, "job_id": job_id if job_id != "job-test-1" else job["job_id"]})
    assert world.count("results_spoofed_total") == 1
    assert "translation_result" not in session.heard_types()


def test_a_result_with_parts_that_can_not_be_passed_on_fails_the_job(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    node.answer(node.jobs()[0], tts_audio={"not": "text"})
    assert session.heard()[-1]["code"] == "INTERNAL_ERROR"
    assert [m["code"] for m in node.wire.take()] == ["INVALID_MESSAGE"]
    assert world.core.counts.failed_total == 1


def test_a_result_without_room_is_a_refusal_that_says_when_to_come_back(
    make_world: MakeWorld,
) -> None:
    world = make_world(gateways=2)
    node, session = world.node(gateway=1), world.session(gateway=0)
    session.speak()
    node.answer(node.jobs()[0], tts_audio="A" * ARENA_BYTES)
    error = session.heard()[-1]
    assert error["code"] == "SERVER_BUSY"
    assert error["details"]["retry_after_ms"] > 0


def test_a_failure_without_a_reason_is_an_internal_error(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    node.answer(node.jobs()[0], success=False)
    assert [m.get("code") for m in session.heard()][-1] == "INTERNAL_ERROR"


def test_a_very_long_error_is_cut_not_lost(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    error = {"code": "TTS_TIMEOUT", "message": "x" * 9_000, "details": {"y": "z" * 9_000}}
    node.answer(node.jobs()[0], success=False, error=error)
    told = session.heard()[-1]
    assert (told["code"], told["message"]) == ("TTS_TIMEOUT", "x" * 600)


def test_details_as_deep_as_a_message_may_nest_reach_the_session(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    details: dict[str, Any] = {}
    for _ in range(300):
        details = {"d": details}
    node.fail(node.jobs()[0], "TTS_TIMEOUT", **details)
    assert session.heard()[-1]["details"]["node_details"] == details


def test_a_timeout_is_told_to_the_node_unless_that_is_switched_off(make_world: MakeWorld) -> None:
    timeouts = JobTimeoutSettings(send_cancel=False, failover_max_attempts=1)
    silent = Config(scheduler=SchedulerSettings(job_timeout=timeouts))
    for config, told in ((Config(), ["job_cancel"]), (silent, [])):
        world = make_world(config)
        node, session = world.node(), world.session()
        session.speak()
        (job,) = node.jobs()
        node.wire.take()
        world.tick(later_seconds=31)
        assert [m["type"] for m in node.wire.take()] == told
        node.heartbeat(usage={"running_jobs": 1})  # it is still at it: its own work now
        column = world.segment.views.column("nodes", "external_jobs")
        assert column[0] == 1
        node.answer(job)
        assert world.count("results_stale_total") == 1


def test_a_node_that_is_overloaded_when_it_gets_ready_gets_no_waiting_job(world: World) -> None:
    session = world.session()
    session.speak()
    other = world.node(services=["other"])  # in the row before
    node = world.node(ready=False)
    node.heartbeat(usage={"cpu_percent": 99})
    world.tick(later_seconds=0.2)
    assert node.jobs() == other.jobs() == []
    node.heartbeat(usage={"cpu_percent": 9})
    world.tick(later_seconds=0.4)
    assert len(node.jobs()) == 1


def test_a_registered_node_may_send_at_its_own_rate(world: World) -> None:
    node = world.node()
    assert node.wire.rate == world.config.limits.node_messages_per_second_max


def test_a_full_table_says_when_to_come_back(make_world: MakeWorld) -> None:
    world = make_world()
    for _ in range(64):
        world.node(ready=False)
    late = FakeNode(world, 0)
    late.register()
    world.settle()
    (error,) = late.wire.take()
    assert error["code"] == "SERVER_BUSY"
    assert error["details"]["retry_after_ms"] > 0


@pytest.mark.parametrize(
    ("details", "other_gets_it"),
    [({"service_id": "piper-tts"}, False), ({"model_id": "piper-tts"}, False), (None, False)],
)
def test_a_missing_model_sends_the_job_elsewhere_and_marks_the_node(
    world: World, details: dict[str, Any] | None, other_gets_it: bool
) -> None:
    first = world.node()
    session = world.session()
    session.speak(0)
    (job,) = first.jobs()
    second = world.node()
    first.fail(job, "MODEL_NOT_AVAILABLE", **(details or {}))
    (moved,) = second.jobs()
    assert (moved["job_id"], moved["attempt_id"]) == (job["job_id"], 2)
    session.speak(1)
    assert bool(first.jobs()) is other_gets_it
    assert session.heard_types() == ["DISPATCHED", "DISPATCHED"]


def test_partials_reach_the_session_of_the_job_alone(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    (job,) = node.jobs()
    partial = {
        "type": "asr_partial",
        "node_id": node.node_id,
        "session_id": "whatever",
        "utterance_index": 9,
        "text": "hel",
        "is_final": False,
        "trace_id": "whatever",
    }
    node.say(**partial, job_id="job-test-99")
    node.say(**partial, job_id=job["job_id"])
    world.settle()
    _, told = session.heard()
    assert told == {
        "type": "asr_partial",
        "session_id": session.session_id,
        "utterance_index": 0,
        "job_id": job["job_id"],
        "text": "hel",
        "is_final": False,
        "trace_id": job["trace_id"],
    }


def test_a_huge_partial_is_refused(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    (job,) = node.jobs()
    node.recognise(job, "x" * 20_000)
    assert [m["code"] for m in node.wire.take()] == ["MESSAGE_TOO_LARGE"]


def test_a_pairing_code_is_six_digits_and_its_time_is_told(world: World) -> None:
    node = world.node()
    assert node.node_id
    node.wire.take()
    node.say(type="request_pairing_code")
    world.settle()
    (message,) = node.wire.take()
    assert message["type"] == "pairing_code"
    assert len(message["code"]) == 6
    assert message["code"].isdigit()
    assert message["expires_in_seconds"] == 300


def test_a_node_error_is_counted(world: World) -> None:
    node = world.node()
    node.say(type="node_error", node_id=node.node_id, code="X", message="y")
    assert world.count("node_errors_total") == 1


def test_a_node_that_fell_silent_is_told_and_cut_off(world: World) -> None:
    node = world.node(node_id="node-7")
    assert node.node_id
    node.wire.take()
    world.tick(later_seconds=46)
    (status,) = node.wire.take()
    assert (status["status"], status["reason"]) == ("offline", "no heartbeat for 45 s")
    assert node.wire.closed is not None
    back = world.node(node_id="node-7")
    node.hang_up()  # the old socket's end must not hurt the new one
    session = world.session()
    session.speak()
    assert len(back.jobs()) == 1


def test_an_operators_drain_reaches_the_node(world: World) -> None:
    node = world.node()
    assert node.node_id
    node.wire.take()
    for on, command, status in ((True, "drain", "draining"), (False, "resume", "registering")):
        world.core.receive(0, DrainNode(node.peer.ref, on, "maintenance"), 1)
        world.settle()
        told = node.wire.take()
        assert {"type": "node_control", "command": command, "reason": "maintenance"} in told
        assert status in [m.get("status") for m in told]


def held(world: World, node: FakeNode) -> int:
    return int(world.segment.views.column("nodes", "held")[slot_of(node.peer.ref)])


def test_the_attempts_that_a_node_holds_are_shown_to_the_dispatcher(world: World) -> None:
    node, session = world.node(max_concurrent_jobs=3), world.session()
    for index in range(3):
        session.speak(index)
    first, second, _ = node.jobs()
    assert held(world, node) == 3
    node.answer(first)
    node.fail(second, "NMT_TIMEOUT")
    assert held(world, node) == 1
    session.hang_up()
    assert held(world, node) == 0


def test_a_node_that_comes_back_begins_with_no_attempts(world: World) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    node.hang_up()
    back = world.node(node_id="node-7", ready=False)
    assert held(world, back) == 0


def test_an_attempt_that_a_gateway_lost_runs_again(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    [job] = node.jobs()
    lost = next(iter(node.peer._attempts))
    node.peer._attempts.end(lost.job, lost.attempt)
    world.links[0].handlers[AuditNode](AuditNode(node.peer.ref, [lost]))
    world.settle()
    [again] = node.jobs()
    assert (again["job_id"], again["attempt_id"]) == (job["job_id"], 2)
    node.answer(again)
    assert "translation_result" in session.heard_types()
    assert world.core.counts.audit_freed_total == 1


def test_an_audit_of_attempts_that_run_changes_nothing(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    [job] = node.jobs()
    world.links[0].handlers[AuditNode](AuditNode(node.peer.ref, [*node.peer._attempts]))
    world.settle()
    assert world.core.counts.audit_freed_total == 0
    node.answer(job)
    assert "translation_result" in session.heard_types()


def test_an_audit_that_meets_a_result_on_its_way_changes_nothing(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    [job] = node.jobs()
    running = [*node.peer._attempts]
    node.peer.on_text(  # the dispatcher hears of it only after it has asked
        msgspec.json.encode(
            {
                "type": "job_result",
                "job_id": job["job_id"],
                "attempt_id": 1,
                "node_id": node.node_id,
                "session_id": job["session_id"],
                "utterance_index": 0,
                "success": True,
                "text_asr": "hello",
                "trace_id": job["trace_id"],
            }
        )
    )
    world.links[0].handlers[AuditNode](AuditNode(node.peer.ref, running))
    world.settle()
    assert world.core.counts.audit_freed_total == 0
    assert session.heard_types().count("translation_result") == 1


def test_an_attempt_that_the_dispatcher_knows_nothing_of_is_cancelled(world: World) -> None:
    node, session = world.node(), world.session()
    session.speak()
    [job] = node.jobs()
    world.links[0].handlers[AuditNode](AuditNode(node.peer.ref, []))
    assert [m["type"] for m in node.wire.take()] == ["job_cancel"]
    assert world.count("attempts_dropped_total") == 1
    node.answer(job)
    assert world.count("results_stale_total") == 1


def test_an_audit_of_a_node_that_has_left_is_dropped(world: World) -> None:
    world.links[0].handlers[AuditNode](AuditNode(77, [RunningAttempt(1, 1)]))
    assert not world.links[0].sent


def running_of(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"job_id": job["job_id"], "attempt_id": job["attempt_id"]} for job in jobs]


def test_a_node_that_is_back_goes_on_with_its_jobs(world: World) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    [job] = node.jobs()
    node.hang_up()
    back = world.node(node_id="node-7", running_jobs=running_of(job))
    assert back.jobs() == []
    assert held(world, back) == 1
    back.answer(job)
    assert session.heard_types().count("translation_result") == 1
    assert world.core.counts.reclaimed_total == 1
    assert held(world, back) == 0


def test_a_job_that_another_node_has_begun_is_cancelled_on_the_one_that_is_back(
    world: World,
) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    [job] = node.jobs()
    other = world.node(node_id="node-8")
    node.hang_up()
    [again] = other.jobs()
    back = world.node(node_id="node-7", running_jobs=running_of(job), ready=False)
    cancels = [m for m in back.wire.take() if m["type"] == "job_cancel"]
    assert [(m["job_id"], m["reason"]) for m in cancels] == [(job["job_id"], "superseded")]
    back.id = "node-7"
    back.answer(job)
    assert world.count("results_stale_total") == 1
    other.answer(again)
    assert session.heard_types().count("translation_result") == 1


@pytest.mark.parametrize("job_id", ["job-other-1", "nonsense", "job-test-7"])
def test_a_job_that_was_never_the_nodes_is_cancelled(world: World, job_id: str) -> None:
    node = world.node(
        node_id="node-7", running_jobs=[{"job_id": job_id, "attempt_id": 1}], ready=False
    )
    told = node.wire.take()
    assert told[0]["type"] == "node_register_ack"
    assert [(m["type"], m.get("job_id")) for m in told[1:]] == [("job_cancel", job_id)]
    assert held(world, node) == 0


def test_of_many_jobs_that_a_node_claims_the_dispatcher_sees_those_that_it_has_slots_for(
    world: World,
) -> None:
    claims = [{"job_id": f"job-test-{number:X}", "attempt_id": 1} for number in range(1, 2049)]
    node = FakeNode(world, 0)
    node.register(node_id="node-7", max_concurrent_jobs=2, running_jobs=claims)
    (record,) = world.links[0].sent
    registered = msgspec.msgpack.decode(record, type=RegisterNode)
    assert registered.running == [RunningAttempt(2047, 1), RunningAttempt(2048, 1)]
    world.settle()
    told = [m["type"] for m in node.wire.take()]
    assert told == ["node_register_ack", *["job_cancel"] * 2048]


def test_a_result_sent_before_the_ack_counts_where_the_job_was_kept(world: World) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    [job] = node.jobs()
    node.hang_up()
    back = FakeNode(world, 0)
    back.register(node_id="node-7", running_jobs=running_of(job))
    back.id = "node-7"
    back.answer(job)
    assert session.heard_types().count("translation_result") == 1
    assert world.core.counts.reclaimed_total == 1
    assert world.count("payload_bytes") == 0


def liar_that_claims(world: World, job: dict[str, Any]) -> FakeNode:
    """Return a node whose claim of another's job the dispatcher has not judged yet."""
    liar = FakeNode(world, 0)
    liar.register(node_id="liar", running_jobs=running_of(job))
    liar.id = "liar"
    return liar


def say_result(node: FakeNode, job: dict[str, Any], text: str) -> None:
    """Send a result and leave its record in the pipe."""
    node.say(
        type="job_result",
        job_id=job["job_id"],
        attempt_id=job["attempt_id"],
        node_id=node.id,
        session_id=job["session_id"],
        utterance_index=0,
        success=True,
        text_translated=text,
        trace_id=job["trace_id"],
    )


def test_text_for_a_job_that_is_only_claimed_reaches_nobody(world: World) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    [job] = node.jobs()
    liar = liar_that_claims(world, job)
    for _ in range(2):  # before it is a member, and after
        liar.say(
            type="asr_partial",
            job_id=job["job_id"],
            node_id="liar",
            session_id="s",
            utterance_index=0,
            text="forged",
            is_final=True,
            trace_id="t",
        )
        world.settle()
    assert session.heard_types() == ["DISPATCHED"]


@pytest.mark.parametrize("liar_is_first", [True, False])
def test_a_claim_does_no_harm_to_the_result_of_who_holds_the_job(
    world: World, liar_is_first: bool
) -> None:
    node, session = world.node(node_id="node-7"), world.session()
    session.speak()
    [job] = node.jobs()
    liar = liar_that_claims(world, job)
    for teller, text in [(liar, "forged"), (node, "true")][:: 1 if liar_is_first else -1]:
        say_result(teller, job, text)
    world.settle()
    assert session.heard()[-1]["text_translated"] == "true"
    assert world.count("payload_bytes") == 0
    assert len(world.gateways[0]._results) == 0


def test_what_a_node_says_before_the_ack_is_kept_up_to_the_size_of_one_message(
    make_world: MakeWorld,
) -> None:
    world = make_world(Config(limits=LimitSettings(message_bytes_max=4096)))
    node = FakeNode(world, 0)
    node.register(node_id="node-7")
    node.id = "node-7"
    for text in ("x" * 3000, "y" * 3000, "z"):
        node.say(type="node_error", node_id="node-7", code="X", message=text)
    assert [m["code"] for m in node.wire.take()] == ["INVALID_MESSAGE"]
    world.settle()
    assert world.count("node_errors_total") == 2


def test_a_node_of_a_gateway_that_leaves_gets_no_more_jobs(world: World) -> None:
    node, session = world.node(), world.session()
    assert node.node_id
    node.wire.take()
    world.gateways[0].retire_nodes()
    world.settle()
    assert statuses(node) == ["degraded"]
    node.heartbeat()
    assert statuses(node) == []
    session.speak()
    assert node.jobs() == []
