"""Sessions that speak on and on: `python -m tests.chaos.session_worker SPEC`."""

import asyncio
import base64
import json
import random
import sys
from contextlib import suppress

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.chaos.history import FINISHED, Event, Tag, What, now_ns
from tests.chaos.orders import Cut, Order, Storm
from tests.chaos.peer_socket import (
    TROUBLE,
    Message,
    Refusal,
    cut,
    expect,
    open_socket,
    send,
    why_closed,
)
from tests.chaos.worker import Worker, WorkerSpec, enter
from tests.integration.peers import INIT

UNFINISHED_MAX = 4
THINK_SECONDS = 0.4
"""Mean time between two utterances of a session."""

REPLY_SECONDS_MAX = 90.0
"""No job lives that long: the gateway itself fails those that outlive all deadlines."""

ACK_SECONDS_MAX = 6.0
AUDIO_BYTES = (100, 30_000)
LARGE_BYTES = 300_000
LARGE_SHARE = 0.01
REPEATED_SHARE = 0.03
LEFT_SHARE = 0.3
"""Sessions that leave in the middle instead of waiting for their replies."""

LIFE_UTTERANCES = (3, 80)


class Conversation:
    """One connection of a session."""

    def __init__(self, speaker: "Speaker", connection: ClientConnection, session_id: str) -> None:
        self.speaker = speaker
        self.connection = connection
        self.session_id = session_id
        self.open: set[int] = set()
        """Utterances without a terminal reply."""
        self.is_closed = asyncio.Event()
        self._noted_end = False
        self._changed = asyncio.Event()

    def note(self, what: What, index: int = -1, *, job: str = "", text: str = "") -> None:
        """Add an event of an utterance."""
        self.speaker.note(
            Event(
                now_ns(),
                self.speaker.name,
                what,
                self.speaker.connections,
                session=self.session_id,
                index=index,
                job=job,
                text=text,
            )
        )

    def note_end(self, how: str) -> None:
        """Note why the connection ends; the first reason is the true one."""
        if self._noted_end:
            return
        self._noted_end = True
        self.speaker.note(
            Event(
                now_ns(),
                self.speaker.name,
                "closed",
                self.speaker.connections,
                session=self.session_id,
                how=how,
            )
        )

    async def listen(self) -> None:
        """Note what comes until the connection is closed."""
        try:
            while True:
                self._hear(json.loads(await self.connection.recv()))
        except ConnectionClosed as error:
            self.note_end(why_closed(error))
        except OSError:
            self.note_end("1006")
        finally:
            self.is_closed.set()
            self._changed.set()

    def _hear(self, message: Message) -> None:
        kind = message["type"]
        if kind == "ui_event" and message["event"] == "DISPATCHED":
            self.note("dispatched", message["utterance_index"], job=message["job_id"])
        elif kind == "translation_result":
            index = message["utterance_index"]
            self.note("result", index, job=message["job_id"], text=_text_of(message))
            self._end(index)
        elif kind == "error":
            details = message.get("details") or {}
            index = details.get("utterance_index", -1)
            self.speaker.note(
                Event(
                    now_ns(),
                    self.speaker.name,
                    "error",
                    self.speaker.connections,
                    session=self.session_id,
                    index=index,
                    job=details.get("job_id", ""),
                    text=message["message"],
                    how=message["code"],
                )
            )
            self._end(index)

    def _end(self, index: int) -> None:
        self.open.discard(index)
        self._changed.set()

    async def until_open_at_most(self, count: int, seconds: float) -> bool:
        """Return whether no more than `count` utterances are open, in time and connected."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.open) > count and not self.is_closed.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        return len(self.open) <= count and not self.is_closed.is_set()


class Speaker:
    """One session after the other, each on a connection of its own."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._draw = random.Random(f"{worker.spec.seed} session {number}")
        self.name = f"session {number}"
        self.connections = 0
        self.current: Conversation | None = None
        self.in_a_hurry = False
        """It comes back at once."""

    def note(self, event: Event) -> None:
        """Add to the worker's history."""
        self._worker.note(event)

    async def speak_on(self) -> None:
        """Hold conversations until it is over."""
        while not self._worker.over.is_set():
            utterances = self._draw.randint(*LIFE_UTTERANCES)
            await self.converse(utterances, leaves=self._draw.random() < LEFT_SHARE)
            if not self.in_a_hurry:
                await asyncio.sleep(self._draw.uniform(0.02, 0.3))
            self.in_a_hurry = False

    async def converse(self, utterances: int, *, leaves: bool) -> None:
        """Hold one conversation, as far as faults let us."""
        self.connections += 1
        try:
            connection = await open_socket(self._worker.spec.url)
        except TROUBLE as error:
            self._note_refused(error)
            return
        try:
            await send(connection, "session_init", **INIT)
            ack = await expect(connection, "session_init_ack", ACK_SECONDS_MAX)
        except TROUBLE as error:
            self._note_refused(error)
            connection.transport.abort()
            return
        conversation = self.current = Conversation(self, connection, ack["session_id"])
        conversation.note("opened")
        listening = asyncio.create_task(conversation.listen())
        try:
            await self._talk(conversation, utterances)
            await self._end(conversation, leaves=leaves and not self._worker.over.is_set())
        except TROUBLE:
            conversation.note_end("1006")
        finally:
            connection.transport.abort()
            await listening
            self.current = None

    def _note_refused(self, error: Exception) -> None:
        how = str(error) if isinstance(error, Refusal) else type(error).__name__
        self.note(Event(now_ns(), self.name, "refused", self.connections, how=how))

    async def _talk(self, conversation: Conversation, utterances: int) -> None:
        style = self._draw.choice((_speak_whole, _speak_in_chunks, _speak_in_frames))
        for index in range(utterances):
            pause = asyncio.create_task(self._worker.over.wait())
            await asyncio.wait({pause}, timeout=self._draw.expovariate(1 / THINK_SECONDS))
            pause.cancel()
            await conversation.until_open_at_most(UNFINISHED_MAX - 1, REPLY_SECONDS_MAX)
            if self._worker.over.is_set() or conversation.is_closed.is_set():
                return
            tag = Tag(conversation.session_id, index, f"{self._draw.getrandbits(64):016x}")
            size = self._draw.randint(*AUDIO_BYTES)
            if self._draw.random() < LARGE_SHARE:
                size = LARGE_BYTES
            audio = f"{tag}\n".encode().ljust(size, b"~")
            conversation.open.add(index)
            conversation.note("sent", index, text=str(tag))
            repeats = style is _speak_whole and self._draw.random() < REPEATED_SHARE
            if repeats:
                conversation.note("repeated", index)
            for _ in range(1 + repeats):
                await style(conversation, tag, audio)

    async def _end(self, conversation: Conversation, *, leaves: bool) -> None:
        if leaves:
            conversation.note_end("left")
            if self._draw.random() < 0.5:
                return  # the caller aborts
        else:
            await conversation.until_open_at_most(0, REPLY_SECONDS_MAX)
            conversation.note_end(FINISHED)
        await send(
            conversation.connection,
            "session_close",
            session_id=conversation.session_id,
            reason="done",
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(ACK_SECONDS_MAX):
                await conversation.is_closed.wait()

    def cut(self, how: str) -> None:
        """Cut the connection, if there is one."""
        if self.current is not None and not self.current.is_closed.is_set():
            self.current.note_end("cut")
            cut(self.current.connection, how)


async def _speak_whole(conversation: Conversation, tag: Tag, audio: bytes) -> None:
    await send(
        conversation.connection,
        "utterance",
        session_id=conversation.session_id,
        utterance_index=tag.index,
        manual_cut=True,
        src_lang="zh",
        tgt_lang="en",
        audio=base64.b64encode(audio).decode(),
        audio_format="pcm16",
        sample_rate=16_000,
        request_id=tag.nonce,
    )


async def _speak_in_chunks(conversation: Conversation, _: Tag, audio: bytes) -> None:
    middle = len(audio) // 2 // 2 * 2
    for seq, chunk in enumerate((audio[:middle], audio[middle:])):
        await send(
            conversation.connection,
            "audio_chunk",
            seq=seq,
            is_final=seq == 1,
            payload=base64.b64encode(chunk).decode(),
        )


async def _speak_in_frames(conversation: Conversation, _: Tag, audio: bytes) -> None:
    middle = len(audio) // 2 // 2 * 2
    for frame in (audio[:middle], audio[middle:]):
        await conversation.connection.send(frame)
    await send(conversation.connection, "audio_chunk", seq=0, is_final=True)


def _text_of(message: Message) -> str:
    """Return what a result says; all its parts must say the same."""
    said = {
        message["text_asr"],
        message["text_translated"],
        base64.b64decode(message["tts_audio"]).partition(b"\n")[0].decode(errors="replace"),
    }
    return said.pop() if len(said) == 1 else f"mixed: {sorted(said)}"


class Sessions:
    """All sessions of this worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        spec = worker.spec
        self._speakers = [Speaker(worker, spec.first + n) for n in range(spec.count)]
        self._guests = 0
        for speaker in self._speakers:
            worker.start(speaker.speak_on())

    def obey(self, order: Order) -> None:
        """Do what the harness says."""
        match order:
            case Cut(how, share, pick):
                count = max(1, round(share * len(self._speakers)))
                draw = random.Random(pick)
                for speaker in draw.sample(self._speakers, count):
                    speaker.cut(how)
            case Storm(guests):
                for speaker in self._speakers:
                    speaker.in_a_hurry = True
                    speaker.cut("RST")
                for _ in range(guests):
                    self._guests += 1
                    guest = Speaker(self._worker, self._worker.spec.first + 1_000 * self._guests)
                    self._worker.start(guest.converse(1, leaves=False))
            case _:
                raise AssertionError(order)


async def main(spec: WorkerSpec) -> None:
    worker = Worker(spec)
    await worker.run(Sessions(worker).obey)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=WorkerSpec)
    enter(given)
    asyncio.run(main(given))
