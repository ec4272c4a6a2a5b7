"""Speech recognition by worker processes, one per slot; cancelling a call kills its worker."""

import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from subprocess import PIPE

from msgspec import DecodeError
from msgspec.json import Decoder

from scheduler.nodes.errors import RecognizerError
from scheduler.nodes.recognizer_worker import Hypothesis, Ready

START_SECONDS_MAX = 60.0
UTTERANCE_SECONDS_MAX = 120.0
LANGUAGE = "en"
"""The only language of the model that comes with the recogniser."""

_decoder: Decoder[Ready | Hypothesis] = Decoder(Ready | Hypothesis)

OnPartial = Callable[[str], Awaitable[None]]


def available() -> bool:
    """Whether the recogniser is installed (the extra `speech`)."""
    return importlib.util.find_spec("pocketsphinx") is not None


class _Worker:
    """One process of scheduler/nodes/recognizer_worker.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> "_Worker":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "scheduler.nodes.recognizer_worker",
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # a Ctrl-C is for the node, which ends its workers itself
        )
        worker = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                message = await worker._read()
        except TimeoutError as error:
            await worker.kill()
            raise RecognizerError("the recogniser did not start in time") from error
        except BaseException:
            await worker.kill()
            raise
        assert isinstance(message, Ready)
        return worker

    async def recognize(self, pcm: bytes, on_partial: OnPartial) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(len(pcm).to_bytes(4, "little") + pcm)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise RecognizerError("the recogniser died") from error
        while True:
            message = await self._read()
            assert isinstance(message, Hypothesis)
            if message.is_final:
                return message.text
            await on_partial(message.text)

    async def _read(self) -> Ready | Hypothesis:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        try:
            return _decoder.decode(line)
        except DecodeError as error:  # an empty or half line: it died while writing
            raise RecognizerError("the recogniser died") from error

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


class RecognizerPool:
    """`slots` workers, kept loaded. Enter it to start them; leaving it ends them."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        # None stands for a worker that was killed: it is started anew by who takes it.
        self._free: asyncio.LifoQueue[_Worker | None] = asyncio.LifoQueue(slots)

    async def __aenter__(self) -> "RecognizerPool":
        workers = await asyncio.gather(
            *(_Worker.start() for _ in range(self._slots)), return_exceptions=True
        )
        started = [worker for worker in workers if isinstance(worker, _Worker)]
        failed = [worker for worker in workers if isinstance(worker, BaseException)]
        if failed:
            await asyncio.gather(*(worker.kill() for worker in started))
            raise failed[0]
        for worker in started:
            self._free.put_nowait(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._free.empty():
            worker = self._free.get_nowait()
            if worker is not None:
                await worker.kill()

    async def recognize(self, pcm: bytes, on_partial: OnPartial) -> str:
        """Return what is said in `pcm` (mono PCM16 at the worker's RATE_HZ).

        `on_partial` gets the text so far whenever it changes. Raises RecognizerError, and
        TimeoutError past UTTERANCE_SECONDS_MAX. Cancelling stops the worker at once.
        """
        worker = await self._free.get()
        text = None
        try:
            async with asyncio.timeout(UTTERANCE_SECONDS_MAX):
                worker = worker or await _Worker.start()
                text = await worker.recognize(pcm, on_partial)
        finally:
            self._free.put_nowait(None if text is None else worker)
            if worker is not None and text is None:
                await worker.kill()
        return text
