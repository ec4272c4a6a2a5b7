"""What the commands that connect to a scheduler have in common."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def configure_client_logging(process: str) -> None:
    """Log to standard error, for people on a terminal and as JSON otherwise."""
    from scheduler.config import ObservabilitySettings
    from scheduler.logs import configure_logging

    configure_logging(ObservabilitySettings(), process)


def run_client(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; Ctrl-C cancels it and raises KeyboardInterrupt."""
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that serves until it is cancelled: SIGTERM ends it as planned."""
    import asyncio
    import signal

    async def serve() -> None:
        serving = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()

    run_client(serve())
