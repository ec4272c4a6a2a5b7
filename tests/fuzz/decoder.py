"""Target: JSON of sessions and nodes, and the messages that are spliced from it."""

import contextlib
import json
from typing import Any, get_args

from msgspec.json import Decoder

from scheduler.errors import PeerError
from scheduler.gateway.messages import decode
from scheduler.gateway.segmenter import check_audio, decode_payload
from scheduler.gateway.splice import build_job_assign, build_result_tail, result_head, with_attempt
from scheduler.protocol.node import (
    JobAssignHead,
    JobResult,
    NodeMessage,
    node_decoder,
)
from scheduler.protocol.session import (
    AudioChunk,
    Pipeline,
    SessionMessage,
    Utterance,
    session_decoder,
)
from tests.integration.hostile import edge_messages, plain, wrong_messages

_SEED_BYTES_MAX = 2_000
_TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"false", b"0", b"-1", b"1e400"),
    *(b"\\", b"\\u0000", b"\\ud800", b"\\/", b'"type":', b"\xff", b"\xed\xa0\x80", b"AAAA", b"="),
)


class DecoderTarget:
    """Text that decodes is passed on as text that is JSON; all else is a PeerError."""

    def seeds(self) -> list[bytes]:
        """Return good messages of all kinds, and each with something odd in one place."""
        texts = []
        for kind in (*get_args(SessionMessage), *get_args(NodeMessage)):
            base = {**plain(kind), **({"audio": "AAAA"} if kind is Utterance else {})}
            odd = [*edge_messages(kind, base), *wrong_messages(kind, base)]
            texts += [json.dumps(base), *(each.text for each in odd)]
        return [text.encode() for text in texts if len(text) < _SEED_BYTES_MAX]

    def tokens(self) -> list[bytes]:
        """Return JSON's own signs, and names of fields."""
        names = {
            name
            for kind in (*get_args(SessionMessage), *get_args(NodeMessage))
            for name in kind.__struct_fields__
        }
        return [*_TOKENS, *(f'"{name}":'.encode() for name in sorted(names))]

    def run(self, data: bytes) -> None:
        """Decode as a session's and as a node's message; what is no UTF-8 never comes so far."""
        try:
            data.decode()
        except UnicodeDecodeError:
            return
        decoders: tuple[Decoder[Any], ...] = (session_decoder, node_decoder)
        for decoder in decoders:
            with contextlib.suppress(PeerError):
                _pass_on(decode(decoder, data))

    def close(self) -> None:
        """There is nothing to free."""


def _pass_on(message: object) -> None:
    if isinstance(message, AudioChunk):
        decode_payload(message.payload or "")
    elif isinstance(message, Utterance):
        audio = check_audio(message.audio)
        head = JobAssignHead(
            job_id="job",
            session_id=message.session_id,
            utterance_index=message.utterance_index,
            src_lang=message.src_lang,
            tgt_lang=message.tgt_lang,
            pipeline=Pipeline(),
            audio_format=message.audio_format,
            sample_rate=message.sample_rate,
            trace_id="trace",
        )
        sent = json.loads(b"".join(with_attempt(build_job_assign(head, audio), 1)))
        assert sent["attempt_id"] == 1
        assert sent["utterance_index"] == message.utterance_index
    elif isinstance(message, JobResult):
        head_text = result_head("session", 1, "job", "trace")
        sent = json.loads(head_text + build_result_tail(message).body)
        assert sent["session_id"] == "session", "the node's part can't replace ours"
        assert isinstance(sent["tts_audio"], str)
