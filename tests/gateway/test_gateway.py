"""Several gateways and a dispatcher that may be replaced: nothing is lost or doubled."""

import base64

import pytest

from tests.gateway.conftest import MakeWorld
from tests.gateway.world import FakeNode, World


@pytest.fixture
def pair(make_world: MakeWorld) -> World:
    return make_world(gateways=2)


def arenas_are_empty(world: World) -> bool:
    for gateway in world.gateways:
        gateway.sweep()
    return all(world.count("arena_used_bytes", i) == 0 for i in range(len(world.gateways)))


def test_a_job_goes_to_another_gateways_node_and_back(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    audio = base64.b64encode(bytes(range(256)) * 40).decode()
    session.speak(0, audio=audio)
    (job,) = node.jobs()
    assert job["audio"] == audio
    node.answer(job, tts_audio=audio)
    heard = session.heard()
    assert [m.get("event", m["type"]) for m in heard] == [
        "DISPATCHED",
        "ASR_FINAL",
        "NMT_DONE",
        "translation_result",
    ]
    assert heard[-1]["tts_audio"] == audio
    assert arenas_are_empty(pair)


def test_partials_cross_gateways(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    session.speak()
    (job,) = node.jobs()
    node.recognise(job, "hel", is_final=True)
    pair.settle()
    assert session.heard()[-1]["text"] == "hel"


def test_a_flood_of_partials_crosses_gateways_as_few(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    session.speak()
    (job,) = node.jobs()
    for number in range(100):
        node.recognise(job, str(number))
    assert len(pair.links[1].sent) == 1
    pair.gateways[1].sweep()
    pair.settle()
    assert [m["text"] for m in session.heard()[1:]] == ["0", "99"]


def test_a_session_that_closed_leaves_nothing_in_any_arena(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    session.speak()
    (job,) = node.jobs()
    session.hang_up()
    node.answer(job)
    assert arenas_are_empty(pair)
    assert pair.core.counts.cancelled_total == 1


def test_a_node_whose_socket_closes_hands_its_jobs_over(pair: World) -> None:
    first, session = pair.node(gateway=0), pair.session(gateway=0)
    session.speak()
    (job,) = first.jobs()
    second = pair.node(gateway=1)
    first.hang_up()
    (again,) = second.jobs()
    assert (again["job_id"], again["attempt_id"]) == (job["job_id"], 2)
    second.answer(again)
    assert session.heard_types() == ["DISPATCHED", "ASR_FINAL", "NMT_DONE", "translation_result"]
    assert arenas_are_empty(pair)


def test_an_attempt_goes_on_under_a_new_dispatcher(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    session.speak()
    (job,) = node.jobs()
    pair.replace_dispatcher()
    assert node.jobs() == []
    assert node.wire.take() == []
    node.answer(job)
    assert session.heard_types() == ["DISPATCHED", "ASR_FINAL", "NMT_DONE", "translation_result"]
    assert pair.core.counts.in_flight == 0
    assert arenas_are_empty(pair)


def test_a_node_that_comes_while_a_dispatcher_takes_over_can_claim_nobodys_job(
    world: World,
) -> None:
    honest, session = world.node(node_id="honest"), world.session()
    session.speak()
    (job,) = honest.jobs()
    liar = FakeNode(world, 0)
    forged = {**job, "attempt_id": 1 << 53}
    liar.register(
        node_id="liar",
        running_jobs=[{"job_id": job["job_id"], "attempt_id": forged["attempt_id"]}],
    )
    world.replace_dispatcher()
    assert honest.wire.take() == []
    liar.answer(forged, text_translated="forged")
    assert session.heard_types() == ["DISPATCHED"]
    honest.answer(job)
    assert session.heard()[-1]["text_translated"] == "hola"


def test_a_waiting_job_is_placed_by_the_new_dispatcher(pair: World) -> None:
    session = pair.session(gateway=0)
    session.speak()
    pair.replace_dispatcher()
    node = pair.node(gateway=1)
    (job,) = node.jobs()
    assert job["attempt_id"] == 1
    node.answer(job)
    assert session.heard_types()[-1] == "translation_result"


def test_a_result_that_the_old_dispatcher_never_settled_is_told_again(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    session.speak()
    (job,) = node.jobs()
    node.say(
        type="job_result",
        job_id=job["job_id"],
        attempt_id=job["attempt_id"],
        node_id=node.node_id,
        session_id=job["session_id"],
        utterance_index=0,
        success=True,
        text_asr="hello",
        trace_id="t",
    )
    pair.replace_dispatcher()  # before the record was read
    assert session.heard_types() == ["DISPATCHED", "ASR_FINAL", "translation_result"]
    assert arenas_are_empty(pair)


def test_a_job_submitted_without_a_dispatcher_waits_for_one(world: World) -> None:
    node, session = world.node(), world.session()
    assert session.session_id
    world.links[0].is_up = False
    session.speak()
    world.links[0].is_up = True
    world.replace_dispatcher()
    (job,) = node.jobs()
    node.answer(job)
    assert session.heard_types()[-1] == "translation_result"


def test_a_pairing_code_in_question_is_asked_again(world: World) -> None:
    session = world.session()
    world.links[0].is_up = False
    waiting = world.session(pairing_code="123456")
    world.links[0].is_up = True
    assert session.session_id
    world.replace_dispatcher()
    assert [m["code"] for m in waiting.wire.take()] == ["INVALID_PAIRING_CODE"]


def test_a_pairing_code_outlives_the_dispatcher(world: World) -> None:
    node = world.node()
    node.say(type="request_pairing_code")
    world.settle()
    code = next(m["code"] for m in node.wire.take() if m["type"] == "pairing_code")
    world.replace_dispatcher()
    assert node.wire.take() == []
    session = world.session(pairing_code=code)
    assert session.wire.take()[0]["type"] == "session_init_ack"


def test_a_pairing_code_that_was_used_stays_used_under_a_new_dispatcher(pair: World) -> None:
    node = pair.node(gateway=1)
    node.say(type="request_pairing_code")
    pair.settle()
    code = next(m["code"] for m in node.wire.take() if m["type"] == "pairing_code")
    first = pair.session(gateway=0, pairing_code=code)
    assert first.wire.take()[0]["type"] == "session_init_ack"
    pair.replace_dispatcher()
    second = pair.session(gateway=0, pairing_code=code)
    assert [m.get("code") for m in second.wire.take()] == ["INVALID_PAIRING_CODE"]


def test_a_node_that_left_before_it_was_accepted_leaves_no_row(world: World) -> None:
    node = FakeNode(world, 0)
    node.register(node_id="node-7")
    node.peer.on_closed()
    world.settle()
    again = world.node(node_id="node-7")
    assert again.node_id == "node-7"


def test_jobs_are_counted_once_across_dispatchers(pair: World) -> None:
    node, session = pair.node(gateway=1), pair.session(gateway=0)
    for index in range(3):
        session.speak(index)
    jobs = node.jobs()
    node.answer(jobs[0])
    before = pair.core.counts
    pair.replace_dispatcher(carry_counts=True)
    counts = pair.core.counts
    ended = counts.completed_total + counts.failed_total + counts.cancelled_total
    assert counts.submitted_total == before.submitted_total == 3
    assert counts.submitted_total - ended == 2


def test_counters_agree_after_everything(pair: World) -> None:
    node = pair.node(gateway=0, max_concurrent_jobs=2)
    sessions = [pair.session(gateway=index % 2) for index in range(4)]
    for session in sessions:
        session.speak(0)
        session.speak(1)
    jobs = node.jobs()
    node.answer(jobs[0])
    node.fail(jobs[1], "TTS_TIMEOUT")
    sessions[3].hang_up()
    pair.tick(later_seconds=11)
    for index in range(2):
        accepted = pair.count("jobs_accepted_total", index)
        ended = sum(
            pair.count(f"jobs_{outcome}_total", index)
            for outcome in ("completed", "failed", "cancelled")
        )
        assert accepted == ended + pair.count("jobs_live", index)
