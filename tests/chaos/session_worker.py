"""Sessions that speak on and on: `python -m tests.chaos.session_worker SPEC`."""

import asyncio
import base64
import random
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed

from tests.chaos.conversation import ACK_SECONDS_MAX, Conversation, ConversationSpec
from tests.chaos.history import FINISHED, Event, Tag, now_ns
from tests.chaos.orders import Cut, Order, Storm
from tests.chaos.peer_socket import (
    TROUBLE,
    Refusal,
    abort,
    expect,
    open_socket,
    send,
    send_frame,
)
from tests.chaos.worker import Worker, WorkerSpec, enter
from tests.integration.peers import INIT

UNFINISHED_MAX = 4
THINK_SECONDS = 0.4
"""Mean time between two utterances of a session."""

REPLY_SECONDS_MAX = 90.0
"""No job lives that long: the gateway itself fails those that outlive all deadlines."""

AUDIO_BYTES = (100, 30_000)
LARGE_BYTES = 300_000
LARGE_SHARE = 0.01
REPEATED_SHARE = 0.03
RESUMABLE_SHARE = 0.5
"""Of the sessions that send whole utterances."""

LEFT_SHARE = 0.3
"""Sessions that leave in the middle instead of waiting for their replies."""

LIFE_UTTERANCES = (3, 80)


Style = Callable[[Conversation, Tag, bytes], Coroutine[Any, Any, None]]
"""How a session sends an utterance."""


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
        style = self._draw.choice((_speak_whole, _speak_in_chunks, _speak_in_frames))
        resumable = style is _speak_whole and self._draw.random() < RESUMABLE_SHARE
        try:
            await send(connection, "session_init", resumable=resumable, **INIT)
            ack = await expect(connection, "session_init_ack", ACK_SECONDS_MAX)
        except TROUBLE as error:
            self._note_refused(error)
            abort(connection)
            return
        spec = ConversationSpec(
            self._worker.spec.url, self.name, self.connections, self._draw, self.note
        )
        conversation = self.current = Conversation(spec, connection, ack)
        conversation.note("opened")
        listening = asyncio.create_task(conversation.listen())
        try:
            await self._talk(conversation, utterances, style)
            await self._end(conversation, leaves=leaves and not self._worker.over.is_set())
        except ConnectionClosed:
            pass  # the listener hears why
        except TROUBLE:
            conversation.note_end("gave up")
        finally:
            abort(conversation.connection)
            await listening
            self.current = None

    def _note_refused(self, error: Exception) -> None:
        how = str(error) if isinstance(error, Refusal) else type(error).__name__
        self.note(Event(now_ns(), self.name, "refused", self.connections, how=how))

    async def _talk(self, conversation: Conversation, utterances: int, style: Style) -> None:
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
        await conversation.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(ACK_SECONDS_MAX):
                await conversation.is_closed.wait()

    def cut(self, how: str) -> None:
        """Cut the connection, if there is one."""
        if self.current is not None:
            self.current.cut(how)


async def _speak_whole(conversation: Conversation, tag: Tag, audio: bytes) -> None:
    await conversation.say(
        tag.index,
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
        await send_frame(conversation.connection, frame)
    await send(conversation.connection, "audio_chunk", seq=0, is_final=True)


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
