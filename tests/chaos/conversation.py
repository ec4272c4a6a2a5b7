"""A session as its client sees it: what it heard, and how it comes back where it may."""

import asyncio
import base64
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.chaos.history import NOT_RESUMED, RESUME, Event, What, now_ns
from tests.chaos.peer_socket import (
    TROUBLE,
    Message,
    Refusal,
    abort,
    cut,
    expect,
    open_socket,
    send,
    why_closed,
)

ACK_SECONDS_MAX = 6.0
RESUME_SECONDS = 15.0
"""So long a client tries to come back; `limits.resume_seconds` is more."""

COMES_BACK_FROM = frozenset({"1006", "1011", "gave up"})
"""Ends of sockets that may not be the end of the session: lost, or no sign of life."""


class ConversationSpec(Struct, frozen=True):
    """What a conversation needs to know of its speaker. `number` is that of the conversation."""

    url: str
    who: str
    number: int
    draw: random.Random
    note: Callable[[Event], None]


class Conversation:
    """One session, on as many sockets as it takes where it may resume."""

    def __init__(self, spec: ConversationSpec, connection: ClientConnection, ack: Message) -> None:
        """`ack` is the answer to `session_init`; with a resume token it comes back."""
        self._spec = spec
        self.connection = connection
        self.session_id: str = ack["session_id"]
        self.open: set[int] = set()
        """Utterances without a terminal reply."""
        self.is_closed = asyncio.Event()
        self._token: str = ack.get("resume_token", "")
        self._replies = 0
        self._was_cut = False
        self._said: dict[int, Message] = {}
        """What is open and may have to be said again."""
        self._is_up = asyncio.Event()
        self._is_up.set()
        self._fence = asyncio.Event()
        self._repeating: asyncio.Task[None] | None = None
        self._noted_end = False
        self._changed = asyncio.Event()

    @property
    def may_resume(self) -> bool:
        """Whether it lives on where a socket is lost."""
        return bool(self._token) and not self._noted_end

    def note(self, what: What, index: int = -1, **fields: Any) -> None:
        """Add an event of an utterance, or of the session."""
        spec = self._spec
        about = (spec.who, what, spec.number, self.session_id, index)
        spec.note(Event(now_ns(), *about, **fields))

    def note_end(self, how: str) -> None:
        """Note why the session ends; the first reason is the true one."""
        if not self._noted_end:
            self._noted_end = True
            self.note("closed", how=how)

    async def listen(self) -> None:
        """Note what comes until the session is over."""
        try:
            while True:
                try:
                    self._hear(json.loads(await self.connection.recv()))
                except (ConnectionClosed, OSError) as error:
                    how = why_closed(error) if isinstance(error, ConnectionClosed) else "1006"
                    if not self.may_resume or how not in COMES_BACK_FROM:
                        self.note_end(how)
                        return
                    if not await self._come_back(how):
                        self.note_end(NOT_RESUMED)
                        return
        finally:
            if self._repeating is not None:
                self._repeating.cancel()
                await asyncio.gather(self._repeating, return_exceptions=True)
            self.is_closed.set()
            self._is_up.set()
            self._changed.set()

    # --- speaking ------------------------------------------------------------------------

    async def say(self, index: int, **utterance: Any) -> None:
        """Send an `utterance`, and again where a socket was lost; raise one of TROUBLE."""
        message = self._said[index] = {"utterance_index": index, **utterance}
        await self._send("utterance", message)

    async def close(self) -> None:
        """Send `session_close`; raise one of TROUBLE."""
        await self._send("session_close", {"reason": "done"})

    async def _send(self, kind: str, fields: Message) -> None:
        await self._is_up.wait()
        try:
            await send(self.connection, kind, session_id=self.session_id, **fields)
        except ConnectionClosed:
            if not self.may_resume:
                raise
            # It is said again with all else that is open.

    # --- coming back ---------------------------------------------------------------------

    async def _come_back(self, how: str) -> bool:
        """Return whether the session goes on, on another socket."""
        self._is_up.clear()
        self.note("lost", how="cut" if self._was_cut else how)
        self._was_cut = False
        owner = int(self._token.partition(".")[0])
        deadline_ns = now_ns() + int(RESUME_SECONDS * 1e9)
        why = "too late"
        while now_ns() < deadline_ns and not self._noted_end:
            await asyncio.sleep(self._spec.draw.uniform(0.01, 0.2))
            try:
                await self._resume()
            except Refusal as refusal:
                if str(refusal) == "INVALID_SESSION":
                    why = str(refusal)
                    break
            except TROUBLE:
                continue
            else:
                return True
        if not self._noted_end:
            self.note("refused", how=f"{RESUME}: {why}", size=owner)
        return False

    async def _resume(self) -> None:
        connection = await open_socket(self._spec.url)
        try:
            await send(
                connection,
                "session_resume",
                session_id=self.session_id,
                resume_token=self._token,
                replies_received=self._replies,
            )
            ack = await expect(connection, "session_init_ack", ACK_SECONDS_MAX)
        except BaseException:
            abort(connection)
            raise
        self._token = ack["resume_token"]
        self.connection = connection
        self.note("resumed")
        if self._repeating is not None:
            self._repeating.cancel()
        self._repeating = asyncio.create_task(self._repeat(connection))

    async def _repeat(self, connection: ClientConnection) -> None:
        """Say again what is open, once all replies that were kept have come."""
        self._fence.clear()
        with suppress(ConnectionClosed):  # the listener notices too
            await send(connection, "client_heartbeat", session_id=self.session_id, timestamp=1)
            await self._fence.wait()
            for index in sorted(self.open & self._said.keys()):
                self.note("repeated", index)
                said = {"session_id": self.session_id, **self._said[index]}
                await send(connection, "utterance", **said)
            self._is_up.set()

    # --- hearing -------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        kind = message["type"]
        if kind == "server_heartbeat":
            self._fence.set()
        if kind == "ui_event" and message["event"] == "DISPATCHED":
            self.note("dispatched", message["utterance_index"], job=message["job_id"])
        elif kind == "translation_result":
            index = message["utterance_index"]
            self.note("result", index, job=message["job_id"], text=_text_of(message))
            self._end(index)
        elif kind == "error":
            details = message.get("details") or {}
            index = details.get("utterance_index", -1)
            job = details.get("job_id", "")
            self.note("error", index, job=job, text=message["message"], how=message["code"])
            self._end(index)

    def _end(self, index: int) -> None:
        self._replies += index >= 0
        self.open.discard(index)
        self._said.pop(index, None)
        self._changed.set()

    async def until_open_at_most(self, count: int, seconds: float) -> bool:
        """Return whether no more than `count` utterances are open, in time and connected."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.open) > count and not self.is_closed.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        return len(self.open) <= count and not self.is_closed.is_set()

    def cut(self, how: str) -> None:
        """Cut its socket, if there is one."""
        if not self.is_closed.is_set():
            self._was_cut = True
            if not self.may_resume:
                self.note_end("cut")
            cut(self.connection, how)


def _text_of(message: Message) -> str:
    """Return what a result says; all its parts must say the same."""
    said = {
        message["text_asr"],
        message["text_translated"],
        base64.b64decode(message["tts_audio"]).partition(b"\n")[0].decode(errors="replace"),
    }
    return said.pop() if len(said) == 1 else f"mixed: {sorted(said)}"
