"""What the commands that connect to a scheduler have in common."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ssl import SSLContext

T = TypeVar("T")


def identity_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add the options with which a peer proves who it is; `command` gets `token` and `tls`."""

    @click.option(
        "--token",
        envvar="LINGUA_TOKEN",
        help="Access token, if the scheduler wants one; better in LINGUA_TOKEN, because every "
        "user of the machine can read command lines.",
    )
    @click.option(
        "--ca", metavar="FILE", help="CA (PEM) of the scheduler's certificate, if not a public one."
    )
    @click.option("--cert", metavar="FILE", help="Client certificate (PEM), if it wants one.")
    @click.option("--key", metavar="FILE", help="Its private key (PEM).")
    @wraps(command)
    def with_identity(
        *args: Any, ca: str | None, cert: str | None, key: str | None, **options: Any
    ) -> T:
        return command(*args, tls=_tls_context(ca, cert, key), **options)

    return with_identity


def _tls_context(ca: str | None, cert: str | None, key: str | None) -> "SSLContext | None":
    """Return what the files ask for, None where there are none: the system's CAs then count."""
    if not (ca or cert or key):
        return None
    import ssl

    if bool(cert) != bool(key):
        raise click.UsageError("--cert and --key belong together; give both or none")
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key)
    except OSError as error:  # of TLS too
        raise click.UsageError(f"--ca, --cert or --key can't be used: {error}") from error
    return context


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
