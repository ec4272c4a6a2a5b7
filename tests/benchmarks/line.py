"""A session and a node at a gateway without sockets, for the benchmarks of their machines."""

import msgspec

from scheduler.protocol.records import Result, Submit, ToDispatcher, ToGateway
from tests.benchmarks.sizes import sized
from tests.gateway.world import World

AUDIO = bytes(sized(33_024, 640))
"""About a second of pcm16 at 16 kHz, small: 20 ms."""

encode = msgspec.json.encode


class Line:
    """A session and a node of one gateway, and the job that is on its way between them."""

    def __init__(self) -> None:
        self.world = World()
        self.link = self.world.links[0]
        self.node = self.world.node()
        self.session = self.world.session()
        self.fields = {"session_id": self.session.session_id, "node_id": self.node.node_id}
        self._index = 0

    def utterance(self) -> bytes:
        """Return the next utterance."""
        message = {
            "type": "utterance",
            "session_id": self.fields["session_id"],
            "utterance_index": self._index,
            "manual_cut": True,
            "src_lang": "en",
            "tgt_lang": "es",
            "audio": AUDIO,
            "audio_format": "pcm16",
            "sample_rate": 16_000,
        }
        self._index += 1
        return encode(message)

    def speak(self) -> None:
        self.session.peer.on_text(self.utterance())

    def sent(self) -> ToDispatcher:
        """Let the gateway's one record reach the dispatcher; return it."""
        [message] = self.link.sent
        self.link.sent.clear()
        record: ToDispatcher = msgspec.msgpack.decode(message, type=ToDispatcher)
        self.world.core.receive(0, record, self.world.contexts[0].now_ns)
        return record

    def answer(self) -> ToGateway:
        """Return the dispatcher's one record, which is not handed over."""
        [record] = self.world.core.outbox[0]
        self.world.core.outbox[0].clear()
        return record

    def hand(self, record: ToGateway) -> None:
        self.link.handlers[type(record)](record)

    def assign(self) -> ToGateway:
        """Let the session speak until the node is to hear of it."""
        self.speak()
        assert type(self.sent()) is Submit
        return self.answer()

    def result(self) -> bytes:
        """Let the session speak until the node has the job; return what the node says."""
        self.hand(self.assign())
        [job] = self.node.jobs()
        return encode(
            {
                "type": "job_result",
                **{name: job[name] for name in ("job_id", "attempt_id", "session_id")},
                **{name: job[name] for name in ("utterance_index", "trace_id")},
                "node_id": self.fields["node_id"],
                "success": True,
                "text_asr": "hello",
                "text_translated": "hola",
                "tts_audio": AUDIO,
            }
        )

    def deliver(self) -> ToGateway:
        """Let the session speak until it is to hear the result."""
        self.node.peer.on_text(self.result())
        assert type(self.sent()) is Result
        return self.answer()

    def finish(self) -> list[str]:
        """Let all that is on its way come to its end; return what the session heard."""
        self.world.settle()
        for job in self.node.jobs():
            self.node.answer(job)
        return self.session.heard_types()
