"""One session of the load: says utterances, hears replies, comes back when it is cut off."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import pybase64
from msgspec import UNSET, Raw, Struct

import scheduler
from scheduler.protocol.session import (
    AudioChunk,
    ErrorMessage,
    Pipeline,
    SessionInit,
    TranslationResult,
    Utterance,
)
from scheduler.sdk.backoff import Backoff
from scheduler.sdk.connection import Connection
from scheduler.sdk.errors import ConnectionLost, Refused
from scheduler.sdk.messages import SessionEvent, session_event_decoder
from scheduler.sdk.opening import introduce
from scheduler.stress.checker import Findings, Ledger
from scheduler.stress.messages import CUT_OFF, TALKER, Call
from scheduler.stress.scenario import STAGES, Kind, Talkers, features_of

SAMPLE_RATE = 16_000
_BYTES_PER_MS = SAMPLE_RATE * 2 // 1000
_OPEN_SECONDS_MAX = 30.0

_GAP_NS = 500_000_000
"""Silence after which the scheduler may have cut an utterance by itself; its default is 1 s."""


class Shared(Struct, frozen=True):
    """What the sessions of a driver have in common."""

    url: str
    driver: int
    findings: Findings
    troubles: Counter[str]
    token: str | None
    connection_numbers: Callable[[], int]


class Speaker:
    """A session. `open` once, then `serve` for as long as there are replies to hear."""

    def __init__(self, shared: Shared, kind_number: int, kind: Kind, audio_bytes: int) -> None:
        self.sent_total = 0
        self._shared = shared
        self._kind_number = kind_number
        self._kind = kind
        self._features = features_of(kind)
        self._audio = Raw(b'"%b"' % pybase64.b64encode(bytes(audio_bytes)))
        self._connection: Connection[SessionEvent] | None = None
        self._number = 0
        self._session_id = ""
        self.ledger = Ledger("", shared.findings)

    @property
    def is_open(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    async def open(self) -> None:
        """Connect; raise ConnectionLost or Refused."""
        kind = self._kind
        connection = await Connection.open(
            self._shared.url, session_event_decoder, timeout_seconds=_OPEN_SECONDS_MAX
        )
        try:
            ack = await introduce(
                connection,
                SessionInit(
                    client_version=scheduler.__version__,
                    platform="stress",
                    src_lang=kind.src,
                    tgt_lang=kind.tgt,
                    pipeline=Pipeline(*(stage in kind.stages for stage in STAGES)),
                    features=self._features,
                    audio_format="pcm16",
                    sample_rate=SAMPLE_RATE,
                    token=self._shared.token,
                ),
                _OPEN_SECONDS_MAX,
            )
        except BaseException:
            connection.abort()
            raise
        self._session_id = ack.session_id
        self._number = self._shared.connection_numbers()
        self.ledger = Ledger(ack.session_id, self._shared.findings)
        self._connection = connection

    async def serve(self) -> None:
        """Hear replies until cancelled; connect again whenever the connection is gone."""
        backoff = Backoff()
        while True:
            if self._connection is not None:
                await self._hear_all(self._connection)
                self._connection = None
                self.ledger.cut_off(time.monotonic_ns())
            try:
                await self.open()
                backoff.reset()
            except (ConnectionLost, Refused) as error:
                self._shared.troubles[f"can't connect again: {error}"] += 1
                await asyncio.sleep(backoff.next_seconds())

    async def _hear_all(self, connection: Connection[SessionEvent]) -> None:
        try:
            while True:
                self.hear(await connection.receive(), time.monotonic_ns())
        except ConnectionLost as error:
            self._shared.troubles[str(error)] += 1

    def hear(self, event: SessionEvent, now_ns: int) -> None:
        """Take an event."""
        if isinstance(event, TranslationResult):
            self.ledger.result(event.session_id, event.utterance_index, now_ns)
        elif isinstance(event, ErrorMessage):
            details = {} if event.details is UNSET else event.details
            index = details.get("utterance_index")
            if isinstance(index, int):
                self.ledger.error(index, event.code, now_ns, accepted="job_id" in details)
            else:
                self._shared.troubles[f"{event.code}: {event.message}"] += 1

    async def say(self, due_ns: int) -> None:
        """Send one whole utterance now, which was due at `due_ns`."""
        connection = self._connection
        call = self._call(due_ns)
        if connection is None:
            self._not_sent(call)
            return
        self.ledger.sent(call)
        try:
            await connection.send(
                Utterance(
                    session_id=self._session_id,
                    utterance_index=call.index,
                    manual_cut=True,
                    src_lang=self._kind.src,
                    tgt_lang=self._kind.tgt,
                    audio=self._audio,
                    audio_format="pcm16",
                    sample_rate=SAMPLE_RATE,
                    features=self._features,
                )
            )
        except ConnectionLost:
            return  # `serve` finds the same, and settles what was open

    def _call(self, due_ns: int) -> Call:
        self.sent_total += 1
        return Call(
            self._shared.driver,
            self._number,
            self.ledger.next_index,
            self._kind_number,
            due_ns,
            time.monotonic_ns(),
        )

    def _not_sent(self, call: Call) -> None:
        call.done_ns, call.code, call.accepted = call.sent_ns, CUT_OFF, False
        self._shared.findings.calls.append(call)

    async def close(self) -> None:
        """Close the connection, where there is one."""
        if self._connection is not None:
            await self._connection.close()


class Talker(Speaker):
    """A session that is silent for long and then streams an utterance in chunks."""

    def __init__(self, shared: Shared, kind: Kind, talkers: Talkers, seed: str) -> None:
        super().__init__(shared, TALKER, kind, 2)
        self._talkers = talkers
        self._draw = random.Random(seed)  # noqa: S311 - a simulation
        self._chunk = pybase64.b64encode(bytes(_BYTES_PER_MS * talkers.chunk_ms)).decode()
        self._seq = 0

    async def talk(self, begin_ns: int, until_ns: int) -> None:
        """Speak at planned times; those after `until_ns` are left out."""
        talkers = self._talkers
        round_seconds = talkers.silence_seconds + talkers.speech_seconds
        at_ns = begin_ns + int(self._draw.uniform(0, round_seconds) * 1e9)
        while (end_ns := at_ns + int(talkers.speech_seconds * 1e9)) < until_ns:
            await self._speak(at_ns, end_ns)
            at_ns = end_ns + int(self._draw.expovariate(1 / talkers.silence_seconds) * 1e9)

    async def _speak(self, from_ns: int, end_ns: int) -> None:
        """Stream one utterance; a chunk is there only once it has been spoken."""
        chunk_ns = self._talkers.chunk_ms * 1_000_000
        last_ns = 0
        await sleep_until(from_ns)
        connection = self._connection
        for due_ns in (*range(from_ns + chunk_ns, end_ns, chunk_ns), end_ns):
            await sleep_until(due_ns)
            now_ns = time.monotonic_ns()
            if self._connection is not connection or connection is None:
                return  # what was said so far went with the connection
            if last_ns and now_ns - last_ns > _GAP_NS:
                self.ledger.unsure += 1
            last_ns = now_ns
            if due_ns == end_ns:
                self.ledger.sent(self._call(due_ns))
            # The last chunk ends the utterance, so that it can't be empty by then.
            self._seq += 1
            try:
                await connection.send(
                    AudioChunk(self._seq, due_ns == end_ns, self._session_id, self._chunk)
                )
            except ConnectionLost:
                return


async def sleep_until(moment_ns: int) -> None:
    """Return at that moment, or at once where it is past."""
    while (wait_ns := moment_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(wait_ns / 1e9)
