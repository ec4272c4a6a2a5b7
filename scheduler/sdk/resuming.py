"""A session's connection that outlives its sockets: where one is lost, it goes on on another."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from msgspec import Struct

from scheduler.protocol.codes import ErrorCode
from scheduler.protocol.session import (
    AudioChunk,
    ClientHeartbeat,
    ServerHeartbeat,
    SessionClose,
    SessionInitAck,
    SessionResume,
    Utterance,
)
from scheduler.sdk.backoff import Backoff
from scheduler.sdk.connection import Connection, cancel_and_wait
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.messages import SessionEvent
from scheduler.sdk.opening import introduce
from scheduler.sdk.unheard import Unheard

FIRST_SECONDS = 0.2
"""Until the first attempt at most; shorter than for nodes: somebody is speaking."""

MAX_SECONDS = 2.0

log = structlog.get_logger(__name__)

Dial = Callable[[], Awaitable[Connection[SessionEvent]]]


class ResumingConnection:
    """Stands for a Connection. The one task that receives is also what comes back.

    Meanwhile senders wait; they get ConnectionLost where the session can't be resumed.
    """

    def __init__(
        self,
        connection: Connection[SessionEvent],
        ack: SessionInitAck,
        dial: Dial,
        timeout_seconds: float,
    ) -> None:
        """`ack` brought a resume token; `dial` opens another socket."""
        self.resumed = 0
        """How often it came back."""
        self._connection = connection
        self._session_id = ack.session_id
        self._dial = dial
        self._timeout_seconds = timeout_seconds
        self._token = ""
        self._window_seconds = 0.0
        self._take_token(ack)
        self._unheard = Unheard()
        self._arrived: deque[SessionEvent] = deque()
        self._up = asyncio.Event()
        self._up.set()
        self._fence: asyncio.Future[None] | None = None
        """Until the answer to our heartbeat, behind which nothing is left of what was kept."""
        self._repeating: asyncio.Task[None] | None = None
        self._ending = False
        self._gone: ConnectionLost | None = None

    @property
    def is_speaking(self) -> bool:
        """Whether a streamed utterance was begun and not ended, as far as is known."""
        return self._unheard.is_speaking

    # --- as a Connection -----------------------------------------------------------------

    async def send(self, message: Struct) -> None:
        """Send one message, on the next socket if need be; waits while there is none."""
        await self._wait_up()
        self._ending = self._ending or isinstance(message, SessionClose)
        kept = isinstance(message, Utterance | AudioChunk)
        if isinstance(message, Utterance | AudioChunk):
            self._unheard.say(message)
        while not await self._sent(message):
            await self._wait_up()
            if kept:  # it was said again with all else that had not arrived
                return

    async def receive(self) -> SessionEvent:
        """Return the next event; a SessionInitAck that is `resumed` where it came back."""
        while not self._arrived:
            try:
                self._take(await self._connection.receive())
            except ConnectionLost as lost:
                if self._ending:
                    raise
                await self._come_back(lost)
        return self._arrived.popleft()

    async def close(self) -> None:
        """Close the socket; at most 5 s, then it is cut off."""
        self._ending = True
        await self._stop_repeating()
        closed = None
        while closed is not self._connection:  # another may have been opened meanwhile
            closed = self._connection
            await closed.close()

    def abort(self) -> None:
        """Cut the socket off, as a crash would."""
        self._connection.abort()

    # --- sending -------------------------------------------------------------------------

    async def _wait_up(self) -> None:
        await self._up.wait()
        if self._gone:
            raise self._gone

    async def _sent(self, message: Struct) -> bool:
        connection = self._connection
        try:
            await connection.send(message)
        except ConnectionLost:
            if self._ending or self._gone:
                raise
            if connection is self._connection:  # the receiver has not noticed yet
                self._up.clear()
            return False
        return True

    def _take(self, event: SessionEvent) -> None:
        if isinstance(event, ServerHeartbeat) and self._fence and not self._fence.done():
            self._fence.set_result(None)
            return
        self._unheard.hear(event)
        self._arrived.append(event)

    # --- coming back ---------------------------------------------------------------------

    async def _come_back(self, lost: ConnectionLost) -> None:
        """Return once there is a socket again; raise `lost` where the session is over."""
        self._up.clear()
        await self._stop_repeating()
        try:
            async with asyncio.timeout(self._window_seconds):
                ack = await self._reconnect()
        except (Refused, TimeoutError) as error:
            self._gone = lost
            self._up.set()
            raise lost from error
        self._take_token(ack)
        self._take(ack)
        self.resumed += 1
        self._fence = asyncio.get_running_loop().create_future()
        missing = self._unheard.missing(ack)
        self._repeating = asyncio.create_task(self._repeat(missing, self._fence))

    async def _reconnect(self) -> SessionInitAck:
        """Try until it succeeds; raise Refused where it never will."""
        backoff = Backoff(FIRST_SECONDS, MAX_SECONDS)
        while True:
            await asyncio.sleep(backoff.next_seconds())
            try:
                return await self._resume()
            except ConnectionLost as error:
                log.debug("not connected yet", reason=str(error))
            except Refused as refusal:
                if refusal.code == ErrorCode.INVALID_SESSION:
                    raise
                await asyncio.sleep((refusal.retry_after_ms or 0) / 1000)

    async def _resume(self) -> SessionInitAck:
        connection = await self._dial()
        resume = SessionResume(self._session_id, self._token, self._unheard.replies)
        try:
            ack = await introduce(connection, resume, self._timeout_seconds)
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
        return ack

    async def _repeat(self, chunks: list[AudioChunk], fence: "asyncio.Future[None]") -> None:
        """Say again what did not arrive; then let others speak."""
        with suppress(ConnectionLost):  # the receiver notices too
            await self._connection.send(ClientHeartbeat(self._session_id, 0))
            # Behind it stand the replies that were kept. What is not among them, and nothing else
            # was heard of, may never have arrived; if it did, it is known by its key.
            await fence
            for message in (*self._unheard.utterances.values(), *chunks):
                await self._connection.send(message)
            self._up.set()

    async def _stop_repeating(self) -> None:
        if self._repeating is not None:
            await cancel_and_wait(self._repeating)

    def _take_token(self, ack: SessionInitAck) -> None:
        assert isinstance(ack.resume_token, str)
        assert isinstance(ack.resume_seconds, float | int)
        self._token = ack.resume_token
        self._window_seconds = ack.resume_seconds
