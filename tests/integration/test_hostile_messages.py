"""Messages that are wrong in every field, and those that are just still right.

What is refused is refused by name and counted once; the connection and the jobs around it stay.
tests/integration/test_message_decoding.py has what is left out, null or unknown.
"""

import json
from typing import Any, get_args

import pytest
from msgspec import Struct

from scheduler.gateway.node import _EARLY_MESSAGES_MAX
from scheduler.memory.layout import NODE_ID_BYTES_MAX
from scheduler.protocol import node as from_node
from scheduler.protocol import session as from_session
from scheduler.protocol.node import NodeMessage
from scheduler.protocol.records import ERROR_BYTES_MAX, PARTIAL_BYTES_MAX
from scheduler.protocol.session import SessionMessage
from tests.gateway.sockets import BINARY, TEXT, close_frame, frame
from tests.integration.cluster import Cluster
from tests.integration.hostile import UNPARSABLE, edge_messages, plain, wrong_messages
from tests.integration.peers import (
    Peer,
    a_node,
    a_session,
    answer,
    encoded,
    hold,
    installed,
    raw_node,
    raw_session,
    registration,
    until,
)

MESSAGE_BYTES_MAX, UTTERANCE_BYTES_MAX = 8 << 20, 30_000

SETTINGS = {
    "limits.messages_per_second_max": 1_000_000,
    "limits.node_messages_per_second_max": 1_000_000,
    "limits.nodes_max": 4_096,
    "limits.sessions_per_gateway_max": 4_096,
    "limits.message_bytes_max": MESSAGE_BYTES_MAX,
    "limits.utterance_bytes_max": UTTERANCE_BYTES_MAX,
    # Rows of nodes that have left, by the hundred.
    "scheduler.node_health.forget_after_seconds": 0.2,
    # Nodes under attack say odd things of themselves.
    "scheduler.node_health.consecutive_failure_count": 1_000_000,
    "scheduler.node_health.failure_count": 1_000,
    "scheduler.node_health.window_size": 1_000,
}


def of_session(kind: type[Struct], session_id: str) -> dict[str, object]:
    """Return a good message of a session."""
    base = plain(kind)
    if "session_id" in base:
        base["session_id"] = session_id
    if "audio" in base:
        base["audio"] = "AAAA"
    return base


def of_node(kind: type[Struct], node_id: str, job: dict[str, Any]) -> dict[str, object]:
    """Return a good message of a node, of that job where it is of one."""
    base = plain(kind)
    about = {name: job[name] for name in base if name != "type" and name in job}
    if "node_id" in base:
        base["node_id"] = node_id
    return {**base, **about}


SESSION_KINDS = [k for k in get_args(SessionMessage) if k is not from_session.SessionInit]
NODE_KINDS = [
    k
    for k in get_args(NodeMessage)
    if k not in {from_node.NodeRegister, from_node.RequestPairingCode}
]


def tag(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


async def check_all_refused(
    cluster: Cluster, peer: Peer, kind: type[Struct], base: dict[str, object]
) -> None:
    """Send the message with each wrong value; each must be refused by name, and counted."""
    refused = cluster.total("messages_refused_total")
    count = 0
    for odd in wrong_messages(kind, base):
        await peer.send_raw(odd.text)
        error = await peer.expect("error")
        shown = f"{odd.path}: {odd.text[:300]}: {error}"
        assert error["code"] == "INVALID_MESSAGE", shown
        assert error["message"], shown
        assert not odd.is_json or odd.path.rpartition(".")[2] in error["message"], shown
        count += 1
    assert count > len(UNPARSABLE)
    await until(
        lambda: cluster.total("messages_refused_total") == refused + count, "each is counted once"
    )


# --- wrong in one place -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", SESSION_KINDS, ids=tag)
async def test_no_wrong_value_of_a_sessions_message_is_taken(
    cluster: Cluster, kind: type[Struct]
) -> None:
    accepted = cluster.totals().accepted
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(7)
        job = await node.job()
        await check_all_refused(cluster, session, kind, of_session(kind, session.session_id))
        await session.fence()
        await node.complete(job)
        await session.result(7)
    assert cluster.totals().accepted == accepted + 1


async def test_no_wrong_value_of_a_session_init_is_taken(cluster: Cluster) -> None:
    async with raw_session(cluster.session_url) as session:
        kind = from_session.SessionInit
        await check_all_refused(cluster, session, kind, of_session(kind, ""))
        await session.init()
        await session.fence()


@pytest.mark.parametrize("kind", NODE_KINDS, ids=tag)
async def test_no_wrong_value_of_a_nodes_message_is_taken(
    cluster: Cluster, kind: type[Struct]
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(7)
        job = await node.job()
        await check_all_refused(cluster, node, kind, of_node(kind, node.node_id, job))
        await node.fence()
        await node.complete(job)
        await session.result(7)


async def test_no_wrong_value_of_a_registration_is_taken(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        kind = from_node.NodeRegister
        await check_all_refused(cluster, node, kind, of_node(kind, "", {}))
        await node.register()
        await node.become_ready()


# --- at the limits ----------------------------------------------------------------------------


async def test_a_session_init_at_its_limits_is_taken(cluster: Cluster) -> None:
    base = of_session(from_session.SessionInit, "")
    for edge in edge_messages(from_session.SessionInit, base):
        if edge.path == "pairing_code":
            continue  # a code has to be right
        async with raw_session(cluster.session_url) as session:
            await session.send_raw(edge.text)
            ack = await session.expect("session_init_ack")
            # Else a resumable one would wait to be resumed.
            await session.send("session_close", session_id=ack["session_id"], reason="done")
            await session.expect("session_close_ack")


async def test_an_utterance_at_its_limits_becomes_a_job(cluster: Cluster) -> None:
    async with a_node(cluster.node_url) as node, a_session(cluster.session_url) as session:
        base = of_session(from_session.Utterance, session.session_id)
        edges = [
            edge
            for edge in edge_messages(from_session.Utterance, base)
            if edge.path not in {"session_id", "audio"}
        ]
        for number, edge in enumerate(edges):
            message = json.loads(edge.text)
            # Each a request of its own; among those of request_id itself none is a repeat.
            message.setdefault("request_id", f"request-{number}")
            await session.send_raw(json.dumps(message))
            await session.result(message["utterance_index"])
        assert len(node.assigned) == len(edges)


@pytest.mark.parametrize(
    "kind",
    [from_session.AudioChunk, from_session.ClientHeartbeat, from_session.TtsPlayEnded],
    ids=tag,
)
async def test_other_messages_of_a_session_at_their_limits_are_taken(
    cluster: Cluster, kind: type[Struct]
) -> None:
    async with a_session(cluster.session_url) as session:
        for edge in edge_messages(kind, of_session(kind, session.session_id)):
            if edge.path not in {"session_id", "payload"}:
                await session.send_raw(edge.text)
        await session.fence()
        assert not [m for m in session.unread if m["type"] == "error"]


async def test_a_registration_at_its_limits_is_taken(cluster: Cluster) -> None:
    base = of_node(from_node.NodeRegister, "", {})
    for edge in edge_messages(from_node.NodeRegister, base):
        if edge.path in {"node_id", "capability_schema_version"}:
            continue  # have rules of their own
        async with raw_node(cluster.node_url) as node:
            await node.send_raw(edge.text)
            await node.expect("node_register_ack")


@pytest.mark.parametrize("kind", [from_node.NodeHeartbeat, from_node.NodeError], ids=tag)
async def test_other_messages_of_a_node_at_their_limits_are_taken(
    cluster: Cluster, kind: type[Struct]
) -> None:
    async with a_node(cluster.node_url, hold) as node:
        for edge in edge_messages(kind, of_node(kind, node.node_id, {})):
            if edge.path != "node_id":
                await node.send_raw(edge.text)
        await node.fence()
        assert not [m for m in node.unread if m["type"] == "error"]


async def test_a_result_at_its_limits_reaches_the_session(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(0)
        job = await node.job()
        base = of_node(from_node.JobResult, node.node_id, job)
        edges = list(edge_messages(from_node.JobResult, base))
        own = {"job_id", "attempt_id", "node_id", "success", "error"}
        for index, edge in enumerate([edge for edge in edges if edge.path not in own], 1):
            about = {"job_id": job["job_id"], "attempt_id": job["attempt_id"]}
            await node.send_raw(json.dumps({**json.loads(edge.text), **about}))
            await session.result(index - 1)
            await session.speak(index)
            job = await node.job()
        await node.complete(job)


NODE_ID_CHARS_MAX = 64


@pytest.mark.parametrize(
    ("node_id", "is_taken"),
    [
        ("n" * NODE_ID_CHARS_MAX, True),
        ("n" * (NODE_ID_CHARS_MAX + 1), False),
        ("é" * NODE_ID_CHARS_MAX, True),
        ("字" * (NODE_ID_BYTES_MAX // 3), True),
        ("字" * (NODE_ID_BYTES_MAX // 3 + 1), False),
        ("\u202e", False),
        ("\x00", False),
        ("a\x1b[2J", False),
    ],
    ids=ascii,
)
async def test_node_ids_are_printable_and_bounded_in_bytes(
    cluster: Cluster, node_id: str, is_taken: bool
) -> None:
    async with raw_node(cluster.node_url) as node:
        await node.send("node_register", **registration(node_id=node_id))
        if is_taken:
            assert (await node.expect("node_register_ack"))["node_id"] == node_id
        else:
            assert "node_id" in (await node.expect("error", code="INVALID_MESSAGE"))["message"]


# --- keys -------------------------------------------------------------------------------------


async def test_of_keys_that_are_there_twice_the_last_counts(cluster: Cluster) -> None:
    async with a_session(cluster.session_url) as session:
        own, other = session.session_id, "sess-0000000000000000"
        beat = '{{"type":"client_heartbeat","timestamp":1,"session_id":"{}","session_id":"{}"}}'
        await session.send_raw(beat.format(own, other))
        await session.expect("error", code="INVALID_SESSION")
        await session.send_raw(beat.format(other, own))
        await session.expect("server_heartbeat")
        await session.send_raw(beat.format(own, own).replace('"session_id"', '"session\\u005fid"'))
        await session.expect("server_heartbeat")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"client_heartbeat","type":"session_close","session_id":"~","timestamp":1}',
        '{"type":"session_close","session_id":"~","reason":"x","type":"client_heartbeat"}',
        '{"session_id":"~","type":"session_close","\\u0074ype":"utterance","reason":"x"}',
    ],
)
async def test_a_message_of_two_types_is_refused(cluster: Cluster, text: str) -> None:
    async with a_session(cluster.session_url) as session:
        await session.send_raw(text.replace("~", session.session_id))
        await session.expect("error", code="INVALID_MESSAGE")
        await session.fence()


# --- characters -------------------------------------------------------------------------------

BAD_UTF8 = {
    "in-a-value": b'{"type":"client_heartbeat","session_id":"\xff"}',
    "in-a-key": b'{"type":"client_heartbeat","\xc0\x80":1}',
    "in-an-unknown-field": b'{"type":"client_heartbeat","x":{"y":["\xed\xa0\x80"]}}',
    "outside-of-strings": b'{"type":"client_heartbeat"}\xfe',
    "cut-off": b'{"type":"client_heartbeat","x":"\xe2\x82',
    "above-10FFFF": b'{"type":"client_heartbeat","x":"\xf4\x90\x80\x80"}',
}


@pytest.mark.parametrize("text", BAD_UTF8.values(), ids=BAD_UTF8)
async def test_text_that_is_no_utf8_closes_and_loses_nothing_of_others(
    cluster: Cluster, text: bytes
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as other,
        a_session(cluster.session_url) as session,
        raw_node(cluster.node_url) as second,
    ):
        await other.speak()
        job = await node.job()
        await session.send_raw(text, text=True)
        assert await session.closed() == 1007
        await second.send_raw(text, text=True)
        assert await second.closed() == 1007
        await node.complete(job)
        await other.result()


async def test_characters_of_all_kinds_pass_through_unchanged(cluster: Cluster) -> None:
    odd = 'quote " backslash \\ zero \0 tab \t 字 🗣 \u2028 \u202e \ufffe </script>'
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak(trace_id=odd, dialect=odd, auto_langs=[odd])
        job = await node.job()
        assert (job["trace_id"], job["dialect"], job["auto_langs"]) == (odd, odd, [odd])
        await node.partial(job, odd)
        assert (await session.expect("asr_partial"))["text"] == odd
        await node.complete(job, text_asr=odd, text_translated=odd, extra={odd: [odd]})
        result = await session.result()
        assert (result["text_asr"], result["text_translated"]) == (odd, odd)
        assert (result["extra"], result["trace_id"]) == ({odd: [odd]}, odd)


# --- base64 -----------------------------------------------------------------------------------

BAD_BASE64 = {
    "url-safe": "__-_",
    "a-space": "AA AA",
    "a-space-behind": "AAAA ",
    "a-line-break": "AAAA\nAAAA",
    "a-zero-byte": "AAA\0",
    "no-padding": "AAAAAA",
    "one-character": "A",
    "padding-alone": "====",
    "too-much-padding": "AAAA====",
    "padding-inside": "AA==AAAA",
    "too-little-padding": "AA=",
    "wide-characters": "\uff21\uff21\uff21\uff21",
    "beyond-ascii": "AAA\u00c1",
    "percent": "AA%3D%3D",
    "data-url": "data:audio/wav;base64,AAAA",
    "quotes": '"AAAA"',
    "backslashes": "AA\\\\",
}


@pytest.mark.parametrize("text", BAD_BASE64.values(), ids=BAD_BASE64)
async def test_bad_base64_is_refused_and_what_was_said_before_is_kept(
    cluster: Cluster, text: str
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.chunk(b"good")
        await session.send("audio_chunk", seq=0, is_final=True, payload=text)
        await session.expect("error", code="INVALID_MESSAGE")
        base = of_session(from_session.Utterance, session.session_id)
        await session.send_raw(json.dumps({**base, "audio": text, "utterance_index": 9}))
        error = await session.expect("error", code="INVALID_MESSAGE")
        assert "audio" in error["message"]
        await session.chunk(None, final=True)
        assert (await node.job())["audio"] == encoded(b"good")


WRONG_SPEECH = ("5", "true", "[]", "{}", '["AAAA"]', '"é"', "1e400")


@pytest.mark.parametrize("speech", WRONG_SPEECH)
async def test_a_result_whose_speech_is_no_text_fails_the_job(
    cluster: Cluster, speech: str
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        base = of_node(from_node.JobResult, node.node_id, job)
        text = json.dumps({**base, "tts_audio": "~"}).replace('"~"', speech)
        failed = cluster.totals().failed
        await node.send_raw(text)
        assert "tts_audio" in (await node.expect("error", code="INVALID_MESSAGE"))["message"]
        await session.expect("ui_event", event="ERROR", error_code="INTERNAL_ERROR")
        await until(lambda: cluster.totals().failed == failed + 1, "it is counted")
        await node.fence()


# --- sizes ------------------------------------------------------------------------------------


def padded(base: dict[str, object], size: int) -> str:
    """Return the message with an unknown field that makes it so long."""
    text = json.dumps({**base, "x": ""})
    return f'{text[:-2]}{"x" * (size - len(text))}"}}'


async def test_a_message_may_be_as_long_as_the_limit_and_no_longer(cluster: Cluster) -> None:
    limit = MESSAGE_BYTES_MAX
    async with a_session(cluster.session_url) as session:
        base = of_session(from_session.ClientHeartbeat, session.session_id)
        assert len(padded(base, limit)) == limit
        await session.send_raw(padded(base, limit))
        await session.expect("server_heartbeat")
        await session.send_raw(padded(base, limit + 1))
        await session.expect("error", code="MESSAGE_TOO_LARGE")
        assert await session.closed() == 1009


async def test_an_utterance_may_be_as_long_as_the_limit_and_no_longer(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        whole = bytes(UTTERANCE_BYTES_MAX)
        await session.send_raw(whole)
        await session.chunk(None, final=True)
        assert (await node.job(0))["audio"] == encoded(whole)
        await session.send_raw(whole)
        await session.chunk(b"x", final=True)
        await session.expect("error", code="MESSAGE_TOO_LARGE")
        await session.chunk(b"next", final=True)
        assert (await node.job(1))["audio"] == encoded(b"next")


async def test_a_partial_text_may_be_as_long_as_the_limit_and_no_longer(cluster: Cluster) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        around = len('{"text":"","is_final":false}')
        longest = "x" * (PARTIAL_BYTES_MAX - around)
        await node.partial(job, longest)
        assert (await session.expect("asr_partial"))["text"] == longest
        await node.partial(job, longest + "x")
        await node.expect("error", code="MESSAGE_TOO_LARGE")
        await node.complete(job)
        await session.result()


@pytest.mark.parametrize("length", [10, ERROR_BYTES_MAX, 1_000_000])
async def test_a_nodes_own_error_reaches_the_session_cut_to_a_bound(
    cluster: Cluster, length: int
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        await node.fail(await node.job(), "NMT_TIMEOUT", "é" * length, details={"x": "y" * length})
        error = await session.expect("error", code="NMT_TIMEOUT")
        assert error["message"].startswith("é" * 10)
        assert len(json.dumps(error, ensure_ascii=False)) < 2 * ERROR_BYTES_MAX + 1_000


@pytest.mark.parametrize("depth", [100, 500])
async def test_deep_extras_pass_through(cluster: Cluster, depth: int) -> None:
    extra = "x"
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        base = of_node(from_node.JobResult, node.node_id, await node.job())
        text = json.dumps({**base, "extra": "~"})
        await node.send_raw(text.replace('"~"', '{"x":' * depth + f'"{extra}"' + "}" * depth))
        found = (await session.result())["extra"]
        for _ in range(depth):
            found = found["x"]
        assert found == extra


@pytest.mark.parametrize("extra", ["[" * 200_000, '{"x":' * 200_000, "[" * 99_999 + "]" * 99_999])
async def test_extras_too_deep_are_refused_and_the_job_can_still_be_ended(
    cluster: Cluster, extra: str
) -> None:
    async with (
        a_node(cluster.node_url, hold) as node,
        a_session(cluster.session_url) as session,
    ):
        await session.speak()
        job = await node.job()
        text = json.dumps({**of_node(from_node.JobResult, node.node_id, job), "extra": "~"})
        await node.send_raw(text.replace('"~"', extra))
        await node.expect("error", code="INVALID_MESSAGE")
        await node.complete(job)
        await session.result()


async def test_a_node_that_does_not_wait_for_its_ack_may_say_so_much(cluster: Cluster) -> None:
    async with raw_node(cluster.node_url) as node:
        beats = _EARLY_MESSAGES_MAX + 1
        register = json.dumps({"type": "node_register", **registration(node_id="node-EARLY")})
        beat = json.dumps(of_node(from_node.NodeHeartbeat, "node-EARLY", {}))
        # In one write, so that all are read before the dispatcher has answered.
        frames = frame(TEXT, register.encode()) + frame(TEXT, beat.encode()) * beats
        node._socket.transport.write(frames)
        error = await node.expect("error", code="INVALID_MESSAGE")
        assert "node_register_ack" in error["message"]
        await node.expect("node_register_ack")
        await node.status("ready")


async def test_frames_of_all_kinds_behind_a_close_are_not_looked_at(cluster: Cluster) -> None:
    accepted = cluster.totals().accepted
    async with a_node(cluster.node_url, answer), a_session(cluster.session_url) as session:
        utterance = json.dumps(of_session(from_session.Utterance, session.session_id)).encode()
        late = frame(TEXT, utterance) + frame(BINARY, b"late")
        session._socket.transport.write(close_frame(1000) + late)
        await session.closed()
    assert cluster.totals().accepted == accepted


async def test_a_binary_message_of_a_node_is_refused(cluster: Cluster) -> None:
    async with a_node(cluster.node_url, hold) as node:
        await node.send_raw(json.dumps(of_node(from_node.NodeHeartbeat, node.node_id, {})).encode())
        await node.expect("error", code="INVALID_MESSAGE")
        await node.fence()


async def test_more_services_than_a_node_may_have_are_refused_in_a_heartbeat_too(
    cluster: Cluster,
) -> None:
    names = tuple(f"s{n}" for n in range(257))
    async with a_node(cluster.node_url, hold) as node:
        await node.heartbeat(installed_services=installed(*names))
        assert "installed_services" in (await node.expect("error"))["message"]
        await node.fence()


def test_the_generated_messages_reach_every_field() -> None:
    messages: list[tuple[type[Struct], dict[str, object]]] = [
        *((kind, of_session(kind, "s")) for kind in (from_session.SessionInit, *SESSION_KINDS)),
        *((kind, of_node(kind, "n", {})) for kind in (from_node.NodeRegister, *NODE_KINDS)),
    ]
    assert len(messages) == len(get_args(SessionMessage)) + len(get_args(NodeMessage)) - 1
    assert {"hardware.gpus.memory_gb", "resource_usage.cpu_percent"} <= {
        odd.path for kind, base in messages for odd in wrong_messages(kind, base)
    }
    for kind, base in messages:
        paths = {odd.path for odd in wrong_messages(kind, base)}
        assert paths >= set(kind.__struct_fields__)
